package scenarios

import (
	"fmt"
	"slices"
	"time"

	"github.com/espra/protoplex/scenarios/story"
	"github.com/espra/protoplex/sim"
)

// keepers are the machines among those that are struck whose disks the fault is
// about.
func (p *platform) keepers(e story.Event) []*sim.Machine {
	spec, _ := story.FindFault(e.Fault)
	struck := e.On.Match(p.machines)
	var all []*sim.Machine
	for _, m := range p.machines {
		if slices.Contains(spec.Roles, m.Role) && slices.Contains(struck, m.Name) {
			all = append(all, p.hosts[m.Name])
		}
	}
	return all
}

func (p *platform) impairDisks(s *strike, c sim.DiskConditions) {
	machines := p.keepers(s.event)
	var faults []*sim.DiskFault // of all strikes
	s.begin = func() {
		for _, m := range machines {
			faults = append(faults, m.Disk().Impair(s.event.ID, c))
		}
	}
	s.heal = func() {
		for _, f := range faults {
			f.Heal()
		}
	}
	s.touched = func() uint64 {
		n := uint64(0)
		for _, f := range faults {
			n += f.Touched()
		}
		return n
	}
}

// powerBack is how long a machine is off whose disk has lied.
const powerBack = 5 * time.Second

// loseSyncs ends with a loss of power, without which nobody would know.
func (p *platform) loseSyncs(s *strike) {
	p.impairDisks(s, sim.DiskConditions{LoseSyncs: true})
	honest := s.heal
	s.heal = func() {
		var down []*sim.Machine
		for _, m := range p.keepers(s.event) {
			if m.On() {
				down = append(down, m)
				p.takePower(m)
			}
		}
		honest()
		p.world.After(powerBack, func() {
			for _, m := range down {
				p.givePower(m)
			}
		})
	}
}

func (p *platform) tearWrite(s *strike) {
	syncs, _ := s.event.Params.Counts("syncs")
	p.crashEach(s, p.keepers(s.event), true, func(m *sim.Machine) *sim.Crash { return m.PowerOffDuringSync(uint64(syncs.Min)) })
}

// rot damages what roles have kept, and has them read it.
func (p *platform) rot(s *strike) {
	machines := p.keepers(s.event)
	var all []*sim.Rot // of all strikes
	strikes := 0
	s.begin = func() {
		name := s.event.ID
		if strikes++; strikes > 1 {
			name = fmt.Sprint(name, " again ", strikes) // not the same bit for ever
		}
		for _, m := range machines {
			all = append(all, m.Disk().Rot(name, "/var"))
			for _, proc := range m.Processes() {
				proc.Kill()
			}
		}
	}
	s.heal = func() {
		for _, r := range all {
			r.Heal()
		}
	}
	s.touched = func() uint64 {
		n := uint64(0)
		for _, r := range all {
			n += r.Touched()
		}
		return n
	}
}
