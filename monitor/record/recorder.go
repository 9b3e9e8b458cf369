package record

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/espra/protoplex/nodes"
)

const (
	minutes = 24 * 60 // points of a minute that are kept
	hours   = 90 * 24 // points of an hour
)

// Recorder keeps results. Add, Window and Last may be called from several
// goroutines and never wait for the disk; Flush and Close belong to one at a
// time.
type Recorder struct {
	m       nodes.Machine
	results *spool // nil if nothing goes to disk
	hours   *spool

	mu      sync.Mutex // guards targets; nothing waits while holding it
	targets map[string]*target
}

// target is what is kept of one.
type target struct {
	name    string
	minutes series
	hours   series
	last    Result
}

// Open takes up what is in a directory, of the named targets. Without a name of
// a directory there is only the memory. What cannot be read is logged, and is
// missing.
func Open(m nodes.Machine, dir string, targets []string) *Recorder {
	r := &Recorder{m: m, targets: map[string]*target{}}
	for _, name := range targets {
		r.targets[name] = &target{
			name: name, minutes: series{step: time.Minute, keep: minutes}, hours: series{step: time.Hour, keep: hours},
		}
	}
	if dir == "" {
		return r
	}
	r.results = &spool{m: m, journal: journal{disk: m.Disk(), dir: dir, name: "results", maxFile: 16 << 20, maxAll: 512 << 20}}
	r.hours = &spool{m: m, journal: journal{disk: m.Disk(), dir: dir, name: "hours", maxFile: 4 << 20, maxAll: 96 << 20}}
	r.readHourLog(&r.hours.journal)
	r.readResultLog(&r.results.journal)
	return r
}

func (r *Recorder) readHourLog(j *journal) {
	hour := series{step: time.Hour}
	r.readAll(j, func(*journal) int { return 0 }, func(line []byte) bool {
		name, p, ok := parseHour(line, &hour)
		if t := r.targets[string(name)]; ok && t != nil {
			t.hours.put(p)
		}
		return ok
	})
}

// readResultLog reads back as far as there are points of minutes, and counts for
// the hours what is not in their log: the hour that was under way, for one.
func (r *Recorder) readResultLog(j *journal) {
	from := r.m.Now().Add(-minutes * time.Minute)
	read := map[*target]*readHours{}
	r.readAll(j, r.firstFile, func(line []byte) bool {
		seen, ok := parseResult(line)
		if !ok {
			return false
		}
		t := r.targets[string(seen.target)]
		if t == nil {
			return true
		}
		if !seen.at.Before(from) {
			p, _ := t.minutes.point(t.minutes.number(seen.at))
			p.add(seen.outcome, seen.took)
		}
		if read[t] == nil {
			read[t] = &readHours{points: map[uint32]*Point{}}
		}
		read[t].point(t.hours.number(seen.at)).add(seen.outcome, seen.took)
		return true
	})
	for _, name := range slices.Sorted(maps.Keys(r.targets)) {
		if t := r.targets[name]; read[t] != nil {
			r.complete(t, read[t])
		}
	}
}

// readHours are the hours of one target as the log of results has them.
type readHours struct {
	points map[uint32]*Point
	last   *Point
}

func (h *readHours) point(at uint32) *Point {
	if h.last == nil || h.last.at != at {
		if h.points[at] == nil {
			h.points[at] = &Point{at: at}
		}
		h.last = h.points[at]
	}
	return h.last
}

// complete takes over what the log of results has more than that of hours,
// which it is then told. The hour of the last result is still under way.
func (r *Recorder) complete(t *target, read *readHours) {
	for _, at := range slices.Sorted(maps.Keys(read.points)) {
		p := read.points[at]
		told := t.hours.total(at)
		if p == read.last || p.results() <= told.results() {
			continue
		}
		more := p.without(told)
		t.hours.put(more)
		r.tell(t, more)
	}
	if told := t.hours.total(read.last.at); read.last.results() > told.results() {
		p, _ := t.hours.point(read.last.at)
		p.merge(read.last.without(told))
	}
}

