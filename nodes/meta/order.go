package meta

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
)

// Order begins the body of every request that changes a node's state.
type Order struct {
	// Epoch is that of the leadership under which the order is given. Only a
	// leader begins one: others give the node's own, which its status tells, or
	// 1 to a node that has heard of none.
	Epoch uint64 `json:"epoch"`
	// Revision counts the orders of this issuer in this epoch. An issuer sends
	// them to a node one after another, and repeats one of which it does not know
	// whether it arrived before it goes on.
	Revision uint64 `json:"revision"`
	// IssuedBy is who gives the order, as ROLE/NAME; the certificate must agree.
	IssuedBy string `json:"issued_by"`
}

// Applied answers an order.
type Applied struct {
	Applied  bool   `json:"applied"` // false: it had been before
	Epoch    uint64 `json:"epoch"`
	Revision uint64 `json:"revision"`
}

// StaleError refuses what was sent under an epoch that is over.
type StaleError struct {
	Epoch uint64 // the newest that the node has heard of
}

func (e *StaleError) Error() string {
	return fmt.Sprintf("meta: the epoch is over: this node has heard of %d", e.Epoch)
}

// EarlyError refuses an order of an epoch that its issuer cannot begin: a node
// that took it for the newest would refuse its leader.
type EarlyError struct {
	Epoch  uint64 // of the order
	Newest uint64 // that the node has heard of
}

func (e *EarlyError) Error() string {
	return fmt.Sprintf("meta: epoch %d has not begun: this node has heard of %d", e.Epoch, e.Newest)
}

var errOrder = errors.New("meta: an order needs an epoch, a revision and an issuer")

// Fence keeps a node from acting on orders of the past. It remembers the newest
// epoch and, within it, the last revision of each issuer, in memory alone: a
// node that starts again believes whoever speaks first, and holds nothing that
// an old order could harm. Methods may be called concurrently.
type Fence struct {
	applying chan struct{} // held by the one order that is being applied

	mu    sync.Mutex
	epoch uint64
	last  map[string]uint64 // revision by issuer
}

// NewFence makes one that has heard of no epoch yet.
func NewFence() *Fence {
	return &Fence{applying: make(chan struct{}, 1), last: make(map[string]uint64)}
}

// Epoch is the newest that was heard of, zero before any.
func (f *Fence) Epoch() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.epoch
}

// Hear takes note of an epoch, and gives a StaleError if it is over.
func (f *Fence) Hear(epoch uint64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.hear(epoch)
}

func (f *Fence) hear(epoch uint64) error {
	if epoch < f.epoch {
		return &StaleError{Epoch: f.epoch}
	}
	if epoch > f.epoch {
		f.epoch = epoch
		clear(f.last)
	}
	return nil
}

// Do applies an order, one at a time, and reports whether it did: not if the
// same issuer's order of that revision, or of a later one, has been applied in
// this epoch. If apply fails the order counts as not applied, and may be sent
// again. An order of an epoch that is over gives a StaleError, and one of an
// epoch to come an EarlyError, unless a Seed issued it.
func (f *Fence) Do(ctx context.Context, o Order, apply func(context.Context) error) (bool, error) {
	if o.Epoch == 0 || o.Revision == 0 || o.IssuedBy == "" {
		return false, errOrder
	}
	// A newer epoch counts from the moment it is heard, also while an older
	// order is being applied.
	if _, err := f.due(o); err != nil {
		return false, err
	}
	select {
	case f.applying <- struct{}{}:
	case <-ctx.Done():
		return false, ctx.Err()
	}
	defer func() { <-f.applying }()
	if due, err := f.due(o); !due {
		return false, err
	}
	if err := apply(ctx); err != nil {
		return false, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if o.Epoch == f.epoch {
		f.last[o.IssuedBy] = o.Revision
	}
	return true, nil
}

// due takes note of an order's epoch, and reports whether it is yet to be applied.
func (f *Fence) due(o Order) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if o.Epoch > max(f.epoch, 1) && !strings.HasPrefix(o.IssuedBy, roleSeed+"/") {
		return false, &EarlyError{Epoch: o.Epoch, Newest: f.epoch}
	}
	if err := f.hear(o.Epoch); err != nil {
		return false, err
	}
	return o.Revision > f.last[o.IssuedBy], nil
}
