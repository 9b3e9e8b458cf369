package zone

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/miekg/dns"

	"github.com/espra/protoplex/monitor/query"
	"github.com/espra/protoplex/nodes"
)

// Served asks one authoritative server (host:port) for the records of a name and
// type, so for what the world gets, and gives them sorted, without IDs. What the
// zone delegates to others comes out of the referral. N counts the questions of
// the caller.
func Served(ctx context.Context, m nodes.Machine, server, name, kind string, timeout time.Duration, n uint64) ([]Record, error) {
	answer, err := query.Ask(ctx, m, query.Question{
		Server: server, Name: name, Type: dns.StringToType[kind], Timeout: timeout, N: n,
	})
	if err != nil {
		return nil, err
	}
	if answer.Rcode == dns.RcodeNameError && answer.Authoritative {
		return nil, nil
	}
	sections := answer.Answer
	referral := answer.Rcode == dns.RcodeSuccess && !answer.Authoritative && len(answer.Answer) == 0 && len(answer.Ns) > 0
	if referral {
		sections = append(slices.Clone(answer.Ns), answer.Extra...)
	} else if answer.Rcode != dns.RcodeSuccess || !answer.Authoritative {
		return nil, fmt.Errorf("zone: %s answers %s, authoritative %t", server, dns.RcodeToString[answer.Rcode], answer.Authoritative)
	}
	var records []Record
	for _, rr := range sections {
		if r, ok := FromRR(rr); ok && r.Name == bareName(name) && r.Type == kind {
			records = append(records, r)
		}
	}
	return Sort(records), nil
}

// Serves is Served for those who want nothing but the values.
func Serves(ctx context.Context, m nodes.Machine, server, name, kind string, timeout time.Duration, n uint64) ([]string, error) {
	records, err := Served(ctx, m, server, name, kind, timeout, n)
	var values []string
	for _, r := range records {
		values = append(values, r.Value)
	}
	return values, err
}
