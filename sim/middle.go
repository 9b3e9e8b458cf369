package sim

import "time"

// What boxes in the middle of the network (firewalls, address translators, load
// balancers) do to streams that stand.

// idleProbe is how long a connection is idle before it asks whether its peer is
// there: Go's default.
const idleProbe = 15 * time.Second

// Reset ends every stream that stands between two machines for which match holds,
// in either order, as a box in the middle does: both ends get a reset. It tells how
// many there were. What connects afterwards is left alone.
func (w *World) Reset(match func(from, to *Machine) bool) int {
	w.mu.Lock()
	all := w.crossing(match)
	for _, e := range all {
		half := w.latency(e.m, e.peer.m) / 2
		w.schedule(w.now()+int64(half), event{kind: reset, sent: w.now(), end: e})
		w.schedule(w.now()+int64(half), event{kind: reset, sent: w.now(), end: e.peer})
	}
	w.mu.Unlock()
	return len(all)
}

// forgetting is what a box does with the streams that it has forgotten.
type forgetting struct{ answers bool }

// Forget has a box in the middle forget every stream that stands between two
// machines for which match holds, in either order: nothing of it passes any more,
// and new ones do. Both ends believe in it, each until it sends something, or asks
// whether the other is there: if the box answers that gets a reset, else nothing, as
// from a silent host. Forget tells how many streams there were.
func (w *World) Forget(answers bool, match func(from, to *Machine) bool) int {
	w.mu.Lock()
	all := w.crossing(match)
	for _, c := range all {
		c.pair.lost = &forgetting{answers}
		for _, e := range []*endpoint{c, c.peer} {
			switch {
			case answers: // the keepalive
				wobble := below(w.choice(e.name(), "keepalive", e.sent), int64(time.Second))
				w.schedule(w.now()+int64(idleProbe)+wobble, event{kind: reset, sent: w.now(), end: e})
			case len(e.held) > 0:
				e.unanswered()
			}
			e.ask()
		}
	}
	w.mu.Unlock()
	return len(all)
}

// drop is what becomes of something that is sent on a forgotten stream.
func (f *forgetting) drop(e *endpoint, x *event) {
	w := e.w
	switch {
	case x.kind == reset || x.kind == credit && !f.answers:
	case f.answers:
		w.schedule(w.now()+int64(w.latency(e.m, e.peer.m)), event{kind: reset, sent: w.now(), end: e})
	default:
		e.unanswered()
	}
}

// crossing gives the dialling ends of the streams that stand between such machines.
func (w *World) crossing(match func(from, to *Machine) bool) []*endpoint {
	var all []*endpoint
	for _, m := range w.sortedMachines() {
		for _, p := range m.sortedProcesses() {
			for _, e := range sortedEnds(p.ends) {
				crosses := e.m != e.peer.m && (match(e.m, e.peer.m) || match(e.peer.m, e.m))
				if e.side == 'c' && crosses && e.pair.lost == nil {
					all = append(all, e)
				}
			}
		}
	}
	return all
}
