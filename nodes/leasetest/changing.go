package leasetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/nodes"
)

// What it is for a lease to change hands.
func changingTests() []Test {
	return []Test{
		{"released at once", testReleased},
		{"a release ends only its own", testReleaseLate},
		{"running out is final", testRanOut},
		{"the same holder again", testAgain},
		{"a crashed holder waits like anybody", testCrashed},
		{"epochs grow through all", testEpochs},
		{"a race has one winner", testRace},
	}
}

func testReleased(t testing.TB, w World) {
	a, b := w.Process(t, "a"), w.Process(t, "b")
	l := a.acquire(t, "leader", "ana")
	b.refused(t, "leader", "bob")
	l = a.renew(t, l)
	require.NoError(t, a.Leases.Release(t.Context(), l))
	a.lost(t, l)
	require.Greater(t, b.acquire(t, "leader", "bob").Epoch, l.Epoch)
}

func testReleaseLate(t testing.TB, w World) {
	a, b := w.Process(t, "a"), w.Process(t, "b")
	old := a.acquire(t, "leader", "ana")
	require.NoError(t, a.Leases.Release(t.Context(), old))
	require.NoError(t, a.Leases.Release(t.Context(), old), "twice")
	l := b.acquire(t, "leader", "bob")
	require.NoError(t, a.Leases.Release(t.Context(), old))
	require.NoError(t, b.Leases.Release(t.Context(), old))
	a.refused(t, "leader", "ana")
	b.renew(t, l)
}

func testRanOut(t testing.TB, w World) {
	a := w.Process(t, "a")
	l := a.acquire(t, "leader", "ana")
	w.Pass(term + time.Second)
	a.lost(t, l)
	a.lost(t, l)
	next := a.acquire(t, "leader", "ana")
	require.Greater(t, next.Epoch, l.Epoch)
	a.lost(t, l)
	a.renew(t, next)
}

func testAgain(t testing.TB, w World) {
	a, b := w.Process(t, "a"), w.Process(t, "b")
	first := a.acquire(t, "leader", "ana")
	require.NoError(t, a.Leases.Release(t.Context(), first))
	second := b.acquire(t, "leader", "bob")
	require.NoError(t, b.Leases.Release(t.Context(), second))
	third := a.acquire(t, "leader", "ana")
	a.lost(t, first)
	require.NoError(t, a.Leases.Release(t.Context(), first))
	a.renew(t, third)
}

func testCrashed(t testing.TB, w World) {
	old := w.Process(t, "a").acquire(t, "leader", "ana")
	a := w.Process(t, "a")
	a.refused(t, "leader", "ana") // the one before may still be running
	a.lost(t, old)                // and what it held is not ours
	w.Pass(term + time.Second)
	require.Greater(t, a.acquire(t, "leader", "ana").Epoch, old.Epoch)
}

func testEpochs(t testing.TB, w World) {
	var top uint64
	grows := func(l nodes.Lease) nodes.Lease {
		require.Greater(t, l.Epoch, top)
		top = l.Epoch
		return l
	}
	for n := range 4 {
		name := fmt.Sprint("p", n)
		p := w.Process(t, name)
		l := grows(p.acquire(t, "leader", name))
		require.NoError(t, p.Leases.Release(t.Context(), l))
		l = grows(p.acquire(t, "leader", name))
		w.Pass(term + time.Second)
		l = grows(p.acquire(t, "leader", name))
		require.NoError(t, p.Leases.Release(t.Context(), p.renew(t, l)))
	}
}

func testRace(t testing.TB, w World) {
	const runners = 8
	for round := range 3 {
		name := fmt.Sprint("race", round)
		type result struct {
			p   Process
			l   nodes.Lease
			err error
		}
		results := make(chan result, runners)
		for n := range runners {
			p := w.Process(t, fmt.Sprint("runner", n))
			go func() {
				l, err := p.Leases.Acquire(t.Context(), name, fmt.Sprint("holder", n), term)
				results <- result{p, l, err}
			}()
		}
		won := 0
		for range runners {
			switch r := <-results; {
			case r.err == nil:
				won++
				r.p.renew(t, r.l)
			default:
				require.ErrorIs(t, r.err, nodes.ErrLeaseHeld)
			}
		}
		require.Equal(t, 1, won)
	}
}
