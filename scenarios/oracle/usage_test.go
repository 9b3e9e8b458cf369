package oracle_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/scenarios/oracle"
)

// measured is a run of 12 minutes with a fault from 3:00 to 4:00, in which all
// groups have the same usage but for what change makes of it.
func measured(change func(at time.Duration, u *oracle.Usage), running func(at time.Duration) int) oracle.History {
	h := oracle.History{Lasts: 12 * time.Minute, Faults: []oracle.Fault{{ID: "f", From: 3 * time.Minute, Until: 4 * time.Minute}}}
	for at := oracle.MeasureEvery; at <= h.Lasts; at += oracle.MeasureEvery {
		for _, g := range []string{"a live", "b proxy"} {
			u := oracle.Usage{At: at, Group: g, Arrivals: 100, Connections: 40, Bytes: 1000}
			change(at, &u)
			h.Usage = append(h.Usage, u)
		}
		h.Running = append(h.Running, oracle.Running{At: at, Goroutines: running(at)})
	}
	return h
}

func always(n int) func(time.Duration) int { return func(time.Duration) int { return n } }

func TestLoad(t *testing.T) {
	v := oracle.Load(measured(func(time.Duration, *oracle.Usage) {}, always(1)), 0, 30000)
	require.True(t, v.OK, v.First)
	require.Equal(t, "1.0x", v.Measured)
	require.Equal(t, "3.0x", v.Budget)
	require.Equal(t, 2*9*6, v.Judged)

	// A storm of half a minute.
	storm := measured(func(at time.Duration, u *oracle.Usage) {
		if u.Group == "a live" && at > 3*time.Minute && at <= 3*time.Minute+30*time.Second {
			u.Arrivals = 600
		}
	}, always(1))
	v = oracle.Load(storm, 0, 30000)
	require.False(t, v.OK)
	require.Equal(t, "3.5x", v.Measured)
	require.Equal(t, "a live had 2100 arrivals in the minute until 3:30, and 600 in its busiest one before", v.First)
	require.True(t, oracle.Load(storm, 0, 35000).OK)

	// Next to nothing may become ten times as much.
	quiet := measured(func(at time.Duration, u *oracle.Usage) {
		u.Arrivals = 1
		if at > 3*time.Minute {
			u.Arrivals = 20
		}
	}, always(1))
	require.True(t, oracle.Load(quiet, 0, 30000).OK)

	require.False(t, oracle.Load(oracle.History{Lasts: time.Minute}, 0, 30000).OK, "nothing was judged")
}

func TestBaseline(t *testing.T) {
	judge := func(h oracle.History) oracle.Verdict {
		return oracle.Baseline(h, h.Faults[0], 0, 2*time.Minute)
	}
	// More while it lasts and for a while after, and then it is over.
	v := judge(measured(func(at time.Duration, u *oracle.Usage) {
		if at > 3*time.Minute && at < 5*time.Minute+30*time.Second {
			u.Connections, u.Bytes = 400, 9000
		}
	}, always(900)))
	require.True(t, v.OK, v.First)
	require.Equal(t, 5, v.Judged)

	v = judge(measured(func(at time.Duration, u *oracle.Usage) {
		if u.Group == "b proxy" && at > 3*time.Minute {
			u.Connections = 45
		}
	}, always(900)))
	require.False(t, v.OK)
	require.Equal(t, "connections of b proxy: 45 until 6:00, and at most 40 before", v.First)

	v = judge(measured(func(at time.Duration, u *oracle.Usage) {
		u.Bytes += int64(at / time.Second)
	}, always(900)))
	require.Equal(t, "bytes on disks of a live: 1310 until 6:00, and at most 1180 before", v.First)

	v = judge(measured(func(time.Duration, *oracle.Usage) {}, func(at time.Duration) int { return 900 + int(at/time.Second) }))
	require.Equal(t, "goroutines: 1210 until 6:00, and at most 1080 before", v.First)
}
