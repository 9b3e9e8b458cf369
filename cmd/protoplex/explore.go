package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/espra/protoplex/scenarios"
	"github.com/espra/protoplex/scenarios/search"
	"github.com/espra/protoplex/scenarios/story"
	"github.com/espra/protoplex/scenarios/swarm"
)

// exploration is what `sim explore` was asked for.
type exploration struct {
	story  string // or "", for stories that are made up
	onTop  bool
	beyond bool
	seed   uint64
	seeds  uint64
	jobs   int
	limit  time.Duration
	twice  uint64
	out    string
	shrink bool
	show   bool

	journal *search.Journal // in the folder out, if there is one
}

func exploreCommand() *cobra.Command {
	var x exploration
	c := &cobra.Command{
		Use:   "explore [NAME|FILE]",
		Short: "Play many seeds, of made-up stories or of one, and group what goes wrong",
		Long: `Play many seeds, each in a process of its own, and group what goes wrong by its cause.

Without a story each seed makes up one of its own: a small platform, some clients, and
faults of some families that the platform declares to survive. While they last nothing
unsafe may happen; they heal, and in the end everything has to be as it was.

With a story its seeds are played: where it gives a range for the start or the length of
a fault, each seed has its own. With --on-top each seed adds faults to it.

In the end it tells which faults struck what, and which rare branches of the platform's
code were reached: a search proves nothing about those that never were.

The first seed of each cause, and now and then another one, is played twice; if that
gives something else the exit status is 3. Ctrl-C stops the search and shows what was
found so far, and how to go on. With --out a journal is kept in that folder: the same
command then goes on where it was stopped, by whatever, and adds to what it has.`,
		Example: `  protoplex sim explore --seeds 500 --out findings --shrink
  protoplex sim explore --seed 17 --seeds 1 --show
  protoplex sim explore split-zone --seeds 2000 --seed 1 --jobs 2
  protoplex sim explore region-failover --on-top --seeds 50`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				x.story = args[0]
				if _, err := scenarios.Load(x.story); err != nil {
					return status{statusUsage, err}
				}
			}
			if err := x.check(); err != nil {
				return status{statusUsage, err}
			}
			given := c.Flags().Changed("seed")
			if !given {
				// Short enough to be read aloud.
				x.seed = 1 + rand.Uint64N(1e9)
			}
			if x.show {
				return x.print(c.OutOrStdout())
			}
			if x.out != "" {
				if err := x.open(given); err != nil {
					return status{statusUsage, err}
				}
				defer x.journal.Close()
			}
			return x.run(c.Context(), c.OutOrStdout())
		},
	}
	f := c.Flags()
	f.Uint64Var(&x.seed, "seed", 0, "the first seed (default a fresh one)")
	f.Uint64Var(&x.seeds, "seeds", 100, "how many seeds")
	f.IntVar(&x.jobs, "jobs", runtime.NumCPU(), "how many to play side by side")
	f.DurationVar(&x.limit, "limit", 10*time.Minute, "stop a run that takes longer than this, in real time; 0 for none")
	f.Uint64Var(&x.twice, "twice", 20, "play one seed in so many twice, to see that it replays; 0 for none")
	f.BoolVar(&x.onTop, "on-top", false, "add made-up faults to the story")
	f.BoolVar(&x.beyond, "beyond", false, "make up more faults than the platform declares to survive; then only safety is asked for")
	f.StringVar(&x.out, "out", "", "save the first story of each cause in `DIR`, and a journal to go on with")
	f.BoolVar(&x.shrink, "shrink", false, "shrink what is saved, as sim shrink does")
	f.BoolVar(&x.show, "show", false, "print the stories of the seeds, and play nothing")
	return c
}

func (x *exploration) check() error {
	switch {
	case x.seeds < 1 || x.jobs < 1:
		return errors.New("want at least 1 seed and 1 job")
	case x.limit < 0:
		return fmt.Errorf("--limit %s: want some time, or 0 for as long as it takes", x.limit)
	case x.seed > math.MaxUint64-x.seeds:
		return fmt.Errorf("--seed %d: there are not so many seeds after it", x.seed)
	case x.onTop && x.story == "":
		return errors.New("--on-top: want a story to add faults to")
	case x.beyond && !x.madeUp():
		return errors.New("--beyond: the story has the faults that it has; add some with --on-top")
	case x.shrink && x.out == "":
		return errors.New("--shrink: want a directory for what is found: --out DIR")
	}
	return nil
}

