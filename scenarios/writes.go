package scenarios

import (
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/espra/protoplex/fakes/faulty"
	"github.com/espra/protoplex/nodes/seed"
	"github.com/espra/protoplex/scenarios/oracle"
	"github.com/espra/protoplex/scenarios/story"
)

// longestTerm is for how long a lease may be believed in, in true time: clocks may
// run slow by a thousandth.
const longestTerm = seed.Term + seed.Term/1000

// writes are those that have reached the lease stores, whose answers may be lost.
type writes struct {
	mu  sync.Mutex
	all []write
}

type write struct {
	at   time.Duration
	from netip.Addr
}

// wrote notes a request to an API that is about to be carried out, if it is a
// write to a lease store.
func (p *platform) wrote(machine string, r faulty.Request, o faulty.Outcome) {
	carriedOut := o.Fate == faulty.Served || o.Fate == faulty.Lost
	if !r.Write || !carriedOut || !slices.ContainsFunc(p.with(story.RoleStore, nil), func(m story.Machine) bool { return m.Name == machine }) {
		return
	}
	p.writes.mu.Lock()
	defer p.writes.mu.Unlock()
	p.writes.all = append(p.writes.all, write{p.world.Elapsed(), r.From})
}

// renewed gives the writes of the Seeds, in order.
func (p *platform) renewed() []oracle.Renewed {
	names := map[netip.Addr]string{}
	for _, m := range append(p.with(story.RoleSeed, nil), p.with(story.RoleUnderstudy, nil)...) {
		names[p.addr(m.Name)] = m.Name
	}
	p.writes.mu.Lock()
	defer p.writes.mu.Unlock()
	var all []oracle.Renewed
	for _, w := range p.writes.all {
		if name := names[w.from]; name != "" {
			all = append(all, oracle.Renewed{At: w.at, Name: name})
		}
	}
	return all
}
