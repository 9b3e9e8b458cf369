package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/scenarios"
	"github.com/espra/protoplex/testdata/planted"
)

// programs is the directory of the built command. A simulated world wants a
// program without tests in it, so the test binary cannot stand in for it.
var programs string

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		os.Exit(run()) // this is the command, or one of its children
	}
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "protoplex-cmd-")
		if err == nil {
			defer os.RemoveAll(dir)
			var out []byte
			if out, err = exec.Command("go", "build", "-o", dir+string(filepath.Separator), ".").CombinedOutput(); err != nil {
				err = fmt.Errorf("%w\n%s", err, out)
			}
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		programs = dir
		return m.Run()
	}())
}

func program() string { return filepath.Join(programs, "protoplex") }

// The command line, as scripts and people use it.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("PATH", programs+string(filepath.ListSeparator)+e.Getenv("PATH"))
			tiny, err := os.ReadFile(filepath.Join("testdata", "tiny.yaml"))
			if err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(e.WorkDir, "tiny.yaml"), tiny, 0o600)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "edit": edit, "prefix": prefix, "size": size, "retry": retry,
		},
	})
}

// What README.md says of deploying is what the script cell runs.
func TestReadmeDeploys(t *testing.T) {
	readme, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	require.NoError(t, err)
	script, err := os.ReadFile(filepath.Join("testdata", "cell.txtar"))
	require.NoError(t, err)
	_, section, ok := strings.Cut(string(readme), "\n## Deploy a cell\n")
	require.True(t, ok)
	section, _, ok = strings.Cut(section, "\n## ")
	require.True(t, ok)
	section = regexp.MustCompile(`\\\n +`).ReplaceAllString(section, "")
	commands := regexp.MustCompile(`(?m)^bin/(protoplex .*)$`).FindAllStringSubmatch(section, -1)
	require.Greater(t, len(commands), 8)
	for _, c := range commands {
		require.Regexp(t, `(?m)^(exec|retry) `+regexp.QuoteMeta(c[1])+`( &\w+&)?$`, string(script))
	}
}

// exits runs a program, which must end with a status: exits STATUS PROGRAM ARG...
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits STATUS PROGRAM ARG...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}

// retry runs a program until it succeeds: retry PROGRAM ARG...
func retry(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: retry PROGRAM ARG...")
	}
	var err error
	for range 100 {
		if err = ts.Exec(args[0], args[1:]...); err == nil {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	ts.Check(err)
}

// edit makes a file out of another with one text replaced: edit FROM TO OLD NEW
func edit(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 4 {
		ts.Fatalf("usage: edit FROM TO OLD NEW")
	}
	from := []byte(ts.ReadFile(args[0]))
	if bytes.Count(from, []byte(args[2])) != 1 {
		ts.Fatalf("%q is not in %s once", args[2], args[0])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), bytes.Replace(from, []byte(args[2]), []byte(args[3]), 1), 0o600))
}

// prefix wants a file to begin with another, shorter one: prefix SHORT LONG
func prefix(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: prefix SHORT LONG")
	}
	short, long := ts.ReadFile(args[0]), ts.ReadFile(args[1])
	if len(short) == 0 || len(short) >= len(long) || long[:len(short)] != short {
		ts.Fatalf("%s, %d bytes, is no true prefix of %s, %d bytes", args[0], len(short), args[1], len(long))
	}
}

// size gives a file so many bytes, of which what is new is 0: size FILE BYTES
func size(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: size FILE BYTES")
	}
	n, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	ts.Check(os.Truncate(ts.MkAbs(args[0]), n))
}

// Every story is listed on a line of its own, by a name that can be played.
func TestList(t *testing.T) {
	names, err := scenarios.Names()
	require.NoError(t, err)
	var want strings.Builder
	width := 0
	for _, n := range names {
		width = max(width, len(n))
	}
	for _, n := range names {
		s, err := scenarios.Load(n)
		require.NoError(t, err)
		fmt.Fprintf(&want, "%-*s  %s\n", width, n, s.Title)
	}
	out, err := exec.CommandContext(t.Context(), program(), "sim", "list").Output()
	require.NoError(t, err)
	require.Equal(t, want.String(), string(out))
}

// A program that takes what it does from outside its seed is told on: status 3,
// and the first event that differs.
func TestVerifyFindsALeak(t *testing.T) {
	root := filepath.Join("..", "..")
	bug, err := planted.Load(root, "random-shift")
	require.NoError(t, err)
	leaky, err := bug.Build(t.Context(), root, t.TempDir())
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), leaky, "sim", "verify", filepath.Join("testdata", "tiny.yaml"), "--runs", "2")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	var exit *exec.ExitError
	require.ErrorAs(t, cmd.Run(), &exit)
	require.Equal(t, statusDiverged, exit.ExitCode(), "%s%s", &out, &errs)
	require.Regexp(t, `^seed 1 diverges at event \d+:\n  \{"t":.*\}\n  \{"t":.*\}\n$`, out.String())
	require.Contains(t, errs.String(), "1 of 1 seeds do not replay")
}

// Whoever asks for help is told in one line what each command does, and shown
// how it is called.
func TestHelpIsComplete(t *testing.T) {
	var look func(c *cobra.Command)
	look = func(c *cobra.Command) {
		require.NotEmpty(t, c.Short, c.CommandPath())
		require.NotRegexp(t, `\.$`, c.Short, c.CommandPath())
		if c.HasFlags() {
			require.NotEmpty(t, c.Example, c.CommandPath())
		}
		c.LocalFlags().VisitAll(func(f *pflag.Flag) { require.NotEmpty(t, f.Usage, "%s --%s", c.CommandPath(), f.Name) })
		for _, sub := range c.Commands() {
			look(sub)
		}
	}
	look(root())
}
