package scenarios

import (
	"slices"
	"time"

	"github.com/espra/protoplex/fakes/faulty"
	"github.com/espra/protoplex/nodes/seed"
	"github.com/espra/protoplex/scenarios/oracle"
	"github.com/espra/protoplex/scenarios/story"
)

// longestTerm is for how long a lease may be believed in, in true time: clocks may
// run slow by a thousandth.
const longestTerm = seed.Term + seed.Term/1000

// wrote notes a request to an API that is about to be carried out, if it is a
// write to a lease store.
func (p *platform) wrote(machine string, r faulty.Request, o faulty.Outcome) {
	carriedOut := o.Fate == faulty.Served || o.Fate == faulty.Lost
	if !r.Write || !carriedOut || !slices.ContainsFunc(p.with(story.RoleStore, nil), func(m story.Machine) bool { return m.Name == machine }) {
		return
	}
	p.writes.note(p.world.Elapsed(), r.From)
}

// renewed gives the writes of the Seeds that have reached the lease stores, whatever
// the Seeds heard of them, in order.
func (p *platform) renewed() []oracle.Renewed {
	var all []oracle.Renewed
	p.writes.by(p, append(p.with(story.RoleSeed, nil), p.with(story.RoleUnderstudy, nil)...), func(at time.Duration, name string) {
		all = append(all, oracle.Renewed{At: at, Name: name})
	})
	return all
}
