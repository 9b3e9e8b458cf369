package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"github.com/espra/protoplex/scenarios"
	"github.com/espra/protoplex/scenarios/search"
	"github.com/espra/protoplex/scenarios/story"
)

// shrinking is what `sim shrink` was asked for.
type shrinking struct {
	jobs  int
	limit time.Duration
	out   string
}

func shrinkCommand() *cobra.Command {
	var (
		x    shrinking
		seed uint64
	)
	c := &cobra.Command{
		Use:   "shrink NAME|FILE",
		Short: "Make a story that fails as small as it can be while it fails",
		Long: `Look for the smallest story that shows the same as this one with this seed: the fewest
faults and the shortest, the smallest platform, the fewest clients, the earliest end. It
is written into a file that sim run plays; in testdata/regressions it becomes a test.

When the time is up, or with Ctrl-C, the smallest story so far is written.`,
		Example: `  protoplex sim shrink swarm-17 --seed 17
  protoplex sim shrink findings/silent-gaps-or-duplicates-17.yaml --out small.yaml`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			s, err := scenarios.Load(args[0])
			if err != nil {
				return status{statusUsage, err}
			}
			if x.jobs < 1 || x.limit <= 0 {
				return status{statusUsage, errors.New("want at least 1 job and some time")}
			}
			if s.Found != nil && !c.Flags().Changed("seed") {
				seed = s.Found.Seed
			}
			return x.run(c.Context(), c.OutOrStdout(), s, seed)
		},
	}
	f := c.Flags()
	f.Uint64Var(&seed, "seed", 1, "with which the story fails; that of a reproducer unless given")
	f.IntVar(&x.jobs, "jobs", runtime.NumCPU(), "how many candidates to play side by side")
	f.DurationVar(&x.limit, "limit", shrinkLimit, "take the smallest story so far after this, in real time")
	f.StringVar(&x.out, "out", "", "write `FILE` (default one here, named after what is found)")
	return c
}

// shrinkLimit is for how long to look for a smaller story, unless that is given:
// as long as people wait.
const shrinkLimit = 2 * time.Minute

// errNotPlayed says that the time was up before anything was known.
var errNotPlayed = errors.New("it was not played once")

// run shrinks a story, tells what came out, and saves it.
func (x *shrinking) run(ctx context.Context, out io.Writer, s *story.Story, seed uint64) error {
	self, err := os.Executable()
	if err != nil {
		return status{statusBroken, fmt.Errorf("find this program: %w", err)}
	}
	limited, cancel := context.WithTimeout(ctx, x.limit)
	defer cancel()
	runs := 0
	sh := search.Shrinker{
		Jobs: x.jobs, Limit: x.limit,
		Command: func(ctx context.Context, file string, seed uint64) *exec.Cmd {
			return quietly(ctx, self, file, seed, 1)
		},
	}
	began := time.Now()
	terminal := onTerminal(os.Stderr)
	sh.Progress = func(n int, best *story.Story) {
		runs = n
		if terminal {
			fmt.Fprintf(os.Stderr, "\r\x1b[K%d runs in %s; smallest: %s", n, time.Since(began).Round(time.Second), measure(best))
		}
	}
	small, found, err := sh.Shrink(limited, s, seed)
	if terminal {
		clearLine()
	}
	stopped := ""
	switch {
	case errors.Is(err, search.ErrHolds):
		return status{statusUsage, fmt.Errorf("shrink %s with seed %d: %w", s.Name, seed, err)}
	case small == nil && ctx.Err() != nil:
		return status{statusBroken, fmt.Errorf("shrink %s: interrupted before it was played once", s.Name)}
	case small == nil && errors.Is(err, context.DeadlineExceeded):
		return status{statusBroken, fmt.Errorf("shrink %s: %w within %s; give it more with --limit", s.Name, errNotPlayed, x.limit)}
	case small == nil && err != nil:
		return status{statusBroken, err}
	case ctx.Err() != nil:
		stopped = ", interrupted"
	case errors.Is(err, context.DeadlineExceeded):
		stopped = ", as the time was up"
	}
	file := x.out
	if file == "" {
		file = search.FileName(small)
	}
	fmt.Fprintf(out, "%s: %s\n", found.Kind, found.Cause)
	fmt.Fprintf(out, "  from    %s\n", measure(s))
	fmt.Fprintf(out, "  to      %s, after %d runs in %s%s\n", measure(small), runs, time.Since(began).Round(time.Second), stopped)
	if saveErr := search.Save(file, small); saveErr != nil {
		return status{statusBroken, saveErr}
	}
	fmt.Fprintf(out, "  saved   %s\n", file)
	fmt.Fprintf(out, "  replay  protoplex sim run %s --seed %d\n", dotted(file), seed)
	if err != nil && stopped == "" {
		return status{statusBroken, err}
	}
	return nil
}

// dotted is a file in words that nobody takes for the name of a story.
func dotted(file string) string {
	if filepath.Base(file) == file {
		return "./" + file
	}
	return file
}

// measure tells how large a story is.
func measure(s *story.Story) string {
	servers, clients := 0, 0
	for _, m := range s.Machines() {
		if m.Group != "" {
			clients++
		} else {
			servers++
		}
	}
	plural := func(n int, what string) string {
		if n != 1 {
			what += "s"
		}
		return fmt.Sprintf("%d %s", n, what)
	}
	return fmt.Sprintf("%s, %s, %s, %s", plural(len(s.Timeline), "fault"), plural(servers, "machine"), plural(clients, "client"), s.Lasts)
}

// shrinkAll shrinks what was saved, each in its place. One whose file has been taken
// away since is left out, and one that cannot be shrunk does not keep the others from
// it.
func (x *exploration) shrinkAll(ctx context.Context, out io.Writer, all search.Exploration, saved map[[2]string]string) error {
	for _, g := range all.Groups {
		file := saved[[2]string{string(g.Kind), g.Cause}]
		if file == "" || g.Kind == search.Diverged || ctx.Err() != nil {
			continue
		}
		s, err := scenarios.Load(file)
		if err != nil {
			return err
		}
		fmt.Fprintln(out)
		small := shrinking{jobs: x.jobs, limit: shrinkLimit, out: file}
		err = small.run(ctx, out, s, s.Found.Seed)
		if errors.Is(err, search.ErrHolds) || errors.Is(err, errNotPlayed) {
			fmt.Fprintf(out, "  %v\n", err) // if it does not fail again, that has been told
		} else if err != nil {
			return err
		}
	}
	return nil
}
