package probe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/espra/protoplex/nodes"
)

// maxAddrs bounds how many addresses of one name are tried.
const maxAddrs = 4

// maxRead bounds what is read of one connection, whatever it carries.
const maxRead = 128 << 10

// look is one look under way. It bounds each phase and notes how long it took.
type look struct {
	m      nodes.Machine
	label  string        // tells its waits from all others of this process
	limit  time.Duration // of each phase
	roots  *x509.CertPool
	phases []Phase
}

func (l *look) result(err error) Result { return Result{Phases: l.phases, Err: err} }

// phase does one step under its own limit.
func (l *look) phase(ctx context.Context, name string, f func(context.Context) error) error {
	ctx, cancel := nodes.Timeout(ctx, l.m, l.label+" "+name, l.limit)
	defer cancel()
	start := l.m.Elapsed()
	err := f(ctx)
	l.phases = append(l.phases, Phase{name, l.m.Elapsed() - start})
	var already *Error
	switch {
	case err == nil || errors.As(err, &already):
		return err
	case ctx.Err() != nil:
		err = ctx.Err() // and not what a connection says that was closed for it
	}
	return &Error{name, err}
}

// talk is a phase that reads and writes a connection, which is closed when the
// time is up.
func (l *look) talk(ctx context.Context, name string, conn *bounded, f func() error) error {
	return l.phase(ctx, name, func(ctx context.Context) error {
		stop := context.AfterFunc(ctx, func() { conn.Close() })
		defer stop()
		err := f()
		if err != nil && conn.left <= 0 {
			return errTooMuch // and not what a parser says of the part
		}
		return err
	})
}

// dial connects to a host:port. The caller closes the connection.
func (l *look) dial(ctx context.Context, address string) (*bounded, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, &Error{Resolve, err}
	}
	addrs := []string{host}
	if _, err := netip.ParseAddr(host); err != nil {
		err := l.phase(ctx, Resolve, func(ctx context.Context) error {
			addrs, err = l.m.Lookup(ctx, "A", host)
			if err == nil && len(addrs) == 0 {
				err = errors.New("no address")
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	var conn net.Conn
	err = l.phase(ctx, Connect, func(ctx context.Context) error {
		conn, err = l.dialAny(ctx, addrs[:min(len(addrs), maxAddrs)], port)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &bounded{Conn: conn, left: maxRead}, nil
}

// dialAny tries the addresses in order. Each gets an equal share of the limit, so
// that a dead zone behind the name does not use up the time of a living one.
func (l *look) dialAny(ctx context.Context, addrs []string, port string) (net.Conn, error) {
	share := l.limit / time.Duration(len(addrs))
	var errs error
	for _, addr := range addrs {
		conn, err := func() (net.Conn, error) {
			ctx, cancel := nodes.Timeout(ctx, l.m, l.label+" dial "+addr, share)
			defer cancel()
			return l.m.DialContext(ctx, "tcp", net.JoinHostPort(addr, port))
		}()
		if err == nil {
			return conn, nil
		}
		errs = errors.Join(errs, err)
	}
	return nil, errs
}

// secure makes the connection one with TLS to a host of that name, and
// validates its certificate. The caller still closes the connection if that
// fails.
func (l *look) secure(ctx context.Context, conn net.Conn, name string) (*tls.Conn, error) {
	secure := tls.Client(conn, l.config(name))
	if err := l.phase(ctx, TLS, secure.HandshakeContext); err != nil {
		return nil, err
	}
	return secure, nil
}

func (l *look) config(name string) *tls.Config {
	return &tls.Config{ServerName: name, RootCAs: l.roots, Time: l.m.Now, MinVersion: tls.VersionTLS12}
}

var errTooMuch = fmt.Errorf("the server sent more than %d KiB", maxRead>>10)

// bounded is a connection of which only so much is read.
type bounded struct {
	net.Conn
	left int
}

// Read implements net.Conn.
func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTooMuch
	}
	n, err := b.Conn.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}
