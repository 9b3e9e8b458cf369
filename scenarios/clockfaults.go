package scenarios

import (
	"slices"
	"time"

	"github.com/espra/protoplex/sim"
)

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
			p.overlaps.drift(m, gains)
		}
	}
	gains := s.event.Params.Duration("gains")
	s.begin = func() { drift(gains) }
	s.heal = func() { drift(-gains) }
	s.touched = func() uint64 { return struck }
}

// freezeClock has wall clocks stand still.
func (p *platform) freezeClock(s *strike) {
	machines := p.selected(s.event.On)
	struck := uint64(0)
	p.overlaps.holding(s, "frozen", machines,
		func(m *sim.Machine) { m.Clock().Stop() }, func(m *sim.Machine) { m.Clock().Start() })
	freeze := s.begin
	s.begin = func() {
		struck += uint64(len(machines))
		freeze()
	}
	s.touched = func() uint64 { return struck }
}

// endCertificates puts certificates that end soon in the place of others, and
// renews them.
func (p *platform) endCertificates(s *strike) {
	struck := uint64(0)
	write := func(until time.Time, put func(m *sim.Machine, leaf []byte) error) {
		for _, m := range p.machines {
			names := p.certified(m)
			if len(names) == 0 || !slices.Contains(s.event.On.Match(p.machines), m.Name) {
				continue
			}
			leaf, err := p.ca.LeafUntil(until, names...)
			if err == nil {
				err = put(p.hosts[m.Name], leaf)
			}
			if err != nil {
				p.world.Emit("certificate not written", sim.Field{Key: "on", Value: m.Name}, sim.Field{Key: "error", Value: err.Error()})
				continue
			}
			struck++
		}
	}
	s.begin = func() {
		until := p.world.Start().Add(p.world.Elapsed() + s.event.Params.Duration("in"))
		write(until, func(m *sim.Machine, leaf []byte) error { return p.scribble(m, certFile, s.event.ID, leaf) })
	}
	s.heal = func() {
		_, until := p.validity()
		write(until, func(m *sim.Machine, leaf []byte) error { return p.erase(m, certFile, s.event.ID, leaf) })
	}
	s.touched = func() uint64 { return struck }
}
