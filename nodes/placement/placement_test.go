package placement

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
)

func nodesOf(n int) Table {
	var t Table
	for i := range n {
		t.Nodes = append(t.Nodes, Node{Name: fmt.Sprintf("live-%d", i+1), Addr: "10.0.0.1:8080"})
	}
	return t
}

func TestOwnerSpreadsAndMovesLittle(t *testing.T) {
	const keys = 20_000
	ten, eleven := nodesOf(10), nodesOf(11)
	moved, share := 0, map[string]int{}
	for i := range keys {
		key := fmt.Sprintf("us-1.live.espra.com/room-%d", i)
		before, ok := ten.Owner(key)
		require.True(t, ok)
		after, _ := eleven.Owner(key)
		share[before.Name]++
		if before.Name != after.Name {
			moved++
			require.Equal(t, "live-11", after.Name, "a key may only move to the new node")
		}
	}
	require.InEpsilon(t, keys/11, moved, 0.10)
	for name, n := range share {
		require.InEpsilon(t, keys/10, n, 0.10, name)
	}
}

var pinned = map[string]string{
	"":                          "live-5",
	"a":                         "live-2",
	"eu-1.live.espra.com/lobby": "live-5",
	"us-1.live.espra.com/lobby": "live-5",
}

func TestOwnerIsPinned(t *testing.T) {
	// All nodes of all versions must agree: a change here moves every key.
	table := nodesOf(5)
	got := map[string]string{}
	for key := range pinned {
		n, _ := table.Owner(key)
		got[key] = n.Name
	}
	require.Equal(t, pinned, got)

	slices.Reverse(table.Nodes)
	for key, want := range pinned {
		n, _ := table.Owner(key)
		require.Equal(t, want, n.Name, "order of the table")
	}
}

func TestOwnerOfEmptyTable(t *testing.T) {
	_, ok := Table{}.Owner("a")
	require.False(t, ok)
}

func TestParse(t *testing.T) {
	for _, tc := range []struct {
		in   string
		want []Node
	}{
		{"", nil},
		{"live-1=10.0.0.1:8080", []Node{{Name: "live-1", Addr: "10.0.0.1:8080"}}},
		{"a=10.0.0.1:80@us-east-a,b=[::1]:81@us-east-b", []Node{
			{Name: "a", Zone: "us-east-a", Addr: "10.0.0.1:80"},
			{Name: "b", Zone: "us-east-b", Addr: "[::1]:81"},
		}},
	} {
		got, err := Parse(tc.in)
		require.NoError(t, err, tc.in)
		require.Empty(t, cmp.Diff(tc.want, got.Nodes))
		require.Equal(t, tc.in, got.String())
	}
}

