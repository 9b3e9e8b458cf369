package report

import (
	"slices"
	"strings"
	"time"
)

// mark says how an event of the page stands in two runs.
type mark struct {
	where presence
	moved time.Duration // with inBoth: how much later it came in the other run
}

type presence uint8

const (
	inBoth presence = iota
	onlyHere
	onlyThere
)

// compare matches events that tell the same of the same process, the n-th of one
// run with the n-th of the other. It gives all events of both in order, with a
// mark for each.
func (r *Recorder) compare(other *Trace) ([]event, []mark) {
	waiting := map[string][]time.Duration{}
	var there []traceEvent
	for _, e := range other.events {
		if e.at > r.until || r.lost[0].has(e.at) {
			continue
		}
		there = append(there, e)
		k := e.key()
		waiting[k] = append(waiting[k], e.at)
	}
	type marked struct {
		event
		mark
	}
	all := make([]marked, 0, len(r.events))
	matched := map[string]int{}
	for _, e := range r.events {
		k := r.told(e).key()
		m := mark{where: onlyHere}
		if times := waiting[k]; len(times) > 0 {
			m = mark{where: inBoth, moved: times[0] - e.at}
			waiting[k] = times[1:]
			matched[k]++
		}
		all = append(all, marked{e, m})
	}
	for _, e := range there {
		if k := e.key(); matched[k] > 0 {
			matched[k]--
			continue
		}
		all = append(all, marked{r.adopt(e), mark{where: onlyThere}})
	}
	slices.SortStableFunc(all, func(a, b marked) int { return int(min(max(a.at-b.at, -1), 1)) })
	events, marks := make([]event, len(all)), make([]mark, len(all))
	for i, m := range all {
		events[i], marks[i] = m.event, m.mark
	}
	return events, marks
}

// key is equal for events that tell the same of the same process.
func (e traceEvent) key() string {
	return strings.Join(append([]string{e.machine, e.process, e.kind}, e.fields...), "\x00")
}

// told gives an event its words back.
func (r *Recorder) told(e event) traceEvent {
	t := traceEvent{at: e.at, process: r.texts.all[e.process], kind: r.texts.all[e.kind]}
	if e.machine >= 0 {
		t.machine = r.machines[e.machine].Name
	}
	for _, f := range e.fields {
		t.fields = append(t.fields, r.texts.all[f])
	}
	return t
}

// adopt takes an event of the other run into the tables of this one.
func (r *Recorder) adopt(t traceEvent) event {
	e := event{at: t.at, machine: -1, process: r.texts.add(t.process), kind: r.texts.add(t.kind)}
	if t.machine != "" {
		e.machine = r.machine(t.machine)
	}
	for _, f := range t.fields {
		e.fields = append(e.fields, r.texts.add(f))
	}
	return e
}
