package proxy

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/espra/protoplex/nodes"
	"github.com/espra/protoplex/nodes/placement"
)

// maxRefusing bounds the connections above the limit that are answered at all.
const maxRefusing = 100

type server struct {
	ctx   context.Context
	m     nodes.Machine
	o     options
	drain *nodes.Drain
	table *placement.Watched
	pool  *pool
	open  *tunnels
	cert  *nodes.Certificate // nil without HTTPS

	draw     string // name of this process's random numbers
	requests atomic.Uint64
	buffers  sync.Pool // of *[]byte, for bodies

	running  sync.WaitGroup
	mu       sync.Mutex
	accepted uint64
	conns    map[uint64]*conn
	refusing int
	stopping bool
}

func run(ctx context.Context, m nodes.Machine, o options) error {
	var keeping sync.WaitGroup
	defer keeping.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &server{
		ctx:     ctx,
		m:       m,
		o:       o,
		table:   placement.Watch(o.table, m.Elapsed, nil),
		pool:    newPool(ctx, m),
		open:    newTunnels(),
		draw:    fmt.Sprintf("proxy/%s/%d/", m.Host().Proc, m.Now().UnixNano()),
		buffers: sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }},
		conns:   make(map[uint64]*conn),
	}
	var err error
	if s.cert, err = o.certificate(m); err != nil {
		return err
	}
	if s.cert != nil {
		keeping.Go(func() { s.cert.Keep(ctx) })
	}
	plain, secure, err := listen(m, o)
	if err != nil {
		return err
	}
	s.drain = nodes.NewDrain(ctx, m, nodes.DrainOptions{Window: o.window, Reload: s.reload})
	leave, err := s.join()
	if err != nil {
		return err
	}
	defer leave()
	return s.serve(plain, secure)
}

func (s *server) reload() {
	if s.cert != nil {
		s.cert.Reload()
	}
}

// certificate reads the public certificate, if HTTPS is on.
func (o options) certificate(m nodes.Machine) (*nodes.Certificate, error) {
	if o.https == "" {
		return nil, nil
	}
	c, err := nodes.NewCertificate(m, o.cert)
	if err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	return c, nil
}

// serve runs until the drain says stop or the context ends, and leaves nothing
// behind.
func (s *server) serve(plain, secure net.Listener) error {
	var accepting sync.WaitGroup
	var listeners []net.Listener
	attrs := []any{}
	if plain != nil {
		listeners = append(listeners, plain)
		attrs = append(attrs, "http", plain.Addr().String())
		accepting.Go(func() { s.accept(plain, nil) })
	}
	if secure != nil {
		listeners = append(listeners, secure)
		attrs = append(attrs, "https", secure.Addr().String())
		config := &tls.Config{
			Time:           s.m.Now,
			MinVersion:     tls.VersionTLS12,
			NextProtos:     []string{"http/1.1"},
			GetCertificate: s.cert.Get,
		}
		accepting.Go(func() { s.accept(secure, config) })
	}
	s.m.Log().Info("listening", attrs...)
	err := s.drain.Ready()

	if err == nil {
		select {
		case <-s.ctx.Done():
			err = s.ctx.Err()
		case <-s.drain.Stopping():
		}
	}
	for _, l := range listeners {
		_ = l.Close() // the parent may have, or the machine
	}
	accepting.Wait()
	if err == nil {
		s.finish()
	}
	s.cutAll()
	s.pool.close()
	s.running.Wait()
	return err
}

