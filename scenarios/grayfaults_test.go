package scenarios

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/sim"
)

// A gateway that delivers late says that a text is on its way; another gateway is
// asked, if there is one, and nobody a third time.
func TestTextsDelayed(t *testing.T) {
	s := troubled(t, `
  - {id: late, at: 1m, for: 10m, fault: texts-delayed, on: provider twilio, by: 25m}
  - {id: expired, at: 1m, for: 50m, fault: domain-expired, on: role com}
`)
	sim.TestWith(t, sim.Options{Start: s.Starts}, func(t *testing.T, w *sim.World) {
		_, watch, strikes, _ := struck(t, w, s)
		seen := observed(w)
		strikes["late"].begin()
		strikes["expired"].begin()
		time.Sleep(20 * time.Minute)
		require.Len(t, seen().of("log: sms delivered late", ""), 0)
		taken := len(watch.texts)
		require.Equal(t, 4, taken, "two copies for each of two admins")
		time.Sleep(10 * time.Minute)
		late := seen().of("log: sms delivered late", "")
		require.Len(t, late, taken)
		require.Equal(t, "25m0s", late[0].Get("late"))
		require.Len(t, watch.texts, taken)
		require.NotZero(t, strikes["late"].touched())
		strikes["late"].heal()
		strikes["expired"].heal()
		time.Sleep(5 * time.Minute)
		require.Len(t, watch.texts, taken+2, "and one all-clear for each")
		require.Len(t, seen().of("log: sms delivered", ""), 2)
	})
}
