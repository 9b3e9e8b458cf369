// Package probe looks at one thing from outside, once, the way that a stranger
// would: a fresh connection each time, certificates validated, every phase
// with its own limit.
//
// A Probe promises to return within the sum of its limits, whatever the other
// side sends or holds back, and to read no more of it than some ten kilobytes.
// What may fail is the point: the error names the phase, and Result keeps how
// long each took.
//
// Start at Target, which is what people write into a file. Each kind of target
// has a file of its own; all are built from the phases in look.go.
package probe

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// The phases of a probe. Each kind has some of them, in this order.
const (
	Resolve   = "resolve"
	Connect   = "connect"
	Banner    = "banner" // of SMTP, or of a TCP target that has one
	Hello     = "ehlo"
	TLS       = "tls"
	Recipient = "rcpt"
	FirstByte = "first byte"
	Body      = "body"
	Check     = "check" // the answer came and is wrong; this one takes no time
)

// Phase is one step of a probe and how long it took.
type Phase struct {
	Name string
	Took time.Duration
}

// Result is what one probe saw. Err is nil when all was well.
type Result struct {
	Phases []Phase
	Note   string // worth telling although nothing failed, such as the days that a certificate has left
	Err    error
	Parts  []string // of a target with several parts, such as servers or names: those that failed
}

// ErrUnseen is in the error of a probe that got no sight of what it judges. Its
// result counts neither as good nor as bad.
var ErrUnseen = errors.New("not seen")

// Unseen says that the result tells nothing.
func (r Result) Unseen() bool { return errors.Is(r.Err, ErrUnseen) }

// Took is the sum of the phases.
func (r Result) Took() time.Duration {
	var sum time.Duration
	for _, p := range r.Phases {
		sum += p.Took
	}
	return sum
}

// Failed names the phase that failed, "" when none did.
func (r Result) Failed() string {
	var e *Error
	if errors.As(r.Err, &e) {
		return e.Phase
	}
	return ""
}

// Error is a failed phase. Its text is of bounded length, for it may hold what
// the other side sent.
type Error struct {
	Phase string
	Err   error
}

const maxText = 500 // bytes

func (e *Error) Error() string {
	text := e.Err.Error()
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "") + "..."
	}
	return e.Phase + ": " + text
}

func (e *Error) Unwrap() error { return e.Err }

// Probe looks once. The number counts the looks of this probe from zero. It
// may be called again at any time, but not while a call is under way.
type Probe func(ctx context.Context, n uint64) Result

func failf(format string, args ...any) error {
	return &Error{Check, fmt.Errorf(format, args...)}
}
