package scenarios

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// Kind says in which way a run went wrong.
type Kind string

// The kinds of findings. All but the first two say that the run itself broke.
const (
	Broken Kind = "expectation" // an expectation did not hold
	Idle   Kind = "idle fault"  // a fault touched nothing, so the run proved nothing
	Crash  Kind = "crash"       // a panic, or an error of the Go runtime
	Stuck  Kind = "stuck"       // virtual time stood still, or real time ran out
	Leak   Kind = "leak"        // code outlived its machine
	Other  Kind = "broken run"
)

// Finding is what one run showed to be wrong.
type Finding struct {
	Kind   Kind
	Cause  string // findings with the same kind and cause have the same reason, as far as a program can tell
	Detail string // of this run: the first broken moment, or the end of what the run printed
}

// Group is all findings of one kind and cause.
type Group struct {
	Finding          // of the first seed
	Seeds   []uint64 // ascending
}

// Exploration is what many runs of a story showed.
type Exploration struct {
	First, Seeds uint64  // the seeds First to First+Seeds-1 were to be played
	Played       uint64  // how many were
	Next         uint64  // all seeds before it were played; First+Seeds if all were
	Groups       []Group // sorted: broken runs first, then by the number of seeds
}

// Explorer plays many seeds, each in a process of its own: a panic is then a
// finding and not the end.
type Explorer struct {
	// Command starts the run of a seed. The process must print an [Outcome] as
	// JSON on standard output and exit with 0 or 1, unless it broke.
	Command func(ctx context.Context, seed uint64) *exec.Cmd
	// Jobs is how many run side by side; 1 if zero.
	Jobs int
	// Limit, if not zero, is how long one run may take, in real time.
	Limit time.Duration
	// Progress, if not nil, is told after each run: how many were played, and
	// how many of them had a finding.
	Progress func(played, found uint64)
}

// Explore plays n seeds from first on. If ctx ends it returns what it has.
// The error says that runs cannot be started at all.
func (e *Explorer) Explore(ctx context.Context, first, n uint64) (Exploration, error) {
	all := Exploration{First: first, Seeds: n}
	var (
		mu     sync.Mutex
		found  uint64
		failed error
		groups = map[[2]string]*Group{}
		next   = first
		missed = first + n // the least seed that was begun and did not end
	)
	take := func() (uint64, bool) {
		mu.Lock()
		defer mu.Unlock()
		if ctx.Err() != nil || failed != nil || next-first >= n {
			return 0, false
		}
		next++
		return next - 1, true
	}
	worker := func() {
		for seed, ok := take(); ok; seed, ok = take() {
			findings, err := e.play(ctx, seed)
			mu.Lock()
			if err != nil {
				missed = min(missed, seed)
				if ctx.Err() == nil && failed == nil {
					failed = fmt.Errorf("seed %d: %w", seed, err)
				}
				mu.Unlock()
				return
			}
			all.Played++
			if len(findings) > 0 {
				found++
			}
			for _, f := range findings {
				key := [2]string{string(f.Kind), f.Cause}
				g := groups[key]
				if g == nil {
					g = &Group{}
					groups[key] = g
				}
				if len(g.Seeds) == 0 || seed < slices.Min(g.Seeds) {
					g.Finding = f
				}
				g.Seeds = append(g.Seeds, seed)
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

// rank puts what matters most last.
func rank(k Kind) int { return slices.Index([]Kind{Idle, Broken, Other, Leak, Stuck, Crash}, k) }

// play runs one seed. The error says that it was stopped or could not be started.
func (e *Explorer) play(ctx context.Context, seed uint64) ([]Finding, error) {
	runCtx := ctx
	if e.Limit > 0 {
		limited, cancel := context.WithTimeout(ctx, e.Limit)
		defer cancel()
		runCtx = limited
	}
	cmd := e.Command(runCtx, seed)
	var out, told bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &told
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case runCtx.Err() != nil:
		return []Finding{{Stuck, "the run took too long", fmt.Sprintf("stopped after %s of real time", e.Limit)}}, nil
	case err != nil && !errors.As(err, &exit):
		return nil, fmt.Errorf("start run: %w", err)
	case err != nil && exit.ExitCode() != 1:
		return []Finding{broke(told.String(), exit.String())}, nil
	}
	var o Outcome
	if err := json.Unmarshal(out.Bytes(), &o); err != nil {
		return nil, fmt.Errorf("read outcome: %w", err)
	}
	return o.findings(), nil
}

// findings of a run that did not break.
func (o Outcome) findings() []Finding {
	var all []Finding
	for _, v := range o.Verdicts {
		if !v.OK {
			all = append(all, Finding{Broken, v.Name, fmt.Sprintf("%s, budget %s; first: %s", v.Measured, v.Budget, v.First)})
		}
	}
	for _, id := range o.Idle {
		all = append(all, Finding{Idle, id, "it touched nothing"})
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
