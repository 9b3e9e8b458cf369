// Package meta is the internal port of every node: mutual TLS on the private
// address, with certificates of the cell's own authority (package ca).
//
// Through it nodes and operators ask how a node is (health, status, metrics,
// profiles), and order it about (drain, maintenance, invalidation, and what a
// role adds). Each route names the roles that may use it, and bounds what a
// request may cost in bytes, time and places. A long stream carries frames both
// ways between two nodes, as a node keeps with its Seed.
//
// Orders change state, so they carry the epoch of whoever issues them, and a
// [Fence] refuses those of an older epoch and applies none twice. Who issues an
// order is who the certificate says.
//
// What may fail: a peer of another authority, cell, role or name, or with an
// expired certificate, is refused with an error of package ca at whichever end
// notices, while the other end sees a TLS alert. Calls fail with [*StatusError]
// or [*StaleError]; streams end with [*ClosedError], [ErrSilent], [ErrStalled],
// or what the network says.
//
// Start reading at server.go, then order.go and stream.go; parent.go joins the
// port to the node runtime.
package meta
