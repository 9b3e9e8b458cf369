package proxy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/espra/protoplex/nodes"
	"github.com/espra/protoplex/nodes/placement"
)

const (
	connectTimeout = 2 * time.Second
	maxIdle        = 64               // kept connections to one node
	idleUpstream   = 30 * time.Second // less than nodes keep theirs
)

var errTooOld = errors.New("proxy: connection idle for too long")

// past is a deadline that every clock takes for gone.
var past = time.Unix(1, 0)

// upstream is one connection to a node.
type upstream struct {
	net.Conn
	br   *bufio.Reader
	node placement.Node
	name string
	kept bool // it has been used before

	taken   bool          // out of the pool again; guarded by the pool's lock
	watched chan struct{} // closed when the watch of an idle one has ended
	err     error         // why, to be read after that
}

// pool keeps idle connections to nodes, a few for each. Each is watched while
// it idles, so that one which its node has closed is not used again.
type pool struct {
	ctx context.Context
	m   nodes.Machine

	mu     sync.Mutex
	dialed uint64
	idle   map[placement.Node][]*upstream // by node and incarnation, the last used one last
	closed bool
}

func newPool(ctx context.Context, m nodes.Machine) *pool {
	return &pool{ctx: ctx, m: m, idle: make(map[placement.Node][]*upstream)}
}

// get gives an idle connection, or a new one. Those to an earlier incarnation of
// the node are as dead as that.
func (p *pool) get(ctx context.Context, node placement.Node) (*upstream, error) {
	for {
		u := p.take(node)
		if u == nil {
			return p.dial(ctx, node)
		}
		u.wake()
		var timeout net.Error
		if errors.As(u.err, &timeout) && timeout.Timeout() && u.SetReadDeadline(time.Time{}) == nil {
			return u, nil
		}
		u.Close() // the node closed it, or spoke out of turn
	}
}

// wake ends the watch of a connection that was taken.
func (u *upstream) wake() {
	_ = u.SetReadDeadline(past)
	<-u.watched
}

// drop ends the idle connections to a node that does not answer.
func (p *pool) drop(node placement.Node) {
	for u := p.take(node); u != nil; u = p.take(node) {
		u.wake()
		u.Close()
	}
}

func (p *pool) take(node placement.Node) *upstream {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.idle[node]
	if len(list) == 0 {
		return nil
	}
	u := list[len(list)-1]
	u.taken = true
	p.keep(node, slices.Delete(list, len(list)-1, len(list)))
	return u
}

// keep has these be the idle connections to a node. The caller holds the lock.
func (p *pool) keep(node placement.Node, list []*upstream) {
	if len(list) == 0 {
		delete(p.idle, node) // it may never come back in this incarnation
	} else {
		p.idle[node] = list
	}
}

// dial always makes a new connection.
func (p *pool) dial(ctx context.Context, node placement.Node) (*upstream, error) {
	p.mu.Lock()
	p.dialed++
	name := strconv.FormatUint(p.dialed, 10)
	p.mu.Unlock()
	ctx, cancel := nodes.Timeout(ctx, p.m, "proxy/connect/"+name, connectTimeout)
	defer cancel()
	conn, err := p.m.DialContext(ctx, "tcp", node.Addr)
	if err != nil {
		return nil, fmt.Errorf("proxy: connect to node: %w", err)
	}
	return &upstream{Conn: conn, br: bufio.NewReaderSize(conn, maxLine), node: node, name: name}, nil
}

// put takes a connection back on which nothing is outstanding.
func (p *pool) put(u *upstream) {
	p.mu.Lock()
	if p.closed || u.br.Buffered() > 0 || len(p.idle[u.node]) >= maxIdle {
		p.mu.Unlock()
		u.Close()
		return
	}
	u.kept, u.taken, u.watched = true, false, make(chan struct{})
	p.idle[u.node] = append(p.idle[u.node], u)
	p.mu.Unlock()
	go p.watch(u)
}

// watch waits until an idle connection is taken, is closed, or is too old.
func (p *pool) watch(u *upstream) {
	ctx, cancel := nodes.Timeout(p.ctx, p.m, "proxy/idle/"+u.name, idleUpstream)
	stop := context.AfterFunc(ctx, func() { _ = u.SetReadDeadline(past) })
	_, u.err = u.br.Peek(1)
	if !stop() {
		u.err = errTooOld // its deadline is about to be spoilt, if it is not yet
	}
	cancel()

	p.mu.Lock()
	mine := !u.taken
	if mine {
		p.keep(u.node, slices.DeleteFunc(p.idle[u.node], func(o *upstream) bool { return o == u }))
	}
	p.mu.Unlock()
	if mine {
		u.Close()
	}
	close(u.watched)
}

// close ends the idle connections, and those that come back later.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	var all []*upstream
	for _, list := range p.idle {
		all = append(all, list...)
	}
	p.mu.Unlock()
	for _, u := range all {
		_ = u.SetReadDeadline(past) // its watch closes it
	}
	for _, u := range all {
		<-u.watched
	}
}
