package blobtest

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/nodes"
)

// racers is how many clients race for one key.
const racers = 32

func conditionTests() []Test {
	return []Test{
		{"get if it matches", testGetIfMatch},
		{"put if absent", testPutIfAbsent},
		{"put if it matches", testPutIfMatch},
		{"put if it matches, and there is nothing", testPutIfMatchNothing},
		{"put if absent: one of many wins", testRaceAbsent},
		{"put if it matches: one of many wins", testRaceMatch},
		{"put if it matches: equal bodies do not conflict", testEqualBodies},
		{"what is read is of one put", testWholeReads},
		{"counting by put if it matches loses nothing", testCounting},
	}
}

func testGetIfMatch(t testing.TB, w World) {
	b := open(t, w)
	first := b.put("key", "one")
	_, text := b.get("key", nodes.GetOptions{IfMatch: first.ETag})
	require.Equal(t, "one", text)
	b.put("key", "two")
	_, err := b.Get(b.ctx, "key", nodes.GetOptions{IfMatch: first.ETag})
	require.ErrorIs(t, err, nodes.ErrBlobConflict)
	_, err = b.Get(b.ctx, "key", nodes.GetOptions{IfMatch: first.ETag, Offset: 1, Length: 1})
	require.ErrorIs(t, err, nodes.ErrBlobConflict)
	_, err = b.Get(b.ctx, "nothing", nodes.GetOptions{IfMatch: first.ETag})
	require.ErrorIs(t, err, nodes.ErrBlobNotFound)
}

func testPutIfAbsent(t testing.TB, w World) {
	b := open(t, w)
	absent := nodes.PutOptions{IfAbsent: true}
	_, err := b.try("key", "one", absent)
	require.NoError(t, err)
	_, err = b.try("key", "two", absent)
	require.ErrorIs(t, err, nodes.ErrBlobConflict)
	_, err = b.try("key", "one", absent)
	require.ErrorIs(t, err, nodes.ErrBlobConflict, "also with an equal body")
	b.holds("key", "one")
	require.NoError(t, b.Delete(b.ctx, "key"))
	_, err = b.try("key", "three", absent)
	require.NoError(t, err)
	b.holds("key", "three")
}

func testPutIfMatch(t testing.TB, w World) {
	b := open(t, w)
	first := b.put("key", "one")
	second, err := b.try("key", "two", nodes.PutOptions{IfMatch: first.ETag})
	require.NoError(t, err)
	_, err = b.try("key", "three", nodes.PutOptions{IfMatch: first.ETag})
	require.ErrorIs(t, err, nodes.ErrBlobConflict)
	b.holds("key", "two")
	_, err = b.try("key", "three", nodes.PutOptions{IfMatch: second.ETag})
	require.NoError(t, err)
	b.holds("key", "three")
}

func testPutIfMatchNothing(t testing.TB, w World) {
	b := open(t, w)
	first := b.put("key", "one")
	require.NoError(t, b.Delete(b.ctx, "key"))
	_, err := b.try("key", "two", nodes.PutOptions{IfMatch: first.ETag})
	require.ErrorIs(t, err, nodes.ErrBlobConflict)
	_, err = b.Head(b.ctx, "key")
	require.ErrorIs(t, err, nodes.ErrBlobNotFound)
}

// race puts different bodies under one condition at once, through a few
// clients, and checks that exactly one is taken and stays.
func race(t testing.TB, w World, o nodes.PutOptions) {
	t.Helper()
	clients := []*bucket{open(t, w), open(t, w), open(t, w), open(t, w)}
	errs := make([]error, racers)
	var wg sync.WaitGroup
	for i := range racers {
		wg.Go(func() { _, errs[i] = clients[i%len(clients)].try("key", body(i), o) })
	}
	wg.Wait()
	winner := -1
	for i, err := range errs {
		if err == nil {
			require.Equal(t, -1, winner, "%d and %d have both won", winner, i)
			winner = i
			continue
		}
		require.ErrorIs(t, err, nodes.ErrBlobConflict)
	}
	require.NotEqual(t, -1, winner, "nobody has won")
	clients[0].holds("key", body(winner))
}

func body(i int) string { return strings.Repeat(fmt.Sprintf("racer %d ", i), 100) }

func testRaceAbsent(t testing.TB, w World) { race(t, w, nodes.PutOptions{IfAbsent: true}) }

func testRaceMatch(t testing.TB, w World) {
	race(t, w, nodes.PutOptions{IfMatch: open(t, w).put("key", "first").ETag})
}

// A put of what is there already changes nothing that a condition could see.
func testEqualBodies(t testing.TB, w World) {
	b := open(t, w)
	first := b.put("key", "same")
	for range 3 {
		again, err := b.try("key", "same", nodes.PutOptions{IfMatch: first.ETag})
		require.NoError(t, err)
		require.Equal(t, first.ETag, again.ETag)
	}
}

func testCounting(t testing.TB, w World) {
	const clients, each = 4, 8
	open(t, w).put("count", "")
	var wg sync.WaitGroup
	errs := make([]error, clients)
	for i := range clients {
		b := open(t, w)
		wg.Go(func() { errs[i] = b.count(each) })
	}
	wg.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
	b := open(t, w)
	info, err := b.Head(b.ctx, "count")
	require.NoError(t, err)
	require.Equal(t, int64(clients*each), info.Size)
}

// While an object is replaced again and again, nobody sees the size of one put
// with the ETag or the content of another.
func testWholeReads(t testing.TB, w World) {
	const puts = 40
	b, reader := open(t, w), open(t, w)
	sizes := map[string]int64{} // by ETag
	for i := range puts {
		sizes[b.put("key", body(0)[:i+1]).ETag] = int64(i + 1)
	}
	done := make(chan error, 1)
	go func() {
		defer close(done)
		for i := range puts {
			if _, err := b.try("key", body(0)[:i+1], nodes.PutOptions{}); err != nil {
				done <- err
				return
			}
		}
	}()
	for writing := true; writing; {
		select {
		case err := <-done:
			require.NoError(t, err)
			writing = false
		default:
		}
		head, err := reader.Head(reader.ctx, "key")
		require.NoError(t, err)
		require.Equal(t, sizes[head.ETag], head.Size)
		info, text := reader.get("key", nodes.GetOptions{})
		require.Equal(t, sizes[info.ETag], info.Size)
		require.Equal(t, info.Size, int64(len(text)))
	}
}
