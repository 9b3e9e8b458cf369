package names

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/miekg/dns"
)

const (
	maxAliases = 10  // CNAMEs followed for one question
	maxRecords = 128 // of one name and type
	maxServers = 32  // of one zone
	maxGlue    = 8   // addresses of one server
)

// reply is what a zone's server said about a question, reduced to what that
// server may speak about.
type reply struct {
	// sets are the aliases (CNAME) from the asked name on, then the records
	// asked for, if the server knew them. Owners are in canonical form.
	sets []set
	// rcode is NOERROR or NXDOMAIN. With no sets and no referral, the name has
	// no such records or does not exist, for as long as soa says; nil says
	// that the server did not tell.
	rcode int
	soa   *dns.SOA
	// referral is a zone further down that knows more.
	referral *delegation
	// own is the list of servers that the zone itself gave, beside an answer.
	own *delegation
}

// set is all records of one name and type; never empty.
type set struct {
	name    string
	rtype   uint16
	records []dns.RR
}

// delegation says which servers speak for a zone.
type delegation struct {
	zone    string
	servers []server // sorted by name
	ttl     uint32
}

// server is a name server and its addresses, as far as the zone above gave
// them. Those are used for nothing but reaching it for this zone.
type server struct {
	name  string
	addrs []netip.Addr
}

// readReply reads the message of a server that was asked, as one of the servers
// of zone, for records of a name. It gives an error if the server turns out not
// to speak for the zone ("lame") or contradicts itself. Records with owners
// outside the zone are none of the server's business and are ignored.
func readReply(zone, name string, qtype uint16, m *dns.Msg) (*reply, error) {
	name = dns.CanonicalName(name)
	if m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError {
		return nil, fmt.Errorf("server answered %s", rcodeName(m.Rcode))
	}
	r := &reply{rcode: m.Rcode}

	for at := name; len(r.sets) <= maxAliases; {
		if records := pick(m.Answer, zone, at, qtype); len(records) > 0 {
			r.sets = append(r.sets, set{at, qtype, records})
			break
		}
		alias := pick(m.Answer, zone, at, dns.TypeCNAME)
		if len(alias) == 0 {
			break
		}
		if len(alias) > 1 {
			return nil, errors.New("several CNAMEs for one name")
		}
		r.sets = append(r.sets, set{at, dns.TypeCNAME, alias})
		at = dns.CanonicalName(alias[0].(*dns.CNAME).Target)
	}
	for _, s := range r.sets {
		if len(s.records) > maxRecords {
			return nil, errors.New("too many records")
		}
	}
	if len(r.sets) > 0 {
		if !m.Authoritative {
			return nil, errors.New("answer without authority")
		}
		r.rcode = dns.RcodeSuccess // an NXDOMAIN speaks of the end of the chain, which is asked anew
		if own := pick(m.Ns, zone, zone, dns.TypeNS); len(own) > 0 {
			r.own = newDelegation(zone, zone, own, m.Extra)
		}
		return r, nil
	}

	if m.Rcode == dns.RcodeSuccess {
		if cut := cutBelow(zone, name, m.Ns); cut != "" {
			r.referral = newDelegation(zone, cut, pick(m.Ns, zone, cut, dns.TypeNS), m.Extra)
			return r, nil
		}
	}
	if !m.Authoritative {
		return nil, errors.New("neither an answer nor a referral")
	}
	for _, rr := range m.Ns {
		soa, ok := rr.(*dns.SOA)
		if ok && soa.Hdr.Class == dns.ClassINET && dns.IsSubDomain(zone, soa.Hdr.Name) && dns.IsSubDomain(soa.Hdr.Name, name) {
			r.soa = soa
			break
		}
	}
	return r, nil
}

// pick gives the records of one owner and type, without repetitions, in the
// order in which they came, if the owner lies in the zone.
func pick(section []dns.RR, zone, owner string, rtype uint16) []dns.RR {
	if !dns.IsSubDomain(zone, owner) {
		return nil
	}
	var records []dns.RR
	for _, rr := range section {
		h := rr.Header()
		if h.Rrtype != rtype || h.Class != dns.ClassINET || dns.CanonicalName(h.Name) != owner {
			continue
		}
		if len(records) > maxRecords {
			break // more than anybody may send; the caller refuses
		}
		if !slices.ContainsFunc(records, func(have dns.RR) bool { return dns.IsDuplicate(have, rr) }) {
			records = append(records, rr)
		}
	}
	return records
}

// cutBelow finds the lowest zone below this one to which the authority section
// refers for a name. Only going down makes sure that walks end.
func cutBelow(zone, name string, section []dns.RR) string {
	cut, labels := "", 0
	for _, rr := range section {
		h := rr.Header()
		if h.Rrtype != dns.TypeNS || h.Class != dns.ClassINET {
			continue
		}
		owner := dns.CanonicalName(h.Name)
		below := owner != zone && dns.IsSubDomain(zone, owner) && dns.IsSubDomain(owner, name)
		if n := dns.CountLabel(owner); below && n > labels {
			cut, labels = owner, n
		}
	}
	return cut
}

// newDelegation collects the servers of a cut and the addresses that the
// servers of zone gave for them. Addresses of names outside that zone are
// ignored: they would let anybody who has a zone name addresses for others.
func newDelegation(zone, cut string, ns []dns.RR, additional []dns.RR) *delegation {
	d := &delegation{zone: cut, ttl: lowestTTL(ns)}
	for _, rr := range ns[:min(len(ns), maxServers)] {
		s := server{name: dns.CanonicalName(rr.(*dns.NS).Ns)}
		for _, glue := range pick(additional, zone, s.name, dns.TypeA) {
			if addr, ok := netip.AddrFromSlice(glue.(*dns.A).A.To4()); ok && len(s.addrs) < maxGlue {
				s.addrs = append(s.addrs, addr)
			}
		}
		d.servers = append(d.servers, s)
	}
	slices.SortFunc(d.servers, func(a, b server) int { return cmp.Compare(a.name, b.name) })
	return d
}

// lowestTTL is the time that all records of a set may be kept, in seconds. One
// with the highest bit set counts as zero, RFC 2181 section 8.
func lowestTTL(records []dns.RR) uint32 {
	lowest := uint32(1<<31 - 1)
	for _, rr := range records {
		ttl := rr.Header().Ttl
		if ttl >= 1<<31 {
			ttl = 0
		}
		lowest = min(lowest, ttl)
	}
	return lowest
}

func rcodeName(rcode int) string {
	if s, ok := dns.RcodeToString[rcode]; ok {
		return s
	}
	return fmt.Sprintf("RCODE%d", rcode)
}
