package sim

import (
	"context"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Machine is a host of the world. Its network methods act for its console, a
// process that runs while the machine is on; servers get processes of their own
// from Start or OnBoot.
type Machine struct {
	w            *World
	name         string
	region, zone string
	addr         netip.Addr
	resolvers    []netip.AddrPort
	clock        Clock
	disk         *Disk

	// Guarded by w.mu.
	on           bool
	paused       bool
	hung         bool // its processes
	exhausted    bool // of descriptors
	denied       uint64
	boots        uint64
	console      *Process
	processes    map[string]*Process
	sockets      map[portKey]*socket
	onBoot       []func(*Machine)
	nextPort     uint16
	lastDelivery int64
	arrivals     uint64 // since the world began
	crashes      []*Crash

	// What waits for the end of a pause, or of a hang.
	heldEvents  []event   // arrivals
	heldSends   []event   // from the kernel
	heldRecords []records // of processes, those of one instant together
	catchingUp  bool      // the next of them is scheduled
}

// MachineOption says more about a new machine.
type MachineOption func(*Machine)

// In puts the machine into a zone of a region. Latencies follow from that: one way
// 0.25 ms within a zone, 0.7 ms within a region, and [World.SetDistance] between
// regions.
func In(region, zone string) MachineOption {
	return func(m *Machine) { m.region, m.zone = region, zone }
}

// WithAddr gives the machine an address of your choice.
func WithAddr(a netip.Addr) MachineOption {
	return func(m *Machine) { m.addr = a }
}

// WithResolvers names the DNS servers that the machine asks, in order of
// preference. Names of machines resolve without any.
func WithResolvers(servers ...netip.AddrPort) MachineOption {
	return func(m *Machine) { m.resolvers = servers }
}

// Name is the machine's own name.
func (m *Machine) Name() string { return m.name }

// Region is the region the machine stands in, or "".
func (m *Machine) Region() string { return m.region }

// Zone is the zone the machine stands in, or "".
func (m *Machine) Zone() string { return m.zone }

// Addr is the machine's address.
func (m *Machine) Addr() netip.Addr { return m.addr }

// World is the world that the machine belongs to.
func (m *Machine) World() *World { return m.w }

// Disk is the machine's disk. Used from here rather than through a process, it
// never fails as a process's would.
func (m *Machine) Disk() *Disk { return m.disk }

// Clock is the machine's pair of clocks.
func (m *Machine) Clock() *Clock { return &m.clock }

// On tells whether the machine is switched on.
func (m *Machine) On() bool {
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	return m.on
}

// DialContext is [Process.DialContext] of the machine's console.
func (m *Machine) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	return m.consoleProcess().DialContext(ctx, network, address)
}

// Listen is [Process.Listen] of the machine's console.
func (m *Machine) Listen(network, address string) (net.Listener, error) {
	return m.consoleProcess().Listen(network, address)
}

// ListenPacket is [Process.ListenPacket] of the machine's console.
func (m *Machine) ListenPacket(network, address string) (net.PacketConn, error) {
	return m.consoleProcess().ListenPacket(network, address)
}

// Rand gives the n-th random number of a name: a pure function of the seed, the
// machine's name and the arguments.
func (m *Machine) Rand(name string, n uint64) uint64 { return m.w.choice(m.name, name, n) }

func (m *Machine) consoleProcess() *Process {
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	return m.console
}

// OnBoot has f called now and after each later boot, to start what runs on the
// machine. f must not block.
func (m *Machine) OnBoot(f func(*Machine)) {
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	m.onBoot = append(m.onBoot, f)
	if m.on {
		m.booted(f)
	}
}

// booted calls f soon, unless the power is lost again before that.
func (m *Machine) booted(f func(*Machine)) {
	boot := m.boots
	m.w.at(m.w.now(), func() {
		m.w.mu.Lock()
		still := m.on && m.boots == boot
		m.w.mu.Unlock()
		if still {
			f(m)
		}
	})
}

func (m *Machine) boot() {
	m.on = true
	m.boots++
	m.processes = map[string]*Process{}
	m.sockets = map[portKey]*socket{}
	m.nextPort = firstEphemeral
	m.console = newProcess(m, "console", nil)
	m.lastDelivery = -1
	m.clock.boot()
	for _, f := range m.onBoot {
		m.booted(f)
	}
}

