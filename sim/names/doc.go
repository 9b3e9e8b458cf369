// Package names resolves domain names the way the Internet does, on any network
// that a [Host] offers: a caching recursive [Resolver] that walks the delegation
// from the root servers down, and the [Stub] through which a program asks it.
// Both speak real DNS messages, over UDP and, where an answer is too long, TCP.
//
// A Resolver promises that every answer came from a server to which a chain of
// delegations leads, that it is kept no longer than its time to live (within the
// limits of [Options], which can also make it misbehave as resolvers in the
// field do), that memory, time, queries and depth are bounded for each question
// whatever the servers answer, and that equal questions asked at once cost one
// walk. It reaches servers over IPv4 and does not validate DNSSEC.
//
// What fails is told in the words of the protocol: SERVFAIL when no server gave
// a usable answer in time, which is remembered for a few seconds (RFC 9520);
// errors of a Stub are *net.DNSError.
//
// Nothing here draws on shared randomness or state: each choice is Host.Rand of
// a stable name and each wait ends some nanoseconds off the round number, by the
// same means. In virtual time, on a network that replays, names therefore
// resolves the same way in every run.
//
// Start reading at [Resolver] and walk.resolve; readReply decides what is
// believed of a server's answer.
package names
