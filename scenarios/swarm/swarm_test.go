package swarm_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/scenarios/story"
	"github.com/espra/protoplex/scenarios/swarm"
)

// Each seed gives one valid story, again and again.
func TestStory(t *testing.T) {
	used, regions, sizes := map[string]int{}, map[int]int{}, map[int]int{}
	for _, beyond := range []bool{false, true} {
		for seed := range uint64(300) {
			name := fmt.Sprintf("swarm-%d", seed)
			s, err := swarm.Story(name, seed, swarm.Options{Beyond: beyond})
			require.NoError(t, err)
			if seed%5 == 0 {
				again, err := swarm.Story(name, seed, swarm.Options{Beyond: beyond})
				require.NoError(t, err)
				require.Equal(t, string(story.Format(s)), string(story.Format(again)))
			}
			for _, e := range s.Timeline {
				used[e.Fault]++
				if e.Fault == "process-killed" || e.Fault == "killed-after" {
					for _, m := range s.Machines() {
						require.False(t, m.Group != "" && slices.Contains(e.On.Match(s.Machines()), m.Name), "nobody starts %s again", m.Name)
					}
				}
			}
			regions[len(s.Topology.Regions)]++
			for _, g := range s.Workload {
				for _, a := range g.Do {
					if a.Verb == story.Publish {
						sizes[a.Size]++
					}
				}
			}
		}
	}
	for _, f := range story.Faults {
		require.Positive(t, used[f.Name], f.Name)
	}
	require.Len(t, regions, 2)
	require.Len(t, sizes, 2, "messages that a proxy keeps whole, and larger ones")
}

// Faults on top of a story leave it as it is, but for what it expects.
func TestOnTop(t *testing.T) {
	base, err := swarm.Story("swarm-7", 7, swarm.Options{})
	require.NoError(t, err)
	for seed := range uint64(50) {
		s, err := swarm.OnTop("more", base, seed, swarm.Options{})
		require.NoError(t, err)
		require.Equal(t, base.Topology.Regions, s.Topology.Regions)
		require.Equal(t, len(base.Workload), len(s.Workload))
		require.GreaterOrEqual(t, len(s.Timeline), len(base.Timeline))
		for i, e := range base.Timeline {
			require.Equal(t, e.ID, s.Timeline[i].ID)
		}
	}
}

// Only what was touched counts, each fault, role and region once a story.
func TestCoverage(t *testing.T) {
	s, err := story.Parse("s.yaml", []byte(`format: 1
title: t
story: s
starts: 2026-03-02T14:00:00Z
lasts: 10m
topology: {regions: {us-east: {seed: 1}, eu-west: {}}}
timeline:
  - {id: a, at: 1m, fault: machine-lost, on: role live in us-east, for: 1m}
  - {id: b, at: 1m, fault: machine-lost, on: machine eu-west-live-1, for: 1m}
  - {id: c, at: 1m, fault: paused, on: vps london, for: 1m}
  - {id: d, at: 1m, fault: clock-step, on: vps london, by: 5s}
  - {id: e, at: 1m, fault: disk-full, on: region us-east, for: 1m}
expect: {always: [dns-points-somewhere]}
`))
	require.NoError(t, err)
	var c swarm.Coverage
	c.Add(s, []string{"d"})
	c.Add(s, []string{"b", "d"})
	lines := c.Lines()
	require.Len(t, lines, len(story.Faults))
	require.Contains(t, lines, "machine-lost          live 2/1")
	require.Contains(t, lines, "paused                vps 2")
	require.Contains(t, lines, "clock-step            never")
	require.Contains(t, lines, "disk-full             s3 2/0", "what keeps nothing on its disk does not count")
}
