package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/espra/protoplex/scenarios"
	"github.com/espra/protoplex/scenarios/oracle"
	"github.com/espra/protoplex/scenarios/search"
	"github.com/espra/protoplex/scenarios/story"
)

func simCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "sim",
		Short: "Play outages against the platform in a simulated world",
		Example: `  protoplex sim list
  protoplex sim run region-failover --seed 7
  protoplex sim verify steady
  protoplex sim explore split-zone --seeds 200`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
		PersistentPreRun: func(c *cobra.Command, _ []string) {
			// Runs have processes of their own, which would outlive the terminal.
			if os.Getenv(insideVar) == "" && !signal.Ignored(syscall.SIGHUP) { // as under nohup
				ctx, _ := signal.NotifyContext(c.Context(), syscall.SIGHUP)
				c.SetContext(ctx)
			}
		},
	}
	c.AddCommand(listCommand(), runCommand(), verifyCommand(), faultsCommand(), exploreCommand(), shrinkCommand())
	return c
}

func listCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the stories: name first, then what happens",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			names, err := scenarios.Names()
			if err != nil {
				return status{statusBroken, err}
			}
			width := 0
			for _, n := range names {
				width = max(width, len(n))
			}
			for _, n := range names {
				s, err := scenarios.Load(n)
				if err != nil {
					return status{statusUsage, err}
				}
				fmt.Fprintf(c.OutOrStdout(), "%-*s  %s\n", width, n, s.Title)
			}
			return nil
		},
	}
}

// insideVar marks the process that holds the simulated world. A run has a
// process of its own, so that a panic in it is a finding with a status, and so
// that no state is left over from anything else.
const insideVar = "PROTOPLEX_INSIDE"

func runCommand() *cobra.Command {
	var (
		seed    uint64
		trace   string
		until   time.Duration
		verbose bool
		asJSON  bool
		page    pageFlags
	)
	c := &cobra.Command{
		Use:   "run NAME|FILE",
		Short: "Play a story, tell how it went, and judge it",
		Long: `Play a story, tell how it went, and judge its expectations. The same seed gives
the same run, to the nanosecond; the last line carries the hash that proves it.`,
		Example: `  protoplex sim run region-failover
  protoplex sim run region-failover --seed 7 --trace run.jsonl
  protoplex sim run region-failover --report run.html
  protoplex sim run region-failover --report run.html --against before.jsonl
  protoplex sim run ./my-story.yaml --until 6m -v`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			s, err := scenarios.Load(args[0])
			if err != nil {
				return status{statusUsage, err}
			}
			if until < 0 {
				return status{statusUsage, fmt.Errorf("--until %s: want a duration above zero", until)}
			}
			if s.Found != nil && !c.Flags().Changed("seed") {
				seed = s.Found.Seed
			}
			if os.Getenv(insideVar) == "" {
				if err := page.check(trace); err != nil {
					return status{statusUsage, err}
				}
				if s.Found != nil && s.Found.By != search.Version() {
					fmt.Fprintf(os.Stderr, "%s was written by %s; this is %s, which may play it otherwise\n", args[0], s.Found.By, search.Version())
				}
				if err := writable(trace); err != nil {
					return status{statusUsage, fmt.Errorf("write trace: %w", err)}
				}
				defer page.sweep()
				return again(c.Context())
			}
			o := scenarios.Options{Seed: seed, Until: until, Verbose: verbose}
			if onTerminal(os.Stderr) {
				o.Progress = progress
				defer clearLine()
			}
			return play(c.OutOrStdout(), s, o, trace, page, asJSON)
		},
	}
	f := c.Flags()
	f.Uint64Var(&seed, "seed", 1, "which run of the story; that of a reproducer unless given")
	f.StringVar(&trace, "trace", "", "write every delivery and event to `FILE`, as JSON lines")
	f.DurationVar(&until, "until", 0, "stop at this offset and tell what all machines are in the middle of; the trace is a prefix of the full one")
	f.StringVar(&page.file, "report", "", "write the run to `FILE` as one HTML page: a timeline of all machines, with causes")
	f.StringVar(&page.against, "against", "", "show in the report how the run differs from the one whose trace is in `FILE`")
	f.BoolVar(&asJSON, "json", false, "print the verdicts and the trace's hash as one JSON object, and nothing else")
	f.BoolVarP(&verbose, "verbose", "v", false, "tell every event, and nothing shortened")
	return c
}

// writable makes a file, if one is wanted.
func writable(file string) error {
	if file == "" {
		return nil
	}
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	return f.Close()
}

