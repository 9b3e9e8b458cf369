package sim

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A benchmark runs b.N operations in one world, in a process of its own that
// measures itself from outside the bubble.

var benchmarks = map[string]func(w *World, n int){
	"round trips": func(w *World, n int) {
		serve(w.NewMachine("server"), ":80", nil)
		c := &http.Client{Transport: &http.Transport{DialContext: w.NewMachine("client").DialContext}}
		time.Sleep(time.Second)
		for range n {
			if err := get(c, "http://server/100"); err != nil {
				panic(err)
			}
		}
	},
	"handshakes": func(w *World, n int) {
		config, pool := selfSigned("server")
		serve(w.NewMachine("server"), ":443", config)
		m := w.NewMachine("client")
		c := &http.Client{Transport: &http.Transport{DialContext: m.DialContext, DisableKeepAlives: true,
			TLSClientConfig: &tls.Config{RootCAs: pool}}}
		time.Sleep(time.Second)
		for range n {
			if err := get(c, "https://server/100"); err != nil {
				panic(err)
			}
		}
	},
	"timers": func(w *World, n int) {
		for range n {
			time.Sleep(time.Millisecond)
		}
	},
}

func BenchmarkRoundTrips(b *testing.B) { benchmark(b, "round trips", "req/s") }
func BenchmarkHandshakes(b *testing.B) { benchmark(b, "handshakes", "handshakes/s") }
func BenchmarkTimers(b *testing.B)     { benchmark(b, "timers", "timers/s") }

func benchmark(b *testing.B, name, unit string) {
	cmd := exec.Command(os.Args[0], "-test.run=^TestBenchmarkProgram$", "-test.v")
	cmd.Env = append(os.Environ(), "SIM_BENCHMARK="+name, "SIM_N="+strconv.Itoa(b.N))
	out, err := cmd.CombinedOutput()
	if err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	_, after, _ := strings.Cut(string(out), "took ")
	var wall time.Duration
	var deliveries int64
	if _, err := fmt.Sscan(after, (*int64)(&wall), &deliveries); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	b.ReportMetric(float64(wall)/float64(b.N), "ns/op")
	b.ReportMetric(float64(b.N)/wall.Seconds(), unit)
	b.ReportMetric(float64(deliveries)/wall.Seconds(), "deliveries/s")
}

// TestBenchmarkProgram is the process of its own.
func TestBenchmarkProgram(t *testing.T) {
	program := benchmarks[os.Getenv("SIM_BENCHMARK")]
	if program == nil {
		return // only a part of a benchmark
	}
	n, err := strconv.Atoi(os.Getenv("SIM_N"))
	if err != nil {
		t.Fatal(err)
	}
	dog := startWatchdog(0)
	defer dog.stop()
	began := time.Now()
	var result Result
	synctest.Test(t, func(t *testing.T) {
		result, err = inBubble(Options{Seed: 1}, dog, func(w *World) error {
			program(w, n)
			return nil
		})
	})
	if err != nil || len(result.Leaks) > 0 {
		t.Fatal(err, result.Leaks)
	}
	fmt.Println("took", int64(time.Since(began)), result.Stats.Deliveries)
}
