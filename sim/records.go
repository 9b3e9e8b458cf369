package sim

import (
	"cmp"
	"slices"
	"strings"
)

// records are what the processes did since the world was last quiet. Goroutines
// that act at one instant race for their places here, so each list is sorted by
// stable names before anything follows from it.
type records struct {
	events  []recordedEvent
	binds   []*bind
	accepts []*Listener
	dials   []*dial
	packets []*packet
	dirty   []*endpoint
	exits   []*Process

	commit uint64 // that found them, where they are held
}

type recordedEvent struct {
	proc  *Process // nil for the world
	event Event
}

func (r *records) tell(p *Process, e Event) {
	r.events = append(r.events, recordedEvent{p, e})
}

func (r *records) len() int {
	return len(r.events) + len(r.binds) + len(r.accepts) + len(r.dials) + len(r.packets) + len(r.dirty) + len(r.exits)
}

func (r *records) join(o *records) {
	r.events = append(r.events, o.events...)
	r.binds = append(r.binds, o.binds...)
	r.accepts = append(r.accepts, o.accepts...)
	r.dials = append(r.dials, o.dials...)
	r.packets = append(r.packets, o.packets...)
	r.dirty = append(r.dirty, o.dirty...)
	r.exits = append(r.exits, o.exits...)
}

// taken moves the records out of *list that may take effect now: those of dead
// processes are dropped, those of machines that stand still, or have not caught up
// yet, go to the machine's own lists.
func taken[T any](list *[]T, proc func(T) *Process, held func(*records) *[]T) []T {
	all := *list
	keep := all[:0]
	for _, x := range all {
		p := proc(x)
		switch {
		case p != nil && p.dead:
		case p != nil && p.m.holds():
			h := held(p.m.hold())
			*h = append(*h, x)
		default:
			keep = append(keep, x)
		}
	}
	*list = nil
	return keep
}

// commit gives the records their order and their effects. It reports whether
// that woke a goroutine, so that the world is no longer quiet.
func (w *World) commit() bool {
	r := &w.records
	if r.len() == 0 {
		return false
	}
	w.woke = false
	w.commits++
	// Events first: the last words of a process that then left still count.
	if len(r.events) > 0 {
		events := taken(&r.events, func(e recordedEvent) *Process { return e.proc }, func(r *records) *[]recordedEvent { return &r.events })
		slices.SortStableFunc(events, compareEvents)
		for i := range events {
			w.tell(&events[i].event)
		}
	}
	if len(r.binds) > 0 {
		binds := taken(&r.binds, func(b *bind) *Process { return b.proc }, func(r *records) *[]*bind { return &r.binds })
		slices.SortStableFunc(binds, func(a, b *bind) int {
			return cmp.Or(compareProcs(a.proc, b.proc), strings.Compare(a.key.network, b.key.network), strings.Compare(a.name, b.name))
		})
		for _, b := range binds {
			b.commit()
			w.woke = true
		}
	}
	if len(r.accepts) > 0 {
		accepts := taken(&r.accepts, func(l *Listener) *Process { return l.proc }, func(r *records) *[]*Listener { return &r.accepts })
		slices.SortStableFunc(accepts, func(a, b *Listener) int { return compareProcs(a.proc, b.proc) })
		for _, l := range accepts {
			l.sock.assign()
		}
	}
	if len(r.dials) > 0 {
		dials := taken(&r.dials, func(d *dial) *Process { return d.proc }, func(r *records) *[]*dial { return &r.dials })
		slices.SortStableFunc(dials, func(a, b *dial) int {
			return cmp.Or(compareProcs(a.proc, b.proc), a.target.Compare(b.target))
		})
		w.commitDials(dials)
	}
	if len(r.packets) > 0 {
		packets := taken(&r.packets, func(k *packet) *Process { return k.sock.proc }, func(r *records) *[]*packet { return &r.packets })
		slices.SortStableFunc(packets, comparePackets)
		for _, k := range packets {
			k.commit()
		}
	}
	if len(r.dirty) > 0 {
		dirty := taken(&r.dirty, func(e *endpoint) *Process { return e.proc }, func(r *records) *[]*endpoint { return &r.dirty })
		nameBatches(dirty)
		slices.SortStableFunc(dirty, compareEnds)
		for _, e := range dirty {
			proc, sends := e.proc, len(e.pending) > 0 && !e.gone
			e.flush()
			if sends && proc != nil {
				w.effect(proc, "write")
			}
		}
	}
	if len(r.exits) > 0 {
		exits := taken(&r.exits, func(p *Process) *Process { return p }, func(r *records) *[]*Process { return &r.exits })
		slices.SortStableFunc(exits, compareProcs)
		for _, p := range exits {
			fields := []Field(nil)
			if p.err != nil {
				fields = []Field{{"error", p.err.Error()}}
			}
			w.tell(&Event{Machine: p.m.name, Proc: p.name, Kind: "exit", Fields: fields})
			p.die(p.err, true)
			w.woke = true
		}
	}
	w.catching = nil
	return w.woke || r.len() > 0
}

func (w *World) tell(e *Event) {
	e.At = w.Elapsed()
	w.stats.Events++
	w.trace.event(e)
	for _, f := range w.observers {
		f(*e)
		w.woke = true // perhaps
	}
}

func compareEvents(a, b recordedEvent) int {
	return cmp.Or(
		strings.Compare(a.event.Machine, b.event.Machine),
		strings.Compare(a.event.Proc, b.event.Proc),
		strings.Compare(a.event.Kind, b.event.Kind),
		slices.CompareFunc(a.event.Fields, b.event.Fields, func(x, y Field) int {
			return cmp.Or(strings.Compare(x.Key, y.Key), strings.Compare(x.Value, y.Value))
		}))
}

func compareProcs(a, b *Process) int {
	return cmp.Or(strings.Compare(a.m.name, b.m.name), strings.Compare(a.name, b.name))
}
