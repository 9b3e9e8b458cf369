package names

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// Stub asks recursive resolvers, as the resolver in a C library or in package
// net does. Names are absolute; there is no search list. It has no state, and
// its methods may be called concurrently.
type Stub struct {
	Host     Host
	Servers  []netip.AddrPort // asked in this order
	Timeout  time.Duration    // for one try at one server: 5 seconds
	Attempts int              // rounds through the servers: 2
}

// Lookup gives the records of a name, sorted and without repetitions; kind is
// "A", "TXT" (the strings of a record joined) or "CNAME" (without the final
// dot). For A and TXT it follows aliases; an alias itself is only given for
// CNAME.
//
// Errors are *net.DNSError: IsNotFound if the name does not exist or has no such
// records, IsTemporary if a server failed, and IsTimeout besides if none
// answered in time. If ctx ended, the error wraps that of ctx.
func (s Stub) Lookup(ctx context.Context, kind, name string) ([]string, error) {
	qtype, ok := map[string]uint16{"A": dns.TypeA, "TXT": dns.TypeTXT, "CNAME": dns.TypeCNAME}[kind]
	if !ok {
		return nil, &net.DNSError{Err: "unknown kind of record " + kind, Name: name}
	}
	records, err := s.records(ctx, qtype, name)
	if err != nil {
		return nil, err
	}
	var answers []string
	for _, rr := range records {
		switch rr := rr.(type) {
		case *dns.A:
			answers = append(answers, rr.A.String())
		case *dns.TXT:
			answers = append(answers, strings.Join(rr.Txt, ""))
		case *dns.CNAME:
			answers = append(answers, strings.TrimSuffix(rr.Target, "."))
		}
	}
	slices.Sort(answers)
	return slices.Compact(answers), nil
}

// LookupAddrs gives the IPv4 addresses of a name in the order in which to try
// them, which is the resolver's. An IP literal is its own address. Errors are
// those of Lookup.
func (s Stub) LookupAddrs(ctx context.Context, name string) ([]netip.Addr, error) {
	if addr, err := netip.ParseAddr(name); err == nil {
		return []netip.Addr{addr}, nil
	}
	records, err := s.records(ctx, dns.TypeA, name)
	if err != nil {
		return nil, err
	}
	return addressesOf(records), nil
}

var (
	errNoSuchHost  = errors.New("no such host")
	errMisbehaving = errors.New("server misbehaving")
	errNoServers   = errors.New("no resolvers")
)

// records asks the servers in turn until one knows.
func (s Stub) records(ctx context.Context, qtype uint16, name string) ([]dns.RR, error) {
	if _, ok := dns.IsDomainName(name); !ok || name == "" || len(name) > 254 {
		return nil, s.wrap(ctx, errNoSuchHost, name, "")
	}
	canonical := dns.CanonicalName(name)
	if qtype == dns.TypeA && dns.IsSubDomain("localhost.", canonical) {
		// Never asked, RFC 6761 section 6.3.
		return []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: canonical, Rrtype: qtype, Class: dns.ClassINET}, A: net.IPv4(127, 0, 0, 1)}}, nil
	}
	// Start and try tell the queries for one name apart without a counter that
	// lookups would share.
	n := uint64(time.Now().UnixNano())
	last, at := errNoServers, ""
	for range cmp.Or(s.Attempts, 2) {
		for _, server := range s.Servers {
			n++
			id := s.Host.Rand("names/stub/"+server.String()+"/"+question(name, qtype), n)
			q := newQuery(uint16(id), dns.Fqdn(name), qtype, true)
			m, err := exchange(ctx, s.Host, server, q, cmp.Or(s.Timeout, 5*time.Second))
			var records []dns.RR
			if err == nil {
				records, err = readAnswer(canonical, qtype, m)
			}
			if err == nil {
				return records, nil
			}
			last, at = err, server.String()
			if ctx.Err() != nil || errors.Is(err, errNoSuchHost) {
				return nil, s.wrap(ctx, last, name, at)
			}
		}
	}
	return nil, s.wrap(ctx, last, name, at)
}

// readAnswer finds the records in a resolver's answer, at the end of the chain
// of aliases that starts at the name.
func readAnswer(name string, qtype uint16, m *dns.Msg) ([]dns.RR, error) {
	switch m.Rcode {
	case dns.RcodeSuccess:
	case dns.RcodeNameError:
		return nil, errNoSuchHost
	default:
		return nil, errMisbehaving
	}
	for range maxAliases + 1 {
		if records := pick(m.Answer, ".", name, qtype); len(records) > 0 {
			return records, nil
		}
		alias := pick(m.Answer, ".", name, dns.TypeCNAME)
		if len(alias) == 0 {
			return nil, errNoSuchHost
		}
		name = dns.CanonicalName(alias[0].(*dns.CNAME).Target)
	}
	return nil, errMisbehaving
}

func (s Stub) wrap(ctx context.Context, err error, name, server string) error {
	var ne net.Error
	timeout := errors.Is(err, context.DeadlineExceeded) || errors.As(err, &ne) && ne.Timeout()
	e := &net.DNSError{
		Err: err.Error(), Name: name, Server: server,
		IsNotFound: errors.Is(err, errNoSuchHost), IsTimeout: timeout,
	}
	e.IsTemporary = !e.IsNotFound
	if ctx.Err() != nil {
		e.UnwrapErr = ctx.Err()
	}
	return e
}
