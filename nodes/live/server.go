package live

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/espra/protoplex/nodes"
	"github.com/espra/protoplex/nodes/placement"
)

// stopTime is how long a tunnel or a request may take to finish when it is
// asked to.
const stopTime = 5 * time.Second

type server struct {
	ctx   context.Context
	m     nodes.Machine
	o     options
	table *placement.Watched
	homes *homes
	hub   *hub

	drain   *nodes.Drain
	running sync.WaitGroup // tunnels, and those who close them

	mu      sync.Mutex
	opened  uint64 // tunnels ever; their ids
	tunnels map[uint64]*tunnel
	closed  bool // no more tunnels
}

func newServer(ctx context.Context, m nodes.Machine, o options) *server {
	s := &server{
		ctx:     ctx,
		m:       m,
		o:       o,
		table:   placement.Watch(o.table, m.Elapsed, nil),
		homes:   newHomes(o.region, o.homes),
		tunnels: make(map[uint64]*tunnel),
	}
	// Ids must differ from those of an earlier process of this machine also
	// where random numbers are a function of their name: the start is in it.
	draw := fmt.Sprintf("live/incarnation/%d", m.Now().UnixNano())
	var drawn uint64 // guarded by the hub's lock
	s.hub = newHub(o.limits, func() string {
		drawn++
		return fmt.Sprintf("%s-%d-%016x", o.region, o.epoch, m.Rand(draw, drawn))
	})
	return s
}

// serve runs until a Terminate or the end of the context, and leaves nothing
// behind.
func (s *server) serve(l net.Listener) error {
	ctx, stop := context.WithCancel(s.ctx)
	var background sync.WaitGroup
	defer background.Wait()
	defer stop()
	// Clients find a node through proxies, not through its health: there is
	// no window to wait for.
	s.drain = nodes.NewDrain(ctx, s.m, nodes.DrainOptions{Window: time.Millisecond})
	if len(s.o.homes) > 0 {
		background.Go(func() { nodes.Every(ctx, s.m, "live/home-check", s.o.homeCheck, s.checkHomes) })
	}
	background.Go(func() { s.watchTable(ctx) })

	web := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      15 * time.Second,
		IdleTimeout:       90 * time.Second, // longer than proxies keep a connection
		MaxHeaderBytes:    32 << 10,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, rawConn{}, c)
		},
		ErrorLog:     log.New(firstLine{s.m}, "", 0),
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
	}
	failed := make(chan error, 1)
	background.Go(func() { failed <- web.Serve(l) })
	s.m.Log().Info("listening", "address", l.Addr().String())

	err := s.drain.Ready()
	if err == nil {
		select {
		case <-s.ctx.Done():
			err = s.ctx.Err()
		case err = <-failed:
			err = cmp.Or(s.ctx.Err(), fmt.Errorf("live: serve: %w", err))
		case <-s.drain.Stopping():
			s.finish()
		}
	}
	_ = web.Close() // its error is that of a listener that is closed already
	s.leave()
	for _, t := range s.sorted() {
		t.cut()
	}
	s.running.Wait()
	return err
}

// finish refuses what is new and lets everybody resume elsewhere.
func (s *server) finish() {
	s.leave()
	n := s.shutTunnels(func(*tunnel) bool { return true }, 1012, "restart, resume")
	s.m.Log().Info("finishing", "tunnels", n)
	done := make(chan struct{})
	go func() { s.running.Wait(); close(done) }()
	ctx, cancel := nodes.Timeout(s.ctx, s.m, "live/drain", 4*stopTime)
	defer cancel()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// watchTable lets go of the keys that a new table gives to others.
func (s *server) watchTable(ctx context.Context) {
	for {
		changed := s.table.Changed()
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
		t := s.table.Current()
		gone := func(key string) bool {
			owner, ok := t.Owner(key)
			return ok && owner.Name != s.o.name
		}
		n := s.supersede(func(t *tunnel) bool { return gone(t.key) }, gone)
		s.m.Log().Info("table changed", "epoch", t.Epoch, "nodes", len(t.Nodes), "tunnels", n)
	}
}

// supersede closes tunnels that others serve now, and forgets their channels.
func (s *server) supersede(gone func(*tunnel) bool, goneKey func(string) bool) int {
	n := s.shutTunnels(gone, CloseMoved, "moved, resume")
	s.hub.forget(goneKey)
	return n
}

func (s *server) shutTunnels(which func(*tunnel) bool, code int, reason string) int {
	n := 0
	for _, t := range s.sorted() {
		if which(t) && t.shut(code, reason) {
			n++
		}
	}
	return n
}

func (s *server) sorted() []*tunnel {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*tunnel, 0, len(s.tunnels))
	for _, t := range s.tunnels {
		all = append(all, t)
	}
	slices.SortFunc(all, func(a, b *tunnel) int { return cmp.Compare(a.id, b.id) })
	return all
}

