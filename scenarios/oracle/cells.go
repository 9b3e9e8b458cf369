package oracle

import (
	"fmt"
	"time"
)

// Led is a Seed that became the leader of a region's cell. Until is when it said
// that it was no longer, or began anew; 0 if neither.
type Led struct {
	At     time.Duration
	Until  time.Duration
	Region string
	Name   string
	Epoch  uint64
}

// Heard is a table of owners that a process of a region's cell has taken over.
type Heard struct {
	At       time.Duration
	Region   string
	Process  string // machine and process
	Epoch    uint64
	Revision uint64
}

func (t Heard) after(u Heard) bool {
	return t.Epoch > u.Epoch || t.Epoch == u.Epoch && t.Revision > u.Revision
}

// OneLeader judges that in each region every leader has a greater epoch than all
// before it, and that no process goes back to an older table. It counts leaders
// and tables.
func OneLeader(h History) Verdict {
	var d docket
	epochs := map[string]Led{}
	for _, l := range h.Leaders {
		d.judged++
		if last, ok := epochs[l.Region]; ok && l.Epoch <= last.Epoch {
			d.broke(l.At, "%s at %s leads %s in epoch %d, as %s did since %s", l.Name, Offset(l.At), l.Region, l.Epoch, last.Name, Offset(last.At))
		}
		epochs[l.Region] = l
	}
	tables := map[string]Heard{}
	for _, t := range h.Tables {
		d.judged++
		if last, ok := tables[t.Process]; ok && last.after(t) {
			d.broke(t.At, "%s at %s took table %d.%d after %d.%d", t.Process, Offset(t.At), t.Epoch, t.Revision, last.Epoch, last.Revision)
		}
		tables[t.Process] = t
	}
	return d.verdict("epochs and tables that go back", fmt.Sprint(d.broken), "0")
}

// TakenOver judges that somebody became leader of the region within a time of
// the fault. It counts the regions.
func TakenOver(h History, f Fault, region string, within time.Duration) Verdict {
	name := region + " led anew"
	d := docket{judged: 1}
	for _, l := range h.Leaders {
		if l.Region == region && l.At > f.From {
			took := l.At - f.From
			if took > within {
				d.broke(f.From+within, "nobody at %s led %s; %s did at %s", Offset(f.From+within), region, l.Name, Offset(l.At))
			}
			return d.verdict(name, Span(took), Span(within))
		}
	}
	d.broke(f.From+within, "nobody at %s led %s", Offset(f.From+within), region)
	return d.verdict(name, "never", Span(within))
}

// LeaderStays judges that whoever led a region's cell first leads it to the end.
// It counts the regions.
func LeaderStays(h History) Verdict {
	var d docket
	first := map[string]Led{}
	for _, l := range h.Leaders {
		was, ok := first[l.Region]
		if !ok {
			d.judged++
			first[l.Region] = l
			continue
		}
		d.broke(l.At, "%s at %s leads %s in epoch %d, as %s did in epoch %d since %s",
			l.Name, Offset(l.At), l.Region, l.Epoch, was.Name, was.Epoch, Offset(was.At))
	}
	return d.verdict("leaders that were replaced", fmt.Sprint(d.broken), "0")
}

// TablesAgree judges that, a time after the fault healed, all processes of a
// region hold the same table, and none of an epoch before that of the leader when
// the fault healed. It counts the processes.
func TablesAgree(h History, f Fault, within time.Duration) Verdict {
	var d docket
	deadline := f.Until + within
	newest := map[string]Heard{}
	held := map[string]Heard{}
	var order []string
	for _, t := range h.Tables {
		if t.At > deadline {
			break
		}
		if _, ok := held[t.Process]; !ok {
			order = append(order, t.Process)
		}
		held[t.Process] = t
		if n, ok := newest[t.Region]; !ok || t.after(n) {
			newest[t.Region] = t
		}
	}
	leaders := map[string]Led{}
	for _, l := range h.Leaders {
		if l.At <= f.Until {
			leaders[l.Region] = l
		}
	}
	for _, process := range order {
		d.judged++
		t := held[process]
		if l := leaders[t.Region]; t.Epoch < l.Epoch {
			d.broke(deadline, "%s at %s holds table %d.%d of %s, which %s leads in epoch %d since %s",
				process, Offset(deadline), t.Epoch, t.Revision, t.Region, l.Name, l.Epoch, Offset(l.At))
		} else if n := newest[t.Region]; n.after(t) {
			d.broke(deadline, "%s at %s holds table %d.%d of %s, %s holds %d.%d",
				process, Offset(deadline), t.Epoch, t.Revision, t.Region, n.Process, n.Epoch, n.Revision)
		}
	}
	return d.verdict("on an older table, "+Span(within)+" on", fmt.Sprint(d.broken), "0")
}
