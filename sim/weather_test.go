package sim_test

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/sim"
)

// Loss, duplication, delay and bandwidth.

func collect(all <-chan heard) []string {
	var texts []string
	for {
		select {
		case h := <-all:
			texts = append(texts, h.text)
		default:
			return texts
		}
	}
}

func TestLossDelaysStreams(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		a, b := w.NewMachine("a"), w.NewMachine("b")
		client, server := join(t, a, b)
		all := listen(w, server)
		loss := w.Link(a, b).Impair(sim.Conditions{Loss: 300_000}, time.Hour)
		var want strings.Builder
		for i := range 100 {
			word := fmt.Sprintf("%d ", i)
			write(t, client, word)
			want.WriteString(word)
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(time.Minute)
		require.Equal(t, want.String(), strings.Join(collect(all), ""))
		require.EqualValues(t, 100, loss.Touched())
	})
}

func TestLossIsOfSomeDatagrams(t *testing.T) {
	for _, tt := range []struct {
		c           sim.Conditions
		least, most int
	}{
		{sim.Conditions{Loss: 300_000}, 600, 800},
		{sim.Conditions{Loss: 1_000_000}, 0, 0},
		{sim.Conditions{Duplicate: 1_000_000}, 2000, 2000},
		{sim.Conditions{Duplicate: 300_000}, 1200, 1400},
		{sim.Conditions{Cut: true}, 0, 0},
		{sim.Conditions{Delay: time.Second, Jitter: time.Second}, 1000, 1000},
	} {
		t.Run(fmt.Sprintf("%+v", tt.c), func(t *testing.T) {
			sim.Test(t, func(t *testing.T, w *sim.World) {
				a, b := w.NewMachine("a"), w.NewMachine("b")
				all := catch(t, b, 9)
				c, err := a.DialContext(context.Background(), "udp", "b:9")
				require.NoError(t, err)
				w.Link(a, b).Impair(tt.c, time.Minute)
				for i := range 1000 {
					write(t, c, fmt.Sprint(i))
					time.Sleep(time.Millisecond)
				}
				time.Sleep(10 * time.Second)
				texts := collect(all)
				require.GreaterOrEqual(t, len(texts), tt.least)
				require.LessOrEqual(t, len(texts), tt.most)
			})
		})
	}
}

func TestJitterReordersDatagramsAndNotStreams(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		a, b := w.NewMachine("a"), w.NewMachine("b")
		datagrams := catch(t, b, 9)
		c, err := a.DialContext(context.Background(), "udp", "b:9")
		require.NoError(t, err)
		client, server := join(t, a, b)
		stream := listen(w, server)
		w.Link(a, b).Impair(sim.Conditions{Jitter: 50 * time.Millisecond}, time.Minute)
		var sent []string
		for i := range 50 {
			text := fmt.Sprintf("%02d", i)
			write(t, c, text)
			write(t, client, text)
			sent = append(sent, text)
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Second)
		got := collect(datagrams)
		require.ElementsMatch(t, sent, got)
		require.NotEqual(t, sent, got)
		require.Equal(t, sent, collect(stream))
	})
}

func TestBandwidthQueues(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		a, b := w.NewMachine("a"), w.NewMachine("b")
		client, server := join(t, a, b)
		w.Link(a, b).Impair(sim.Conditions{Bandwidth: 1 << 20}, time.Hour)
		start := w.Elapsed()
		go func() { _, _ = client.Write(make([]byte, 4<<20)) }()
		_, err := io.ReadFull(server, make([]byte, 4<<20))
		require.NoError(t, err)
		took := w.Elapsed() - start
		require.Greater(t, took, 4*time.Second)
		require.Less(t, took, 4100*time.Millisecond)

		datagrams := catch(t, b, 9)
		u, err := a.DialContext(context.Background(), "udp", "b:9")
		require.NoError(t, err)
		start = w.Elapsed()
		for range 1024 {
			write(t, u, strings.Repeat("x", 1<<10-28)) // with its headers, a KiB
		}
		var last heard
		for range 1024 {
			last = <-datagrams
		}
		require.InDelta(t, 1, (last.at - start).Seconds(), 0.001)
	})
}

// A retransmission that is still to come takes no place on a limited link
// before others that are sent now.
func TestRetransmissionDoesNotBlockALimitedLink(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		a, b := w.NewMachine("a"), w.NewMachine("b")
		first, _ := join(t, a, b)
		second, server := join(t, a, b)
		all := listen(w, server)
		w.Link(a, b).Impair(sim.Conditions{Bandwidth: 1 << 20}, time.Hour)
		w.Link(a, b).Cut(10 * time.Second)
		write(t, first, "sent again after 12.6 s")
		time.Sleep(11 * time.Second)
		start := w.Elapsed()
		write(t, second, "now")
		soonAfter(t, start, (<-all).at)
	})
}