func play(out io.Writer, s *story.Story, o scenarios.Options, trace string, page pageFlags, asJSON bool) (err error) {
	var traces []io.Writer
	if trace != "" {
		f, err := os.Create(trace)
		if err != nil {
			return status{statusUsage, fmt.Errorf("write trace: %w", err)}
		}
		defer func() {
			if closeErr := f.Close(); closeErr != nil && err == nil {
				err = status{statusBroken, fmt.Errorf("write trace: %w", closeErr)}
			}
		}()
		traces = append(traces, f)
	}
	other, done, err := page.other()
	if err != nil {
		return status{statusUsage, err}
	}
	defer done()
	if other != nil {
		traces = append(traces, other)
	}
	if len(traces) > 0 {
		o.Trace = io.MultiWriter(traces...)
	}
	o.Record = page.file != ""
	report, err := scenarios.Run(s, o)
	if err != nil {
		return status{statusBroken, err}
	}
	if o.Progress != nil {
		clearLine()
	}
	var pageErr error
	if page.file != "" {
		if pageErr = page.write(func(w io.Writer) error { return report.WritePage(w, other) }); pageErr != nil {
			page.file = ""
		}
	}
	if err := tell(out, report, scenarios.Style{All: o.Verbose, Page: page.file}, asJSON); err != nil {
		return status{statusBroken, fmt.Errorf("write report: %w", err)}
	}
	if pageErr != nil {
		return status{statusBroken, fmt.Errorf("write report: %w", pageErr)}
	}
	if !report.Held() {
		return status{code: statusFailed}
	}
	return nil
}

// tell writes the report, for people or for a program.
func tell(out io.Writer, report *scenarios.Report, style scenarios.Style, asJSON bool) error {
	if asJSON {
		return report.PrintJSON(out)
	}
	style.Color = onTerminal(os.Stdout) && os.Getenv("NO_COLOR") == ""
	if err := report.Print(out, style); err != nil {
		return err
	}
	_, err := fmt.Fprintln(out, report.TraceLine())
	return err
}

func progress(at, lasts time.Duration) {
	fmt.Fprintf(os.Stderr, "\r\x1b[K%s of %s", oracle.Offset(at), oracle.Offset(lasts))
}

// clearLine takes the progress away again.
func clearLine() { fmt.Fprint(os.Stderr, "\r\x1b[K") }

func onTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
}

// again runs this very command line in a process that holds the world. Go ends a
// panicking process with status 2, which here means a wrong command line; the
// command line has been checked, so that status means that the run broke.
func again(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return status{statusBroken, fmt.Errorf("find this program: %w", err)}
	}
	cmd := exec.CommandContext(ctx, self, os.Args[1:]...)
	cmd.Env = append(os.Environ(), insideVar+"=1")
	if os.Getenv("GOMAXPROCS") == "" {
		// One thing happens at a time in a world, so more cores only pass it around.
		cmd.Env = append(cmd.Env, "GOMAXPROCS=1")
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &exit) && exit.ExitCode() == statusFailed:
		return status{code: statusFailed}
	case errors.As(err, &exit) && ctx.Err() != nil:
		if onTerminal(os.Stderr) {
			clearLine() // the run had no time for that
		}
		return status{statusBroken, errors.New("interrupted")}
	case errors.As(err, &exit):
		return status{code: statusBroken}
	}
	return status{statusBroken, fmt.Errorf("run: %w", err)}
}

func verifyCommand() *cobra.Command {
	var seeds, runs int
	c := &cobra.Command{
		Use:   "verify NAME|FILE",
		Short: "Prove that a story replays exactly",
		Long: `Run each seed in several processes, half of them on one core, and compare the whole
traces. The first event that differs is printed, and the exit status is 3.`,
		Example: `  protoplex sim verify region-failover --seeds 20`,
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			s, err := scenarios.Load(args[0])
			if err != nil {
				return status{statusUsage, err}
			}
			if seeds < 1 || runs < 2 {
				return status{statusUsage, errors.New("want at least 1 seed and 2 runs of it")}
			}
			self, err := os.Executable()
			if err != nil {
				return status{statusBroken, fmt.Errorf("find this program: %w", err)}
			}
			v := search.Verifier{Runs: runs, Command: func(ctx context.Context, seed uint64, trace string, cores int) *exec.Cmd {
				cmd := exec.CommandContext(ctx, self, "sim", "run", args[0], "--seed", strconv.FormatUint(seed, 10), "--trace", trace)
				cmd.Env = append(os.Environ(), insideVar+"=1", "GOMAXPROCS="+strconv.Itoa(cores))
				return cmd
			}}
			if onTerminal(os.Stderr) {
				v.Progress = func(_ uint64, done, of int) { fmt.Fprintf(os.Stderr, "\r\x1b[Kseed %d of %d", done, of) }
			}
			found, err := v.Verify(c.Context(), seeds)
			if v.Progress != nil {
				clearLine()
			}
			out := c.OutOrStdout()
			for _, d := range found {
				fmt.Fprintf(out, "seed %d diverges at event %d:\n  %s\n  %s\n", d.Seed, d.Line, d.A, d.B)
			}
			if err != nil {
				return status{statusBroken, err}
			}
			if len(found) > 0 {
				return status{statusDiverged, fmt.Errorf("%s: %d of %d seeds do not replay", s.Name, len(found), seeds)}
			}
			plural := "s"
			if seeds == 1 {
				plural = ""
			}
			fmt.Fprintf(out, "%s: %d seed%s, %d runs each: every trace is the same\n", s.Name, seeds, plural, runs)
			return nil
		},
	}
	c.Flags().IntVar(&seeds, "seeds", 1, "how many seeds, from 1 on")
	c.Flags().IntVar(&runs, "runs", 4, "how many processes for each seed")
	return c
}
