package scenarios

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/scenarios/oracle"
	"github.com/espra/protoplex/scenarios/story"
	"github.com/espra/protoplex/sim"
)

// Clients who lose their tunnels one after another are told of together, but
// with the time for which one of them was away, not with that of all.
func TestClientLines(t *testing.T) {
	s := &story.Story{Workload: []story.Group{{Home: "us-1.live.espra.com", Browsers: 3, Do: []story.Action{{Verb: story.Subscribe}}}}}
	h := &oracle.History{Lasts: 10 * time.Minute}
	saw := func(at time.Duration, client string, kind oracle.Kind) {
		h.Streams = append(h.Streams, oracle.Stream{At: at, Client: client, Kind: kind})
	}
	for _, c := range []string{"a", "b", "c"} {
		saw(time.Second, c, oracle.Connected)
	}
	for i, c := range []string{"a", "b", "c"} { // 20 s apart, for 1, 2 and 3 s
		at := time.Minute + time.Duration(i)*20*time.Second
		saw(at, c, oracle.Disconnected)
		saw(at+time.Duration(i+1)*time.Second, c, oracle.Connected)
	}
	// Two at once, one of them twice, and for good.
	saw(5*time.Minute, "a", oracle.Disconnected)
	saw(5*time.Minute+time.Second, "b", oracle.Disconnected)
	saw(5*time.Minute+2*time.Second, "b", oracle.Connected)
	saw(5*time.Minute+8*time.Second, "b", oracle.Disconnected)
	saw(5*time.Minute+10*time.Second, "a", oracle.Connected)
	saw(5*time.Minute+12*time.Second, "b", oracle.Connected)
	saw(8*time.Minute, "c", oracle.Disconnected)
	require.Equal(t, []Line{
		{time.Second, "clients", "3 connected: 3 through us-1"},
		{time.Minute, "clients", "3 of 3 cut off"},
		{time.Minute + 43*time.Second, "clients", "all 3 connected again, each within 3 s (slowest: c)"},
		{5 * time.Minute, "clients", "2 of 3 cut off"},
		{5*time.Minute + 12*time.Second, "clients", "all 3 connected again, each within 10 s (slowest: a)"},
		{8 * time.Minute, "clients", "1 of 3 cut off"},
		{10 * time.Minute, "clients", "1 of 3 still not connected"},
	}, clientLines(s, h))
}

// What a process held whose machine was switched off says nothing of the one that
// has its name now.
func TestTablesOfEarlierProcesses(t *testing.T) {
	sim.TestWith(t, sim.Options{}, func(t *testing.T, w *sim.World) {
		m := w.NewMachine("us-live-1", sim.In("us-east", "us-east-a"))
		watch := newWatcher(&platform{story: &story.Story{}, world: w, hosts: map[string]*sim.Machine{"us-live-1": m}}, false)
		heard := func(at time.Duration, epoch, revision, after string) {
			watch.event(sim.Event{At: at, Machine: "us-live-1", Proc: "live", Kind: logEvent + "table heard", Fields: []sim.Field{{Key: "epoch", Value: epoch}, {Key: "revision", Value: revision}, {Key: "after", Value: after}}})
		}
		heard(1*time.Second, "3", "4", "0.0")
		heard(2*time.Second, "3", "5", "3.4")
		heard(9*time.Second, "2", "9", "0.0")
		heard(9*time.Second, "2", "8", "0.0") // in no order
		require.Len(t, watch.tables, 2)
		require.True(t, oracle.OneLeader(oracle.History{Tables: watch.tables[:1]}).OK)
	})
}
