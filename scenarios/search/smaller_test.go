package search

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/scenarios"
	"github.com/espra/protoplex/scenarios/story"
)

// Of every story smaller ones are to be had, most of them valid, and none has more
// of anything.
func TestSmaller(t *testing.T) {
	names, err := scenarios.Names()
	require.NoError(t, err)
	size := func(s *story.Story) map[string]int {
		clients := 0
		for _, g := range s.Workload {
			clients += g.Browsers + g.Publishers
		}
		return map[string]int{"machines": len(s.Machines()), "clients": clients, "faults": len(s.Timeline), "lasts": int(s.Lasts)}
	}
	given, kept := 0, 0
	for _, name := range names {
		s, err := scenarios.Load(name)
		require.NoError(t, err)
		before := story.Format(s)
		a := &attempt{story: s, finding: Finding{At: s.Lasts / 3, Oracle: "live-streams"}}
		var all []*story.Story
		for _, give := range []func(*story.Story) []*story.Story{muchSmaller, smallerWorkload, smallerTopology, weakerFaults, earlier} {
			all = append(all, give(s)...)
		}
		for _, c := range append(append(all, oneExpectation(a)...), sooner(a)...) {
			given++
			if v, ok := valid(c); ok {
				kept++
				for what, n := range size(v.story) {
					require.LessOrEqual(t, n, size(s)[what], "%s of\n%s", what, story.Format(v.story))
				}
			}
		}
		require.Equal(t, string(before), string(story.Format(s)), "the story itself stays")
	}
	t.Logf("%d of %d are valid", kept, given)
	require.Greater(t, kept, given/2)
}

// What was broken is expected alone first, up to just after it broke.
func TestBrokenFirst(t *testing.T) {
	s, err := scenarios.Load("tables-late")
	require.NoError(t, err)
	all := oneExpectation(&attempt{story: s, finding: Finding{At: s.Lasts / 2, Oracle: "live-streams"}})
	require.Len(t, all, 8)
	for i, lasts := range []time.Duration{s.Lasts/2 + time.Second, s.Lasts} {
		require.Equal(t, lasts, all[i].Lasts)
		require.Equal(t, "live-streams", all[i].Expect.Always[0].Oracle)
		require.Empty(t, all[i].Expect.Throughout)
	}
	require.Equal(t, "one-leader", all[2].Expect.Always[0].Oracle)
}
