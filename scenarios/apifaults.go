package scenarios

import (
	"context"
	"net/netip"
	"slices"
	"strconv"
	"sync"

	"github.com/espra/protoplex/fakes/faulty"
	"github.com/espra/protoplex/nodes"
	"github.com/espra/protoplex/scenarios/story"
)

// Faults of APIs: how requests are answered, while the network and the machines
// are well.

// answers says what becomes of the requests to every API of a platform.
type answers struct {
	p *platform

	mu       sync.Mutex
	askers   map[netip.Addr]string // machines by address, from the first request on
	troubles map[string][]*trouble // that have begun and not healed, by machine, in that order
}

// exposed has a role ask the answers of its machine for each request.
func (a *answers) exposed(run nodes.Role) nodes.Role {
	return func(ctx context.Context, m nodes.Machine, args []string) error {
		machine := m.Host().Name
		return run(faulty.With(ctx, func(r faulty.Request) faulty.Outcome { return a.outcome(machine, r) }), m, args)
	}
}

// outcome is that of the first trouble that meets a request.
func (a *answers) outcome(machine string, r faulty.Request) faulty.Outcome {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, t := range a.troubles[machine] {
		if t.meets(a.asker(r.From), r) {
			return t.outcome
		}
	}
	return faulty.Outcome{}
}

// asker names who asks; the mutex is held.
func (a *answers) asker(from netip.Addr) string {
	if a.askers == nil {
		a.askers = map[netip.Addr]string{}
		for name, host := range a.p.hosts {
			a.askers[host.Addr()] = name
		}
	}
	return a.askers[from]
}

// trouble is one fault of APIs while it lasts. Which requests it meets hangs on
// the fault, on who asks, on what is asked for and on how often that was, and so
// never on who comes first of those who ask at once.
type trouble struct {
	id      string
	outcome faulty.Outcome
	share   story.BasisPoints
	only    string // reads, writes, or "" for both
	after   int
	choose  func(name string, n uint64) uint64

	passed map[string]int    // by asker, up to after
	asked  map[string]uint64 // by asker and what
	struck uint64
}

// meets tells whether the trouble strikes a request, and counts it.
func (t *trouble) meets(asker string, r faulty.Request) bool {
	if t.only == "reads" && r.Write || t.only == "writes" && !r.Write {
		return false
	}
	if t.passed[asker] < t.after {
		t.passed[asker]++
		return false
	}
	what := asker + " " + r.What
	t.asked[what]++
	if t.choose("answer of "+t.id+" to "+what, t.asked[what])%10000 >= uint64(t.share) {
		return false
	}
	t.struck++
	return true
}

// trouble prepares a fault of APIs.
func (p *platform) trouble(s *strike, o faulty.Outcome) {
	params := s.event.Params
	t := &trouble{
		id: s.event.ID, outcome: o, share: params.Share("share"), only: params.Choice("only"), after: params.Count("after"),
		choose: p.world.Choose, passed: map[string]int{}, asked: map[string]uint64{},
	}
	if t.share == 0 {
		t.share = 10000
	}
	a := p.answers
	each := func(change func([]*trouble) []*trouble) {
		a.mu.Lock()
		defer a.mu.Unlock()
		for _, m := range s.event.On.Match(p.machines) {
			a.troubles[m] = change(a.troubles[m])
		}
	}
	s.begin = func() { each(func(all []*trouble) []*trouble { return append(all, t) }) }
	s.heal = func() {
		each(func(all []*trouble) []*trouble {
			return slices.DeleteFunc(all, func(o *trouble) bool { return o == t })
		})
	}
	s.touched = func() uint64 {
		a.mu.Lock()
		defer a.mu.Unlock()
		return t.struck
	}
}

// refused is the outcome that the parameters of a fault ask for.
func refused(params story.Values) faulty.Outcome {
	status, err := strconv.Atoi(params.Choice("status"))
	if err != nil { // left out: the vocabulary knows numbers only
		status = 503
	}
	return faulty.Outcome{Fate: faulty.Refused, Status: status}
}

// noCapacity has the cloud launch nothing in a region.
func (p *platform) noCapacity(s *strike) {
	f := p.fleets[s.event.On.Name]
	s.begin = func() { f.close(true) }
	s.heal = func() { f.close(false) }
	s.touched = f.turnedAway
}

func (p *platform) forgetBalancer(s *strike) {
	f := p.fleets[s.event.On.Name]
	s.begin = func() { f.amnesia.Set(true) }
	s.heal = func() { f.amnesia.Set(false) }
	s.touched = f.amnesia.Touched
}
