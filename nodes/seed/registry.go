package seed

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/espra/protoplex/nodes/cell"
	"github.com/espra/protoplex/nodes/placement"
)

func (in registered) happen(c *core, now time.Duration) {
	if reason := c.objection(now, in); reason != "" {
		refused := cell.Refused{Reason: reason}
		if m := c.members[in.ID()]; m != nil && in.Addr == m.Addr && in.Incarnation < m.Incarnation {
			refused.Ask, refused.Exceed = c.name, m.Incarnation
		}
		c.refuse(in.stream, refused)
		return
	}
	m, event := c.members[in.ID()], "joined"
	switch {
	case m == nil:
		m = &member{}
		c.members[in.ID()] = m
	case in.same(m):
		event = "came back"
		if c.streams[m.stream] == m {
			c.cut(m.stream, "another stream of this process has come")
		}
	default:
		event = "restarted"
		c.nodeLeft(m, "a later incarnation is here")
		if c.streams[m.stream] == m {
			c.cut(m.stream, "a later incarnation has registered")
		}
		m.drain = ""
	}
	if m.Name == "" || event == "restarted" {
		c.tell(slog.LevelInfo, "node joined", "node", in.ID(), "role", in.Role, "zone", in.Zone, "reason", event, "state", c.word())
	}
	m.Registration, m.stream, m.heard, m.came = in.Registration, in.stream, now, true
	c.streams[m.stream] = m
	if m.places() {
		c.because("%s %s", m.Name, event)
	}
	c.greet(m.stream)
	c.catchUp(now, m)
	if m.drain != "" && !in.Draining && !c.frozen {
		c.order(wanted{do: cell.Drain, node: m.Name, by: m.drain}, m.stream) // the first may be lost
	}
}

// objection says why a process cannot register, or nothing.
func (c *core) objection(now time.Duration, in registered) string {
	if !c.leads {
		return notLeader
	}
	if err := in.Check(); err != nil {
		return err.Error()
	}
	if newest := (placement.Position{Epoch: c.epoch, Revision: c.revision()}); in.Held.Compare(newest) > 0 {
		return fmt.Sprintf("the table that you hold is at %s, but this leader's newest at %s", in.Held, newest)
	}
	m := c.members[in.ID()]
	if m == nil {
		if len(c.members) >= c.rules.members {
			return fmt.Sprintf("the cell is full: %d processes", c.rules.members)
		}
		if in.Role == cell.RoleLive && in.Proc == "" && len(c.placed()) >= cell.MaxTable {
			return fmt.Sprintf("the cell is full: %d Live nodes", cell.MaxTable)
		}
		return ""
	}
	// A process that starts anew on the same address has replaced the one before,
	// for an address cannot be had twice; if its clock was set back it learns what to
	// exceed. One from elsewhere has a name by mistake.
	later := in.Addr == m.Addr && in.Incarnation > m.Incarnation
	if in.same(m) || later || now-m.heard >= c.silence {
		return ""
	}
	return fmt.Sprintf("the name %s is that of incarnation %d at %s, until that has been silent for %v",
		in.ID(), m.Incarnation, m.Addr, c.silence)
}

// same reports whether it is the very process that is known already.
func (in registered) same(m *member) bool {
	return in.Addr == m.Addr && in.Incarnation == m.Incarnation
}

// places reports whether a member is one of those that keys can live on.
func (m *member) places() bool { return m.Role == cell.RoleLive && m.Proc == "" }

// draining reports whether it shall have none, for it is on its way out.
func (m *member) draining() bool { return m.Draining || m.drain != "" }

// hear gives the member that a stream is of, and notes that it lives. Streams
// that were cut may still have had something to say.
func (c *core) hear(now time.Duration, stream uint64) *member {
	m := c.streams[stream]
	if m != nil {
		m.heard = now
	}
	return m
}

func (in beaten) happen(c *core, now time.Duration) {
	m := c.hear(now, in.stream)
	if m == nil {
		return
	}
	m.Held = in.Held
	c.send(cell.TypeAnswer, c.revision(), cell.Answer{N: in.N, State: c.state()}, m.stream)
}

func (in reported) happen(c *core, now time.Duration) {
	if c.hear(now, in.stream) == nil || c.settled || in.Table.Epoch >= c.epoch || in.Check() != nil {
		return
	}
	if in.Table.Position().Compare(c.table.Position()) > 0 {
		c.adopt(now, in.Report)
	}
}

func (in left) happen(c *core, now time.Duration) {
	m := c.hear(now, in.stream)
	if m == nil {
		return
	}
	c.cut(in.stream, "goodbye")
	if c.frozen || !c.settled {
		m.drain = in.reason // it is dead to us, but no table can say so yet
		return
	}
	c.remove(m, "it leaves: "+in.reason)
}

func (in gone) happen(c *core, _ time.Duration) {
	if m := c.streams[in.stream]; m != nil {
		delete(c.streams, in.stream)
		m.stream = 0
	}
}

// bury removes those that have been silent for too long, unless all Live nodes
// are: then it is more likely that we hear nobody.
func (c *core) bury(now time.Duration) {
	deaf := true
	for _, m := range c.members {
		deaf = deaf && (!m.places() || now-m.heard >= c.silence)
	}
	for _, id := range slices.Sorted(maps.Keys(c.members)) {
		m := c.members[id]
		if now-m.heard < c.silence || deaf && m.places() && !m.draining() {
			continue
		}
		if c.streams[m.stream] == m {
			c.cut(m.stream, "silent")
		}
		c.remove(m, fmt.Sprintf("silent for %v", c.silence))
	}
}

func (c *core) remove(m *member, reason string) {
	delete(c.members, m.ID())
	c.nodeLeft(m, reason)
	if m.places() {
		c.because("%s left: %s", m.Name, reason)
	}
}

func (c *core) nodeLeft(m *member, reason string) {
	c.tell(slog.LevelInfo, "node left", "node", m.ID(), "role", m.Role, "reason", reason, "state", c.word())
}

// refuse answers a stream that is not to be a member's, and ends it.
func (c *core) refuse(stream uint64, r cell.Refused) {
	if r.Reason == notLeader {
		r.Ask = c.leader
	}
	c.send(cell.TypeRefused, 0, r, stream)
	c.cut(stream, r.Reason)
}

func (c *core) cut(stream uint64, reason string) {
	if m := c.streams[stream]; m != nil {
		delete(c.streams, stream)
		m.stream = 0
	}
	c.out = append(c.out, cut{stream, reason})
}

// greet tells members what they can expect of this leader, whenever that changes.
func (c *core) greet(to ...uint64) {
	c.send(cell.TypeWelcome, c.revision(), cell.Welcome{Leader: c.name, Cell: c.cell, State: c.state()}, to...)
}
