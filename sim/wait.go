package sim

import (
	"context"
	"os"
	"time"
)

// How calls on sockets wait: one at a time, until they are woken or out of time.

// turn is held by the one call that may read, or write, so that concurrent calls
// do not mix and a wake-up finds the only one that waits. It is a channel, for
// waiting at a mutex would stop virtual time.
type turn chan struct{}

func (t turn) take() { t <- struct{}{} }
func (t turn) give() { <-t }

// signal wakes one waiter, or the next that comes.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// waitFor blocks until it is woken or the deadline has passed. Most calls have no
// deadline, and a plain receive costs much less than a select.
func waitFor(wake, expired <-chan struct{}) {
	if expired == nil {
		<-wake
		return
	}
	select {
	case <-wake:
	case <-expired:
	}
}

// deadline is a time after which calls fail. It is guarded by w.mu.
type deadline struct {
	timer   *time.Timer
	expired chan struct{} // nil without a deadline, closed when it has passed
}

func (d *deadline) set(t time.Time) {
	d.stop()
	if t.IsZero() {
		d.expired = nil
		return
	}
	expired := make(chan struct{})
	d.expired = expired
	if left := time.Until(t); left > 0 {
		d.timer = time.AfterFunc(left, func() { close(expired) })
		return
	}
	close(expired)
}

func (d *deadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
}

func (d *deadline) passed() bool {
	select {
	case <-d.expired:
		return d.expired != nil
	default:
		return false
	}
}

// contextError is what package net makes of an ended context.
func contextError(ctx context.Context) error {
	if ctx.Err() == context.DeadlineExceeded {
		return timeoutError{}
	}
	return ctx.Err()
}

type timeoutError struct{}

func (timeoutError) Error() string   { return "i/o timeout" }
func (timeoutError) Timeout() bool   { return true }
func (timeoutError) Temporary() bool { return true }
func (timeoutError) Is(err error) bool {
	return err == context.DeadlineExceeded || err == os.ErrDeadlineExceeded
}
