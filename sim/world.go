package sim

import (
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Options are what a run depends on, and what it writes.
type Options struct {
	// Seed selects the run. Equal seeds give equal runs.
	Seed uint64
	// Start is the true time at which the world begins, by default the bubble's
	// own start, 2000-01-01. It must not lie before that.
	Start time.Time
	// Trace, if not nil, receives the trace as JSON lines.
	Trace io.Writer
	// Watchdog is how long, in real time, virtual time may stand still before
	// all stacks are written to standard error and the program ends with
	// status 4. The default is 30 s; below zero is never.
	Watchdog time.Duration
}

// World holds machines and the network between them. Its methods may be called
// from any goroutine of its bubble, at any instant; what they change holds from
// that instant on.
type World struct {
	opts  Options
	start time.Time // true wall time at offset 0
	zero  time.Time // the bubble's time at offset 0

	// mu guards the state of the whole world. It is held for a few memory
	// operations at a time and never while anything can block.
	mu          sync.Mutex
	machines    map[string]*Machine
	byAddr      map[netip.Addr]*Machine
	queue       eventQueue
	records     records
	woke        bool     // the present commit has woken a goroutine
	commits     uint64   // of records, so far
	catching    *Machine // whose held records the next commit gives effect to
	faults      []*Fault
	routes      map[route]*path
	distances   map[[2]string]time.Duration
	counts      map[string]uint64 // how often each name has chosen
	stuck       []*endpoint       // with segments that wait for a route
	dialing     []*dial           // with handshakes that wait for a route
	heldPackets []*packet         // that wait for the end of a Hold
	observers   []func(Event)
	onDelivery  []func(Delivery)
	ending      bool // nothing happens any more
	ended       bool // and the pump may go

	trace   *trace
	stats   Stats
	kick    chan struct{} // something was recorded
	asleep  atomic.Bool   // the pump waits for kick
	stopped chan struct{} // the pump has returned
	dog     *watchdog
}

// Stats count what a run did.
type Stats struct {
	Deliveries uint64 // segments, datagrams and handshakes that arrived
	Events     uint64 // told by processes and by the world
	// Ties counts deliveries to one machine at one nanosecond. They are kept in
	// order, but the goroutines they wake may race. It is what the world can
	// see; goroutines that race by their own timers it cannot.
	Ties uint64
}

func newWorld(o Options, dog *watchdog) *World {
	if o.Start.IsZero() {
		o.Start = time.Now()
	}
	time.Sleep(time.Until(o.Start))
	w := &World{
		opts:      o,
		start:     o.Start.Round(0),
		zero:      time.Now(),
		machines:  map[string]*Machine{},
		byAddr:    map[netip.Addr]*Machine{},
		routes:    map[route]*path{},
		distances: map[[2]string]time.Duration{},
		counts:    map[string]uint64{},
		trace:     newTrace(o.Trace),
		kick:      make(chan struct{}, 1),
		stopped:   make(chan struct{}),
		dog:       dog,
	}
	go w.pump()
	return w
}

// now is the offset from the start of the world in nanoseconds.
func (w *World) now() int64 { return int64(time.Since(w.zero)) }

// Elapsed is how long the world has run, in virtual time.
func (w *World) Elapsed() time.Duration { return time.Duration(w.now()) }

// Seed is the seed of this run.
func (w *World) Seed() uint64 { return w.opts.Seed }

// Start is the true time at offset 0.
func (w *World) Start() time.Time { return w.start }

// Choose gives the n-th random number of a name, a pure function of the seed
// and its arguments, for whatever drives the world.
func (w *World) Choose(name string, n uint64) uint64 { return Choose(w.opts.Seed, name, n) }

// Choose gives what [World.Choose] gives in a world of that seed.
func Choose(seed uint64, name string, n uint64) uint64 { return choice(seed, "world", name, n) }

// At calls f once the world has reached an offset and all is quiet. An offset
// that has passed means now. What happens at one nanosecond happens in the order
// in which it was asked for, so goroutines that race to ask for the same one
// race. f must not block; it may call every method of the world.
func (w *World) At(offset time.Duration, f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at(max(int64(offset), w.now()), f)
}

// After calls f when d has passed; see At.
func (w *World) After(d time.Duration, f func()) { w.At(time.Duration(w.now()+int64(d)), f) }

func (w *World) at(t int64, f func()) { w.schedule(t, event{kind: call, call: f}) }

// Observe has f called for every event from now on, in order. f runs while the
// world is quiet and must neither block nor call methods of the world; it may
// wake a goroutine that does.
func (w *World) Observe(f func(Event)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.observers = append(w.observers, f)
}

// Emit records an event of the world itself.
func (w *World) Emit(kind string, fields ...Field) {
	w.mu.Lock()
	w.records.tell(nil, Event{Kind: kind, Fields: fields})
	w.mu.Unlock()
	w.wake()
}

// Machines lists all machines by name.
func (w *World) Machines() []*Machine {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.sortedMachines()
}

func (w *World) sortedMachines() []*Machine {
	all := make([]*Machine, 0, len(w.machines))
	for _, m := range w.machines {
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b *Machine) int { return strings.Compare(a.name, b.name) })
	return all
}

// Machine finds a machine by name, or returns nil.
func (w *World) Machine(name string) *Machine {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.machines[name]
}

// NewMachine adds a machine and switches it on. It panics if the name or the
// address is taken, which is a mistake of the program, not of the world.
func (w *World) NewMachine(name string, options ...MachineOption) *Machine {
	m := &Machine{w: w, name: name}
	m.clock = Clock{w: w, since: w.now(), frozen: -1, stopped: -1}
	m.disk = newDisk(w, name)
	for _, o := range options {
		o(m)
	}
	w.mu.Lock()
	if w.machines[name] != nil {
		w.mu.Unlock()
		panic(fmt.Sprintf("sim: a machine %q exists", name))
	}
	if !m.addr.IsValid() {
		m.addr = w.freeAddr(name)
	}
	if other := w.byAddr[m.addr]; other != nil {
		w.mu.Unlock()
		panic(fmt.Sprintf("sim: machine %q has the address %s of %q", name, m.addr, other.name))
	}
	w.machines[name] = m
	w.byAddr[m.addr] = m
	m.boot()
	w.mu.Unlock()
	return m
}

// freeAddr gives an address in 10.0.0.0/8 that depends on the name, so that
// adding a machine does not renumber others.
func (w *World) freeAddr(name string) netip.Addr {
	for n := uint64(0); ; n++ {
		x := mix(hashString(fnvOffset, name) + n)
		a := netip.AddrFrom4([4]byte{10, byte(x), byte(x >> 8), byte(1 + x>>16%254)})
		if w.byAddr[a] == nil {
			return a
		}
	}
}

// count returns how often a name has been counted before.
func (w *World) count(name string) uint64 {
	n := w.counts[name]
	w.counts[name] = n + 1
	return n
}

// wake tells the pump that something was recorded or scheduled. While the pump is
// awake it looks for itself.
func (w *World) wake() {
	if w.asleep.CompareAndSwap(true, false) {
		w.kick <- struct{}{}
	}
}

// Stats counts what has happened so far.
func (w *World) Stats() Stats {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stats
}
