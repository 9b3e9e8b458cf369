package nodes

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"
)

// KeepOptions describes a node that can be upgraded.
type KeepOptions struct {
	// Role and Args are what each generation runs.
	Role string
	Args []string
	// Listen are the addresses of all listeners of the node, opened once and
	// handed to every generation in this order.
	Listen []string

	// Ready is how long a generation may take until it serves. Zero means 30 s.
	Ready time.Duration
	// Window is how long health says 503 before accepting stops, when the node
	// leaves. A generation that retires has it to end kept connections with their
	// next answer. Finish is how long open work may then take before it is cut;
	// it should be longer than what the role allows itself. Zeros mean 30 s and
	// one minute.
	Window, Finish time.Duration
	// Backoff, MaxBackoff and Stable are those of ParentOptions, for a
	// generation that ends with an error.
	Backoff, MaxBackoff, Stable time.Duration

	// Status is told of every change, if set, one call at a time; it must not
	// block.
	Status func(KeepStatus)
}

// KeepStatus is how the generations of a node are doing.
type KeepStatus struct {
	Phase    Phase
	Serving  int    // the number of the generation that serves; zero without
	Starting int    // that of the one that is to take its place; zero without
	Retiring []int  // those that finish what they have, oldest first
	Failed   string // why the last one did not get to serve, or ended
}

func (o KeepOptions) withDefaults() KeepOptions {
	// The two have all but one of these in common, and mean the same by them.
	p := ParentOptions{Backoff: o.Backoff, MaxBackoff: o.MaxBackoff, Stable: o.Stable, Window: o.Window, Finish: o.Finish}.withDefaults()
	o.Backoff, o.MaxBackoff, o.Stable, o.Window, o.Finish = p.Backoff, p.MaxBackoff, p.Stable, p.Window, p.Finish
	if o.Ready == 0 {
		o.Ready = 30 * time.Second
	}
	return o
}

// Keep runs a node as a child of this process, a generation, and replaces it by
// a new one on Reload, without losing a connection: it holds the listeners, so
// that they are open throughout, and the old generation accepts until the new one
// is ready. Then the old one retires: it accepts no more, ends kept connections
// with their next answer until the window has passed, finishes, and is killed if
// that takes too long. Several may retire at once. A new generation that ends, or
// is not ready in time, retires instead, and the old one serves on.
//
// This process stays, so whoever watches its id notices nothing, and it does next
// to nothing, so there is next to nothing in it to upgrade. Generations are
// upgrades if its Machine starts the program that is in its place now: see Program
// in [OSOptions].
//
// A generation that serves and ends with an error is replaced, after a wait that
// grows. One that is told to leave, as by an operator, takes the node with it: the
// others drain too, and there are no more upgrades. Keep returns when that is done, or
// one ends without error; when the very first one does not get to serve; and, as
// [Parent] does, after Terminate or Interrupt, or with ctx.
func Keep(ctx context.Context, m Machine, o KeepOptions) (err error) {
	k := &keeper{
		m:      m,
		o:      o.withDefaults(),
		events: make(chan func() error),
		done:   make(chan struct{}),
		phase:  Running,
	}
	defer k.readers.Wait()
	defer close(k.done)
	if k.listeners, err = openListeners(m, o.Listen); err != nil {
		return fmt.Errorf("nodes: keep: %w", err)
	}
	defer func() { err = errors.Join(err, k.closeListeners()) }()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err = k.run(ctx); err != nil {
		k.killAll()
	}
	return err
}

// keeper is one node. Only the goroutine of run touches its fields; all others
// send it what to do.
type keeper struct {
	m       Machine
	o       KeepOptions
	events  chan func() error
	done    chan struct{}  // closed when nobody receives events any more
	readers sync.WaitGroup // one for each generation, and one for signals

	listeners []net.Listener
	phase     Phase
	started   int           // generations ever
	serving   *generation   // or nil
	starting  *generation   // or nil
	retiring  []*generation // oldest first
	again     bool          // an upgrade was asked for during another
	served    bool          // one has
	inARow    int           // ends of serving ones, since one was last stable
	failed    string
	left      error // of the one that served when the node left
	killed    int   // generations that had to be then
}

type generation struct {
	number int
	child  Child
	since  time.Duration // its start, then when it came to serve
}

func (k *keeper) run(ctx context.Context) error {
	if err := k.start(ctx); err != nil {
		return err
	}
	k.readers.Go(func() { k.followSignals(ctx) })
	for k.phase == Running || len(k.alive()) > 0 {
		k.report()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case f := <-k.events:
			if err := f(); err != nil {
				return err
			}
		}
	}
	k.report()
	if k.killed > 0 {
		return fmt.Errorf("nodes: keep: %d generations did not finish in time", k.killed)
	}
	return k.left
}

