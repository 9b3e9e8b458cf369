package monitor

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/monitor/decide"
	"github.com/espra/protoplex/monitor/home"
	"github.com/espra/protoplex/monitor/probe"
)

// still is a vantage that does nothing by itself.
func still() *vantage {
	c := Config{
		Name: "fremont", Probe: 10 * time.Second, OpenAfter: 3, HoldDown: 10 * time.Minute,
		Targets: []Target{
			{Target: probe.Target{Name: "us-east-proxy"}, Region: "us-east"},
			{Target: probe.Target{Name: "www"}, Home: "www.espra.com"}, {Target: probe.Target{Name: "apex"}},
		},
		Homes:  []HomeConfig{{Host: "www.espra.com", Regions: []string{"us-east", "eu-west"}, TTL: time.Minute}},
		Admins: []Admin{{Name: "ana"}},
	}
	return &vantage{
		cfg: c, params: c.params(), hosts: c.hosts(), unsaved: make(chan struct{}, 1), verdicts: decide.State{Subjects: map[string]decide.Subject{}},
		incidents: map[string]*incident{}, homes: map[string]home.Home{"www.espra.com": {Region: "us-east", Epoch: 1}},
	}
}

// keys of what is due, in order.
func keys(v *vantage, now time.Duration) (keys []string) {
	for _, m := range v.due(now) {
		keys = append(keys, m.key)
	}
	return keys
}

func TestWhatFoldsIntoARegionIsNotPaged(t *testing.T) {
	v := still()
	v.incidents["www"] = &incident{ID: "WWW", Open: true}
	v.incidents["apex"] = &incident{ID: "APX", Open: true}
	require.Equal(t, []string{"open APX ana"}, keys(v, 0), "www may yet be part of a region's loss")
	v.incidents["us-east"] = &incident{ID: "USE", Open: true, Region: true}
	require.Equal(t, []string{"open APX ana", "open USE ana"}, keys(v, time.Minute))
	v.incidents["us-east"].Open = false // in its hold-down
	require.Equal(t, []string{"open APX ana"}, keys(v, time.Minute))
	delete(v.incidents, "us-east")
	require.Equal(t, []string{"open APX ana", "open WWW ana"}, keys(v, time.Minute), "it was www alone")
}

func TestMessagesOfOneIncident(t *testing.T) {
	v := still()
	i := &incident{ID: "APX", Open: true}
	v.incidents["apex"] = i
	steps := []struct {
		name   string
		change func()
		want   []string
	}{
		{"down", func() {}, []string{"open APX ana"}},
		{"paged", func() { v.done("apex", "open APX ana") }, nil},
		{"up", func() { i.Open, i.Over = false, true }, []string{"clear-0 APX ana"}},
		{"cleared", func() { v.done("apex", "clear-0 APX ana") }, nil},
		{"down again", func() { i.Open, i.Over, i.Flaps = true, false, 1 }, []string{"flap APX ana"}},
		{"told once", func() { v.done("apex", "flap APX ana"); i.Flaps = 2 }, nil},
		{"up for good", func() { i.Open, i.Over = false, true }, []string{"clear-2 APX ana"}},
		{"never paged, so nothing to clear", func() { i.Done = nil }, nil},
	}
	for _, s := range steps {
		s.change()
		require.Empty(t, cmp.Diff(s.want, keys(v, time.Hour)), s.name)
	}
}

func TestARegionIsOverOnceTrafficIsHome(t *testing.T) {
	v := still()
	i := &incident{ID: "USE", Open: true, Region: true}
	v.incidents["us-east"] = i
	finish := func(now time.Duration) bool {
		v.finish("us-east", decide.Now{Elapsed: now, Wall: time.Unix(0, 0).Add(now)})
		return i.Over
	}
	away := home.Home{Region: "eu-west", Epoch: 2}
	v.homes["www.espra.com"] = away
	require.False(t, finish(0))
	require.True(t, i.Moved)
	i.Open = false
	v.verdicts.Subjects["us-east"] = decide.Subject{Status: decide.Up}
	require.False(t, finish(time.Minute), "its host is away")
	v.homes["www.espra.com"] = home.Home{Region: "us-east", Epoch: 3}
	require.False(t, finish(2*time.Minute), "not yet served")
	v.settled, v.settledAt = fingerprint(v.homes), 3*time.Minute
	require.False(t, finish(3*time.Minute+30*time.Second), "resolvers still keep the old address")
	require.True(t, finish(4*time.Minute))
	require.Equal(t, time.Unix(240, 0), i.Ended)
	require.True(t, finish(4*time.Minute+v.params.Reopen-1))
	require.Contains(t, v.incidents, "us-east")
	finish(4*time.Minute + v.params.Reopen)
	require.NotContains(t, v.incidents, "us-east")
}

func TestWhatFlappedMustStayUp(t *testing.T) {
	v := still()
	i := &incident{ID: "APX", Flaps: 1}
	v.incidents["apex"] = i
	v.verdicts.Subjects["apex"] = decide.Subject{Status: decide.Up, Flaps: 1}
	v.finish("apex", decide.Now{Elapsed: v.cfg.HoldDown - 1})
	require.False(t, i.Over)
	v.finish("apex", decide.Now{Elapsed: v.cfg.HoldDown})
	require.True(t, i.Over)
}

func TestAdoptedNameKeepsWhatWasDone(t *testing.T) {
	v := still()
	v.incidents["apex"] = &incident{ID: "OLD", Open: true, Done: []string{"open OLD ana"}}
	v.verdicts.Subjects["apex"] = decide.Subject{Status: decide.Down, Incident: decide.Incident{ID: "NEW"}}
	v.adopt()
	require.Equal(t, "NEW", v.incidents["apex"].ID)
	require.Empty(t, keys(v, time.Hour), "nobody is paged for the new name")
}
