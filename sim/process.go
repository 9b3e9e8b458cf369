package sim

import (
	"context"
	"errors"
	"net"
	"os"
	"slices"
	"time"

	"github.com/espra/protoplex/sim/names"
)

// How a process ended, besides what its function returned.
var (
	ErrKilled   = errors.New("killed")
	ErrPowerOff = errors.New("power off")
)

// Process is one incarnation of a program on a machine. All that it opens is
// its own: when it ends, its streams and sockets are closed by the world. After
// that every call fails, and what the calls would have done is dropped.
type Process struct {
	w    *World
	m    *Machine
	name string

	ctx     context.Context
	cancel  context.CancelFunc
	done    chan struct{}
	signals chan string
	stub    *names.Stub // asks the machine's resolvers

	// Guarded by w.mu.
	dead      bool
	exiting   bool
	err       error
	parent    *Process
	children  []*Process
	inherited []*Listener
	control   *endpoint // to the parent
	parentEnd *endpoint // the parent's end of that
	ends      map[*endpoint]struct{}
	listeners map[*Listener]struct{}
	sockets   map[*packetConn]struct{}
}

func newProcess(m *Machine, name string, parent *Process) *Process {
	unique := name
	for n := 2; m.processes[unique] != nil; n++ {
		unique = name + "-" + itoa(n)
	}
	p := &Process{
		w: m.w, m: m, name: unique, parent: parent,
		done: make(chan struct{}), signals: make(chan string, 8),
		ends: map[*endpoint]struct{}{}, listeners: map[*Listener]struct{}{}, sockets: map[*packetConn]struct{}{},
	}
	p.stub = &names.Stub{Host: p, Servers: m.resolvers}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	if m.on {
		m.processes[unique] = p
	}
	return p
}

func (p *Process) run(f func(*Process) error) {
	p.w.mu.Lock()
	dead := p.dead
	p.w.mu.Unlock()
	if dead {
		return
	}
	go func() {
		err := f(p)
		p.w.mu.Lock()
		if !p.dead {
			p.exiting = true
			p.err = err
			p.w.records.exits = append(p.w.records.exits, p)
		}
		p.w.mu.Unlock()
		p.w.wake()
	}()
}

// die ends the process. Its streams are reset, or closed in order if it left by
// itself; with the whole machine gone nobody tells the peers anything.
func (p *Process) die(err error, tell bool) {
	if p.dead {
		return
	}
	p.dead = true
	if !p.exiting {
		p.err = err
	}
	if p.m.processes[p.name] == p {
		delete(p.m.processes, p.name)
	}
	p.cancel()
	for _, c := range slices.Clone(p.children) {
		c.die(ErrKilled, tell)
	}
	for _, e := range sortedEnds(p.ends) {
		switch {
		case !tell:
			e.vanish()
		case p.exiting:
			e.close()
		default:
			e.abort()
		}
	}
	for _, l := range sortedListeners(p.listeners) {
		l.close()
	}
	for s := range p.sockets {
		s.close()
	}
	if p.parent != nil {
		p.parent.children = slices.DeleteFunc(p.parent.children, func(c *Process) bool { return c == p })
	}
	close(p.done)
}

// Machine is the machine that the process runs on.
func (p *Process) Machine() *Machine { return p.m }

// Name is the name of the process, unique among the live ones of its machine.
func (p *Process) Name() string { return p.name }

// Context ends when the process does.
func (p *Process) Context() context.Context { return p.ctx }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Wait returns when the process has ended, with what its function returned, or
// [ErrKilled] or [ErrPowerOff].
func (p *Process) Wait() error {
	<-p.done
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	return p.err
}

// Kill ends the process and its children at once; its streams are reset.
func (p *Process) Kill() {
	p.w.mu.Lock()
	p.die(ErrKilled, true)
	p.w.mu.Unlock()
	p.w.wake()
}

// Signal queues a signal for the process, which reads it from Signals. It
// returns os.ErrProcessDone if the process has ended.
func (p *Process) Signal(s string) error {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	if p.dead {
		return os.ErrProcessDone
	}
	select {
	case p.signals <- s:
	default:
	}
	return nil
}

// Signals delivers what others sent with Signal.
func (p *Process) Signals() <-chan string { return p.signals }

// Start runs f as a child process that shares the given listeners of this one.
// Children are killed when their parent ends.
func (p *Process) Start(name string, f func(*Process) error, listeners ...net.Listener) (*Process, error) {
	shared := make([]*Listener, 0, len(listeners))
	for _, l := range listeners {
		own, ok := l.(*Listener)
		if !ok || own.proc != p {
			return nil, errors.New("sim: a child can only inherit listeners of its parent")
		}
		shared = append(shared, own)
	}
	p.w.mu.Lock()
	if p.dead {
		p.w.mu.Unlock()
		return nil, os.ErrProcessDone
	}
	c := p.m.start(name, p, shared, f)
	p.w.mu.Unlock()
	p.w.wake()
	return c, nil
}

// Inherited lists the listeners that the parent handed over.
func (p *Process) Inherited() []net.Listener {
	all := make([]net.Listener, len(p.inherited))
	for i, l := range p.inherited {
		all[i] = l
	}
	return all
}

// Control is a stream to the parent, or nil without one.
func (p *Process) Control() net.Conn {
	if p.control == nil {
		return nil
	}
	return p.control
}

// ParentEnd is the parent's end of Control.
func (p *Process) ParentEnd() net.Conn {
	if p.parentEnd == nil {
		return nil
	}
	return p.parentEnd
}

// Now reads the machine's wall clock, without a monotonic part.
func (p *Process) Now() time.Time { return p.m.clock.now() }

// Elapsed reads the machine's clock of elapsed time.
func (p *Process) Elapsed() time.Duration { return p.m.clock.sinceBoot() }

// Rand gives the n-th random number of a name; see [Machine.Rand].
func (p *Process) Rand(name string, n uint64) uint64 { return p.m.Rand(name, n) }

// Emit records an event of this process.
func (p *Process) Emit(kind string, fields ...Field) {
	p.w.mu.Lock()
	p.w.records.tell(p, Event{Machine: p.m.name, Proc: p.name, Kind: kind, Fields: fields})
	p.w.mu.Unlock()
	p.w.wake()
}

// Disk is the machine's disk as this process sees it.
func (p *Process) Disk() *Disk { return p.m.disk.as(p) }

// Lookup asks the machine's resolvers for the records of a name; kind is "A",
// "TXT" or "CNAME". The name of a machine has its address, whatever they would
// say. Errors are *net.DNSError.
func (p *Process) Lookup(ctx context.Context, kind, name string) ([]string, error) {
	if kind == "A" {
		if m := p.w.Machine(name); m != nil {
			return []string{m.addr.String()}, nil
		}
	}
	if len(p.m.resolvers) == 0 {
		return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	return p.stub.Lookup(ctx, kind, name)
}

// Alive tells whether the process has not ended.
func (p *Process) Alive() bool {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	return !p.dead
}