func (k *keeper) followSignals(ctx context.Context) {
	signals := k.m.Signals()
	for {
		select {
		case <-ctx.Done():
			return
		case s := <-signals:
			k.post(func() error { return k.signal(ctx, s) })
		}
	}
}

// post hands f to run's goroutine.
func (k *keeper) post(f func() error) {
	select {
	case k.events <- f:
	case <-k.done:
	}
}

// after hands f to run's goroutine once d has passed.
func (k *keeper) after(ctx context.Context, name string, d time.Duration, f func() error) {
	go func() {
		if Sleep(ctx, k.m, name, d) == nil {
			k.post(f)
		}
	}()
}

func (k *keeper) signal(ctx context.Context, s Signal) error {
	switch {
	case s == Reload:
		return k.upgrade(ctx)
	case k.phase == Running:
		k.drain(ctx, "signal", string(s))
	case s == Interrupt:
		k.hardStop()
	}
	return nil
}

func (k *keeper) upgrade(ctx context.Context) error {
	switch {
	case k.phase != Running:
		k.m.Log().Warn("no upgrade: the node leaves")
	case k.starting != nil:
		// What has been started may not be what is there now.
		k.again = true
		k.m.Log().Info("another upgrade follows", "generation", k.starting.number)
	default:
		return k.start(ctx)
	}
	return nil
}

// start begins a generation.
func (k *keeper) start(ctx context.Context) error {
	k.started++
	g := &generation{number: k.started, since: k.m.Elapsed()}
	var err error
	if g.child, err = k.m.Start(k.o.Role, k.o.Args, k.listeners); err != nil {
		return k.fail(ctx, g, err)
	}
	k.starting = g
	k.m.Log().Info("generation started", "generation", g.number, "process", g.child.Name())
	k.readers.Go(func() { k.follow(ctx, g) })
	k.after(ctx, "generation ready "+strconv.Itoa(g.number), k.o.Ready, func() error {
		if k.starting != g || k.phase != Running {
			return nil
		}
		return k.fail(ctx, g, fmt.Errorf("not ready after %v", k.o.Ready))
	})
	return nil
}

// follow reads what a generation says until it has ended.
func (k *keeper) follow(ctx context.Context, g *generation) {
	err := readOrders(g.child.Control(), func(word string) {
		switch word {
		case wordReady:
			k.post(func() error { return k.ready(ctx, g) })
		case wordDrain:
			k.post(func() error { return k.leaves(ctx, g) })
		}
	})
	if err != nil {
		// It may block for ever on a pipe that nobody reads.
		k.m.Log().Error("control pipe broken", "generation", g.number, "error", errors.Join(err, g.child.Signal(Kill)))
	}
	ended := g.child.Wait()
	g.child.Control().Close() // nothing is left to lose
	k.post(func() error { return k.ended(ctx, g, ended) })
}

// ready makes a generation the one that serves.
func (k *keeper) ready(ctx context.Context, g *generation) error {
	if k.starting != g || k.phase != Running {
		return nil
	}
	k.m.Log().Info("generation serves", "generation", g.number)
	old := k.serving
	k.serving, k.starting, k.served, k.failed = g, nil, true, ""
	g.since = k.m.Elapsed()
	if old != nil {
		k.retire(ctx, old)
	}
	return k.settle(ctx)
}

// fail gives up a generation that does not get to serve. It may have accepted
// connections already.
func (k *keeper) fail(ctx context.Context, g *generation, err error) error {
	if errors.Is(err, ErrUnknownRole) || !k.served {
		return fmt.Errorf("nodes: keep: the node does not start: %w", err)
	}
	k.starting, k.failed = nil, err.Error()
	if k.serving != nil {
		k.m.Log().Error("upgrade failed", "generation", g.number, "error", err, "serving", k.serving.number)
	} else {
		k.m.Log().Error("generation failed", "generation", g.number, "error", err)
	}
	if g.child != nil {
		k.retire(ctx, g)
	}
	return k.settle(ctx)
}

// settle goes on after a start that has come to something: with the next
// upgrade, or with a replacement if nobody serves.
func (k *keeper) settle(ctx context.Context) error {
	switch {
	case k.again:
		k.again = false
		return k.start(ctx)
	case k.serving == nil:
		k.replace(ctx)
	}
	return nil
}

func (k *keeper) replace(ctx context.Context) {
	k.inARow++
	wait := backoff(k.inARow, k.o.Backoff, k.o.MaxBackoff)
	k.m.Log().Warn("nobody serves", "times", k.inARow, "next", wait)
	k.after(ctx, "restart generation "+strconv.Itoa(k.started), wait, func() error {
		if k.phase != Running || k.serving != nil || k.starting != nil {
			return nil
		}
		return k.start(ctx)
	})
}

