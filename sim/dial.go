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
	waiting   bool // its time-out is scheduled
	finished  bool
	abandoned bool
	end       *endpoint
	err       error
}

// Linux sends a SYN again after 1, 3, 7, 15, 31 and 63 s, and gives up after
// 127 s (net.ipv4.tcp_syn_retries = 6).
const (
	synTimeout   = 127 * time.Second
	synFirst     = int64(time.Second)
	maxAttempts  = 7
	noHostAfter  = 3 * time.Second // address resolution fails
	connectError = "connect"
)

// DialContext connects over "tcp" or "udp" to "host:port". A host that is not an
// address is the name of a machine, or is looked up at the machine's resolvers;
// addresses are tried in the order given, each until ctx ends or the kernel's
// own time-out. Errors are those of package net.
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
	for _, a := range addrs {
		target := netip.AddrPortFrom(a, uint16(port))
		if network == "udp" {
			return p.dialPacket(target)
		}
		c, e := p.dialStream(ctx, target)
		if e == nil {
			return c, nil
		}
		err = &net.OpError{Op: "dial", Net: network, Addr: net.TCPAddrFromAddrPort(target), Err: e}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, err
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
	for i := 0; i < len(dials); {
		j := i + 1
		for j < len(dials) && dials[j].proc == dials[i].proc && dials[j].target == dials[i].target {
			j++
		}
		d := dials[i]
		to := w.byAddr[d.target.Addr()]
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
			d.send(d.first, 0)
		}
		i = j
	}
}

// send sends a SYN at time t, the attempt-th one.
func (d *dial) send(t int64, attempt uint64) {
	w := d.w
	if d.to == nil {
		d.err = os.NewSyscallError(connectError, syscall.EHOSTUNREACH)
		w.schedule(t+int64(noHostAfter), event{kind: refused, dial: d})
		return
	}
	p := w.path(d.proc.m, d.to)
	if len(p.faults) > 0 {
		p.touch()
	}
	for p.loss > 0 && attempt < maxAttempts && w.happens(p.loss, d.name, "syn lost", attempt) {
		t = d.retry(t + 1)
		attempt++
	}
	if p.cut || attempt >= maxAttempts {
		d.wait()
		return
	}
	w.schedule(t+w.travel(p, t, 60, d.name, attempt), event{kind: syn, dial: d})
}

// wait leaves the handshake until there is a route, or until the kernel gives up.
func (d *dial) wait() {
	d.w.dialing = append(d.w.dialing, d)
	if !d.waiting {
		d.waiting = true
		d.w.schedule(d.first+int64(synTimeout), event{kind: dialTimeout, dial: d})
	}
}

// retry is when the next SYN is sent that is not before t.
func (d *dial) retry(t int64) int64 {
	at := d.first
	for gap := synFirst; at < t; gap *= 2 {
		at += gap
	}
	return at
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
		w.trace.delivery(time.Duration(e.at), "syn", d.name, 0, -1)
		back := w.path(d.to, d.proc.m)
		at := e.at + w.travel(back, e.at, 60, d.name, 100)
		if back.cut {
			back.touch()
			d.wait()
			return
		}
		sock := d.to.socketFor("tcp", d.target)
		if sock == nil {
			d.err = os.NewSyscallError(connectError, syscall.ECONNREFUSED)
			w.schedule(at, event{kind: refused, dial: d})
			return
		}
		if len(sock.backlog) >= maxBacklog {
			d.wait()
			d.send(d.retry(e.at+1), maxAttempts-1)
			return
		}
		client, server := w.connect(d, sock)
		server.lastArrival = at
		w.schedule(at, event{kind: established, dial: d, end: client})
		sock.backlog = append(sock.backlog, server)
		sock.assign()
	case established:
		if d.abandoned || d.proc.dead {
			e.end.abort()
			d.finish(nil, nil)
			return
		}
		w.trace.delivery(time.Duration(e.at), "established", d.name, 0, -1)
		d.finish(e.end, nil)
	case refused:
		w.trace.delivery(time.Duration(e.at), "refused", d.name, 0, -1)
		d.finish(nil, d.err)
	case dialTimeout:
		d.finish(nil, os.NewSyscallError(connectError, syscall.ETIMEDOUT))
	}
}

func (d *dial) finish(e *endpoint, err error) {
	d.finished = true
	d.end, d.err = e, err
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
		at := d.retry(w.now())
		if at-d.first < int64(synTimeout) {
			d.send(at, maxAttempts-1)
		}
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