func TestParseErrors(t *testing.T) {
	for in, want := range map[string]string{
		"live-1":               `placement: entry 1, "live-1": want name=host:port[@zone]`,
		"a=1.1.1.1:1,":         `placement: entry 2, "": want name=host:port[@zone]`,
		"a b=1.1.1.1:1":        `"a b" is not a name`,
		"=1.1.1.1:1":           `"" is not a name`,
		"a=1.1.1.1":            `"1.1.1.1" is not host:port`,
		"a=:80":                `":80" is not host:port`,
		"a=h:http":             `"http" is not a port`,
		"a=h:0":                `"0" is not a port`,
		"a=h:65536":            `"65536" is not a port`,
		"a=h:1@":               `"" is not a zone`,
		"a=h:1@z@y":            `"z@y" is not a zone`,
		"a=h:1,b=h:2,a=h:3":    `entry 3, "a=h:3": name "a" is there twice`,
		"a=h:1, b=h:2":         `" b" is not a name`,
		"a=h:1@us-east-a;b=h:": `is not a zone`,
	} {
		_, err := Parse(in)
		require.ErrorContains(t, err, want, in)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("a=10.0.0.1:80@us-east-a,b=[::1]:81")
	f.Add("a=b:c@d,")
	f.Fuzz(func(t *testing.T, s string) {
		table, err := Parse(s)
		if err != nil {
			return
		}
		again, err := Parse(table.String())
		require.NoError(t, err)
		require.Empty(t, cmp.Diff(table, again))
	})
}

func TestWatched(t *testing.T) {
	var clock time.Duration
	answer, fail := nodesOf(3), error(nil)
	answer.Epoch = 7
	w := Watch(Table{Epoch: 5}, func() time.Duration { return clock }, func(context.Context) (Table, error) {
		return answer, fail
	})
	changed := w.Changed()
	clock = time.Minute
	require.Equal(t, time.Minute, w.Age())

	require.NoError(t, w.Set(Table{Epoch: 5, Nodes: nodesOf(1).Nodes}))
	require.Empty(t, w.Current().Nodes, "an equal epoch only confirms")
	require.Zero(t, w.Age())
	require.Empty(t, changed)

	got, err := w.Refresh(t.Context())
	require.NoError(t, err)
	require.Len(t, got.Nodes, 3)
	<-changed

	require.ErrorContains(t, w.Set(Table{Epoch: 6, Revision: 9}), "at 6.9 is older than the one at 7.0")
	require.Equal(t, uint64(7), w.Current().Epoch)

	clock, fail = 2*time.Minute, errors.New("seed is gone")
	got, err = w.Refresh(t.Context())
	require.ErrorIs(t, err, fail)
	require.Len(t, got.Nodes, 3, "the last good table stays")
	require.Equal(t, time.Minute, w.Age())
}

func TestSince(t *testing.T) {
	at := func(epoch, revision uint64) Table { return Table{Epoch: epoch, Revision: revision} }
	first := func(epoch uint64, after Position) Table { return Table{Epoch: epoch, Revision: 1, After: after} }
	for name, tc := range map[string]struct {
		heard []Table
		from  Position
		n     int // tables since
		all   bool
	}{
		"nothing new":         {[]Table{at(1, 1)}, Position{1, 1}, 0, true},
		"the next":            {[]Table{at(1, 1), at(1, 2)}, Position{1, 1}, 1, true},
		"each of several":     {[]Table{at(1, 1), at(1, 2), at(1, 3)}, Position{1, 1}, 2, true},
		"one was never heard": {[]Table{at(1, 1), at(1, 3)}, Position{1, 1}, 1, false},
		"not the first one":   {[]Table{at(1, 1), at(1, 2), at(1, 4)}, Position{1, 1}, 2, false},
		"a new epoch":         {[]Table{at(1, 1), first(2, Position{1, 1}), at(2, 2)}, Position{1, 1}, 2, true},
		"the end of one":      {[]Table{at(1, 1), first(2, Position{1, 2})}, Position{1, 1}, 1, false},
		"a whole one":         {[]Table{at(1, 1), first(3, Position{2, 1})}, Position{1, 1}, 1, false},
		"the middle of one":   {[]Table{at(1, 1), at(2, 2)}, Position{1, 1}, 1, false},
	} {
		w := Watch(Table{}, func() time.Duration { return 0 }, nil)
		for _, heard := range tc.heard {
			require.NoError(t, w.Set(heard), name)
		}
		tables, all := w.Since(tc.from)
		require.Len(t, tables, tc.n, name)
		require.Equal(t, tc.all, all, name)
		if tc.n > 0 {
			require.Equal(t, w.Current(), tables[tc.n-1], name)
		}
	}

	w := Watch(Table{}, func() time.Duration { return 0 }, nil)
	for i := range uint64(keepTables + 1) {
		require.NoError(t, w.Set(at(1, i+1)))
	}
	tables, all := w.Since(Position{1, 1})
	require.Len(t, tables, keepTables)
	require.True(t, all, "they lead on from there")
	_, all = w.Since(Position{})
	require.False(t, all, "the first is not known any more")
}

func TestRefreshWithNobodyToAsk(t *testing.T) {
	w := Watch(nodesOf(2), func() time.Duration { return 0 }, nil)
	got, err := w.Refresh(t.Context())
	require.NoError(t, err)
	require.Len(t, got.Nodes, 2)
}

func BenchmarkOwner(b *testing.B) {
	table := nodesOf(10)
	for b.Loop() {
		table.Owner("us-1.live.espra.com/lobby")
	}
}

func TestChange(t *testing.T) {
	table := Table{Epoch: 3, Revision: 7, Nodes: nodesOf(3).Nodes}
	_, differs := table.Diff(slices.Clone(table.Nodes), "")
	require.False(t, differs)

	restarted := table.Nodes[2]
	restarted.Incarnation = 9
	want := []Node{restarted, {Name: "live-4", Addr: "10.0.0.4:8080"}, table.Nodes[0]} // in no order
	change, differs := table.Diff(want, "live-2 left")
	require.True(t, differs)
	require.Equal(t, []string{"live-2"}, change.Removed)
	require.Len(t, change.Set, 2)
	next, err := table.Apply(change)
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(Table{Epoch: 3, Revision: 8, Nodes: []Node{table.Nodes[0], restarted, {Name: "live-4", Addr: "10.0.0.4:8080"}}}, next))
	require.Equal(t, nodesOf(3).Nodes, table.Nodes, "the table itself stays")

	for _, wrong := range []Table{next, {Epoch: 3, Revision: 6}, {Epoch: 2, Revision: 7}, {Epoch: 4, Revision: 7}} {
		_, err := wrong.Apply(change)
		require.ErrorContains(t, err, "the change to 3.8 is not the next of the table at "+wrong.Position().String())
	}
}

func TestWatchedChanges(t *testing.T) {
	var clock time.Duration
	w := Watch(Table{Epoch: 3, Revision: 7, Nodes: nodesOf(3).Nodes}, func() time.Duration { return clock }, nil)
	changed := w.Changed()
	clock = time.Minute
	require.Error(t, w.Apply(Change{Epoch: 3, Revision: 9}))
	require.Error(t, w.Confirm(Position{3, 8}))
	require.Error(t, w.Confirm(Position{3, 6}))
	require.Equal(t, time.Minute, w.Age())
	require.NoError(t, w.Confirm(Position{3, 7}))
	require.Zero(t, w.Age())
	require.NoError(t, w.Apply(Change{Epoch: 3, Revision: 8, Removed: []string{"live-2"}}))
	<-changed
	require.Len(t, w.Current().Nodes, 2)

	require.Error(t, w.Set(Table{Epoch: 3, Revision: 7}), "an older one")
	require.NoError(t, w.SetAged(Table{Epoch: 3, Revision: 8}, time.Minute), "what is known already makes nothing older")
	require.Zero(t, w.Age())
	clock += time.Minute
	require.NoError(t, w.SetAged(Table{Epoch: 4, Revision: 1}, 10*time.Second))
	require.Equal(t, 10*time.Second, w.Age())
}
