package scenarios

import (
	"cmp"
	"slices"
	"time"

	"github.com/espra/protoplex/scenarios/story"
	"github.com/espra/protoplex/sim"
)

// powerLoss takes the power of those machines that which chooses, out of the
// selected ones that are on.
func (p *platform) powerLoss(s *strike, which func(story.Event, []*sim.Machine) []*sim.Machine) {
	var down []*sim.Machine
	struck := uint64(0)
	s.begin = func() {
		down = which(s.event, slices.DeleteFunc(p.selected(s.event.On), func(m *sim.Machine) bool { return !m.On() }))
		for _, m := range down {
			struck++
			m.PowerOff()
		}
	}
	s.heal = func() {
		for _, m := range down {
			p.bringBack(m)
		}
	}
	s.touched = func() uint64 { return struck }
}

// bringBack gives a machine its power again. What was replaced meanwhile does not come
// back.
func (p *platform) bringBack(m *sim.Machine) {
	if f := p.fleets[m.Region()]; f == nil || !f.ended(m) {
		m.PowerOn()
	}
}

func (p *platform) all(_ story.Event, from []*sim.Machine) []*sim.Machine { return from }

// share chooses the machines that share their fate with a fault: so many of a
// hundred, and at least one.
func (p *platform) share(e story.Event, from []*sim.Machine) []*sim.Machine {
	fate := func(m *sim.Machine) uint64 { return p.world.Choose(e.ID+" strikes "+m.Name(), 0) }
	slices.SortStableFunc(from, func(a, b *sim.Machine) int { return cmp.Compare(fate(a), fate(b)) })
	n := (len(from)*int(e.Params.Share("share")) + 5000) / 10000
	return from[:min(max(n, 1), len(from))]
}

// allBut chooses all machines but the last ones.
func (p *platform) allBut(e story.Event, from []*sim.Machine) []*sim.Machine {
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
	machines := p.selected(s.event.On)
	s.begin = func() {
		for _, m := range machines {
			m.Pause()
		}
	}
	held := uint64(0)
	s.heal = func() {
		for _, m := range machines {
			held += uint64(m.Held())
			m.Resume()
		}
	}
	s.touched = func() uint64 { return held }
}

// hang has the processes of machines stand still.
func (p *platform) hang(s *strike) {
	machines := p.selected(s.event.On)
	held := uint64(0)
	s.begin = func() {
		for _, m := range machines {
			p.still[m]++
			m.Hang()
		}
	}
	s.heal = func() {
		for _, m := range machines {
			held += uint64(m.Held())
			p.goOn(m)
		}
	}
	s.touched = func() uint64 { return held }
}

// goOn ends one of the hangs of a machine, and so all if it is the last.
func (p *platform) goOn(m *sim.Machine) {
	if p.still[m]--; p.still[m] == 0 {
		m.Unhang()
	}
}

// works is for how long a slow machine works between two times that it stands
// still.
const works = 50 * time.Millisecond

// slow has the processes of machines stand still again and again.
func (p *platform) slow(s *strike) {
	waits := s.event.Params.Duration("waits")
	machines := p.selected(s.event.On)
	held, strikes, on := uint64(0), 0, false
	var stand func(strike int)
	stand = func(strike int) {
		if !on || strike != strikes {
			return
		}
		for _, m := range machines {
			p.still[m]++
			m.Hang()
		}
		p.world.After(waits, func() {
			for _, m := range machines {
				held += uint64(m.Held())
				p.goOn(m)
			}
			p.world.After(works, func() { stand(strike) })
		})
	}
	s.begin = func() {
		strikes, on = strikes+1, true
		stand(strikes)
	}
	s.heal = func() { on = false } // it goes on when it would have anyway
	s.touched = func() uint64 { return held }
}

// exhaust takes their descriptors from the nodes and vantages among the machines.
func (p *platform) exhaust(s *strike) {
	var machines []*sim.Machine
	for _, m := range p.among(s.event) {
		machines = append(machines, p.hosts[m.Name])
	}
	s.begin = func() {
		for _, m := range machines {
			m.Exhaust()
		}
	}
	s.heal = func() {
		for _, m := range machines {
			m.Relieve()
		}
	}
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
				p.bringBack(machines[i])
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
