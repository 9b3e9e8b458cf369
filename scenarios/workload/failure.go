package workload

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
)

// failure is an error whose class is already known, as the phase is in which it
// came about.
type failure struct {
	class  string
	before bool // nothing of the request was sent
	err    error
}

func (f *failure) Error() string { return f.class + ": " + f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

func failed(class string, err error) error { return &failure{class: class, before: true, err: err} }

// classIn is classOf for what was done under ctx. Once that has ended, the
// libraries underneath may name the end or what it brought about; the class
// must not depend on which.
func classIn(ctx context.Context, err error) string {
	if ctx.Err() != nil {
		return "timeout"
	}
	return classOf(err)
}

// classOf puts an error into one of a few stable words.
func classOf(err error) string {
	var f *failure
	var alert tls.AlertError
	switch {
	case errors.As(err, &f):
		return f.class
	case timedOut(err):
		return "timeout"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "reset"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "unreachable"
	case errors.As(err, &alert):
		return "tls"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed),
		// net/http does not export this one.
		strings.Contains(err.Error(), "server closed idle connection"):
		return "closed"
	default:
		return "other"
	}
}

// timedOut tells whether an error says that time ran out.
func timedOut(err error) bool {
	var n net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &n) && n.Timeout()
}

// neverSent tells whether an error left the request unsent for certain.
func neverSent(err error) bool {
	var f *failure
	return errors.As(err, &f) && f.before
}

func resolveFailure(ctx context.Context, err error) error {
	var d *net.DNSError
	switch {
	case ctx.Err() != nil:
		return failed("dns timeout", err)
	case errors.As(err, &d) && d.IsNotFound:
		return failed("dns not found", err)
	case timedOut(err):
		return failed("dns timeout", err)
	default:
		return failed("dns", err)
	}
}

func dialFailure(ctx context.Context, err error) error {
	if class := classIn(ctx, err); class != "timeout" {
		return failed(class, err)
	}
	return failed("dial timeout", err)
}

func secureFailure(ctx context.Context, err error) error {
	var cert *tls.CertificateVerificationError
	switch class := classIn(ctx, err); {
	case errors.As(err, &cert):
		return failed("tls", err)
	case class == "timeout":
		return failed("tls timeout", err)
	case class == "other":
		return failed("tls", err)
	default:
		return failed(class, err)
	}
}

// statusFailure is the class of an HTTP status that is not what was hoped for.
func statusFailure(status int) string { return fmt.Sprintf("status %d", status) }
