package oracle

import (
	"strings"
	"time"
)

// channel is one channel of one placement key of one live host.
type channel struct{ host, key, name string }

// seat is one client's subscription to a channel, across reconnections.
type seat struct {
	client string
	channel
}

// session is the time between the answer to a subscription and its end.
type session struct {
	seat
	from, until time.Duration
	base        Position                 // where it went on
	heard       map[uint64]time.Duration // when each offset was, first
}

// region is where the channel's owner was.
func (s *session) region() string { return incarnationRegion(s.base.Incarnation) }

// incarnationRegion reads the region from "us-east-3-0123456789abcdef"; regions
// may themselves contain hyphens.
func incarnationRegion(incarnation string) string {
	for range 2 {
		i := strings.LastIndexByte(incarnation, '-')
		if i < 0 {
			return ""
		}
		incarnation = incarnation[:i]
	}
	return incarnation
}

// sessions gives all sessions of a history in the order in which they began.
// One that is still open at the end of the history ends there.
func sessions(h History) []*session {
	var all []*session
	open := map[seat]*session{}
	tunnels := map[seat][]seat{} // those with sessions, by tunnel: a seat without channel name
	for _, e := range h.Streams {
		tunnel := seat{e.Client, channel{host: e.Host, key: e.Key}}
		at := seat{e.Client, channel{e.Host, e.Key, e.Channel}}
		switch e.Kind {
		case Subscribed:
			if s := open[at]; s != nil {
				s.until = e.At
			} else {
				tunnels[tunnel] = append(tunnels[tunnel], at)
			}
			s := &session{seat: at, from: e.At, until: h.Lasts, base: e.Position, heard: map[uint64]time.Duration{}}
			open[at] = s
			all = append(all, s)
		case Message:
			if s := open[at]; s != nil && s.base.Incarnation == e.Position.Incarnation {
				if _, again := s.heard[e.Position.Offset]; !again {
					s.heard[e.Position.Offset] = e.At
				}
			}
		case Disconnected:
			for _, at := range tunnels[tunnel] {
				open[at].until = e.At
				delete(open, at)
			}
			delete(tunnels, tunnel)
		}
	}
	return all
}
