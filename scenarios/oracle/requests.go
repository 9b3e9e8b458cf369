package oracle

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// request is anything that a client asked for and that could fail: a page, a
// publication, a tunnel.
type request struct {
	asker
	from    time.Duration // when it was asked
	ok      bool
	latency time.Duration
	why     string
}

// requests gives all requests that came to an end of their own, by when they
// began. An empty host means all hosts.
func requests(h History, host string) []request {
	var all []request
	add := func(at time.Duration, by asker, outcome Outcome, latency time.Duration, why string) {
		if why != Stopped && (host == "" || host == by.host) {
			all = append(all, request{by, max(at-latency, 0), outcome == OK, latency, why})
		}
	}
	for _, p := range h.Pages {
		add(p.At, asker{p.Client, p.Host, "page"}, p.Outcome, p.Latency, p.Error)
	}
	for _, p := range h.Publishes {
		add(p.At, asker{p.Client, p.Host, "publish " + p.Key}, p.Outcome, p.Latency, p.Error)
	}
	for _, e := range h.Streams {
		switch e.Kind {
		case Connected:
			add(e.At, asker{e.Client, e.Host, "live " + e.Key}, OK, e.Latency, "")
		case Refused:
			add(e.At, asker{e.Client, e.Host, "live " + e.Key}, Failed, e.Latency, e.Why)
		}
	}
	slices.SortStableFunc(all, func(a, b request) int {
		return cmp.Or(cmp.Compare(a.from, b.from), strings.Compare(a.client, b.client))
	})
	return all
}

// Availability judges that in every window in which clients asked anything of
// the host, at least that share of the requests, in basis points, went well.
// An empty host means all hosts. It counts requests.
func Availability(h History, host string, atLeast int, window time.Duration) Verdict {
	var d docket
	worst := 10000
	all := requests(h, host)
	d.judged = len(all)
	for len(all) > 0 {
		from := all[0].from / window * window
		n := slices.IndexFunc(all, func(r request) bool { return r.from >= from+window })
		if n < 0 {
			n = len(all)
		}
		in := all[:n]
		all = all[n:]
		share, bad := tally(in)
		worst = min(worst, share)
		if share < atLeast {
			first := in[slices.IndexFunc(in, func(r request) bool { return !r.ok })]
			d.broke(from, "%s at %s, %s; %d of %d failed between %s and %s",
				first.client, Offset(first.from), first.why, bad, n, Offset(from), Offset(from+window))
		}
	}
	measured := Percent(worst)
	if d.judged == 0 {
		measured = "no requests"
	}
	name := "requests answered"
	if host != "" {
		name += " by " + host
	}
	return d.verdict(name+", each "+Span(window), measured, Percent(atLeast))
}

// tally gives the share that went well, in basis points rounded down, and how
// many did not.
func tally(in []request) (share, bad int) {
	for _, r := range in {
		if !r.ok {
			bad++
		}
	}
	if len(in) == 0 {
		return 10000, 0
	}
	return (len(in) - bad) * 10000 / len(in), bad
}

// ApexAnswers judges that at least a share, in basis points, of the pages asked
// of the apex got an answer from it, whatever became of the page after that. It
// counts pages.
func ApexAnswers(h History, apex string, atLeast int) Verdict {
	var d docket
	answered := 0
	var first *Page
	for i, p := range h.Pages {
		if p.Host != apex || p.Error == Stopped {
			continue
		}
		d.judged++
		if p.Answered {
			answered++
		} else if first == nil {
			first = &h.Pages[i]
		}
	}
	if d.judged == 0 {
		return d.verdict(apex+" answers", "no requests", Percent(atLeast))
	}
	share := answered * 10000 / d.judged
	if share < atLeast {
		d.broke(first.At, "%s at %s, %s", first.Client, Offset(first.At), first.Error)
	}
	return d.verdict(apex+" answers", Percent(share), Percent(atLeast))
}

// Window is a stretch of a run, its end excluded.
type Window struct{ From, Until time.Duration }

// Row is what clients saw in one window.
type Row struct {
	Window
	Requests int
	OK       int           // share that went well, in basis points rounded down
	P99      time.Duration // 99 of 100 requests took no longer
	Streams  string        // what became of live streams
}

// Seen tells what clients saw, window by window.
func Seen(h History, windows []Window) []Row {
	all := requests(h, "")
	rows := make([]Row, 0, len(windows))
	for _, w := range windows {
		var in []request
		var took []time.Duration
		for _, r := range all {
			if r.from >= w.From && r.from < w.Until {
				in, took = append(in, r), append(took, r.latency)
			}
		}
		row := Row{Window: w, Requests: len(in), Streams: streamNotes(h, w)}
		row.OK, _ = tally(in)
		if slices.Sort(took); len(took) > 0 {
			row.P99 = took[(len(took)*99+99)/100-1]
		}
		rows = append(rows, row)
	}
	return rows
}

// streamNotes tells in a few words how live streams fared.
func streamNotes(h History, w Window) string {
	cut := 0
	answers := map[string]int{}
	for _, e := range h.Streams {
		if e.At < w.From || e.At >= w.Until {
			continue
		}
		switch {
		case e.Kind == Disconnected && e.Why != Stopped:
			cut++
		case e.Kind == Subscribed:
			answers[e.Recovered]++
		}
	}
	var notes, resumed []string
	if cut > 0 {
		notes = append(notes, fmt.Sprintf("%d cut", cut))
	}
	for _, a := range []struct{ answer, words string }{
		{NothingMissed, "%d missed nothing"}, {Replay, "%d replayed"}, {Gap, `%d told "gap"`},
	} {
		if n := answers[a.answer]; n > 0 {
			resumed = append(resumed, fmt.Sprintf(a.words, n))
		}
	}
	if len(resumed) > 0 {
		notes = append(notes, "resumed: "+strings.Join(resumed, ", "))
	}
	if len(notes) == 0 {
		return "no gap"
	}
	return strings.Join(notes, "; ")
}
