package oracle

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"
)

// TunnelsKept judges that of the tunnels that are open when the fault strikes, a
// share, in basis points, is open without a break for some time after. It counts
// those tunnels.
func TunnelsKept(h History, f Fault, share int, span time.Duration) Verdict {
	var d docket
	open, cut := map[seat]bool{}, map[seat]bool{}
	var first Stream
	for _, e := range h.Streams {
		at := seat{e.Client, channel{host: e.Host, key: e.Key}}
		switch {
		case e.At > f.From+span:
		case e.At <= f.From && e.Kind == Connected:
			open[at] = true
		case e.At <= f.From && e.Kind == Disconnected:
			delete(open, at)
		case e.Kind == Disconnected && e.Why != Stopped && open[at] && !cut[at]:
			if len(cut) == 0 {
				first = e
			}
			cut[at] = true
		}
	}
	d.judged = len(open)
	kept := 0
	if d.judged > 0 {
		kept = (d.judged - len(cut)) * 10000 / d.judged
	}
	if kept < share {
		d.broke(first.At, "%s at %s, %s; %d of %d were cut by %s", first.Client, Offset(first.At), first.Why, len(cut), d.judged, Offset(f.From+span))
	}
	return d.verdict("tunnels kept, for "+Span(span), Percent(kept), Percent(share))
}

// ReconnectsSpread judges that once the fault has struck no more tunnels are tried
// to be opened in any window than a share, in basis points, of those that were open
// then: who is sent away together must not come back together. It counts the
// attempts.
func ReconnectsSpread(h History, f Fault, atMost int, window time.Duration) Verdict {
	var d docket
	open := map[seat]bool{}
	var tries []time.Duration
	for _, e := range h.Streams {
		at := seat{e.Client, channel{host: e.Host, key: e.Key}}
		switch {
		case e.At <= f.From && e.Kind == Connected:
			open[at] = true
		case e.At <= f.From && e.Kind == Disconnected:
			delete(open, at)
		case e.Kind == Connected, e.Kind == Refused:
			if began := e.At - e.Latency; began > f.From {
				tries = append(tries, began)
			}
		}
	}
	worst := 0
	if len(open) > 0 {
		d.judged = len(tries)
		slices.Sort(tries)
	}
	for first, last := 0, 0; last < d.judged; last++ {
		for tries[first] <= tries[last]-window {
			first++
		}
		n := last - first + 1
		worst = max(worst, n*10000/len(open))
		if n*10000 > len(open)*atMost {
			d.broke(tries[last], "%d attempts in the %s until %s, of %d tunnels that were open", n, Span(window), Offset(tries[last]), len(open))
		}
	}
	return d.verdict("tunnels tried within "+Span(window)+", of all", Percent(worst), Percent(atMost))
}

// Reconnected judges that every tunnel that is cut is open again within a time,
// unless its client stops. It counts the cuts for which there was time.
func Reconnected(h History, within time.Duration) Verdict {
	var d docket
	cut := map[seat]Stream{}
	longest := time.Duration(0)
	judge := func(at seat, until time.Duration, back bool) {
		e, away := cut[at]
		delete(cut, at)
		if !away || !back && until-e.At <= within {
			return
		}
		d.judged++
		longest = max(longest, until-e.At)
		if until-e.At > within {
			d.broke(e.At+within, "%s at %s is not back since %s, %s", e.Client, Offset(e.At+within), Offset(e.At), e.Why)
		}
	}
	for _, e := range h.Streams {
		at := seat{e.Client, channel{host: e.Host, key: e.Key}}
		switch {
		case e.Kind == Connected:
			judge(at, e.At, true)
		case e.Kind == Disconnected && e.Why == Stopped:
			delete(cut, at)
		case e.Kind == Disconnected:
			cut[at] = e
		}
	}
	for _, at := range slices.SortedFunc(maps.Keys(cut), compareSeats) {
		judge(at, h.Lasts, false)
	}
	return d.verdict("longest that a tunnel was away", Span(longest), Span(within))
}

// closeMoved is the code of a tunnel that is closed with "moved, resume".
const closeMoved = 4001

// SentAway judges how often each tunnel is closed because what it carries lives
// elsewhere. It counts the tunnels.
func SentAway(h History, each Range) Verdict {
	var d docket
	sent := map[seat]int{}
	for _, e := range h.Streams {
		at := seat{e.Client, channel{host: e.Host, key: e.Key}}
		switch {
		case e.Kind == Connected:
			sent[at] += 0
		case e.Kind == Disconnected && e.Code == closeMoved:
			sent[at]++
			if sent[at] > each.Max {
				d.broke(e.At, "%s at %s is sent away for the %d. time", e.Client, Offset(e.At), sent[at])
			}
		}
	}
	var counts []int
	for _, at := range slices.SortedFunc(maps.Keys(sent), compareSeats) {
		d.judged++
		counts = append(counts, sent[at])
		if sent[at] < each.Min {
			d.broke(h.Lasts, "%s by %s was sent away %d times", at.client, Offset(h.Lasts), sent[at])
		}
	}
	return d.verdict("times a tunnel is sent away", spread(counts).String(), each.String())
}

func compareSeats(a, b seat) int {
	return cmp.Or(strings.Compare(a.client, b.client), strings.Compare(a.host, b.host), strings.Compare(a.key, b.key), strings.Compare(a.name, b.name))
}
