package oracle

import (
	"fmt"
	"slices"
	"time"
)

// Usage is what machines of one kind took of the world and held of it: all of
// one role in a region, say.
type Usage struct {
	At          time.Duration
	Group       string // "us-east live"
	Arrivals    uint64 // segments, datagrams and handshakes since the measurement before
	Connections int    // ends of streams, open at that moment
	Bytes       int64  // on the disks of machines that own nothing durable
}

// Running is how many goroutines the whole platform had.
type Running struct {
	At         time.Duration
	Goroutines int
}

// MeasureEvery is the time from one measurement to the next.
const MeasureEvery = 10 * time.Second

// minute is how many measurements make one.
const minute = int(time.Minute / MeasureEvery)

// fewArrivals in a minute are no load, whatever is usual.
const fewArrivals = 120

// Load judges that no group has in any minute more than a factor, in basis
// points, of its arrivals in the busiest minute before the first fault: retries
// that feed on themselves would. It counts the minutes after the first fault,
// which overlap, group by group.
func Load(h History, settled time.Duration, atMost int) Verdict {
	var d docket
	first := firstFault(h)
	worst := uint64(0)
	for _, g := range byGroup(h.Usage) {
		usual := uint64(fewArrivals)
		for i := minute; i <= len(g); i++ {
			if from := g[i-minute].At - MeasureEvery; from >= settled && g[i-1].At <= first {
				usual = max(usual, arrivals(g[i-minute:i]))
			}
		}
		for i := minute; i <= len(g); i++ {
			if g[i-1].At <= first {
				continue
			}
			d.judged++
			n := arrivals(g[i-minute : i])
			worst = max(worst, n*10000/usual)
			if n*10000 > usual*uint64(atMost) {
				d.broke(g[i-1].At, "%s had %d arrivals in the minute until %s, and %d in its busiest one before",
					g[0].Group, n, Offset(g[i-1].At), usual)
			}
		}
	}
	return d.verdict("load of any part, of the usual", factor(int(worst)), factor(atMost))
}

// few is how many more of anything are no leak: kept connections are spread by
// chance.
const few = 4

// Baseline judges that a time after the fault healed no group has more
// connections or bytes than at any time before the first fault, and the platform
// no more goroutines, with a fiftieth and a few to spare. What counts is the least
// of the last minute, for connections come and go, and what has leaked stays. It
// counts the groups, and once the goroutines.
func Baseline(h History, f Fault, settled, within time.Duration) Verdict {
	var d docket
	first, deadline := firstFault(h), f.Until+within
	before := func(at time.Duration) bool { return at >= settled && at <= first }
	after := func(at time.Duration) bool { return at > deadline-time.Minute && at <= deadline }
	judge := func(what string, usual, now int64, seen bool) {
		if !seen {
			return
		}
		d.judged++
		if now > usual+usual/50+few {
			d.broke(deadline, "%s: %d until %s, and at most %d before", what, now, Offset(deadline), usual)
		}
	}
	for _, g := range byGroup(h.Usage) {
		var conns, bytes span
		for _, u := range g {
			conns.add(int64(u.Connections), before(u.At), after(u.At))
			bytes.add(u.Bytes, before(u.At), after(u.At))
		}
		judge("connections of "+g[0].Group, conns.most, conns.least, conns.whole())
		judge("bytes on disks of "+g[0].Group, bytes.most, bytes.least, bytes.whole() && bytes.most+bytes.least > 0)
	}
	var all span
	for _, r := range h.Running {
		all.add(int64(r.Goroutines), before(r.At), after(r.At))
	}
	judge("goroutines", all.most, all.least, all.whole())
	return d.verdict("over what was before, "+Span(within)+" on", fmt.Sprint(d.broken), "0")
}

// span is the most of what was before, and the least of what came after.
type span struct {
	most, least   int64
	before, after bool
}

func (s *span) add(n int64, before, after bool) {
	if before {
		s.most, s.before = max(s.most, n), true
	}
	if after {
		if !s.after || n < s.least {
			s.least = n
		}
		s.after = true
	}
}

func (s *span) whole() bool { return s.before && s.after }

func firstFault(h History) time.Duration {
	first := h.Lasts
	for _, f := range h.Faults {
		first = min(first, f.From)
	}
	return first
}

// byGroup gives the measurements of each group in order of time, groups sorted.
func byGroup(all []Usage) [][]Usage {
	groups := map[string][]Usage{}
	var names []string
	for _, u := range all {
		if groups[u.Group] == nil {
			names = append(names, u.Group)
		}
		groups[u.Group] = append(groups[u.Group], u)
	}
	slices.Sort(names)
	sorted := make([][]Usage, 0, len(names))
	for _, n := range names {
		sorted = append(sorted, groups[n])
	}
	return sorted
}

func arrivals(of []Usage) uint64 {
	var n uint64
	for _, u := range of {
		n += u.Arrivals
	}
	return n
}

// factor writes basis points as 2.4x.
func factor(basisPoints int) string {
	return fmt.Sprintf("%d.%dx", basisPoints/10000, basisPoints%10000/1000)
}
