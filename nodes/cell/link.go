// Package cell is a node's side of its cell: the link to the Seed that leads it,
// and the words that the two speak.
//
// A [Link] keeps one long stream to whichever of the cell's Seeds leads. Over it
// the node says who and where it is and that it lives, and hears of each new
// table, and what to do. What it promises: the table it holds never goes back;
// nothing is believed, and no order followed, of a leader of an older epoch than
// was heard of before; each order is carried out once. With every Seed gone the
// last table stays, and its age tells for how long.
//
// What may fail is the network and the Seeds, and then the link tries again, for
// ever, after waits that grow to some seconds and differ from node to node. A
// refusal of the node itself, such as a name that another one has, is logged and
// tried again as well: the other one may be gone by then. A node stays with a Seed
// that is frozen, unless another one says that it leads.
//
// Start reading at protocol.go, then Link.Run.
package cell

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/espra/protoplex/nodes"
	"github.com/espra/protoplex/nodes/meta"
	"github.com/espra/protoplex/nodes/meta/ca"
	"github.com/espra/protoplex/nodes/placement"
)

// Options are what a link needs to know.
type Options struct {
	Identity *ca.Identity
	Seeds    []Seed // at least one
	// Registration is what this process tells about itself. Name and Role are
	// those of the identity, Incarnation the start of the link by the wall clock, or
	// more if that was set back, Zone and Addr those of the machine, each if it is
	// empty.
	Registration Registration
	// Orders are what orders have to pass; the meta port's, if the process has
	// one. Nil makes one.
	Orders *meta.Fence
	// Do carries out an order, soon: nothing else is heard meanwhile. Nil ignores
	// all orders.
	Do func(context.Context, Order) error
}

// Link is a process's connection to the leader of its cell. Its methods may be
// called concurrently.
type Link struct {
	m     nodes.Machine
	o     Options
	table *placement.Watched
	draw  string // name of random numbers

	mu       sync.Mutex
	number   uint64   // the incarnation
	session  *session // that is welcome, or nil
	seed     string   // its Seed, or the last one; empty before the first welcome
	draining bool
	left     bool
}

// Bounds of what a link waits for.
const (
	openTime   = 4 * time.Second
	askTime    = 2 * time.Second
	leaveTime  = 3 * time.Second
	minBackoff = 250 * time.Millisecond
	maxBackoff = 8 * time.Second
	loneTime   = 30 * time.Second // without a Seed, before that is worth a warning
	sayAgain   = time.Minute      // between warnings of the same trouble
)

// NewLink makes a link; Run connects it.
func NewLink(m nodes.Machine, o Options) (*Link, error) {
	if o.Identity == nil || len(o.Seeds) == 0 {
		return nil, errors.New("cell: a link needs a certificate and a Seed")
	}
	r, host := &o.Registration, m.Host()
	r.Name, r.Role = o.Identity.Name().Name, o.Identity.Name().Role
	if r.Incarnation == 0 {
		r.Incarnation = uint64(max(m.Now().UnixNano(), 1))
	}
	if r.Zone == "" {
		r.Zone = host.Zone
	}
	if r.Addr == "" {
		r.Addr = host.Addr.String()
	}
	if err := r.Check(); err != nil {
		return nil, err
	}
	if o.Orders == nil {
		o.Orders = meta.NewFence()
	}
	l := &Link{m: m, o: o, number: r.Incarnation, draw: fmt.Sprintf("cell/%s/%d", r.ID(), r.Incarnation)}
	l.table = placement.Watch(placement.Table{}, m.Elapsed, l.ask)
	return l, nil
}

// Table is the newest table that was heard of; Refresh asks the leader.
func (l *Link) Table() *placement.Watched { return l.table }

// Incarnation is this process's, as tables have it. It may grow before the first
// Seed takes the process in.
func (l *Link) Incarnation() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.number
}

// exceed takes a greater incarnation than one that was here before, if this process
// has just started. Once it was taken in, a greater one can only be a later process.
func (l *Link) exceed(incarnation uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.seed == "" && incarnation+1 > l.number {
		l.number = incarnation + 1
		l.m.Log().Warn("clock set back", "incarnation", l.number)
	}
}

// Run keeps the link until ctx ends, whose error it gives, or until Leave.
func (l *Link) Run(ctx context.Context) error {
	// Each process begins at a Seed of its own choice.
	next := int(l.m.Rand(l.draw+"/seed", 0) % uint64(len(l.o.Seeds)))
	failures := 0
	trouble := newTrouble(l.m.Elapsed())
	for n := uint64(0); ; n++ {
		seed := l.o.Seeds[next]
		welcome, hint, err := l.visit(ctx, seed)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if l.isLeft() {
			return nil
		}
		if welcome {
			failures, trouble = 0, newTrouble(l.m.Elapsed())
		}
		l.log(seed, welcome, err, trouble)
		failures++
		next = (next + 1) % len(l.o.Seeds)
		if i := slices.IndexFunc(l.o.Seeds, func(s Seed) bool { return s.Name == hint }); i >= 0 {
			next = i
		}
		if err := nodes.Sleep(ctx, l.m, "cell/backoff", Backoff(l.m, l.draw+"/backoff", n, failures)); err != nil {
			return err
		}
	}
}

