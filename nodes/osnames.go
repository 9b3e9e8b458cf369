package nodes

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

const (
	resolverTry    = 2 * time.Second // patience with one name server
	resolverRounds = 2               // through the list of them
	resolvConf     = "/etc/resolv.conf"
)

// names asks recursive name servers. Without a list of its own it uses the
// system's, and for addresses all that the system knows, as its hosts file.
type names struct{ servers []string }

func resolverAddress(s string) (string, error) {
	if ip, err := netip.ParseAddr(s); err == nil {
		return netip.AddrPortFrom(ip, 53).String(), nil
	}
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.String(), nil
	}
	return "", &net.AddrError{Err: "resolver is neither ip nor ip:port", Addr: s}
}

func (n names) lookup(ctx context.Context, kind, name string) ([]string, error) {
	question, ok := map[string]uint16{"A": dns.TypeA, "TXT": dns.TypeTXT, "CNAME": dns.TypeCNAME}[kind]
	if !ok {
		return nil, &net.DNSError{Err: "unknown kind of record " + kind, Name: name}
	}
	if _, ok := dns.IsDomainName(name); !ok || name == "" {
		return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	servers := n.servers
	if len(servers) == 0 {
		if kind == "A" {
			return systemAddresses(ctx, name)
		}
		conf, err := dns.ClientConfigFromFile(resolvConf)
		if err != nil {
			return nil, &net.DNSError{UnwrapErr: err, Err: "read " + resolvConf, Name: name, IsTemporary: true}
		}
		for _, s := range conf.Servers {
			servers = append(servers, net.JoinHostPort(s, conf.Port))
		}
	}
	if lower := strings.ToLower(strings.TrimSuffix(name, ".")); kind == "A" && (lower == "localhost" || strings.HasSuffix(lower, ".localhost")) {
		return []string{"127.0.0.1"}, nil // RFC 6761, section 6.3: never asked
	}

	var last error
	for range resolverRounds {
		for _, server := range servers {
			answers, err := ask(ctx, server, question, name)
			var de *net.DNSError
			if err == nil || errors.As(err, &de) && de.IsNotFound {
				return answers, err
			}
			last = err
			if ctx.Err() != nil {
				return nil, last
			}
		}
	}
	if last == nil {
		last = &net.DNSError{Err: "no name servers", Name: name, IsTemporary: true}
	}
	return nil, last
}

func systemAddresses(ctx context.Context, name string) ([]string, error) {
	var r net.Resolver
	ips, err := r.LookupNetIP(ctx, "ip4", name)
	if err != nil {
		return nil, err
	}
	var answers []string
	for _, ip := range ips {
		answers = append(answers, ip.Unmap().String())
	}
	slices.Sort(answers)
	return slices.Compact(answers), nil
}

// ask puts one question to one server, over UDP and, when the answer was cut
// short, over TCP.
func ask(ctx context.Context, server string, question uint16, name string) ([]string, error) {
	fail := func(err error) error {
		var ne net.Error
		timeout := errors.Is(err, context.DeadlineExceeded) || errors.As(err, &ne) && ne.Timeout()
		return &net.DNSError{UnwrapErr: err, Err: err.Error(), Name: name, Server: server, IsTimeout: timeout, IsTemporary: true}
	}
	ctx, cancel := context.WithTimeout(ctx, resolverTry)
	defer cancel()
	msg := new(dns.Msg)
	msg.SetQuestion(dns.Fqdn(name), question)
	msg.SetEdns0(1232, false)
	client := dns.Client{Net: "udp", Timeout: resolverTry}
	reply, _, err := client.ExchangeContext(ctx, msg, server)
	if err == nil && reply.Truncated {
		client.Net = "tcp"
		reply, _, err = client.ExchangeContext(ctx, msg, server)
	}
	if err != nil {
		return nil, fail(err)
	}
	switch reply.Rcode {
	case dns.RcodeSuccess, dns.RcodeNameError:
	default:
		return nil, fail(errors.New("name server answered " + dns.RcodeToString[reply.Rcode]))
	}
	var answers []string
	for _, rr := range reply.Answer {
		if rr.Header().Rrtype != question {
			continue
		}
		switch rr := rr.(type) {
		case *dns.A:
			answers = append(answers, rr.A.String())
		case *dns.TXT:
			answers = append(answers, strings.Join(rr.Txt, ""))
		case *dns.CNAME:
			answers = append(answers, strings.TrimSuffix(rr.Target, "."))
		}
	}
	if len(answers) == 0 {
		return nil, &net.DNSError{Err: "no such host", Name: name, Server: server, IsNotFound: true}
	}
	slices.Sort(answers)
	return slices.Compact(answers), nil
}
