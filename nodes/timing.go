package nodes

import (
	"context"
	"hash/fnv"
	"sync"
	"time"
)

// Two timers of one world that end at the same nanosecond fire in no set order,
// and that order can decide who wins a race. Roles therefore wait only through
// the helpers of this file, which shift every deadline by some nanoseconds that
// depend on nothing but the name of the waiter. In production the shift is too
// small to notice.

// spread is the range of that shift: wide enough that hundreds of waiters
// rarely meet, and far below anything that a person or a protocol can see.
const spread = 1 << 20 // nanoseconds, about a millisecond

func shift(m Machine, name string) time.Duration {
	h := fnv.New64a()
	host := m.Host()
	for _, s := range [...]string{host.Name, host.Proc, name} {
		h.Write([]byte(s))
		h.Write([]byte{0})
	}
	x := h.Sum64()
	x ^= x >> 32
	return time.Duration(1 + x%spread)
}

// Every calls f once a period until ctx ends, first after one period. A call
// that takes longer than the period delays the next; calls never overlap and
// are never made up for.
func Every(ctx context.Context, m Machine, name string, period time.Duration, f func(context.Context)) {
	t := time.NewTimer(period + shift(m, name))
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if ctx.Err() != nil {
			return
		}
		start := m.Elapsed()
		f(ctx)
		t.Reset(max(period-(m.Elapsed()-start), 0) + 1)
	}
}

// Timeout is context.WithTimeout with the name's shift added to d.
func Timeout(ctx context.Context, m Machine, name string, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, d+shift(m, name))
}

// Sleep waits for d plus the name's shift, or until ctx ends and then returns
// its error.
func Sleep(ctx context.Context, m Machine, name string, d time.Duration) error {
	t := time.NewTimer(d + shift(m, name))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// Deadline is the instant d plus the name's shift from now, by the clock of
// package time. It is for the deadlines of connections and for nothing else:
// what a process may read and compare are Now and Elapsed.
func Deadline(m Machine, name string, d time.Duration) time.Time {
	return time.Now().Add(d + shift(m, name))
}

// FanOut calls f for all items at once and returns when all have returned. Each
// call starts a few nanoseconds after the last, in the order of items, so that
// what the calls do first has one order too.
func FanOut[T any](ctx context.Context, m Machine, name string, items []T, f func(context.Context, T)) {
	base := shift(m, name) % 1024
	var wg sync.WaitGroup
	for i, item := range items {
		wg.Go(func() {
			t := time.NewTimer(base + time.Duration(i+1)*7)
			defer t.Stop()
			<-t.C
			f(ctx, item)
		})
	}
	wg.Wait()
}
