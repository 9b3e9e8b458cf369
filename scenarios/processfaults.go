package scenarios

import (
	"slices"
	"time"

	"github.com/espra/protoplex/nodes"
	"github.com/espra/protoplex/scenarios/story"
	"github.com/espra/protoplex/sim"
)

func (p *platform) powerLoss(s *strike) {
	var down []*sim.Machine
	struck := uint64(0)
	s.begin = func() {
		down = nil
		for _, m := range p.selected(s.event.On) {
			if m.On() {
				struck++
				down = append(down, m)
				m.PowerOff()
			}
		}
	}
	s.heal = func() {
		for _, m := range down {
			// What was replaced meanwhile does not come back.
			if f := p.fleets[m.Region()]; f == nil || !f.ended(m) {
				m.PowerOn()
			}
		}
	}
	s.touched = func() uint64 { return struck }
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

// restart tells the nodes among the machines to terminate, one after another;
// init starts them again.
func (p *platform) restart(s *strike) {
	told := uint64(0)
	every := s.event.Params.Duration("every")
	s.begin = func() {
		n := 0
		for _, m := range p.machines {
			process := m.Role
			switch m.Role {
			case story.RoleProxy, story.RoleLive, story.RoleSeed:
			case story.RoleUnderstudy:
				process = story.RoleSeed
			default:
				continue
			}
			if !slices.Contains(s.event.On.Match(p.machines), m.Name) {
				continue
			}
			p.world.After(time.Duration(n)*every, func() {
				for _, proc := range p.hosts[m.Name].Processes() {
					if proc.Name() == process && proc.Signal(string(nodes.Terminate)) == nil {
						told++
					}
				}
			})
			n++
		}
	}
	s.touched = func() uint64 { return told }
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
				machines[i].PowerOn()
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
