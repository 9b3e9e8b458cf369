package live

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/espra/protoplex/nodes"
	"github.com/espra/protoplex/nodes/meta"
	"github.com/espra/protoplex/nodes/placement"
)

// follower is the hearing side of a Client. One goroutine, that of Run, has all
// of its state; those that attend to the streams, one for each Live node, hand
// it functions to call.
type follower struct {
	c        *Client
	ctx      context.Context
	in       chan func()
	running  sync.WaitGroup
	subs     map[Channel]*interest
	visits   map[placement.Node]*visitor
	failures map[string]int // in a row, by the node's name
	refused  int            // subscriptions in a row, by anybody
	asking   bool           // somebody asks for a newer table
	seen     placement.Position
}

// interest is one channel that is to be heard.
type interest struct {
	channel  Channel
	at       *Position // where it has got to, nil before anything was heard
	by       *visitor  // whom it was asked of, nil if it has to be
	heard    bool      // it was answered
	rejected bool      // by the owner, so that a newer table is waited for
}

// visitor is one stream to one Live node.
type visitor struct {
	node   placement.Node
	ctx    context.Context
	cancel func()
	wake   chan struct{}

	mu  sync.Mutex
	out []memberAsk // to be sent
}

// Run hears what was subscribed to, until ctx ends, whose error it gives.
func (c *Client) Run(ctx context.Context) error {
	l := &follower{
		c: c, in: make(chan func()),
		subs:     make(map[Channel]*interest),
		visits:   make(map[placement.Node]*visitor),
		failures: make(map[string]int),
	}
	ctx, cancel := context.WithCancel(ctx)
	l.ctx = ctx
	defer l.running.Wait()
	defer cancel()
	for {
		changed := c.o.Table.Changed()
		l.settle()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		case <-c.poke:
		case f := <-l.in:
			f()
		}
	}
}

// do has Run call f.
func (l *follower) do(f func()) {
	select {
	case l.in <- f:
	case <-l.ctx.Done():
	}
}

// settle asks for every channel where its owner is.
func (l *follower) settle() {
	l.choose()
	table := l.c.o.Table.Current()
	fresh := table.Position() != l.seen
	l.seen = table.Position()
	used := make(map[*visitor]bool)
	for _, s := range l.sorted() {
		owner, ok := table.Owner(s.channel.placement())
		if s.by != nil && (!ok || s.by.node != owner) {
			l.release(s)
		}
		if fresh {
			s.rejected = false
		}
		if ok && s.by == nil && !s.rejected {
			s.by = l.visitor(owner)
			s.by.send("subscribe", s.channel, s.at)
		}
		if s.by != nil {
			used[s.by] = true
		}
	}
	byName := func(a, b placement.Node) int { return strings.Compare(a.Name, b.Name) }
	for _, node := range slices.SortedFunc(maps.Keys(l.visits), byName) {
		if v := l.visits[node]; !used[v] {
			v.cancel()
			delete(l.visits, node)
			delete(l.failures, node.Name)
		}
	}
}

// choose takes over what is wanted.
func (l *follower) choose() {
	l.c.mu.Lock()
	wanted := maps.Clone(l.c.wanted)
	l.c.mu.Unlock()
	for _, s := range l.sorted() {
		if !wanted[s.channel] {
			if s.by != nil {
				s.by.send("unsubscribe", s.channel, nil)
			}
			delete(l.subs, s.channel)
		}
	}
	for ch := range wanted {
		if l.subs[ch] == nil {
			l.subs[ch] = &interest{channel: ch}
		}
	}
}

func (l *follower) sorted() []*interest {
	return slices.SortedFunc(maps.Values(l.subs), func(a, b *interest) int {
		return strings.Compare(a.channel.Key+"/"+a.channel.Name, b.channel.Key+"/"+b.channel.Name)
	})
}

// release takes a channel from whom it was asked of.
func (l *follower) release(s *interest) {
	s.by.send("unsubscribe", s.channel, nil)
	s.by = nil
	if s.heard {
		s.heard = false
		l.tell(Event{Channel: s.channel, Kind: Lost})
	}
}

// tell hands an event out, and waits for it to be taken.
func (l *follower) tell(e Event) {
	select {
	case l.c.events <- e:
	case <-l.ctx.Done():
	}
}

// visitor gives the stream to a node, which may have yet to be opened.
func (l *follower) visitor(n placement.Node) *visitor {
	if v := l.visits[n]; v != nil {
		return v
	}
	v := &visitor{node: n, wake: make(chan struct{}, 1)}
	v.ctx, v.cancel = context.WithCancel(l.ctx)
	l.visits[n] = v
	failures := l.failures[n.Name]
	l.running.Go(func() {
		err := l.attend(v, failures)
		l.do(func() { l.ended(v, err) })
	})
	return v
}

