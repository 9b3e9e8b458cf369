package live

import (
	"net"
	"slices"
	"strconv"
	"time"
)

// A guest is a client that stays: in a tunnel, with a stream of events, or for
// a poll that waits. All count against one limit, and whoever closes a host, a
// key or the node asks them to leave.
type guest interface {
	who() *visit
	// ask tells a guest to leave, and why. It never blocks, and gives false if
	// that was decided already.
	ask(e ending) bool
}

// visit is what all guests have in common.
type visit struct {
	id        uint64
	name      string // the id as text, for timers
	host, key string
	client    string
	raw       net.Conn // what the guest came over, to cut it
}

func (v *visit) who() *visit { return v }

// cut ends a guest at once, whatever state it is in.
func (v *visit) cut() {
	if v.raw != nil {
		_ = v.raw.Close()
	}
}

// ending is why a guest leaves. The code and the text are what the peer is
// told, or what it told us.
type ending struct {
	code  int
	text  string
	retry time.Duration // when to come back, at the soonest
}

// When many are asked to leave at once, each is told a time of its own to come
// back at, lest all come at once.
const (
	fewGuests   = 10
	spreadRetry = 5 * time.Second
)

// full says why there is no place for another guest of a client, if there is
// none. The caller holds the lock.
func (s *server) full(client string) *ending {
	switch {
	case len(s.guests) >= s.o.tunnels:
		return &ending{code: CloseFull, text: "too many tunnels"}
	case s.crowd.crowded(client):
		return &ending{code: ClosePolicy, text: "too many tunnels of one client"}
	}
	return nil
}

// admit gives a guest its id and its place, and nil; or the reason why not. The
// guest counts as running until its caller says dismiss. From here on whoever
// closes its host or key sees it.
func (s *server) admit(g guest, prepare func()) *ending {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return &ending{code: CloseRestart, text: "restart, resume"}
	}
	v := g.who()
	if full := s.full(v.client); full != nil {
		return full
	}
	s.crowd.enter(v.client)
	s.opened++
	v.id = s.opened
	v.name = strconv.FormatUint(v.id, 10)
	prepare()
	s.running.Add(1)
	s.guests[v.id] = g
	return nil
}

func (s *server) dismiss(g guest) {
	s.mu.Lock()
	delete(s.guests, g.who().id)
	s.crowd.leave(g.who().client)
	s.mu.Unlock()
	s.running.Done()
}

// tellGap logs that somebody who came back from a position was told of a gap.
func (s *server) tellGap(recovered, key, channel string, from *Position, to Position) {
	if recovered != RecoveredGap {
		return
	}
	why := "another incarnation"
	if from.Incarnation == to.Incarnation {
		why = "not kept"
	}
	s.m.Log().Debug("gap told", "key", key, "channel", channel, "why", why)
}

// askAll asks those guests to leave for whom which holds, and gives their
// number.
func (s *server) askAll(which func(*visit) bool, code int, text string) int {
	all := slices.DeleteFunc(s.sorted(), func(g guest) bool { return !which(g.who()) })
	n := 0
	for _, g := range all {
		e := ending{code: code, text: text}
		if len(all) > fewGuests {
			// From 1 ms, for 0 is none.
			e.retry = time.Duration(1+s.m.Rand(s.spread, g.who().id)%uint64(spreadRetry/time.Millisecond)) * time.Millisecond
		}
		if g.ask(e) {
			n++
		}
	}
	return n
}