// enter counts a request as running, unless the server is leaving.
func (s *server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.running.Add(1)
	return true
}

// leave lets nothing more in, so that running can be waited for.
func (s *server) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
}

// ServeHTTP answers health checks, opens tunnels and takes what is published.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/health" {
		s.drain.ServeHTTP(w, r)
		return
	}
	// The escaped path, so that this node and the proxies read one key in it.
	rest, ok := strings.CutPrefix(r.URL.EscapedPath(), "/live/")
	if !ok {
		http.NotFound(w, r)
		return
	}
	name, channel, isPublish := strings.Cut(rest, "/")
	if !ValidName(name) || isPublish && !ValidName(channel) {
		http.Error(w, "invalid key or channel", http.StatusBadRequest)
		return
	}
	host := hostName(r.Host)
	key := host + "/" + name
	switch {
	case s.refuse(w, host, key):
	case isPublish:
		s.publish(w, r, key, channel)
	default:
		s.openTunnel(w, r, host, key)
	}
}

// refuse answers for a key that is not served, and gives false if it is.
func (s *server) refuse(w http.ResponseWriter, host, key string) bool {
	switch status := s.refusal(host, key); status {
	case 0:
		return false
	case http.StatusServiceUnavailable:
		unavailable(w, "not available now")
	default:
		http.Error(w, "not served here", status)
	}
	return true
}

func unavailable(w http.ResponseWriter, text string) {
	w.Header().Set("Retry-After", "1")
	http.Error(w, text, http.StatusServiceUnavailable)
}

// refusal gives the status to answer for a key that is not served, else 0.
func (s *server) refusal(host, key string) int {
	if s.drain.Draining() {
		return http.StatusServiceUnavailable
	}
	if !s.homes.serves(host) {
		return http.StatusMisdirectedRequest
	}
	switch owner, ok := s.table.Current().Owner(key); {
	case !ok:
		return http.StatusServiceUnavailable
	case owner.Name != s.o.name:
		return http.StatusMisdirectedRequest
	}
	return 0
}

func (s *server) publish(w http.ResponseWriter, r *http.Request, key, channel string) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "publish with POST", http.StatusMethodNotAllowed)
		return
	}
	if !s.enter() {
		unavailable(w, "draining")
		return
	}
	defer s.running.Done()
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxFrame))
	if err != nil {
		var tooBig *http.MaxBytesError
		if errors.As(err, &tooBig) {
			http.Error(w, fmt.Sprintf("more than %d bytes", maxFrame), http.StatusRequestEntityTooLarge)
			return
		}
		http.Error(w, "cannot read the body", http.StatusBadRequest)
		return
	}
	if !utf8.Valid(data) {
		http.Error(w, "body is not UTF-8", http.StatusBadRequest)
		return
	}
	// The body took its time: the home may have moved meanwhile.
	if s.refuse(w, hostName(r.Host), key) {
		return
	}
	position, err := s.hub.publish(key, channel, string(data))
	if err != nil {
		unavailable(w, "too many channels")
		return
	}
	body := encode(struct {
		Position Position `json:"position"`
	}{position})
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body) // the client is gone; it counts this as unknown
}

// rawConn is the context key of a request's connection.
type rawConn struct{}

// firstLine logs what net/http has to say, which beyond the first line is
// stacks.
type firstLine struct{ m nodes.Machine }

func (f firstLine) Write(b []byte) (int, error) {
	line, _, _ := strings.Cut(string(b), "\n")
	f.m.Log().Warn("http server", "text", line)
	return len(b), nil
}