// PowerOff ends everything on the machine at once: no stream is closed, peers
// hear nothing, and of the disk only what was synced is sure to remain.
func (m *Machine) PowerOff() {
	w := m.w
	w.mu.Lock()
	m.powerOff()
	w.mu.Unlock()
	w.wake()
}

func (m *Machine) powerOff() {
	if !m.on {
		return
	}
	m.on = false
	for _, p := range m.sortedProcesses() {
		p.die(ErrPowerOff, false)
	}
	m.sockets = map[portKey]*socket{}
	m.disk.crash()
	m.exhausted = false
	m.heldRecords = nil
	if m.hung {
		m.hung = false
		m.moving()
	}
	m.release(true)
	m.w.rerouted()
}

// PowerOn boots the machine, if it is off.
func (m *Machine) PowerOn() {
	w := m.w
	w.mu.Lock()
	if !m.on && !w.ending {
		m.boot()
		w.rerouted()
	}
	w.mu.Unlock()
	w.wake()
}

// Exhaust takes the descriptors away that the processes of the machine do not use
// yet: until [Machine.Relieve] they can open no socket and accept no connection,
// and are told EMFILE. What nobody accepts stays in the backlog.
func (m *Machine) Exhaust() { m.setExhausted(true) }

// Relieve ends what [Machine.Exhaust] began.
func (m *Machine) Relieve() { m.setExhausted(false) }

func (m *Machine) setExhausted(to bool) {
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	m.exhausted = to
}

// Denied counts the calls that failed for want of a descriptor.
func (m *Machine) Denied() uint64 {
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	return m.denied
}

// descriptor gives nil, or why a process of the machine can open nothing more.
func (m *Machine) descriptor(call string) error {
	if !m.exhausted {
		return nil
	}
	m.denied++
	return os.NewSyscallError(call, syscall.EMFILE)
}

// deny has a call of a process that found no descriptor fail in a moment: at a
// nanosecond of its own, for what a process does next must not hang on which of two
// calls failed first.
func (w *World) deny(p *Process, what string, fail func()) {
	what = "no descriptor of " + p.name + " for " + what
	offset := 1 + below(w.choice(p.m.name, what, w.count(p.m.name+" "+what)), int64(time.Microsecond))
	w.at(w.now()+offset, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		fail()
	})
}

// Processes lists the live processes of the machine by name, the console left
// out.
func (m *Machine) Processes() []*Process {
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	return slices.DeleteFunc(m.sortedProcesses(), func(p *Process) bool { return p == m.console })
}

func (m *Machine) sortedProcesses() []*Process {
	all := make([]*Process, 0, len(m.processes))
	for _, p := range m.processes {
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b *Process) int { return strings.Compare(a.name, b.name) })
	return all
}

// Start runs f as a process of the machine. It begins within 0.1 ms, at a
// nanosecond of its own, and ends when f returns, or at Kill and PowerOff, after
// which whatever f still does has no effect.
func (m *Machine) Start(name string, f func(*Process) error) *Process {
	m.w.mu.Lock()
	p := m.start(name, nil, nil, f)
	m.w.mu.Unlock()
	m.w.wake()
	return p
}

func (m *Machine) start(name string, parent *Process, inherited []*Listener, f func(*Process) error) *Process {
	p := newProcess(m, name, parent)
	if !m.on || parent != nil && parent.dead {
		p.die(ErrPowerOff, false)
		return p
	}
	for _, l := range inherited {
		p.inherited = append(p.inherited, l.share(p))
	}
	if parent != nil {
		parent.children = append(parent.children, p)
		p.control, p.parentEnd = m.w.pipe(p, parent)
	}
	n := m.w.count("start " + m.name + "/" + p.name)
	offset := 1 + below(m.w.choice(m.name, "start "+p.name, n), int64(100*time.Microsecond))
	m.w.at(m.w.now()+offset, func() { p.run(f) })
	return p
}

const firstEphemeral = 32768

// freePort gives a port that nobody listens on, or 0 if all are taken.
func (m *Machine) freePort(network string) uint16 {
	for range 1<<16 - firstEphemeral {
		port := m.nextPort
		if m.nextPort++; m.nextPort < firstEphemeral {
			m.nextPort = firstEphemeral
		}
		if m.sockets[portKey{network, netip.Addr{}, port}] == nil && m.sockets[portKey{network, m.addr, port}] == nil {
			return port
		}
	}
	return 0
}

// Console is the process that stands for the machine itself, from one boot to
// the next loss of power.
func (m *Machine) Console() *Process { return m.consoleProcess() }
