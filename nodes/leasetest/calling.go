package leasetest

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/nodes"
)

// What it is to call wrongly, at once, or in vain.
func callingTests() []Test {
	return []Test{
		{"bad arguments", testArguments},
		{"an ended context", testContext},
		{"calls at once", testAtOnce},
		{"a lease of one's own making", testForged},
	}
}

func testArguments(t testing.TB, w World) {
	a := w.Process(t, "a")
	for _, test := range []struct {
		holder string
		term   time.Duration
	}{{"", term}, {"ana", 0}, {"ana", -1}} {
		_, err := a.Leases.Acquire(t.Context(), "leader", test.holder, test.term)
		require.Error(t, err)
		require.NotErrorIs(t, err, nodes.ErrLeaseHeld)
		require.NotErrorIs(t, err, nodes.ErrLeaseLost)
	}
	a.acquire(t, "leader", "ana")
}

func testContext(t testing.TB, w World) {
	ended, end := context.WithCancel(t.Context())
	end()
	a := w.Process(t, "a")
	_, err := a.Leases.Acquire(ended, "leader", "ana", term)
	require.ErrorIs(t, err, context.Canceled)
	l := a.acquire(t, "leader", "ana")
	_, err = a.Leases.Renew(ended, l)
	require.ErrorIs(t, err, context.Canceled)
	require.NotErrorIs(t, err, nodes.ErrLeaseLost)
	l = a.renew(t, l)
	require.ErrorIs(t, a.Leases.Release(ended, l), context.Canceled)
	a.lost(t, l)
}

func testAtOnce(t testing.TB, w World) {
	a := w.Process(t, "a")
	l := a.acquire(t, "leader", "ana")
	const calls = 8
	done := make(chan error, 2*calls)
	for range calls {
		go func() {
			_, err := a.Leases.Renew(t.Context(), l)
			done <- err
		}()
		go func() {
			_, err := a.Leases.Acquire(t.Context(), "other", "ana", term)
			done <- err
		}()
	}
	failed := 0
	for range 2 * calls {
		if err := <-done; err != nil {
			require.ErrorIs(t, err, nodes.ErrLeaseHeld)
			failed++
		}
	}
	require.Equal(t, calls-1, failed, "all renew, and one acquires")
	a.renew(t, l)
}

func testForged(t testing.TB, w World) {
	a, b := w.Process(t, "a"), w.Process(t, "b")
	l := a.acquire(t, "leader", "ana")
	b.lost(t, l) // a copy is no lease
	require.NoError(t, b.Leases.Release(t.Context(), l))
	forged := l
	forged.Epoch++
	a.lost(t, forged)
	forged = l
	forged.Holder = "bob"
	a.lost(t, forged)
	a.renew(t, l)
}