// ended forgets a stream. What was asked of it is asked again.
func (l *follower) ended(v *visitor, err error) {
	v.cancel()
	if l.visits[v.node] != v {
		return // it was not wanted any more
	}
	delete(l.visits, v.node)
	l.failures[v.node.Name]++
	l.c.m.Log().Info("live node lost", "node", v.node.Name, "reason", err)
	for _, s := range l.sorted() {
		if s.by == v {
			l.release(s)
		}
	}
}

// attend opens a stream, after a wait if that failed before, and serves it to
// its end.
func (l *follower) attend(v *visitor, failures int) error {
	c := l.c
	if failures > 0 {
		if err := nodes.Sleep(v.ctx, c.m, "live/client/backoff/"+v.node.Name, c.backoff(failures)); err != nil {
			return err
		}
		_, _ = c.o.Table.Refresh(v.ctx) // a newer one may name another owner, and end this
	}
	client, err := c.dial(v.node)
	if err != nil {
		return err
	}
	defer client.Close()
	stream, err := client.Open(v.ctx, memberPath)
	if err != nil {
		return err
	}
	var sending sync.WaitGroup
	defer sending.Wait()
	defer stream.Close("done")
	sending.Go(func() { v.write(stream) })
	for {
		f, err := stream.Receive()
		if err != nil {
			return err
		}
		if f.Type != memberFrame {
			continue // a later version's
		}
		told, err := parseTold(f.Body)
		if err != nil {
			return err
		}
		l.do(func() { l.hear(v, told) })
	}
}

// memberTold is a frame that a member is sent.
type memberTold struct {
	serverFrame
	Key    string `json:"key"`
	Offset uint64 `json:"offset"`
	Data   string `json:"data"`
}

var errTold = errors.New("live: not a frame for members")

func parseTold(b []byte) (memberTold, error) {
	var told memberTold
	if err := json.Unmarshal(b, &told); err != nil {
		return told, fmt.Errorf("%w: %w", errTold, err)
	}
	if told.Op == "subscribed" && told.Position == nil {
		return told, errTold
	}
	return told, nil
}

// hear acts on what a node says of a channel.
func (l *follower) hear(v *visitor, told memberTold) {
	s := l.subs[Channel{Key: told.Key, Name: told.Channel}]
	if s == nil || s.by != v {
		return // not wanted any more
	}
	switch told.Op {
	case "subscribed":
		l.failures[v.node.Name], l.refused = 0, 0
		s.at, s.heard = told.Position, true
		l.tell(Event{Channel: s.channel, Kind: Subscribed, Recovered: told.Recovered, Position: *s.at})
	case "message":
		if !s.heard {
			return // of an earlier subscription
		}
		if told.Offset != s.at.Offset+1 {
			v.cancel() // a stream with a hole: what is missing is asked for again
			return
		}
		s.at.Offset++
		l.tell(Event{Channel: s.channel, Kind: Message, Position: *s.at, Data: told.Data})
	case "error":
		l.c.m.Log().Debug("channel refused", "node", v.node.Name, "channel", told.Channel, "code", told.Code)
		l.release(s)
		s.rejected = true
		l.askTable()
	}
}

// askTable asks for a newer table, and then has what was refused tried again.
func (l *follower) askTable() {
	if l.asking {
		return
	}
	l.asking = true
	l.refused++
	wait := l.c.backoff(l.refused)
	l.running.Go(func() {
		// If nobody can be asked, it is tried with the old one.
		_, _ = l.c.o.Table.Refresh(l.ctx)
		_ = nodes.Sleep(l.ctx, l.c.m, "live/client/refused", wait)
		l.do(func() {
			l.asking = false
			for _, s := range l.subs {
				s.rejected = false
			}
		})
	})
}

// send queues a frame, and no more than two for a channel: to leave it, and to
// ask for it again.
func (v *visitor) send(op string, ch Channel, at *Position) {
	if at != nil {
		at = &Position{at.Incarnation, at.Offset} // it goes on
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	defer signal(v.wake)
	if op == "unsubscribe" {
		n := len(v.out)
		v.out = slices.DeleteFunc(v.out, func(a memberAsk) bool {
			return a.Op == "subscribe" && a.Key == ch.Key && a.Channel == ch.Name
		})
		if len(v.out) < n {
			return // it was never asked for
		}
	}
	v.out = append(v.out, memberAsk{clientFrame{Op: op, Channel: ch.Name, Position: at}, ch.Key})
}

// write sends what is queued, until the stream ends.
func (v *visitor) write(stream *meta.Stream) {
	for {
		select {
		case <-stream.Done():
			return
		case <-v.wake:
		}
		v.mu.Lock()
		out := v.out
		v.out = nil
		v.mu.Unlock()
		for _, ask := range out {
			if stream.Send(meta.Frame{Type: memberFrame, Body: encode(ask)}) != nil {
				return // the receiver learns the same
			}
		}
	}
}
