package search

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/espra/protoplex/scenarios"
)

// Kind says in which way a run went wrong.
type Kind string

// The kinds of findings. All but the first two say that the run itself broke.
const (
	Broken   Kind = "expectation"       // an expectation did not hold
	Idle     Kind = "idle fault"        // a fault touched nothing, so the run proved nothing
	Crash    Kind = "crash"             // a panic, or an error of the Go runtime
	Stuck    Kind = "stuck"             // virtual time stood still, or real time ran out
	Leak     Kind = "leak"              // code outlived its machine
	Diverged Kind = "not deterministic" // played again, the seed showed something else
	Other    Kind = "broken run"
)

// Finding is what one run showed to be wrong.
type Finding struct {
	Kind   Kind   `json:"kind"`
	Cause  string `json:"cause"`  // findings with the same kind and cause have the same reason, as far as a program can tell
	Detail string `json:"detail"` // of this run: the first broken moment, or the end of what the run printed

	At     time.Duration `json:"at,omitempty"`     // of the first broken moment, in ns; 0 if it is not known
	Oracle string        `json:"oracle,omitempty"` // the story's word for what did not hold
}

// Same reports whether both have the same kind and cause.
func (f Finding) Same(g Finding) bool { return f.Kind == g.Kind && f.Cause == g.Cause }

// Group is all findings of one kind and cause.
type Group struct {
	Finding          // of the first seed
	Seeds   []uint64 // ascending
}

// Exploration is what many runs of a story showed.
type Exploration struct {
	First, Seeds uint64  // the seeds First to First+Seeds-1 were to be played
	Played       uint64  // how many were, or are known
	Known        uint64  // how many of them are known from before
	Next         uint64  // all seeds before it were played; First+Seeds if all were
	Groups       []Group // sorted: broken runs first, then by the number of seeds
}

// Explorer plays many seeds, each in a process of its own: a panic is then a
// finding and not the end. Its functions are called one at a time.
type Explorer struct {
	// Command starts the run of a seed on so many cores. The process must print an
	// [scenarios.Outcome] as JSON on standard output and exit with 0 or 1, unless it broke.
	Command func(ctx context.Context, seed uint64, cores int) *exec.Cmd
	// Jobs is how many run side by side; 1 if zero.
	Jobs int
	// Limit, if not zero, is how long one run may take, in real time.
	Limit time.Duration
	// Twice has one seed in so many played again, to see that it replays; with zero
	// none is. The first of each cause always is.
	Twice uint64
	// MadeUp says that nobody chose the faults, so that one that touches nothing is
	// no finding.
	MadeUp bool
	// Known are runs of earlier searches of the same: their seeds are not played again.
	Known []Run
	// Progress, if not nil, is told after each run: how many were played, and
	// how many of them had a finding.
	Progress func(played, found uint64)
	// Played, if not nil, is told of each run that was played. An error ends the search.
	Played func(Run) error
	// Found, if not nil, is told of the first finding of each cause as soon as there
	// is one. An error ends the search.
	Found func(seed uint64, f Finding) error
}

