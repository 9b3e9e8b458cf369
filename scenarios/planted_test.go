package scenarios

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/testdata/planted"
)

const (
	// plantedVar makes TestPlanted plant all bugs and not only everPlanted.
	plantedVar  = "PROTOPLEX_PLANTED"
	everPlanted = "abstainers-vote"

	root = ".." // of the module
)

// A story must fail when the program has a bug that it is there to catch.
func TestPlanted(t *testing.T) {
	names, err := planted.Names(root)
	require.NoError(t, err)
	require.Contains(t, names, everPlanted)
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			bug, err := planted.Load(root, name)
			require.NoError(t, err)
			if name != everPlanted && os.Getenv(plantedVar) == "" {
				_, err := bug.Files(root)
				require.NoError(t, err)
				t.Skipf("it can be planted; %s=1 does so", plantedVar)
			}
			t.Parallel()
			program, err := bug.Build(t.Context(), root, t.TempDir())
			require.NoError(t, err)
			if bug.CaughtBy == planted.Verify {
				out := play(t, 3, program, "sim", "verify", bug.Story, "--runs", "2")
				require.Contains(t, out, "seed 1 diverges at event ")
				t.Logf("%s: %s", bug.Title, out)
				return
			}
			caught := failures(play(t, 1, program, "sim", "run", bug.Story))
			t.Logf("%s: caught by\n%s", bug.Title, strings.Join(caught, "\n"))
			for _, c := range caught {
				if strings.HasPrefix(c, bug.CaughtBy) {
					return
				}
			}
			require.Failf(t, "not caught", "%q held in %s", bug.CaughtBy, bug.Story)
		})
	}
}

// play runs a program and gives its output. It must end with a status.
func play(t *testing.T, status int, program string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	got := 0
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		require.NoError(t, err)
	}
	require.Equal(t, status, got, "the exit status of %s\n%s%s", strings.Join(args, " "), &out, &errs)
	return out.String()
}

// failures gives the verdicts of a printed report that did not hold, each with
// its first broken moment.
func failures(report string) []string {
	var all []string
	for line := range strings.Lines(report) {
		line = strings.TrimSpace(line)
		if rest, ok := strings.CutPrefix(line, "FAIL "); ok {
			all = append(all, rest)
		} else if moment, ok := strings.CutPrefix(line, "first: "); ok && len(all) > 0 {
			all[len(all)-1] += fmt.Sprintf("\n    %s", moment)
		}
	}
	return all
}
