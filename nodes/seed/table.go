package seed

import (
	"cmp"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/espra/protoplex/nodes/cell"
	"github.com/espra/protoplex/nodes/placement"
)

// because notes a reason for the next table.
func (c *core) because(format string, args ...any) {
	if len(c.why) >= 3 {
		c.more++
		return
	}
	c.why = append(c.why, fmt.Sprintf(format, args...))
}

// reasons gives what was noted.
func (c *core) reasons() string {
	why := strings.Join(c.why, "; ")
	if c.more > 0 {
		why += fmt.Sprintf("; and %d more", c.more)
	}
	c.why, c.more = nil, 0
	return why
}

// revision is that of the newest table of this epoch, zero while there is none.
func (c *core) revision() uint64 {
	if !c.settled {
		return 0
	}
	return c.table.Revision
}

// placed are the nodes that the table shall have. Of more than fit into it, those
// that it does not have wait for a place.
func (c *core) placed() []placement.Node {
	var nodes []placement.Node
	for _, id := range slices.Sorted(maps.Keys(c.members)) {
		if m := c.members[id]; m.places() && !m.draining() {
			nodes = append(nodes, m.Node())
		}
	}
	for i := len(nodes) - 1; i >= 0 && len(nodes) > cell.MaxTable; i-- {
		if !slices.ContainsFunc(c.table.Nodes, func(n placement.Node) bool { return n.Name == nodes[i].Name }) {
			nodes = slices.Delete(nodes, i, i+1)
		}
	}
	return nodes
}

// reconcile makes the next table if what it shall have is not what it has.
func (c *core) reconcile() {
	reason := c.reasons()
	change, differs := c.table.Diff(c.placed(), reason)
	if !differs {
		return
	}
	next, err := c.table.Apply(change)
	if err != nil {
		panic("seed: " + err.Error()) // Diff gives the next change
	}
	c.table = next
	c.changes = append(c.changes, change)
	if over := len(c.changes) - c.keep; over > 0 {
		c.changes = slices.Clone(c.changes[over:])
	}
	c.announce(reason)
	c.send(cell.TypeChange, change.Revision, change, c.everybody()...)
}

func (c *core) announce(reason string) {
	c.tell(slog.LevelInfo, "table", "revision", c.table.Revision, "nodes", len(c.table.Nodes), "reason", reason)
}

// adopt takes a table of an earlier leader as what there was before this one.
// Those whom it names are there until they have been silent for long enough.
func (c *core) adopt(now time.Duration, r cell.Report) {
	for id, m := range c.members {
		if m.stream == 0 && m.places() && !slices.ContainsFunc(r.Table.Nodes, func(n placement.Node) bool { return n.Name == m.Name }) {
			delete(c.members, id) // an older table named it
		}
	}
	for _, n := range r.Table.Nodes {
		if c.members[n.Name] == nil {
			c.members[n.Name] = &member{heard: now, Registration: cell.Registration{
				Name: n.Name, Role: cell.RoleLive, Zone: n.Zone, Addr: n.Addr, Incarnation: n.Incarnation}}
		}
	}
	c.table, c.confirmed = r.Table, now-r.Age
	for _, stream := range c.everybody() {
		c.lend(now, c.streams[stream])
	}
}

// settles is when patience ends. Nodes that lost the leader before take most of
// their own lease to notice, and until they have come there is no telling what
// there was. So it ends early only when all whom the last table names are here,
// or when there can be none.
func (c *core) settles() time.Duration {
	missing := c.table.Epoch == 0
	for _, n := range c.table.Nodes {
		m := c.members[n.Name]
		missing = missing || m == nil || !m.came
	}
	if missing && c.epoch > 1 {
		return c.since + max(c.patience, cmp.Or(c.missing, c.silence))
	}
	return c.since + c.patience
}

// settle ends the patience: the first table of the epoch is out of what was
// reported and who has come. Nobody is removed for not having come yet.
func (c *core) settle() {
	before := c.table.Position()
	c.table = placement.Table{Epoch: c.epoch, Revision: 1, After: before, Nodes: c.placed()}
	c.settled = true
	c.changes = nil
	reason := fmt.Sprintf("settled after %s", before)
	if why := c.reasons(); why != "" {
		reason += ": " + why
	}
	c.announce(reason)
	c.greet(c.everybody()...)
	c.send(cell.TypeSnapshot, c.revision(), cell.Report{Table: c.table, Reason: reason}, c.everybody()...)
}

// catchUp sends a member that has just come what it has missed.
func (c *core) catchUp(now time.Duration, m *member) {
	switch behind := m.Held.Compare(c.table.Position()); {
	case !c.settled && behind > 0:
		c.send(cell.TypeWanted, 0, nil, m.stream)
	case !c.settled:
		c.lend(now, m)
	case behind == 0:
	// Changes do not tell their age: whoever takes one takes it for the newest.
	case !c.frozen && m.Held.Epoch == c.epoch && behind < 0 && c.changes != nil && m.Held.Revision+1 >= c.changes[0].Revision:
		for _, change := range c.changes[m.Held.Revision+1-c.changes[0].Revision:] {
			c.send(cell.TypeChange, change.Revision, change, m.stream)
		}
	default:
		c.send(cell.TypeSnapshot, c.revision(), cell.Report{Table: c.table, Age: c.age(now), Reason: "snapshot"}, m.stream)
	}
}

// lend sends the last table of an earlier leader to a member that has none at
// all: it is better than nothing until there is one of this epoch.
func (c *core) lend(now time.Duration, m *member) {
	if m.Held != (placement.Position{}) || c.table.Epoch == 0 {
		return
	}
	m.Held = c.table.Position()
	c.send(cell.TypeSnapshot, c.revision(), cell.Report{Table: c.table, Age: c.age(now), Reason: "until this leader has settled"}, m.stream)
}

// age is the time since the table was last known to be the newest.
func (c *core) age(now time.Duration) time.Duration {
	if c.settled && !c.frozen {
		return 0
	}
	return now - c.confirmed
}
