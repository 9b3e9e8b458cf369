package sim

import (
	"net/netip"
	"slices"
	"time"
)

// route is one direction between two machines.
type route struct{ from, to *Machine }

// path is what a route is like now: its base latency and all that the active
// faults add.
type path struct {
	name      string
	latency   int64 // nanoseconds
	cut       bool
	hold      bool     // cut, and nothing of what is sent is lost
	loss      int64    // parts per million
	bursts    []*Fault // that lose in runs
	duplicate int64    // parts per million
	reorder   int64    // parts per million
	corrupt   int64    // parts per million
	jitter    int64    // nanoseconds, at most
	bandwidth int64    // bytes a second, 0 for no limit
	free      int64    // when a limited link has sent all that it was given
	mtu       int      // bytes of a packet, 0 for what is usual
	divert    *Machine
	faults    []*Fault
}

// Conditions are what a fault does to the packets of a route. The zero value
// does nothing.
type Conditions struct {
	Cut       bool          // nothing passes; streams go on after healing
	Hold      bool          // nothing passes; what is sent arrives at once after healing
	Delay     time.Duration // added to every packet
	Jitter    time.Duration // at most this is added, differing by packet
	Loss      int64         // parts per million; streams send again, later
	Duplicate int64         // parts per million of datagrams
	Bandwidth int64         // bytes a second, 0 for no limit
	// Burst, if not 0, has the loss come in runs, as from a radio link: for so long
	// at a time a route loses all or nothing, and Loss is the share of such times
	// that are bad. Two bad ones in a row make a longer run.
	Burst time.Duration
	// Reorder is parts per million of datagrams that are held back for 10 to 50 ms
	// more, so that later ones overtake them. Streams put right what comes out of
	// order.
	Reorder int64
	// Corrupt is parts per million of packets that are damaged on the way by
	// something that also computes checksums anew: one byte of a datagram differs.
	// In a stream the checksums of both ends hold, so there it is loss.
	Corrupt int64
	// MTU, if not 0, has packets lost that are longer, in bytes with their IP and
	// UDP or TCP headers, without a word to the sender: a black hole of path MTU
	// discovery (RFC 2923). Streams send full packets of 1500 bytes where they have
	// so much to send at one instant, and what comes after one that is lost waits
	// for it.
	MTU int
	// Divert, if not nil, is the machine that gets new connections and datagrams
	// in the place of the one that was meant, under the address of that one, as
	// after a false announcement of routes. Connections that stand go on.
	Divert *Machine
}

// Fault is an impairment of the network, from Impair until Heal.
type Fault struct {
	w       *World
	name    string
	cond    Conditions
	match   func(from, to *Machine) bool
	each    bool // affects every packet, or at random; else those that it is counted for
	touched uint64
	healed  bool
}

// Name is the name that the fault was given.
func (f *Fault) Name() string { return f.name }

// Touched counts the packets, streams and handshakes that the fault has
// affected. A fault that touched nothing had no effect.
func (f *Fault) Touched() uint64 {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	return f.touched
}

// Heal ends the fault. Streams that waited go on at their next retransmission.
func (f *Fault) Heal() {
	f.w.mu.Lock()
	if !f.healed {
		f.healed = true
		f.w.faults = slices.DeleteFunc(f.w.faults, func(g *Fault) bool { return g == f })
		f.w.rerouted()
	}
	f.w.mu.Unlock()
	f.w.wake()
}

// Impair puts every route for which match holds under the conditions, until the
// fault is healed. match must be a pure function of what the machines are: their
// names, regions, zones and addresses.
func (w *World) Impair(name string, c Conditions, match func(from, to *Machine) bool) *Fault {
	f := &Fault{w: w, name: name, cond: c, match: match}
	f.each = c.Cut || c.Hold || c.Delay > 0 || c.Jitter > 0 || c.Loss > 0 && c.Burst == 0 || c.Bandwidth > 0 || c.Divert != nil
	w.mu.Lock()
	w.faults = append(w.faults, f)
	w.rerouted()
	w.mu.Unlock()
	w.wake()
	return f
}

// Link is the pair of routes between two machines.
type Link struct {
	w    *World
	a, b *Machine
}

// Link returns the link between two machines.
func (w *World) Link(a, b *Machine) Link { return Link{w, a, b} }

// Cut stops everything on the link in both directions; it heals after d.
func (l Link) Cut(d time.Duration) *Fault { return l.Impair(Conditions{Cut: true}, d) }

// CutOneWay stops what the first machine sends to the second; the other
// direction works. It heals after d.
func (l Link) CutOneWay(d time.Duration) *Fault {
	return l.impair("->", Conditions{Cut: true}, d, func(from, to *Machine) bool {
		return from == l.a && to == l.b
	})
}

// Impair puts both directions under the conditions; it heals after d.
func (l Link) Impair(c Conditions, d time.Duration) *Fault {
	return l.impair("<->", c, d, func(from, to *Machine) bool {
		return from == l.a && to == l.b || from == l.b && to == l.a
	})
}

func (l Link) impair(arrow string, c Conditions, d time.Duration, match func(from, to *Machine) bool) *Fault {
	f := l.w.Impair(l.a.name+arrow+l.b.name, c, match)
	l.w.After(d, f.Heal)
	return f
}

// SetDistance sets the one-way latency between two regions; the order of the
// two does not matter. Without it the latency depends on their names and lies
// between 20 and 80 ms.
func (w *World) SetDistance(regionA, regionB string, d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.distances[regionPair(regionA, regionB)] = d
	w.rerouted()
}

