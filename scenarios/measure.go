package scenarios

import (
	"maps"
	"runtime"
	"slices"

	"github.com/espra/protoplex/scenarios/oracle"
	"github.com/espra/protoplex/scenarios/story"
)

// meter keeps what the machines take of the world and hold of it.
type meter struct {
	taken   []oracle.Usage
	running []oracle.Running
}

// measure looks at all machines again and again, each time when all is quiet.
func (p *platform) measure() *meter {
	m := &meter{}
	groups := map[string][]story.Machine{}
	for _, machine := range p.machines {
		if g := usageGroup(machine); g != "" {
			groups[g] = append(groups[g], machine)
		}
	}
	names := slices.Sorted(maps.Keys(groups))
	before := map[string]uint64{}
	var look func()
	look = func() {
		at := p.world.Elapsed()
		for _, name := range names {
			u := oracle.Usage{At: at, Group: name}
			var arrivals uint64
			for _, machine := range groups[name] {
				use := p.hosts[machine.Name].Usage()
				arrivals += use.Arrivals
				u.Connections += use.Connections
				if ownsNothing(machine.Role) {
					u.Bytes += use.Bytes
				}
			}
			u.Arrivals, before[name] = arrivals-before[name], arrivals
			m.taken = append(m.taken, u)
		}
		m.running = append(m.running, oracle.Running{At: at, Goroutines: runtime.NumGoroutine()})
		p.world.At(at+oracle.MeasureEvery, look)
	}
	p.world.At(oracle.MeasureEvery, look)
	return m
}

// usageGroup says with whom a machine is measured: with all of its role in its
// region, or at its provider. Those of clients and of strangers are not.
func usageGroup(m story.Machine) string {
	switch m.Role {
	case story.RoleProxy, story.RoleLive, story.RoleSeed, story.RoleStore, story.RoleBalancer:
		return m.Region + " " + m.Role
	case story.RoleUnderstudy:
		return m.Region + " " + story.RoleSeed
	case story.RoleNameServer:
		return m.Provider + " " + m.Role
	case story.RoleRoot, story.RoleCom, story.RoleCloudDNS:
		return m.Role
	}
	return ""
}

// ownsNothing tells whether machines of a role own no durable state, so that what
// grows on their disks is a leak.
func ownsNothing(role string) bool {
	switch role {
	case story.RoleProxy, story.RoleLive, story.RoleSeed, story.RoleUnderstudy, story.RoleBalancer:
		return true
	}
	return false
}
