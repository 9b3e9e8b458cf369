package scenarios

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

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
		return run(faulty.With(ctx, func(r faulty.Request) faulty.Outcome {
			o := a.outcome(machine, r)
			a.p.wrote(machine, r, o)
			return o
		}), m, args)
	}
}

// outcome is that of the first trouble that meets a request.
func (a *answers) outcome(machine string, r faulty.Request) faulty.Outcome {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, t := range a.troubles[machine] {
		if o, met := t.meets(a.asker(r.From), r); met {
			return o
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

	// Of a throttle: how many requests of an asker pass in a minute.
	limit int
	// Of answers that are old: how long one is given.
	keeps time.Duration
	now   func() time.Duration // since the fault began; for these two
	begun int                  // how often it did: each strike counts anew

	passed map[string]int    // by asker, up to after
	asked  map[string]uint64 // by asker and what
	struck uint64
}

// meets tells whether the trouble strikes a request, and how, and counts it.
func (t *trouble) meets(asker string, r faulty.Request) (faulty.Outcome, bool) {
	if t.only == "reads" && r.Write || t.only == "writes" && !r.Write {
		return faulty.Outcome{}, false
	}
	what := asker + " " + r.What
	switch {
	case t.limit > 0: // in each minute anew
		in := fmt.Sprint(asker, " in minute ", t.now()/time.Minute, " of strike ", t.begun)
		if t.asked[in]++; t.asked[in] <= uint64(t.limit) {
			return faulty.Outcome{}, false
		}
	case t.keeps > 0: // the first one is true
		key := fmt.Sprint(t.id, " ", t.begun, " ", t.now()/t.keeps, " ", what)
		if t.asked[key]++; t.asked[key] > 1 {
			t.struck++
		}
		return faulty.Outcome{Fate: faulty.Repeated, Key: key}, true
	case t.passed[asker] < t.after:
		t.passed[asker]++
		return faulty.Outcome{}, false
	default:
		t.asked[what]++
		if t.choose("answer of "+t.id+" to "+what, t.asked[what])%10000 >= uint64(t.share) {
			return faulty.Outcome{}, false
		}
	}
	t.struck++
	return t.outcome, true
}

// throttle prepares a bound on how much may be asked.
func (p *platform) throttle(s *strike) {
	t := p.trouble(s, faulty.Outcome{Fate: faulty.Refused, Status: http.StatusTooManyRequests})
	t.limit = s.event.Params.Count("requests")
}

// answerOldly prepares a lag of what is read behind what was written.
func (p *platform) answerOldly(s *strike) {
	t := p.trouble(s, faulty.Outcome{})
	t.only, t.keeps = "reads", s.event.Params.Duration("keeps")
}

// trouble prepares a fault of APIs.
func (p *platform) trouble(s *strike, o faulty.Outcome) *trouble {
	params := s.event.Params
	t := &trouble{
		id: s.event.ID, outcome: o, share: params.Share("share"), only: params.Choice("only"), after: params.Count("after"),
		choose: p.world.Choose, passed: map[string]int{}, asked: map[string]uint64{},
	}
	if t.share == 0 {
		t.share = 10000
	}
	began := time.Duration(0)
	t.now = func() time.Duration { return p.world.Elapsed() - began }
	a := p.answers
	each := func(change func([]*trouble) []*trouble) {
		a.mu.Lock()
		defer a.mu.Unlock()
		for _, m := range s.event.On.Match(p.machines) {
			a.troubles[m] = change(a.troubles[m])
		}
	}
	s.begin = func() {
		began = p.world.Elapsed()
		t.begun++
		each(func(all []*trouble) []*trouble { return append(all, t) })
	}
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
	return t
}

// refused is the outcome that the parameters of a fault ask for.
func refused(params story.Values) faulty.Outcome {
	status, err := strconv.Atoi(params.Choice("status"))
	if err != nil { // left out: the vocabulary knows numbers only
		status = 503
	}
	return faulty.Outcome{Fate: faulty.Refused, Status: status}
}

// holdFleet has the fleet of a region be in a state from the first fault that wants
// it to the end of the last.
func (p *platform) holdFleet(s *strike, set func(bool)) {
	s.begin = func() {
		if p.overlaps.begin(s.event.On.Name, s.event.Fault) {
			set(true)
		}
	}
	s.heal = func() {
		if p.overlaps.end(s.event.On.Name, s.event.Fault) {
			set(false)
		}
	}
}

// noCapacity has the cloud launch nothing in a region.
func (p *platform) noCapacity(s *strike) {
	f := p.fleets[s.event.On.Name]
	p.holdFleet(s, f.close)
	s.touched = f.counted(&f.refused)
}

// stickLaunches has what the cloud launches in a region wait for the end.
func (p *platform) stickLaunches(s *strike) {
	f := p.fleets[s.event.On.Name]
	p.holdFleet(s, f.stick)
	s.touched = f.counted(&f.held)
}

// slowBoots has what the cloud launches in a region take longer to boot.
func (p *platform) slowBoots(s *strike) {
	f := p.fleets[s.event.On.Name]
	times := s.event.Params.Factor("times")
	s.begin = func() { f.stretch(f.slows.begin(times)) }
	s.heal = func() { f.stretch(f.slows.end(times)) }
	s.touched = f.counted(&f.slowed)
}

func (p *platform) forgetBalancer(s *strike) {
	f := p.fleets[s.event.On.Name]
	p.holdFleet(s, f.amnesia.Set)
	s.touched = f.amnesia.Touched
}