// madeUp tells whether each seed makes up faults.
func (x *exploration) madeUp() bool { return x.story == "" || x.onTop }

// name is that of the story of a seed.
func (x *exploration) name(seed uint64) string {
	if x.madeUp() {
		return scenarios.MadeUp(x.story, seed, x.beyond)
	}
	return x.story
}

// open opens the journal, and goes on with its seeds unless others are given.
func (x *exploration) open(given bool) error {
	if err := os.MkdirAll(x.out, 0o755); err != nil {
		return fmt.Errorf("make directory for findings: %w", err)
	}
	of := search.Search{Story: x.what(), By: search.Version(), First: x.seed}
	if x.story != "" {
		s, err := scenarios.Load(x.story)
		if err != nil {
			return err
		}
		of.Text = fmt.Sprintf("%x", sha256.Sum256(story.Format(s)))
	}
	var err error
	if x.journal, err = search.OpenJournal(x.out, of); err != nil {
		return err
	}
	if !given {
		x.seed = x.journal.Search.First
	}
	return nil
}

// what is played, in words.
func (x *exploration) what() string {
	what := x.story
	switch {
	case x.onTop:
		what += " with faults on top"
	case x.madeUp():
		what = "made-up stories"
	}
	if x.beyond {
		what += " beyond the budget"
	}
	return what
}

func (x *exploration) print(out io.Writer) error {
	for seed := x.seed; seed < x.seed+x.seeds; seed++ {
		s, err := scenarios.Load(x.name(seed))
		if err != nil {
			return status{statusBroken, err}
		}
		separator := ""
		if seed > x.seed {
			separator = "---\n"
		}
		if _, err := fmt.Fprintf(out, "%s%s", separator, story.Format(s)); err != nil {
			return status{statusBroken, err}
		}
	}
	return nil
}

// quietly is a run of a story whose outcome is for a program.
func quietly(ctx context.Context, self, story string, seed uint64, cores int) *exec.Cmd {
	cmd := exec.CommandContext(ctx, self, "sim", "run", story, "--json", "--seed", strconv.FormatUint(seed, 10))
	cmd.Env = append(os.Environ(), insideVar+"=1", "GOMAXPROCS="+strconv.Itoa(cores))
	// A terminal sends Ctrl-C to its whole group, and a run that is cut off by it
	// would look broken.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd
}

func (x *exploration) run(ctx context.Context, out io.Writer) error {
	self, err := os.Executable()
	if err != nil {
		return status{statusBroken, fmt.Errorf("find this program: %w", err)}
	}
	fmt.Fprintf(out, "%s: seeds %d to %d\n", x.what(), x.seed, x.seed+x.seeds-1)
	saved := map[[2]string]string{} // files by kind and cause
	var coverage swarm.Coverage
	var reached scenarios.Reached
	e := search.Explorer{
		Jobs: x.jobs, Limit: x.limit, Twice: x.twice, MadeUp: x.madeUp(),
		Command: func(ctx context.Context, seed uint64, cores int) *exec.Cmd {
			return quietly(ctx, self, x.name(seed), seed, cores)
		},
	}
	add := func(r search.Run) {
		reached.Add(r.Sometimes)
		if !x.madeUp() || r.Trace == "" {
			return
		}
		if s, err := scenarios.Load(x.name(r.Seed)); err == nil { // it has been played
			coverage.Add(s, r.Idle)
		}
	}
	e.Played = func(r search.Run) error {
		add(r)
		if x.journal != nil {
			return x.journal.Add(r)
		}
		return nil
	}
	if x.journal != nil {
		for _, r := range x.journal.Runs {
			if r.Seed < x.seed || r.Seed-x.seed >= x.seeds {
				continue
			}
			add(r)
			e.Known = append(e.Known, r)
			for _, f := range r.Findings {
				if err := x.findSaved(r.Seed, f, saved); err != nil {
					return status{statusBroken, err}
				}
			}
		}
	}
	if x.out != "" {
		e.Found = func(seed uint64, f search.Finding) error {
			s, err := scenarios.Load(x.name(seed))
			if err != nil {
				return err
			}
			s = search.Reproducer(s, seed, f)
			file := filepath.Join(x.out, search.FileName(s))
			if err := search.Save(file, s); err != nil {
				return err
			}
			saved[[2]string{string(f.Kind), f.Cause}] = file
			return nil
		}
	}
	began := time.Now()
	if onTerminal(os.Stderr) {
		e.Progress = func(played, found uint64) {
			fmt.Fprintf(os.Stderr, "\r\x1b[K%d of %d seeds, %d with findings, %.0f an hour",
				played, x.seeds, found, float64(played-uint64(len(e.Known)))/time.Since(began).Hours())
		}
	}
	all, err := e.Explore(ctx, x.seed, x.seeds)
	if e.Progress != nil {
		clearLine()
	}
	x.tell(out, all, saved, time.Since(began))
	if x.madeUp() && all.Played > 0 {
		fmt.Fprintln(out, "\nstruck: stories by fault and role, in us-east/eu-west or elsewhere")
		for _, line := range coverage.Lines() {
			fmt.Fprintf(out, "  %s\n", line)
		}
	}
	if all.Played > 0 {
		fmt.Fprintf(out, "\n%s\n", strings.Join(reached.Lines(), "\n"))
	}
	switch {
	case err != nil:
		return status{statusBroken, err}
	case ctx.Err() == nil && x.shrink:
		err = x.shrinkAll(ctx, out, all, saved)
	}
	switch {
	case err != nil:
		return status{statusBroken, err}
	case len(all.Groups) > 0 && all.Groups[0].Kind == search.Diverged:
		return status{code: statusDiverged}
	case len(all.Groups) > 0:
		return status{code: statusFailed}
	case ctx.Err() != nil:
		return status{statusBroken, errors.New("interrupted")}
	}
	return nil
}

