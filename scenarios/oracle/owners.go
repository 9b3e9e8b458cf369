package oracle

import (
	"fmt"
	"slices"
	"strconv"
	"time"
)

// SupersededOwners judges that nobody sits for longer than after on a channel's
// former owner: on one in a region that, by all authorities, is not the home of
// the channel's host, or has not been since that owner was first heard of, or on
// another than somebody who came or published later to the same channel in the same
// region. Time counts from the change of home or that coming, or from when the fault
// healed, whichever is later, since who is cut off cannot learn that it was
// superseded. It counts the subscriptions that lasted beyond the healing.
func SupersededOwners(h History, f Fault, after time.Duration) Verdict {
	var d docket
	homes := map[string][]tenure{}
	rivals := map[channel][]*session{}
	all := sessions(h)
	for _, s := range all {
		rivals[s.channel] = append(rivals[s.channel], s)
	}
	born := firstHeard(h, all)
	publishedElsewhere(h, f, after, rivals, born, &d)
	for _, s := range all {
		if s.until <= f.Until || s.region() == "" {
			continue
		}
		if _, ok := homes[s.host]; !ok {
			homes[s.host] = tenures(h, s.host)
		}
		d.judged++
		for _, home := range homes[s.host] {
			limit := max(home.from, f.Until) + after
			from, until := max(home.from, s.from, limit), s.until
			is := "at home in " + home.region + " since"
			if born[s.base.Incarnation] >= home.from {
				until = min(home.until, until)
			} else if from >= home.until { // superseded for ever, wherever the home is now
				is = "which left it for " + home.region + " at"
			}
			if home.region != s.region() && until > from {
				d.broke(from, "%s at %s is on %s of %s, %s %s", s.client, Offset(from), s.base.Incarnation, s.host, is, Offset(home.from))
				break
			}
		}
		for _, o := range rivals[s.channel] {
			from := max(o.from, f.Until) + after
			if o.from > s.from && o.base.Incarnation != s.base.Incarnation && o.region() == s.region() && min(o.until, s.until) > from {
				d.broke(from, "%s at %s is on %s of %s, %s on %s since %s",
					s.client, Offset(from), s.base.Incarnation, s.host, o.client, o.base.Incarnation, Offset(o.from))
				break
			}
		}
	}
	return d.verdict("on a superseded owner, "+Span(after)+" on", strconv.Itoa(d.broken), "0")
}

// firstHeard tells when each incarnation was first heard of by a client.
func firstHeard(h History, all []*session) map[string]time.Duration {
	born := map[string]time.Duration{}
	hear := func(incarnation string, at time.Duration) {
		if was, known := born[incarnation]; !known || at < was {
			born[incarnation] = at
		}
	}
	for _, s := range all {
		hear(s.base.Incarnation, s.from)
	}
	for _, p := range h.Publishes {
		if p.Outcome == OK {
			hear(p.Position.Incarnation, p.At)
		}
	}
	return born
}

// publishedElsewhere notes who still listens to one owner of a channel while what
// is published goes to another, and has for longer than after; and who goes on
// listening to it once it is the owner again: of what the later one was told in
// between it has not heard, nor of the gap.
func publishedElsewhere(h History, f Fault, after time.Duration, on map[channel][]*session, born map[string]time.Duration, d *docket) {
	type owner struct {
		channel
		incarnation string
	}
	since, last := map[owner]time.Duration{}, map[owner]time.Duration{} // publications
	for _, p := range h.Publishes {
		if p.Outcome == OK {
			last[owner{channel{p.Host, p.Key, p.Channel}, p.Position.Incarnation}] = p.At
		}
	}
	for _, p := range h.Publishes {
		if p.Outcome != OK {
			continue
		}
		at := channel{p.Host, p.Key, p.Channel}
		o := owner{at, p.Position.Incarnation}
		_, told := since[o]
		if !told {
			since[o] = p.At
		}
		from := max(since[o], f.Until) + after
		for _, s := range on[at] {
			if s.base.Incarnation == o.incarnation || s.region() != incarnationRegion(o.incarnation) || since[o] <= s.from {
				continue
			}
			switch {
			case p.At > from && s.until > p.At:
				d.broke(p.At, "%s at %s is on %s of %s, %s publishes to %s since %s",
					s.client, Offset(p.At), s.base.Incarnation, s.host, p.Client, o.incarnation, Offset(since[o]))
			case !told && last[o] <= from && s.until > from && born[o.incarnation] > born[s.base.Incarnation]:
				d.broke(from, "%s at %s is on %s of %s still, %s published to %s at %s",
					s.client, Offset(from), s.base.Incarnation, s.host, p.Client, o.incarnation, Offset(p.At))
			}
		}
	}
}

// Home judges that, within a time of the fault's healing and not before another
// has passed, the watched names are back in the fault's region at every authority,
// to stay, and that every subscriber of them has been served from there. It counts pairs of authority
// and name that were away when the fault healed, and the subscriptions open
// since.
func Home(h History, f Fault, n Names, notBefore, within time.Duration) Verdict {
	var d docket
	var slowest time.Duration
	deadline, there := f.Until+within, 0
	arrive := func(at time.Duration, late string) {
		there++
		slowest = max(slowest, at-f.Until)
		if at > deadline {
			d.broke(deadline, "%s; that came at %s", late, Offset(at))
		}
	}

	served, order := sights(h, n.Watched)
	for _, key := range order {
		states := served[key]
		if s, ok := at(states, f.Until); !ok || s.Home == f.Region {
			continue
		}
		d.judged++
		late := fmt.Sprintf("%s at %s, %s does not have %s in %s", key.provider, Offset(deadline), key.authority, key.name, f.Region)
		back := len(states)
		for back > 0 && states[back-1].Home == f.Region {
			back--
		}
		if back == len(states) {
			d.broke(deadline, "%s", late)
			continue
		}
		arrive(states[back].At, late)
		for _, s := range states {
			if s.At > f.Until && s.At < f.Until+notBefore && s.Home == f.Region {
				d.broke(s.At, "%s at %s, %s has %s in %s already", key.provider, Offset(s.At), key.authority, key.name, f.Region)
			}
		}
	}
	if d.judged == 0 {
		return d.verdict("home after "+f.Region+" healed", reached(0, 0, 0), Span(within))
	}

	bySeat := map[seat][]*session{}
	var seats []seat
	for _, s := range sessions(h) {
		if s.until <= f.Until || !slices.Contains(n.Watched, s.host) {
			continue
		}
		if bySeat[s.seat] == nil {
			seats = append(seats, s.seat)
		}
		bySeat[s.seat] = append(bySeat[s.seat], s)
	}
	for _, who := range seats {
		d.judged++
		late := fmt.Sprintf("%s at %s is not served from %s", who.client, Offset(deadline), f.Region)
		i := slices.IndexFunc(bySeat[who], func(s *session) bool { return s.region() == f.Region })
		if i < 0 {
			d.broke(deadline, "%s", late)
			continue
		}
		arrive(max(bySeat[who][i].from, f.Until), late)
	}
	return d.verdict("home after "+f.Region+" healed", reached(slowest, there, d.judged), Span(within))
}
