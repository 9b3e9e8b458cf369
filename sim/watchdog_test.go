package sim

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The watchdog sees time move also in a world in which only timers fire.
func TestWatchdogSeesTimersMoveTime(t *testing.T) {
	Test(t, func(t *testing.T, w *World) {
		for range 3 {
			time.Sleep(time.Minute)
			require.Less(t, w.Elapsed()-time.Duration(w.dog.reached.Load()), watchdogPulse+1)
		}
	})
}
