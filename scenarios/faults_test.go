package scenarios

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/scenarios/story"
	"github.com/espra/protoplex/sim"
)

// Each of these words of the vocabulary does something, and its end ends that.
func TestFaultsStrike(t *testing.T) {
	t.Parallel()
	const shape = `format: 1
title: something happens
story: Something happens.
starts: 2026-03-02T14:00:00Z
lasts: 4m
topology:
  regions:
    us-east: {zones: 1, proxy: 2, live: 0}
  vps: [fremont, london, singapore]
  dns: {providers: [digitalocean]}
timeline: [TIMELINE]
expect: {always: [dns-points-somewhere]}
`
	const minute = time.Minute
	for _, c := range []struct {
		name, timeline string
		check          func(t *testing.T, seen events)
	}{
		{"killed-after", "{id: it, at: 1m, fault: killed-after, on: vps fremont, effects: 7}", func(t *testing.T, seen events) {
			crashes := seen.of("crash", "fremont")
			require.Len(t, crashes, 1)
			require.Equal(t, "killed", crashes[0].Get("error"))
			require.Greater(t, crashes[0].At, minute)
			require.Len(t, seen.of("log: "+crashes[0].Proc+" started", "fremont"), 2, "init starts it again")
		}},
		{"lost-after", "{id: it, at: 1m, for: 1m, fault: lost-after, on: vps fremont, effects: 7}", func(t *testing.T, seen events) {
			crashes := seen.of("crash", "fremont")
			require.Len(t, crashes, 1)
			require.Equal(t, "power off", crashes[0].Get("error"))
			for _, e := range seen {
				require.False(t, e.Machine == "fremont" && e.At > crashes[0].At && e.At < 2*minute, "%v", e)
			}
			started := seen.of("log: monitor started", "fremont")
			require.Len(t, started, 2)
			require.GreaterOrEqual(t, started[1].At, 2*minute)
		}},
		{"links-flicker", "{id: it, at: 1m, for: 2m, fault: links-flicker, on: role vps, every: 500ms, cut: 9s}", func(t *testing.T, seen events) {
			failed := seen.of("log: probe", "")
			require.NotEmpty(t, failed)
			for _, e := range failed {
				require.Greater(t, e.At, minute)
				require.Less(t, e.At, 3*minute+30*time.Second)
			}
		}},
		{"disk-full", "{id: it, at: 1m, for: 2m, fault: disk-full, on: vps fremont}", func(t *testing.T, seen events) {
			failed := seen.of("log: record not written", "")
			require.Len(t, failed, 1)
			require.Equal(t, "fremont", failed[0].Machine)
			require.Contains(t, failed[0].Get("error"), "no space left on device")
			again := seen.of("log: record written again", "fremont")
			require.Len(t, again, 1)
			require.GreaterOrEqual(t, again[0].At, 3*minute)
		}},
		{"disk-read-only", "{id: it, at: 1m, for: 2m, fault: disk-read-only, on: vps fremont}", func(t *testing.T, seen events) {
			failed := seen.of("log: record not written", "fremont")
			require.Len(t, failed, 1)
			require.Contains(t, failed[0].Get("error"), "read-only file system")
			require.Len(t, seen.of("log: record written again", "fremont"), 1)
		}},
		{"disk-errors", "{id: it, at: 1m, for: 2m, fault: disk-errors, on: vps fremont, percent: 100%}", func(t *testing.T, seen events) {
			failed := seen.of("log: record not written", "fremont")
			require.Len(t, failed, 1)
			require.Contains(t, failed[0].Get("error"), "input/output error")
			require.Len(t, seen.of("log: certificate not reloaded", "fremont"), 2, "and the old ones stay")
			require.Len(t, seen.of("log: probe", ""), 0, "nobody sees anything of it")
		}},
		{"disk-stalled", "{id: it, at: 1m, for: 2m, fault: disk-stalled, on: vps fremont}, {id: lost, at: 65s, fault: machine-lost, on: role proxy}", func(t *testing.T, seen events) {
			failed := seen.of("log: state not saved", "")
			require.Len(t, failed, 1)
			require.Equal(t, "fremont", failed[0].Machine)
			require.Equal(t, "the disk does not answer", failed[0].Get("error"))
			texts := seen.of("log: sms sent", "")
			require.Len(t, texts, 1)
			require.Equal(t, "fremont", texts[0].Machine, "the first vantage pages all the same")
			require.Less(t, texts[0].At, failed[0].At+10*time.Second)
			again := seen.of("log: state saved again", "fremont")
			require.Len(t, again, 1)
			require.GreaterOrEqual(t, again[0].At, 3*minute)
		}},
		{"disk-slow", "{id: it, at: 1m, for: 2m, fault: disk-slow, on: vps fremont, add: 6s}, {id: lost, at: 65s, fault: machine-lost, on: role proxy}", func(t *testing.T, seen events) {
			failed := seen.of("log: state not saved", "fremont")
			require.NotEmpty(t, failed, "a sync takes longer than anybody waits")
			require.Empty(t, seen.of("log: record not written", ""), "and all of it is written")
		}},
		{"lost-syncs", "{id: it, at: 1m, for: 2m, fault: lost-syncs, on: vps fremont}", func(t *testing.T, seen events) {
			started := seen.of("log: monitor started", "fremont")
			require.Len(t, started, 2)
			require.Greater(t, started[1].At, 3*minute+4*time.Second)
		}},
		{"torn-write", "{id: it, at: 1m, for: 2m, fault: torn-write, on: vps fremont, syncs: 1}", func(t *testing.T, seen events) {
			crashes := seen.of("crash", "fremont")
			require.Len(t, crashes, 1)
			require.Contains(t, crashes[0].Get("after"), "half of sync /var/lib/protoplex/")
			require.Len(t, seen.of("log: monitor started", "fremont"), 2)
		}},
		{"bit-rot", "{id: it, at: 1m30s, for: 2m, fault: bit-rot, on: vps fremont}", func(t *testing.T, seen events) {
			dropped := seen.of("log: state file not usable, starting without it", "")
			require.Len(t, dropped, 1)
			require.Equal(t, "fremont", dropped[0].Machine)
			require.Contains(t, dropped[0].Get("error"), "damaged")
			require.Len(t, seen.of("log: monitor started", "fremont"), 2)
		}},
		{"nothing", "", func(t *testing.T, seen events) {
			require.Empty(t, seen.of("log: probe", ""))
			require.Len(t, seen.of("log: target healthy", ""), 2)
			require.Empty(t, seen.of("log: target unhealthy", ""))
		}},
		{"proxies lost, and honest checks", "{id: lost, at: 1m, fault: machine-lost, on: role proxy}", func(t *testing.T, seen events) {
			require.Len(t, seen.of("log: target unhealthy", "us-east-lb-a"), 2)
		}},
		{
			"checks-all-well",
			"{id: lost, at: 1m, fault: machine-lost, on: role proxy}, {id: it, at: 1m, for: 1m, fault: checks-all-well, on: region us-east}",
			func(t *testing.T, seen events) {
				unwell := seen.of("log: target unhealthy", "us-east-lb-a")
				require.Len(t, unwell, 2)
				require.Greater(t, unwell[0].At, 2*minute, "as soon as the checks are honest")
			},
		},
		{"checks-all-unwell", "{id: it, at: 1m, for: 1m, fault: checks-all-unwell, on: region us-east}", func(t *testing.T, seen events) {
			require.Len(t, seen.of("log: target unhealthy", "us-east-lb-a"), 2)
			well := seen.of("log: target healthy", "us-east-lb-a")
			require.Len(t, well, 4)
			require.Greater(t, well[2].At, 2*minute)
			require.Empty(t, seen.of("log: probe", ""), "who asks for the page gets it")
		}},
		{"hung", "{id: it, at: 1m, for: 1m, fault: hung, on: machine us-east-proxy-1}", func(t *testing.T, seen events) {
			unwell := seen.of("log: target unhealthy", "")
			require.Len(t, unwell, 1)
			require.Equal(t, "Target.Timeout", unwell[0].Get("reason"), "nothing is refused, and nothing answered")
			require.Len(t, seen.of("log: target healthy", ""), 3)
			require.Len(t, seen.of("log: proxy started", "us-east-proxy-1"), 0)
			require.Empty(t, seen.of("exit", "us-east-proxy-1"))
		}},
		{"slow-machine", "{id: it, at: 1m, for: 2m, fault: slow-machine, on: machine us-east-proxy-1, waits: 1s}", func(t *testing.T, seen events) {
			require.Empty(t, seen.of("log: target unhealthy", ""))
			require.Empty(t, seen.of("log: probe", ""))
		}},
		{"slow-machine, too slow", "{id: it, at: 1m, for: 2m, fault: slow-machine, on: machine us-east-proxy-1, waits: 20s}", func(t *testing.T, seen events) {
			require.NotEmpty(t, seen.of("log: target unhealthy", ""))
		}},
		{"crash-loop", "{id: it, at: 1m, for: 2m, fault: crash-loop, on: machine us-east-proxy-1, lives: 1s}", func(t *testing.T, seen events) {
			for _, e := range seen.of("log: target unhealthy", "") {
				require.Equal(t, "us-east-proxy-1", e.Get("target"))
			}
			ended := seen.of("log: child ended", "us-east-proxy-1")
			require.NotEmpty(t, seen.of("log: child keeps ending", "us-east-proxy-1"))
			require.InDelta(t, 2*9, len(ended), 6, "250 ms, 500 ms, and so on to 30 s, for each of two")
			require.Less(t, ended[len(ended)-1].At, 3*minute+time.Second)
			require.Len(t, seen.of("log: node started", "us-east-proxy-1"), 1, "the parent lives")
		}},
		{"slow-start", "{id: it, at: 1m, for: 90s, fault: slow-start, on: machine us-east-proxy-1, takes: 40s}", func(t *testing.T, seen events) {
			require.Len(t, seen.of("log: target unhealthy", ""), 1)
			well := seen.of("log: target healthy", "")
			require.Len(t, well, 3)
			require.Greater(t, well[2].At, 2*minute+20*time.Second, "a parent, its children, and then three checks")
		}},
		{"no-sockets", "{id: it, at: 1m, for: 1m, fault: no-sockets, on: role proxy}", func(t *testing.T, seen events) {
			require.Len(t, seen.of("log: target unhealthy", ""), 2)
			require.Empty(t, seen.of("exit", ""))
			well := seen.of("log: target healthy", "")
			require.Len(t, well, 4)
			require.Greater(t, well[2].At, 2*minute)
		}},
		{"no-sockets at a vantage", "{id: it, at: 1m, for: 1m, fault: no-sockets, on: vps fremont}", func(t *testing.T, seen events) {
			require.Empty(t, seen.of("exit", ""))
			controls := seen.of("log: controls", "fremont")
			require.Len(t, controls, 2)
			require.Equal(t, "true", controls[0].Get("abstains"))
			require.Equal(t, "false", controls[1].Get("abstains"))
		}},
		{"clock-frozen", "{id: it, at: 1m, for: 1m, fault: clock-frozen, on: vps fremont}", func(t *testing.T, seen events) {
			require.Empty(t, seen.of("log: probe", ""))
			require.Empty(t, seen.of("log: verdict", ""))
		}},
		{"capacity-removed", "{id: it, at: 1m, for: 1m, fault: capacity-removed, on: role proxy, leaves: 1}", func(t *testing.T, seen events) {
			unwell := seen.of("log: target unhealthy", "")
			require.Len(t, unwell, 1)
			require.Equal(t, "us-east-proxy-1", unwell[0].Get("target"))
			require.Len(t, seen.of("log: target healthy", ""), 3)
		}},
		{"machines-lost", "{id: it, at: 1m, for: 1m, fault: machines-lost, on: zone us-east-a, share: 25%}", func(t *testing.T, seen events) {
			require.LessOrEqual(t, len(seen.of("log: target unhealthy", "")), 1, "one of three")
		}},
		{"bad-push of a configuration", "{id: it, at: 1m, for: 10s, fault: bad-push, on: vps fremont, file: config}", func(t *testing.T, seen events) {
			ended := seen.of("exit", "fremont")
			require.GreaterOrEqual(t, len(ended), 10)
			require.Equal(t, "", ended[0].Get("error"))
			require.Regexp(t, `^monitor: /etc/protoplex/monitor.yaml:\d+:1: unknown key "prob"`, ended[1].Get("error"))
			started := seen.of("log: monitor started", "fremont")
			require.Len(t, started, 2)
			require.Greater(t, started[1].At, minute+10*time.Second)
		}},
		{"bad-push of a certificate", "{id: it, at: 1m, for: 2m, fault: bad-push, on: vps fremont, file: certificate}", func(t *testing.T, seen events) {
			require.Empty(t, seen.of("exit", "fremont"))
			require.NotEmpty(t, seen.of("log: certificate not reloaded", "fremont"))
		}},
		{
			"repeat", "{id: it, at: 30s, for: 10s, fault: machine-lost, on: vps fremont, repeat: {times: 3, every: 40s}}",
			func(t *testing.T, seen events) {
				require.Equal(t, []time.Duration{30 * time.Second, 70 * time.Second, 110 * time.Second}, seen.of("FAULT", "").at())
				require.Equal(t, []time.Duration{40 * time.Second, 80 * time.Second, 120 * time.Second}, seen.of("HEAL", "").at())
				require.Len(t, seen.of("log: monitor started", "fremont"), 4)
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := story.Parse("s.yaml", []byte(strings.Replace(shape, "TIMELINE", c.timeline, 1)))
			require.NoError(t, err)
			sim.TestWith(t, sim.Options{Start: s.Starts}, func(t *testing.T, w *sim.World) {
				var seen events
				w.Observe(func(e sim.Event) { seen = append(seen, e) })
				report, err := Play(w, s, Options{})
				require.NoError(t, err)
				require.Empty(t, report.Idle)
				c.check(t, seen)
			})
		})
	}
}

