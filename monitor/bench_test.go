package monitor

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/monitor/decide"
	"github.com/espra/protoplex/monitor/observe"
	"github.com/espra/protoplex/monitor/probe"
	"github.com/espra/protoplex/monitor/record"
	"github.com/espra/protoplex/nodes"
)

const benchTargets = 500

// siteVariable has the benchmark's binary be the web server that is watched, so
// that its cost is another process's.
const siteVariable = "PROTOPLEX_BENCH_SITE"

func TestMain(m *testing.M) {
	if os.Getenv(siteVariable) == "" {
		os.Exit(m.Run())
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(l.Addr())
	_ = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok\n") }))
}

// site starts that server and gives its address.
func site(b *testing.B) string {
	program, err := os.Executable()
	require.NoError(b, err)
	server := exec.Command(program)
	server.Env = append(os.Environ(), siteVariable+"=1")
	out, err := server.StdoutPipe()
	require.NoError(b, err)
	require.NoError(b, server.Start())
	b.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(b, err)
	return strings.TrimSpace(line)
}

// cpu is what this process has used so far.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkExchange is one round, and its ten ticks, of one of three vantages that
// watch 500 targets and tell one another of them, while all is well and while all
// is down: what it costs every 10 s besides the probes. B/message is the length of
// one observation.
func BenchmarkExchange(b *testing.B) {
	for _, name := range []string{"up", "down"} {
		b.Run(name, func(b *testing.B) {
			w := newWorld(b, func(c *Config) { watch(c, benchTargets-len(c.Targets)) })
			first := w.vantages[0]
			w.run(40 * time.Second)
			for _, t := range first.cfg.Targets {
				w.down[t.Name] = name == "down"
			}
			w.run(time.Minute)
			start := cpu(b)
			for b.Loop() {
				w.run(10 * time.Second)
			}
			perRound := (cpu(b) - start) / time.Duration(b.N*len(w.vantages))
			body, _, err := first.seal(first.observation())
			require.NoError(b, err)
			require.False(b, first.cropped)
			b.ReportMetric((perRound * 6).Seconds(), "cpu-s/min")
			b.ReportMetric(float64(len(body)), "B/message")
		})
	}
}

// BenchmarkVantage is one round of a vantage that watches 500 web sites over
// the operating system's network, decides, and records: what it costs every 10
// s. Memory is what is kept between rounds, with 90 days of history.
func BenchmarkVantage(b *testing.B) {
	address := site(b)
	m, err := nodes.NewOS(nodes.OSOptions{
		Host: nodes.Host{Name: "vantage", Addr: netip.MustParseAddr("127.0.0.1"), Proc: "bench"}, Root: b.TempDir(), Log: slog.New(slog.DiscardHandler),
	})
	require.NoError(b, err)
	defer m.Close()
	before := heap()
	c := Config{Name: "fremont", Record: "/record", Probe: 10 * time.Second, Limit: 4 * time.Second, OpenAfter: 3, CloseAfter: 3, BlindAfter: time.Minute,
		Controls: []Control{{Name: "control", URL: "http://" + address}}}
	var names []string
	for i := range benchTargets {
		names = append(names, fmt.Sprintf("target-%d", i))
		c.Targets = append(c.Targets, Target{Target: probe.Target{Name: names[i], Kind: "http", URL: "http://" + address}})
	}
	v := &vantage{
		m: m, log: m.Log(), cfg: c, params: c.params(), unsaved: make(chan struct{}, 1), board: observe.NewBoard(nil),
		verdicts: decide.State{Subjects: map[string]decide.Subject{}}, incidents: map[string]*Incident{}, alive: &Incident{},
		recorder: record.Open(m, c.Record, names),
	}
	require.NoError(b, v.makeProbes())
	fill(v.recorder, names, m.Now())
	round := func() {
		v.round(b.Context())
		require.NoError(b, v.board.Put(v.observation(), m.Elapsed()))
		v.decide(context.Background())
		v.recorder.Flush()
	}
	round()
	require.Len(b, v.seen.results, benchTargets)
	require.True(b, v.seen.results[names[0]].OK)
	kept := heap() - before
	start := cpu(b)
	for b.Loop() {
		round()
	}
	perRound := (cpu(b) - start) / time.Duration(b.N)
	v.recorder.Close()
	b.ReportMetric((perRound * 6).Seconds(), "cpu-s/min")
	b.ReportMetric(float64(perRound.Microseconds())/benchTargets, "cpu-us/probe")
	b.ReportMetric(float64(kept)/benchTargets, "B/target")
}

// fill gives each target a whole history.
func fill(r *record.Recorder, names []string, now time.Time) {
	for ago := 90 * 24 * time.Hour; ago > 0; ago -= time.Hour {
		step := time.Hour
		if ago <= 24*time.Hour {
			step = time.Minute
		}
		for at := ago; at > ago-time.Hour; at -= step {
			for _, name := range names {
				r.Add(record.Result{At: now.Add(-at), Target: name})
			}
			r.Flush()
		}
	}
}