// retire has a generation finish while another serves.
func (k *keeper) retire(ctx context.Context, g *generation) {
	k.retiring = append(k.retiring, g)
	k.m.Log().Info("generation retires", "generation", g.number, "window", k.o.Window, "finish", k.o.Finish)
	k.tell(wordRetire, g)
	name := strconv.Itoa(g.number)
	k.after(ctx, "retire window "+name, k.o.Window, func() error {
		k.tell(wordStop, g)
		k.after(ctx, "retire finish "+name, k.o.Finish, func() error {
			if g.child != nil {
				k.m.Log().Warn("hard stop", "generation", g.number)
				k.note("kill", g, g.child.Signal(Kill))
			}
			return nil
		})
		return nil
	})
}

func (k *keeper) ended(ctx context.Context, g *generation, err error) error {
	g.child = nil
	k.m.Log().Info("generation ended", "generation", g.number, "error", err)
	k.retiring = without(k.retiring, g)
	switch {
	case g == k.starting && k.phase != Running:
		k.starting = nil
	case g == k.starting && err == nil:
		return k.fail(ctx, g, errors.New("it ended before it served"))
	case g == k.starting:
		return k.fail(ctx, g, fmt.Errorf("it ended before it served: %w", err))
	case g != k.serving:
	case k.phase != Running:
		k.serving = nil
		if err != nil {
			k.left = fmt.Errorf("nodes: keep: the node did not leave well: %w", err)
		}
	case err == nil:
		k.serving = nil
		k.m.Log().Info("the node has left by itself")
		return k.stop(ctx)
	default:
		k.serving, k.failed = nil, err.Error()
		if k.m.Elapsed()-g.since >= k.o.Stable {
			k.inARow = 0
		}
		if k.starting == nil {
			k.replace(ctx)
		}
	}
	return nil
}

func without(all []*generation, g *generation) []*generation {
	var rest []*generation
	for _, other := range all {
		if other != g {
			rest = append(rest, other)
		}
	}
	return rest
}

// leaves takes the whole node along with a generation that was told to leave, or
// the one that takes its place would undo that.
func (k *keeper) leaves(ctx context.Context, g *generation) error {
	if k.phase == Running && (g == k.serving || g == k.starting) {
		k.drain(ctx, "generation", g.number)
	}
	return nil
}

// drain begins the node's way out, by whatever leads to it.
func (k *keeper) drain(ctx context.Context, by string, what any) {
	k.phase = Draining
	k.m.Log().Info("draining", by, what, "window", k.o.Window)
	k.tell(wordDrain, k.alive()...)
	k.after(ctx, "drain window", k.o.Window, func() error {
		if k.phase != Draining {
			return nil
		}
		return k.stop(ctx)
	})
}

func (k *keeper) stop(ctx context.Context) error {
	k.phase = Stopping
	k.m.Log().Info("accepting stops", "finish", k.o.Finish)
	err := k.closeListeners()
	k.tell(wordStop, k.alive()...)
	k.after(ctx, "drain finish", k.o.Finish, func() error {
		k.hardStop()
		return nil
	})
	return err
}

func (k *keeper) hardStop() {
	if k.phase == Killing {
		return
	}
	k.phase = Killing
	left := k.alive()
	k.killed = len(left)
	k.m.Log().Warn("hard stop", "generations", k.killed)
	for _, g := range left {
		k.note("kill", g, g.child.Signal(Kill))
	}
}

// alive gives all generations whose processes have not ended.
func (k *keeper) alive() []*generation {
	var all []*generation
	for _, g := range append([]*generation{k.serving, k.starting}, k.retiring...) {
		if g != nil && g.child != nil {
			all = append(all, g)
		}
	}
	return all
}

func (k *keeper) tell(word string, to ...*generation) {
	for _, g := range to {
		if g.child != nil {
			k.note("tell "+word, g, writeOrder(g.child.Control(), word))
		}
	}
}

// note logs a failure to reach a generation. Nothing more needs doing: one that
// has ended is on its way to ended, and one that does not listen to its hard stop.
func (k *keeper) note(what string, g *generation, err error) {
	if err != nil {
		k.m.Log().Warn("generation not reached", "what", what, "generation", g.number, "error", err)
	}
}

// killAll ends all generations when run has returned early.
func (k *keeper) killAll() {
	for _, g := range k.alive() {
		// Whatever the error, it has ended or is about to with us.
		_ = g.child.Signal(Kill)
	}
}

func (k *keeper) closeListeners() error {
	err := closeListeners(k.listeners)
	k.listeners = nil
	return err
}

func (k *keeper) report() {
	if k.o.Status == nil {
		return
	}
	number := func(g *generation) int {
		if g == nil {
			return 0
		}
		return g.number
	}
	s := KeepStatus{Phase: k.phase, Serving: number(k.serving), Starting: number(k.starting), Failed: k.failed}
	for _, g := range k.retiring {
		s.Retiring = append(s.Retiring, g.number)
	}
	k.o.Status(s)
}
