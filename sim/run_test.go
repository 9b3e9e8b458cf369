package sim_test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/sim"
)

// Run serves a program that is no test: the program's output, flags, arguments
// and exit status stay its own, also when goroutines leak.
func TestRunInAnOrdinaryProgram(t *testing.T) {
	program := filepath.Join(t.TempDir(), "ordinary")
	out, err := exec.Command("go", "build", "-o", program, "./testdata/ordinary").CombinedOutput()
	require.NoError(t, err, string(out))
	for _, tt := range []struct{ argument, result string }{
		{"calm", "true 64 0 1 true true true 3"},
		{"leak", "true 64 1 1 true true true 3"},
	} {
		t.Run(tt.argument, func(t *testing.T) {
			cmd := exec.Command(program, "-loud", tt.argument, "-x")
			var stderr strings.Builder
			cmd.Stderr = &stderr
			out, err := cmd.Output()
			var exit *exec.ExitError
			require.ErrorAs(t, err, &exit)
			require.Equal(t, 7, exit.ExitCode())
			require.Equal(t, "inside\n"+tt.result+"\n"+
				"sim: Run needs a process of its own, without tests; use Test in a test\n"+
				"true ["+tt.argument+" -x]\n", string(out))
			require.Empty(t, stderr.String())
		})
	}
}

func TestRunRefusesATest(t *testing.T) {
	_, err := sim.Run(sim.Options{}, func(*sim.World) error { return nil })
	require.ErrorContains(t, err, "use Test in a test")
}