func regionPair(a, b string) [2]string {
	if b < a {
		a, b = b, a
	}
	return [2]string{a, b}
}

// Latencies within a machine, a zone and a region: what a data centre has.
const (
	loopbackLatency = 15 * time.Microsecond
	zoneLatency     = 250 * time.Microsecond
	regionLatency   = 700 * time.Microsecond
)

func (w *World) latency(from, to *Machine) time.Duration {
	switch {
	case from == to:
		return loopbackLatency
	case from.region == to.region && from.zone == to.zone:
		return zoneLatency
	case from.region == to.region:
		return regionLatency
	}
	pair := regionPair(from.region, to.region)
	if d, ok := w.distances[pair]; ok {
		return d
	}
	x := w.choice("distance", pair[0]+" "+pair[1], 0)
	return 20*time.Millisecond + time.Duration(below(x, int64(60*time.Millisecond)))
}

// path gives the present state of a route.
func (w *World) path(from, to *Machine) *path {
	r := route{from, to}
	p := w.routes[r]
	if p == nil {
		p = &path{name: from.name + ">" + to.name, latency: int64(w.latency(from, to))}
		if from != to {
			for _, f := range w.faults {
				if f.match(from, to) {
					p.add(f)
				}
			}
		}
		p.cut, p.hold = p.cut || p.hold, p.hold && !p.cut
		w.routes[r] = p
	}
	return p
}

func (p *path) add(f *Fault) {
	p.faults = append(p.faults, f)
	p.cut = p.cut || f.cond.Cut
	p.hold = p.hold || f.cond.Hold
	if f.cond.Divert != nil {
		p.divert = f.cond.Divert
	}
	p.latency += int64(f.cond.Delay)
	p.jitter += int64(f.cond.Jitter)
	if f.cond.Burst > 0 {
		p.bursts = append(p.bursts, f)
	} else {
		p.loss = min(p.loss+f.cond.Loss, million)
	}
	p.duplicate = min(p.duplicate+f.cond.Duplicate, million)
	p.reorder = min(p.reorder+f.cond.Reorder, million)
	p.corrupt = min(p.corrupt+f.cond.Corrupt, million)
	if m := f.cond.MTU; m > 0 && (p.mtu == 0 || m < p.mtu) {
		p.mtu = m
	}
	if b := f.cond.Bandwidth; b > 0 && (p.bandwidth == 0 || b < p.bandwidth) {
		p.bandwidth = b
	}
}

// meet gives the machine that a sender reaches at an address, which need not be
// the one that has it; nil if nobody is there.
func (w *World) meet(from *Machine, addr netip.Addr) *Machine {
	to := w.byAddr[addr]
	if to == nil {
		return nil
	}
	if p := w.path(from, to); p.divert != nil {
		p.touch()
		return p.divert
	}
	return to
}

// touch counts one packet for the faults of a path that affect each.
func (p *path) touch() {
	for _, f := range p.faults {
		if f.each {
			f.touched++
		}
	}
}

// struck counts one packet for those that affect only some.
func (p *path) struck(by func(c *Conditions) bool) {
	for _, f := range p.faults {
		if !f.each && by(&f.cond) {
			f.touched++
		}
	}
}

// loses tells whether a packet that leaves at an instant is lost by chance.
func (w *World) loses(p *path, at int64, who, what string, n uint64) bool {
	for _, f := range p.bursts {
		if w.happens(f.cond.Loss, p.name, "burst of "+f.name, uint64(at/int64(f.cond.Burst))) {
			if !f.each {
				f.touched++
			}
			return true
		}
	}
	return w.happens(p.loss, who, what, n)
}

// corrupts tells whether a packet is damaged.
func (w *World) corrupts(p *path, who, what string, n uint64) bool {
	if !w.happens(p.corrupt, who, what, n) {
		return false
	}
	p.struck(func(c *Conditions) bool { return c.Corrupt > 0 })
	return true
}

// fullPacket is the MTU of Ethernet, which senders of streams fill.
const fullPacket = 1500

// swallows tells whether a packet is too long for the path.
func (p *path) swallows(size int) bool { return p.mtu > 0 && min(size, fullPacket) > p.mtu }

// tooLong is swallows for one that is sent now, and counts it.
func (p *path) tooLong(size int) bool {
	if !p.swallows(size) {
		return false
	}
	p.struck(func(c *Conditions) bool { return c.MTU > 0 && c.MTU < min(size, fullPacket) })
	return true
}

// reachable tells whether a kernel hears what another machine sends it now.
func (w *World) reachable(from, to *Machine) bool {
	return to.on && !to.paused && !w.path(from, to).cut
}

// travel is how long a packet takes that is sent now: latency, a small wobble
// of its own, and its turn on a limited link.
func (w *World) travel(p *path, now int64, size int, who string, n uint64) int64 {
	t := p.latency + below(w.choice(who, "wobble", n), p.latency/16+1)
	if p.jitter > 0 {
		t += below(w.choice(who, "jitter", n), p.jitter)
	}
	if p.bandwidth > 0 {
		p.free = max(p.free, now) + int64(size)*int64(time.Second)/p.bandwidth
		t += p.free - now
	}
	return t
}

// rerouted recomputes the world after a fault came or went, or a machine was
// switched on or off: connections notice, later, that their peer is silent, and
// what waited goes on.
func (w *World) rerouted() {
	old := w.routes
	w.routes = make(map[route]*path, len(old))
	for r, p := range old {
		if p.free > w.now() {
			w.path(r.from, r.to).free = p.free // a limited link keeps its queue
		}
	}
	w.resume()
	w.releasePackets()
	w.askSilentPeers()
}
