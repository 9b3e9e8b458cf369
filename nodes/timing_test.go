package nodes_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/nodes"
)

// clockwork is just enough of a Machine to wait on.
type clockwork struct {
	nodes.Machine
	host  nodes.Host
	start time.Time
}

func newClockwork(name string) clockwork {
	return clockwork{host: nodes.Host{Name: name, Proc: "test"}, start: time.Now()}
}

func (c clockwork) Host() nodes.Host       { return c.host }
func (c clockwork) Elapsed() time.Duration { return time.Since(c.start) }

// shiftOf measures a name's shift.
func shiftOf(t *testing.T, m nodes.Machine, name string) time.Duration {
	start := time.Now()
	require.NoError(t, nodes.Sleep(t.Context(), m, name, 0))
	return time.Since(start)
}

func TestShift(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newClockwork("alpha")
		// Pinned: another value would change every recorded trace.
		require.Equal(t, pinnedShift, shiftOf(t, m, "a"))
		require.Equal(t, pinnedShift, shiftOf(t, newClockwork("alpha"), "a"))

		proc := m
		proc.host.Proc = "test/2"
		joined := newClockwork("alp")
		joined.host.Proc = "hatest"
		seen := map[time.Duration]string{}
		add := func(m nodes.Machine, name string) {
			s := shiftOf(t, m, name)
			require.Positive(t, s)
			require.LessOrEqual(t, s, 2*time.Millisecond)
			require.Empty(t, seen[s], name)
			seen[s] = name
		}
		add(m, "a")
		add(m, "b")
		add(newClockwork("beta"), "a")
		add(proc, "a")
		add(joined, "a")
		for i := range 40 {
			add(m, fmt.Sprint("waiter ", i))
		}
	})
}

func TestSleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newClockwork("alpha")
		s := shiftOf(t, m, "a")
		start := time.Now()
		require.NoError(t, nodes.Sleep(t.Context(), m, "a", time.Second))
		require.Equal(t, time.Second+s, time.Since(start))

		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		start = time.Now()
		require.ErrorIs(t, nodes.Sleep(ctx, m, "a", time.Second), context.DeadlineExceeded)
		require.Equal(t, time.Millisecond, time.Since(start))
	})
}

func TestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newClockwork("alpha")
		s := shiftOf(t, m, "a")
		start := time.Now()
		ctx, cancel := nodes.Timeout(t.Context(), m, "a", time.Second)
		defer cancel()
		<-ctx.Done()
		require.ErrorIs(t, ctx.Err(), context.DeadlineExceeded)
		require.Equal(t, time.Second+s, time.Since(start))

		parent, cancelParent := context.WithCancel(t.Context())
		ctx, cancel = nodes.Timeout(parent, m, "a", time.Second)
		defer cancel()
		cancelParent()
		<-ctx.Done()
		require.ErrorIs(t, ctx.Err(), context.Canceled)
	})
}

func TestDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newClockwork("alpha")
		s := shiftOf(t, m, "a")
		require.Equal(t, time.Now().Add(time.Second+s), nodes.Deadline(m, "a", time.Second))
	})
}

func TestEvery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newClockwork("alpha")
		s := shiftOf(t, m, "a")
		ctx, cancel := context.WithCancel(t.Context())
		start := time.Now()
		var calls []time.Duration
		running := 0
		nodes.Every(ctx, m, "a", 10*time.Second, func(inner context.Context) {
			require.Equal(t, ctx, inner)
			running++
			require.Equal(t, 1, running, "calls never overlap")
			calls = append(calls, time.Since(start).Round(time.Second))
			require.NotZero(t, time.Since(start)%time.Second, "never on the grid")
			switch len(calls) {
			case 1:
				require.Equal(t, 10*time.Second+s, time.Since(start))
			case 2:
				time.Sleep(4 * time.Second) // within the period
			case 3:
				time.Sleep(35 * time.Second) // beyond it
			case 6:
				cancel()
			}
			running--
		})
		const sec = time.Second
		require.Equal(t, []time.Duration{10 * sec, 20 * sec, 30 * sec, 65 * sec, 75 * sec, 85 * sec}, calls)
	})
}

func TestEveryCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newClockwork("alpha")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		nodes.Every(ctx, m, "a", time.Hour, func(context.Context) { require.Fail(t, "called") })
		require.Equal(t, time.Second, time.Since(start))
	})
}

func TestFanOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newClockwork("alpha")
		for range 20 {
			type call struct {
				item int
				at   time.Duration
			}
			started := make(chan call, 100)
			items := make([]int, 100)
			for i := range items {
				items[i] = i
			}
			start := time.Now()
			nodes.FanOut(t.Context(), m, "a", items, func(_ context.Context, item int) {
				started <- call{item, time.Since(start)}
				time.Sleep(time.Second)
			})
			require.InDelta(t, time.Second, time.Since(start), float64(time.Millisecond), "at once, and all have returned")
			last := call{-1, 0}
			for range items {
				c := <-started
				require.Equal(t, last.item+1, c.item, "in the order of items")
				require.Greater(t, c.at, last.at, "each at an instant of its own")
				last = c
			}
		}
		nodes.FanOut(t.Context(), m, "a", nil, func(context.Context, int) { require.Fail(t, "called") })
	})
}

const pinnedShift = 532_633 * time.Nanosecond
