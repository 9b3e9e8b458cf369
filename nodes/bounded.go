package nodes

import (
	"cmp"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
)

// Bounds are those of the connections that a listener has at one time.
type Bounds struct {
	All    int
	Source int // of each Source
}

// Bounded bounds the connections of a listener, and lets every newcomer in: they
// get the place of the connection on which nothing was read or written for the
// longest time, of their own source if that has all it may have, else of anybody.
// So a stranger who holds all that there are, and says nothing, keeps nobody out.
// Whoever was pushed out must come again.
func Bounded(m Machine, l net.Listener, b Bounds) net.Listener {
	return &bounded{Listener: l, m: m, bounds: b, open: map[*boundedConn]bool{}, of: map[string]int{}}
}

// Source is who an address, with or without its port, belongs to as far as it
// costs something to change: the address, or for IPv6 the network of 64 bits.
func Source(address string) string {
	addr, err := netip.ParseAddr(address)
	if err != nil {
		at, err := netip.ParseAddrPort(address)
		if err != nil {
			return address
		}
		addr = at.Addr()
	}
	addr = addr.Unmap().WithZone("")
	if addr.Is4() {
		return addr.String()
	}
	return netip.PrefixFrom(addr, 64).Masked().String()
}

type bounded struct {
	net.Listener
	m      Machine
	bounds Bounds

	mu       sync.Mutex
	accepted uint64
	open     map[*boundedConn]bool
	of       map[string]int // open ones by source
}

// Accept implements net.Listener.
func (l *bounded) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &boundedConn{Conn: conn, l: l, source: Source(conn.RemoteAddr().String())}
	c.touch()
	if out := l.admit(c); out != nil {
		l.m.Log().Debug("connection pushed out", "from", out.source, "by", c.source)
		_ = out.Conn.Close() // its owner learns by that, and closes it again
	}
	return c, nil
}

// admit makes a place for a connection, and gives the one that it had to be taken
// from.
func (l *bounded) admit(c *boundedConn) (out *boundedConn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if same := l.of[c.source] >= l.bounds.Source; same || len(l.open) >= l.bounds.All {
		for o := range l.open {
			if (!same || o.source == c.source) && (out == nil || o.longer(out)) {
				out = o
			}
		}
		l.remove(out)
	}
	l.accepted++
	c.id = l.accepted
	l.open[c] = true
	l.of[c.source]++
	return out
}

// remove may be called again. The caller holds the lock.
func (l *bounded) remove(c *boundedConn) {
	if !l.open[c] {
		return
	}
	delete(l.open, c)
	if l.of[c.source]--; l.of[c.source] == 0 {
		delete(l.of, c.source)
	}
}

type boundedConn struct {
	net.Conn
	l      *bounded
	id     uint64
	source string
	last   atomic.Int64 // when something was read or written, by the machine's monotonic clock
}

func (c *boundedConn) touch() { c.last.Store(int64(c.l.m.Elapsed())) }

// longer says that c has been silent for longer than o.
func (c *boundedConn) longer(o *boundedConn) bool {
	return cmp.Or(cmp.Compare(c.last.Load(), o.last.Load()), cmp.Compare(c.id, o.id)) < 0
}

func (c *boundedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.touch()
	}
	return n, err
}

func (c *boundedConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if n > 0 {
		c.touch()
	}
	return n, err
}

// Close implements net.Conn.
func (c *boundedConn) Close() error {
	c.l.mu.Lock()
	c.l.remove(c)
	c.l.mu.Unlock()
	return c.Conn.Close()
}
