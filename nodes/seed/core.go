package seed

import (
	"cmp"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/espra/protoplex/nodes/cell"
	"github.com/espra/protoplex/nodes/placement"
)

// core is the Seed without clocks, goroutines or network: what it knows of its
// cell, and step, which takes what happened and gives what is to be done. Times
// are those of the machine's Elapsed.
//
// While it leads, its lease may end at any moment that it does not see. So every
// step first looks whether the lease is about to end, and from then on the core
// is frozen: it makes no table and gives no order, while its streams stay. A
// renewal thaws it; a lease acquired anew begins another epoch, in which it
// settles first; somebody else's lease ends its leadership and its streams.
type core struct {
	rules
	name, cell string

	leads   bool
	frozen  bool
	settled bool
	epoch   uint64
	until   time.Duration // end of the lease
	since   time.Duration // when this epoch began
	doubt   string        // why the lease could not be renewed
	leader  string        // the other one, as far as is known

	// table is the newest of this epoch, or while settling the newest that was
	// reported. Changes lead to it, the last one last.
	table     placement.Table
	confirmed time.Duration // when the table was last known to be the newest
	changes   []placement.Change
	orders    uint64 // of this epoch

	members map[string]*member // by ID
	streams map[uint64]*member // those that have one
	why     []string           // what happened since the last table, at first
	more    int                // and how much of it is not in why

	out []output
}

// rules are the numbers that the core goes by.
type rules struct {
	silence  time.Duration // without a beat: dead
	patience time.Duration // after a take-over, at least
	missing  time.Duration // and for those who may be missing; zero means silence
	margin   time.Duration // before the end of a lease
	keep     int           // changes
	members  int           // at once
}

// member is a process that is there, or of which a table says so.
type member struct {
	cell.Registration
	stream uint64 // zero without one
	heard  time.Duration
	came   bool   // it has registered in this epoch
	drain  string // who asked for it, or what it said when it left
}

// input is what may happen. Streams have numbers that are never used again.
type input interface{ happen(*core, time.Duration) }

// What happens to the lease.
type (
	acquired struct {
		epoch uint64
		until time.Duration
	}
	renewed struct{ until time.Duration }
	unsure  struct{ why string }    // it may be held still
	ranOut  struct{ why string }    // it is held no more, by us
	heldBy  struct{ holder string } // somebody else, as far as is known who

	resigned struct{} // we leave, and are about to give it up
)

// What happens to streams, and passed, which is that time does.
type (
	registered struct {
		stream uint64
		cell.Registration
	}
	beaten struct {
		stream uint64
		cell.Beat
	}
	reported struct {
		stream uint64
		cell.Report
	}
	left struct {
		stream uint64
		reason string
	}
	gone   struct{ stream uint64 }
	passed struct{}
)

// wanted is an order that somebody asks for. Its answer says whether it was
// given.
type wanted struct {
	do   string
	node string // to drain
	by   string
	body []byte // of an invalidation
}

// output is what is to be done, in order.
type output any

type (
	// send puts a frame of the current epoch into the queues of streams.
	send struct {
		to       []uint64
		kind     string
		epoch    uint64
		revision uint64
		body     any
	}
	// cut ends a stream once what is queued has been sent.
	cut struct {
		stream uint64
		reason string
	}
	notice struct {
		level slog.Level
		text  string
		attrs []any
	}
	// answered ends what was wanted.
	answered struct{ err error }
)

func newCore(name, cellName string, r rules) *core {
	return &core{
		rules:   r,
		name:    name,
		cell:    cellName,
		members: make(map[string]*member),
		streams: make(map[uint64]*member),
	}
}

// step takes what happened at now, which never goes back.
func (c *core) step(now time.Duration, in input) []output {
	c.out = nil
	c.freeze(now)
	in.happen(c, now)
	c.advance(now)
	return c.out
}

func (c *core) tell(level slog.Level, text string, attrs ...any) {
	c.out = append(c.out, notice{level, text, append([]any{"cell", c.cell, "epoch", c.epoch}, attrs...)})
}

func (c *core) send(kind string, revision uint64, body any, to ...uint64) {
	if len(to) > 0 {
		c.out = append(c.out, send{to, kind, c.epoch, revision, body})
	}
}

// everybody gives all streams, in the order in which they came.
func (c *core) everybody() []uint64 { return slices.Sorted(maps.Keys(c.streams)) }

// state is what members are told about this leader.
func (c *core) state() cell.State { return cell.State{Frozen: c.frozen, Settling: !c.settled} }

