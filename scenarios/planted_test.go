package scenarios

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/testdata/planted"
)

const (
	// plantedVar makes TestPlanted plant all bugs and not only everPlanted. With
	// seedsVar each is played with so many seeds until it is caught.
	plantedVar   = "PROTOPLEX_PLANTED"
	everPlanted  = "abstainers-vote"
	plantedSeeds = 3

	root = ".." // of the module
)

// A story must fail when the program has a bug that it is there to catch.
func TestPlanted(t *testing.T) {
	names, err := planted.Names(root)
	require.NoError(t, err)
	require.Contains(t, names, everPlanted)
	seeds := plantedSeeds
	if os.Getenv(seedsVar) != "" {
		seeds = len(seedsAskedFor(t))
	}
	var caught catches
	t.Cleanup(func() { t.Logf("\n%s", caught.table()) })
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
			c := catch{bug: bug}
			defer func() { caught.add(c) }()
			if bug.Package != "" {
				fails, out, err := bug.Test(t.Context(), root, t.TempDir())
				require.NoError(t, err)
				require.True(t, fails, "not caught by %s of %s:\n%s", bug.CaughtBy, bug.Package, out)
				c.by = "no story; " + bug.CaughtBy + " of " + bug.Package
				return
			}
			program, err := bug.Build(t.Context(), root, t.TempDir())
			require.NoError(t, err)
			for c.seeds < seeds && c.by == "" {
				c.seeds++
				c.by = playPlanted(t, bug, program, c.seeds)
			}
			require.NotEmpty(t, c.by, "not caught: %q held in %s", bug.CaughtBy, bug.Story)
		})
	}
}

// playPlanted plays a bug's story with one seed, and gives what caught the bug,
// nothing if what must catch it did not.
func playPlanted(t *testing.T, bug *planted.Bug, program string, seed int) (by string) {
	if bug.CaughtBy == planted.Verify {
		status, out := play(t, program, "sim", "verify", bug.Story, "--seeds", strconv.Itoa(seed), "--runs", "2")
		t.Logf("%s: %s", bug.Title, out)
		if status == 3 {
			return planted.Verify
		}
		return ""
	}
	status, out := play(t, program, "sim", "run", bug.Story, "--seed", strconv.Itoa(seed))
	failed := failures(out)
	t.Logf("%s: seed %d, status %d\n%s", bug.Title, seed, status, strings.Join(failed, "\n"))
	for _, f := range failed {
		if strings.HasPrefix(f, bug.CaughtBy) {
			return bug.CaughtBy
		}
	}
	return ""
}

// play runs a program and gives its status and its output.
func play(t *testing.T, program string, args ...string) (status int, output string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		status = exit.ExitCode()
	} else {
		require.NoError(t, err)
	}
	require.Contains(t, []int{0, 1, 3}, status, "the exit status of %s\n%s%s", strings.Join(args, " "), &out, &errs)
	return status, out.String()
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

// catch is what came of a bug.
type catch struct {
	bug   *planted.Bug
	by    string // empty if it was not caught
	seeds int    // that were played
}

// catches are those of all bugs.
type catches struct {
	mu  sync.Mutex
	all []catch
}

func (c *catches) add(one catch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = append(c.all, one)
}

// table has a line for each bug that was planted.
func (c *catches) table() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	slices.SortFunc(c.all, func(a, b catch) int { return cmp.Compare(a.bug.Name, b.bug.Name) })
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "bug\tstory\tcaught by\tseeds")
	missed := 0
	for _, one := range c.all {
		if one.by == "" {
			missed++
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\n", one.bug.Name, cmp.Or(one.bug.Story, "-"), cmp.Or(one.by, "NOTHING"), one.seeds)
	}
	_ = w.Flush() // into memory
	fmt.Fprintf(&b, "%d of %d caught\n", len(c.all)-missed, len(c.all))
	return b.String()
}