// Explore plays n seeds from first on. If ctx ends it returns what it has.
// The error says that runs cannot be started at all, or is one of Played or Found.
func (e *Explorer) Explore(ctx context.Context, first, n uint64) (Exploration, error) {
	all := Exploration{First: first, Seeds: n}
	var (
		mu     sync.Mutex
		found  uint64
		failed error
		groups = map[[2]string]*Group{}
		next   = first
		missed = first + n // the least seed that was begun and did not end, or was not kept
	)
	done := map[uint64]bool{}
	// note adds a run up.
	note := func(r Run, fresh bool) {
		done[r.Seed] = true
		all.Played++
		if len(r.Findings) > 0 {
			found++
		}
		for _, f := range r.Findings {
			key := [2]string{string(f.Kind), f.Cause}
			g := groups[key]
			if g == nil {
				g = &Group{}
				groups[key] = g
				if fresh && e.Found != nil && failed == nil {
					failed = e.Found(r.Seed, f)
				}
			}
			if n := len(g.Seeds); n > 0 && g.Seeds[n-1] == r.Seed {
				continue // a story may ask for the same after several of its faults
			}
			if len(g.Seeds) == 0 || r.Seed < slices.Min(g.Seeds) {
				g.Finding = f
			}
			g.Seeds = append(g.Seeds, r.Seed)
		}
	}
	for _, r := range e.Known {
		if r.Seed >= first && r.Seed-first < n && !done[r.Seed] {
			note(r, false)
			all.Known++
		}
	}
	take := func() (uint64, bool) {
		mu.Lock()
		defer mu.Unlock()
		for next-first < n && done[next] {
			next++
		}
		if ctx.Err() != nil || failed != nil || next-first >= n {
			return 0, false
		}
		next++
		return next - 1, true
	}
	known := func(f Finding) bool {
		mu.Lock()
		defer mu.Unlock()
		return groups[[2]string{string(f.Kind), f.Cause}] != nil
	}
	worker := func() {
		for seed, ok := take(); ok; seed, ok = take() {
			r, err := e.play(ctx, seed, 1)
			if err == nil && (e.Twice > 0 && (seed-first)%e.Twice == 0 || !allOf(r.Findings, known)) {
				err = e.replay(ctx, seed, &r)
			}
			mu.Lock()
			if err != nil {
				missed = min(missed, seed)
				if ctx.Err() == nil && failed == nil {
					failed = fmt.Errorf("seed %d: %w", seed, err)
				}
				mu.Unlock()
				return
			}
			note(r, true)
			if e.Played != nil && failed == nil {
				failed = e.Played(r)
			}
			if failed != nil {
				missed = min(missed, seed) // it is not written down
			}
			if e.Progress != nil {
				e.Progress(all.Played, found)
			}
			mu.Unlock()
		}
	}
	var wg sync.WaitGroup
	for range max(e.Jobs, 1) {
		wg.Go(worker)
	}
	wg.Wait()
	all.Next = min(next, missed)
	for _, g := range groups {
		slices.Sort(g.Seeds)
		all.Groups = append(all.Groups, *g)
	}
	slices.SortFunc(all.Groups, func(a, b Group) int {
		return cmp.Or(cmp.Compare(rank(b.Kind), rank(a.Kind)), cmp.Compare(len(b.Seeds), len(a.Seeds)), strings.Compare(a.Cause, b.Cause))
	})
	return all, failed
}

func allOf(findings []Finding, is func(Finding) bool) bool {
	return !slices.ContainsFunc(findings, func(f Finding) bool { return !is(f) })
}

// rank puts what matters most last.
func rank(k Kind) int {
	return slices.Index([]Kind{Idle, Broken, Other, Leak, Stuck, Crash, Diverged}, k)
}

// play runs one seed. The error says that it was stopped or could not be started.
func (e *Explorer) play(ctx context.Context, seed uint64, cores int) (Run, error) {
	r, err := playOne(ctx, e.Limit, func(ctx context.Context) *exec.Cmd { return e.Command(ctx, seed, cores) })
	r.Seed = seed
	if e.MadeUp {
		r.Findings = slices.DeleteFunc(r.Findings, func(f Finding) bool { return f.Kind == Idle })
	}
	return r, err
}

// replay plays a seed again, on all cores, and adds a finding if that is not the
// same. A run that was out of time shows nothing of its seed, only that this machine
// is slow, or was asleep: what the other shows counts, and they are not compared.
func (e *Explorer) replay(ctx context.Context, seed uint64, r *Run) error {
	again, err := e.play(ctx, seed, runtime.NumCPU())
	if err != nil {
		return err
	}
	f := Finding{Kind: Diverged, Cause: "a seed does not replay"}
	switch {
	case outOfTime(*r):
		*r = again
		return nil
	case outOfTime(again):
		return nil
	case r.Trace != "" && again.Trace != "" && r.Trace != again.Trace:
		f.Detail = fmt.Sprintf("its trace was %.12s, then %.12s", r.Trace, again.Trace)
	case !slices.EqualFunc(r.Findings, again.Findings, Finding.Same):
		f.Detail = fmt.Sprintf("it found %s, then %s", causes(r.Findings), causes(again.Findings))
	default:
		return nil
	}
	r.Findings = append(r.Findings, f)
	return nil
}

