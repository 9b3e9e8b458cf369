package sim

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
)

// Environment variables of Test.
const (
	insideVar = "SIM_INSIDE" // 1: run in this process
	seedVar   = "SIM_SEED"   // the seed, 1 by default
)

// Test runs f in a new world, within the test t. Its t is of the bubble: it has
// no Run and no Parallel, and it must not start goroutines that outlive f.
//
// The test binary is executed again for it, so that no other test can leave
// anything behind; SIM_INSIDE=1 runs it in this process, as a debugger wants.
// SIM_SEED selects the seed. A goroutine that outlives the world fails the test.
func Test(t *testing.T, f func(t *testing.T, w *World)) {
	t.Helper()
	TestWith(t, Options{}, f)
}

// TestWith is [Test] with options. A seed of 0 means that of SIM_SEED.
func TestWith(t *testing.T, o Options, f func(t *testing.T, w *World)) {
	t.Helper()
	if os.Getenv(insideVar) == "" {
		testAgain(t)
		return
	}
	if o.Seed == 0 {
		o.Seed = 1
		if s := os.Getenv(seedVar); s != "" {
			seed, err := strconv.ParseUint(s, 10, 64)
			if err != nil {
				t.Fatalf("%s=%q is not a number", seedVar, s)
			}
			o.Seed = seed
		}
	}
	dog := startWatchdog(o.Watchdog)
	defer dog.stop()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(o, dog)
		// Registered first, so that it runs after what f registers, and also when
		// f fails.
		t.Cleanup(func() {
			result, err := w.finish()
			if err != nil {
				t.Error(err)
			}
			if len(result.Leaks) > 0 {
				// The bubble cannot end with these alive, so the process must.
				fmt.Fprintf(os.Stderr, "--- FAIL: %s: %d goroutines survived their machines:\n\n%s\n",
					t.Name(), len(result.Leaks), strings.Join(result.Leaks, "\n\n"))
				os.Exit(1)
			}
		})
		f(t, w)
	})
}

// testAgain runs only the test t, in a new process of the same binary.
func testAgain(t *testing.T) {
	t.Helper()
	var pattern []string
	for _, part := range strings.Split(t.Name(), "/") {
		pattern = append(pattern, "^"+regexp.QuoteMeta(part)+"$")
	}
	args := []string{"-test.run=" + strings.Join(pattern, "/"), "-test.count=1"}
	if testing.Verbose() {
		args = append(args, "-test.v")
	}
	// go test sets these on the binary that it starts.
	for _, name := range []string{"test.short", "test.timeout"} {
		if f := flag.Lookup(name); f != nil {
			args = append(args, "-"+name+"="+f.Value.String())
		}
	}
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), insideVar+"=1", "GORACE="+os.Getenv("GORACE")+" atexit_sleep_ms=0")
	out, err := cmd.CombinedOutput()
	text := strings.TrimSuffix(strings.TrimSpace(string(out)), "PASS")
	if err != nil {
		t.Fatalf("in a process of its own: %v\n%s", err, text)
	}
	if testing.Verbose() {
		t.Log(text)
	}
}
