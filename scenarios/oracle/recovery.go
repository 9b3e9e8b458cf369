package oracle

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"
)

// trouble is a time in which a client could not load pages or publish, or lacked
// a tunnel or a subscription.
type trouble struct {
	from, until time.Duration
	ends        bool // within the history
	causes      []cause
}

type cause struct {
	at  time.Duration
	why string
}

// why gives the last cause up to a moment.
func (t trouble) why(until time.Duration) string {
	last := ""
	for _, c := range t.causes {
		if c.at <= until {
			last = c.why
		}
	}
	return last
}

// ClientsRecovered judges that of the clients that the fault put in trouble, a
// share, in basis points, was well again within a time of the fault: loading
// pages, publishing, connected and subscribed everywhere. It counts those clients.
func ClientsRecovered(h History, f Fault, share int, within time.Duration) Verdict {
	name := fmt.Sprintf("%s of clients recovered", Percent(share))
	deadline := f.From + within
	const never = time.Duration(1<<63 - 1)

	type end struct {
		client string
		took   time.Duration
		why    string
	}
	var d docket
	var ends []end
	troubles := troubles(h)
	for _, client := range slices.Sorted(maps.Keys(troubles)) {
		last := end{client: client, took: -1}
		for _, t := range troubles[client] {
			if t.from > deadline || t.until <= f.From {
				continue
			}
			last.took, last.why = t.until-f.From, t.why(deadline)
			if !t.ends {
				last.took = never
			}
		}
		if last.took >= 0 {
			ends = append(ends, last)
		}
	}
	d.judged = len(ends)
	if d.judged == 0 {
		return d.verdict(name, "nobody was in trouble", Span(within))
	}
	slices.SortStableFunc(ends, func(a, b end) int { return cmp.Compare(a.took, b.took) })

	needed := max((d.judged*share+9999)/10000, 1)
	decisive := ends[needed-1]
	if decisive.took > within {
		d.broke(deadline, "%s at %s, %s", decisive.client, Offset(deadline), decisive.why)
	}
	measured := Span(decisive.took)
	if decisive.took == never {
		well := slices.IndexFunc(ends, func(e end) bool { return e.took == never })
		measured = fmt.Sprintf("never (%d of %d)", well, d.judged)
	}
	return d.verdict(name, measured, Span(within))
}

// health is what one client has and lacks at a moment of the walk.
type health struct {
	missing map[seat]bool // tunnels (no channel name), subscriptions, and pages (no host)
	tunnels map[seat][]seat
	open    bool // in trouble
}

// troubles gives each client's times of trouble, in order.
func troubles(h History) map[string][]trouble {
	all := map[string][]trouble{}
	clients := map[string]*health{}
	of := func(client string) *health {
		if clients[client] == nil {
			clients[client] = &health{missing: map[seat]bool{}, tunnels: map[seat][]seat{}}
		}
		return clients[client]
	}
	note := func(client string, at time.Duration, why string) {
		c, list := of(client), all[client]
		switch {
		case len(c.missing) > 0 && !c.open:
			c.open = true
			all[client] = append(list, trouble{from: at, until: h.Lasts, causes: []cause{{at, why}}})
		case len(c.missing) > 0 && why != "":
			last := &list[len(list)-1]
			last.causes = append(last.causes, cause{at, why})
		case len(c.missing) == 0 && c.open:
			c.open = false
			list[len(list)-1].until, list[len(list)-1].ends = at, true
		}
	}

	page := func(p Page) {
		switch c := of(p.Client); p.Outcome {
		case OK:
			delete(c.missing, seat{client: p.Client})
			note(p.Client, p.At, "")
		case Failed:
			c.missing[seat{client: p.Client}] = true
			note(p.Client, p.At, p.Error)
		}
	}
	stream := func(e Stream) {
		c := of(e.Client)
		tunnel := seat{e.Client, channel{host: e.Host, key: e.Key}}
		at := seat{e.Client, channel{e.Host, e.Key, e.Channel}}
		switch e.Kind {
		case Connected:
			delete(c.missing, tunnel)
		case Refused:
			c.missing[tunnel] = true
		case Disconnected:
			if e.Why == Stopped {
				return
			}
			c.missing[tunnel] = true
			for _, s := range c.tunnels[tunnel] {
				c.missing[s] = true
			}
		case Subscribed:
			delete(c.missing, at)
			if !slices.Contains(c.tunnels[tunnel], at) {
				c.tunnels[tunnel] = append(c.tunnels[tunnel], at)
			}
		default:
			return
		}
		note(e.Client, e.At, e.Why)
	}

	publish := func(p Publish) {
		to := seat{p.Client, channel{host: p.Host, key: p.Key}}
		switch c := of(p.Client); {
		case p.Error == Stopped:
			return
		case p.Outcome == OK:
			delete(c.missing, to)
			note(p.Client, p.At, "")
		default:
			c.missing[to] = true
			note(p.Client, p.At, p.Error)
		}
	}

	// All in the order of time.
	const never = time.Duration(1<<63 - 1)
	pages, streams, publishes := h.Pages, h.Streams, h.Publishes
	for {
		nextPage, nextStream, nextPublish := never, never, never
		if len(pages) > 0 {
			nextPage = pages[0].At
		}
		if len(streams) > 0 {
			nextStream = streams[0].At
		}
		if len(publishes) > 0 {
			nextPublish = publishes[0].At
		}
		switch min(nextPage, nextStream, nextPublish) {
		case never:
			return all
		case nextPage:
			page(pages[0])
			pages = pages[1:]
		case nextStream:
			stream(streams[0])
			streams = streams[1:]
		default:
			publish(publishes[0])
			publishes = publishes[1:]
		}
	}
}
