package sim

import (
	"cmp"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Bounds and time-outs of streams, as Linux has them.
const (
	window        = 256 << 10                 // bytes sent and not yet read by the peer
	userTimeLimit = 924600 * time.Millisecond // net.ipv4.tcp_retries2 = 15
	keepaliveTime = 150 * time.Second         // Go's default: 15 s idle, then 9 probes every 15 s
	firstRetry    = int64(200 * time.Millisecond)
	maxRetryGap   = int64(120 * time.Second)
)

// errDead is what a process gets from the world once it has ended.
var errDead = &net.OpError{Op: "call", Net: "sim", Err: errors.New("process has ended")}

// pair is one TCP connection: two endpoints.
type pair struct {
	name  string // client>server:port#n, empty until batch tells it apart
	group string
	batch *batch
	tls   bool        // its sizes stay out of the trace
	lost  *forgetting // what is in the middle knows nothing of it any more
}

// endpoint is one end of a stream and implements net.Conn. What it sends is
// collected while its process runs and becomes one segment when all is quiet.
type endpoint struct {
	w      *World
	pair   *pair
	peer   *endpoint
	side   byte // 'c' dialled, 's' accepted
	m      *Machine
	boot   uint64   // of m; a later one knows nothing of it
	proc   *Process // nil while it waits to be accepted
	local  netip.AddrPort
	remote netip.AddrPort

	// Receiving.
	chunks   [][]byte // arrived and unread; the first may be read in part
	offset   int      // into chunks[0]
	consumed int      // read since the last credit
	arrived  uint64   // of what the peer sent, without a hole
	early    []event  // arrived behind a hole, in their order
	eof      bool
	rturn    turn
	rwake    chan struct{}
	rlimit   deadline

	// Sending.
	pending     []byte // written in this instant
	inflight    int    // sent, and not credited
	lastArrival int64  // of what was sent last
	sent        uint64 // segments, to key their choices
	numbered    uint64 // of them and the end, to keep them in order
	wturn       turn
	wwake       chan struct{}
	wlimit      deadline
	finWanted   bool
	finSent     bool

	// Trouble.
	held        []event // lost; sent again when there is a route
	firstLost   int64
	queued      bool  // what is held waits in the network: nothing has to be sent again
	stuck       bool  // among those that wait for a route or an answer
	silentSince int64 // first loss without an answer, or -1
	aloneSince  int64 // the peer cannot answer a keepalive since then, or -1
	failure     error // what calls get from now on
	closed      bool  // by its own process
	gone        bool  // nobody here any more: arrivals are answered with a reset
	dirty       bool
}

func (w *World) newEnd(p *pair, side byte, m *Machine, proc *Process) *endpoint {
	e := &endpoint{w: w, pair: p, side: side, m: m, boot: m.boots, proc: proc, silentSince: -1, aloneSince: -1,
		rturn: make(turn, 1), wturn: make(turn, 1),
		rwake: make(chan struct{}, 1), wwake: make(chan struct{}, 1)}
	if proc != nil {
		proc.ends[e] = struct{}{}
	}
	return e
}

// connect makes the two ends of a dialled connection.
func (w *World) connect(d *dial) (client, server *endpoint) {
	p := &pair{group: d.name, batch: d.batch}
	if d.end != nil {
		p.name = d.end.pair.name
		d.end.vanish()
	} else if len(d.batch.names) == 1 && d.batch.names[0] == d.name {
		p.name = d.batch.take()
	}
	client = w.newEnd(p, 'c', d.proc.m, d.proc)
	server = w.newEnd(p, 's', d.to, nil)
	client.peer, server.peer = server, client
	client.local = netip.AddrPortFrom(d.proc.m.addr, d.proc.m.freePort("tcp"))
	client.remote = d.target
	server.local, server.remote = client.remote, client.local
	return client, server
}

// pipe makes a connected pair between a child and its parent.
func (w *World) pipe(child, parent *Process) (childEnd, parentEnd *endpoint) {
	key := child.m.name + "/" + child.name + ":control"
	p := &pair{name: key + "#" + itoa(int(w.count(key)))}
	childEnd = w.newEnd(p, 'c', child.m, child)
	parentEnd = w.newEnd(p, 's', parent.m, parent)
	childEnd.peer, parentEnd.peer = parentEnd, childEnd
	a := netip.AddrPortFrom(child.m.addr, 0)
	childEnd.local, childEnd.remote, parentEnd.local, parentEnd.remote = a, a, a, a
	return childEnd, parentEnd
}

func compareEnds(a, b *endpoint) int {
	return cmp.Or(strings.Compare(a.pair.name, b.pair.name), strings.Compare(a.pair.group, b.pair.group), cmp.Compare(a.side, b.side))
}

func sortedEnds(set map[*endpoint]struct{}) []*endpoint {
	all := make([]*endpoint, 0, len(set))
	for e := range set {
		all = append(all, e)
	}
	slices.SortFunc(all, compareEnds)
	return all
}

// opError is the error that package net would return. Error numbers say which
// system call they came from.
func (e *endpoint) opError(op string, err error) error {
	if errno, ok := err.(syscall.Errno); ok {
		err = os.NewSyscallError(op, errno)
	}
	return &net.OpError{Op: op, Net: "tcp", Source: e.LocalAddr(), Addr: e.RemoteAddr(), Err: err}
}

// Read implements net.Conn.
func (e *endpoint) Read(b []byte) (int, error) {
	e.rturn.take()
	defer e.rturn.give()
	for {
		e.w.mu.Lock()
		switch {
		case e.closed:
			e.w.mu.Unlock()
			return 0, e.opError("read", net.ErrClosed)
		case e.rlimit.passed():
			e.w.mu.Unlock()
			return 0, e.opError("read", os.ErrDeadlineExceeded)
		case len(e.chunks) > 0:
			n := e.take(b)
			e.w.mu.Unlock()
			return n, nil
		case e.failure != nil:
			err := e.failure
			e.w.mu.Unlock()
			return 0, e.opError("read", err)
		case e.eof:
			e.w.mu.Unlock()
			return 0, io.EOF
		case len(b) == 0:
			e.w.mu.Unlock()
			return 0, nil
		}
		expired := e.rlimit.expired
		e.w.mu.Unlock()
		waitFor(e.rwake, expired)
	}
}

func (e *endpoint) take(b []byte) int {
	total := 0
	for len(b) > 0 && len(e.chunks) > 0 {
		n := copy(b, e.chunks[0][e.offset:])
		b = b[n:]
		total += n
		e.offset += n
		if e.offset == len(e.chunks[0]) {
			e.chunks[0] = nil
			e.chunks = e.chunks[1:]
			e.offset = 0
		}
	}
	e.consumed += total
	if e.consumed >= window/4 {
		e.markDirty()
	}
	return total
}

// Write implements net.Conn. It blocks while the window is full.
func (e *endpoint) Write(b []byte) (int, error) {
	e.wturn.take()
	defer e.wturn.give()
	written := 0
	for {
		e.w.mu.Lock()
		switch {
		case e.closed:
			e.w.mu.Unlock()
			return written, e.opError("write", net.ErrClosed)
		case e.wlimit.passed():
			e.w.mu.Unlock()
			return written, e.opError("write", os.ErrDeadlineExceeded)
		case e.failure != nil:
			err := e.failure
			e.w.mu.Unlock()
			return written, e.opError("write", err)
		case e.finWanted:
			e.w.mu.Unlock()
			return written, e.opError("write", syscall.EPIPE)
		}
		if n := min(len(b), window-e.inflight-len(e.pending)); n > 0 || len(b) == 0 {
			e.pending = append(e.pending, b[:n]...)
			b = b[n:]
			written += n
			e.markDirty()
		}
		if len(b) == 0 {
			e.w.mu.Unlock()
			return written, nil
		}
		expired := e.wlimit.expired
		e.w.mu.Unlock()
		waitFor(e.wwake, expired)
	}
}

// markDirty has the endpoint flushed when all is quiet.
func (e *endpoint) markDirty() {
	if e.dirty || e.gone {
		return
	}
	e.dirty = true
	e.w.records.dirty = append(e.w.records.dirty, e)
	e.w.wake()
}

// Close implements net.Conn. What was written still arrives, and then the end; if
// bytes from the peer were left unread, a reset, as from Linux.
func (e *endpoint) Close() error {
	e.w.mu.Lock()
	defer e.w.mu.Unlock()
	if e.closed {
		return e.opError("close", net.ErrClosed)
	}
	e.close()
	return nil
}

func (e *endpoint) close() {
	if e.closed {
		return
	}
	e.closed = true
	e.finWanted = true
	e.rlimit.stop()
	e.wlimit.stop()
	signal(e.rwake)
	signal(e.wwake)
	if e.failure != nil {
		e.forget()
		return
	}
	if e.proc != nil && e.proc.dead {
		e.flush() // records of the dead are dropped
		return
	}
	e.markDirty()
}

// CloseWrite ends the sending direction, as net.TCPConn does.
func (e *endpoint) CloseWrite() error {
	e.w.mu.Lock()
	defer e.w.mu.Unlock()
	if e.closed {
		return e.opError("close", net.ErrClosed)
	}
	e.finWanted = true
	signal(e.wwake)
	e.markDirty()
	return nil
}

// abort ends the connection with a reset to the peer.
func (e *endpoint) abort() {
	if e.gone {
		return
	}
	e.pending = nil
	e.gone = true
	e.transmit(event{kind: reset})
	e.drop(syscall.ECONNRESET)
}

// vanish ends the endpoint with its machine; the peer hears nothing.
func (e *endpoint) vanish() { e.drop(errDead.Err) }

// drop ends the endpoint without a word to the peer: calls end with err, what was
// not sent never will be.
func (e *endpoint) drop(err error) {
	if e.failure == nil {
		e.failure = err
	}
	e.held, e.pending, e.early = nil, nil, nil
	e.silentSince = -1
	signal(e.rwake)
	signal(e.wwake)
	e.w.woke = true
	e.forget()
}

// forget lets the kernel answer with a reset what still arrives. An endpoint that
// was closed in order goes on sending what it held.
func (e *endpoint) forget() {
	e.gone = true
	if e.proc != nil {
		delete(e.proc.ends, e)
	}
}

// flush sends what an instant has gathered, in this order: bytes, room for the
// peer, the end of the stream.
func (e *endpoint) flush() {
	e.dirty = false
	if e.gone {
		return
	}
	if n := len(e.pending); n > 0 {
		if e.sent == 0 && e.side == 'c' && e.pending[0] == 0x16 {
			e.pair.tls = true
		}
		data := e.pending
		e.pending = nil
		e.inflight += n
		e.transmit(event{kind: segment, data: data, size: n})
	}
	if e.closed && len(e.chunks) > 0 {
		e.abort()
		return
	}
	if e.consumed >= window/4 && !e.eof {
		n := e.consumed
		e.consumed = 0
		e.transmit(event{kind: credit, size: n})
	}
	if e.finWanted && !e.finSent {
		e.finSent = true
		e.transmit(event{kind: fin})
	}
	if e.closed && e.finSent && (e.eof || e.peer.gone) {
		e.forget()
	}
}

// transmit sends one event to the peer, in order behind what was sent before.
func (e *endpoint) transmit(x event) {
	w := e.w
	x.end, x.sent = e.peer, w.now()
	if e.m.paused {
		e.m.heldSends = append(e.m.heldSends, x)
		return
	}
	if f := e.pair.lost; f != nil {
		f.drop(e, &x)
		return
	}
	if x.kind == segment || x.kind == fin {
		e.numbered++
		x.nth = e.numbered
	}
	now := w.now()
	p := w.path(e.m, e.peer.m)
	// What is too long for the path holds up bytes, and no room for the peer.
	if len(e.held) > 0 && x.kind != reset && (x.kind != credit || p.mtu == 0) {
		e.held = append(e.held, x)
		return
	}
	if len(p.faults) > 0 {
		p.touch()
	}
	if p.cut || p.tooLong(x.packet()) {
		e.lose(x)
		return
	}
	n := e.sent
	e.sent++
	who := e.name()
	at := now
	gap := firstRetry
	for attempt := uint64(0); len(p.faults) > 0 && e.misses(p, at, who, n<<8|attempt); attempt++ {
		if at += gap; gap < maxRetryGap {
			gap *= 2
		}
		if at-now > int64(userTimeLimit) {
			e.lose(x)
			return
		}
	}
	e.send(p, at, n, x)
}

// misses tells whether an attempt at a packet does not arrive, or not as it was.
func (e *endpoint) misses(p *path, at int64, who string, attempt uint64) bool {
	return e.w.loses(p, at, who, "lost"+string(e.side), attempt) || e.w.corrupts(p, who, "corrupt"+string(e.side), attempt)
}

// send lets the n-th packet leave at an instant from now on.
func (e *endpoint) send(p *path, at int64, n uint64, x event) {
	at += e.w.travel(p, e.w.now(), len(x.data)+60, e.name(), n<<1|uint64(e.side>>4&1))
	at = max(at, e.lastArrival+1)
	e.lastArrival = at
	e.w.schedule(at, x)
}

// lose keeps an event that found no route until there is one.
func (e *endpoint) lose(x event) {
	if x.kind == reset {
		e.peer.ask() // nobody sends a reset twice
		return
	}
	if len(e.held) == 0 {
		e.firstLost = e.w.now()
		e.queued = e.w.path(e.m, e.peer.m).hold
	}
	// What was under way when a link was cut is lost later than what was sent next.
	i := len(e.held)
	for i > 0 && e.held[i-1].sent > x.sent {
		i--
	}
	e.held = slices.Insert(e.held, i, x)
	if x.kind == credit {
		e.wait() // it asks for no answer
		return
	}
	e.unanswered()
}

// unanswered notes that the peer's kernel does not answer what was sent.
func (e *endpoint) unanswered() {
	e.wait()
	if e.silentSince < 0 {
		e.silentSince = e.w.now()
		e.w.schedule(e.silentSince+int64(userTimeLimit), event{kind: userTimeout, end: e})
	}
}

// wait has the endpoint looked at when routes change.
func (e *endpoint) wait() {
	if !e.stuck {
		e.stuck = true
		e.w.stuck = append(e.w.stuck, e)
	}
}

// forgetStuck keeps what has given up from being looked at for ever.
func (w *World) forgetStuck() {
	w.stuck = slices.DeleteFunc(w.stuck, func(e *endpoint) bool { return !e.sends() })
}

// sends tells whether a kernel still sends for the endpoint, which it does for a
// while after an orderly close.
func (e *endpoint) sends() bool { return e.failure == nil && e.m.on && e.boot == e.m.boots }

// reaches tells whether the peer's kernel hears and answers.
func (e *endpoint) reaches() bool {
	return e.pair.lost == nil && e.w.reachable(e.m, e.peer.m) && !e.w.path(e.peer.m, e.m).cut
}

// resume sends again what may get through now.
func (w *World) resume() {
	w.resumeDials()
	stuck := w.stuck
	w.stuck = nil
	slices.SortStableFunc(stuck, compareEnds)
	for _, e := range stuck {
		e.stuck = false
		if !e.sends() {
			continue
		}
		if e.m.paused {
			e.wait()
			continue
		}
		p := w.path(e.m, e.peer.m)
		blocked := len(e.held) > 0 && p.swallows(e.held[0].packet())
		if e.reaches() && !blocked {
			e.silentSince = -1
		} else {
			e.wait()
		}
		if len(e.held) == 0 || blocked || p.cut || !e.peer.m.on || e.pair.lost != nil {
			continue
		}
		held := e.held
		e.held = nil
		at := e.firstLost
		for gap := firstRetry; at < w.now(); {
			at += gap
			if gap < maxRetryGap {
				gap *= 2
			}
		}
		if e.queued {
			at = w.now()
		}
		for i, x := range held {
			if p.swallows(x.packet()) {
				e.held, e.firstLost, e.queued = held[i:], w.now(), false
				e.unanswered()
				break
			}
			n := e.sent
			e.sent++
			e.send(p, at, n, x)
		}
	}
}

// askSilentPeers starts a keepalive on every connection whose peer has become
// silent, and ends it where the peer is back.
func (w *World) askSilentPeers() {
	for _, m := range w.sortedMachines() {
		if !m.on {
			continue
		}
		for _, p := range m.sortedProcesses() {
			for _, e := range sortedEnds(p.ends) {
				e.ask()
			}
		}
	}
}

// ask starts a keepalive if the peer would not answer one, which is known in due
// time.
func (e *endpoint) ask() {
	switch {
	case e.peer.m == e.m:
	case e.reaches() && !e.peer.gone:
		e.aloneSince = -1
	case e.aloneSince < 0:
		e.aloneSince = e.w.now()
		wobble := below(e.w.choice(e.name(), "keepalive", e.sent), int64(time.Second))
		e.w.schedule(e.aloneSince+int64(keepaliveTime)+wobble, event{kind: keepalive, end: e})
	}
}

// deliver lets something arrive at e from its peer.
func (e *endpoint) deliver(x *event) {
	w := e.w
	switch x.kind {
	case keepalive:
		switch {
		case e.gone || e.aloneSince < 0 || x.at-e.aloneSince < int64(keepaliveTime):
		case e.reaches():
			e.drop(syscall.ECONNRESET) // from a kernel that knows nothing of it
		case e.silentSince < 0:
			e.drop(syscall.ETIMEDOUT)
		default:
			e.aloneSince = -1 // it sends again instead, and asks anew when routes change
		}
		return
	case userTimeout:
		if e.silentSince >= 0 && x.at-e.silentSince >= int64(userTimeLimit) {
			e.drop(syscall.ETIMEDOUT)
			w.forgetStuck()
		}
		return
	}
	sender := e.peer
	p := w.path(sender.m, e.m)
	if p.cut || !e.m.on {
		p.touch()
		if sender.sends() {
			sender.lose(*x)
		}
		return
	}
	if e.gone {
		w.delivered(x, "late", e.name(), e.side, -1, sender.m, e.m)
		known := x.kind == credit && e.failure == nil // closed in order: the kernel remembers it for a while
		if x.kind != reset && !known && !sender.gone {
			e.transmit(event{kind: reset})
		}
		return
	}
	if back := w.path(e.m, sender.m); back.cut && sender.sends() && x.kind != reset {
		back.touch()
		if x.kind != credit {
			sender.unanswered()
		}
	}
	if x.nth > e.arrived+1 { // it was on its way longer than a cut that took what was before it
		i, _ := slices.BinarySearchFunc(e.early, x.nth, func(o event, nth uint64) int { return cmp.Compare(o.nth, nth) })
		e.early = slices.Insert(e.early, i, *x)
		return
	}
	e.receive(x)
	for len(e.early) > 0 && e.early[0].nth == e.arrived+1 {
		next := e.early[0]
		e.early = e.early[1:]
		next.at = x.at
		e.receive(&next)
	}
}

// receive takes what has arrived in its order.
func (e *endpoint) receive(x *event) {
	w, sender, side := e.w, e.peer, e.side
	if x.nth > 0 {
		e.arrived = x.nth
	}
	switch x.kind {
	case segment:
		size := x.size
		if e.pair.tls {
			size = -1
		}
		w.delivered(x, "seg", e.name(), side, size, sender.m, e.m)
		if e.closed {
			e.abort()
			return
		}
		e.chunks = append(e.chunks, x.data)
		signal(e.rwake)
	case credit:
		e.inflight = max(e.inflight-x.size, 0)
		signal(e.wwake)
	case fin:
		w.delivered(x, "fin", e.name(), side, -1, sender.m, e.m)
		e.eof = true
		signal(e.rwake)
		if e.closed && e.finSent {
			e.forget()
		}
	case reset:
		w.delivered(x, "rst", e.name(), side, -1, sender.m, e.m)
		e.drop(syscall.ECONNRESET)
	}
}

func (e *endpoint) name() string {
	if e.pair.name == "" {
		return e.pair.group
	}
	return e.pair.name
}

// LocalAddr implements net.Conn.
func (e *endpoint) LocalAddr() net.Addr { return net.TCPAddrFromAddrPort(e.local) }

// RemoteAddr implements net.Conn.
func (e *endpoint) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(e.remote) }

// SetDeadline implements net.Conn.
func (e *endpoint) SetDeadline(t time.Time) error {
	if err := e.SetReadDeadline(t); err != nil {
		return err
	}
	return e.SetWriteDeadline(t)
}

// SetReadDeadline implements net.Conn.
func (e *endpoint) SetReadDeadline(t time.Time) error {
	e.w.mu.Lock()
	defer e.w.mu.Unlock()
	if e.closed {
		return e.opError("set", net.ErrClosed)
	}
	e.rlimit.set(t)
	signal(e.rwake)
	return nil
}

// SetWriteDeadline implements net.Conn.
func (e *endpoint) SetWriteDeadline(t time.Time) error {
	e.w.mu.Lock()
	defer e.w.mu.Unlock()
	if e.closed {
		return e.opError("set", net.ErrClosed)
	}
	e.wlimit.set(t)
	signal(e.wwake)
	return nil
}
