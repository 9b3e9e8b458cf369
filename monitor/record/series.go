package record

import (
	"math"
	"time"
)

// Outcome is what a result counts as.
type Outcome uint8

// The outcomes.
const (
	OK Outcome = iota
	Failed
	Unknown // nothing was seen, so it counts neither way
)

func (o Outcome) String() string { return [...]string{"ok", "FAIL", "unknown"}[o] }

// Point is what was seen of a target in one minute or hour. Numbers too large
// for their field stay at its largest.
type Point struct {
	at                  uint32 // number of the minute or hour since 1970
	ok, failed, unknown uint16
	sum                 uint32 // of how long those that were ok took, in units
	max                 uint16 // of them, in milliseconds
}

// unit is how finely sums are kept: an hour of probes of a second each fits.
const unit = 10 * time.Microsecond

// add counts one result.
func (p *Point) add(outcome Outcome, took time.Duration) {
	switch outcome {
	case Failed:
		p.failed = plus(p.failed, 1)
	case Unknown:
		p.unknown = plus(p.unknown, 1)
	default:
		p.ok = plus(p.ok, 1)
		p.sum = plus(p.sum, uint32(min(max(took, 0)/unit, math.MaxUint32)))
		p.max = max(p.max, uint16(min(max(took, 0)/time.Millisecond, math.MaxUint16)))
	}
}

// merge adds what another point of the same time has seen.
func (p *Point) merge(q Point) {
	p.ok, p.failed, p.unknown = plus(p.ok, q.ok), plus(p.failed, q.failed), plus(p.unknown, q.unknown)
	p.sum, p.max = plus(p.sum, q.sum), max(p.max, q.max)
}

// without is what a point has more than another.
func (p Point) without(q Point) Point {
	p.ok, p.failed, p.unknown = p.ok-min(p.ok, q.ok), p.failed-min(p.failed, q.failed), p.unknown-min(p.unknown, q.unknown)
	p.sum -= min(p.sum, q.sum)
	return p
}

func (p Point) results() int { return p.OK() + p.Failed() + p.Unknown() }

func plus[T uint16 | uint32](a, b T) T {
	if a+b < a {
		return ^T(0)
	}
	return a + b
}

// OK is how many results were good.
func (p Point) OK() int { return int(p.ok) }

// Failed is how many were bad.
func (p Point) Failed() int { return int(p.failed) }

// Unknown is how many told nothing.
func (p Point) Unknown() int { return int(p.unknown) }

// Mean is how long the good ones took on average, 0 without any.
func (p Point) Mean() time.Duration {
	if p.ok == 0 {
		return 0
	}
	return time.Duration(p.sum) * unit / time.Duration(p.ok)
}

// Max is how long the slowest of the good ones took.
func (p Point) Max() time.Duration { return time.Duration(p.max) * time.Millisecond }

// series are the latest points of one resolution, in the order in which they
// were begun. That is the order of their times unless the clock was set back.
type series struct {
	step   time.Duration
	keep   int
	points []Point // a ring once it is full
	next   int     // place of the oldest in the ring
	open   bool    // the last point is under way, and not read from a log
}

// number is the point in time that a result belongs to. Clocks before 1970 and
// after some thousand years are taken for these.
func (s *series) number(at time.Time) uint32 {
	return uint32(min(max(at.Unix()/int64(s.step/time.Second), 0), math.MaxUint32))
}

// time is when a point begins.
func (s *series) time(p Point) time.Time {
	return time.Unix(int64(p.at)*int64(s.step/time.Second), 0).UTC()
}

// last is the latest point, nil without one.
func (s *series) last() *Point {
	if len(s.points) == 0 {
		return nil
	}
	return &s.points[(s.next+len(s.points)-1)%len(s.points)]
}

// point gives the point to count in for a time, and the one that is over
// because it was begun, if so.
func (s *series) point(at uint32) (p *Point, over *Point) {
	if last := s.last(); last != nil {
		if last.at == at && s.open {
			return last, nil
		}
		if s.open {
			whole := *last
			over = &whole
		}
	}
	s.put(Point{at: at})
	s.open = true
	return s.last(), over
}

// put adds a point that is over.
func (s *series) put(p Point) {
	s.open = false
	if len(s.points) < s.keep {
		if len(s.points) == cap(s.points) { // append alone would take more than is ever kept
			grown := make([]Point, len(s.points), min(2*len(s.points)+8, s.keep))
			copy(grown, s.points)
			s.points = grown
		}
		s.points = append(s.points, p)
		return
	}
	s.points[s.next] = p
	s.next = (s.next + 1) % len(s.points)
}

// window gives what was seen from one time until before another in bins of
// equal length, a multiple of the step.
func (s *series) window(from time.Time, bin time.Duration, bins int) []Point {
	window := make([]Point, bins)
	width, start := uint64(bin/s.step), uint64(s.number(from))
	for i := range window {
		window[i].at = uint32(start + uint64(i)*width)
	}
	for _, p := range s.points {
		if at := uint64(p.at); at >= start && (at-start)/width < uint64(bins) {
			window[(at-start)/width].merge(p)
		}
	}
	return window
}

// total is what was seen in one minute or hour, however often it came.
func (s *series) total(at uint32) Point {
	total := Point{at: at}
	for _, p := range s.points {
		if p.at == at {
			total.merge(p)
		}
	}
	return total
}
