package scenarios

import (
	"fmt"
	"path"

	"github.com/espra/protoplex/nodes"
	"github.com/espra/protoplex/scenarios/story"
	"github.com/espra/protoplex/sim"
)

// twinSuffix makes the name of a copy out of that of its machine.
const twinSuffix = "-twin"

// addTwins makes a copy of each node that a fault strikes: a machine beside it, off
// for now, with its files and another address. It is part of no topology, so no
// selector finds it.
func (p *platform) addTwins(e story.Event) error {
	for _, m := range p.among(e) {
		name := m.Name + twinSuffix
		if p.hosts[name] != nil {
			continue
		}
		twin := p.world.NewMachine(name, sim.In(p.place(m)), sim.WithResolvers(p.resolvers(m)...))
		twin.PowerOff()
		if err := copyFiles(disk{p.hosts[m.Name].Disk()}, twin.Disk(), "/"); err != nil {
			return fmt.Errorf("set up %s: %w", name, err)
		}
		p.hosts[name] = twin
		for _, j := range p.jobs[m.Name] {
			p.run(name, j.role, j.args...)
		}
	}
	return nil
}

func copyFiles(from nodes.Disk, to *sim.Disk, dir string) error {
	names, err := from.List(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		name = path.Join(dir, name)
		size, err := from.Stat(name)
		if err != nil {
			return err
		}
		if size < 0 { // a directory
			if err := to.MkdirAll(name); err != nil {
				return err
			}
			if err := copyFiles(from, to, name); err != nil {
				return err
			}
			continue
		}
		data, err := nodes.ReadFile(from, name, size)
		if err != nil {
			return err
		}
		if err := to.WriteFile(name, data); err != nil {
			return err
		}
	}
	return nil
}

// haunt has copies of nodes run beside them: who knows names and keys alone takes
// them for the same. It counts those that have a cell to join.
func (p *platform) haunt(s *strike) {
	struck, felt := uint64(0), uint64(0)
	var twins []*sim.Machine
	for _, m := range p.among(s.event) {
		twins = append(twins, p.hosts[m.Name+twinSuffix])
		if p.cells[m.Region] != nil {
			felt++
		}
	}
	p.overlaps.holding(s, "there", twins, (*sim.Machine).PowerOn, (*sim.Machine).PowerOff)
	come := s.begin
	s.begin = func() {
		struck += felt
		come()
	}
	s.touched = func() uint64 { return struck }
}
