package nodes

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// DrainOptions tells how a process leaves when nobody leads it.
type DrainOptions struct {
	// Window is how long health says 503 before accepting stops, when the
	// process has no parent to say so, or is signalled on its own: enough
	// failing health checks for the balancer to turn away. Zero means 30 s.
	Window time.Duration
	// Reload is called for each Reload signal, if set, one call at a time.
	Reload func()
}

const defaultWindow = 30 * time.Second

// Drain is a process's way out: it learns from the parent, or from a signal,
// that the process shall leave, first through its health and then for good.
// One whose place others have taken retires instead: nothing is wrong with the
// node, so health does not change, but this process accepts no more.
// Its methods may be called from several goroutines.
type Drain struct {
	m        Machine
	window   time.Duration
	draining chan struct{}
	retired  chan struct{}
	stopping chan struct{}
	drain    func()
	retire   func()
	stop     func()
}

// NewDrain follows the control pipe and the signals of this process until ctx
// ends. It owns both from here on: a process has one Drain at most.
func NewDrain(ctx context.Context, m Machine, o DrainOptions) *Drain {
	d := &Drain{m: m, window: o.Window, draining: make(chan struct{}), retired: make(chan struct{}), stopping: make(chan struct{})}
	if d.window == 0 {
		d.window = defaultWindow
	}
	d.drain = sync.OnceFunc(func() { close(d.draining) })
	d.retire = sync.OnceFunc(func() {
		close(d.retired)
		d.drain()
		for _, l := range m.Inherited() {
			_ = l.Close() // their owner may have
		}
	})
	d.stop = sync.OnceFunc(func() {
		d.drain()
		close(d.stopping)
	})
	if control := m.Control(); control != nil {
		go d.followParent(control)
	}
	go d.followSignals(ctx, o.Reload)
	return d
}

func (d *Drain) followParent(control io.Reader) {
	err := readOrders(control, func(word string) {
		switch word {
		case wordDrain:
			d.drain()
		case wordRetire:
			d.retire()
		case wordStop:
			d.stop()
		}
	})
	if err != nil {
		d.m.Log().Error("control pipe broken", "error", err)
	}
	d.stop() // without a parent there is nobody to serve for
}

func (d *Drain) followSignals(ctx context.Context, reload func()) {
	for {
		var s Signal
		select {
		case <-ctx.Done():
			return
		case s = <-d.m.Signals():
		}
		switch s {
		case Reload:
			if reload != nil {
				reload()
			}
		case Terminate, Interrupt:
			if d.Draining() {
				d.stop() // asked twice: no more waiting
				continue
			}
			d.m.Log().Info("draining", "signal", string(s))
			d.Begin(ctx)
		}
	}
}

// Begin begins the way out, as Terminate does: health says 503 now, and
// accepting stops after the window unless ctx ends before that. The parent, if
// there is one, is told.
func (d *Drain) Begin(ctx context.Context) {
	if d.Draining() {
		return
	}
	d.drain()
	tellDrain(d.m)
	go func() {
		if Sleep(ctx, d.m, "drain window", d.window) == nil {
			d.stop()
		}
	}()
}

// tellDrain tells the parent, if there is one, of a way out that it did not lead
// to.
func tellDrain(m Machine) {
	if control := m.Control(); control != nil {
		_ = writeOrder(control, wordDrain) // one that is gone ends us by that
	}
}

// Ready tells the parent, if there is one, that this process serves.
func (d *Drain) Ready() error {
	control := d.m.Control()
	if control == nil {
		return nil
	}
	return writeOrder(control, wordReady)
}

// Draining reports whether the process is on its way out, so that each answer
// should be the last of its connection.
func (d *Drain) Draining() bool { return isClosed(d.draining) }

// Healthy reports whether health says 200: the process is not on its way out, or
// others have taken its place.
func (d *Drain) Healthy() bool { return !d.Draining() || isClosed(d.retired) }

// Retired is closed when others accept in the place of this process. The
// inherited listeners are about to be closed then.
func (d *Drain) Retired() <-chan struct{} { return d.retired }

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// Stopping is closed when the process shall accept no more, finish what is
// open, and end.
func (d *Drain) Stopping() <-chan struct{} { return d.stopping }

// ServeHTTP answers the balancer's health check: 200 "ok", or 503 "draining".
func (d *Drain) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	status, text := http.StatusOK, "ok\n"
	if !d.Healthy() {
		status, text = http.StatusServiceUnavailable, "draining\n"
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text) // the checker may be gone
}

// Serve serves HTTP on l until Stopping; then it closes l, ends idle
// connections, and returns nil once all others have ended. Hijacked
// connections are their owner's. It returns early, with all connections cut,
// when ctx ends or l fails. While Draining each answer is the last of its
// connection. It sets the server's ConnState, wraps its Handler, and stands in
// for [http.Server.Shutdown], whose random polling would not replay.
func (d *Drain) Serve(ctx context.Context, server *http.Server, l net.Listener) error {
	open := connections{empty: make(chan struct{})}
	server.ConnState = open.change
	handler := server.Handler
	server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if d.Draining() {
			w.Header().Set("Connection", "close")
		}
		handler.ServeHTTP(w, r)
	})
	var acceptErr error
	served := make(chan struct{}) // closed after acceptErr is set
	go func() {
		defer close(served)
		acceptErr = server.Serve(l)
	}()

	select {
	case <-served:
	case <-ctx.Done():
	case <-d.stopping:
	}
	if isClosed(d.retired) { // l is closed, and what is open goes on
		select {
		case <-ctx.Done():
		case <-d.stopping:
		}
	}
	switch {
	case ctx.Err() != nil:
		err := errors.Join(ctx.Err(), ignoreClosed(l.Close()), ignoreClosed(server.Close()))
		<-served
		return err
	case !isClosed(d.stopping):
		return errors.Join(acceptErr, ignoreClosed(server.Close()))
	}
	err := ignoreClosed(l.Close())
	<-served // with what accepting on a closed listener gives
	open.finish()
	server.SetKeepAlivesEnabled(false) // ends those that are idle now

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		// One on which nothing has come may have a request on its way; the
		// server takes it for idle when it is over five seconds old.
		if Sleep(ctx, d.m, "drain new connections "+l.Addr().String(), 7*time.Second) == nil {
			server.SetKeepAlivesEnabled(false)
		}
	}()
	select {
	case <-ctx.Done():
		return errors.Join(err, ctx.Err(), ignoreClosed(server.Close()))
	case <-open.empty:
		return err
	}
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// connections counts those of a server.
type connections struct {
	mu        sync.Mutex
	open      int
	finishing bool
	empty     chan struct{} // closed when finishing and none is open
}

func (c *connections) change(_ net.Conn, s http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch s {
	case http.StateNew:
		c.open++
	case http.StateClosed, http.StateHijacked:
		c.open--
		if c.finishing && c.open == 0 {
			close(c.empty)
		}
	}
}

// finish runs once nothing more is accepted.
func (c *connections) finish() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.finishing = true
	if c.open == 0 {
		close(c.empty)
	}
}
