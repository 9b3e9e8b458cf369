package scenarios

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/scenarios/story"
	"github.com/espra/protoplex/sim"
)

// The copy of a node that is well is refused. When that has gone silent the copy
// takes its place, and when the copy is gone, the node does again.
func TestZombie(t *testing.T) {
	s, err := story.Parse("zombie.yaml", []byte(`format: 1
title: a copy runs
story: The test strikes.
starts: 2026-03-02T14:00:00Z
lasts: 1h
topology:
  regions:
    us-east: {zones: 1, proxy: 1, live: 1, seed: 1}
  vps: []
  sms: []
workload:
  - {id: few, browsers: 1, home: us-1.live, do: [subscribe to 1 channel]}
timeline:
  - {id: copy, at: 1m, for: 10m, fault: zombie, on: machine us-east-live-1}
  - {id: lost, at: 2m, for: 5m, fault: machine-lost, on: machine us-east-live-1}
expect: {always: [dns-points-somewhere]}
`))
	require.NoError(t, err)
	sim.TestWith(t, sim.Options{Start: s.Starts}, func(t *testing.T, w *sim.World) {
		p, _, strikes, _ := struck(t, w, s)
		seen := observed(w)
		twin := p.hosts["us-east-live-1"+twinSuffix]
		require.False(t, twin.On())
		strikes["copy"].begin()
		time.Sleep(time.Minute)
		refused := seen().of("log: seed refuses", twin.Name())
		require.NotEmpty(t, refused)
		require.Regexp(t, "^the name us-east-live-1 is that of incarnation [0-9]+ at "+p.addr("us-east-live-1").String(), refused[0].Get("reason"))
		require.Empty(t, seen().of("log: node left", ""))
		require.EqualValues(t, 1, strikes["copy"].touched())

		strikes["lost"].begin()
		time.Sleep(3 * time.Minute)
		joined := seen().of("log: node joined", "us-east-seed-1")
		require.Len(t, joined, 1, "the copy")
		strikes["copy"].heal()
		strikes["lost"].heal()
		time.Sleep(3 * time.Minute)
		require.False(t, twin.On())
		require.Len(t, seen().of("log: node joined", "us-east-seed-1"), 2, "the node")
	})
}
