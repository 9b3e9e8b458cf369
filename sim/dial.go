package sim

import (
	"bytes"
	"cmp"
	"context"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func itoa(n int) string { return strconv.Itoa(n) }

// dial is one TCP handshake.
type dial struct {
	w         *World
	proc      *Process
	to        *Machine // nil if nobody has the address
	target    netip.AddrPort
	name      string // of its batch
	batch     *batch
	first     int64 // when the first attempt was sent
	done      chan struct{}
	expires   bool // its time-out is scheduled
	queued    bool // its SYN, or the answer, waits in the network
	finished  bool
	abandoned bool
	end       *endpoint // once a SYN has been answered
	err       error
}

// Linux sends a SYN again after 1, 3, 7, 15, 31 and 63 s, and gives up after
// 127 s (net.ipv4.tcp_syn_retries = 6).
const (
	synTimeout   = 127 * time.Second
	synAttempts  = 7
	noHostAfter  = 3 * time.Second // address resolution fails
	connectError = "connect"
)

// DialContext connects over "tcp" or "udp" to "host:port". A host that is not an
// address is the name of a machine, or is looked up at the machine's resolvers;
// addresses are tried in the order given, each until the kernel's own time-out
// or for its share of the time that ctx leaves. Errors are those of package net.
func (p *Process) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	fail := func(err error) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	host, portText, err := net.SplitHostPort(address)
	if err != nil {
		return fail(err)
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil || port == 0 {
		return fail(&net.AddrError{Err: "invalid port", Addr: address})
	}
	if base, ok := baseNetwork(network); ok {
		network = base
	} else {
		return fail(net.UnknownNetworkError(network))
	}
	addrs, err := p.resolve(ctx, host)
	if err != nil {
		return fail(err)
	}
	var first error
	for i, a := range addrs {
		target := netip.AddrPortFrom(a, uint16(port))
		if network == "udp" {
			return p.dialPacket(target)
		}
		c, err := p.dialInTime(ctx, target, len(addrs)-i)
		if err == nil {
			return c, nil
		}
		if first == nil {
			first = &net.OpError{Op: "dial", Net: network, Addr: net.TCPAddrFromAddrPort(target), Err: err}
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, first
}

// leastShare is what package net leaves to each address of a dial, if it can.
const leastShare = 2 * time.Second

// dialInTime dials one of the addresses that are left, within its share of the
// time.
func (p *Process) dialInTime(ctx context.Context, target netip.AddrPort, left int) (net.Conn, error) {
	if limit, ok := ctx.Deadline(); ok && left > 1 {
		remains := time.Until(limit)
		if share := max(remains/time.Duration(left), leastShare); share < remains {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, share)
			defer cancel()
		}
	}
	if ctx.Err() != nil {
		return nil, contextError(ctx)
	}
	return p.dialStream(ctx, target)
}

func baseNetwork(network string) (string, bool) {
	switch network {
	case "tcp", "tcp4":
		return "tcp", true
	case "udp", "udp4":
		return "udp", true
	}
	return "", false
}

func (p *Process) resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	if host == "" || host == "localhost" {
		return []netip.Addr{p.m.addr}, nil
	}
	if a, err := netip.ParseAddr(host); err == nil {
		if a.IsLoopback() || a.IsUnspecified() {
			a = p.m.addr
		}
		return []netip.Addr{a}, nil
	}
	if m := p.w.Machine(host); m != nil {
		return []netip.Addr{m.addr}, nil
	}
	texts, err := p.Lookup(ctx, "A", host)
	if err != nil {
		return nil, err
	}
	addrs := make([]netip.Addr, 0, len(texts))
	for _, t := range texts {
		if a, err := netip.ParseAddr(t); err == nil {
			addrs = append(addrs, a)
		}
	}
	if len(addrs) == 0 {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return addrs, nil
}

func (p *Process) dialStream(ctx context.Context, target netip.AddrPort) (net.Conn, error) {
	w := p.w
	d := &dial{w: w, proc: p, target: target, done: make(chan struct{})}
	w.mu.Lock()
	if p.dead {
		w.mu.Unlock()
		return nil, errDead
	}
	d.err = p.m.descriptor("socket")
	w.records.dials = append(w.records.dials, d)
	w.mu.Unlock()
	w.wake()

	select {
	case <-d.done:
	case <-ctx.Done():
	case <-p.ctx.Done():
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case d.finished && d.err != nil:
		return nil, d.err
	case p.dead:
		d.abandoned = true
		return nil, errDead
	case d.finished:
		return d.end, nil
	}
	d.abandoned = true
	return nil, contextError(ctx)
}

// commitDials sends the first SYN of each. Dials of one process to one target at
// one instant cannot be told apart yet: they form a batch, travel together, and
// get their own names by what they first send.
func (w *World) commitDials(dials []*dial) {
	dials = slices.DeleteFunc(dials, func(d *dial) bool {
		if d.err != nil {
			w.deny(d.proc, d.target.String(), d.finish)
		}
		return d.err != nil
	})
	for i := 0; i < len(dials); {
		j := i + 1
		for j < len(dials) && dials[j].proc == dials[i].proc && dials[j].target == dials[i].target {
			j++
		}
		d := dials[i]
		to := w.meet(d.proc.m, d.target.Addr())
		key := d.proc.m.name + ">"
		if to != nil {
			key += to.name + ":" + itoa(int(d.target.Port()))
		} else {
			key += d.target.String()
		}
		b := &batch{}
		for range j - i {
			b.names = append(b.names, key+"#"+strconv.FormatUint(w.count(key), 10))
		}
		for _, d := range dials[i:j] {
			d.to, d.batch, d.name, d.first = to, b, b.names[0], w.now()
			d.send(d.first)
		}
		i = j
	}
}

// send sends the first SYN that is due at time t or later, and is not lost. Those
// of a batch must stay together, so they take no room on a limited link.
func (d *dial) send(t int64) {
	w := d.w
	if d.to == nil {
		d.err = os.NewSyscallError(connectError, syscall.EHOSTUNREACH)
		w.schedule(t+int64(noHostAfter), event{kind: refused, sent: t, dial: d})
		return
	}
	p := w.path(d.proc.m, d.to)
	if len(p.faults) > 0 {
		p.touch()
	}
	if p.cut {
		d.wait()
		return
	}
	for attempt := range uint64(synAttempts) {
		at := d.attempt(attempt)
		if at < t || w.loses(p, at, d.name, "syn lost", attempt) || w.corrupts(p, d.name, "syn corrupt", attempt) {
			continue
		}
		w.schedule(at+w.travel(p, w.now(), 0, d.name, attempt), event{kind: syn, sent: at, dial: d})
		return
	}
	d.wait()
}

// attempt is when the n-th SYN is sent, the first being number 0.
func (d *dial) attempt(n uint64) int64 { return d.first + (1<<n-1)*int64(time.Second) }

// wait leaves the handshake until routes change, or until the kernel gives up.
func (d *dial) wait() {
	there, back := d.w.path(d.proc.m, d.to), d.w.path(d.to, d.proc.m)
	d.queued = there.hold || back.hold
	d.w.dialing = append(d.w.dialing, d)
	d.expire()
}

// expire starts the kernel's time-out.
func (d *dial) expire() {
	if !d.expires {
		d.expires = true
		d.w.schedule(d.first+int64(synTimeout), event{kind: dialTimeout, dial: d})
	}
}

func (d *dial) deliver(e *event) {
	w := d.w
	if d.finished {
		return
	}
	switch e.kind {
	case syn:
		p := w.path(d.proc.m, d.to)
		if p.cut || !d.to.on {
			p.touch()
			d.wait()
			return
		}
		w.delivered(e, "syn", d.name, 0, -1, d.proc.m, d.to)
		back := w.path(d.to, d.proc.m)
		at := e.at + w.travel(back, e.at, 0, d.name, 100)
		if back.cut {
			back.touch()
			d.wait()
			return
		}
		if d.end == nil || d.end.peer.gone { // nobody knows of an earlier attempt, or no more
			sock := d.to.socketFor("tcp", d.target)
			if sock == nil {
				d.err = os.NewSyscallError(connectError, syscall.ECONNREFUSED)
				w.schedule(at, event{kind: refused, sent: e.at, dial: d})
				return
			}
			if len(sock.backlog) >= maxBacklog {
				d.expire()
				d.send(e.at + 1)
				return
			}
			client, server := w.connect(d)
			server.lastArrival = at
			d.end = client
			sock.backlog = append(sock.backlog, server)
			sock.assign()
		}
		w.schedule(at, event{kind: established, sent: e.at, dial: d})
	case established, refused:
		switch {
		case !d.proc.m.on: // nobody here to answer
			d.giveUp(errDead.Err)
			return
		case d.to != nil && w.path(d.to, d.proc.m).cut:
			w.path(d.to, d.proc.m).touch()
			d.err = nil
			d.wait()
			return
		case e.kind == refused:
			w.delivered(e, "refused", d.name, 0, -1, d.answerer(), d.proc.m)
		case d.abandoned || d.proc.dead:
			d.end.abort()
		default:
			w.delivered(e, "established", d.name, 0, -1, d.to, d.proc.m)
		}
		d.finish()
	case dialTimeout:
		d.giveUp(os.NewSyscallError(connectError, syscall.ETIMEDOUT))
		w.dialing = slices.DeleteFunc(w.dialing, func(o *dial) bool { return o.finished })
	}
}

// answerer is the machine that refuses: the dialling one itself, where nobody has
// the address.
func (d *dial) answerer() *Machine {
	if d.to == nil {
		return d.proc.m
	}
	return d.to
}

// giveUp ends the handshake. The other side may believe that it has a
// connection, until it asks.
func (d *dial) giveUp(err error) {
	if d.end != nil {
		d.end.vanish()
	}
	d.err = err
	d.finish()
}

func (d *dial) finish() {
	d.finished = true
	close(d.done)
}

// resumeDials sends SYNs again that may get through now.
func (w *World) resumeDials() {
	waiting := w.dialing
	w.dialing = nil
	for _, d := range waiting {
		if d.finished || d.abandoned || d.proc.dead {
			continue
		}
		if w.path(d.proc.m, d.to).cut || w.path(d.to, d.proc.m).cut || !d.to.on {
			w.dialing = append(w.dialing, d)
			continue
		}
		if now := w.now(); d.queued {
			d.queued = false
			w.schedule(now+w.travel(w.path(d.proc.m, d.to), now, 0, d.name, synAttempts), event{kind: syn, sent: now, dial: d})
			continue
		}
		d.send(w.now())
	}
}

// batch holds the names for connections that were dialled together and are not
// yet told apart.
type batch struct{ names []string }

// take gives the next name to a pair.
func (b *batch) take() string {
	n := b.names[0]
	b.names = b.names[1:]
	return n
}

// nameBatches names the connections among the dirty ends that have none: in the
// order of what they send, so that it does not matter which goroutine got which.
func nameBatches(dirty []*endpoint) {
	var unnamed []*endpoint
	for _, e := range dirty {
		if e.pair.name == "" {
			unnamed = append(unnamed, e)
		}
	}
	if len(unnamed) == 0 {
		return
	}
	slices.SortStableFunc(unnamed, func(a, b *endpoint) int {
		return cmp.Or(
			strings.Compare(a.pair.group, b.pair.group),
			cmp.Compare(a.side, b.side),
			cmp.Compare(len(a.pending), len(b.pending)),
			bytes.Compare(a.pending, b.pending))
	})
	for _, e := range unnamed {
		if e.pair.name == "" {
			e.pair.name = e.pair.batch.take()
		}
	}
}
