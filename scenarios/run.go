package scenarios

import (
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"time"

	"github.com/espra/protoplex/scenarios/oracle"
	"github.com/espra/protoplex/scenarios/story"
	"github.com/espra/protoplex/sim"
	"github.com/espra/protoplex/sim/report"
)

// Options are what a run depends on beside its story, and what it tells on the
// way.
type Options struct {
	// Seed selects the run.
	Seed uint64
	// Trace, if not nil, receives the trace as JSON lines.
	Trace io.Writer
	// Until, if not zero, ends the run at that offset. Expectations are then not
	// judged, but the report says what all machines were in the middle of.
	Until time.Duration
	// Progress, if not nil, is told now and then how far the run is.
	Progress func(at, lasts time.Duration)
	// Keep every event for the report, not only those that tell the story.
	Verbose bool
	// Record keeps what [Report.WritePage] needs.
	Record bool
}

// Report is what a run was.
type Report struct {
	Story    *story.Story
	Seed     uint64
	Until    time.Duration // 0 if the run was whole
	Lines    []Line        // the story as it went, in order
	Seen     []oracle.Row  // what clients saw
	Verdicts []oracle.Verdict
	Idle     []story.Event // faults that touched nothing
	Result   sim.Result    // filled in by Run
	History  oracle.History
	State    []MachineState // of a run that was stopped

	Sometimes []string // the marks that were reached

	recorded *report.Recorder // nil unless that was asked for
}

// Held tells whether all expectations held and every fault did something.
func (r *Report) Held() bool {
	for _, v := range r.Verdicts {
		if !v.OK {
			return false
		}
	}
	return len(r.Idle) == 0
}

// Run plays a story in a new world. A process can do this once; see [sim.Run].
// The error says that the run itself broke, not that an expectation did not hold.
func Run(s *story.Story, o Options) (*Report, error) {
	var report *Report
	result, err := sim.Run(sim.Options{Seed: o.Seed, Start: s.Starts, Trace: o.Trace}, func(w *sim.World) error {
		var err error
		report, err = Play(w, s, o)
		return err
	})
	if err != nil {
		return nil, err
	}
	report.Result = result
	if n := len(result.Leaks); n > 0 {
		return report, fmt.Errorf("%d goroutines survived their machines; the first:\n%s", n, result.Leaks[0])
	}
	return report, nil
}

// collectLess has garbage collected a quarter as often, unless GOGC says how
// often. A world keeps little and drops much: a region failover takes a sixth
// less time so, and half a gigabyte.
func collectLess() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
}

// progressEvery is how often, in simulated time, a run tells how far it is.
const progressEvery = 10 * time.Second

// Play plays a story in a world that has just begun at the story's start, and
// judges it.
func Play(w *sim.World, s *story.Story, o Options) (*Report, error) {
	collectLess()
	lasts := s.Lasts
	if o.Until > 0 && o.Until < lasts {
		lasts = o.Until
	}
	s = s.Timed(func(id, what string) uint64 { return w.Choose(what+" of "+id, 0) })
	p, err := boot(w, s)
	if err != nil {
		return nil, err
	}
	strikes, err := p.strikes()
	if err != nil {
		return nil, err
	}
	var recorder *report.Recorder
	if o.Record {
		recorder = report.Record(w)
	}
	watch := newWatcher(p, o.Verbose)
	said, reached := memory{}, newMarks()
	stopped := func() []MachineState { return nil }
	if lasts < s.Lasts {
		stopped = p.stop(lasts, said)
	}
	w.Observe(func(e sim.Event) {
		watch.event(e)
		p.phones.hear(e)
		reached.hear(e)
		if lasts < s.Lasts {
			said.hear(e)
		}
	})
	log, err := p.startClients()
	if err != nil {
		return nil, err
	}
	p.schedule(strikes)
	p.usage = p.measure()
	for at := time.Duration(0); at < lasts; at += progressEvery {
		if o.Progress != nil {
			o.Progress(at, lasts)
		}
		time.Sleep(min(at+progressEvery, lasts) - w.Elapsed())
	}

	h := log.History()
	watch.complete(&h, lasts)
	if recorder != nil {
		recorder.Stop()
	}
	r := &Report{Story: s, Seed: w.Seed(), History: h, recorded: recorder, Sometimes: reached.names()}
	r.Lines = watch.lines(&h)
	if len(s.Workload) > 0 {
		r.Seen = oracle.Seen(h, windows(s, lasts))
	}
	if lasts < s.Lasts {
		r.Until, r.State = lasts, stopped()
		return r, nil
	}
	r.Verdicts = p.judge(h)
	r.Idle = idle(strikes, lasts)
	return r, nil
}