// readAll reads the files of a journal from one on.
func (r *Recorder) readAll(j *journal, first func(*journal) int, take func(line []byte) bool) {
	trouble := func(err error) {
		r.m.Log().Error("record not read", "log", j.name, "error", err)
	}
	if err := j.open(); err != nil {
		trouble(err)
		return
	}
	damaged := 0
	for i := first(j); i < len(j.files); i++ {
		bad, err := j.scan(i, func(line []byte) bool { return aboutItself(line) || take(line) })
		if err != nil {
			trouble(err)
		}
		damaged += bad
	}
	if damaged > 0 {
		r.m.Log().Warn("record damaged", "log", j.name, "lines", damaged)
	}
}

// firstFile is the last of those that begin before the hours that may still
// have to be counted, and the day that has points of minutes.
func (r *Recorder) firstFile(j *journal) int {
	from := r.m.Now().Add(-(minutes + 60) * time.Minute)
	for i := len(j.files) - 1; i > 0; i-- {
		line, err := j.head(j.files[i])
		if at, _, ok := parseHead(line); err == nil && ok && at.Before(from) {
			return i
		}
	}
	return 0
}

// count counts a result for its hour. When that begins, the one before is over.
// The caller holds mu.
func (r *Recorder) count(t *target, at time.Time, outcome Outcome, took time.Duration) {
	p, over := t.hours.point(t.hours.number(at))
	p.add(outcome, took)
	if over != nil {
		r.tell(t, *over)
	}
}

// tell puts an hour that is over into its log. The caller holds mu, or is alone.
func (r *Recorder) tell(t *target, over Point) {
	if r.hours != nil {
		r.hours.add(func(b []byte) []byte { return appendHour(b, &t.hours, t.name, over) })
	}
}

// Add records a result. Those of targets that Open was not told are only
// logged. The caller must not change its phases afterwards.
func (r *Recorder) Add(result Result) {
	r.mu.Lock()
	if t := r.targets[result.Target]; t != nil {
		t.last = result
		p, _ := t.minutes.point(t.minutes.number(result.At))
		p.add(result.Outcome, result.Took())
		r.count(t, result.At, result.Outcome, result.Took())
	}
	r.mu.Unlock()
	if r.results != nil {
		r.results.add(result.append)
	}
}

// Flush writes what was added to disk. It may take as long as the disk does.
func (r *Recorder) Flush() { r.flush(false) }

func (r *Recorder) flush(now bool) {
	if r.results == nil {
		return
	}
	// In this order: an hour that is in its log will not be counted again from
	// the results, and one that is not will be.
	r.results.flush(now)
	r.hours.flush(now)
}

// Close writes and syncs what was added. The recorder must not be used
// afterwards.
func (r *Recorder) Close() {
	if r.results == nil {
		return
	}
	r.flush(true)
	for _, s := range []*spool{r.results, r.hours} {
		if err := s.journal.close(); err != nil {
			r.m.Log().Error("record not closed", "log", s.journal.name, "error", err)
		}
	}
}

// Last is the last result of a target; false if there was none since Open.
func (r *Recorder) Last(name string) (Result, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.targets[name]
	if t == nil || t.last.Target == "" {
		return Result{}, false
	}
	return t.last, true
}

// Window gives what was seen of a target in bins of equal length from a time
// on: of whole hours, or of fewer minutes. An unknown target has empty ones.
func (r *Recorder) Window(name string, from time.Time, bin time.Duration, bins int) []Point {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.targets[name]
	switch {
	case t == nil:
		return make([]Point, bins)
	case bin >= time.Hour:
		return t.hours.window(from, bin, bins)
	}
	return t.minutes.window(from, bin, bins)
}

// Uptime is the share of good results among those that tell something, in
// percent; false without any.
func Uptime(points []Point) (percent float64, any bool) {
	ok, failed := 0, 0
	for _, p := range points {
		ok, failed = ok+p.OK(), failed+p.Failed()
	}
	if ok+failed == 0 {
		return 0, false
	}
	return 100 * float64(ok) / float64(ok+failed), true
}
