package sim

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"os"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Result says what a run was.
type Result struct {
	Trace     string // SHA-256 of the trace, in hex
	Simulated time.Duration
	Wall      time.Duration
	Stats     Stats
	// Leaks are the stacks of goroutines that survived their machines.
	Leaks []string
}

// graceAfterEnd is how long, in virtual time, the goroutines of a world may take
// to notice that their machines are gone. Time-outs and sleeps end within it.
const graceAfterEnd = time.Hour

// Run runs f in a new world inside an ordinary program and returns when the
// world has ended. A process can do this once: package-level state that one run
// leaves behind would change the next. The error is that of f, of writing the
// trace, or of a second call. Leaks are no error: look at Result.Leaks.
func Run(o Options, f func(w *World) error) (Result, error) {
	if flag.Lookup("test.run") != nil {
		return Result{}, errors.New("sim: Run needs a process of its own, without tests; use Test in a test")
	}
	var result Result
	var runErr error
	began := time.Now()
	dog := startWatchdog(o.Watchdog)
	ended := make(chan struct{})
	outside := make(chan struct{}) // of the bubble, so that waiting for it does not move virtual time
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		runBubble(func(*testing.T) {
			result, runErr = inBubble(o, dog, f)
			dog.stop()
			close(ended)
			if len(result.Leaks) > 0 {
				<-outside // the bubble cannot end before its goroutines, so it stays
			}
		})
	}()
	select {
	case <-finished:
	case <-ended:
		if len(result.Leaks) == 0 {
			<-finished
		}
	}
	select {
	case <-ended:
		result.Wall = time.Since(began)
		return result, runErr
	default:
		return result, errors.New("sim: the run broke off")
	}
}

// inBubble is a whole run: the world, f, its end, and the search for leaks.
func inBubble(o Options, dog *watchdog, f func(w *World) error) (Result, error) {
	w := newWorld(o, dog)
	err := f(w)
	result, traceErr := w.finish()
	return result, errors.Join(err, traceErr)
}

// finish seals the trace, ends the world, and says what the run was. The error
// is that of writing the trace.
func (w *World) finish() (Result, error) {
	simulated := w.Elapsed()
	time.Sleep(1) // all that happened up to now is committed before time moves
	w.mu.Lock()
	sum, err := w.trace.seal()
	stats := w.stats
	w.mu.Unlock()
	return Result{Trace: sum, Simulated: simulated, Stats: stats, Leaks: w.end()}, err
}

// end powers everything off, waits for the goroutines to leave, and returns the
// stacks of those that do not. What was still to come will not.
func (w *World) end() []string {
	w.mu.Lock()
	w.ending = true
	w.queue = eventQueue{}
	w.mu.Unlock()
	for _, m := range w.Machines() {
		m.Resume()
		m.PowerOff()
	}
	for wait := time.Nanosecond; ; wait *= 1000 {
		time.Sleep(min(wait, graceAfterEnd))
		leaks := otherGoroutines()
		if len(leaks) == 0 || wait >= graceAfterEnd {
			w.mu.Lock()
			w.ended = true
			w.mu.Unlock()
			w.wake()
			<-w.stopped
			return leaks
		}
	}
}

// otherGoroutines gives the stacks of all goroutines of this bubble but the
// caller and the world's own.
func otherGoroutines() []string {
	buf := make([]byte, 1<<20)
	for {
		n := runtime.Stack(buf, true)
		if n < len(buf) {
			buf = buf[:n]
			break
		}
		buf = make([]byte, 2*len(buf))
	}
	stacks := bytes.Split(buf, []byte("\n\n"))
	own := bubbleOf(string(stacks[0]))
	var others []string
	for _, s := range stacks[1:] {
		stack := string(s)
		if bubbleOf(stack) != own ||
			strings.Contains(stack, "sim.(*World).pump(") ||
			strings.Contains(stack, "testing/synctest.Test(") ||
			strings.Contains(stack, "synctest.testingSynctestTest(") {
			continue
		}
		others = append(others, stack)
	}
	return others
}

// bubbleOf reads "synctest bubble N" from the first line of a stack.
func bubbleOf(stack string) string {
	head, _, _ := strings.Cut(stack, "\n")
	_, bubble, found := strings.Cut(head, "synctest bubble ")
	if !found {
		return ""
	}
	return strings.TrimRight(bubble, "]:")
}

// runBubble runs body in a bubble, as a test of an ordinary program. Package
// testing prints its verdict to standard output afterwards; that belongs to the
// program, so the verdict is kept away from it.
func runBubble(body func(*testing.T)) {
	var stdout *os.File
	test := func(t *testing.T) {
		synctest.Test(t, body)
		stdout = os.Stdout
		if null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0); err == nil {
			os.Stdout = null
		}
	}
	m := testing.MainStart(bareDeps{}, []testing.InternalTest{{Name: "sim", F: test}}, nil, nil, nil)
	// MainStart defines the test flags on the program's own flag set. They keep
	// their defaults, and the program keeps its arguments.
	if err := flag.CommandLine.Parse(append([]string{"--"}, flag.Args()...)); err != nil {
		panic(err) // no flags cannot be wrong
	}
	m.Run()
	if stdout != nil {
		os.Stdout.Close()
		os.Stdout = stdout
	}
}

// bareDeps is what package testing asks of its environment, for one plain test.
type bareDeps struct{}

func (bareDeps) ImportPath() string                          { return "" }
func (bareDeps) ModulePath() string                          { return "" }
func (bareDeps) MatchString(string, string) (bool, error)    { return true, nil }
func (bareDeps) SetPanicOnExit0(bool)                        {}
func (bareDeps) StartCPUProfile(io.Writer) error             { return nil }
func (bareDeps) StopCPUProfile()                             {}
func (bareDeps) StartTestLog(io.Writer)                      {}
func (bareDeps) StopTestLog() error                          { return nil }
func (bareDeps) WriteProfileTo(string, io.Writer, int) error { return nil }
func (bareDeps) CoordinateFuzzing(time.Duration, int64, time.Duration, int64, int, []fuzzEntry, []reflect.Type, string, string) error {
	return nil
}
func (bareDeps) RunFuzzWorker(func(fuzzEntry) error) error              { return nil }
func (bareDeps) ReadCorpus(string, []reflect.Type) ([]fuzzEntry, error) { return nil, nil }
func (bareDeps) CheckCorpus([]any, []reflect.Type) error                { return nil }
func (bareDeps) ResetCoverage()                                         {}
func (bareDeps) SnapshotCoverage()                                      {}
func (bareDeps) InitRuntimeCoverage() (string, func(string, string) (string, error), func() float64) {
	return "", nil, nil
}

// fuzzEntry is the shape that package testing gives its corpus entries.
type fuzzEntry = struct {
	Parent     string
	Path       string
	Data       []byte
	Values     []any
	Generation int
	IsSeed     bool
}
