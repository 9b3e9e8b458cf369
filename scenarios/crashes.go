package scenarios

import "github.com/espra/protoplex/sim"

// crash lets the machines crash with an effect of theirs. One that loses its power
// boots again at the end.
func (p *platform) crash(s *strike, power bool) {
	effects, _ := s.event.Params.Counts("effects")
	machines := p.selected(s.event.On)
	var set []*sim.Crash // of all strikes; the last len(machines) are the present one's
	s.begin = func() {
		for _, m := range machines {
			if power {
				set = append(set, m.PowerOffAfter(uint64(effects.Min)))
			} else {
				set = append(set, m.KillAfter(uint64(effects.Min)))
			}
		}
	}
	s.heal = func() {
		for i, c := range set[len(set)-len(machines):] {
			c.Cancel()
			if power && c.Happened() {
				machines[i].PowerOn()
			}
		}
	}
	s.touched = func() uint64 {
		n := uint64(0)
		for _, c := range set {
			if c.Happened() {
				n++
			}
		}
		return n
	}
}
