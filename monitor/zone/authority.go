package zone

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/espra/protoplex/monitor/query"
	"github.com/espra/protoplex/nodes"
)

// Serves asks one authoritative server (host:port) for the records of a name,
// so for what the world gets, and gives their values, sorted. Type is "TXT" or
// "CNAME". N counts the questions of the caller.
func Serves(ctx context.Context, m nodes.Machine, server, name, kind string, timeout time.Duration, n uint64) ([]string, error) {
	answer, err := query.Ask(ctx, m, query.Question{
		Server: server, Name: name, Type: dns.StringToType[kind], Timeout: timeout, N: n,
	})
	if err != nil {
		return nil, err
	}
	if answer.Rcode == dns.RcodeNameError {
		return nil, nil
	}
	if answer.Rcode != dns.RcodeSuccess || !answer.Authoritative {
		return nil, fmt.Errorf("zone: %s answers %s, authoritative %t", server, dns.RcodeToString[answer.Rcode], answer.Authoritative)
	}
	var values []string
	for _, rr := range answer.Answer {
		if !strings.EqualFold(rr.Header().Name, dns.Fqdn(name)) {
			continue
		}
		switch rr := rr.(type) {
		case *dns.TXT:
			if kind == "TXT" {
				values = append(values, strings.Join(rr.Txt, ""))
			}
		case *dns.CNAME:
			if kind == "CNAME" {
				values = append(values, strings.ToLower(strings.TrimSuffix(rr.Target, ".")))
			}
		}
	}
	slices.Sort(values)
	return values, nil
}
