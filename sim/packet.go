package sim

import (
	"bytes"
	"cmp"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// Bounds of datagrams.
const (
	maxDatagram   = 65507 // bytes
	maxQueued     = 512   // datagrams that a socket holds unread; more are dropped
	maxHeld       = 4096  // datagrams that are held back in the whole world; more are dropped
	duplicateLate = int64(2 * time.Millisecond)
	reorderLate   = int64(10 * time.Millisecond) // at least
	reorderLater  = int64(40 * time.Millisecond) // and at most this beyond
)

// packetConn is a UDP socket. It implements net.PacketConn, and net.Conn when
// it was dialled.
type packetConn struct {
	w       *World
	proc    *Process
	sock    *socket
	remote  netip.AddrPort // valid if dialled
	queue   []received
	wake    chan struct{}
	limit   deadline
	refused bool // the peer answered that nobody listens
	closed  bool
	masks   map[netip.AddrPort]netip.Addr // under which address a sender met this socket, if not its own
}

type received struct {
	from netip.AddrPort
	data []byte
}

// packet is one datagram.
type packet struct {
	w      *World
	sock   *packetConn // that sent it
	target *Machine
	to     netip.AddrPort
	as     netip.Addr // the sender's, if not its own
	data   []byte
	name   string
}

// source is the sender as the receiver sees it.
func (k *packet) source() netip.AddrPort {
	own := k.sock.sock.addrPort()
	if k.as.IsValid() {
		return netip.AddrPortFrom(k.as, own.Port())
	}
	return own
}

// maxMasks bounds how many senders a socket knows under another address.
const maxMasks = 4096

// ListenPacket opens a datagram socket; the network is "udp". Port 0 waits until
// all is quiet and then picks a free port.
func (p *Process) ListenPacket(network, address string) (net.PacketConn, error) {
	fail := func(err error) (net.PacketConn, error) {
		return nil, &net.OpError{Op: "listen", Net: network, Err: err}
	}
	if base, ok := baseNetwork(network); !ok || base != "udp" {
		return fail(net.UnknownNetworkError(network))
	}
	key, err := p.m.parseListen("udp", address)
	if err != nil {
		return fail(err)
	}
	c, err := p.openPacket(key, address)
	if err != nil {
		return fail(err)
	}
	return c, nil
}

func (p *Process) dialPacket(target netip.AddrPort) (net.Conn, error) {
	c, err := p.openPacket(portKey{network: "udp"}, target.String())
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: "udp", Err: err}
	}
	c.remote = target
	return c, nil
}

func (p *Process) openPacket(key portKey, name string) (*packetConn, error) {
	c := &packetConn{w: p.w, proc: p, wake: make(chan struct{}, 1)}
	b := &bind{proc: p, key: key, name: name, pack: c}
	if err := b.do(); err != nil {
		return nil, err
	}
	return c, nil
}

func comparePackets(a, b *packet) int {
	return cmp.Or(compareProcs(a.sock.proc, b.sock.proc), a.to.Compare(b.to), cmp.Compare(len(a.data), len(b.data)),
		bytes.Compare(a.data, b.data), cmp.Compare(a.sock.sock.key.port, b.sock.sock.key.port))
}

// commit sends the datagram on its way.
func (k *packet) commit() {
	w := k.w
	from := k.sock.proc.m
	k.target = w.meet(from, k.to.Addr())
	if k.target == nil {
		return
	}
	key := from.name + ">" + k.target.name + ":" + strconv.Itoa(int(k.to.Port())) + "/udp"
	n := w.count(key)
	k.name = key + "#" + strconv.FormatUint(n, 10)
	p := w.path(from, k.target)
	if len(p.faults) > 0 {
		p.touch()
	}
	now := w.now()
	switch {
	case p.hold:
		w.holdPacket(k)
		return
	case p.cut || p.tooLong(len(k.data)+28) || w.loses(p, now, key, "lost", n):
		return
	}
	if len(k.data) > 0 && w.corrupts(p, key, "corrupt", n) {
		at := below(w.choice(key, "corrupt where", n), int64(len(k.data)))
		k.data[at] ^= byte(1 + below(w.choice(key, "corrupt how", n), 255))
	}
	at := now + w.travel(p, now, len(k.data)+28, key, n)
	if w.happens(p.reorder, key, "reorder", n) {
		p.struck(func(c *Conditions) bool { return c.Reorder > 0 })
		at += reorderLate + below(w.choice(key, "reorder late", n), reorderLater)
	}
	w.schedule(at, event{kind: datagram, sent: now, pack: k})
	if w.happens(p.duplicate, key, "duplicate", n) {
		p.struck(func(c *Conditions) bool { return c.Duplicate > 0 })
		w.schedule(at+1+below(w.choice(key, "duplicate late", n), duplicateLate), event{kind: datagram, sent: now, pack: k})
	}
}

// holdPacket keeps a datagram on a route on which everything is held back.
func (w *World) holdPacket(k *packet) {
	if len(w.heldPackets) < maxHeld {
		w.heldPackets = append(w.heldPackets, k)
	}
}

// releasePackets lets those travel on that are held back no longer, in the order
// in which they came.
func (w *World) releasePackets() {
	held := w.heldPackets
	w.heldPackets = nil
	for n, k := range held {
		p := w.path(k.sock.proc.m, k.target)
		switch {
		case p.hold:
			w.heldPackets = append(w.heldPackets, k)
		case !p.cut:
			now := w.now()
			w.schedule(now+p.latency+int64(n), event{kind: datagram, sent: now, pack: k})
		}
	}
}

