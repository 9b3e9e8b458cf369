package nodes

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"
)

// Leases hands out leadership: a name has at most one holder at a time, and each
// holder has a greater epoch than all before it.
//
// Time is judged without wall clocks. A holder's lease counts from before its
// last successful acquisition or renewal was sent, on its own Elapsed clock.
// Everybody else waits until the lease has not changed for its whole term, plus
// a bound for drifting clocks, on theirs. So a holder that looks at Lease.Until
// before it acts never acts after another has taken over, as long as clocks
// drift less than the bound; and since a process can be stopped between looking
// and acting, what it orders carries the epoch and is refused by those who have
// seen a greater one.
//
// Methods may be called concurrently. An implementation belongs to one process
// and remembers what it has seen of each name.
type Leases interface {
	// Acquire tries once to become the holder of a name. It gives ErrLeaseHeld
	// while somebody is, or may be, this process included. Any other error says
	// nothing for certain. Ask again.
	Acquire(ctx context.Context, name, holder string, term time.Duration) (Lease, error)
	// Renew prolongs a lease by its term. ErrLeaseLost is final: somebody else
	// holds it, or it ran out. Any other error leaves the lease as it was; try
	// again while it lasts.
	Renew(ctx context.Context, l Lease) (Lease, error)
	// Release gives a lease up at once, so that nobody has to wait for its end;
	// stop acting on it first. The error says that it may still be held until
	// then, though no more by this process.
	Release(ctx context.Context, l Lease) error
}

// Lease is what a holder holds.
type Lease struct {
	Name   string
	Holder string
	Epoch  uint64        // greater than that of every holder before
	Term   time.Duration // for which each renewal lasts
	Until  time.Duration // on this machine's Elapsed clock
}

// What Leases can answer for certain.
var (
	ErrLeaseHeld = errors.New("nodes: the lease is held by somebody else")
	ErrLeaseLost = errors.New("nodes: the lease is lost")
)

// LeaseHeldError is an ErrLeaseHeld that says by whom.
type LeaseHeldError struct {
	Holder string // or empty
	Epoch  uint64
	Left   time.Duration // for so long it may be held, unless it is renewed
}

func (e *LeaseHeldError) Error() string {
	return fmt.Sprintf("%v: %s, epoch %d, for up to %s unless renewed", ErrLeaseHeld, cmp.Or(e.Holder, "nobody"), e.Epoch, e.Left)
}

// Unwrap gives ErrLeaseHeld.
func (e *LeaseHeldError) Unwrap() error { return ErrLeaseHeld }
