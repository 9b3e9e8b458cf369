package names

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"
)

// Options configure a [Resolver]. Only Roots is needed; a zero value elsewhere
// means the default given with each.
type Options struct {
	// Listen is where clients ask, over UDP and TCP: 127.0.0.1:53.
	Listen string
	// Roots are the servers of the root zone, IPv4.
	Roots []netip.AddrPort
	// Port is where all other servers are reached: 53.
	Port uint16
	// Now is the clock that times to live are counted on: time.Now.
	Now func() time.Time

	// MinTTL and MaxTTL bound how long answers and delegations are kept: 0 and
	// 24 hours. A MinTTL above what a zone asks for makes a resolver that
	// ignores times to live. It holds for negative answers too, unless the
	// zone told no time for them: those are not kept.
	MinTTL, MaxTTL time.Duration
	// MaxNegativeTTL bounds how long it is remembered that something does not
	// exist, before MinTTL: 1 hour (RFC 2308 section 5 wants 1 to 3).
	MaxNegativeTTL time.Duration
	// FailureTTL is how long a failed question is answered SERVFAIL without
	// another try: 5 seconds (RFC 9520 wants 1 second to 5 minutes).
	FailureTTL time.Duration
	// Stale is how long an answer that has ended may still be given, for 30
	// seconds at a time, while no server answers (RFC 8767): 0, never.
	Stale time.Duration
	// Overstay, if not nil, is asked about each answer that has ended, by how old
	// it is, whether to give it all the same: never. One that says yes makes a
	// resolver that ignores times to live, for as long as it says so. It may be
	// called concurrently and must not wait.
	Overstay func(age time.Duration) bool
	// ChildCentric makes the resolver replace the servers that the zone above
	// gave by those that the zone itself names beside its answers, until none
	// of them answers. Resolvers in the field differ in this; it shows where
	// the providers of a zone each name only their own servers.
	ChildCentric bool
	// MaxEntries bounds each of the memories, of answers, of delegations, of
	// failures and of servers: 10,000.
	MaxEntries int

	// ServerTimeout is the longest patience with one server: 1.5 seconds. While
	// others are left to ask it is shorter, by how fast the server usually is.
	ServerTimeout time.Duration
	// Budget is the time for one question: 10 seconds.
	Budget time.Duration
	// MaxQueries bounds the queries sent for one question: 64.
	MaxQueries int
	// MaxClients bounds the questions being answered and the TCP connections:
	// 1,000 each. Those beyond are dropped.
	MaxClients int

	// Log gets a line for each query sent ("asked", debug) and for each
	// question that failed ("failed", warn): none.
	Log *slog.Logger
}

func (o Options) withDefaults() (Options, error) {
	if len(o.Roots) == 0 {
		return o, errors.New("names: no root servers")
	}
	for _, root := range o.Roots {
		if !root.Addr().Is4() {
			return o, fmt.Errorf("names: root server %s is not IPv4", root)
		}
	}
	for _, d := range []time.Duration{o.MinTTL, o.MaxTTL, o.MaxNegativeTTL, o.FailureTTL, o.Stale, o.ServerTimeout, o.Budget} {
		if d < 0 {
			return o, errors.New("names: negative duration in options")
		}
	}
	if o.MaxEntries < 0 || o.MaxQueries < 0 || o.MaxClients < 0 {
		return o, errors.New("names: negative bound in options")
	}
	o.Listen = cmp.Or(o.Listen, "127.0.0.1:53")
	o.Port = cmp.Or(o.Port, 53)
	if o.Now == nil {
		o.Now = time.Now
	}
	o.MaxTTL = max(cmp.Or(o.MaxTTL, 24*time.Hour), o.MinTTL)
	o.MaxNegativeTTL = cmp.Or(o.MaxNegativeTTL, time.Hour)
	o.FailureTTL = cmp.Or(o.FailureTTL, 5*time.Second)
	o.MaxEntries = cmp.Or(o.MaxEntries, 10_000)
	o.ServerTimeout = cmp.Or(o.ServerTimeout, 1500*time.Millisecond)
	o.Budget = cmp.Or(o.Budget, 10*time.Second)
	o.MaxQueries = cmp.Or(o.MaxQueries, 64)
	o.MaxClients = cmp.Or(o.MaxClients, 1000)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o, nil
}

// keep is how long something may be kept whose zone says ttl seconds.
func (o *Options) keep(ttl uint32) time.Duration {
	return min(max(time.Duration(ttl)*time.Second, o.MinTTL), o.MaxTTL)
}
