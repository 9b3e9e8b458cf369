package search

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
)

// Divergence is the first place at which two runs of one seed differ.
type Divergence struct {
	Seed uint64
	Line int    // of the traces, from 1
	A, B string // what the two runs have there; empty at the end of one
}

// Verifier proves that a story replays: it runs each seed in several processes,
// half of them on one core, and compares their whole traces.
type Verifier struct {
	// Command starts one run, given a seed, the file for its trace, and the cores
	// that it may use. The process must write the trace and exit with 0 or 1.
	Command func(ctx context.Context, seed uint64, trace string, cores int) *exec.Cmd
	// Runs of each seed; 4 if zero.
	Runs int
	// Progress, if not nil, is told after each seed.
	Progress func(seed uint64, done, of int)
}

// Verify runs the seeds 1 to n and returns the divergences that it found. The
// error says that a run broke, with what it printed.
func (v *Verifier) Verify(ctx context.Context, n int) ([]Divergence, error) {
	dir, err := os.MkdirTemp("", "protoplex-verify-")
	if err != nil {
		return nil, fmt.Errorf("make directory for traces: %w", err)
	}
	defer os.RemoveAll(dir)
	var found []Divergence
	for i := range n {
		seed := uint64(i + 1)
		d, err := v.seed(ctx, dir, seed)
		if err != nil {
			return found, fmt.Errorf("seed %d: %w", seed, err)
		}
		if d != nil {
			found = append(found, *d)
		}
		if v.Progress != nil {
			v.Progress(seed, i+1, n)
		}
	}
	return found, nil
}

func (v *Verifier) seed(ctx context.Context, dir string, seed uint64) (*Divergence, error) {
	runs := v.Runs
	if runs == 0 {
		runs = 4
	}
	files := make([]string, runs)
	errs := make([]error, runs)
	// As many at once as there are cores: a run uses little more than one.
	slots := make(chan struct{}, max(runtime.NumCPU(), 1))
	var wg sync.WaitGroup
	for i := range runs {
		files[i] = filepath.Join(dir, fmt.Sprintf("%d-%d.jsonl", seed, i))
		cores := 1
		if i%2 == 1 {
			cores = runtime.NumCPU()
		}
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			cmd := v.Command(ctx, seed, files[i], cores)
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			if err != nil && !(errors.As(err, &exit) && exit.ExitCode() == 1) {
				errs[i] = fmt.Errorf("%w\n%s", err, out)
			}
		})
	}
	wg.Wait()
	defer func() {
		for _, f := range files {
			os.Remove(f) // the directory goes at the end; this bounds it before
		}
	}()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	for _, f := range files[1:] {
		d, err := compare(files[0], f)
		if err != nil {
			return nil, err
		}
		if d != nil {
			d.Seed = seed
			return d, nil
		}
	}
	return nil, nil
}

// compare gives the first line in which two traces differ, or nil.
func compare(fileA, fileB string) (*Divergence, error) {
	a, err := os.Open(fileA)
	if err != nil {
		return nil, fmt.Errorf("compare traces: %w", err)
	}
	defer a.Close()
	b, err := os.Open(fileB)
	if err != nil {
		return nil, fmt.Errorf("compare traces: %w", err)
	}
	defer b.Close()
	ra, rb := bufio.NewReaderSize(a, 1<<20), bufio.NewReaderSize(b, 1<<20)
	for line := 1; ; line++ {
		la, errA := ra.ReadString('\n')
		lb, errB := rb.ReadString('\n')
		if err := errors.Join(notEOF(errA), notEOF(errB)); err != nil {
			return nil, fmt.Errorf("compare traces: %w", err)
		}
		if la != lb {
			return &Divergence{Line: line, A: strings.TrimSpace(la), B: strings.TrimSpace(lb)}, nil
		}
		if errA != nil {
			if line == 1 {
				return nil, errors.New("compare traces: they are empty")
			}
			return nil, nil
		}
	}
}

func notEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
