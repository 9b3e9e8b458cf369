package cell

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/espra/protoplex/nodes"
	"github.com/espra/protoplex/nodes/meta"
	"github.com/espra/protoplex/nodes/meta/ca"
	"github.com/espra/protoplex/nodes/placement"
)

// session is one stream to one Seed. One goroutine receives, and acts; another
// sends beats, one at a time.
type session struct {
	l      *Link
	seed   string
	stream *meta.Stream
	done   chan struct{} // closed when nothing more is received
	poke   chan struct{} // a beat is due

	mu       sync.Mutex
	heard    time.Duration // the machine's Elapsed
	state    State
	better   string        // who leads, if the Seed is frozen and left for that
	sent     uint64        // beats
	answered uint64        // of them
	changed  chan struct{} // closed with the next answer
}

// refusedError is what a Seed answers to a registration.
type refusedError struct {
	reason, ask string
}

func (e *refusedError) Error() string {
	if e.ask == "" {
		return "cell: refused: " + e.reason
	}
	return "cell: refused: " + e.reason + "; ask " + e.ask
}

var (
	errSilent   = errors.New("cell: the Seed is silent")
	errFrozen   = errors.New("cell: the Seed is frozen")
	errNewest   = errors.New("cell: the Seed does not know whether the table is the newest")
	errProtocol = errors.New("cell: frame out of place")
)

// visit opens a stream to a Seed and serves it to its end. It reports whether the
// Seed took this process in, and if not, which one to ask instead.
func (l *Link) visit(ctx context.Context, seed Seed) (welcome bool, ask string, err error) {
	ctx, cancel := context.WithCancel(ctx)
	var helpers sync.WaitGroup
	defer helpers.Wait()
	defer cancel()
	stream, err := l.open(ctx, cancel, seed)
	if err != nil {
		return false, "", err
	}
	s := &session{
		l:       l,
		seed:    seed.Name,
		stream:  stream,
		done:    make(chan struct{}),
		poke:    make(chan struct{}, 1),
		heard:   l.m.Elapsed(),
		changed: make(chan struct{}),
	}
	helpers.Go(func() { s.watch(ctx) })
	err = s.serve(ctx, func() {
		welcome = true
		helpers.Go(func() { s.beat(ctx) })
		helpers.Go(func() { s.seek(ctx) })
	})
	close(s.done)
	l.forget(s)
	stream.Close(err.Error())
	var refused *refusedError
	if errors.As(err, &refused) {
		ask = refused.ask
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.better != "" {
		ask, err = s.better, fmt.Errorf("%w, and %s leads", errFrozen, s.better)
	}
	return welcome, ask, err
}

// open bounds how long a Seed that says nothing is waited for. The stream ends
// with ctx, which cancel ends.
func (l *Link) open(ctx context.Context, cancel func(), seed Seed) (*meta.Stream, error) {
	c := meta.NewClient(l.m, l.o.Identity, seed.Addr, ca.Want{Roles: []string{RoleSeed}, Name: seed.Name})
	defer c.Close()
	limit, release := nodes.Timeout(ctx, l.m, "cell/open/"+seed.Name, openTime)
	defer release()
	inTime := context.AfterFunc(limit, cancel)
	stream, err := c.Open(ctx, Path)
	if !inTime() {
		if err == nil {
			stream.Close("too late")
		}
		return nil, fmt.Errorf("%s has not answered within %v", seed.Addr, openTime)
	}
	return stream, err
}

// serve registers and then acts on what the Seed sends, until the stream ends.
func (s *session) serve(ctx context.Context, welcomed func()) error {
	l := s.l
	r := l.o.Registration
	r.Held = l.table.Current().Position()
	l.mu.Lock()
	r.Incarnation, r.Draining = l.number, l.draining
	l.mu.Unlock()
	if err := s.send(TypeRegister, r); err != nil {
		return err
	}
	for first := true; ; first = false {
		f, err := s.stream.Receive()
		if err != nil {
			return err
		}
		if f.Type == TypeRefused {
			var refused Refused
			if err := f.Decode(&refused); err != nil {
				return err
			}
			if refused.Exceed > 0 {
				l.exceed(refused.Exceed)
			}
			return &refusedError{reason: refused.Reason, ask: refused.Ask}
		}
		if first && f.Type != TypeWelcome {
			return errProtocol
		}
		if err := l.o.Orders.Hear(f.Epoch); err != nil {
			l.m.Log().Warn("stale leader refused", "seed", s.seed, "epoch", f.Epoch, "newest", l.o.Orders.Epoch(), "frame", f.Type)
			return err
		}
		s.mu.Lock()
		s.heard = l.m.Elapsed()
		s.mu.Unlock()
		if err := s.act(ctx, f); err != nil {
			return err
		}
		if first {
			welcomed()
		}
	}
}

// act does what a frame says. An error ends the stream: the next one begins with
// what is missing.
func (s *session) act(ctx context.Context, f meta.Frame) error {
	switch f.Type {
	case TypeWelcome:
		return s.welcome(f)
	case TypeSnapshot:
		var r Report
		if err := f.Decode(&r); err != nil {
			return err
		}
		if err := r.Check(); err != nil {
			return err
		}
		before := s.l.table.Current()
		if err := s.l.table.SetAged(r.Table, r.Age); err != nil {
			return err
		}
		s.logTable(before, r.Reason)
	case TypeChange:
		var c placement.Change
		if err := f.Decode(&c); err != nil {
			return err
		}
		before := s.l.table.Current()
		if err := s.l.table.Apply(c); err != nil {
			return err
		}
		s.logTable(before, c.Reason)
	case TypeAnswer:
		return s.answer(f)
	case TypeWanted:
		t := s.l.table
		return s.send(TypeReport, Report{Table: t.Current(), Age: t.Age()})
	case TypeOrder:
		return s.order(ctx, f)
	}
	return nil // a later version's
}

func (s *session) logTable(before placement.Table, reason string) {
	t := s.l.table.Current()
	s.l.m.Log().Info("table heard", "epoch", t.Epoch, "revision", t.Revision, "after", before.Position().String(), "nodes", len(t.Nodes), "seed", s.seed, "reason", reason)
}

func (s *session) welcome(f meta.Frame) error {
	var w Welcome
	if err := f.Decode(&w); err != nil {
		return err
	}
	s.mu.Lock()
	s.state = w.State
	s.mu.Unlock()
	s.l.mu.Lock()
	s.l.session, s.l.seed = s, s.seed
	s.l.mu.Unlock()
	s.l.m.Log().Info("seed found", "seed", s.seed, "epoch", f.Epoch, "state", s.word())
	return nil
}

// word names the state of the Seed.
func (s *session) word() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.state.Frozen:
		return Frozen
	case s.state.Settling:
		return Settling
	}
	return Leading
}