func (k *packet) deliver(e *event) {
	w := k.w
	from := k.sock.proc.m
	if e.kind == unreachable {
		k.sock.refused = true
		signal(k.sock.wake)
		return
	}
	if p := w.path(from, k.target); p.cut || !k.target.on {
		p.touch()
		if p.hold {
			w.holdPacket(k)
		}
		return
	}
	w.delivered(e, "dgram", k.name, 0, len(k.data), from, k.target)
	s := k.target.socketFor("udp", k.to)
	if s == nil || s.packets == nil {
		if k.sock.remote.IsValid() && !k.sock.closed {
			back := w.path(k.target, from)
			if !back.cut {
				lost := &packet{w: w, sock: k.sock, target: from}
				w.schedule(e.at+w.travel(back, e.at, 56, k.name, 1), event{kind: unreachable, pack: lost})
			}
		}
		return
	}
	c := s.packets
	source := k.source()
	if met := k.to.Addr(); met != k.target.addr {
		if c.masks == nil || len(c.masks) >= maxMasks {
			c.masks = map[netip.AddrPort]netip.Addr{}
		}
		c.masks[source] = met
	}
	if c.remote.IsValid() && c.remote != source || len(c.queue) >= maxQueued {
		return
	}
	c.queue = append(c.queue, received{from: source, data: k.data})
	signal(c.wake)
}

// ReadFrom implements net.PacketConn.
func (c *packetConn) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		c.w.mu.Lock()
		switch {
		case c.closed || c.proc.dead:
			c.w.mu.Unlock()
			signal(c.wake)
			return 0, nil, c.opError("read", net.ErrClosed)
		case c.limit.passed():
			c.w.mu.Unlock()
			return 0, nil, c.opError("read", os.ErrDeadlineExceeded)
		case c.refused:
			c.refused = false
			c.w.mu.Unlock()
			return 0, nil, c.opError("read", os.NewSyscallError("recvfrom", syscall.ECONNREFUSED))
		case len(c.queue) > 0:
			d := c.queue[0]
			c.queue = slices.Delete(c.queue, 0, 1)
			if len(c.queue) > 0 {
				signal(c.wake)
			}
			c.w.mu.Unlock()
			return copy(b, d.data), net.UDPAddrFromAddrPort(d.from), nil
		}
		expired := c.limit.expired
		c.w.mu.Unlock()
		waitFor(c.wake, expired)
	}
}

// WriteTo implements net.PacketConn.
func (c *packetConn) WriteTo(b []byte, addr net.Addr) (int, error) {
	u, ok := addr.(*net.UDPAddr)
	if !ok {
		return 0, c.opError("write", &net.AddrError{Err: "not a UDP address", Addr: addr.String()})
	}
	a := u.AddrPort()
	return c.send(b, netip.AddrPortFrom(a.Addr().Unmap(), a.Port()))
}

func (c *packetConn) send(b []byte, to netip.AddrPort) (int, error) {
	if len(b) > maxDatagram {
		return 0, c.opError("write", os.NewSyscallError("sendto", syscall.EMSGSIZE))
	}
	if to.Addr().IsLoopback() {
		to = netip.AddrPortFrom(c.proc.m.addr, to.Port())
	}
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	if c.closed || c.proc.dead {
		return 0, c.opError("write", net.ErrClosed)
	}
	c.w.records.packets = append(c.w.records.packets, &packet{w: c.w, sock: c, as: c.masks[to], to: to, data: bytes.Clone(b)})
	c.w.wake()
	return len(b), nil
}

// Read implements net.Conn.
func (c *packetConn) Read(b []byte) (int, error) {
	n, _, err := c.ReadFrom(b)
	return n, err
}

// Write implements net.Conn.
func (c *packetConn) Write(b []byte) (int, error) {
	if !c.remote.IsValid() {
		return 0, c.opError("write", os.NewSyscallError("sendto", syscall.EDESTADDRREQ))
	}
	return c.send(b, c.remote)
}

// Close implements net.Conn and net.PacketConn.
func (c *packetConn) Close() error {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	if c.closed {
		return c.opError("close", net.ErrClosed)
	}
	c.close()
	return nil
}

func (c *packetConn) close() {
	c.closed = true
	c.limit.stop()
	delete(c.proc.sockets, c)
	if m := c.proc.m; m.sockets[c.sock.key] == c.sock {
		delete(m.sockets, c.sock.key)
	}
	signal(c.wake)
}

func (c *packetConn) opError(op string, err error) error {
	e := &net.OpError{Op: op, Net: "udp", Source: c.LocalAddr(), Err: err}
	if c.remote.IsValid() {
		e.Addr = c.RemoteAddr()
	}
	return e
}

// LocalAddr implements net.Conn and net.PacketConn.
func (c *packetConn) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(c.sock.addrPort()) }

// RemoteAddr implements net.Conn.
func (c *packetConn) RemoteAddr() net.Addr {
	if !c.remote.IsValid() {
		return nil
	}
	return net.UDPAddrFromAddrPort(c.remote)
}

// SetDeadline implements net.Conn and net.PacketConn. Writes never block.
func (c *packetConn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

// SetReadDeadline implements net.Conn and net.PacketConn.
func (c *packetConn) SetReadDeadline(t time.Time) error {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	if c.closed {
		return c.opError("set", net.ErrClosed)
	}
	c.limit.set(t)
	signal(c.wake)
	return nil
}

// SetWriteDeadline implements net.Conn and net.PacketConn; writes never block.
func (c *packetConn) SetWriteDeadline(time.Time) error { return nil }
