package zone

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// FromRR gives a resource record as a Record without an ID. False means a type
// that no provider here keeps.
func FromRR(rr dns.RR) (Record, bool) {
	h := rr.Header()
	r := Record{Name: bareName(h.Name), Type: dns.TypeToString[h.Rrtype], TTL: time.Duration(h.Ttl) * time.Second}
	switch rr := rr.(type) {
	case *dns.A:
		r.Value = rr.A.String()
	case *dns.AAAA:
		r.Value = rr.AAAA.String()
	case *dns.CNAME:
		r.Value = bareName(rr.Target)
	case *dns.NS:
		r.Value = bareName(rr.Ns)
	case *dns.PTR:
		r.Value = bareName(rr.Ptr)
	case *dns.MX:
		r.Value = fmt.Sprintf("%d %s", rr.Preference, bareName(rr.Mx))
	case *dns.SRV:
		r.Value = fmt.Sprintf("%d %d %d %s", rr.Priority, rr.Weight, rr.Port, bareName(rr.Target))
	case *dns.CAA:
		r.Value = fmt.Sprintf("%d %s %s", rr.Flag, strings.ToLower(rr.Tag), unescape(rr.Value))
	case *dns.TXT:
		r.Value = unescape(strings.Join(rr.Txt, ""))
	default:
		return Record{}, false
	}
	return r, true
}

// Types are those of the records that FromRR knows.
func Types() []string { return []string{"A", "AAAA", "CAA", "CNAME", "MX", "NS", "PTR", "SRV", "TXT"} }

// data is a record's value taken apart, as the providers' APIs have it.
type data struct {
	target                       string // a name has no final dot; "" is the root
	priority, weight, port, flag int
	tag                          string
}

// split takes the value of a record apart.
func (r Record) split() (data, error) {
	numbers := map[string]int{"MX": 1, "SRV": 3, "CAA": 1}[r.Type]
	var d data
	rest := r.Value
	into := map[string][]*int{"MX": {&d.priority}, "SRV": {&d.priority, &d.weight, &d.port}, "CAA": {&d.flag}}[r.Type]
	for i := range numbers {
		word, after, ok := strings.Cut(rest, " ")
		n, err := strconv.ParseUint(word, 10, 16)
		if !ok || err != nil {
			return d, fmt.Errorf("zone: %s %s: %q is no value", r.Name, r.Type, r.Value)
		}
		*into[i], rest = int(n), after
	}
	if r.Type == "CAA" {
		d.tag, rest, _ = strings.Cut(rest, " ")
	}
	d.target = rest
	if named(r.Type) && rest == "." {
		d.target = ""
	}
	return d, nil
}

// join puts together what a provider holds in parts. What makes no sense is kept
// as it is: it belongs to somebody else, and equals nothing that is wanted.
func (d data) join(kind, zone string) string {
	target := d.target
	if named(kind) {
		if target == "@" {
			target = zone
		}
		target = bareName(target)
	}
	switch kind {
	case "A", "AAAA":
		if a, err := netip.ParseAddr(target); err == nil {
			return a.String()
		}
	case "MX":
		return fmt.Sprintf("%d %s", d.priority, target)
	case "SRV":
		return fmt.Sprintf("%d %d %d %s", d.priority, d.weight, d.port, target)
	case "CAA":
		return fmt.Sprintf("%d %s %s", d.flag, strings.ToLower(d.tag), target)
	}
	return target
}

// named tells whether a record of the type ends in a name.
func named(kind string) bool {
	switch kind {
	case "CNAME", "MX", "NS", "PTR", "SRV":
		return true
	}
	return false
}

// bareName is a name in lower case without its final dot; the root stays ".".
func bareName(name string) string {
	if name = strings.ToLower(strings.TrimSuffix(name, ".")); name == "" {
		return "."
	}
	return name
}

// absolute makes a provider's record name absolute.
func absolute(name, zone string) string {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	switch {
	case name == "" || name == "@":
		return zone
	case name == zone || strings.HasSuffix(name, "."+zone):
		return name
	}
	return name + "." + zone
}

// relative is the name as providers want it, apex for the zone itself.
func relative(name, zone, apex string) string {
	if name == zone {
		return apex
	}
	return strings.TrimSuffix(name, "."+zone)
}

// unescape gives the bytes that a text of a zone file stands for, RFC 1035
// section 5.1.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		if i+2 < len(s) {
			if n, err := strconv.ParseUint(s[i:i+3], 10, 8); err == nil {
				b.WriteByte(byte(n))
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
