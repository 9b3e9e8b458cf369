package seed

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/espra/protoplex/nodes"
	"github.com/espra/protoplex/nodes/cell"
	"github.com/espra/protoplex/nodes/meta"
)

// Config is what a Seed needs besides its machine.
type Config struct {
	Meta   meta.Options // with the identity; routes and facts are added
	Leases nodes.Leases
	Lease  string        // its name
	Term   time.Duration // of the lease
	// Missing is how long a new leader waits at most for nodes of which it does
	// not know whether they are there; zero means what they take to notice that
	// their leader is gone.
	Missing time.Duration
	// Members bounds the processes that may be registered at once; zero means
	// 2000.
	Members int
}

// Bounds of what one stream may cost.
const (
	maxQueue     = 256 // frames; a table's and an order's are few
	keepChanges  = 256
	passEvery    = time.Second
	firstFrame   = 5 * time.Second
	minTerm      = time.Second
	releaseLimit = 2 * time.Second
)

// seed is a Seed at work. One goroutine, loop, has the core; all others send it
// what happened, and it never waits for any of them.
type seed struct {
	m      nodes.Machine
	c      Config
	name   string
	core   *core
	events chan event
	over   chan struct{} // closed when nobody takes events any more

	mu      sync.Mutex
	opened  uint64
	streams map[uint64]*queue
	fact    Fact
}

// event is an input, with somewhere to put the answer to what was wanted.
type event struct {
	in     input
	answer chan error
}

// Serve is a Seed until ctx ends or until stop is closed; then, and whenever it
// can, it gives its leadership up, so that nobody has to wait for its end.
func Serve(ctx context.Context, m nodes.Machine, c Config, stop <-chan struct{}) error {
	if c.Term < minTerm {
		return errors.New("seed: the term of a lease is a second at least")
	}
	if c.Members == 0 {
		c.Members = 2000
	}
	if c.Meta.Orders == nil {
		c.Meta.Orders = meta.NewFence()
	}
	id := c.Meta.Identity.Name()
	s := &seed{
		m: m, c: c, name: id.Name,
		core: newCore(id.Name, id.Cell, rules{
			silence: cell.Silence,
			// Others wait for the term and the drift of clocks before they take over.
			patience: c.Term + c.Term/10,
			missing:  c.Missing,
			margin:   c.Term / 10,
			keep:     keepChanges,
			members:  c.Members,
		}),
		events:  make(chan event),
		over:    make(chan struct{}),
		streams: make(map[uint64]*queue),
	}
	return s.run(ctx, stop)
}

func (s *seed) run(ctx context.Context, stop <-chan struct{}) error {
	serving, cancel := context.WithCancel(ctx)
	leading, resign := context.WithCancel(ctx)
	var helpers sync.WaitGroup
	helpers.Go(s.loop)
	failed := make(chan error, 1)
	go func() { failed <- meta.Serve(serving, s.m, s.metaOptions()) }()
	var keeping sync.WaitGroup
	keeping.Go(func() { s.keep(ctx, leading) })
	keeping.Go(func() {
		nodes.Every(leading, s.m, "seed/pass", passEvery, func(context.Context) { s.post(passed{}) })
	})

	var err error
	select {
	case err = <-failed:
		failed <- err
	case <-stop:
	}
	resign()
	keeping.Wait()
	cancel()
	if lost := <-failed; err == nil && !errors.Is(lost, context.Canceled) {
		err = lost
	}
	close(s.over)
	helpers.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// loop has the core.
func (s *seed) loop() {
	for {
		select {
		case e := <-s.events:
			s.take(e)
		case <-s.over:
			return
		}
	}
}

// post hands an input to the loop.
func (s *seed) post(in input) { s.ask(event{in: in}) }

func (s *seed) ask(e event) bool {
	select {
	case s.events <- e:
		return true
	case <-s.over:
		return false
	}
}

// take does what the core gives for an input.
func (s *seed) take(e event) {
	for _, out := range s.core.step(s.m.Elapsed(), e.in) {
		switch out := out.(type) {
		case send:
			s.send(out)
		case cut:
			if q := s.queue(out.stream); q != nil {
				q.end(out.reason)
			}
		case notice:
			s.m.Log().Log(context.Background(), out.level, out.text, out.attrs...)
		case answered:
			e.answer <- out.err // which has room
		}
	}
	fact := s.core.fact(s.m.Elapsed())
	s.mu.Lock()
	s.fact = fact
	s.mu.Unlock()
}

func (s *seed) send(out send) {
	f, err := newFrame(out.kind, out.epoch, out.revision, out.body)
	if err != nil {
		// What members say of themselves is bounded so that it fits, and orders were tried.
		s.m.Log().Error("frame not sent", "frame", out.kind, "error", err)
		return
	}
	for _, stream := range out.to {
		if q := s.queue(stream); q != nil && !q.push(f) {
			s.m.Log().Warn("slow node cut", "stream", stream)
		}
	}
}

// newFrame makes a frame that can be sent.
func newFrame(kind string, epoch, revision uint64, body any) (meta.Frame, error) {
	f, err := meta.NewFrame(kind, epoch, revision, body)
	if err == nil {
		_, err = meta.AppendFrame(nil, f)
	}
	return f, err
}

func (s *seed) queue(stream uint64) *queue {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.streams[stream]
}

// keep acquires and renews the lease until leading ends, and then gives it up, if
// there is time for that.
func (s *seed) keep(ctx, leading context.Context) {
	var lease nodes.Lease
	period := s.c.Term / 3
	turn := func(ctx context.Context) {
		ctx, cancel := nodes.Timeout(ctx, s.m, "seed/turn", period)
		defer cancel()
		lease = s.turn(ctx, lease)
	}
	turn(leading)
	nodes.Every(leading, s.m, "seed/lease", period, turn)
	s.post(resigned{}) // from here on nothing is ordered
	if lease.Epoch == 0 || ctx.Err() != nil {
		return
	}
	releasing, cancel := nodes.Timeout(ctx, s.m, "seed/release", releaseLimit)
	defer cancel()
	if err := s.c.Leases.Release(releasing, lease); err != nil {
		s.m.Log().Warn("lease not released", "error", err)
	}
}

// turn renews the lease, or tries to acquire it if there is none.
func (s *seed) turn(ctx context.Context, lease nodes.Lease) nodes.Lease {
	if lease.Epoch > 0 {
		renewal, err := s.c.Leases.Renew(ctx, lease)
		switch {
		case err == nil:
			s.post(renewed{renewal.Until})
			return renewal
		case !errors.Is(err, nodes.ErrLeaseLost):
			s.doubt("lease not renewed", err)
			return lease
		}
		s.post(ranOut{err.Error()})
	}
	lease, err := s.c.Leases.Acquire(ctx, s.c.Lease, s.name, s.c.Term)
	switch {
	case err == nil:
		_ = s.c.Meta.Orders.Hear(lease.Epoch) // a later leader may have been heard already; this one is over then, for orders
		s.post(acquired{lease.Epoch, lease.Until})
		return lease
	case errors.Is(err, nodes.ErrLeaseHeld):
		s.post(heldBy{holderOf(err)})
	default:
		s.doubt("lease store unknown", err)
	}
	return nodes.Lease{}
}

// holderOf gives who holds the lease, if the error tells.
func holderOf(err error) string {
	var held *nodes.LeaseHeldError
	if errors.As(err, &held) {
		return held.Holder
	}
	return ""
}

func (s *seed) doubt(text string, err error) {
	s.m.Log().Log(context.Background(), slog.LevelDebug, text, "error", err)
	s.post(unsure{err.Error()})
}
