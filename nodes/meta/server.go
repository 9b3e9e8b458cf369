package meta

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/espra/protoplex/nodes"
	"github.com/espra/protoplex/nodes/meta/ca"
)

// Listen is the address that a meta port has if nothing else is said.
const Listen = ":9090"

// A Gauge is a figure of the metrics that goes up and down.
type Gauge struct {
	// Help says in a sentence what it is.
	Help string
	// Read gives its value, in the unit that its name ends in.
	Read func() float64
}

// Options are what a process tells and does on its meta port. Functions may be
// called from several goroutines at once.
type Options struct {
	// Identity is this node's certificate. It must be given.
	Identity *ca.Identity
	// Listen is the address of the port; empty means the constant of that name.
	// Listener is the port itself if it is open already; it is closed in the end.
	Listen   string
	Listener net.Listener
	// Retired is closed, if set, when another process has the port in the place of
	// this one: nothing more is accepted, and each answer is the last of its
	// connection.
	Retired <-chan struct{}
	// Version is that of the program; empty means nodes.Version.
	Version string

	// Health says why the node must get no traffic; nil, or returning nil, is
	// well.
	Health func() error
	// Facts are shown in the status, each by its name, as JSON.
	Facts map[string]func() any
	// Gauges are shown in the metrics, each by its full name.
	Gauges map[string]Gauge
	// Collectors are what else the metrics show. Their names end in the base unit,
	// as seconds or bytes, and those of counters in _total.
	Collectors []prometheus.Collector

	// Drain begins the way out, and returns at once.
	Drain func() error
	// Maintenance turns maintenance on or off: the node stays, and takes nothing
	// new.
	Maintenance func(ctx context.Context, on bool) error
	// Invalidate forgets what the node keeps under these keys.
	Invalidate func(ctx context.Context, keys []string) error
	// Orders are what the orders of those three, and of routes, have to pass. A
	// stream that carries orders shares it. Nil makes one.
	Orders *Fence

	// Routes are the role's own.
	Routes []Route
}

const (
	maxConnections = 8192
	handshakeTime  = 5 * time.Second
	idleTime       = 90 * time.Second
)

// Serve opens the port and serves it until ctx ends, whose error it then gives.
func Serve(ctx context.Context, m nodes.Machine, o Options) error {
	s, err := newServer(m, o)
	if err != nil {
		return err
	}
	l, err := s.listen()
	if err != nil {
		return err
	}
	return s.serve(ctx, l)
}

type server struct {
	m       nodes.Machine
	o       Options
	mux     *http.ServeMux
	fence   *Fence
	metrics *metrics
	since   time.Duration

	maintenance atomic.Bool

	// ctx is that of serve; enter gives it only while the server runs.
	mu      sync.Mutex
	ctx     context.Context
	running sync.WaitGroup // requests and streams
}

func newServer(m nodes.Machine, o Options) (*server, error) {
	if o.Identity == nil {
		return nil, errors.New("meta: a node needs a certificate")
	}
	o.Version = cmp.Or(o.Version, nodes.Version())
	if o.Listen == "" {
		o.Listen = Listen
	}
	if o.Orders == nil {
		o.Orders = NewFence()
	}
	s := &server{m: m, o: o, mux: http.NewServeMux(), fence: o.Orders, since: m.Elapsed()}
	if err := s.newMetrics(); err != nil {
		return nil, err
	}
	routes := append(s.builtin(), o.Routes...)
	for _, r := range routes {
		if err := s.route(r); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *server) listen() (net.Listener, error) {
	if s.o.Listener != nil {
		return s.o.Listener, nil
	}
	l, err := s.m.Listen("tcp", s.o.Listen)
	if err != nil {
		return nil, fmt.Errorf("meta: %w", err)
	}
	return l, nil
}

// serve runs on l, which it closes, and leaves nothing behind.
func (s *server) serve(ctx context.Context, l net.Listener) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	s.mu.Lock()
	s.ctx = ctx
	s.mu.Unlock()
	web := &http.Server{
		Handler:           s.mux,
		TLSConfig:         s.o.Identity.ServerConfig(s.m.Now),
		ReadHeaderTimeout: handshakeTime, // of handshakes also
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    8 << 10,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ErrorLog:          log.New(firstLine{s.m}, "", 0),
		TLSNextProto:      map[string]func(*http.Server, *tls.Conn, http.Handler){},
	}
	var serveErr error
	served := make(chan struct{}) // closed after serveErr is set
	limited := &limitedListener{Listener: l, places: make(chan struct{}, maxConnections)}
	go func() {
		defer close(served)
		serveErr = web.ServeTLS(limited, "", "")
	}()
	s.m.Log().Info("meta port open", "address", l.Addr().String(), "as", s.o.Identity.Name().String())

	select {
	case <-ctx.Done():
	case <-s.o.Retired:
	case <-served:
	}
	select {
	case <-s.o.Retired: // what is open may finish
		s.m.Log().Info("meta port left to another process")
		web.SetKeepAlivesEnabled(false)
		_ = l.Close() // whoever opened it may have
		<-ctx.Done()
	default:
	}
	err := ctx.Err()
	_ = web.Close() // its error is that of a listener that is closed already
	<-served
	if err == nil {
		err = fmt.Errorf("meta: serve: %w", serveErr)
	}
	s.mu.Lock()
	s.ctx = nil
	s.mu.Unlock()
	stop() // streams
	s.running.Wait()
	return err
}

// enter counts a request as running, and gives the context of the server, or
// nil if that is leaving.
func (s *server) enter() context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx != nil {
		s.running.Add(1)
	}
	return s.ctx
}

// limitedListener closes connections for which there is no place, so that those
// who cannot even shake hands cost little.
type limitedListener struct {
	net.Listener
	places chan struct{}
}

func (l *limitedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		select {
		case l.places <- struct{}{}:
			return &placedConn{Conn: c, leave: sync.OnceFunc(func() { <-l.places })}, nil
		default:
			_ = c.Close() // it was never ours
		}
	}
}

type placedConn struct {
	net.Conn
	leave func()
}

func (c *placedConn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}

// firstLine logs what net/http has to say: refused handshakes and panics, the
// latter without their stacks.
type firstLine struct{ m nodes.Machine }

func (f firstLine) Write(b []byte) (int, error) {
	line, _, _ := strings.Cut(string(b), "\n")
	f.m.Log().Warn("meta port", "text", line)
	return len(b), nil
}
