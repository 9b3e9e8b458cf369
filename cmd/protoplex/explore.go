package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/espra/protoplex/scenarios"
)

func exploreCommand() *cobra.Command {
	var (
		seed  uint64
		seeds uint64
		jobs  int
		limit time.Duration
	)
	c := &cobra.Command{
		Use:   "explore NAME|FILE",
		Short: "Play many seeds of a story, and group what goes wrong",
		Long: `Play many seeds of a story, each in a process of its own, and group what goes wrong
by its cause. Where the story gives a range for the start or the length of a fault,
each seed has its own. Ctrl-C stops it and shows what was found so far.`,
		Example: `  protoplex sim explore split-zone --seeds 200
  protoplex sim explore split-zone --seeds 2000 --seed 1 --jobs 2`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if _, err := scenarios.Load(args[0]); err != nil {
				return status{statusUsage, err}
			}
			if seeds < 1 || jobs < 1 {
				return status{statusUsage, errors.New("want at least 1 seed and 1 job")}
			}
			if seed > math.MaxUint64-seeds {
				return status{statusUsage, fmt.Errorf("--seed %d: there are not so many seeds after it", seed)}
			}
			self, err := os.Executable()
			if err != nil {
				return status{statusBroken, fmt.Errorf("find this program: %w", err)}
			}
			if !c.Flags().Changed("seed") {
				// Short enough to be read aloud.
				seed = 1 + rand.Uint64N(1e9)
			}
			out := c.OutOrStdout()
			fmt.Fprintf(out, "%s: seeds %d to %d\n", args[0], seed, seed+seeds-1)
			e := scenarios.Explorer{Jobs: jobs, Limit: limit, Command: func(ctx context.Context, seed uint64) *exec.Cmd {
				cmd := exec.CommandContext(ctx, self, "sim", "run", args[0], "--json", "--seed", strconv.FormatUint(seed, 10))
				cmd.Env = append(os.Environ(), insideVar+"=1", "GOMAXPROCS=1")
				// A terminal sends Ctrl-C to its whole group, and a run that is cut
				// off by it would look broken.
				cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
				return cmd
			}}
			began := time.Now()
			if onTerminal(os.Stderr) {
				e.Progress = func(played, found uint64) {
					fmt.Fprintf(os.Stderr, "\r\x1b[K%d of %d seeds, %d with findings, %.0f an hour",
						played, seeds, found, float64(played)/time.Since(began).Hours())
				}
			}
			x, err := e.Explore(c.Context(), seed, seeds)
			if e.Progress != nil {
				fmt.Fprint(os.Stderr, "\r\x1b[K")
			}
			printExploration(out, args[0], x, time.Since(began))
			switch {
			case err != nil:
				return status{statusBroken, err}
			case len(x.Groups) > 0:
				return status{code: statusFailed}
			case c.Context().Err() != nil:
				return status{statusBroken, errors.New("interrupted")}
			}
			return nil
		},
	}
	f := c.Flags()
	f.Uint64Var(&seed, "seed", 0, "the first seed (default a fresh one)")
	f.Uint64Var(&seeds, "seeds", 100, "how many seeds")
	f.IntVar(&jobs, "jobs", runtime.NumCPU(), "how many to play side by side")
	f.DurationVar(&limit, "limit", 10*time.Minute, "stop a run that takes longer than this, in real time")
	return c
}

// shownSeeds is how many seeds of a group are named.
const shownSeeds = 8

func printExploration(out io.Writer, story string, x scenarios.Exploration, took time.Duration) {
	for _, g := range x.Groups {
		fmt.Fprintf(out, "\n%s: %s (%d of %d seeds)\n", g.Kind, g.Cause, len(g.Seeds), x.Played)
		var names []string
		for _, s := range g.Seeds[:min(len(g.Seeds), shownSeeds)] {
			names = append(names, strconv.FormatUint(s, 10))
		}
		if len(g.Seeds) > shownSeeds {
			names = append(names, "...")
		}
		fmt.Fprintf(out, "  seeds   %s\n", strings.Join(names, ", "))
		for i, line := range strings.Split(g.Detail, "\n") {
			head := "        "
			if i == 0 {
				head = "first   "
			}
			fmt.Fprintf(out, "  %s%s\n", head, line)
		}
		fmt.Fprintf(out, "  replay  protoplex sim run %s --seed %d\n", story, g.Seeds[0])
	}
	if len(x.Groups) > 0 {
		fmt.Fprintln(out)
	}
	found := "nothing found"
	switch n := len(x.Groups); {
	case n == 1:
		found = "1 cause found"
	case n > 1:
		found = fmt.Sprintf("%d causes found", n)
	}
	fmt.Fprintf(out, "%d seeds played in %s: %s\n", x.Played, took.Round(time.Second), found)
	if end := x.First + x.Seeds; x.Next < end {
		fmt.Fprintf(out, "go on with: protoplex sim explore %s --seed %d --seeds %d\n", story, x.Next, end-x.Next)
	}
}
