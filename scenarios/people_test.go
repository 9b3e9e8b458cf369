package scenarios

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/monitor"
	"github.com/espra/protoplex/scenarios/story"
	"github.com/espra/protoplex/sim"
)

// A phone gets a text when it is delivered, and none that is not.
func TestPhonesHear(t *testing.T) {
	p := phones{map[string]chan string{"+1": make(chan string, 2)}, map[string]string{}}
	told := func(kind, to, id, body string) {
		p.hear(sim.Event{Kind: logEvent + kind, Fields: []sim.Field{{Key: "to", Value: to}, {Key: "id", Value: id}, {Key: "body", Value: body}}})
	}
	told("sms accepted", "+1", "a", "first")
	told("sms accepted", "+2", "b", "to somebody else")
	told("sms accepted", "+1", "c", "never")
	told("sms accepted", "+1", "d", "late")
	require.Empty(t, p.texts["+1"])
	told("sms delivered", "+1", "a", "")
	told("sms delivered", "+2", "b", "")
	told("sms not delivered", "+1", "c", "")
	told("sms delivered late", "+1", "d", "")
	require.Empty(t, p.sent)
	require.Equal(t, "first", <-p.texts["+1"])
	require.Equal(t, "late", <-p.texts["+1"])
	require.Empty(t, p.texts["+1"])
	for range 3 {
		told("sms delivered", "+1", "e", "") // nobody waits for a phone that is full
	}
}

// The monitors know of levels, and of a secret, only where people answer.
func TestLevels(t *testing.T) {
	config := func(admins string) (c monitor.Config) {
		s, err := story.Parse("texting.yaml", []byte(strings.Replace(texting, "  vps: [fremont]", "  vps: [fremont]\n  admins: "+admins, 1)))
		require.NoError(t, err)
		c.Listen = ":8700"
		(&platform{story: s}).people(&c)
		return c
	}
	require.Equal(t, monitor.Config{Listen: ":8700", Admins: []monitor.Admin{{Name: "ana", Phone: "+15550201000"}, {Name: "raj", Phone: "+15550201001"}}},
		config("[ana, raj]"))
	c := config("[{name: lee, after: 5m}, ana, {name: raj, after: 2m, acknowledges: 1m}, eve]")
	require.Equal(t, []monitor.Level{{Admins: []string{"ana", "eve"}}, {After: 2 * time.Minute, Admins: []string{"raj"}}, {After: 5 * time.Minute, Admins: []string{"lee"}}},
		c.Escalate)
	require.Equal(t, secretFile, c.Secret)
	require.Equal(t, "https://espra.com:8700/i/", c.Status)
}

// Whoever acknowledges has no way to when their phone reaches nobody, and the next
// are woken.
func TestPhoneWithoutNetwork(t *testing.T) {
	s, err := Load("acknowledged")
	require.NoError(t, err)
	s.Timeline = append(s.Timeline, story.Event{ID: "no-network", At: time.Minute, Latest: time.Minute, Fault: "isolated",
		On: &story.Selector{Kind: story.ByMachine, Name: "raj-phone"}, Times: 1})
	sim.TestWith(t, sim.Options{Start: s.Starts, Seed: 1}, func(t *testing.T, w *sim.World) {
		r, err := Play(w, s, Options{})
		require.NoError(t, err)
		by := map[string]string{}
		for _, v := range r.Verdicts {
			by[v.Name] = v.First
		}
		require.Contains(t, by["pages to lee"], `was sent one too many: "ESPRA DOWN us-east`)
		require.Contains(t, by["page acknowledged"], "; lee did at ")
		require.Empty(t, r.Idle)
	})
}
