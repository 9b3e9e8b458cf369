package nodes

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"
)

// ParentOptions describes a node: one role, run by several children that share
// its public listeners.
type ParentOptions struct {
	// Role and Args are what each child runs.
	Role string
	Args []string
	// Children is how many are kept running; zero means one.
	Children int
	// Listen are the addresses of the public listeners, opened once and handed
	// to every child in this order. A node that inherits listeners takes as many
	// of those, the first ones, instead.
	Listen []string

	// Backoff is the wait before a child that has ended is replaced. It doubles
	// with each end in a row, up to MaxBackoff; living for Stable forgets them.
	// Zeros mean 250 ms, 30 s and one minute.
	Backoff, MaxBackoff, Stable time.Duration

	// Window is how long health says 503 before accepting stops: enough failing
	// health checks for the balancer to turn away. Finish is how long open work
	// may then take before it is cut. Zeros mean 30 s and one minute.
	Window, Finish time.Duration

	// Drain begins the way out, as Terminate does, when it is closed.
	Drain <-chan struct{}

	// Status is told of every change, if set, one call at a time; it must not
	// block. It may keep what it is given.
	Status func(ParentStatus)
}

// ParentStatus is how a node is doing.
type ParentStatus struct {
	Phase    Phase
	Children []ChildStatus // by slot
}

// Phase is how far a node is on its way out.
type Phase string

// The phases of a node, in order. It is either draining or retiring.
const (
	Running  Phase = "running"
	Draining Phase = "draining" // health says 503
	Retiring Phase = "retiring" // a later generation accepts
	Stopping Phase = "stopping" // nothing more is accepted
	Killing  Phase = "killing"  // open work is cut
)

// ChildStatus is how one of the children is doing. A slot keeps its number
// while the processes in it come and go.
type ChildStatus struct {
	Slot    int
	Name    string // of the process, or of the last one
	State   ChildState
	Ends    int           // of processes in this slot, while the node was running
	InARow  int           // of those, the ones since a process was last stable
	Backoff time.Duration // the wait before the next, when waiting
	Error   string        // how the last one ended; empty after a clean return
}

// CrashLooping reports whether the slot's processes keep ending early.
func (s ChildStatus) CrashLooping() bool { return s.InARow >= crashLoop }

const crashLoop = 5

// ChildState is what a slot is doing.
type ChildState string

// The states of a slot.
const (
	ChildStarting ChildState = "starting" // the process runs but does not serve yet
	ChildReady    ChildState = "ready"    // it serves
	ChildWaiting  ChildState = "waiting"  // for its back-off to pass
	ChildEnded    ChildState = "ended"    // for good: the node is on its way out
)

func (o ParentOptions) withDefaults() ParentOptions {
	o.Children = max(o.Children, 1)
	for _, d := range []struct {
		value *time.Duration
		unset time.Duration
	}{
		{&o.Backoff, 250 * time.Millisecond},
		{&o.MaxBackoff, 30 * time.Second},
		{&o.Stable, time.Minute},
		{&o.Window, defaultWindow},
		{&o.Finish, time.Minute},
	} {
		if *d.value == 0 {
			*d.value = d.unset
		}
	}
	return o
}

// Parent runs a node until it is told to leave, and then returns nil, or an
// error if work had to be cut. Any child that ends is replaced. On Terminate or
// Interrupt, health says 503 for the window while accepting goes on; then
// accepting stops, open work may finish, and what is left is killed. A second
// Interrupt kills at once, and so does the end of ctx. Reload is passed on.
//
// Children find the listeners in Machine.Inherited and use a [Drain]. A node that
// is a child itself, a generation under [Keep], is led as they are, and ready
// once all of them have been.
func Parent(ctx context.Context, m Machine, o ParentOptions) (err error) {
	p := &parent{
		m:      m,
		o:      o.withDefaults(),
		events: make(chan func() error),
		done:   make(chan struct{}),
		phase:  Running,
	}
	defer p.readers.Wait()
	defer close(p.done)
	defer func() { err = errors.Join(err, p.closeListeners()) }()
	if p.listeners, err = openListeners(m, p.o.Listen); err != nil {
		return fmt.Errorf("nodes: parent: %w", err)
	}
	ctx, p.cancel = context.WithCancel(ctx)
	defer p.cancel()
	return p.run(ctx)
}

// parent is one node. Only the goroutine of run touches its fields; all others
// send it what to do.
type parent struct {
	m       Machine
	o       ParentOptions
	cancel  context.CancelFunc
	events  chan func() error
	done    chan struct{}  // closed when nobody receives events any more
	readers sync.WaitGroup // one for each child

	listeners []net.Listener
	slots     []*slot
	phase     Phase
	served    bool // all children at once, at some time
	killed    int  // children that had to be
}

