package scenarios

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/espra/protoplex/sim"
)

// A whole region failover, in a process of its own on one core, as `protoplex sim
// run` has it: how much faster than real time, and how much memory it takes.
func BenchmarkRegionFailover(b *testing.B) {
	var simulated, wall time.Duration
	var events uint64
	var peak int64 // bytes
	for b.Loop() {
		cmd := exec.Command(os.Args[0], "-test.run=^TestBenchmarkProgram$", "-test.count=1", "-test.v")
		cmd.Env = append(os.Environ(), "SCENARIOS_BENCHMARK=region-failover", "SIM_INSIDE=1", "GOMAXPROCS=1")
		out, err := cmd.CombinedOutput()
		if err != nil {
			b.Fatalf("%v\n%s", err, out)
		}
		var s, w time.Duration
		var n uint64
		_, line, _ := strings.Cut(string(out), "took ")
		if _, err := fmt.Sscan(line, (*int64)(&s), (*int64)(&w), &n); err != nil {
			b.Fatalf("%v\n%s", err, out)
		}
		simulated += s
		wall += w
		events += n
		if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
			peak = max(peak, maxResident(usage))
		}
	}
	b.ReportMetric(simulated.Seconds()/wall.Seconds(), "simulated/wall")
	b.ReportMetric(float64(events)/wall.Seconds(), "events/s")
	b.ReportMetric(float64(peak)/1e6, "peak-MB")
}

// maxResident is the most memory that a process had, in bytes.
func maxResident(u *syscall.Rusage) int64 {
	if runtime.GOOS == "darwin" {
		return int64(u.Maxrss)
	}
	return int64(u.Maxrss) << 10
}

// TestBenchmarkProgram is the process of its own.
func TestBenchmarkProgram(t *testing.T) {
	name := os.Getenv("SCENARIOS_BENCHMARK")
	if name == "" {
		return // only a part of a benchmark
	}
	s, err := Load(name)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	var stats sim.Stats
	sim.TestWith(t, sim.Options{Seed: 1, Start: s.Starts}, func(t *testing.T, w *sim.World) {
		r, err := Play(w, s, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if !r.Held() {
			t.Fatalf("expectations did not hold: %+v", r.Verdicts)
		}
		stats = w.Stats()
	})
	fmt.Println("took", int64(s.Lasts), int64(time.Since(began)), stats.Events+stats.Deliveries)
}
