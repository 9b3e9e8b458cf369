package sim_test

import (
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/sim"
)

// misbehaviour is run in a process of its own that it breaks.
var misbehaviour = map[string]func(t *testing.T, w *sim.World){
	"a goroutine that outlives its machine": func(t *testing.T, w *sim.World) {
		w.NewMachine("m").Start("server", func(p *sim.Process) error {
			go outlive()
			return nil
		})
		time.Sleep(time.Second)
	},
	"a goroutine that works on and on": func(t *testing.T, w *sim.World) {
		go func() {
			for tick := time.NewTicker(10 * time.Millisecond); ; {
				<-tick.C
			}
		}()
	},
	"a goroutine that parks with a mutex held": func(t *testing.T, w *sim.World) { parkHolding() },
	"a test that fails":                        func(t *testing.T, w *sim.World) { require.Fail(t, "as it should") },
}

func outlive() { select {} }

func parkHolding() {
	var mu sync.Mutex
	mu.Lock()
	go func() {
		mu.Lock()
		defer mu.Unlock()
	}()
	time.Sleep(time.Second)
	mu.Unlock()
}

func TestMisbehaviour(t *testing.T) {
	for _, tt := range []struct {
		name   string
		status int
		tells  []string
	}{
		{"a goroutine that outlives its machine", 1, []string{"1 goroutines survived their machines", "sim_test.outlive()"}},
		{"a goroutine that works on and on", 1, []string{"1 goroutines survived their machines", "misbehaviour_test.go"}},
		{"a goroutine that parks with a mutex held", 4, []string{"virtual time has stood still", "sim_test.parkHolding", "sync.(*Mutex).Lock"}},
		{"a test that fails", 1, []string{"as it should"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cmd := exec.Command(os.Args[0], "-test.run=^TestMisbehaves$")
			cmd.Env = append(os.Environ(), "SIM_INSIDE=1", "SIM_MISBEHAVIOUR="+tt.name)
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			require.ErrorAs(t, err, &exit, string(out))
			require.Equal(t, tt.status, exit.ExitCode(), string(out))
			for _, text := range tt.tells {
				require.Contains(t, string(out), text)
			}
		})
	}
}

// TestMisbehaves is the process of its own.
func TestMisbehaves(t *testing.T) {
	f := misbehaviour[os.Getenv("SIM_MISBEHAVIOUR")]
	if f == nil {
		return // only a part of TestMisbehaviour
	}
	sim.TestWith(t, sim.Options{Watchdog: time.Second}, f)
}

// A failure within the process of its own is one of the test.
func TestFailureIsTold(t *testing.T) {
	cmd := exec.Command(os.Args[0], "-test.run=^TestMisbehaves$")
	cmd.Env = append(os.Environ(), "SIM_MISBEHAVIOUR=a test that fails")
	out, err := cmd.CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "in a process of its own: exit status 1")
	require.Contains(t, string(out), "as it should")
}
