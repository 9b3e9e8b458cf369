package lease

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/espra/protoplex/nodes"
)

// ErrObject is returned for an object that is no lease of the format we know:
// somebody else's, damaged, or written by a later version. It is left alone.
var ErrObject = errors.New("lease: the object is not ours to judge")

// Options are how a Store uses its bucket, and what it trusts clocks with. All
// processes that share a bucket must have the same.
type Options struct {
	// Prefix is put before each name to make the object's key.
	Prefix string
	// DriftPPM is by how many parts per million a clock may run fast or slow,
	// 1000 by default: twice what time daemons slew by.
	DriftPPM int64
	// Slack is waited on top, 100 ms by default.
	Slack time.Duration
	// Timeout bounds each request, 2 s by default. Acquire and Renew make up to
	// three one after another, so it should be a small part of the terms.
	Timeout time.Duration
	// MaxSize bounds the bodies that are read, 4096 bytes by default.
	MaxSize int64
}

// Store is the leases of a bucket, as one process sees them. A process should
// have one for each bucket.
type Store struct {
	m     nodes.Machine
	blobs nodes.Blobs
	o     Options
	start string // keys this incarnation's random numbers

	mu    sync.Mutex
	slots map[string]*slot
}

var _ nodes.Leases = (*Store)(nil)

// New makes a Store for the process of m. It panics on a negative option, or a
// drift of 100 % and more.
func New(m nodes.Machine, b nodes.Blobs, o Options) *Store {
	o.DriftPPM = cmp.Or(o.DriftPPM, 1000)
	o.Slack = cmp.Or(o.Slack, 100*time.Millisecond)
	o.Timeout = cmp.Or(o.Timeout, 2*time.Second)
	o.MaxSize = cmp.Or(o.MaxSize, 4096)
	if o.DriftPPM < 0 || o.DriftPPM >= million || o.Slack < 0 || o.Timeout < 0 || o.MaxSize < 0 {
		panic(fmt.Sprintf("lease: impossible options %+v", o))
	}
	return &Store{
		m: m, blobs: b, o: o,
		// Nonces must differ from those of an earlier process of this machine
		// also where random numbers are a function of their name.
		start: fmt.Sprintf("lease/%d/%d/", m.Now().UnixNano(), m.Elapsed()),
		slots: make(map[string]*slot),
	}
}

// slot gives what is known of a name, for the caller alone until it calls
// leave.
func (s *Store) slot(ctx context.Context, name string) (*slot, error) {
	s.mu.Lock()
	p := s.slots[name]
	if p == nil {
		p = &slot{s: s, name: name, key: s.o.Prefix + name, turn: make(chan struct{}, 1)}
		s.slots[name] = p
	}
	s.mu.Unlock()
	// Requests are made during a turn, so it is no mutex.
	select {
	case p.turn <- struct{}{}:
		return p, nil
	default:
	}
	select {
	case p.turn <- struct{}{}:
		return p, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("lease %s: %w", name, ctx.Err())
	}
}

// Acquire implements [nodes.Leases]. While the lease is held the error is a
// [*nodes.LeaseHeldError].
func (s *Store) Acquire(ctx context.Context, name, holder string, term time.Duration) (nodes.Lease, error) {
	if err := check(holder, term); err != nil {
		return nodes.Lease{}, fmt.Errorf("lease %s: %w", name, err)
	}
	p, err := s.slot(ctx, name)
	if err != nil {
		return nodes.Lease{}, err
	}
	defer p.leave()
	if p.held != nil && s.m.Elapsed() < p.held.Until {
		return nodes.Lease{}, p.wrap(p.taken(p.held.Until - s.m.Elapsed()))
	}
	p.held = nil
	if err := p.look(ctx); err != nil {
		return nodes.Lease{}, p.wrap(err)
	}
	if left := p.wait(); left > 0 {
		return nodes.Lease{}, p.wrap(p.taken(left))
	}
	before := p.seen.Holder
	r := record{Epoch: p.top + 1, Holder: holder, Term: term}
	sent, err := p.write(ctx, r)
	switch {
	case errors.Is(err, errOthers):
		return nodes.Lease{}, p.wrap(p.taken(p.wait())) // another was faster
	case err != nil:
		return nodes.Lease{}, p.wrap(err)
	case p.seen.Epoch != r.Epoch || p.seen.Holder != holder || p.seen.Term != term:
		// It was an attempt of ours that had been given up. Nobody acts on
		// that, so the next call takes over from it without a wait.
		return nodes.Lease{}, p.wrap(errors.New("an earlier attempt of this process came through; ask again"))
	}
	l := nodes.Lease{Name: name, Holder: holder, Epoch: r.Epoch, Term: term, Until: sent + term}
	if s.m.Elapsed() >= l.Until {
		return nodes.Lease{}, p.wrap(errors.New("acquired, but it took longer than the term; ask again"))
	}
	p.held = &l
	if before != "" {
		s.m.Log().Debug("lease taken over", "lease", name, "epoch", l.Epoch, "from", before)
	}
	return l, nil
}

// Renew implements [nodes.Leases].
func (s *Store) Renew(ctx context.Context, l nodes.Lease) (nodes.Lease, error) {
	p, err := s.slot(ctx, l.Name)
	if err != nil {
		return nodes.Lease{}, err
	}
	defer p.leave()
	if !p.holds(l) {
		return nodes.Lease{}, p.wrap(fmt.Errorf("%w: epoch %d", nodes.ErrLeaseLost, l.Epoch))
	}
	if s.m.Elapsed() >= p.held.Until {
		p.held = nil
		return nodes.Lease{}, p.wrap(fmt.Errorf("%w: epoch %d ran out", nodes.ErrLeaseLost, l.Epoch))
	}
	sent, err := p.write(ctx, record{Epoch: l.Epoch, Holder: l.Holder, Term: p.held.Term, Renewal: p.seen.Renewal + 1})
	switch {
	case errors.Is(err, errOthers), errors.Is(err, ErrObject):
		p.held = nil
		return nodes.Lease{}, p.wrap(fmt.Errorf("%w: epoch %d: %w", nodes.ErrLeaseLost, l.Epoch, err))
	case err != nil:
		return nodes.Lease{}, p.wrap(err)
	}
	p.held.Until = max(p.held.Until, sent+p.held.Term)
	if s.m.Elapsed() >= p.held.Until {
		p.held = nil
		return nodes.Lease{}, p.wrap(fmt.Errorf("%w: renewing epoch %d took longer than its term", nodes.ErrLeaseLost, l.Epoch))
	}
	return *p.held, nil
}

// Release implements [nodes.Leases]. Whatever it returns, this process holds
// the lease no more.
func (s *Store) Release(ctx context.Context, l nodes.Lease) error {
	// Turns are short, and without one we would go on to hold the lease.
	p, err := s.slot(context.WithoutCancel(ctx), l.Name)
	if err != nil {
		return err
	}
	defer p.leave()
	if !p.holds(l) {
		return nil
	}
	p.held = nil
	// A renewal that was given up may still come in between, once.
	for range 2 {
		_, err = p.write(ctx, record{Epoch: l.Epoch, Term: p.seen.Term, Renewal: p.seen.Renewal + 1})
		if errors.Is(err, errOthers) {
			return nil
		}
		if err != nil || p.seen.Holder == "" {
			break
		}
		err = errors.New("an earlier renewal came in between")
	}
	return p.wrap(err)
}
