package scenarios

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/monitor/probe"
	"github.com/espra/protoplex/monitor/record"
	"github.com/espra/protoplex/nodes"
	"github.com/espra/protoplex/sim"
)

// A power failure at any moment costs a minute of results and no more: what was
// synced is there, nothing is there twice, and what is torn is not taken for a
// result.
func TestRecordSurvivesPowerFailure(t *testing.T) {
	for seed := uint64(1); seed <= 8; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			sim.TestWith(t, sim.Options{Seed: seed}, func(t *testing.T, w *sim.World) {
				m := w.NewMachine("vantage")
				targets := []string{"us-east", "eu-west"}
				written := map[time.Time]bool{} // rounds that were recorded
				synced := 0                     // how many of them surely are on disk
				watch := func(ctx context.Context, m nodes.Machine, _ []string) error {
					r := record.Open(m, "/var/record", targets)
					found := 0
					start := m.Now().Add(-23 * time.Hour)
					for _, p := range r.Window("us-east", start, time.Minute, 23*60+1) {
						found += p.OK()
					}
					hours := 0
					for _, p := range r.Window("us-east", start, time.Hour, 25) {
						hours += p.OK()
					}
					require.GreaterOrEqual(t, found, synced)
					require.LessOrEqual(t, found, len(written))
					require.GreaterOrEqual(t, hours, found, "an hour of which results were lost may be known from its own log")
					require.LessOrEqual(t, hours, len(written))
					synced = found // what has been read back once does not go any more
					since, unsynced := m.Elapsed(), 0
					nodes.Every(ctx, m, "round", 10*time.Second, func(context.Context) {
						at := m.Now()
						written[at] = true
						for _, target := range targets {
							r.Add(record.Result{At: at, Target: target, Phases: []probe.Phase{{Name: probe.Connect, Took: time.Millisecond}}})
						}
						r.Flush()
						// Every minute all that was added so far is synced.
						if unsynced++; m.Elapsed()-since >= 2*time.Minute {
							since, synced, unsynced = m.Elapsed(), synced+unsynced-13, 13
						}
					})
					return ctx.Err()
				}
				m.OnBoot(func(m *sim.Machine) { startRole(m, "watch", nodes.Roles{"watch": watch}, nil) })
				for n := range uint64(20) {
					time.Sleep(5*time.Minute + time.Duration(w.Choose("power", n)%uint64(40*time.Minute)))
					m.PowerOff()
					m.PowerOn()
				}
				require.Greater(t, synced, 1000)
			})
		})
	}
}
