package live

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/nodes"
	"github.com/espra/protoplex/nodes/placement"
)

// tabled is a server without network whose tables a test gives.
type tabled struct {
	*server
	t         *testing.T
	one, both []placement.Node // of these the first is the server
}

func newTabled(t *testing.T) *tabled {
	table, err := placement.Parse("live-1=10.0.0.1:8080,live-2=10.0.0.2:8080")
	require.NoError(t, err)
	p := newPipes()
	o, err := parse(p, []string{"--live", table.String()})
	require.NoError(t, err)
	s, err := newServer(t.Context(), p, o, p)
	require.NoError(t, err)
	s.drain = nodes.NewDrain(t.Context(), p, nodes.DrainOptions{})
	go s.watchTable(t.Context())
	synctest.Wait()
	return &tabled{server: s, t: t, one: table.Nodes[1:], both: table.Nodes}
}

// hear takes the next table of an epoch.
func (s *tabled) hear(all []placement.Node) {
	now := s.table.Current().Position()
	require.NoError(s.t, s.table.Set(placement.Table{Epoch: now.Epoch, Revision: now.Revision + 1, Nodes: all}))
}

// settle lets what was heard be acted on.
func settle() {
	time.Sleep(time.Second)
	synctest.Wait()
}

// ours gives keys of which the server has them.
func (s *tabled) ours(n int) (keys []string) {
	for i := 0; len(keys) < n; i++ {
		if key := fmt.Sprintf("%s/room-%d", testHost, i); s.placed(placement.Table{Nodes: s.both}, key) == 0 {
			keys = append(keys, key)
		}
	}
	return keys
}

// say publishes, and gives the position.
func (s *tabled) say(key string) *Position {
	at, err := s.hub.publish("192.0.2.7", key, "c", "x")
	require.NoError(s.t, err)
	return &at
}

// recovered is what somebody who comes back from a position is told.
func (s *tabled) recovered(key string, from *Position) string {
	told, _, err := s.hub.read("192.0.2.7", key, "c", from, nil)
	require.NoError(s.t, err)
	return told.recovered
}

// caller is a guest, and what it does when it is first asked to leave.
type caller struct {
	visit
	asked []int // the codes
	do    func()
}

func (c *caller) ask(e ending) bool {
	c.asked = append(c.asked, e.code)
	if c.do != nil && len(c.asked) == 1 {
		c.do()
	}
	return true
}

// TestLostForAMoment: others have served a key that was away, however soon the
// table that says so is followed by one that gives it back, as it is when a node
// is back that the Seed has not heard for a while.
func TestLostForAMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTabled(t)
		key := s.ours(1)[0]
		at, guest := s.say(key), &caller{visit: visit{host: testHost, key: key}}
		require.Nil(t, s.admit(guest, func() {}))

		s.hear(s.both)
		settle()
		require.Equal(t, RecoveredNothing, s.recovered(key, at), "what stays is left alone")

		s.hear(s.one)
		s.hear(s.both)
		settle()
		require.Equal(t, RecoveredGap, s.recovered(key, at))
		require.Equal(t, []int{CloseMoved}, guest.asked)
	})
}

// TestLostMeanwhile: a table that comes while the one before is acted on is not
// missed.
func TestLostMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTabled(t)
		keys := s.ours(2)
		late := s.say(keys[1])
		first := &caller{visit: visit{host: testHost, key: keys[0]}, do: func() { s.hear(s.one) }}
		require.Nil(t, s.admit(first, func() {}))

		// A third node has the first of the two keys.
		for i := 3; ; i++ {
			three := placement.Table{Nodes: append(s.both[:2:2], placement.Node{Name: fmt.Sprint("live-", i), Addr: "10.0.0.3:8080"})}
			if s.placed(three, keys[0]) != 0 && s.placed(three, keys[1]) == 0 {
				s.hear(three.Nodes)
				break
			}
		}
		settle()
		require.Equal(t, []int{CloseMoved}, first.asked[:1])
		require.Zero(t, s.hub.count)
		s.hear(s.both)
		require.Equal(t, RecoveredGap, s.recovered(keys[1], late))
	})
}

// TestLostBeforeTheChannel: no channel is made for a key that has gone since its
// request was looked at. It would be there still when the key returns.
func TestLostBeforeTheChannel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTabled(t)
		key := s.ours(1)[0]
		s.hear(s.one)
		settle()
		_, err := s.hub.publish("192.0.2.7", key, "c", "x")
		require.ErrorIs(t, err, errNotOurs)
		w := httptest.NewRecorder()
		s.accept(w, "192.0.2.7", key, "c", "x")
		require.Equal(t, http.StatusMisdirectedRequest, w.Code)
		require.Zero(t, s.hub.count)

		s.hear(s.both)
		settle()
		s.say(key)
	})
}

// TestLostWhilePolled: a poll that is told to leave makes no channel in the place of
// the one that is gone.
func TestLostWhilePolled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTabled(t)
		key := s.ours(1)[0]
		at := s.say(key)
		w := httptest.NewRecorder()
		go s.openPoll(w, httptest.NewRequest("GET", "/live/k/c", nil), visit{host: testHost, key: key}, "c", question{position: at, wait: time.Minute})
		synctest.Wait()

		every := func(string) bool { return true }
		s.hub.forget(every) // which may be before the poll has understood
		s.askAll(func(*visit) bool { return true }, CloseMoved, "moved, resume")
		settle()
		require.Equal(t, http.StatusMisdirectedRequest, w.Code)
		require.Zero(t, s.hub.count)
	})
}
