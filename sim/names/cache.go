package names

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// staleTTL is how long an answer that has ended is given before the servers are
// asked again, RFC 8767 section 4.
const staleTTL = 30 * time.Second

// entry is one link of an answer: the records of a name and type, an alias, or
// the knowledge that there are none. Entries are never changed.
type entry struct {
	set
	rcode int
	soa   *dns.SOA
	fresh time.Time // until when it may be given
	stale time.Time // until when it may be given while no server answers
	since time.Time // when a server gave it
}

// alias gives the name at which the answer to a question continues.
func (e entry) alias(qtype uint16) (string, bool) {
	if len(e.records) == 0 || e.rtype != dns.TypeCNAME || qtype == dns.TypeCNAME {
		return "", false
	}
	return dns.CanonicalName(e.records[0].(*dns.CNAME).Target), true
}

// anyType stands for all types in the key of a name that does not exist.
const anyType = dns.TypeNone

// cached finds what is known about a question. With stale it also takes what
// has ended, and gives it some more time.
func (r *Resolver) cached(name string, qtype uint16, stale bool) (entry, bool) {
	now := r.opts.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, t := range [...]uint16{qtype, dns.TypeCNAME, anyType} {
		key := question(name, t)
		e, ok := r.answers.get(key, now)
		if !ok || !now.Before(e.fresh) && !r.overstays(e, stale, now) {
			continue
		}
		if t == dns.TypeCNAME && t != qtype && len(e.records) == 0 {
			continue // that there is no alias says nothing about other types
		}
		if stale && !now.Before(e.fresh) {
			e.fresh = now.Add(staleTTL)
			r.answers.put(key, e, r.answers.rows[key].ends, now)
		}
		return e, true
	}
	return entry{}, false
}

// overstays tells whether an answer that has ended is given all the same.
func (r *Resolver) overstays(e entry, stale bool, now time.Time) bool {
	return stale && now.Before(e.stale) || r.opts.Overstay != nil && r.opts.Overstay(now.Sub(e.since))
}

// remember keeps what a reply says and gives it as the links of an answer.
func (r *Resolver) remember(name string, qtype uint16, rep *reply) []entry {
	now := r.opts.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	keep := func(key string, e entry) {
		if !now.Before(e.fresh) {
			r.answers.remove(key)
			return
		}
		e.stale, e.since = e.fresh.Add(r.opts.Stale), now
		ends := e.stale
		if r.opts.Overstay != nil {
			ends = now.Add(max(r.opts.MaxTTL, e.stale.Sub(now)))
		}
		r.answers.put(key, e, ends, now)
	}
	if len(rep.sets) == 0 {
		e := entry{set: set{name: name, rtype: qtype}, rcode: rep.rcode, soa: rep.soa, fresh: now}
		if rep.soa != nil { // else nobody said how long, RFC 2308 section 5
			ttl := time.Duration(min(lowestTTL([]dns.RR{rep.soa}), rep.soa.Minttl)) * time.Second
			e.fresh = now.Add(min(max(min(ttl, r.opts.MaxNegativeTTL), r.opts.MinTTL), r.opts.MaxTTL))
		}
		if rep.rcode == dns.RcodeNameError {
			// What there was before is gone, also as a stale answer.
			r.answers.remove(question(name, qtype))
			r.answers.remove(question(name, dns.TypeCNAME))
			qtype = anyType
		}
		keep(question(name, qtype), e)
		return []entry{e}
	}
	var links []entry
	for _, s := range rep.sets {
		e := entry{set: s, fresh: now.Add(r.opts.keep(lowestTTL(s.records)))}
		r.answers.remove(question(s.name, anyType)) // it exists after all
		if s.rtype == dns.TypeCNAME {
			r.answers.remove(question(s.name, qtype)) // an alias stands alone
		}
		keep(question(s.name, s.rtype), e)
		links = append(links, e)
	}
	return links
}

// closest finds the delegation of the longest known zone that holds the name
// and is shorter than below, a zone already tried; the root is always known.
func (r *Resolver) closest(name, below string) *delegation {
	now := r.opts.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	for zone := name; zone != "."; zone = parent(zone) {
		if below != "" && dns.CountLabel(zone) >= dns.CountLabel(below) {
			continue
		}
		if d, ok := r.zones.get(zone, now); ok {
			return d
		}
	}
	return &delegation{zone: "."}
}

// rememberZone keeps a delegation.
func (r *Resolver) rememberZone(d *delegation) *delegation {
	now := r.opts.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.zones.put(d.zone, d, now.Add(r.opts.keep(d.ttl)), now)
	return d
}

// sameServers compares the names of the servers.
func (d *delegation) sameServers(other *delegation) bool {
	return slices.EqualFunc(d.servers, other.servers, func(a, b server) bool { return a.name == b.name })
}

// withGlueOf fills in addresses that an older list had for the same names: the
// zone's own list rarely comes with any.
func (d *delegation) withGlueOf(old *delegation) *delegation {
	merged := &delegation{zone: d.zone, ttl: d.ttl}
	for _, s := range d.servers {
		i := slices.IndexFunc(old.servers, func(o server) bool { return o.name == s.name })
		if len(s.addrs) == 0 && i >= 0 {
			s.addrs = old.servers[i].addrs
		}
		merged.servers = append(merged.servers, s)
	}
	return merged
}

// addresses gives where the servers of a zone are known to be, and the names of
// the servers for which that is not known.
func (r *Resolver) addresses(d *delegation) (known []netip.AddrPort, unknown []string) {
	if d.zone == "." {
		return r.opts.Roots, nil
	}
	for _, s := range d.servers {
		addrs := s.addrs
		if len(addrs) == 0 {
			if e, ok := r.cached(s.name, dns.TypeA, false); ok && e.rtype == dns.TypeA {
				addrs = addressesOf(e.records)
			}
		}
		for _, a := range addrs {
			known = append(known, netip.AddrPortFrom(a, r.opts.Port))
		}
		if len(addrs) == 0 {
			unknown = append(unknown, s.name)
		}
	}
	return known, unknown
}

func addressesOf(records []dns.RR) []netip.Addr {
	var addrs []netip.Addr
	for _, rr := range records {
		if a, ok := rr.(*dns.A); ok {
			if addr, ok := netip.AddrFromSlice(a.A.To4()); ok {
				addrs = append(addrs, addr)
			}
		}
	}
	return addrs
}

// parent gives the name without its first label.
func parent(name string) string {
	i, end := dns.NextLabel(name, 0)
	if end {
		return "."
	}
	return strings.Clone(name[i:])
}
