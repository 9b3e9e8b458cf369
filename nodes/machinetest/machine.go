package machinetest

import (
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func machineTests() []Test {
	return []Test{
		{"host says which machine it is", testHost},
		{"now has no monotonic part", testNow},
		{"elapsed never goes back", testElapsed},
		{"rand differs by name and number", testRand},
		{"log takes lines of all kinds", testLog},
		{"a process without a parent has no inheritance", testNoParent},
	}
}

func testHost(t testing.TB, w World) {
	a, b := w.Machine(t, "alpha", nil), w.Machine(t, "beta", nil)
	require.Equal(t, "alpha", a.Host().Name)
	require.Equal(t, "beta", b.Host().Name)
	require.True(t, a.Host().Addr.IsValid())
	require.NotEqual(t, a.Host().Addr, b.Host().Addr)
	require.Equal(t, a.Host(), a.Host())
}

func testNow(t testing.TB, w World) {
	m := w.Machine(t, "alpha", nil)
	now := m.Now()
	// Round(0) strips the monotonic part; where there is none it changes
	// nothing, down to the representation.
	require.True(t, now == now.Round(0), "has a monotonic part: %v", now) //nolint:staticcheck // the representation matters
	require.True(t, now.Year() >= 2000)
}

func testElapsed(t testing.TB, w World) {
	m := w.Machine(t, "alpha", nil)
	before := m.Elapsed()
	for range 100 {
		next := m.Elapsed()
		require.GreaterOrEqual(t, next, before)
		before = next
	}
	timer := time.NewTimer(10 * time.Millisecond)
	<-timer.C
	require.Greater(t, m.Elapsed(), before)
}

func testRand(t testing.TB, w World) {
	a, b := w.Machine(t, "alpha", nil), w.Machine(t, "beta", nil)
	seen := map[uint64]bool{}
	for n := range uint64(100) {
		seen[a.Rand("one", n)] = true
		seen[a.Rand("two", n)] = true
		seen[b.Rand("one", n)] = true
	}
	require.Len(t, seen, 300)
}

func testLog(t testing.TB, w World) {
	m := w.Machine(t, "alpha", nil)
	m.Log().Info("hello", "text", "world", "number", 7, "address", netip.MustParseAddr("192.0.2.1"))
	m.Log().With("part", "one").WithGroup("group").Debug("hidden or not", slog.Group("inner", "a", 1))
}

func testNoParent(t testing.TB, w World) {
	m := w.Machine(t, "alpha", nil)
	require.Empty(t, m.Inherited())
	require.True(t, m.Control() == nil, "a nil interface, not a nil in one")
	require.NotNil(t, m.Signals())
}
