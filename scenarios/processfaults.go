package scenarios

import (
	"cmp"
	"slices"
	"time"

	"github.com/espra/protoplex/scenarios/story"
	"github.com/espra/protoplex/sim"
)

// powerLoss takes the power of those machines that which chooses out of the
// selected ones.
func (p *platform) powerLoss(s *strike, which func(story.Event, []*sim.Machine) []*sim.Machine) {
	var down []*sim.Machine
	struck := uint64(0)
	s.begin = func() {
		down = which(s.event, p.selected(s.event.On))
		for _, m := range down {
			if p.takePower(m) {
				struck++
			}
		}
	}
	s.heal = func() {
		for _, m := range down {
			p.givePower(m)
		}
	}
	s.touched = func() uint64 { return struck }
}

// all chooses also those that are off: others' faults may end before this one.
func (p *platform) all(_ story.Event, from []*sim.Machine) []*sim.Machine { return from }

// on are those machines that are.
func on(machines []*sim.Machine) []*sim.Machine {
	return slices.DeleteFunc(machines, func(m *sim.Machine) bool { return !m.On() })
}

// share chooses the machines that share their fate with a fault: so many of a
// hundred that are on, and at least one.
func (p *platform) share(e story.Event, from []*sim.Machine) []*sim.Machine {
	from = on(from)
	fate := func(m *sim.Machine) uint64 { return p.world.Choose(e.ID+" strikes "+m.Name(), 0) }
	slices.SortStableFunc(from, func(a, b *sim.Machine) int { return cmp.Compare(fate(a), fate(b)) })
	n := (len(from)*int(e.Params.Share("share")) + 5000) / 10000
	return from[:min(max(n, 1), len(from))]
}

// allBut chooses all machines that are on but the last ones.
func (p *platform) allBut(e story.Event, from []*sim.Machine) []*sim.Machine {
	from = on(from)
	return from[:max(len(from)-e.Params.Count("leaves"), 0)]
}

func (p *platform) kill(s *strike) {
	struck := uint64(0)
	s.begin = func() {
		for _, m := range p.selected(s.event.On) {
			for _, proc := range m.Processes() {
				struck++
				proc.Kill()
			}
		}
	}
	s.touched = func() uint64 { return struck }
}

func (p *platform) pause(s *strike) {
	p.standStill(s, "paused", (*sim.Machine).Pause, (*sim.Machine).Resume)
}

// hang has the processes of machines stand still.
func (p *platform) hang(s *strike) {
	p.standStill(s, hung, (*sim.Machine).Hang, (*sim.Machine).Unhang)
}

const hung = "hung"

// standStill counts what waits for the end.
func (p *platform) standStill(s *strike, state string, begin, end func(*sim.Machine)) {
	machines := p.selected(s.event.On)
	held := uint64(0)
	p.overlaps.holding(s, state, machines, begin, end)
	goOn := s.heal
	s.heal = func() {
		for _, m := range machines {
			held += uint64(m.Held())
		}
		goOn()
	}
	s.touched = func() uint64 { return held }
}

// works is for how long a slow machine works between two times that it stands
// still.
const works = 50 * time.Millisecond

// slow has the processes of machines stand still again and again.
func (p *platform) slow(s *strike) {
	waits := s.event.Params.Duration("waits")
	machines := p.selected(s.event.On)
	held := uint64(0)
	s.chain(func(again func()) {
		for _, m := range machines {
			p.overlaps.begin(m.Name(), hung)
			m.Hang()
		}
		p.world.After(waits, func() { // also if the fault has healed by then
			for _, m := range machines {
				held += uint64(m.Held())
				if p.overlaps.end(m.Name(), hung) {
					m.Unhang()
				}
			}
			p.world.After(works, again)
		})
	})
	s.touched = func() uint64 { return held }
}

// exhaust takes their descriptors from the nodes and vantages among the machines.
func (p *platform) exhaust(s *strike) {
	var machines []*sim.Machine
	for _, m := range p.among(s.event) {
		machines = append(machines, p.hosts[m.Name])
	}
	p.overlaps.holding(s, "without descriptors", machines, (*sim.Machine).Exhaust, (*sim.Machine).Relieve)
	s.touched = func() uint64 {
		n := uint64(0)
		for _, m := range machines {
			n += m.Denied()
		}
		return n
	}
}

// crash lets the machines crash with an effect of theirs. One that loses its power
// boots again at the end.
func (p *platform) crash(s *strike, power bool) {
	effects, _ := s.event.Params.Counts("effects")
	p.crashEach(s, p.selected(s.event.On), power, func(m *sim.Machine) *sim.Crash {
		if power {
			return m.PowerOffAfter(uint64(effects.Min))
		}
		return m.KillAfter(uint64(effects.Min))
	})
}

// crashEach sets a crash on each of the machines.
func (p *platform) crashEach(s *strike, machines []*sim.Machine, power bool, crash func(*sim.Machine) *sim.Crash) {
	var set []*sim.Crash // of all strikes; the last len(machines) are the present one's
	s.begin = func() {
		for _, m := range machines {
			set = append(set, crash(m))
		}
	}
	s.heal = func() {
		for i, c := range set[len(set)-len(machines):] {
			c.Cancel()
			if power && c.Happened() {
				p.lostPower(machines[i])
			}
		}
	}
	s.touched = func() uint64 {
		n := uint64(0)
		for _, c := range set {
			if c.Happened() {
				n++
			}
		}
		return n
	}
}
