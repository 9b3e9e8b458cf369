// Package dns is a small world of name servers: an authoritative server, the
// APIs of two DNS providers that feed such servers, and the cloud's own zone of
// load balancer names. All are programs on a nodes.Machine, on real ports or
// simulated ones, and are held to the providers' own clients.
//
// An Authority answers from zones that never change once made; whole sets of
// them are swapped. A Provider keeps domains and records, is changed through the
// Linode or DigitalOcean API, and publishes its zones as a feed, which it
// guarantees to be servable. Authorities of that provider pull the feed and
// serve what they saw after a delay of their own, so a change shows up at
// different servers at different times, as it does in the world. Everything is
// kept in memory: a provider that starts again starts from its zone files.
//
// Requests fail as the providers' do, in their JSON. Nothing here fails on
// purpose: faults belong to the world around, and to fakes/faulty.
//
// Start reading at Zones.Answer for the protocol, Provider for the data, and
// RunAuthority, RunLinode, RunDigitalOcean and RunCloud for the programs.
package dns
