package scenarios

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/espra/protoplex/scenarios/story"
	"github.com/espra/protoplex/sim"
)

func (p *platform) impair(s *strike, c sim.Conditions, match func(from, to *sim.Machine) bool) {
	var faults []*sim.Fault // one of each strike
	s.begin = func() { faults = append(faults, p.world.Impair(s.event.ID, c, match)) }
	s.heal = func() { faults[len(faults)-1].Heal() }
	s.touched = func() uint64 { return touched(faults) }
}

func (p *platform) onLink(s *story.Selector) func(from, to *sim.Machine) bool {
	a, b, oneWay := p.set(s.From), p.set(s.To), s.OneWay
	return func(from, to *sim.Machine) bool {
		return a[from] && b[to] || !oneWay && b[from] && a[to]
	}
}

// boundary matches what crosses the edge of a selection.
func (p *platform) boundary(s *story.Selector) func(from, to *sim.Machine) bool {
	set := p.set(s)
	return func(from, to *sim.Machine) bool { return set[from] != set[to] }
}

// around matches a link, or all that a selection sends and receives.
func (p *platform) around(s *story.Selector) func(from, to *sim.Machine) bool {
	if s.Kind == story.ByLink {
		return p.onLink(s)
	}
	set := p.set(s)
	return func(from, to *sim.Machine) bool { return set[from] || set[to] }
}

// edge matches a link, or what crosses the edge of a selection.
func (p *platform) edge(s *story.Selector) func(from, to *sim.Machine) bool {
	if s.Kind == story.ByLink {
		return p.onLink(s)
	}
	return p.boundary(s)
}

func (p *platform) resetConnections(s *strike) {
	ended := uint64(0)
	s.begin = func() { ended += uint64(p.world.Reset(p.edge(s.event.On))) }
	s.touched = func() uint64 { return ended }
}

func (p *platform) forgetConnections(s *strike) {
	forgotten := uint64(0)
	answers := s.event.Params.Choice("answer") == "reset"
	s.begin = func() { forgotten += uint64(p.world.Forget(answers, p.edge(s.event.On))) }
	s.touched = func() uint64 { return forgotten }
}

// swizzle cuts off one machine after another in the first third of the fault, and
// heals them in the last, in two orders that hang on the fault's name.
func (p *platform) swizzle(s *strike) {
	machines := p.selected(s.event.On)
	order := func(what string) []*sim.Machine {
		return slices.SortedFunc(slices.Values(machines), func(a, b *sim.Machine) int {
			choose := func(m *sim.Machine) uint64 {
				return p.world.Choose(fmt.Sprintf("%s of %s: %s", what, s.event.ID, m.Name()), 0)
			}
			return cmp.Compare(choose(a), choose(b))
		})
	}
	third, step := s.event.For/3, s.event.For/3/time.Duration(len(machines))
	var faults []*sim.Fault
	s.begin = func() {
		cuts := map[*sim.Machine]*sim.Fault{}
		for i, m := range order("cut") {
			p.world.After(time.Duration(i)*step, func() {
				cuts[m] = p.world.Impair(s.event.ID, sim.Conditions{Cut: true}, func(from, to *sim.Machine) bool { return from == m || to == m })
				faults = append(faults, cuts[m])
			})
		}
		for i, m := range order("healed") {
			p.world.After(2*third+time.Duration(i)*step, func() { cuts[m].Heal() })
		}
	}
	s.heal = func() {} // all are by now
	s.touched = func() uint64 { return touched(faults) }
}

// flicker cuts one link after another for a while. Which ones hangs on the
// fault's name and on nothing else; clients are left alone.
func (p *platform) flicker(s *strike) {
	every, cut := s.event.Params.Duration("every"), s.event.Params.Duration("cut")
	from := p.selected(s.event.On)
	set := p.set(s.event.On)
	var to []*sim.Machine
	for _, m := range p.machines {
		if host := p.hosts[m.Name]; !set[host] && m.Role != story.RoleBrowser && m.Role != story.RolePublisher {
			to = append(to, host)
		}
	}
	var faults []*sim.Fault
	n := uint64(0)
	s.chain(func(again func()) {
		if len(to) == 0 {
			return
		}
		choose := func(what string, all []*sim.Machine) *sim.Machine {
			return all[p.world.Choose(fmt.Sprintf("%s of %s", what, s.event.ID), n)%uint64(len(all))]
		}
		a, b := choose("near end", from), choose("far end", to)
		n++
		faults = append(faults, p.world.Link(a, b).Cut(cut))
		p.world.After(every, again)
	})
	s.touched = func() uint64 { return touched(faults) }
}

// touched counts what several impairments have affected.
func touched(faults []*sim.Fault) uint64 {
	n := uint64(0)
	for _, f := range faults {
		n += f.Touched()
	}
	return n
}