// freeze looks whether the lease is about to end.
func (c *core) freeze(now time.Duration) {
	if !c.leads || c.frozen || now < c.until-c.margin {
		return
	}
	c.frozen = true
	if c.settled {
		c.confirmed = min(now, c.until) // perhaps we slept
	}
	c.doubt = cmp.Or(c.doubt, "not renewed in time")
	c.tell(slog.LevelWarn, "frozen", "why", c.doubt)
	c.greet(c.everybody()...)
}

// advance does what is due by now.
func (c *core) advance(now time.Duration) {
	if !c.leads || c.frozen {
		return
	}
	if !c.settled && now >= c.settles() {
		c.settle()
	}
	if c.settled {
		c.bury(now)
		c.reconcile()
	}
}

func (in acquired) happen(c *core, now time.Duration) {
	thawed := c.frozen
	c.leads, c.frozen, c.settled, c.doubt = true, false, false, ""
	c.epoch, c.until, c.since = in.epoch, in.until, now
	c.changes, c.orders, c.why, c.more = nil, 0, nil, 0
	for _, m := range c.members {
		m.heard = now // nobody is blamed for a silence that was ours
		m.came = m.stream != 0
	}
	if thawed {
		c.tell(slog.LevelInfo, "thawed")
	}
	c.tell(slog.LevelInfo, "leader", "name", c.name)
	c.greet(c.everybody()...)
}

func (in renewed) happen(c *core, now time.Duration) {
	if !c.leads {
		return
	}
	c.until, c.doubt = max(c.until, in.until), ""
	if c.frozen && now < c.until-c.margin {
		c.frozen = false
		c.tell(slog.LevelInfo, "thawed")
		c.greet(c.everybody()...)
	}
}

func (in unsure) happen(c *core, _ time.Duration) { c.doubt = in.why }

func (in ranOut) happen(c *core, now time.Duration) {
	c.doubt, c.until = in.why, min(c.until, now)
	c.freeze(now)
}

func (in heldBy) happen(c *core, _ time.Duration) {
	c.leader, c.doubt = in.holder, ""
	c.stepDown("the lease is held by " + who(in.holder))
}

func (resigned) happen(c *core, _ time.Duration) { c.stepDown("it leaves") }

// stepDown ends a leadership, and forgets all that came with it.
func (c *core) stepDown(why string) {
	if !c.leads {
		return
	}
	c.tell(slog.LevelWarn, "leader no longer", "why", why)
	for _, stream := range c.everybody() {
		c.refuse(stream, cell.Refused{Reason: notLeader})
	}
	*c = core{rules: c.rules, name: c.name, cell: c.cell, epoch: c.epoch, leader: c.leader, out: c.out,
		members: make(map[string]*member), streams: make(map[uint64]*member)}
}

const notLeader = cell.NotLeader

func who(name string) string {
	if name == "" {
		return "somebody else"
	}
	return name
}

func (passed) happen(*core, time.Duration) {}

func (in wanted) happen(c *core, _ time.Duration) {
	err := in.order(c) // which appends to c.out, too
	c.out = append(c.out, answered{err})
}

// order gives an order, or says why not.
func (in wanted) order(c *core) error {
	switch {
	case !c.leads:
		return fmt.Errorf("seed: %s; ask %s", notLeader, who(c.leader))
	case c.frozen:
		return fmt.Errorf("seed: frozen: %s", c.doubt)
	case in.do == cell.Invalidate:
		c.order(in, c.everybody()...)
		return nil
	case in.do != cell.Drain:
		return fmt.Errorf("seed: unknown order %q", in.do)
	}
	m := c.members[in.node]
	switch {
	case m == nil || m.stream == 0:
		return fmt.Errorf("seed: no node %q is here", in.node)
	case !c.settled:
		return fmt.Errorf("seed: settling after a take-over; try again")
	case m.Role == cell.RoleLive && !m.draining() && len(c.placed()) == 1:
		return fmt.Errorf("seed: %s is the last of its role", in.node)
	}
	if !m.draining() {
		m.drain = in.by
		c.because("%s drains, asked by %s", m.Name, in.by)
		c.reconcile() // the table is without it before it hears of it
	}
	c.order(in, m.stream)
	return nil
}

func (c *core) order(in wanted, to ...uint64) {
	c.orders++
	c.tell(slog.LevelInfo, "order", "number", c.orders, "do", in.do, "node", in.node, "by", in.by)
	c.send(cell.TypeOrder, c.orders, in.frame(), to...)
}

// frame is what members are sent of an order.
func (in wanted) frame() cell.Order { return cell.Order{Do: in.do, By: in.by, Body: in.body} }
