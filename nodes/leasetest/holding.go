package leasetest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What it is to hold a lease while time passes.
func holdingTests() []Test {
	return []Test{
		{"one holder", testOneHolder},
		{"kept by renewing", testKept},
		{"taken over in time, never early", testTakenOver},
		{"rarely watched", testRarelyWatched},
		{"names are apart", testNames},
	}
}

func testOneHolder(t testing.TB, w World) {
	a, b := w.Process(t, "a"), w.Process(t, "b")
	a.acquire(t, "leader", "ana")
	b.refused(t, "leader", "bob")
	b.refused(t, "leader", "ana") // a name proves nothing
	a.refused(t, "leader", "ana") // nor does it hold twice
}

func testKept(t testing.TB, w World) {
	a, b := w.Process(t, "a"), w.Process(t, "b")
	l := a.acquire(t, "leader", "ana")
	for range 20 {
		w.Pass(term / 3)
		l = a.renew(t, l)
		b.refused(t, "leader", "bob")
	}
}

func testTakenOver(t testing.TB, w World) {
	a, b := w.Process(t, "a"), w.Process(t, "b")
	l := a.acquire(t, "leader", "ana")
	const poll = term / 20
	for a.Elapsed() < l.Until {
		b.refused(t, "leader", "bob")
		require.Less(t, a.Elapsed(), l.Until+poll)
		w.Pass(poll)
	}
	for {
		next, err := b.Leases.Acquire(t.Context(), "leader", "bob", term)
		if err == nil {
			require.Greater(t, next.Epoch, l.Epoch)
			break
		}
		require.Less(t, a.Elapsed(), l.Until+term/2, "still refused long after the end")
		w.Pass(poll)
	}
	a.lost(t, l)
}

// Seeing a lease for the first time starts the wait, however old it is; and a
// renewal that nobody was looking for starts it again.
func testRarelyWatched(t testing.TB, w World) {
	a, b := w.Process(t, "a"), w.Process(t, "b")
	l := a.acquire(t, "leader", "ana")
	for range 3 {
		b.refused(t, "leader", "bob")
		w.Pass(term * 3 / 4)
		l = a.renew(t, l)
		w.Pass(term / 2)
		b.refused(t, "leader", "bob") // a term since it looked, but not unchanged
		l = a.renew(t, l)
	}
	w.Pass(2 * term)
	b.refused(t, "leader", "bob") // it cannot know how long ago the last renewal was
	w.Pass(term + time.Second)
	require.Greater(t, b.acquire(t, "leader", "bob").Epoch, l.Epoch)
}

func testNames(t testing.TB, w World) {
	a, b := w.Process(t, "a"), w.Process(t, "b")
	l := a.acquire(t, "cell/one", "ana")
	b.acquire(t, "cell/two", "bob")
	b.acquire(t, "cell/one2", "bob")
	b.refused(t, "cell/one", "bob")
	require.NoError(t, a.Leases.Release(t.Context(), l))
	a.refused(t, "cell/two", "ana")
	b.acquire(t, "cell/one", "bob")
}
