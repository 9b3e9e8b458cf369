package sim

import (
	"context"
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The two-phase step, as a trace shows it.

// oneInstant writes three times in one instant and twice in another, and then
// dials from several goroutines at once.
func oneInstant(w *World) {
	server, client := w.NewMachine("server"), w.NewMachine("client")
	l, err := server.Listen("tcp", ":7")
	if err != nil {
		panic(err)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(io.Discard, c) }()
		}
	}()
	dial := func() io.Writer {
		c, err := client.DialContext(context.Background(), "tcp", "server:7")
		if err != nil {
			panic(err)
		}
		return c
	}
	c := dial()
	for _, text := range []string{"a", "bc", "def", "", "gh", "ij"} {
		if text == "" {
			time.Sleep(1)
		}
		if _, err := io.WriteString(c, text); err != nil {
			panic(err)
		}
	}
	time.Sleep(time.Second)
	var wg sync.WaitGroup
	for i := range 5 {
		wg.Go(func() {
			if _, err := dial().Write(make([]byte, 10*(5-i))); err != nil {
				panic(err)
			}
		})
	}
	wg.Wait()
	time.Sleep(time.Second)
}

func TestWritesOfOneInstantAreOneSegment(t *testing.T) {
	trace := traceOf(t, "one instant")
	require.Equal(t, []string{
		`"client>server:7#0","to":"s","n":6`,
		`"client>server:7#0","to":"s","n":4`,
	}, segments(trace)[:2])
}

// Connections that were dialled in one instant get their numbers by what they
// first send, whichever goroutine was first.
func TestOrdinalsAreGivenWhenAllIsQuiet(t *testing.T) {
	trace := traceOf(t, "one instant")
	var want []string
	for i := 1; i <= 5; i++ {
		want = append(want, fmt.Sprintf(`"client>server:7#%d","to":"s","n":%d`, i, 10*i))
	}
	require.ElementsMatch(t, want, segments(trace)[2:])
}

func segments(trace string) []string {
	var all []string
	for _, m := range regexp.MustCompile(`"seg":(.*)}`).FindAllStringSubmatch(trace, -1) {
		all = append(all, m[1])
	}
	return all
}

// What TLS makes of plaintext is random, so its sizes stay out of the trace.
func TestSizesAreOfPlaintextOnly(t *testing.T) {
	for program, want := range map[string]bool{"http over tls": false, "goroutines, one transport": true} {
		all := segments(traceOf(t, program))
		require.GreaterOrEqual(t, len(all), 40)
		for _, s := range all {
			require.Equal(t, want, strings.Contains(s, `"n":`), s)
		}
	}
}

// A run that ends early has a prefix of the whole run's trace.
func TestUntilGivesAPrefix(t *testing.T) {
	whole := traceOf(t, "faults")
	last := 0
	for _, until := range []string{"1.5s", "4.5s", "10s", "27.123456789s", "40s", "59s"} {
		part := traceOf(t, "faults", "SIM_UNTIL="+until)
		require.True(t, strings.HasPrefix(whole, part), until)
		require.GreaterOrEqual(t, len(part), last)
		last = len(part)
	}
	require.Less(t, last, len(whole))
}

// neighbours talk over a bad link.
func neighbours(w *World) {
	a, b := w.NewMachine("a", In("us", "x")), w.NewMachine("b", In("eu", "x"))
	serve(b, ":80", nil)
	w.Link(a, b).Impair(Conditions{Loss: 50_000, Jitter: 20 * time.Millisecond, Bandwidth: 1 << 20}, time.Hour)
	client(w, a, 50)
}

// client gets pages from b, one every 100 ms.
func client(w *World, m *Machine, pages int) {
	p := m.Start("client", func(p *Process) error {
		c, err := p.DialContext(p.Context(), "tcp", "b:80")
		if err != nil {
			return err
		}
		for n := range pages {
			start := w.Elapsed()
			fmt.Fprintf(c, "GET /%d HTTP/1.1\r\nHost: b\r\n\r\n", n)
			if _, err := c.Read(make([]byte, 1000)); err != nil {
				return err
			}
			p.Emit("got", Field{"from", c.LocalAddr().String()}, Field{"took", (w.Elapsed() - start).String()})
			time.Sleep(100 * time.Millisecond)
		}
		return nil
	})
	_ = p.Wait()
}

// moreNeighbours adds machines and faults that do not concern the two.
func moreNeighbours(w *World) {
	for _, name := range []string{"0", "aa", "z"} {
		m := w.NewMachine(name, In("us", "x"))
		other := w.NewMachine(name+"other", In("eu", "y"))
		w.Link(m, other).Impair(Conditions{Loss: 500_000, Jitter: time.Second}, time.Minute)
		w.At(time.Second, func() { w.Link(m, other).Cut(time.Second) })
		if _, err := other.ListenPacket("udp", ":9"); err != nil {
			panic(err)
		}
		m.Start("noise", func(p *Process) error {
			c, err := p.DialContext(p.Context(), "udp", other.Name()+":9")
			for err == nil {
				_, err = c.Write([]byte(m.Name()))
				time.Sleep(time.Duration(1+p.Rand("gap", uint64(w.Elapsed()))%10) * time.Millisecond)
			}
			return err
		})
		w.At(3*time.Second, other.Pause)
	}
	neighbours(w)
}

// A machine or a fault more changes nothing between machines that it does not
// touch: not a nanosecond.
func TestAddingDoesNotReshuffle(t *testing.T) {
	alone, among := traceOf(t, "two neighbours"), traceOf(t, "two neighbours, and more")
	theirs := regexp.MustCompile(`"(a>b:|b>a:)|"at":"[ab]/`)
	var kept []string
	for _, line := range strings.Split(among, "\n") {
		if theirs.MatchString(line) {
			kept = append(kept, line)
		}
	}
	require.Greater(t, strings.Count(among, "\n"), 2*len(kept))
	require.Greater(t, len(kept), 150)
	require.Equal(t, strings.TrimSpace(alone), strings.Join(kept, "\n"))
}