// tooLong is the cause of a run that was stopped as it was out of time.
const tooLong = "the run took too long"

func outOfTime(r Run) bool {
	return slices.ContainsFunc(r.Findings, Finding{Kind: Stuck, Cause: tooLong}.Same)
}

func causes(all []Finding) string {
	if len(all) == 0 {
		return "nothing"
	}
	var names []string
	for _, f := range all {
		names = append(names, fmt.Sprintf("%s %q", f.Kind, f.Cause))
	}
	return strings.Join(names, ", ")
}

// playOne runs a process that plays a story, for at most a limit unless that is
// zero.
func playOne(ctx context.Context, limit time.Duration, command func(context.Context) *exec.Cmd) (Run, error) {
	runCtx := ctx
	if limit > 0 {
		limited, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		runCtx = limited
	}
	cmd := command(runCtx)
	var out, told bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &told
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return Run{}, ctx.Err()
	case runCtx.Err() != nil:
		return Run{Findings: []Finding{{Kind: Stuck, Cause: tooLong, Detail: fmt.Sprintf("stopped after %s of real time", limit)}}}, nil
	case err != nil && !errors.As(err, &exit):
		return Run{}, fmt.Errorf("start run: %w", err)
	case err != nil && exit.ExitCode() != 1:
		return Run{Findings: []Finding{broke(told.String(), exit.String())}}, nil
	}
	var o scenarios.Outcome
	if err := json.Unmarshal(out.Bytes(), &o); err != nil {
		return Run{}, fmt.Errorf("read outcome: %w", err)
	}
	return Run{Trace: o.Trace, Idle: o.Idle, Sometimes: o.Sometimes, Findings: findingsOf(o)}, nil
}

// findingsOf a run that did not break.
func findingsOf(o scenarios.Outcome) []Finding {
	var all []Finding
	for _, v := range o.Verdicts {
		if !v.OK {
			cause := v.Name
			if v.Blind {
				cause += ", not observed"
			}
			all = append(all, Finding{Kind: Broken, Cause: cause, Detail: fmt.Sprintf("%s, budget %s; first: %s", v.Measured, v.Budget, v.First), At: v.At, Oracle: v.Oracle})
		}
	}
	for _, id := range o.Idle {
		all = append(all, Finding{Kind: Idle, Cause: id, Detail: "it touched nothing"})
	}
	return all
}

var (
	panicked = regexp.MustCompile(`(?m)^(panic: .*|fatal error: .*)$`)
	// The first frame of a stack that is no part of Go itself.
	ownFrame = regexp.MustCompile(`(?m)^(github\.com/espra/protoplex/[^\s(]*[^\s]*)\(`)
)

// broke classifies a broken run by what it printed on standard error.
func broke(told, exit string) Finding {
	frame := ""
	if m := ownFrame.FindStringSubmatch(told); m != nil {
		frame = " in " + m[1]
	}
	f := Finding{Kind: Other, Cause: exit, Detail: beginning(told)}
	switch m := panicked.FindString(told); {
	case strings.Contains(told, "virtual time has stood still"):
		f.Kind, f.Cause = Stuck, "virtual time stood still"
	case strings.Contains(told, "goroutines survived their machines"):
		f.Kind, f.Cause = Leak, "code outlived its machine"+frame
	case m != "":
		f.Kind, f.Cause = Crash, m+frame
	}
	return f
}

// maxDetail bounds what a finding keeps of a run's output.
const maxDetail = 4 << 10

func beginning(s string) string {
	s = strings.TrimSpace(s)
	if len(s) > maxDetail {
		s = s[:maxDetail] + "\n..."
	}
	return s
}
