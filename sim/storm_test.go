package sim_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/sim"
)

// Loss in runs, datagrams out of order and damaged, packets that are too long, and
// what is held back.

// datagrams sends a thousand of them under conditions, each a millisecond after
// the one before, and gives what arrived, and what the fault counted.
func datagrams(t *testing.T, w *sim.World, c sim.Conditions) (arrived []string, touched uint64) {
	a, b := w.NewMachine("a"), w.NewMachine("b")
	all := catch(t, b, 9)
	conn, err := a.DialContext(context.Background(), "udp", "b:9")
	require.NoError(t, err)
	fault := w.Link(a, b).Impair(c, time.Minute)
	for i := range 1000 {
		write(t, conn, fmt.Sprintf("%04d", i))
		time.Sleep(time.Millisecond)
	}
	time.Sleep(time.Second)
	return collect(all), fault.Touched()
}

func TestBurstsLoseInRuns(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		arrived, touched := datagrams(t, w, sim.Conditions{Loss: 300_000, Burst: 20 * time.Millisecond})
		require.Less(t, len(arrived), 900)
		require.Greater(t, len(arrived), 500)
		require.EqualValues(t, 1000-len(arrived), touched, "only what was lost counts")
		gaps, last := 0, -1
		for _, text := range arrived {
			n, err := strconv.Atoi(text)
			require.NoError(t, err)
			if lost := n - last - 1; lost > 0 {
				gaps++
				require.Contains(t, []int{0, 1, 19}, lost%20, "whole runs")
			}
			last = n
		}
		require.Less(t, gaps, 20)
		require.NotZero(t, gaps)
	})
}

func TestBurstDelaysStreams(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		a, b := w.NewMachine("a"), w.NewMachine("b")
		client, server := join(t, a, b)
		all := listen(w, server)
		w.Link(a, b).Impair(sim.Conditions{Loss: 1_000_000, Burst: 10 * time.Second}, 5*time.Second)
		start := w.Elapsed()
		write(t, client, "x")
		time.Sleep(time.Minute)
		require.Greater(t, (<-all).at, start+5*time.Second)
	})
}

func TestReorderedDatagrams(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		arrived, touched := datagrams(t, w, sim.Conditions{Reorder: 100_000})
		require.Len(t, arrived, 1000, "none is lost")
		late, newest := 0, ""
		for _, text := range arrived {
			if text < newest {
				late++
			}
			newest = max(newest, text)
		}
		require.Greater(t, late, 50)
		require.Less(t, late, 150)
		require.EqualValues(t, late, touched)
	})
}

func TestCorruptDatagramsDifferInOneByte(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		arrived, touched := datagrams(t, w, sim.Conditions{Corrupt: 100_000})
		require.Len(t, arrived, 1000)
		damaged := 0
		for i, text := range arrived {
			differs := 0
			for k, c := range []byte(fmt.Sprintf("%04d", i)) {
				if text[k] != c {
					differs++
				}
			}
			require.LessOrEqual(t, differs, 1)
			damaged += differs
		}
		require.Greater(t, damaged, 50)
		require.Less(t, damaged, 150)
		require.EqualValues(t, damaged, touched)
	})
}

// A stream has checksums, so what is corrupt comes later, and whole.
func TestCorruptionDelaysStreams(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		a, b := w.NewMachine("a"), w.NewMachine("b")
		client, server := join(t, a, b)
		all := listen(w, server)
		fault := w.Link(a, b).Impair(sim.Conditions{Corrupt: 300_000}, time.Hour)
		var want strings.Builder
		for i := range 50 {
			write(t, client, fmt.Sprint(i, " "))
			fmt.Fprint(&want, i, " ")
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(time.Minute)
		require.Equal(t, want.String(), strings.Join(collect(all), ""))
		require.NotZero(t, fault.Touched())
	})
}

// Handshakes and short messages go through; what fills a packet hangs, with all
// that comes behind it, and goes on when the way is wide again.
func TestTooLongPacketsHang(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		a, b := w.NewMachine("a"), w.NewMachine("b")
		fault := w.Link(a, b).Impair(sim.Conditions{MTU: 1400}, time.Minute)
		client, server := join(t, a, b)
		all := listen(w, server)
		short, long := strings.Repeat("s", 1360), strings.Repeat("l", 1361)
		start := w.Elapsed()
		write(t, client, short)
		soonAfter(t, start, (<-all).at)
		require.Zero(t, fault.Touched())

		// Another fault that comes and goes changes nothing.
		write(t, client, long)
		time.Sleep(time.Second)
		write(t, client, "behind")
		w.Link(a, b).Impair(sim.Conditions{Delay: time.Millisecond}, time.Second)
		time.Sleep(20 * time.Second)
		require.Empty(t, collect(all))
		require.EqualValues(t, 1, fault.Touched())

		// The other direction has room for what it says.
		back := listen(w, client)
		write(t, server, "short answer")
		require.Equal(t, "short answer", (<-back).text)

		time.Sleep(3 * time.Minute)
		require.Equal(t, long+"behind", strings.Join(collect(all), ""))
	})
}

