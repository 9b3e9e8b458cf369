package lb

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/espra/protoplex/nodes"
)

const (
	maxConns    = 10_000
	connectTime = 10 * time.Second
	bufferSize  = 32 << 10
)

// relay is one client connection and the target connection it is joined to.
type relay struct {
	id             uint64
	target         *target
	client, server net.Conn
	last           atomic.Int64 // Machine.Elapsed of the last byte
}

// Serve passes the connections that l accepts on to the given port of targets,
// until ctx ends or the listener fails. It owns l, and returns when all
// connections have ended.
func (b *Balancer) Serve(ctx context.Context, l net.Listener, port int) error {
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	defer l.Close()
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		client, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("accept: %w", err)
		}
		t := b.pick()
		if t == nil || !b.room() {
			reset(client)
			continue
		}
		wg.Go(func() { b.join(ctx, client, t, port) })
	}
}

func (b *Balancer) room() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.conns) < maxConns
}

// join connects a client to a target and passes bytes until both directions
// have ended, one of them has failed, or ctx ends.
func (b *Balancer) join(ctx context.Context, client net.Conn, t *target, port int) {
	server, err := b.connect(ctx, client, t, port)
	if err != nil {
		b.m.Log().Info("target unreachable", "target", t.Name, "port", port, "error", err.Error())
		reset(client)
		return
	}
	r := &relay{target: t, client: client, server: server}
	r.last.Store(int64(b.m.Elapsed()))
	b.add(r)
	defer b.remove(r)
	stop := context.AfterFunc(ctx, r.abort)
	defer stop()

	var wg sync.WaitGroup
	wg.Go(func() { b.pass(r, server, client) })
	b.pass(r, client, server)
	wg.Wait()
	// Both ends have been told; a second close of an aborted one says only that.
	_ = client.Close()
	_ = server.Close()
}

func (b *Balancer) connect(ctx context.Context, client net.Conn, t *target, port int) (net.Conn, error) {
	ctx, cancel := nodes.Timeout(ctx, b.m, "connect "+client.RemoteAddr().String(), connectTime)
	defer cancel()
	return b.m.DialContext(ctx, "tcp", netip.AddrPortFrom(t.Addr, uint16(port)).String())
}

// pass copies from one connection to the other up to the end, which it passes on
// too. A failure of either ends both directions with a reset.
func (b *Balancer) pass(r *relay, to, from net.Conn) {
	buf := make([]byte, bufferSize)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			r.last.Store(int64(b.m.Elapsed()))
			if _, werr := to.Write(buf[:n]); werr != nil {
				r.abort()
				return
			}
			r.last.Store(int64(b.m.Elapsed()))
		}
		if err == nil {
			continue
		}
		if !errors.Is(err, io.EOF) || closeWrite(to) != nil {
			r.abort()
		}
		return
	}
}

// closeWrite tells the peer that nothing more comes, and no less than that.
func closeWrite(c net.Conn) error {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Close()
}

// abort ends both connections at once.
func (r *relay) abort() {
	reset(r.client)
	reset(r.server)
}

// reset closes a connection so that the peer learns that it failed, where the
// connection can say so.
func reset(c net.Conn) {
	if l, ok := c.(interface{ SetLinger(int) error }); ok {
		_ = l.SetLinger(0) // a connection that is gone already needs none
	}
	_ = c.Close()
}

func (b *Balancer) add(r *relay) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.opened++
	r.id = b.opened
	b.conns[r.id] = r
}

func (b *Balancer) remove(r *relay) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.conns, r.id)
}

// matching gives the connections that f accepts, in the order they were opened.
// It needs the mutex.
func (b *Balancer) matching(f func(*relay) bool) []*relay {
	var out []*relay
	for _, r := range b.conns {
		if f(r) {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(x, y *relay) int { return cmp.Compare(x.id, y.id) })
	return out
}

func (b *Balancer) cutIdle() {
	b.mu.Lock()
	now := b.m.Elapsed()
	idle := b.matching(func(r *relay) bool { return now-time.Duration(r.last.Load()) >= b.options.Idle })
	b.mu.Unlock()
	for _, r := range idle {
		r.abort()
	}
}

// parsePort reads the number of a port.
func parsePort(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil {
		return 0, fmt.Errorf("%q is not a port", s)
	}
	return int(n), nil
}