// Backoff gives the wait of somebody who tries again after some failures in a
// row: longer with each, up to some seconds, and anywhere in its range, so that
// the nodes of a lost one do not come all at once. Draw names the random numbers,
// of which this is the n-th.
func Backoff(m nodes.Machine, draw string, n uint64, failures int) time.Duration {
	longest := minBackoff
	for i := 1; i < failures && longest < maxBackoff; i++ {
		longest *= 2
	}
	longest = min(longest, maxBackoff)
	return longest/4 + time.Duration(m.Rand(draw, n)%uint64(longest*3/4))
}

// trouble is what a link told of since it last had a Seed. It belongs to Run.
type trouble struct {
	began time.Duration
	said  map[string]time.Duration
}

func newTrouble(now time.Duration) trouble { return trouble{now, map[string]time.Duration{}} }

// isNew tells whether a trouble has to be told, for the first time or again.
func (t trouble) isNew(what string, now time.Duration) bool {
	if last, ok := t.said[what]; ok && now-last < sayAgain {
		return false
	}
	t.said[what] = now
	return true
}

func (l *Link) log(seed Seed, welcome bool, err error, t trouble) {
	now := l.m.Elapsed()
	var refused *refusedError
	switch {
	case welcome:
		l.m.Log().Warn("seed lost", "seed", seed.Name, "reason", err, "age", l.table.Age())
	case errors.As(err, &refused) && refused.reason != NotLeader:
		if t.isNew("refused by "+seed.Name, now) {
			l.m.Log().Warn("seed refuses", "seed", seed.Name, "reason", refused.reason)
		}
	default:
		l.m.Log().Debug("seed unavailable", "seed", seed.Name, "reason", err)
		if now-t.began >= loneTime && t.isNew("nothing of "+seed.Name, now) {
			l.m.Log().Warn("no seed", "for", now-t.began, "seed", seed.Name, "reason", err)
		}
	}
}

func (l *Link) isLeft() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.left
}

// Drain says, in all registrations to come, that this node is on its way out.
func (l *Link) Drain() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.draining = true
}

// Leave tells the leader that this node goes, waits a little for a table without
// it, and ends Run.
func (l *Link) Leave(ctx context.Context, reason string) {
	l.mu.Lock()
	s, again := l.session, l.left
	l.left, l.draining = true, true
	l.mu.Unlock()
	if s == nil || again {
		return
	}
	ctx, cancel := nodes.Timeout(ctx, l.m, "cell/leave", leaveTime)
	defer cancel()
	if s.send(TypeLeaving, Leaving{Reason: reason}) != nil {
		return
	}
	select {
	case <-s.done: // the leader says goodbye after that table
	case <-ctx.Done():
		s.stream.Close("leaving")
	}
}

// ask makes sure that the table is the newest one, for Watched.
func (l *Link) ask(ctx context.Context) (placement.Table, error) {
	l.mu.Lock()
	s := l.session
	l.mu.Unlock()
	if s == nil {
		return placement.Table{}, errors.New("cell: no Seed to ask")
	}
	ctx, cancel := nodes.Timeout(ctx, l.m, "cell/ask", askTime)
	defer cancel()
	if err := s.ask(ctx); err != nil {
		return placement.Table{}, err
	}
	return l.table.Current(), nil
}

// Status is the fact "table" of a node's status.
type Status struct {
	Epoch    uint64  `json:"epoch"`
	Revision uint64  `json:"revision"`
	Nodes    int     `json:"nodes"`
	Age      float64 `json:"age_seconds"` // since it was last known to be the newest
	Seed     string  `json:"seed,omitempty"`
	State    string  `json:"state"` // of the Seed: leading, settling, frozen, gone
}

// Status tells how the link is doing.
func (l *Link) Status() Status {
	t := l.table.Current()
	l.mu.Lock()
	defer l.mu.Unlock()
	status := Status{Epoch: t.Epoch, Revision: t.Revision, Nodes: len(t.Nodes), Age: l.table.Age().Seconds(), Seed: l.seed, State: "gone"}
	if l.session != nil {
		status.State = l.session.word()
	}
	return status
}

// Facts are what a node's status says of the link.
func (l *Link) Facts() map[string]func() any {
	return map[string]func() any{"table": func() any { return l.Status() }}
}

// Gauges are what its metrics say.
func (l *Link) Gauges() map[string]meta.Gauge {
	return map[string]meta.Gauge{
		"protoplex_table_age_seconds": {Help: "Time since its table was last heard or confirmed.", Read: func() float64 { return l.table.Age().Seconds() }},
		"protoplex_table_epoch":       {Help: "Epoch of its table.", Read: func() float64 { return float64(l.table.Current().Epoch) }},
		"protoplex_table_revision":    {Help: "Revision of its table, within the epoch.", Read: func() float64 { return float64(l.table.Current().Revision) }},
	}
}
