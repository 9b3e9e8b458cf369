package live

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"

	"github.com/espra/protoplex/nodes/cell"
	"github.com/espra/protoplex/nodes/meta"
	"github.com/espra/protoplex/nodes/placement"
)

// A node that belongs to a cell hears from its Seed which keys it owns. It owns
// none before it has heard of a table with itself in it, in this very
// incarnation: what an earlier one said is gone.

// join prepares the link to the Seed, as who is reached at l.
func (s *server) join(l net.Listener) error {
	id, credential, err := s.o.cell.Identity(s.m)
	if err != nil {
		return fmt.Errorf("live: %w", err)
	}
	if id.Name().Role != cell.RoleLive {
		return fmt.Errorf("live: the certificate is that of %s", id.Name())
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return fmt.Errorf("live: %w", err)
	}
	s.o.name, s.port, s.credential, s.fence = id.Name().Name, id, credential, meta.NewFence()
	s.link, err = cell.NewLink(s.m, cell.Options{
		Identity:     id,
		Seeds:        s.o.cell.Seeds,
		Registration: cell.Registration{Addr: net.JoinHostPort(s.m.Host().Addr.String(), port)},
		Orders:       s.fence,
		Do:           s.obey,
	})
	if err != nil {
		return fmt.Errorf("live: %w", err)
	}
	s.table = s.link.Table()
	return nil
}

// obey carries out what the Seed orders. Channels hold nothing that could be
// invalidated.
func (s *server) obey(_ context.Context, o cell.Order) error {
	if o.Do == cell.Drain {
		s.drain.Begin(s.ctx)
	}
	return nil
}

// servePort serves the meta port until ctx ends.
func (s *server) servePort(ctx context.Context) error {
	gauges := s.link.Gauges()
	for name, g := range map[string]meta.Gauge{
		"tunnels":              {Help: "Tunnels open now.", Read: func() float64 { return float64(len(s.sorted())) }},
		"members":              {Help: "Machines registered over the meta port.", Read: func() float64 { return float64(len(s.sortedMembers())) }},
		"member_subscriptions": {Help: "Subscriptions of these machines.", Read: func() float64 { return float64(s.memberSubs.Load()) }},
		"channels":             {Help: "Channels kept.", Read: func() float64 { channels, _ := s.hub.size(); return float64(channels) }},
		"history_bytes":        {Help: "Bytes of messages kept in all channels.", Read: func() float64 { _, bytes := s.hub.size(); return float64(bytes) }},
	} {
		gauges["protoplex_live_"+name] = g
	}
	return meta.Serve(ctx, s.m, meta.Options{
		Identity: s.port,
		Listen:   s.o.cell.Meta,
		Orders:   s.fence,
		Facts:    s.link.Facts(),
		Gauges:   gauges,
		Routes:   s.memberRoutes(),
		Drain:    func() error { s.drain.Begin(s.ctx); return nil },
		Health: func() error {
			if s.drain.Draining() {
				return fmt.Errorf("draining")
			}
			return nil
		},
	})
}

// leaveCell has the Seed give this node's keys to others. Until that is known
// the node serves them.
func (s *server) leaveCell() {
	if s.link != nil {
		s.link.Leave(s.ctx, "it drains")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left = true
}

// leaving reports whether nothing new is served any more: of the keys that the
// last table gives to this node.
func (s *server) leaving() bool {
	if s.link == nil {
		return s.drain.Draining()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.left
}

// farewell is the answer of a node that has left, for a key that was its own: who
// asks the Seed finds the new owner, unless there was nobody to give it to.
func (s *server) farewell() int {
	if s.link != nil && len(s.table.Current().Nodes) > 1 {
		return http.StatusMisdirectedRequest
	}
	return http.StatusServiceUnavailable
}

// epoch is the part of incarnation ids that says under whom a channel began.
func (s *server) epoch() uint64 {
	if s.link == nil {
		return s.o.epoch
	}
	return s.table.Current().Epoch
}

// serves reports whether this node serves a key, as the table and its host's
// home have it now.
func (s *server) serves(key string) bool {
	host, _, _ := strings.Cut(key, "/")
	return (host == CellHost || s.homes.serves(host)) && s.placed(s.table.Current(), key) == 0
}

// placed gives the status to answer for a key by what a table says, else 0.
func (s *server) placed(t placement.Table, key string) int {
	owner, ok := t.Owner(key)
	switch {
	case !ok:
		return http.StatusServiceUnavailable
	case owner.Name != s.o.name:
		return http.StatusMisdirectedRequest
	case s.link == nil || owner.Incarnation == s.link.Incarnation():
		return 0
	case owner.Incarnation < s.link.Incarnation():
		return http.StatusServiceUnavailable // the one before us had it; the Seed has yet to give it to us
	}
	return http.StatusMisdirectedRequest // one after us has it
}
