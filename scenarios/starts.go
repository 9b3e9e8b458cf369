package scenarios

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/espra/protoplex/nodes"
)

// birth is what becomes of the processes that start on some machines while it
// lasts.
type birth struct {
	takes time.Duration // until one begins to work
	lives time.Duration // until one dies; 0 is for good

	machines []string
	struck   uint64
}

// births are those that last, and what asks them.
type births struct {
	p *platform

	mu  sync.Mutex
	now []*birth
}

// exposed has a role ask what becomes of it when it starts.
func (b *births) exposed(run nodes.Role) nodes.Role {
	return func(ctx context.Context, m nodes.Machine, args []string) error {
		host := m.Host()
		for _, o := range b.at(host.Name) {
			if o.takes > 0 && nodes.Sleep(ctx, m, "slow start", o.takes) != nil {
				return ctx.Err()
			}
			if o.lives > 0 {
				b.p.world.After(o.lives, func() { b.p.killLeaf(host.Name, host.Proc) })
			}
		}
		return run(ctx, m, args)
	}
}

// at gives what strikes a process that starts on a machine, and counts it.
func (b *births) at(machine string) []*birth {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []*birth
	for _, o := range b.now {
		if slices.Contains(o.machines, machine) {
			o.struck++
			all = append(all, o)
		}
	}
	return all
}

// killLeaf kills a process unless it has children: then they die, and it has to
// start them again.
func (p *platform) killLeaf(machine, process string) {
	processes := p.hosts[machine].Processes()
	for _, proc := range processes {
		if strings.HasPrefix(proc.Name(), process+"/") {
			return
		}
	}
	for _, proc := range processes {
		if proc.Name() == process {
			proc.Kill()
		}
	}
}

// starts prepares a fault of processes that start. Those that run are killed, so
// that there are some.
func (p *platform) starts(s *strike, of birth) {
	o := &of
	o.machines = s.event.On.Match(p.machines)
	b := p.births
	s.begin = func() {
		b.mu.Lock()
		b.now = append(b.now, o)
		b.mu.Unlock()
		for _, machine := range o.machines {
			for _, proc := range p.hosts[machine].Processes() {
				if o.lives > 0 {
					p.killLeaf(machine, proc.Name())
				} else {
					proc.Kill()
				}
			}
		}
	}
	s.heal = func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.now = slices.DeleteFunc(b.now, func(other *birth) bool { return other == o })
	}
	s.touched = func() uint64 {
		b.mu.Lock()
		defer b.mu.Unlock()
		return o.struck
	}
}
