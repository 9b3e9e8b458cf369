package live

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/nodes"
)

// answer is what a poll gets.
type answer struct {
	status    int
	Recovered string
	Position  Position
	Messages  []struct {
		Op, Channel, Data string
		Offset            uint64
	}
}

func (a answer) said() (all []string) {
	for i, m := range a.Messages {
		if m.Op != "message" || m.Offset != a.Position.Offset-uint64(len(a.Messages)-1-i) {
			return []string{"out of place"}
		}
		all = append(all, m.Data)
	}
	return all
}

func (n *node) ask(t testing.TB, path string) answer {
	t.Helper()
	res := n.get(t, testHost, path, nil)
	a := answer{status: res.StatusCode}
	if a.status == http.StatusOK {
		require.Equal(t, "application/json", res.Header.Get("Content-Type"))
		require.Equal(t, "no-store", res.Header.Get("Cache-Control"))
		require.NoError(t, json.NewDecoder(res.Body).Decode(&a))
	}
	return a
}

// waiting starts a poll and returns once it waits.
func (n *node) waiting(t testing.TB, path string) <-chan answer {
	t.Helper()
	answers := make(chan answer, 1)
	go func() {
		defer close(answers) // whatever fails
		answers <- n.ask(t, path)
	}()
	n.log.await(t, "poll waits")
	return answers
}

func TestPoll(t *testing.T) {
	n := start(t, "--history", "3")
	a := n.ask(t, "k/c?wait=50s")
	require.Equal(t, "fresh", a.Recovered, "at once, for there is no position to wait at")
	require.Empty(t, a.Messages)
	first := a.Position

	from := func(p Position) string { return "k/c?wait=50s&position=" + p.String() }
	one, two := n.waiting(t, from(first)), n.waiting(t, from(first))
	at := n.publish(t, "k/c", "one")
	for _, c := range []<-chan answer{one, two} {
		a = <-c
		require.Equal(t, "replay", a.Recovered)
		require.Equal(t, at, a.Position)
		require.Equal(t, []string{"one"}, a.said())
	}

	for _, data := range []string{"two", "three", "four\n"} {
		at = n.publish(t, "k/c", data)
	}
	a = n.ask(t, from(Position{at.Incarnation, 2}))
	require.Equal(t, []string{"three", "four\n"}, a.said())
	require.Equal(t, at, a.Position)
	a = n.ask(t, "k/c?wait=20ms&position="+at.String())
	require.Equal(t, "nothing-missed", a.Recovered)
	require.Equal(t, at, a.Position)
	require.NotNil(t, a.Messages)
	require.Empty(t, a.Messages)

	for name, strange := range map[string]Position{
		"too old":         first,
		"nowhere":         {"x", 1},
		"the future":      {at.Incarnation, at.Offset + 1},
		"another channel": n.publish(t, "k/d", "x"),
		"another key":     n.publish(t, "j/c", "x"),
	} {
		t.Run(name, func(t *testing.T) {
			a := n.ask(t, from(strange))
			require.Equal(t, "gap", a.Recovered)
			require.Equal(t, at, a.Position)
			require.Empty(t, a.Messages)
		})
	}
	require.Equal(t, 400, n.ask(t, "k/c?position=x").status)
	require.Equal(t, 400, n.ask(t, "k/c?wait=x").status)
}

func TestPollsAreBounded(t *testing.T) {
	n := start(t, "--max-tunnels", "2")
	path := "k/c?wait=50s&position=" + n.publish(t, "k/c", "x").String()
	one, two := n.waiting(t, path), n.waiting(t, path)
	require.Equal(t, 503, n.ask(t, path).status)
	n.publish(t, "k/c", "y")
	require.Equal(t, []string{"y"}, (<-one).said())
	require.Equal(t, []string{"y"}, (<-two).said())
	require.Equal(t, []string{"y"}, n.ask(t, path).said())
}

func TestPollIsToldToLeave(t *testing.T) {
	n := startWith(t, map[string][]string{"TXT _home." + testHost: {"v=home1 region=us-east epoch=1"}},
		"--home", testHost, "--home-check", "20ms")
	poll := n.waiting(t, "k/c?wait=50s&position="+n.publish(t, "k/c", "x").String())
	n.setHome(testHost, "v=home1 region=eu-west epoch=2")
	require.Equal(t, 421, (<-poll).status)

	n.setHome(testHost, "v=home1 region=us-east epoch=3")
	n.log.await(t, "home here")
	poll = n.waiting(t, "k/c?wait=50s&position="+n.publish(t, "k/c", "x").String())
	n.signals <- nodes.Terminate
	require.Equal(t, 503, (<-poll).status)
	require.NoError(t, <-n.done)
	n.done <- nil
}
