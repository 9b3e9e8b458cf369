package dns

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// maxData bounds the data of one record.
const maxData = 4096

// Record is one record as a provider keeps it.
type Record struct {
	ID       int
	Type     string // in upper case
	Name     string // below the domain, "" for the domain itself
	Data     string // an address, a host without the final dot, or text
	TTL      int    // seconds; 0 takes the domain's
	Priority int    // MX and SRV
	Weight   int    // SRV
	Port     int    // SRV
	Flags    int    // CAA
	Tag      string // CAA
	Created  time.Time
	Updated  time.Time
}

// Invalid says why a provider refused a value. Field is one of "domain",
// "soa_email", "type", "name", "data", "ttl".
type Invalid struct{ Field, Reason string }

func (e *Invalid) Error() string { return e.Field + ": " + e.Reason }

// normal gives the record in the form it is kept in.
func (r Record) normal(domain string) (Record, error) {
	r.Type = strings.ToUpper(r.Type)
	r.Name = strings.ToLower(strings.TrimSuffix(r.Name, "."))
	switch {
	case r.Name == "@" || r.Name == domain:
		r.Name = ""
	default:
		r.Name = strings.TrimSuffix(r.Name, "."+domain)
	}
	switch r.Type {
	case "CNAME", "NS", "MX", "SRV", "PTR":
		if r.Data == "@" {
			r.Data = domain
		}
		r.Data = strings.ToLower(strings.TrimSuffix(r.Data, "."))
	}
	if r.TTL < 0 || r.TTL > 1<<31-1 {
		return r, &Invalid{"ttl", "must be a number of seconds"}
	}
	_, err := r.rr(domain, 0)
	return r, err
}

// fullName is the record's owner without the final dot.
func (r Record) fullName(domain string) string {
	if r.Name == "" {
		return domain
	}
	return r.Name + "." + domain
}

// rr gives the record as it is served.
func (r Record) rr(domain string, defaultTTL int) (dns.RR, error) {
	owner := r.fullName(domain)
	if !validName(owner) {
		return nil, &Invalid{"name", "is not a valid host name"}
	}
	if len(r.Data) > maxData {
		return nil, &Invalid{"data", "is too long"}
	}
	for _, n := range []int{r.Priority, r.Weight, r.Port} {
		if n < 0 || n > 1<<16-1 {
			return nil, &Invalid{"data", "priority, weight and port must be between 0 and 65535"}
		}
	}
	ttl := r.TTL
	if ttl == 0 {
		ttl = defaultTTL
	}
	t, known := dns.StringToType[r.Type]
	hdr := dns.RR_Header{Name: dns.Fqdn(owner), Rrtype: t, Class: dns.ClassINET, Ttl: uint32(ttl)}
	host := dns.Fqdn(r.Data)
	switch r.Type {
	case "CNAME", "NS", "MX", "SRV", "PTR":
		if !validName(r.Data) {
			return nil, &Invalid{"data", "is not a valid host name"}
		}
	}
	switch r.Type {
	case "A":
		addr, err := netip.ParseAddr(r.Data)
		if err != nil || !addr.Is4() {
			return nil, &Invalid{"data", "is not an IPv4 address"}
		}
		return &dns.A{Hdr: hdr, A: addr.AsSlice()}, nil
	case "AAAA":
		addr, err := netip.ParseAddr(r.Data)
		if err != nil || !addr.Is6() || addr.Is4In6() || addr.Zone() != "" {
			return nil, &Invalid{"data", "is not an IPv6 address"}
		}
		return &dns.AAAA{Hdr: hdr, AAAA: addr.AsSlice()}, nil
	case "CNAME":
		return &dns.CNAME{Hdr: hdr, Target: host}, nil
	case "NS":
		return &dns.NS{Hdr: hdr, Ns: host}, nil
	case "PTR":
		return &dns.PTR{Hdr: hdr, Ptr: host}, nil
	case "MX":
		return &dns.MX{Hdr: hdr, Preference: uint16(r.Priority), Mx: host}, nil
	case "SRV":
		return &dns.SRV{Hdr: hdr, Priority: uint16(r.Priority), Weight: uint16(r.Weight),
			Port: uint16(r.Port), Target: host}, nil
	case "TXT":
		if r.Data == "" {
			return nil, &Invalid{"data", "is required"}
		}
		return &dns.TXT{Hdr: hdr, Txt: textStrings(r.Data)}, nil
	case "CAA":
		if r.Flags < 0 || r.Flags > 255 || r.Tag == "" || len(r.Tag) > 15 || strings.Trim(r.Tag, "abcdefghijklmnopqrstuvwxyz0123456789") != "" {
			return nil, &Invalid{"data", "needs flags between 0 and 255 and a tag"}
		}
		return &dns.CAA{Hdr: hdr, Flag: uint8(r.Flags), Tag: r.Tag, Value: escape(r.Data)}, nil
	}
	if known {
		return nil, &Invalid{"type", r.Type + " records are not supported"}
	}
	return nil, &Invalid{"type", "is not a record type"}
}

// fromRR is the reverse of rr.
func fromRR(rr dns.RR, domain string) (Record, error) {
	h := rr.Header()
	r := Record{Type: dns.TypeToString[h.Rrtype], Name: h.Name, TTL: int(h.Ttl)}
	switch rr := rr.(type) {
	case *dns.A:
		r.Data = rr.A.String()
	case *dns.AAAA:
		r.Data = rr.AAAA.String()
	case *dns.CNAME:
		r.Data = rr.Target
	case *dns.NS:
		r.Data = rr.Ns
	case *dns.PTR:
		r.Data = rr.Ptr
	case *dns.MX:
		r.Data, r.Priority = rr.Mx, int(rr.Preference)
	case *dns.SRV:
		r.Data, r.Priority, r.Weight, r.Port = rr.Target, int(rr.Priority), int(rr.Weight), int(rr.Port)
	case *dns.TXT:
		r.Data = unescape(strings.Join(rr.Txt, ""))
	case *dns.CAA:
		r.Data, r.Flags, r.Tag = unescape(rr.Value), int(rr.Flag), rr.Tag
	default:
		return r, fmt.Errorf("record %s: %s records are not supported", h.Name, r.Type)
	}
	return r.normal(domain)
}

// validName tells whether a name without the final dot may own or be the target
// of a record: letters, digits, hyphens and underscores, and a wildcard label.
func validName(name string) bool {
	if _, ok := dns.IsDomainName(name); !ok || len(name) > 253 {
		return false
	}
	for i, label := range strings.Split(name, ".") {
		if label == "" || len(label) > 63 {
			return false
		}
		if label == "*" && i == 0 {
			continue
		}
		if strings.Trim(label, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != "" {
			return false
		}
	}
	return true
}

// textStrings cuts text into the strings of a TXT record, at most 255 bytes
// each.
func textStrings(text string) []string {
	var out []string
	for len(text) > 255 {
		out = append(out, escape(text[:255]))
		text = text[255:]
	}
	return append(out, escape(text))
}

// escape writes bytes as zone files do, RFC 1035 section 5.1.
func escape(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		switch {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c < ' ' || c > '~':
			fmt.Fprintf(&b, "\\%03d", c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// unescape is the reverse of escape.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		if i+2 < len(s) && isDigit(s[i]) && isDigit(s[i+1]) && isDigit(s[i+2]) {
			b.WriteByte((s[i]-'0')*100 + (s[i+1]-'0')*10 + (s[i+2] - '0'))
			i += 2
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
