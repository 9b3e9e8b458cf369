package proxy

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/espra/protoplex/nodes"
)

// Why a tunnel ended.
const (
	reasonClient  = "client closed"
	reasonNode    = "node closed"
	reasonIdle    = "idle"
	reasonDrain   = "drain"
	reasonStopped = "stopped"
)

// tunnel is an upgraded connection: bytes both ways, in which the proxy has no
// say. When one side stops sending, the other learns that and may go on.
type tunnel struct {
	id     uint64
	m      nodes.Machine
	client net.Conn
	node   net.Conn

	active     atomic.Int64 // the machine's Elapsed when bytes last came
	writes     atomic.Int32 // in progress
	halfClosed atomic.Bool
	reason     atomic.Pointer[string] // why it ends, once it does
}

// tunnels is the registry of those that are open. No change of the table
// touches them: whether a tunnel is still at the right node is that node's to say.
type tunnels struct {
	mu     sync.Mutex
	opened uint64
	open   map[uint64]*tunnel
	ended  map[string]int // by reason
}

func newTunnels() *tunnels {
	return &tunnels{open: make(map[uint64]*tunnel), ended: make(map[string]int)}
}

func (r *tunnels) add(t *tunnel) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.opened++
	t.id = r.opened
	r.open[t.id] = t
}

func (r *tunnels) remove(t *tunnel) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.open, t.id)
	r.ended[*t.reason.Load()]++
}

// cutAll ends all tunnels, in the order in which they were opened, and gives
// their number.
func (r *tunnels) cutAll(reason string) int {
	r.mu.Lock()
	all := make([]*tunnel, 0, len(r.open))
	for _, t := range r.open {
		all = append(all, t)
	}
	r.mu.Unlock()
	slices.SortFunc(all, func(a, b *tunnel) int { return cmp.Compare(a.id, b.id) })
	for _, t := range all {
		t.cut(reason)
	}
	return len(all)
}

func (r *tunnels) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.open)
}

// cut ends a tunnel at once. The first reason stands.
func (t *tunnel) cut(reason string) {
	t.reason.CompareAndSwap(nil, &reason)
	_ = t.client.SetDeadline(past)
	_ = t.node.SetDeadline(past)
}

// run passes bytes until both sides are done. What was read ahead of the
// tunnel is still in the two readers. A tunnel ends when nothing has passed for
// idle, or, when one side takes nothing or has stopped sending, for stall.
// The two connections are left to be closed.
func (t *tunnel) run(ctx context.Context, fromClient, fromNode io.Reader, idle, stall time.Duration) {
	ctx, cancel := context.WithCancel(ctx)
	var watch, other sync.WaitGroup
	defer watch.Wait()
	defer cancel()
	stop := context.AfterFunc(ctx, func() { t.cut(reasonStopped) })
	defer stop()

	t.touch()
	watch.Go(func() { t.watch(ctx, idle, stall) })
	other.Go(func() { t.pump(t.node, fromClient, reasonClient) })
	t.pump(t.client, fromNode, reasonNode)
	other.Wait() // watched as before, for the client may never end
}

// pump copies one way. An end is passed on; anything else ends the tunnel.
func (t *tunnel) pump(to net.Conn, from io.Reader, reason string) {
	buf := make([]byte, 4<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			t.touch()
			t.writes.Add(1)
			_, werr := to.Write(buf[:n])
			t.writes.Add(-1)
			if werr != nil {
				t.cut(other(reason))
				return
			}
		}
		if errors.Is(err, io.EOF) {
			t.reason.CompareAndSwap(nil, &reason)
			t.halfClosed.Store(true)
			if closeWrite(to) != nil {
				t.cut(reason)
			}
			return
		}
		if err != nil {
			t.cut(reason)
			return
		}
	}
}

func other(reason string) string {
	if reason == reasonClient {
		return reasonNode
	}
	return reasonClient
}

func (t *tunnel) touch() { t.active.Store(int64(t.m.Elapsed())) }

func (t *tunnel) watch(ctx context.Context, idle, stall time.Duration) {
	name := "proxy/tunnel/" + strconv.FormatUint(t.id, 10)
	nodes.Every(ctx, t.m, name, min(idle, stall)/4, func(context.Context) {
		limit := idle
		if t.halfClosed.Load() || t.writes.Load() > 0 {
			limit = stall
		}
		if t.m.Elapsed()-time.Duration(t.active.Load()) >= limit {
			t.cut(reasonIdle)
		}
	})
}

// closeWrite ends one direction of a connection, or all of it where there are
// no directions.
func closeWrite(c net.Conn) error {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Close()
}
