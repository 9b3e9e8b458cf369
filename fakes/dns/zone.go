package dns

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// maxRecords bounds one zone.
const maxRecords = 20_000

// Zone is the contents of one zone. It never changes once made, so it may be
// shared freely; the records in it must not be modified.
type Zone struct {
	origin string // lower case, with the final dot
	soa    *dns.SOA
	nodes  map[string]node // by owner in lower case; empty non-terminals have an empty node
	rrs    []dns.RR        // SOA first, then by owner, type and text
}

// node holds the record sets of one owner, by type.
type node map[uint16][]dns.RR

// NewZone makes a zone of records, in any order. There must be exactly one SOA,
// at the origin; NS records there; every other record at or below the origin;
// and no record beside a CNAME. Identical records are kept once.
func NewZone(records []dns.RR) (*Zone, error) {
	z := &Zone{nodes: map[string]node{}}
	for _, rr := range records {
		if soa, ok := rr.(*dns.SOA); ok {
			if z.soa != nil {
				return nil, fmt.Errorf("zone %s: second SOA record", z.origin)
			}
			z.soa, z.origin = soa, strings.ToLower(soa.Hdr.Name)
		}
	}
	switch {
	case z.soa == nil:
		return nil, errors.New("zone without an SOA record")
	case len(records) > maxRecords:
		return nil, fmt.Errorf("zone %s: %d records are too many", z.origin, len(records))
	}
	for _, rr := range records {
		if err := z.add(rr); err != nil {
			return nil, fmt.Errorf("zone %s: %w", z.origin, err)
		}
	}
	if len(z.nodes[z.origin][dns.TypeNS]) == 0 {
		return nil, fmt.Errorf("zone %s: no NS records", z.origin)
	}
	for owner, n := range z.nodes {
		if cnames := len(n[dns.TypeCNAME]); cnames > 1 || cnames == 1 && len(n) > 1 {
			return nil, fmt.Errorf("zone %s: %s has a CNAME and other records", z.origin, owner)
		}
	}
	z.sort()
	return z, nil
}

func (z *Zone) add(rr dns.RR) error {
	owner := strings.ToLower(rr.Header().Name)
	if !dns.IsSubDomain(z.origin, owner) {
		return fmt.Errorf("record %s is outside", owner)
	}
	if rr.Header().Class != dns.ClassINET {
		return fmt.Errorf("record %s is not of class IN", owner)
	}
	n := z.nodes[owner]
	if n == nil {
		n = node{}
		z.nodes[owner] = n
	}
	t := rr.Header().Rrtype
	for _, other := range n[t] {
		if dns.IsDuplicate(rr, other) {
			return nil
		}
	}
	n[t] = append(n[t], rr)
	// Names between the owner and the origin exist too, RFC 8020.
	for owner != z.origin {
		owner = parent(owner)
		if z.nodes[owner] == nil {
			z.nodes[owner] = node{}
		}
	}
	return nil
}

func (z *Zone) sort() {
	for _, n := range z.nodes {
		for _, set := range n {
			slices.SortFunc(set, compareRR)
			z.rrs = append(z.rrs, set...)
		}
	}
	slices.SortFunc(z.rrs, func(a, b dns.RR) int {
		if _, ok := a.(*dns.SOA); ok {
			return -1
		}
		if _, ok := b.(*dns.SOA); ok {
			return 1
		}
		return compareRR(a, b)
	})
}

func compareRR(a, b dns.RR) int {
	x, y := a.Header(), b.Header()
	if c := strings.Compare(strings.ToLower(x.Name), strings.ToLower(y.Name)); c != 0 {
		return c
	}
	if x.Rrtype != y.Rrtype {
		return int(x.Rrtype) - int(y.Rrtype)
	}
	return strings.Compare(a.String(), b.String())
}

// parent drops the first label of a fully qualified name; the root's is itself.
func parent(name string) string {
	if i, end := dns.NextLabel(name, 0); !end {
		return name[i:]
	}
	return "."
}

// ParseZone reads the standard text of one zone, RFC 1035 section 5. The file
// name is for messages. $INCLUDE is refused.
func ParseZone(text, file string) (*Zone, error) {
	parser := dns.NewZoneParser(strings.NewReader(text), "", file)
	var records []dns.RR
	for rr, ok := parser.Next(); ok; rr, ok = parser.Next() {
		if records = append(records, rr); len(records) > maxRecords {
			return nil, fmt.Errorf("parse zone %s: too many records", file)
		}
	}
	if err := parser.Err(); err != nil {
		return nil, fmt.Errorf("parse zone %s: %w", file, err)
	}
	z, err := NewZone(records)
	if err != nil {
		return nil, fmt.Errorf("parse zone %s: %w", file, err)
	}
	return z, nil
}

// Origin is the zone's name in lower case, with the final dot.
func (z *Zone) Origin() string { return z.origin }

// Serial is the version in the zone's SOA record.
func (z *Zone) Serial() uint32 { return z.soa.Serial }

// Text is the zone in the form that ParseZone reads, always in the same order.
func (z *Zone) Text() string {
	var b strings.Builder
	for _, rr := range z.rrs {
		b.WriteString(rr.String())
		b.WriteByte('\n')
	}
	return b.String()
}

// Summary is the zone's address, CNAME and TXT records as sorted compact text,
// "www.espra.com CNAME us-east.elb.amazonaws.com; ...", for logs.
func (z *Zone) Summary() string {
	var parts []string
	for _, rr := range z.rrs {
		owner := strings.TrimSuffix(strings.ToLower(rr.Header().Name), ".")
		switch rr := rr.(type) {
		case *dns.A:
			parts = append(parts, owner+" A "+rr.A.String())
		case *dns.AAAA:
			parts = append(parts, owner+" AAAA "+rr.AAAA.String())
		case *dns.CNAME:
			parts = append(parts, owner+" CNAME "+strings.TrimSuffix(rr.Target, "."))
		case *dns.TXT:
			parts = append(parts, fmt.Sprintf("%s TXT %q", owner, strings.Join(rr.Txt, "")))
		}
	}
	return strings.Join(parts, "; ")
}

// negative gives the SOA record for answers that say "no such thing"; its TTL
// is how long they may be believed, RFC 2308 section 5.
func (z *Zone) negative() dns.RR {
	soa := dns.Copy(z.soa).(*dns.SOA)
	soa.Hdr.Ttl = min(soa.Hdr.Ttl, soa.Minttl)
	return soa
}

// Zones is a set of zones, one per origin. It never changes once made.
type Zones struct{ byOrigin map[string]*Zone }

// NewZones makes a set; of several zones with one origin the last counts.
func NewZones(zones ...*Zone) *Zones {
	zs := &Zones{byOrigin: make(map[string]*Zone, len(zones))}
	for _, z := range zones {
		zs.byOrigin[z.origin] = z
	}
	return zs
}

// All gives the zones sorted by origin.
func (zs *Zones) All() []*Zone {
	all := make([]*Zone, 0, len(zs.byOrigin))
	for _, z := range zs.byOrigin {
		all = append(all, z)
	}
	slices.SortFunc(all, func(a, b *Zone) int { return strings.Compare(a.origin, b.origin) })
	return all
}

// find gives the zone nearest above a name, or nil.
func (zs *Zones) find(name string) *Zone {
	for {
		if z := zs.byOrigin[name]; z != nil || name == "." {
			return z
		}
		name = parent(name)
	}
}
