package names

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// Resolver is a caching recursive resolver. Make one with [New] and run it with
// [Resolver.Serve]. Its methods may be called concurrently.
type Resolver struct {
	host Host
	opts Options

	mu       sync.Mutex // never held while anything waits
	answers  table[entry]
	zones    table[*delegation]
	failures table[struct{}]
	records  table[record]
	flights  map[string]*flight
}

// flight is a walk on its way, which all who ask the same question share.
type flight struct {
	done chan struct{}
	res  result // once done is closed
}

// result is what a question led to.
type result struct {
	links []entry
	err   error
}

var errFailedLately = errors.New("failed a moment ago")

// New makes a resolver that knows nothing but its root servers.
func New(host Host, opts Options) (*Resolver, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Resolver{
		host: host, opts: opts,
		answers:  newTable[entry](opts.MaxEntries),
		zones:    newTable[*delegation](opts.MaxEntries),
		failures: newTable[struct{}](opts.MaxEntries),
		records:  newTable[record](opts.MaxEntries),
		flights:  map[string]*flight{},
	}, nil
}

// Flush forgets all answers, delegations, failures and how servers behaved.
// Questions on their way are not stopped and may bring back what they found.
func (r *Resolver) Flush() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answers.clear()
	r.zones.clear()
	r.failures.clear()
	r.records.clear()
}

// resolve answers a question from memory or by walking. The walk is run by its
// first asker, for all who ask meanwhile, and ends with ctx, which must be the
// one of the resolver and not of a client.
func (r *Resolver) resolve(ctx context.Context, name string, qtype uint16) result {
	key := question(name, qtype)
	now := r.opts.Now()
	r.mu.Lock()
	if f, ok := r.flights[key]; ok {
		r.mu.Unlock()
		<-f.done
		return f.res
	}
	if _, ok := r.failures.get(key, now); ok {
		r.mu.Unlock()
		return result{err: errFailedLately}
	}
	f := &flight{done: make(chan struct{})}
	r.flights[key] = f
	r.mu.Unlock()

	f.res = r.walk(ctx, key, name, qtype)

	now = r.opts.Now()
	r.mu.Lock()
	delete(r.flights, key)
	if f.res.err != nil && ctx.Err() == nil {
		r.failures.put(key, struct{}{}, now.Add(r.opts.FailureTTL), now)
	}
	r.mu.Unlock()
	close(f.done)
	return f.res
}

func (r *Resolver) walk(ctx context.Context, key, name string, qtype uint16) result {
	// The start tells the walks for one question apart without a counter for
	// each question that was ever asked.
	start := uint64(time.Now().UnixNano())
	walkCtx, cancel := context.WithTimeout(ctx, r.opts.Budget+shift(r.host, "budget/"+key, start))
	defer cancel()
	w := &walk{r: r, ctx: walkCtx, key: key, n: start, left: r.opts.MaxQueries}
	links, err := w.resolve(name, qtype, []string{dns.CanonicalName(name)})
	if err != nil && ctx.Err() == nil {
		r.opts.Log.Warn("failed", "question", key, "err", err.Error())
	}
	return result{links, err}
}

// answer makes the reply to a query. From is who asks; it decides, with the
// query's id, which of several addresses comes first.
func (r *Resolver) answer(ctx context.Context, query *dns.Msg, from string) *dns.Msg {
	reply := new(dns.Msg)
	reply.SetReply(query)
	reply.RecursionAvailable = true
	if opt := query.IsEdns0(); opt != nil {
		reply.SetEdns0(udpSize, false)
		if opt.Version() != 0 {
			reply.Rcode = dns.RcodeBadVers
			return reply
		}
	}
	switch {
	case query.Opcode != dns.OpcodeQuery:
		reply.Rcode = dns.RcodeNotImplemented
		return reply
	case len(query.Question) != 1:
		reply.Rcode = dns.RcodeFormatError
		return reply
	case !query.RecursionDesired:
		reply.Rcode = dns.RcodeRefused
		return reply
	}
	q := query.Question[0]
	if q.Qclass != dns.ClassINET || !dataType(q.Qtype) {
		reply.Rcode = dns.RcodeNotImplemented
		return reply
	}

	res := r.resolve(ctx, q.Name, q.Qtype)
	if res.err != nil {
		reply.Rcode = dns.RcodeServerFailure
		return reply
	}
	now := r.opts.Now()
	for i, link := range res.links {
		ttl := uint32(max(link.fresh.Sub(now), 0) / time.Second)
		owner := link.name
		if i == 0 {
			owner = q.Name // in the case in which it was asked
		}
		for _, rr := range rotate(link.records, r.host.Rand("names/rotate/"+from+"/"+question(q.Name, q.Qtype), uint64(query.Id))) {
			reply.Answer = append(reply.Answer, withHeader(rr, owner, ttl))
		}
		if len(link.records) == 0 {
			reply.Rcode = link.rcode
			if link.soa != nil {
				reply.Ns = append(reply.Ns, withHeader(link.soa, link.soa.Hdr.Name, ttl))
			}
		}
	}
	return reply
}

// dataType tells types of records from those that only stand in questions or
// messages, RFC 6895 section 3.1. ANY is among the latter, RFC 8482.
func dataType(t uint16) bool {
	return t != dns.TypeNone && t != dns.TypeOPT && (t < 128 || t > 255)
}

// rotate spreads load over addresses, keeping the order that the zone gave.
func rotate(records []dns.RR, by uint64) []dns.RR {
	if len(records) < 2 {
		return records
	}
	if t := records[0].Header().Rrtype; t != dns.TypeA && t != dns.TypeAAAA {
		return records
	}
	i := int(by % uint64(len(records)))
	return slices.Concat(records[i:], records[:i])
}

func withHeader(rr dns.RR, owner string, ttl uint32) dns.RR {
	c := dns.Copy(rr)
	c.Header().Name, c.Header().Ttl = owner, ttl
	return c
}