type slot struct {
	ChildStatus
	child Child // nil while there is none
	since time.Duration
}

func (p *parent) run(ctx context.Context) error {
	p.m.Log().Info("node started", "role", p.o.Role, "children", p.o.Children)
	for i := range p.o.Children {
		s := &slot{ChildStatus: ChildStatus{Slot: i}}
		p.slots = append(p.slots, s)
	}
	for _, s := range p.slots {
		if err := p.start(ctx, s); err != nil {
			p.killAll()
			return err
		}
	}
	p.readers.Go(p.followSignals(ctx))
	if control := p.m.Control(); control != nil {
		go p.followParent(ctx, control) // for as long as the process lives
	}
	p.report()
	for p.phase == Running || p.alive() > 0 {
		select {
		case <-ctx.Done():
			p.killAll()
			return ctx.Err()
		case f := <-p.events:
			if err := f(); err != nil {
				p.killAll()
				return err
			}
			p.report()
		}
	}
	p.cancel() // timers and signals
	p.m.Log().Info("node ended", "role", p.o.Role, "killed", p.killed)
	if p.killed > 0 {
		return fmt.Errorf("nodes: parent: %d of %d children did not finish in time", p.killed, p.o.Children)
	}
	return nil
}

// post hands f to run's goroutine.
func (p *parent) post(f func() error) {
	select {
	case p.events <- f:
	case <-p.done:
	}
}

// after hands f to run's goroutine once d has passed.
func (p *parent) after(ctx context.Context, name string, d time.Duration, f func() error) {
	go func() {
		if Sleep(ctx, p.m, name, d) == nil {
			p.post(f)
		}
	}()
}

func (p *parent) followSignals(ctx context.Context) func() {
	signals, asked := p.m.Signals(), p.o.Drain
	return func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-asked:
				asked = nil
				p.post(func() error { return p.signal(ctx, Terminate) })
			case sig := <-signals:
				p.post(func() error { return p.signal(ctx, sig) })
			}
		}
	}
}

func (p *parent) followParent(ctx context.Context, control io.Reader) {
	err := readOrders(control, func(word string) {
		p.post(func() error {
			switch word {
			case wordDrain:
				if p.phase == Running {
					p.step(Draining, wordDrain)
				}
			case wordRetire:
				return p.retire()
			case wordStop:
				return p.stop(ctx)
			}
			return nil
		})
	})
	if err != nil {
		p.m.Log().Error("control pipe broken", "error", err)
	}
	p.post(func() error { return p.stop(ctx) }) // without a parent there is nobody to serve for
}

func (p *parent) signal(ctx context.Context, sig Signal) error {
	switch {
	case sig == Reload:
		for _, s := range p.slots {
			if s.child != nil {
				p.note("signal child", s, s.child.Signal(Reload))
			}
		}
	case p.phase == Running:
		p.drain(ctx, sig)
	case p.phase == Retiring:
		return p.stop(ctx) // there is no window to wait for
	case sig == Interrupt:
		p.hardStop()
	}
	return nil
}

// start fills a slot. Only an error that no retry can mend is returned.
func (p *parent) start(ctx context.Context, s *slot) error {
	s.Backoff = 0
	s.since = p.m.Elapsed()
	c, err := p.m.Start(p.o.Role, p.o.Args, p.listeners)
	if errors.Is(err, ErrUnknownRole) {
		return err
	}
	if err != nil {
		p.m.Log().Error("child not started", "slot", s.Slot, "error", err)
		p.replace(ctx, s, err)
		return nil
	}
	s.child, s.Name, s.State = c, c.Name(), ChildStarting
	p.m.Log().Info("child started", "slot", s.Slot, "child", s.Name)
	p.readers.Go(func() { p.follow(ctx, s, c) })
	return nil
}

// follow reads what a child says until it has ended.
func (p *parent) follow(ctx context.Context, s *slot, c Child) {
	err := readOrders(c.Control(), func(word string) {
		if word == wordReady {
			p.post(func() error { return p.ready(s, c) })
		}
	})
	if err != nil {
		// It may block for ever on a pipe that nobody reads.
		p.m.Log().Error("control pipe broken", "child", c.Name(), "error", errors.Join(err, c.Signal(Kill)))
	}
	ended := c.Wait()
	c.Control().Close() // nothing is left to lose
	p.post(func() error {
		p.ended(ctx, s, ended)
		return nil
	})
}

func (p *parent) ready(s *slot, c Child) error {
	if s.child != c || s.State != ChildStarting {
		return nil
	}
	s.State = ChildReady
	p.m.Log().Info("child ready", "slot", s.Slot, "child", s.Name)
	if p.served || slices.ContainsFunc(p.slots, func(s *slot) bool { return s.State != ChildReady }) {
		return nil
	}
	p.served = true
	control := p.m.Control()
	if control == nil {
		return nil
	}
	if err := writeOrder(control, wordReady); err != nil {
		return fmt.Errorf("nodes: parent: say ready: %w", err)
	}
	return nil
}

