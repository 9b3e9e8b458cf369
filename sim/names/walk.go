package names

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

const (
	// maxDepth bounds how far finding a server may need finding a server.
	maxDepth = 4
	// maxUnknown bounds the servers of one zone whose addresses are looked for
	// while answering one question (the NXNSAttack of 2020 lived on more).
	maxUnknown = 4
)

var (
	errSpent    = errors.New("question needs too many queries")
	errAliases  = errors.New("too many aliases")
	errNoServer = errors.New("no server with an address")
)

// walk is the work for one question. It is one goroutine and never waits for
// another walk, so walks cannot wait for each other in a circle.
type walk struct {
	r    *Resolver
	ctx  context.Context
	key  string // the question, part of the name of each random choice
	n    uint64 // counts those choices
	left int    // queries that may still be sent
}

// resolve gives the links of the answer to a question, following aliases. The
// name keeps the case in which it was asked. Pending are the names whose
// addresses are being looked for, outermost first.
func (w *walk) resolve(name string, qtype uint16, pending []string) ([]entry, error) {
	var links []entry
	for {
		e, ok := w.r.cached(dns.CanonicalName(name), qtype, false)
		if ok {
			links = append(links, e)
		} else if more, err := w.fetch(name, qtype, pending); err == nil {
			links = append(links, more...)
		} else if e, ok := w.r.cached(dns.CanonicalName(name), qtype, true); ok {
			links = append(links, e)
		} else {
			return nil, err
		}
		next, ok := links[len(links)-1].alias(qtype)
		if !ok {
			return links, nil
		}
		if len(links) > maxAliases {
			return nil, errAliases
		}
		name = next
	}
}

// fetch asks the servers, from the closest zone known down to the one that has
// the answer.
func (w *walk) fetch(name string, qtype uint16, pending []string) ([]entry, error) {
	canonical := dns.CanonicalName(name)
	d := w.r.closest(canonical, "")
	known := true // d comes from memory and may be out of date
	for {
		rep, err := w.askZone(d, name, qtype, pending)
		if err != nil {
			if known && d.zone != "." && w.ctx.Err() == nil && !errors.Is(err, errSpent) {
				// Perhaps the zone has moved: go through the one above.
				d, known = w.r.closest(canonical, d.zone), false
				continue
			}
			return nil, fmt.Errorf("zone %s: %w", d.zone, err)
		}
		if rep.referral != nil {
			d, known = w.r.rememberZone(rep.referral), false
			continue
		}
		// A list that tells nothing new must not prolong the delegation, or a zone
		// that the one above has given to others would live on for ever.
		if rep.own != nil && w.r.opts.ChildCentric && d.zone != "." && !rep.own.sameServers(d) {
			w.r.rememberZone(rep.own.withGlueOf(d))
		}
		return w.r.remember(canonical, qtype, rep), nil
	}
}

// askZone asks the servers of a zone one after the other until one gives a
// usable reply: first those with known addresses, best first, then the others,
// then once more those that did not answer at all.
func (w *walk) askZone(d *delegation, name string, qtype uint16, pending []string) (*reply, error) {
	known, unknown := w.r.addresses(d)
	var asked, silent []netip.AddrPort
	last := errNoServer
	try := func(servers []netip.AddrPort, again bool) (*reply, bool) {
		for _, at := range servers {
			if !again && slices.Contains(asked, at) {
				continue
			}
			asked = append(asked, at)
			rep, err := w.ask(d.zone, at, name, qtype, w.r.patience(d.zone, at, again))
			if err == nil {
				return rep, true
			}
			last = err
			if w.ctx.Err() != nil || errors.Is(err, errSpent) {
				return nil, true
			}
			if !again && errors.Is(err, context.DeadlineExceeded) {
				silent = append(silent, at)
			}
		}
		return nil, false
	}

	rep, done := try(w.r.order(d.zone, known), false)
	tries := 0
	for _, ns := range unknown {
		if done || tries == maxUnknown {
			break
		}
		if len(pending) > maxDepth || slices.Contains(pending, ns) || dns.IsSubDomain(d.zone, ns) {
			continue // only this very search, or the zone itself, could tell its address
		}
		tries++
		links, err := w.resolve(ns, dns.TypeA, append(slices.Clone(pending), ns))
		if err != nil {
			last = fmt.Errorf("address of %s: %w", ns, err)
			done = w.ctx.Err() != nil || errors.Is(err, errSpent)
			continue
		}
		var found []netip.AddrPort
		for _, a := range addressesOf(links[len(links)-1].records) {
			found = append(found, netip.AddrPortFrom(a, w.r.opts.Port))
		}
		rep, done = try(w.r.order(d.zone, found[:min(len(found), maxGlue)]), false)
	}
	if !done {
		rep, _ = try(silent, true)
	}
	if rep == nil {
		return nil, last
	}
	return rep, nil
}

// ask puts the question to one server of a zone and remembers how that went.
func (w *walk) ask(zone string, at netip.AddrPort, name string, qtype uint16, patience time.Duration) (*reply, error) {
	q := newQuery(uint16(w.rand("id")), name, qtype, false)
	start := time.Now()
	m, err := w.exchange(at, q, patience)
	if err == nil && m.Rcode == dns.RcodeFormatError && m.IsEdns0() == nil {
		q.Extra = nil // an old server: without EDNS, RFC 6891 section 6.2.2
		m, err = w.exchange(at, q, patience)
	}
	rtt := time.Since(start)
	var rep *reply
	if err == nil {
		rep, err = readReply(dns.CanonicalName(zone), name, qtype, m)
	}
	w.r.opts.Log.Debug("asked", "question", question(name, qtype), "zone", zone, "server", at.String(), "outcome", outcome(rep, err))
	if err == nil {
		w.r.answered(zone, at, rtt)
		return rep, nil
	}
	if w.ctx.Err() == nil && !errors.Is(err, errSpent) {
		w.r.failed(zone, at)
	}
	return nil, fmt.Errorf("server %s: %w", at, err)
}

func (w *walk) exchange(at netip.AddrPort, q *dns.Msg, patience time.Duration) (*dns.Msg, error) {
	if w.left == 0 {
		return nil, errSpent
	}
	w.left--
	return exchange(w.ctx, w.r.host, at, q, patience)
}

func (w *walk) rand(what string) uint64 {
	w.n++
	return w.r.host.Rand("names/"+what+"/"+w.key, w.n)
}

func outcome(rep *reply, err error) string {
	switch {
	case err != nil:
		return err.Error()
	case rep.referral != nil:
		return "referral to " + rep.referral.zone
	case len(rep.sets) == 0 && rep.rcode == dns.RcodeNameError:
		return "no such name"
	case len(rep.sets) == 0:
		return "no such records"
	}
	last := rep.sets[len(rep.sets)-1]
	var values []string
	for _, rr := range last.records {
		values = append(values, strings.TrimPrefix(rr.String(), rr.Header().String()))
	}
	return dns.Type(last.rtype).String() + " " + strings.Join(values, " ")
}
