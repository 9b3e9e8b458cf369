package names

import (
	"cmp"
	"net/netip"
	"slices"
	"time"
)

const (
	// recordTTL is how long a server's behaviour is remembered; after that it is
	// a stranger again, so that one that was slow once gets another chance.
	recordTTL = 15 * time.Minute
	// firstHold and longestHold bound how long a server that failed is asked
	// only when all others have failed too. The hold doubles each time.
	firstHold   = time.Minute
	longestHold = 8 * time.Minute
	// strangerTimeout is the patience with a server never heard of, as long as
	// there are others to ask; unbound has about the same.
	strangerTimeout = 400 * time.Millisecond
)

// record is how one server has behaved for one zone: it can be lame for one and
// well for another.
type record struct {
	rtt      time.Duration // smoothed; 0 before the first answer
	failures int           // since the last answer
	held     time.Time     // until when it comes last
}

func recordKey(zone string, at netip.AddrPort) string { return zone + " " + at.String() }

func (r *Resolver) answered(zone string, at netip.AddrPort, rtt time.Duration) {
	r.note(zone, at, func(s *record, _ time.Time) {
		if s.rtt == 0 {
			s.rtt = rtt
		}
		s.rtt = max((7*s.rtt+rtt)/8, 1)
		s.failures, s.held = 0, time.Time{}
	})
}

func (r *Resolver) failed(zone string, at netip.AddrPort) {
	r.note(zone, at, func(s *record, now time.Time) {
		s.held = now.Add(min(firstHold<<min(s.failures, 10), longestHold))
		s.failures++
	})
}

// patience is how long to wait for a server. While others are left to ask, that
// is four times what it usually takes; the last round waits in full.
func (r *Resolver) patience(zone string, at netip.AddrPort, last bool) time.Duration {
	if last {
		return r.opts.ServerTimeout
	}
	now := r.opts.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	s, _ := r.records.get(recordKey(zone, at), now)
	return min(max(4*s.rtt, strangerTimeout), r.opts.ServerTimeout)
}

func (r *Resolver) note(zone string, at netip.AddrPort, f func(*record, time.Time)) {
	now := r.opts.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	key := recordKey(zone, at)
	s, _ := r.records.get(key, now)
	f(&s, now)
	r.records.put(key, s, now.Add(recordTTL), now)
}

// order sorts the servers of a zone: those never asked, then the fastest, then
// those that failed lately; equal ones by a hash, so that the resolvers of a
// world do not all start with the same.
func (r *Resolver) order(zone string, servers []netip.AddrPort) []netip.AddrPort {
	type candidate struct {
		at   netip.AddrPort
		rec  record
		held bool
		hash uint64
	}
	now := r.opts.Now()
	var all []candidate
	r.mu.Lock()
	for _, at := range servers {
		c := candidate{at: at, hash: r.host.Rand("names/order/"+recordKey(zone, at), 0)}
		c.rec, _ = r.records.get(recordKey(zone, at), now)
		c.held = now.Before(c.rec.held)
		all = append(all, c)
	}
	r.mu.Unlock()
	slices.SortFunc(all, func(a, b candidate) int {
		if a.held != b.held {
			if a.held {
				return 1
			}
			return -1
		}
		byFailures := 0
		if a.held {
			byFailures = cmp.Compare(a.rec.failures, b.rec.failures)
		}
		return cmp.Or(byFailures, cmp.Compare(a.rec.rtt, b.rec.rtt), cmp.Compare(a.hash, b.hash), a.at.Compare(b.at))
	})
	var sorted []netip.AddrPort
	for _, c := range all {
		if len(sorted) == 0 || !slices.Contains(sorted, c.at) {
			sorted = append(sorted, c.at)
		}
	}
	return sorted
}