func (p *parent) ended(ctx context.Context, s *slot, err error) {
	s.child = nil
	s.Error = ""
	if err != nil {
		s.Error = err.Error()
	}
	if p.phase != Running {
		s.State = ChildEnded
		p.m.Log().Info("child left", "slot", s.Slot, "child", s.Name, "error", s.Error)
		return
	}
	p.m.Log().Warn("child ended", "slot", s.Slot, "child", s.Name, "error", s.Error)
	p.replace(ctx, s, err)
}

// replace fills a slot again once its back-off has passed.
func (p *parent) replace(ctx context.Context, s *slot, err error) {
	if p.m.Elapsed()-s.since >= p.o.Stable {
		s.InARow = 0
	}
	s.Ends++
	s.InARow++
	s.State = ChildWaiting
	if err != nil {
		s.Error = err.Error()
	}
	s.Backoff = backoff(s.InARow, p.o.Backoff, p.o.MaxBackoff)
	if s.CrashLooping() {
		p.m.Log().Error("child keeps ending", "slot", s.Slot, "times", s.InARow, "next", s.Backoff, "error", s.Error)
	}
	p.after(ctx, "restart child "+strconv.Itoa(s.Slot), s.Backoff, func() error {
		if p.phase != Running {
			return nil
		}
		return p.start(ctx, s)
	})
}

// backoff is the wait after so many ends in a row.
func backoff(inARow int, least, most time.Duration) time.Duration {
	d := least
	for i := 1; i < inARow && d < most; i++ {
		d *= 2
	}
	return min(d, most)
}

// drain begins the way out.
func (p *parent) drain(ctx context.Context, sig Signal) {
	p.m.Log().Info("draining", "signal", string(sig), "window", p.o.Window)
	p.step(Draining, wordDrain)
	tellDrain(p.m)
	p.after(ctx, "drain window", p.o.Window, func() error { return p.stop(ctx) })
}

// retire leaves accepting to a later generation, which does it already.
func (p *parent) retire() error {
	if p.phase != Running {
		return nil
	}
	p.m.Log().Info("retiring")
	p.step(Retiring, wordRetire)
	return p.closeListeners()
}

// step goes a step on the way out; children that have ended are not replaced
// any more.
func (p *parent) step(phase Phase, word string) {
	p.phase = phase
	for _, s := range p.slots {
		if s.child == nil {
			s.State, s.Backoff = ChildEnded, 0
		}
	}
	p.tell(word)
}

func (p *parent) stop(ctx context.Context) error {
	if p.phase == Stopping || p.phase == Killing {
		return nil
	}
	p.step(Stopping, wordStop)
	p.m.Log().Info("accepting stops", "finish", p.o.Finish)
	err := p.closeListeners()
	p.after(ctx, "drain finish", p.o.Finish, func() error {
		p.hardStop()
		return nil
	})
	return err
}

func (p *parent) hardStop() {
	if p.phase == Killing {
		return
	}
	p.phase = Killing
	p.killed = p.alive()
	p.m.Log().Warn("hard stop", "children", p.killed)
	for _, s := range p.slots {
		if s.child != nil {
			p.note("kill child", s, s.child.Signal(Kill))
		}
	}
}

func (p *parent) tell(word string) {
	for _, s := range p.slots {
		if s.child != nil {
			p.note("tell child", s, writeOrder(s.child.Control(), word))
		}
	}
}

// note logs a failure to reach a child. Nothing more needs doing: one that has
// ended is on its way to ended, and one that does not listen to hardStop.
func (p *parent) note(what string, s *slot, err error) {
	if err != nil {
		p.m.Log().Warn(what, "slot", s.Slot, "child", s.Name, "error", err)
	}
}

func (p *parent) alive() int {
	n := 0
	for _, s := range p.slots {
		if s.child != nil {
			n++
		}
	}
	return n
}

// killAll ends all children, and waits for that, when run is to return early.
func (p *parent) killAll() {
	p.cancel()
	for _, s := range p.slots {
		if s.child != nil {
			// Whatever the error, it has ended or is about to with us.
			_ = s.child.Signal(Kill)
		}
	}
}

func (p *parent) closeListeners() error {
	err := closeListeners(p.listeners)
	p.listeners = nil
	return err
}

func (p *parent) report() {
	if p.o.Status == nil {
		return
	}
	status := ParentStatus{Phase: p.phase}
	for _, s := range p.slots {
		status.Children = append(status.Children, s.ChildStatus)
	}
	p.o.Status(status)
}
