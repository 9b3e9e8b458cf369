package scenarios

import (
	"fmt"
	"slices"
	"time"

	"github.com/espra/protoplex/fakes/dns"
	"github.com/espra/protoplex/fakes/faulty"
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

// chain makes it a fault that does something when it begins, and whenever that has
// again called, until it heals.
func (s *strike) chain(do func(again func())) {
	strikes, lasts := 0, false
	s.begin = func() {
		strikes++
		lasts = true
		strike := strikes
		var again func()
		again = func() {
			if lasts && strike == strikes { // not one that an earlier strike has left
				do(again)
			}
		}
		again()
	}
	s.heal = func() { lasts = false }
}

// engine has, for each word of the fault vocabulary, what prepares such a fault.
// It is never changed.
var engine = map[string]func(*platform, *strike){
	"region-lost":    func(p *platform, s *strike) { p.powerLoss(s, p.all) },
	"zone-lost":      func(p *platform, s *strike) { p.powerLoss(s, p.all) },
	"machine-lost":   func(p *platform, s *strike) { p.powerLoss(s, p.all) },
	"machines-lost":  func(p *platform, s *strike) { p.powerLoss(s, p.share) },
	"process-killed": (*platform).kill,
	"killed-after":   func(p *platform, s *strike) { p.crash(s, false) },
	"lost-after":     func(p *platform, s *strike) { p.crash(s, true) },
	"paused":         (*platform).pause,
	"hung":           (*platform).hang,
	"slow-machine":   (*platform).slow,
	"crash-loop":     func(p *platform, s *strike) { p.starts(s, birth{lives: s.event.Params.Duration("lives")}) },
	"slow-start":     func(p *platform, s *strike) { p.starts(s, birth{takes: s.event.Params.Duration("takes")}) },
	"no-sockets":     (*platform).exhaust,
	"zombie":         (*platform).haunt,

	"restarted":        (*platform).restart,
	"drain-ordered":    (*platform).orderDrain,
	"capacity-removed": func(p *platform, s *strike) { p.powerLoss(s, p.allBut) },
	"records-deleted":  (*platform).deleteRecords,
	"bad-push":         (*platform).pushBadly,
	"domain-expired":   (*platform).expireDomain,

	"clock-step":       (*platform).clockStep,
	"clock-drift":      (*platform).clockDrift,
	"clock-frozen":     (*platform).freezeClock,
	"certificate-ends": (*platform).endCertificates,

	"partition": func(p *platform, s *strike) {
		p.impair(s, sim.Conditions{Cut: true}, p.onLink(s.event.On))
	},
	"isolated": func(p *platform, s *strike) {
		p.impair(s, sim.Conditions{Cut: true}, p.boundary(s.event.On))
	},
	"latency": func(p *platform, s *strike) {
		p.impair(s, sim.Conditions{Delay: s.event.Params.Duration("add")}, p.around(s.event.On))
	},
	"loss": func(p *platform, s *strike) {
		p.impair(s, sim.Conditions{Loss: percent(s)}, p.around(s.event.On))
	},
	"jitter": func(p *platform, s *strike) {
		p.impair(s, sim.Conditions{Jitter: s.event.Params.Duration("up-to")}, p.around(s.event.On))
	},
	"bandwidth": func(p *platform, s *strike) {
		p.impair(s, sim.Conditions{Bandwidth: s.event.Params.Rate("rate").Bytes()}, p.around(s.event.On))
	},
	"burst-loss": func(p *platform, s *strike) {
		p.impair(s, sim.Conditions{Loss: percent(s), Burst: s.event.Params.Duration("run")}, p.around(s.event.On))
	},
	"duplication": func(p *platform, s *strike) {
		p.impair(s, sim.Conditions{Duplicate: percent(s)}, p.around(s.event.On))
	},
	"reordering": func(p *platform, s *strike) {
		p.impair(s, sim.Conditions{Reorder: percent(s)}, p.around(s.event.On))
	},
	"corruption": func(p *platform, s *strike) {
		p.impair(s, sim.Conditions{Corrupt: percent(s)}, p.around(s.event.On))
	},
	"mtu-drop": func(p *platform, s *strike) {
		p.impair(s, sim.Conditions{MTU: 1400}, p.around(s.event.On))
	},
	"held-back": func(p *platform, s *strike) {
		p.impair(s, sim.Conditions{Hold: true}, p.edge(s.event.On))
	},
	"connections-reset": (*platform).resetConnections,
	"half-open":         (*platform).forgetConnections,
	"links-flicker":     (*platform).flicker,
	"swizzle-clog":      (*platform).swizzle,

	"disk-full":      func(p *platform, s *strike) { p.impairDisks(s, sim.DiskConditions{Full: true}) },
	"disk-read-only": func(p *platform, s *strike) { p.impairDisks(s, sim.DiskConditions{ReadOnly: true}) },
	"disk-errors":    func(p *platform, s *strike) { p.impairDisks(s, sim.DiskConditions{Errors: percent(s)}) },
	"disk-slow": func(p *platform, s *strike) {
		p.impairDisks(s, sim.DiskConditions{Slow: s.event.Params.Duration("add")})
	},
	"disk-stalled": func(p *platform, s *strike) { p.impairDisks(s, sim.DiskConditions{Stalled: true}) },
	"lost-syncs":   (*platform).loseSyncs,
	"torn-write":   (*platform).tearWrite,
	"bit-rot":      (*platform).rot,

	"dns-servfail":     func(p *platform, s *strike) { p.answerWrongly(s, dns.ServerFailure) },
	"dns-nxdomain":     func(p *platform, s *strike) { p.answerWrongly(s, dns.NameError) },
	"dns-empty-answer": func(p *platform, s *strike) { p.answerWrongly(s, dns.NoRecords) },
	"dns-lame":         func(p *platform, s *strike) { p.answerWrongly(s, dns.Refusal) },
	"dns-timeout": func(p *platform, s *strike) {
		p.impair(s, sim.Conditions{Loss: partsPerMillion(s.event.Params.Share("share"))}, p.queries(s.event))
	},
	"dns-hijack": func(p *platform, s *strike) {
		p.impair(s, sim.Conditions{Divert: p.hosts[impostorName]}, p.queries(s.event))
	},
	"stale-resolver":      (*platform).staleResolvers,
	"zone-spreads-slowly": (*platform).spreadSlowly,

	"api-errors":      func(p *platform, s *strike) { p.trouble(s, refused(s.event.Params)) },
	"api-answer-lost": func(p *platform, s *strike) { p.trouble(s, faulty.Outcome{Fate: faulty.Lost}) },
	"api-hangs":       func(p *platform, s *strike) { p.trouble(s, faulty.Outcome{Fate: faulty.Ignored}) },
	"throttled":       (*platform).throttle,
	"stale-describes": (*platform).answerOldly,
	"texts-delayed":   (*platform).delayTexts,

	"no-capacity":         (*platform).noCapacity,
	"launches-stuck":      (*platform).stickLaunches,
	"boots-slow":          (*platform).slowBoots,
	"balancer-state-lost": (*platform).forgetBalancer,
	"checks-all-well":     func(p *platform, s *strike) { p.lie(s, true) },
	"checks-all-unwell":   func(p *platform, s *strike) { p.lie(s, false) },
}

// strikes prepares all faults of a story.
func (p *platform) strikes() ([]strike, error) {
	var all []strike
	for _, e := range p.story.Timeline {
		prepare, ok := engine[e.Fault]
		if !ok {
			return nil, fmt.Errorf("%s: fault %s is in the vocabulary and not in the engine", p.story.Where(e.Pos), e.Fault)
		}
		if e.Fault == "dns-hijack" {
			if err := p.addImpostor(); err != nil {
				return nil, err
			}
		}
		if e.Fault == "zombie" {
			if err := p.addTwins(e); err != nil {
				return nil, err
			}
		}
		s := strike{event: e}
		prepare(p, &s)
		all = append(all, s)
	}
	return all, nil
}

func partsPerMillion(b story.BasisPoints) int64 { return int64(b) * 100 }

func percent(s *strike) int64 { return partsPerMillion(s.event.Params.Share("percent")) }

// selected are the machines that a selector matches.
func (p *platform) selected(s *story.Selector) []*sim.Machine {
	var all []*sim.Machine
	for _, name := range s.Match(p.machines) {
		all = append(all, p.hosts[name])
	}
	return all
}

// among are the machines that a fault strikes and that have one of its roles.
func (p *platform) among(e story.Event) []story.Machine {
	spec, _ := story.FindFault(e.Fault)
	on := e.On.Match(p.machines)
	return slices.DeleteFunc(slices.Clone(p.machines), func(m story.Machine) bool {
		return !slices.Contains(spec.Roles, m.Role) || !slices.Contains(on, m.Name)
	})
}

func (p *platform) set(s *story.Selector) map[*sim.Machine]bool {
	set := map[*sim.Machine]bool{}
	for _, m := range p.selected(s) {
		set[m] = true
	}
	return set
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
