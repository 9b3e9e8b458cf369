// Package probe looks at one thing from outside, once, the way that a stranger
// would: a fresh connection each time, certificates validated, every phase
// with its own limit.
//
// A Probe promises to return within the sum of its limits. What may fail is
// the point: the error names the phase, and Result keeps how long each took.
// Start at HTTP and DNS.
package probe

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/espra/protoplex/nodes"
)

// The phases of a probe, in order.
const (
	Resolve   = "resolve"
	Connect   = "connect"
	TLS       = "tls"
	FirstByte = "first byte"
	Check     = "check" // the answer came and is wrong
)

// Phase is one step of a probe and how long it took.
type Phase struct {
	Name string
	Took time.Duration
}

// Result is what one probe saw. Err is nil when all was well.
type Result struct {
	Phases []Phase
	Err    error
}

// Failed names the phase that failed, "" when none did.
func (r Result) Failed() string {
	var e *Error
	if errors.As(r.Err, &e) {
		return e.Phase
	}
	return ""
}

// Error is a failed phase.
type Error struct {
	Phase string
	Err   error
}

func (e *Error) Error() string { return e.Phase + ": " + e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// Probe looks once. The number counts the looks of this probe from zero. It
// may be called again at any time, but not while a call is under way.
type Probe func(ctx context.Context, n uint64) Result

// clock times the phases of one look.
type clock struct {
	m      nodes.Machine
	phases []Phase
}

// run does one phase under its own limit.
func (c *clock) run(ctx context.Context, name, label string, limit time.Duration, f func(context.Context) error) error {
	ctx, cancel := nodes.Timeout(ctx, c.m, label+" "+name, limit)
	defer cancel()
	start := c.m.Elapsed()
	err := f(ctx)
	c.phases = append(c.phases, Phase{name, c.m.Elapsed() - start})
	var already *Error
	if err == nil || errors.As(err, &already) {
		return err
	}
	return &Error{name, err}
}

func (c *clock) result(err error) Result { return Result{Phases: c.phases, Err: err} }

func failf(format string, args ...any) error {
	return &Error{Check, fmt.Errorf(format, args...)}
}
