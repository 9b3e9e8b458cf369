package sim

import (
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

const maxBacklog = 4096 // net.core.somaxconn

// portKey names what a socket is bound to; an invalid address is every address.
type portKey struct {
	network string
	addr    netip.Addr
	port    uint16
}

// socket is a listening TCP socket. Several processes may hold it; each arrival
// goes to one that accepts.
type socket struct {
	m         *Machine
	key       portKey
	backlog   []*endpoint // arrived and not accepted
	listeners []*Listener
	arrivals  uint64
	packets   *packetConn // of a UDP socket
}

// Listener is one process's handle of a listening socket.
type Listener struct {
	w       *World
	proc    *Process
	sock    *socket
	queue   []*endpoint // given to this process
	waiting int         // calls of Accept that wait
	wake    chan struct{}
	closed  bool
}

// bind is a request for a socket that has to wait for its port.
type bind struct {
	proc *Process
	key  portKey
	name string
	done chan struct{}
	err  error
	open *Listener   // the result for TCP
	pack *packetConn // the result for UDP, given
}

// parseListen reads "host:port" for a listener of machine m.
func (m *Machine) parseListen(network, address string) (portKey, error) {
	host, portText, err := net.SplitHostPort(address)
	if err != nil {
		return portKey{}, err
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return portKey{}, &net.AddrError{Err: "invalid port", Addr: address}
	}
	key := portKey{network: network, port: uint16(port)}
	if host == "" {
		return key, nil
	}
	a, err := netip.ParseAddr(host)
	switch {
	case host == "localhost" || err == nil && a.IsLoopback() || err == nil && a == m.addr:
		key.addr = m.addr
	case err == nil && a.IsUnspecified():
	case err == nil:
		return key, os.NewSyscallError("bind", syscall.EADDRNOTAVAIL)
	default:
		return key, &net.AddrError{Err: "not an address of this machine", Addr: address}
	}
	return key, nil
}

// Listen opens a listener; the network is "tcp". Port 0 waits until all is quiet
// and then picks a free port.
func (p *Process) Listen(network, address string) (net.Listener, error) {
	fail := func(err error) (net.Listener, error) {
		return nil, &net.OpError{Op: "listen", Net: network, Err: err}
	}
	if base, ok := baseNetwork(network); !ok || base != "tcp" {
		return fail(net.UnknownNetworkError(network))
	}
	key, err := p.m.parseListen("tcp", address)
	if err != nil {
		return fail(err)
	}
	b := &bind{proc: p, key: key, name: address}
	if err := b.do(); err != nil {
		return fail(err)
	}
	return b.open, nil
}

// do binds at once, or, for port 0 or without a descriptor, in its turn.
func (b *bind) do() error {
	w := b.proc.w
	w.mu.Lock()
	if b.proc.dead {
		w.mu.Unlock()
		return errDead.Err
	}
	b.err = b.proc.m.descriptor("socket")
	if b.key.port != 0 && b.err == nil {
		b.bind()
		w.mu.Unlock()
		return b.err
	}
	b.done = make(chan struct{})
	w.records.binds = append(w.records.binds, b)
	w.mu.Unlock()
	w.wake()
	select {
	case <-b.done:
		return b.err
	case <-b.proc.ctx.Done():
		return errDead.Err
	}
}

func (b *bind) commit() {
	if b.err != nil {
		b.proc.w.deny(b.proc, b.key.network+" "+b.name, func() { close(b.done) })
		return
	}
	b.key.port = b.proc.m.freePort(b.key.network)
	if b.key.port == 0 {
		b.err = os.NewSyscallError("bind", syscall.EADDRINUSE)
	} else {
		b.bind()
	}
	close(b.done)
}

func (b *bind) bind() {
	m := b.proc.m
	for key := range m.sockets {
		if key.network == b.key.network && key.port == b.key.port &&
			(key.addr == b.key.addr || !key.addr.IsValid() || !b.key.addr.IsValid()) {
			b.err = os.NewSyscallError("bind", syscall.EADDRINUSE)
			return
		}
	}
	s := &socket{m: m, key: b.key}
	m.sockets[b.key] = s
	if b.pack == nil {
		b.open = s.open(b.proc)
		return
	}
	b.pack.sock = s
	s.packets = b.pack
	b.proc.sockets[b.pack] = struct{}{}
}

// socketFor finds who listens on an address of the machine.
func (m *Machine) socketFor(network string, target netip.AddrPort) *socket {
	if s := m.sockets[portKey{network, target.Addr(), target.Port()}]; s != nil {
		return s
	}
	return m.sockets[portKey{network, netip.Addr{}, target.Port()}]
}

func (s *socket) open(p *Process) *Listener {
	l := &Listener{w: p.w, proc: p, sock: s, wake: make(chan struct{}, 1)}
	s.listeners = append(s.listeners, l)
	p.listeners[l] = struct{}{}
	return l
}

// share gives a process its own handle of the socket.
func (l *Listener) share(p *Process) *Listener { return l.sock.open(p) }

// assign hands what waits in the backlog to the processes that accept; which one
// gets a connection is a choice keyed by the socket and its arrivals.
func (s *socket) assign() {
	for len(s.backlog) > 0 {
		var ready []*Listener
		for _, l := range s.listeners {
			if l.waiting > len(l.queue) {
				ready = append(ready, l)
			}
		}
		if len(ready) == 0 {
			return
		}
		slices.SortStableFunc(ready, func(a, b *Listener) int { return strings.Compare(a.proc.name, b.proc.name) })
		w := s.m.w
		n := below(w.choice(s.m.name, "accept "+strconv.Itoa(int(s.key.port)), s.arrivals), int64(len(ready)))
		s.arrivals++
		l := ready[n]
		e := s.backlog[0]
		s.backlog = s.backlog[1:]
		l.queue = append(l.queue, e)
		e.ask()
		signal(l.wake)
		w.woke = true
	}
}

// Accept implements net.Listener.
func (l *Listener) Accept() (net.Conn, error) {
	first := true
	for {
		l.w.mu.Lock()
		if l.closed || l.proc.dead {
			l.w.mu.Unlock()
			signal(l.wake)
			return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: l.Addr(), Err: net.ErrClosed}
		}
		if len(l.queue) > 0 && !first || len(l.sock.backlog) > 0 && first {
			if err := l.proc.m.descriptor("accept4"); err != nil {
				l.refuse(first)
				l.w.mu.Unlock()
				return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: l.Addr(), Err: err}
			}
		}
		if len(l.queue) > 0 && !first {
			e := l.queue[0]
			l.queue = l.queue[1:]
			l.waiting--
			if len(l.queue) > 0 {
				signal(l.wake)
			}
			e.proc = l.proc
			if !e.gone {
				l.proc.ends[e] = struct{}{}
			}
			l.w.mu.Unlock()
			return e, nil
		}
		if first {
			first = false
			l.waiting++
			if len(l.sock.backlog) > 0 {
				l.w.records.accepts = append(l.w.records.accepts, l)
				l.w.wake()
			}
		}
		l.w.mu.Unlock()
		<-l.wake
	}
}