type events []sim.Event

// observed gives what a world has told so far, from now on.
func observed(w *sim.World) func() events {
	var mu sync.Mutex
	var seen events
	w.Observe(func(e sim.Event) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, e)
	})
	return func() events {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(seen)
	}
}

// of gives those of a kind, of one machine or, without a name, of all.
func (all events) of(kind, machine string) events {
	var some events
	for _, e := range all {
		if e.Kind == kind && (machine == "" || e.Machine == machine) {
			some = append(some, e)
		}
	}
	return some
}

func (all events) at() []time.Duration {
	var at []time.Duration
	for _, e := range all {
		at = append(at, e.At)
	}
	return at
}

// A fault that could strike, and does not, is told: here there are not so many
// effects in the time.
func TestCrashThatNeverComes(t *testing.T) {
	s, err := story.Parse("s.yaml", []byte(`format: 1
title: nothing happens
story: Nothing happens.
starts: 2026-03-02T14:00:00Z
lasts: 1m
topology: {regions: {us-east: {zones: 1, proxy: 1, live: 0}}, vps: [fremont], dns: {providers: [digitalocean]}}
timeline: [{id: it, at: 10s, for: 20s, fault: lost-after, on: vps fremont, effects: 9999}]
expect: {always: [dns-points-somewhere]}
`))
	require.NoError(t, err)
	sim.TestWith(t, sim.Options{Start: s.Starts}, func(t *testing.T, w *sim.World) {
		report, err := Play(w, s, Options{})
		require.NoError(t, err)
		require.Len(t, report.Idle, 1)
		require.False(t, report.Held())
	})
}

// What a fault has begun again ends with it, and is not taken up by its next strike,
// which has its own.
func TestChain(t *testing.T) {
	var s strike
	var later []func()
	s.chain(func(again func()) { later = append(later, again) })
	s.begin()
	later[0]()
	require.Len(t, later, 2)
	s.heal()
	later[1]()
	require.Len(t, later, 2)
	s.begin()
	later[1]()
	require.Len(t, later, 3, "of the first strike")
	later[2]()
	require.Len(t, later, 4)
}
