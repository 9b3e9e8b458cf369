package swarm_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/scenarios/story"
	"github.com/espra/protoplex/scenarios/swarm"
)

// Each seed gives one valid story, again and again.
func TestStory(t *testing.T) {
	used, regions := map[string]int{}, map[int]int{}
	for _, beyond := range []bool{false, true} {
		for seed := range uint64(300) {
			name := fmt.Sprintf("swarm-%d", seed)
			s, err := swarm.Story(name, seed, swarm.Options{Beyond: beyond})
			require.NoError(t, err)
			again, err := swarm.Story(name, seed, swarm.Options{Beyond: beyond})
			require.NoError(t, err)
			require.Equal(t, string(story.Format(s)), string(story.Format(again)))
			for _, e := range s.Timeline {
				used[e.Fault]++
			}
			regions[len(s.Topology.Regions)]++
		}
	}
	for _, f := range story.Faults {
		require.Positive(t, used[f.Name], f.Name)
	}
	require.Len(t, regions, 2)
}