// finish waits for open work, within the time that it has, and then ends the
// tunnels.
func (s *server) finish() {
	waiting := s.stop()
	s.m.Log().Info("finishing", "connections", waiting, "tunnels", s.open.count())
	done := make(chan struct{})
	go func() {
		s.running.Wait()
		close(done)
	}()
	ctx, cancel := nodes.Timeout(s.ctx, s.m, "proxy/drain", s.o.drain)
	defer cancel()
	select {
	case <-done:
	case <-ctx.Done():
	}
	cut := s.open.cutAll(reasonDrain)
	// Tunnels that were cut say goodbye by themselves. To cut their connections
	// too would race with that.
	ctx, cancel = nodes.Timeout(s.ctx, s.m, "proxy/goodbye", goodbye)
	defer cancel()
	select {
	case <-done:
	case <-ctx.Done():
	}
	s.m.Log().Info("finished", "cut", cut)
}

// goodbye is how long the tunnels that a drain has cut may take to end.
const goodbye = time.Second

// stop ends the connections that wait for another request, now and from here
// on, and gives the number of all that were open.
func (s *server) stop() int {
	s.mu.Lock()
	s.stopping = true
	s.mu.Unlock()
	all := s.sorted()
	for _, c := range all {
		if c.resting.Load() {
			_ = c.SetReadDeadline(past)
		}
	}
	return len(all)
}

func (s *server) leaving() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stopping
}

func (s *server) sorted() []*conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*conn, 0, len(s.conns))
	for _, c := range s.conns {
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b *conn) int { return cmp.Compare(a.id, b.id) })
	return all
}

func (s *server) cutAll() {
	for _, c := range s.sorted() {
		_ = c.raw.Close()
	}
}

// accept takes connections until the listener is closed. A config makes them
// TLS.
func (s *server) accept(l net.Listener, config *tls.Config) {
	for {
		raw, err := l.Accept()
		if errors.Is(err, net.ErrClosed) || s.ctx.Err() != nil {
			return
		}
		if err != nil {
			// Out of file descriptors, perhaps: that passes.
			s.m.Log().Warn("accept failed", "error", err)
			if nodes.Sleep(s.ctx, s.m, "proxy/accept/"+l.Addr().String(), 50*time.Millisecond) != nil {
				return
			}
			continue
		}
		c, ok := s.admit(raw, config)
		if !ok {
			_ = raw.Close()
			continue
		}
		go func() {
			defer s.running.Done()
			defer s.dismiss(c)
			c.serve()
		}()
	}
}

// admit makes a connection ours. Above the limit it is admitted to be refused,
// as long as those are few and a refusal costs no handshake.
func (s *server) admit(raw net.Conn, config *tls.Config) (*conn, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	refused := len(s.conns)-s.refusing >= s.o.connections
	if refused && (config != nil || s.refusing >= maxRefusing) {
		return nil, false
	}
	s.accepted++
	c := &conn{
		Conn:    raw,
		s:       s,
		id:      s.accepted,
		name:    strconv.FormatUint(s.accepted, 10),
		raw:     raw,
		refused: refused,
		renew:   s.m.Elapsed() + s.renewal(s.accepted),
	}
	if config != nil {
		c.tls = tls.Server(raw, config)
		c.Conn = c.tls
	}
	if refused {
		s.refusing++
	}
	s.conns[c.id] = c
	s.running.Add(1)
	return c, true
}

// renewal is the age at which the n-th connection is renewed: give or take a
// fifth, lest all who came at once, as after an outage, come at once for ever.
func (s *server) renewal(n uint64) time.Duration {
	fifth := s.o.renew / 5
	return s.o.renew - fifth + time.Duration(s.m.Rand(s.draw+"renewal", n)%uint64(2*fifth+1))
}

func (s *server) dismiss(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c.id)
	if c.refused {
		s.refusing--
	}
}

// within runs f, and calls expire if it takes longer than d or the server ends;
// expire must make f return. The error is then a timeout or the server's end.
func (s *server) within(name string, d time.Duration, expire func(), f func() error) error {
	ctx, cancel := nodes.Timeout(s.ctx, s.m, name, d)
	defer cancel()
	stop := context.AfterFunc(ctx, expire)
	err := f()
	if !stop() {
		return ctx.Err()
	}
	return err
}