// findSaved looks for the story of a finding that an earlier search has saved.
func (x *exploration) findSaved(seed uint64, f search.Finding, saved map[[2]string]string) error {
	s, err := scenarios.Load(x.name(seed))
	if err != nil {
		return err
	}
	file := filepath.Join(x.out, search.FileName(search.Reproducer(s, seed, f)))
	if _, err := os.Stat(file); err == nil {
		saved[[2]string{string(f.Kind), f.Cause}] = file
	}
	return nil
}

// shownSeeds is how many seeds of a group are named.
const shownSeeds = 8

func (x *exploration) tell(out io.Writer, all search.Exploration, saved map[[2]string]string, took time.Duration) {
	for _, g := range all.Groups {
		fmt.Fprintf(out, "\n%s: %s (%d of %d seeds)\n", g.Kind, g.Cause, len(g.Seeds), all.Played)
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
		name := x.name(g.Seeds[0])
		fmt.Fprintf(out, "  replay  protoplex sim run %s --seed %d\n", name, g.Seeds[0])
		if file := saved[[2]string{string(g.Kind), g.Cause}]; file != "" {
			fmt.Fprintf(out, "  saved   %s\n", file)
		} else if g.Kind != search.Diverged {
			fmt.Fprintf(out, "  shrink  protoplex sim shrink %s --seed %d\n", name, g.Seeds[0])
		}
	}
	if len(all.Groups) > 0 {
		fmt.Fprintln(out)
	}
	found := "nothing found"
	switch n := len(all.Groups); {
	case n == 1:
		found = "1 cause found"
	case n > 1:
		found = fmt.Sprintf("%d causes found", n)
	}
	before := ""
	if all.Known > 0 {
		before = fmt.Sprintf(" (and %d before)", all.Known)
	}
	fmt.Fprintf(out, "%d seeds played in %s%s: %s\n", all.Played-all.Known, took.Round(time.Second), before, found)
	if end := all.First + all.Seeds; all.Next < end {
		fmt.Fprintf(out, "go on with: %s --seed %d --seeds %d\n", x.command(), all.Next, end-all.Next)
	}
}

// command is the command line without seeds.
func (x *exploration) command() string {
	words := []string{"protoplex sim explore"}
	if x.story != "" {
		words = append(words, x.story)
	}
	if x.onTop {
		words = append(words, "--on-top")
	}
	if x.beyond {
		words = append(words, "--beyond")
	}
	if x.out != "" {
		words = append(words, "--out", x.out)
	}
	if x.shrink {
		words = append(words, "--shrink")
	}
	return strings.Join(words, " ")
}
