package scenarios

import (
	"fmt"
	"slices"
	"time"

	"github.com/espra/protoplex/fakes/dns"
	"github.com/espra/protoplex/fakes/faulty"
	"github.com/espra/protoplex/nodes"
	"github.com/espra/protoplex/scenarios/story"
	"github.com/espra/protoplex/sim"
)

// strike is one fault of the timeline in the world.
type strike struct {
	event   story.Event
	begin   func()
	heal    func()
	touched func() uint64
}

// strikes prepares all faults of a story.
func (p *platform) strikes() ([]strike, error) {
	var all []strike
	for _, e := range p.story.Timeline {
		s := strike{event: e}
		switch e.Fault {
		case "region-lost", "zone-lost", "machine-lost":
			p.powerLoss(&s)
		case "process-killed":
			p.kill(&s)
		case "killed-after":
			p.crash(&s, false)
		case "lost-after":
			p.crash(&s, true)
		case "restarted":
			p.restart(&s)
		case "paused":
			p.pause(&s)
		case "clock-step":
			p.clockStep(&s)
		case "clock-drift":
			p.clockDrift(&s)
		case "partition":
			p.impair(&s, sim.Conditions{Cut: true}, p.onLink(e.On))
		case "isolated":
			p.impair(&s, sim.Conditions{Cut: true}, p.boundary(e.On))
		case "latency":
			p.impair(&s, sim.Conditions{Delay: e.Params.Duration("add")}, p.around(e.On))
		case "loss":
			p.impair(&s, sim.Conditions{Loss: partsPerMillion(e.Params.Share("percent"))}, p.around(e.On))
		case "links-flicker":
			p.flicker(&s)
		case "checks-all-well":
			p.lie(&s, true)
		case "checks-all-unwell":
			p.lie(&s, false)
		case "dns-servfail":
			p.answerWrongly(&s, dns.ServerFailure)
		case "dns-nxdomain":
			p.answerWrongly(&s, dns.NameError)
		case "dns-empty-answer":
			p.answerWrongly(&s, dns.NoRecords)
		case "dns-lame":
			p.answerWrongly(&s, dns.Refusal)
		case "dns-hijack":
			impostor, err := p.impostor()
			if err != nil {
				return nil, err
			}
			p.impair(&s, sim.Conditions{Divert: impostor}, p.queries(e))
		case "stale-resolver":
			p.staleResolvers(&s)
		case "certificate-ends":
			p.endCertificates(&s)
		case "balancer-state-lost":
			p.forgetBalancer(&s)
		case "dns-timeout":
			p.impair(&s, sim.Conditions{Loss: partsPerMillion(e.Params.Share("share"))}, p.queries(e))
		case "api-errors":
			p.trouble(&s, refused(e.Params))
		case "api-answer-lost":
			p.trouble(&s, faulty.Outcome{Fate: faulty.Lost})
		case "api-hangs":
			p.trouble(&s, faulty.Outcome{Fate: faulty.Ignored})
		case "no-capacity":
			p.noCapacity(&s)
		default:
			return nil, fmt.Errorf("%s: fault %s is in the vocabulary and not in the engine", p.story.Where(e.Pos), e.Fault)
		}
		all = append(all, s)
	}
	return all, nil
}

func partsPerMillion(b story.BasisPoints) int64 { return int64(b) * 100 }

// selected are the machines that a selector matches.
func (p *platform) selected(s *story.Selector) []*sim.Machine {
	var all []*sim.Machine
	for _, name := range s.Match(p.machines) {
		all = append(all, p.hosts[name])
	}
	return all
}

func (p *platform) set(s *story.Selector) map[*sim.Machine]bool {
	set := map[*sim.Machine]bool{}
	for _, m := range p.selected(s) {
		set[m] = true
	}
	return set
}

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

func (p *platform) clockStep(s *strike) {
	by := s.event.Params.Duration("by")
	struck := uint64(0)
	step := func(d time.Duration) {
		for _, m := range p.selected(s.event.On) {
			struck++
			m.Clock().Step(d)
		}
	}
	s.begin = func() { step(by) }
	s.heal = func() { step(-by) }
	s.touched = func() uint64 { return struck }
}

func (p *platform) clockDrift(s *strike) {
	struck := uint64(0)
	drift := func(gains time.Duration) {
		for _, m := range p.selected(s.event.On) {
			struck++
			m.Clock().Drift(int64(gains)) // nanoseconds a second are parts per billion
		}
	}
	s.begin = func() { drift(s.event.Params.Duration("gains")) }
	s.heal = func() { drift(0) }
	s.touched = func() uint64 { return struck }
}

func (p *platform) impair(s *strike, c sim.Conditions, match func(from, to *sim.Machine) bool) {
	var faults []*sim.Fault // one of each strike
	s.begin = func() { faults = append(faults, p.world.Impair(s.event.ID, c, match)) }
	s.heal = func() { faults[len(faults)-1].Heal() }
	s.touched = func() uint64 { return touched(faults) }
}

func (p *platform) onLink(s *story.Selector) func(from, to *sim.Machine) bool {
	a, b, oneWay := p.set(s.From), p.set(s.To), s.OneWay
	return func(from, to *sim.Machine) bool {
		return a[from] && b[to] || !oneWay && b[from] && a[to]
	}
}

// boundary matches what crosses the edge of a selection.
func (p *platform) boundary(s *story.Selector) func(from, to *sim.Machine) bool {
	set := p.set(s)
	return func(from, to *sim.Machine) bool { return set[from] != set[to] }
}

// around matches a link, or all that a selection sends and receives.
func (p *platform) around(s *story.Selector) func(from, to *sim.Machine) bool {
	if s.Kind == story.ByLink {
		return p.onLink(s)
	}
	set := p.set(s)
	return func(from, to *sim.Machine) bool { return set[from] || set[to] }
}

// queries matches what is sent to the name servers of a provider, by some or by
// all but the provider itself.
func (p *platform) queries(e story.Event) func(from, to *sim.Machine) bool {
	servers, own := map[*sim.Machine]bool{}, p.set(e.On)
	for _, m := range p.with(story.RoleNameServer, func(m story.Machine) bool { return m.Provider == e.On.Name }) {
		servers[p.hosts[m.Name]] = true
	}
	askers := map[*sim.Machine]bool(nil)
	if from := e.Params.Selector("from"); from != nil {
		askers = p.set(from)
	}
	return func(from, to *sim.Machine) bool {
		return servers[to] && !own[from] && (askers == nil || askers[from])
	}
}

// schedule puts the faults into the world's future.
func (p *platform) schedule(all []strike) {
	for _, s := range all {
		for n := range s.event.Times {
			at := s.event.Strike(n)
			p.world.At(at, func() {
				p.world.Emit("FAULT", sim.Field{Key: "id", Value: s.event.ID}, sim.Field{Key: "fault", Value: s.event.Fault})
				s.begin()
			})
			if s.event.For > 0 && s.heal != nil {
				p.world.At(at+s.event.For, func() {
					p.world.Emit("HEAL", sim.Field{Key: "id", Value: s.event.ID})
					s.heal()
				})
			}
		}
	}
}

// idle lists the faults that touched nothing: a fault without effect proves
// nothing, so it is an error of the story.
func idle(all []strike, until time.Duration) []story.Event {
	var none []story.Event
	for _, s := range all {
		end, heals := s.event.Heals()
		if (heals && end > until) || s.event.At >= until {
			continue
		}
		if s.touched() == 0 {
			none = append(none, s.event)
		}
	}
	return slices.Clip(none)
}