// answer takes the answer to a beat, which confirms the table if the Seed leads.
func (s *session) answer(f meta.Frame) error {
	var a Answer
	if err := f.Decode(&a); err != nil {
		return err
	}
	if a.State == (State{}) {
		if err := s.l.table.Confirm(placement.Position{Epoch: f.Epoch, Revision: f.Revision}); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state, s.answered = a.State, a.N
	close(s.changed)
	s.changed = make(chan struct{})
	return nil
}

// order carries out an order, unless it has been or comes too late.
func (s *session) order(ctx context.Context, f meta.Frame) error {
	var o Order
	if err := f.Decode(&o); err != nil {
		return err
	}
	log := s.l.m.Log().With("seed", s.seed, "epoch", f.Epoch, "number", f.Revision, "do", o.Do, "by", clip(o.By))
	done, err := s.l.o.Orders.Do(ctx, meta.Order{Epoch: f.Epoch, Revision: f.Revision, IssuedBy: RoleSeed + "/" + s.seed}, func(ctx context.Context) error {
		if o.Do == Drain {
			s.l.Drain()
		}
		if s.l.o.Do == nil {
			return nil
		}
		return s.l.o.Do(ctx, o)
	})
	switch {
	case err != nil:
		log.Warn("order not carried out", "error", err)
	case done:
		log.Info("order carried out")
	default:
		log.Info("order repeated")
	}
	return nil
}

func (s *session) send(kind string, body any) error {
	f, err := meta.NewFrame(kind, 0, 0, body)
	if err != nil {
		return err
	}
	return s.stream.Send(f)
}

// watch sees to it that beats are sent, and gives a silent Seed up.
func (s *session) watch(ctx context.Context) {
	n := 0
	nodes.Every(ctx, s.l.m, "cell/watch", Heartbeat/4, func(context.Context) {
		s.mu.Lock()
		silence := s.l.m.Elapsed() - s.heard
		s.mu.Unlock()
		if silence >= patience {
			s.stream.Close(errSilent.Error())
			return
		}
		if n++; n%4 == 0 {
			s.due()
		}
	})
}

// due has a beat sent, if one is not about to be anyway.
func (s *session) due() {
	select {
	case s.poke <- struct{}{}:
	default:
	}
}

// beat sends beats when they are due, each once the one before has been answered:
// however many ask, the Seed is asked twice a round trip at most.
func (s *session) beat(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.poke:
		}
		s.mu.Lock()
		s.sent++
		n := s.sent
		s.mu.Unlock()
		if s.send(TypeAlive, Beat{N: n, Held: s.l.table.Current().Position()}) != nil {
			return // the receiver learns the same
		}
		if s.wait(ctx, n) != nil {
			return
		}
	}
}

// wait waits for the n-th answer.
func (s *session) wait(ctx context.Context, n uint64) error {
	for {
		s.mu.Lock()
		answered, changed := s.answered, s.changed
		s.mu.Unlock()
		if answered >= n {
			return nil
		}
		select {
		case <-changed:
		case <-s.done:
			return errors.New("cell: the Seed is lost")
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// ask waits for the answer to a beat that is sent from now on.
func (s *session) ask(ctx context.Context) error {
	s.mu.Lock()
	n := s.sent + 1
	s.mu.Unlock()
	s.due()
	if err := s.wait(ctx, n); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != (State{}) {
		return errNewest
	}
	return nil
}

// forget ends a session's time as the current one.
func (l *Link) forget(s *session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.session == s {
		l.session = nil
	}
}
