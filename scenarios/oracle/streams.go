package oracle

import (
	"maps"
	"strconv"
	"strings"
	"time"
)

// Patience is how long a subscriber that stays connected may wait for a message
// whose publication was acknowledged. It is more than the minute after which a
// client gives up a silent tunnel: such a client learns what it missed when it
// resumes.
const Patience = 90 * time.Second

// LiveStreams judges that nobody on a live channel hears a message twice, or
// misses one without being told: offsets are consecutive within an incarnation,
// none brings again what another brought, since no publisher sends anything
// twice, nor what failed for its publisher, a subscription goes on exactly where
// the client was unless it is answered "gap" or "fresh", an offset carries one
// message for all who hear it, and what was acknowledged reaches everybody who
// stays connected, within [Patience]. It counts the messages heard and the
// subscriptions answered.
func LiveStreams(h History) Verdict {
	var d docket
	order(h, &d)
	delivery(h, &d)
	return d.verdict("silent gaps or duplicates", strconv.Itoa(d.broken), "0")
}

// order judges each client's own view of its channels, and that all views agree.
func order(h History, d *docket) {
	type place struct {
		channel
		Position
	}
	type message struct {
		seat
		data string
	}
	last := map[seat]Position{}
	live := map[seat]bool{}    // subscribed on the tunnel that stands
	said := map[place]string{} // what each offset carries
	heard := map[message]bool{}
	failed := map[string]Publish{} // by what was to be said
	for _, p := range h.Publishes {
		if p.Outcome == Failed {
			failed[p.Data] = p
		}
	}

	carries := func(at time.Duration, c channel, p Position, data, who string) {
		there := place{c, p}
		if was, ok := said[there]; ok && was != data {
			d.broke(at, "%s at %s, offset %d of %s in %s is %s for it and %s for another", who, Offset(at), p.Offset, c.name, p.Incarnation, quote(data), quote(was))
		} else if !ok {
			said[there] = data
		}
	}

	channels := map[seat][]seat{}
	for _, e := range h.Streams {
		c := channel{e.Host, e.Key, e.Channel}
		at := seat{e.Client, c}
		tunnel := seat{e.Client, channel{host: e.Host, key: e.Key}}
		was, known := last[at]
		switch e.Kind {
		case Disconnected:
			for _, s := range channels[tunnel] {
				delete(live, s)
			}
			delete(channels, tunnel)
			if e.Why == Stopped { // and forgets where it was
				maps.DeleteFunc(last, func(s seat, _ Position) bool { return s.client == e.Client && s.host == e.Host && s.key == e.Key })
			}
		case Subscribed:
			d.judged++
			if wrong := resumed(was, known, e); wrong != "" {
				d.broke(e.At, "%s at %s, channel %s: %s", e.Client, Offset(e.At), e.Channel, wrong)
			}
			last[at], live[at] = e.Position, true
			channels[tunnel] = append(channels[tunnel], at)
		case Message:
			d.judged++
			carries(e.At, c, e.Position, e.Data, e.Client)
			if p, ok := failed[e.Data]; ok {
				d.broke(e.At, "%s at %s heard %s of channel %s, which failed for %s at %s, %s", e.Client, Offset(e.At), quote(e.Data), e.Channel, p.Client, Offset(p.At), p.Error)
			}
			switch {
			case !live[at]:
				d.broke(e.At, "%s at %s heard channel %s without a subscription", e.Client, Offset(e.At), e.Channel)
			case e.Position.Incarnation != was.Incarnation:
				d.broke(e.At, "%s at %s, channel %s went from %s to %s unannounced", e.Client, Offset(e.At), e.Channel, was.Incarnation, e.Position.Incarnation)
			case e.Position.Offset <= was.Offset:
				d.broke(e.At, "%s at %s heard offset %d of channel %s again", e.Client, Offset(e.At), e.Position.Offset, e.Channel)
			case heard[message{at, e.Data}]:
				d.broke(e.At, "%s at %s heard %s of channel %s again, at offset %d of %s", e.Client, Offset(e.At), quote(e.Data), e.Channel, e.Position.Offset, e.Position.Incarnation)
			case e.Position.Offset > was.Offset+1:
				d.broke(e.At, "%s at %s, channel %s jumped from offset %d to %d", e.Client, Offset(e.At), e.Channel, was.Offset, e.Position.Offset)
			}
			last[at] = e.Position
			heard[message{at, e.Data}] = true
		}
	}
	for _, p := range h.Publishes {
		if p.Outcome == OK {
			carries(p.At, channel{p.Host, p.Key, p.Channel}, p.Position, p.Data, p.Client)
		}
	}
}

// resumed says what is wrong with the answer to a subscription, if anything.
func resumed(was Position, known bool, e Stream) string {
	same := known && e.Position.Incarnation == was.Incarnation
	switch e.Recovered {
	case NothingMissed, Replay:
		switch {
		case !known:
			return "answered " + e.Recovered + " though it had no position"
		case !same:
			return "answered " + e.Recovered + " in another incarnation, " + e.Position.Incarnation
		case e.Position.Offset != was.Offset:
			return "answered " + e.Recovered + " from offset " + strconv.FormatUint(e.Position.Offset, 10) +
				", but it had heard up to " + strconv.FormatUint(was.Offset, 10)
		}
	case Fresh:
		if same && e.Position.Offset != was.Offset {
			return "answered fresh in the incarnation that it knew, from another offset"
		}
	case Gap:
		if same && e.Position.Offset < was.Offset {
			return "told a gap, but the offset went back from " + strconv.FormatUint(was.Offset, 10) +
				" to " + strconv.FormatUint(e.Position.Offset, 10)
		}
	default:
		return "answered " + strconv.Quote(e.Recovered) + ", which means nothing"
	}
	return ""
}

// quote gives the beginning of what was said, in quotes.
func quote(data string) string {
	if len(data) > 40 {
		data = strings.ToValidUTF8(data[:40], "") + "…"
	}
	return strconv.Quote(data)
}

// delivery judges that acknowledged messages reach those who stay.
func delivery(h History, d *docket) {
	type owned struct {
		channel
		incarnation string
	}
	listeners := map[owned][]*session{}
	for _, s := range sessions(h) {
		k := owned{s.channel, s.base.Incarnation}
		listeners[k] = append(listeners[k], s)
	}
	for _, p := range h.Publishes {
		if p.Outcome != OK {
			continue
		}
		for _, s := range listeners[owned{channel{p.Host, p.Key, p.Channel}, p.Position.Incarnation}] {
			due := max(s.from, p.At) + Patience
			at, heard := s.heard[p.Position.Offset]
			if p.Position.Offset > s.base.Offset && s.until > due && !(heard && at <= due) {
				d.broke(due, "%s at %s had not heard %s, offset %d of channel %s, acknowledged at %s",
					s.client, Offset(due), quote(p.Data), p.Position.Offset, p.Channel, Offset(p.At))
			}
		}
	}
}
