package scenarios

import (
	"cmp"
	"slices"
	"time"

	"github.com/espra/protoplex/sim"
)

// Several faults may strike one thing at the same time. The end of one must not
// undo another: what they hold in a state stays in it until the last of them
// heals, of values the greatest counts, drifts add up, and a file is what it was
// when nobody writes over it any more.

// overlaps is what is known of faults that last. Faults begin and heal one after
// another, so nothing guards it.
type overlaps struct {
	holds  map[hold]int
	taken  map[*sim.Machine]bool // whose power a fault took, and none has given back
	drifts map[*sim.Machine]time.Duration
	files  map[hold]*scribbled
}

// hold is a state of something: of a file of a machine, its name.
type hold struct{ of, state string }

func newOverlaps() *overlaps {
	return &overlaps{map[hold]int{}, map[*sim.Machine]bool{}, map[*sim.Machine]time.Duration{}, map[hold]*scribbled{}}
}

// begin notes one more fault that holds something in a state, and reports whether
// it is the first.
func (o *overlaps) begin(of, state string) bool {
	o.holds[hold{of, state}]++
	return o.holds[hold{of, state}] == 1
}

// end notes one fewer, and reports whether it was the last.
func (o *overlaps) end(of, state string) bool {
	o.holds[hold{of, state}]--
	return o.holds[hold{of, state}] == 0
}

// holding has some machines be in a state from the first fault that wants it to
// the end of the last. One that has lost its power in between is not in it any more,
// so every fault begins; to do so twice must be the same as once.
func (o *overlaps) holding(s *strike, state string, machines []*sim.Machine, begin, end func(*sim.Machine)) {
	s.begin = func() {
		for _, m := range machines {
			o.begin(m.Name(), state)
			begin(m)
		}
	}
	s.heal = func() {
		for _, m := range machines {
			if o.end(m.Name(), state) {
				end(m)
			}
		}
	}
}

const noPower = "without power"

// takePower holds a machine off, and reports whether it was on.
func (p *platform) takePower(m *sim.Machine) bool {
	p.overlaps.begin(m.Name(), noPower)
	on := m.On()
	if on {
		p.overlaps.taken[m] = true
		m.PowerOff()
	}
	return on
}

// givePower ends that.
func (p *platform) givePower(m *sim.Machine) {
	if p.overlaps.end(m.Name(), noPower) {
		p.bringBack(m)
	}
}

// lostPower notes that a machine has lost its power by itself, which is at an end.
func (p *platform) lostPower(m *sim.Machine) {
	p.overlaps.taken[m] = true
	if p.overlaps.holds[hold{m.Name(), noPower}] == 0 {
		p.bringBack(m)
	}
}

// bringBack gives a machine the power that was taken from it. What was replaced
// meanwhile does not come back.
func (p *platform) bringBack(m *sim.Machine) {
	if !p.overlaps.taken[m] {
		return
	}
	delete(p.overlaps.taken, m)
	if f := p.fleets[m.Region()]; f == nil || !f.ended(m) {
		m.PowerOn()
	}
}

// drift has a machine's clocks gain so much a second more than they do.
func (o *overlaps) drift(m *sim.Machine, gains time.Duration) {
	o.drifts[m] += gains
	m.Clock().Drift(int64(o.drifts[m])) // nanoseconds a second are parts per billion
}

// greatest are the values that faults want of one thing.
type greatest[T cmp.Ordered] []T

// begin adds a value, and gives the greatest.
func (g *greatest[T]) begin(v T) T {
	*g = append(*g, v)
	return slices.Max(*g)
}

// end takes a value back, and gives the greatest of the others; zero is none.
func (g *greatest[T]) end(v T) (max T) {
	i := slices.Index(*g, v)
	*g = slices.Delete(*g, i, i+1)
	if len(*g) > 0 {
		max = slices.Max(*g)
	}
	return max
}

// scribbled is a file that faults have written over.
type scribbled struct {
	right []byte
	wrong []scribble // the last of them is what the file holds
}

type scribble struct {
	fault string
	data  []byte
}

// right gives what a file of a machine holds where no fault has written over it.
func (p *platform) right(m *sim.Machine, file string) ([]byte, error) {
	if f := p.overlaps.files[hold{m.Name(), file}]; f != nil {
		return f.right, nil
	}
	return p.readFile(m, file)
}

// scribble writes over a file for a fault.
func (p *platform) scribble(m *sim.Machine, file, fault string, data []byte) error {
	right, err := p.right(m, file)
	if err != nil {
		return err
	}
	f := p.overlaps.files[hold{m.Name(), file}]
	if f == nil {
		f = &scribbled{right: right}
		p.overlaps.files[hold{m.Name(), file}] = f
	}
	f.erase(fault)
	f.wrong = append(f.wrong, scribble{fault, data})
	return p.files(m.Name(), map[string][]byte{file: data})
}

// erase takes back what a fault wrote over a file. If right is not nil, it is what
// the file holds from now on where no fault writes over it.
func (p *platform) erase(m *sim.Machine, file, fault string, right []byte) error {
	f := p.overlaps.files[hold{m.Name(), file}]
	if f == nil {
		return nil // it could not be written
	}
	f.erase(fault)
	if right != nil {
		f.right = right
	}
	now := f.right
	if n := len(f.wrong); n > 0 {
		now = f.wrong[n-1].data
	} else {
		delete(p.overlaps.files, hold{m.Name(), file})
	}
	return p.files(m.Name(), map[string][]byte{file: now})
}

func (f *scribbled) erase(fault string) {
	f.wrong = slices.DeleteFunc(f.wrong, func(s scribble) bool { return s.fault == fault })
}