func TestTooLongPacketsEndStreams(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		a, b := w.NewMachine("a"), w.NewMachine("b")
		client, _ := join(t, a, b)
		w.Link(a, b).Impair(sim.Conditions{MTU: 1400}, time.Hour)
		start := w.Elapsed()
		write(t, client, strings.Repeat("x", 64<<10))
		_, err := client.Read(make([]byte, 1))
		require.ErrorIs(t, err, syscall.ETIMEDOUT)
		require.Equal(t, 924600*time.Millisecond, w.Elapsed()-start, "the kernel's patience")
	})
}

func TestTooLongDatagramsAreLost(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		a, b := w.NewMachine("a"), w.NewMachine("b")
		all := catch(t, b, 9)
		conn, err := a.DialContext(context.Background(), "udp", "b:9")
		require.NoError(t, err)
		w.Link(a, b).Impair(sim.Conditions{MTU: 1400}, time.Minute)
		write(t, conn, strings.Repeat("x", 1372))
		write(t, conn, strings.Repeat("x", 1373))
		write(t, conn, strings.Repeat("x", 1900)) // in fragments
		time.Sleep(time.Second)
		arrived := collect(all)
		require.Len(t, arrived, 1)
		require.Len(t, arrived[0], 1372)
	})
}

// What is held back arrives at the end, at once and in order: bytes, datagrams and
// handshakes.
func TestHeldAndReleased(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		a, b := w.NewMachine("a"), w.NewMachine("b")
		client, server := join(t, a, b)
		stream, packets := listen(w, server), catch(t, b, 9)
		u, err := a.DialContext(context.Background(), "udp", "b:9")
		require.NoError(t, err)
		l, err := b.Listen("tcp", ":80")
		require.NoError(t, err)
		fault := w.Link(a, b).Impair(sim.Conditions{Hold: true}, 10*time.Second)
		end := w.Elapsed() + 10*time.Second
		dialled := make(chan time.Duration, 1)
		go func() {
			if _, err := a.DialContext(context.Background(), "tcp", "b:80"); err == nil {
				dialled <- w.Elapsed()
			}
		}()
		for i := range 5 {
			write(t, client, fmt.Sprint(i))
			write(t, u, fmt.Sprint(i))
			time.Sleep(time.Second)
		}
		require.Empty(t, collect(stream))
		require.Empty(t, collect(packets))
		_, err = l.Accept()
		require.NoError(t, err)
		soonAfter(t, end, w.Elapsed())
		soonAfter(t, end, <-dialled)
		time.Sleep(time.Millisecond)
		for _, c := range []<-chan heard{stream, packets} {
			for i := range 5 {
				h := <-c
				require.Equal(t, fmt.Sprint(i), h.text)
				soonAfter(t, end, h.at)
			}
		}
		require.EqualValues(t, 7, fault.Touched(), "the handshake, the datagrams, and the first bytes")
	})
}

// While a real cut lies on the same way, what is sent is lost as ever.
func TestCutLosesWhatWouldBeHeld(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		a, b := w.NewMachine("a"), w.NewMachine("b")
		packets := catch(t, b, 9)
		u, err := a.DialContext(context.Background(), "udp", "b:9")
		require.NoError(t, err)
		w.Link(a, b).Impair(sim.Conditions{Hold: true}, 10*time.Second)
		write(t, u, "held")
		time.Sleep(time.Second)
		w.Link(a, b).Cut(time.Second)
		write(t, u, "lost")
		time.Sleep(20 * time.Second)
		require.Empty(t, collect(packets), "what waited is lost with the link")
	})
}

func TestHeldStreamsEndInTime(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		a, b := w.NewMachine("a"), w.NewMachine("b")
		client, _ := join(t, a, b)
		start := w.Elapsed()
		w.Link(a, b).Impair(sim.Conditions{Hold: true}, time.Hour)
		_, err := client.Read(make([]byte, 1))
		require.ErrorIs(t, err, syscall.ETIMEDOUT)
		require.InDelta(t, 150, (w.Elapsed() - start).Seconds(), 1, "nothing answers the keepalive")
	})
}
