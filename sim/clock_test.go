package sim_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/sim"
)

func TestClocks(t *testing.T) {
	begin := time.Date(2026, 3, 2, 14, 0, 0, 0, time.UTC)
	sim.TestWith(t, sim.Options{Start: begin}, func(t *testing.T, w *sim.World) {
		require.True(t, w.Start().Equal(begin))
		require.True(t, time.Now().Equal(begin), "package time keeps the world's time")
		m := w.NewMachine("m")
		p := m.Console()
		read := func(wall, elapsed time.Duration) {
			t.Helper()
			require.Equal(t, wall, p.Now().Sub(begin))
			require.Equal(t, elapsed, p.Elapsed())
		}
		read(0, 0)
		time.Sleep(time.Hour)
		read(time.Hour, time.Hour)
		m.Clock().Step(-10 * time.Minute) // of the wall clock alone
		read(50*time.Minute, time.Hour)
		m.Clock().Drift(1_000_000) // a thousandth fast, both
		read(50*time.Minute, time.Hour)
		time.Sleep(1000 * time.Second)
		read(50*time.Minute+1001*time.Second, time.Hour+1001*time.Second)
		m.Clock().Drift(-1_000_000)
		time.Sleep(1000 * time.Second)
		read(50*time.Minute+2000*time.Second, time.Hour+2000*time.Second)
		m.Clock().Drift(0)
		m.Pause()
		m.Clock().Step(10 * time.Minute)
		time.Sleep(time.Minute)
		read(time.Hour+2000*time.Second, time.Hour+2000*time.Second)
		m.Resume()
		read(time.Hour+2060*time.Second, time.Hour+2060*time.Second)

		m.Clock().Drift(500_000_000)
		before := p.Elapsed()
		time.Sleep(1500 * time.Microsecond)
		require.Equal(t, 2250*time.Microsecond, p.Elapsed()-before)
		m.Clock().Drift(-500_000_000)
		time.Sleep(1500 * time.Microsecond)
		m.Clock().Drift(0)
		require.Equal(t, 3*time.Millisecond, p.Elapsed()-before)
		time.Sleep(time.Minute - 3*time.Millisecond)
		read(time.Hour+2120*time.Second, time.Hour+2120*time.Second)

		// A boot begins to count anew; the wall clock has a battery.
		m.PowerOff()
		time.Sleep(time.Minute)
		m.PowerOn()
		p = m.Console()
		read(time.Hour+2180*time.Second, 0)
		time.Sleep(time.Second)
		read(time.Hour+2181*time.Second, time.Second)
		require.Equal(t, p.Now().String(), p.Now().Round(0).String(), "no monotonic part")
	})
}

// A wall clock that has stopped is set right when it goes on. Elapsed time, drift
// and steps do not wait for it.
func TestStoppedClock(t *testing.T) {
	begin := time.Date(2026, 3, 2, 14, 0, 0, 0, time.UTC)
	sim.TestWith(t, sim.Options{Start: begin}, func(t *testing.T, w *sim.World) {
		m := w.NewMachine("m")
		p := m.Console()
		read := func(wall, elapsed time.Duration) {
			t.Helper()
			require.Equal(t, wall, p.Now().Sub(begin))
			require.Equal(t, elapsed, p.Elapsed())
		}
		time.Sleep(time.Minute)
		m.Clock().Stop()
		time.Sleep(time.Minute)
		m.Clock().Stop()
		read(time.Minute, 2*time.Minute)
		m.Clock().Step(time.Hour)
		time.Sleep(time.Minute)
		read(time.Hour+time.Minute, 3*time.Minute)
		m.Clock().Start()
		m.Clock().Start()
		read(time.Hour+3*time.Minute, 3*time.Minute)
		time.Sleep(time.Minute)
		read(time.Hour+4*time.Minute, 4*time.Minute)
	})
}
