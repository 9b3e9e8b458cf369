package probe

import (
	"context"
	"time"

	"github.com/miekg/dns"

	"github.com/espra/protoplex/monitor/query"
	"github.com/espra/protoplex/nodes"
)

// DNSOptions says what a DNS probe asks.
type DNSOptions struct {
	Server string        // host:port of an authoritative server
	Name   string        // to ask for
	Type   uint16        // dns.TypeSOA when 0
	Limit  time.Duration // of one try
}

// DNS makes a probe that wants an authoritative, non-empty answer without
// error from one name server (RFC 1035, section 4.1.1: RCODE, AA, ANCOUNT).
func DNS(m nodes.Machine, o DNSOptions) Probe {
	if o.Type == 0 {
		o.Type = dns.TypeSOA
	}
	return func(ctx context.Context, n uint64) Result {
		c := &clock{m: m}
		start := m.Elapsed()
		err := o.look(ctx, m, n)
		c.phases = append(c.phases, Phase{FirstByte, m.Elapsed() - start})
		return c.result(err)
	}
}

func (o DNSOptions) look(ctx context.Context, m nodes.Machine, n uint64) error {
	answer, err := query.Ask(ctx, m, query.Question{Server: o.Server, Name: o.Name, Type: o.Type, Timeout: o.Limit, N: n})
	switch {
	case err != nil:
		return &Error{FirstByte, err}
	case answer.Rcode != dns.RcodeSuccess:
		return failf("rcode %s", dns.RcodeToString[answer.Rcode])
	case !answer.Authoritative:
		return failf("not authoritative")
	case len(answer.Answer) == 0:
		return failf("empty answer")
	}
	return nil
}
