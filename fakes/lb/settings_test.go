package lb

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/fakes/internal/desk"
)

// clock is a machine whose time passes when a test says so.
type clock struct {
	*desk.Desk
	at time.Duration
}

func (c *clock) Elapsed() time.Duration { return c.at }

// A target that has become well gets a share that grows, while others have a
// whole one.
func TestSlowStart(t *testing.T) {
	c := &clock{desk.New(t, "127.0.0.1"), time.Hour}
	b := New(t.Context(), c, Options{Zone: "a", Idle: time.Minute, Settings: Settings{SlowStart: 100 * time.Second}})
	b.targets["old"] = &target{Target: Target{Name: "old"}, state: Healthy}
	b.targets["new"] = &target{Target: Target{Name: "new"}, state: Healthy, since: c.at}
	share := func() int {
		n := 0
		for range 1000 {
			if b.pick().Name == "new" {
				n++
			}
		}
		return n
	}
	require.Less(t, share(), 20)
	c.at += 50 * time.Second
	require.InDelta(t, 333, share(), 80)
	c.at += 50 * time.Second
	require.InDelta(t, 500, share(), 80)
}

// A plan is followed as a whole, again and again.
func TestFollow(t *testing.T) {
	d := desk.New(t, "127.0.0.1")
	settings := Settings{HealthPort: 1, HealthPath: "/", Interval: time.Hour, Timeout: time.Second, Healthy: 2, Unhealthy: 2, Drain: time.Hour}
	b := New(t.Context(), d, Options{Zone: "a", CrossZone: true, Idle: time.Minute})
	named := func(names ...string) Plan {
		p := Plan{Settings: settings}
		for _, n := range names {
			p.Targets = append(p.Targets, Target{Name: n, Zone: "a", Addr: netip.MustParseAddr("127.0.0.1")})
		}
		return p
	}
	states := func() map[string]State {
		all := map[string]State{}
		for _, s := range b.Targets() {
			all[s.Name] = s.State
		}
		return all
	}
	b.follow(named("one", "two"))
	require.Equal(t, map[string]State{"one": Initial, "two": Initial}, states())
	require.Equal(t, settings, b.options.Settings)
	settings.Drain = time.Minute
	b.follow(named("two", "three"))
	require.Equal(t, map[string]State{"one": Draining, "two": Initial, "three": Initial}, states())
	b.follow(named("one", "two"))
	require.Equal(t, map[string]State{"one": Initial, "two": Initial, "three": Draining}, states())
}