// refuse gives up a call of Accept, unless it is about to begin, and leaves what it
// was given in the backlog.
func (l *Listener) refuse(first bool) {
	if first {
		return
	}
	l.sock.backlog = append([]*endpoint{l.queue[0]}, l.sock.backlog...)
	l.queue = l.queue[1:]
	l.waiting--
	if len(l.queue) > 0 {
		signal(l.wake)
	}
}

// Close closes this process's handle. Calls of Accept end; connections not yet
// accepted are left to other holders, or reset if there are none.
func (l *Listener) Close() error {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	if l.closed {
		return &net.OpError{Op: "close", Net: "tcp", Addr: l.Addr(), Err: net.ErrClosed}
	}
	l.close()
	return nil
}

func (l *Listener) close() {
	if l.closed {
		return
	}
	l.closed = true
	delete(l.proc.listeners, l)
	s := l.sock
	s.listeners = slices.DeleteFunc(s.listeners, func(o *Listener) bool { return o == l })
	s.backlog = append(l.queue, s.backlog...)
	l.queue = nil
	signal(l.wake)
	if len(s.listeners) > 0 {
		s.assign()
		return
	}
	if s.m.sockets[s.key] == s {
		delete(s.m.sockets, s.key)
	}
	for _, e := range s.backlog {
		if s.m.on {
			e.abort()
		} else {
			e.vanish()
		}
	}
	s.backlog = nil
}

// Addr implements net.Listener.
func (l *Listener) Addr() net.Addr {
	return net.TCPAddrFromAddrPort(l.sock.addrPort())
}

func (s *socket) addrPort() netip.AddrPort {
	if s.key.addr.IsValid() {
		return netip.AddrPortFrom(s.key.addr, s.key.port)
	}
	return netip.AddrPortFrom(s.m.addr, s.key.port)
}

func sortedListeners(set map[*Listener]struct{}) []*Listener {
	all := make([]*Listener, 0, len(set))
	for l := range set {
		all = append(all, l)
	}
	slices.SortFunc(all, func(a, b *Listener) int { return a.sock.addrPort().Compare(b.sock.addrPort()) })
	return all
}
