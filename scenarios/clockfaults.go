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
			m.Clock().Drift(int64(gains)) // nanoseconds a second are parts per billion
		}
	}
	s.begin = func() { drift(s.event.Params.Duration("gains")) }
	s.heal = func() { drift(0) }
	s.touched = func() uint64 { return struck }
}

// freezeClock has wall clocks stand still.
func (p *platform) freezeClock(s *strike) {
	machines := p.selected(s.event.On)
	struck := uint64(0)
	s.begin = func() {
		for _, m := range machines {
			struck++
			m.Clock().Stop()
		}
	}
	s.heal = func() {
		for _, m := range machines {
			m.Clock().Start()
		}
	}
	s.touched = func() uint64 { return struck }
}

// endCertificates puts certificates that end soon in the place of others, and
// renews them.
func (p *platform) endCertificates(s *strike) {
	struck := uint64(0)
	write := func(until time.Time) {
		for _, m := range p.machines {
			names := p.certified(m)
			if len(names) == 0 || !slices.Contains(s.event.On.Match(p.machines), m.Name) {
				continue
			}
			leaf, err := p.ca.LeafUntil(until, names...)
			if err == nil {
				err = p.files(m.Name, map[string][]byte{certFile: leaf})
			}
			if err != nil {
				p.world.Emit("certificate not written", sim.Field{Key: "on", Value: m.Name}, sim.Field{Key: "error", Value: err.Error()})
				continue
			}
			struck++
		}
	}
	s.begin = func() { write(p.world.Start().Add(p.world.Elapsed() + s.event.Params.Duration("in"))) }
	s.heal = func() {
		_, until := p.validity()
		write(until)
	}
	s.touched = func() uint64 { return struck }
}
