package scenarios

import (
	"crypto/tls"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/scenarios/story"
	"github.com/espra/protoplex/sim"
)

// The end of a fault does not undo another that lasts, whichever of the two began
// first, and the end of both is the end.
func TestOverlap(t *testing.T) {
	on := func(state func(sim.State) bool) func(*platform) string {
		return func(p *platform) string { return fmt.Sprint(state(p.hosts["fremont"].State())) }
	}
	gains := func(of func(*sim.Machine) time.Duration) func(*platform) string {
		return func(p *platform) string {
			before, at := of(p.hosts["fremont"]), time.Now()
			time.Sleep(10 * time.Second)
			return (of(p.hosts["fremont"]) - before).Round(time.Millisecond).String() + " in " + time.Since(at).String()
		}
	}
	config := func(p *platform) string {
		data, err := p.readFile(p.hosts["fremont"], confFile)
		require.NoError(t, err)
		return fmt.Sprint(strings.Contains(string(data), "prob:"))
	}
	certificate := func(p *platform) string {
		data, err := p.readFile(p.hosts["fremont"], certFile)
		require.NoError(t, err)
		pair, err := tls.X509KeyPair(data, data)
		if err != nil {
			return "broken"
		}
		return fmt.Sprint("ends soon: ", pair.Leaf.NotAfter.Before(p.world.Start().Add(24*time.Hour)))
	}
	for _, c := range []struct {
		name, a, b string
		state      func(*platform) string
	}{
		{"machine-lost twice", "machine-lost", "machine-lost", on(func(s sim.State) bool { return s.On })},
		{"machine-lost and lost-after", "machine-lost", "lost-after, effects: 1", on(func(s sim.State) bool { return s.On })},
		{"paused twice", "paused", "paused", on(func(s sim.State) bool { return s.Paused })},
		{"hung twice", "hung", "hung", on(func(s sim.State) bool { return s.Hung })},
		{"clock-frozen twice", "clock-frozen", "clock-frozen", gains(func(m *sim.Machine) time.Duration { return m.State().Clock })},
		{"clock-drift twice", "clock-drift, gains: 2ms", "clock-drift, gains: 3ms", gains(func(m *sim.Machine) time.Duration { return m.State().Clock })},
		{"no-sockets twice", "no-sockets", "no-sockets", func(p *platform) string {
			l, err := p.hosts["fremont"].Listen("tcp", ":4711")
			if err == nil {
				require.NoError(t, l.Close())
			}
			return fmt.Sprint(err)
		}},
		{"bad-push twice", "bad-push, file: config", "bad-push, file: config", config},
		{"bad-push and certificate-ends", "bad-push, file: certificate", "certificate-ends, in: 1h", certificate},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			const event = "{id: %s, at: 1m, for: 1m, on: vps fremont, fault: %s}"
			overlap(t, troubledVantages(t, fmt.Sprintf(event, "a", c.a)+", "+fmt.Sprintf(event, "b", c.b)), c.state)
		})
	}
	scaling := func(state func(*fleet) any) func(*platform) string {
		return func(p *platform) string { return fmt.Sprint(state(p.fleets["us-east"])) }
	}
	for _, c := range []struct {
		name, a, b string
		state      func(*platform) string
	}{
		{"no-capacity twice", "no-capacity", "no-capacity", scaling(func(f *fleet) any { return f.closed })},
		{"launches-stuck twice", "launches-stuck", "launches-stuck", scaling(func(f *fleet) any { return f.stuck })},
		{"boots-slow twice", "boots-slow, times: 2x", "boots-slow, times: 3x", scaling(func(f *fleet) any { return f.slow })},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			const event = "  - {id: %s, at: 1m, for: 1m, on: region us-east, fault: %s}\n"
			overlap(t, parseEveryAPI(t, fmt.Sprintf(event, "a", c.a)+fmt.Sprintf(event, "b", c.b)), c.state)
		})
	}
	t.Run("stale-resolver twice", func(t *testing.T) {
		t.Parallel()
		const event = "  - {id: %s, at: 1m, for: 1m, on: clients few, fault: stale-resolver, keeps: %s}\n"
		overlap(t, troubled(t, fmt.Sprintf(event, "a", "5m")+fmt.Sprintf(event, "b", "9m")), func(p *platform) string {
			var keeps []time.Duration
			for _, name := range slices.Sorted(maps.Keys(p.naming.keeps)) {
				keeps = append(keeps, time.Duration(p.naming.keeps[name].keeps.Load()))
			}
			return fmt.Sprint(keeps)
		})
	})
}

// overlap has the faults a and b of a story last at the same time.
func overlap(t *testing.T, s *story.Story, state func(*platform) string) {
	sim.TestWith(t, sim.Options{Start: s.Starts}, func(t *testing.T, w *sim.World) {
		p, _, strikes, _ := struck(t, w, s)
		look := func(after func()) string {
			after()
			time.Sleep(30 * time.Second)
			return state(p)
		}
		a, b := strikes["a"], strikes["b"]
		well := look(func() {})
		onlyA := look(a.begin)
		require.NotEqual(t, well, onlyA)
		require.Equal(t, well, look(a.heal))
		onlyB := look(b.begin)
		require.NotEqual(t, well, onlyB)
		both := look(a.begin)
		require.NotEqual(t, well, both)
		require.Equal(t, onlyB, look(a.heal), "a healed while b lasted")
		require.Equal(t, both, look(a.begin))
		require.Equal(t, onlyA, look(b.heal), "b healed while a lasted")
		require.Equal(t, well, look(a.heal))
	})
}

// A fault that strikes a machine does so also where another has lost its hold on it
// with the power.
func TestOverlapAfterAPowerLoss(t *testing.T) {
	for fault, state := range map[string]func(*sim.Machine) bool{
		"paused": func(m *sim.Machine) bool { return m.State().Paused },
		"hung":   func(m *sim.Machine) bool { return m.State().Hung },
		"no-sockets": func(m *sim.Machine) bool {
			l, err := m.Listen("tcp", ":4711")
			if err == nil {
				require.NoError(t, l.Close())
			}
			return err != nil
		},
	} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			s := troubledVantages(t, fmt.Sprintf("{id: a, at: 1m, for: 1m, on: vps fremont, fault: %s}, {id: b, at: 1m, for: 1m, on: vps fremont, fault: %s}", fault, fault))
			sim.TestWith(t, sim.Options{Start: s.Starts}, func(t *testing.T, w *sim.World) {
				p, _, strikes, _ := struck(t, w, s)
				m, a, b := p.hosts["fremont"], strikes["a"], strikes["b"]
				a.begin()
				require.True(t, state(m))
				m.PowerOff()
				m.PowerOn()
				require.False(t, state(m), "a new boot")
				b.begin()
				require.True(t, state(m), "b strikes")
				a.heal()
				require.True(t, state(m), "a healed while b lasted")
				b.heal()
				require.False(t, state(m))
			})
		})
	}
}

func TestGreatest(t *testing.T) {
	var g greatest[int]
	require.Equal(t, 3, g.begin(3))
	require.Equal(t, 5, g.begin(5))
	require.Equal(t, 5, g.begin(3))
	require.Equal(t, 3, g.end(5))
	require.Equal(t, 3, g.end(3))
	require.Equal(t, 0, g.end(3))
}
