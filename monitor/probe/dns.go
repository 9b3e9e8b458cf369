package probe

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/espra/protoplex/monitor/query"
	"github.com/espra/protoplex/nodes"
)

type dnsOptions struct {
	servers []string // host:port of authoritative servers: each must answer
	parent  bool     // they are those of the zone above, and refer to the name's
	name    string   // to ask for
	kind    uint16   // of record
	rcode   int
	also    []string // further names that must have an address, or an alias
	values  []dns.RR // the whole answer, in any order; nil takes any
}

// names makes a probe that asks every server and wants an authoritative answer
// with the response code and the records (RFC 1035, section 4.1.1: AA, RCODE,
// ANCOUNT).
func names(m nodes.Machine, name string, o Options, d dnsOptions) Probe {
	return func(ctx context.Context, n uint64) Result {
		l := o.look(m, name)
		start := m.Elapsed()
		errs := make([]error, len(d.servers))
		places := make([]int, len(d.servers))
		for i := range places {
			places[i] = i
		}
		turn, gone := int(n%uint64(len(d.servers))), ""
		nodes.FanOut(ctx, m, l.label, places, func(ctx context.Context, i int) {
			errs[i] = d.ask(ctx, m, d.servers[i], o, n)
			if errs[i] == nil && i == turn {
				gone, errs[i] = d.askAlso(ctx, m, d.servers[i], o, n)
			}
		})
		l.phases = append(l.phases, Phase{FirstByte, m.Elapsed() - start})
		r := l.result(d.join(errs))
		for i, err := range errs {
			switch {
			case err == nil || len(errs) == 1:
			case i == turn && gone != "":
				r.Parts = append(r.Parts, gone)
			default:
				r.Parts = append(r.Parts, d.servers[i])
			}
		}
		if d.parent && r.Failed() == FirstByte {
			// Whether a zone above answers is the affair of others.
			r.Err = fmt.Errorf("%w: %w", ErrUnseen, r.Err)
		}
		return r
	}
}

func (d dnsOptions) ask(ctx context.Context, m nodes.Machine, server string, o Options, n uint64) error {
	answer, err := query.Ask(ctx, m, query.Question{Server: server, Name: d.name, Type: d.kind, Timeout: o.Limit, N: n})
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return &Error{FirstByte, fmt.Errorf("no answer within %s", o.Limit)}
	case err != nil:
		return &Error{FirstByte, err}
	case d.parent && answer.Rcode == dns.RcodeNameError:
		return failf("the zone above knows no such name")
	case answer.Rcode != d.rcode:
		return failf("rcode %s, want %s", dns.RcodeToString[answer.Rcode], dns.RcodeToString[d.rcode])
	case !answer.Authoritative && !d.parent:
		return failf("not authoritative")
	}
	records := answer.Answer
	if d.parent {
		if records = d.referral(answer); len(records) == 0 {
			return failf("refers to no name server")
		}
	}
	switch {
	case d.values != nil:
		return d.compare(records)
	case d.rcode == dns.RcodeSuccess && len(records) == 0:
		return failf("empty answer")
	}
	return nil
}

// askAlso asks a server for the further names. What is gone from a zone is gone
// from all its servers, so they take turns. Whether a server answers at all is
// judged by the first question alone, so that many names fail no more often. It gives
// the name that is gone.
func (d dnsOptions) askAlso(ctx context.Context, m nodes.Machine, server string, o Options, n uint64) (gone string, err error) {
	for _, name := range d.also {
		one := dnsOptions{name: name, kind: dns.TypeA, rcode: dns.RcodeSuccess}
		var e *Error
		if err := one.ask(ctx, m, server, o, n); errors.As(err, &e) && e.Phase == Check {
			return name, &Error{e.Phase, fmt.Errorf("%s: %w", name, e.Err)}
		}
	}
	return "", nil
}

// referral gives the name servers to which a parent's server refers (RFC 1034,
// section 4.3.2, step 3b), or which it knows itself, being one of them.
func (d dnsOptions) referral(answer *dns.Msg) []dns.RR {
	return slices.DeleteFunc(slices.Concat(answer.Answer, answer.Ns), func(rr dns.RR) bool {
		return rr.Header().Rrtype != dns.TypeNS || !strings.EqualFold(rr.Header().Name, dns.Fqdn(d.name))
	})
}

// compare wants the records of the asked type to be the wanted values.
func (d dnsOptions) compare(answer []dns.RR) error {
	var got []dns.RR
	for _, rr := range answer {
		if rr.Header().Rrtype == d.kind {
			got = append(got, rr)
		}
	}
	missing := slices.Clone(d.values)
	for _, rr := range got {
		i := slices.IndexFunc(missing, func(want dns.RR) bool { return sameData(rr, want) })
		if i < 0 {
			return failf("answer has %.80s", data(rr))
		}
		missing = slices.Delete(missing, i, i+1)
	}
	if len(missing) > 0 {
		return failf("answer lacks %.80s", data(missing[0]))
	}
	return nil
}

// sameData compares two records but for name and TTL.
func sameData(a, b dns.RR) bool {
	if x, ok := a.(*dns.TXT); ok {
		y, ok := b.(*dns.TXT)
		return ok && strings.Join(x.Txt, "") == strings.Join(y.Txt, "")
	}
	a = dns.Copy(a)
	a.Header().Name = b.Header().Name
	return dns.IsDuplicate(a, b)
}

// data is a record as people write it, without name and TTL.
func data(rr dns.RR) string { return strings.TrimPrefix(rr.String(), rr.Header().String()) }

// value reads what people write. A text is taken as it is.
func value(kind uint16, text string) (dns.RR, error) {
	header := dns.RR_Header{Name: ".", Rrtype: kind, Class: dns.ClassINET}
	if kind == dns.TypeTXT {
		return &dns.TXT{Hdr: header, Txt: []string{text}}, nil
	}
	rr, err := dns.NewRR(header.String() + text)
	if err != nil {
		return nil, err
	}
	if rr == nil {
		return nil, errors.New("empty")
	}
	return rr, nil
}

// maxTold bounds how many servers an error names.
const maxTold = 3

// join tells what is wrong with which servers. With one server nothing needs to
// be told apart.
func (d dnsOptions) join(errs []error) error {
	if len(errs) == 1 {
		return errs[0]
	}
	var first *Error
	var told []string
	bad := 0
	for i, err := range errs {
		var e *Error
		if !errors.As(err, &e) {
			continue
		}
		if first == nil {
			first = e
		}
		if bad++; bad <= maxTold {
			told = append(told, d.servers[i]+": "+e.Err.Error())
		}
	}
	if first == nil {
		return nil
	}
	return &Error{first.Phase, fmt.Errorf("%d of %d servers: %s", bad, len(errs), strings.Join(told, "; "))}
}
