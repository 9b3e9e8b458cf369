package search

import (
	"bufio"
	"context"
	"encoding/json"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/scenarios"
	"github.com/espra/protoplex/sim"
)

// Environment variables by which TestVerify starts verifiedRun.
const (
	verifiedTraceVar = "PROTOPLEX_TEST_TRACE"
	verifiedSeedVar  = "PROTOPLEX_TEST_SEED"
	verifiedLeakVar  = "PROTOPLEX_TEST_LEAK"
)

// A story replays; one with a leak of nondeterminism in it does not, and the
// first event that differs is that of the leak.
func TestVerify(t *testing.T) {
	if trace := os.Getenv(verifiedTraceVar); trace != "" {
		verifiedRun(t, trace)
		return
	}
	t.Run("sound", func(t *testing.T) {
		t.Parallel()
		found, err := verifier(t, "").Verify(t.Context(), 2)
		require.NoError(t, err)
		require.Empty(t, found)
	})
	for leak := range leaks {
		t.Run(leak, func(t *testing.T) {
			t.Parallel()
			found, err := verifier(t, leak).Verify(t.Context(), 1)
			require.NoError(t, err)
			require.Len(t, found, 1)
			d := found[0]
			t.Logf("event %d:\n%s\n%s", d.Line, d.A, d.B)
			require.EqualValues(t, 1, d.Seed)
			require.Greater(t, d.Line, 1)
			require.NotEqual(t, d.A, d.B)
			require.Contains(t, d.A+d.B, leaky)
			for _, line := range []string{d.A, d.B} {
				var event map[string]any
				require.NoError(t, json.Unmarshal([]byte(line), &event), line)
			}
		})
	}
}

// A run that breaks is an error and not a divergence, and says what it said.
func TestVerifyBrokenRun(t *testing.T) {
	v := verifier(t, "")
	v.Command = func(ctx context.Context, seed uint64, trace string, cores int) *exec.Cmd {
		return exec.CommandContext(ctx, "sh", "-c", "echo no such luck; exit 4")
	}
	found, err := v.Verify(t.Context(), 1)
	require.Empty(t, found)
	require.ErrorContains(t, err, "seed 1")
	require.ErrorContains(t, err, "no such luck")
}

// A run that writes no trace proves nothing.
func TestVerifyEmptyTraces(t *testing.T) {
	v := verifier(t, "")
	v.Command = func(ctx context.Context, seed uint64, trace string, cores int) *exec.Cmd {
		return exec.CommandContext(ctx, "sh", "-c", `: > "$0"`, trace)
	}
	_, err := v.Verify(t.Context(), 1)
	require.ErrorContains(t, err, "empty")
}

// verifier runs verifiedRun in processes of the test binary.
func verifier(t *testing.T, leak string) *Verifier {
	t.Helper()
	return &Verifier{Command: func(ctx context.Context, seed uint64, trace string, cores int) *exec.Cmd {
		cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestVerify$", "-test.count=1")
		cmd.Env = append(os.Environ(), "SIM_INSIDE=1", "GOMAXPROCS="+strconv.Itoa(cores),
			verifiedTraceVar+"="+trace, verifiedLeakVar+"="+leak, verifiedSeedVar+"="+strconv.FormatUint(seed, 10))
		return cmd
	}}
}

// verifiedFor is how much of the story is played: all has booted, every client
// has come, and the monitors have agreed.
const verifiedFor = 40 * time.Second

// verifiedRun plays the beginning of a story, and beside it a leak.
func verifiedRun(t *testing.T, trace string) {
	s, err := scenarios.Load("steady")
	require.NoError(t, err)
	seed, err := strconv.ParseUint(os.Getenv(verifiedSeedVar), 10, 64)
	require.NoError(t, err)
	f, err := os.Create(trace)
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close()) }()
	sim.TestWith(t, sim.Options{Seed: seed, Start: s.Starts, Trace: f}, func(t *testing.T, w *sim.World) {
		if leak := leaks[os.Getenv(verifiedLeakVar)]; leak != nil {
			w.NewMachine(leaky).Start("leak", leak)
		}
		_, err := scenarios.Play(w, s, scenarios.Options{Until: verifiedFor})
		require.NoError(t, err)
	})
}

// leaky is the machine that leaks.
const leaky = "leaky"

// leaks are the ways in which a program may take what it does from something
// other than its seed, one of each kind.
var leaks = map[string]func(*sim.Process) error{
	// A stream of random numbers that the process shares, instead of choices
	// that hang on names.
	"shared random stream": func(p *sim.Process) error {
		for p.Context().Err() == nil {
			time.Sleep(time.Second + time.Duration(rand.Int64N(int64(time.Second))))
			p.Emit("drawn")
		}
		return nil
	},
	// Tickers on one grid, which the runtime fires in no set order. Who comes
	// first gets the first place.
	"bare ticker grid": func(p *sim.Process) error {
		var places atomic.Int64
		for i := range 8 {
			go func() {
				ticker := time.NewTicker(time.Second)
				defer ticker.Stop()
				for p.Context().Err() == nil {
					<-ticker.C
					p.Emit("tick", sim.Field{Key: "of", Value: strconv.Itoa(i)},
						sim.Field{Key: "place", Value: strconv.FormatInt(places.Add(1), 10)})
				}
			}()
		}
		<-p.Context().Done()
		return nil
	},
	// A loop over a map that sends to each.
	"map range that sends": func(p *sim.Process) error {
		l, err := p.Listen("tcp", ":7")
		if err != nil {
			return err
		}
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					if name, err := bufio.NewReader(c).ReadString('\n'); err == nil {
						p.Emit("heard", sim.Field{Key: "name", Value: name})
					}
					c.Close()
				}()
			}
		}()
		peers := map[string]bool{}
		for i := range 8 {
			peers["peer-"+strconv.Itoa(i)] = true
		}
		for name := range peers {
			c, err := p.DialContext(p.Context(), "tcp", leaky+":7")
			if err != nil {
				return err
			}
			if _, err := c.Write([]byte(name + "\n")); err != nil {
				return err
			}
			time.Sleep(100 * time.Millisecond)
			c.Close()
		}
		<-p.Context().Done()
		return nil
	},
}
