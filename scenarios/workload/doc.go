// Package workload is the people: browsers that load pages and hold live
// tunnels, publishers, and the phones of admins. They run as roles on a [nodes.Machine] of their own
// and know the platform only as the public does, by its names, HTTPS and the
// live protocol over WebSocket.
//
// They promise to behave as decent clients do: they resolve names anew for each
// new connection, try the next address when one does not connect, keep
// connections for half a minute, bound every wait, resume live channels from
// the position they reached, and come back after a loss with an exponential,
// jittered delay. Whatever happens to them is an outcome, told to a [Recorder];
// only a client that was set up wrongly gives an error. Outcomes and causes are
// stable words, so that a replay gives the same record.
//
// Start reading at [Browser] and [Publisher]; [Log] is the Recorder that feeds
// the oracles.
package workload
