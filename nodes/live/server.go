package live

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/espra/protoplex/nodes"
	"github.com/espra/protoplex/nodes/cell"
	"github.com/espra/protoplex/nodes/meta"
	"github.com/espra/protoplex/nodes/meta/ca"
	"github.com/espra/protoplex/nodes/placement"
)

// stopTime is how long a tunnel or a request may take to finish when it is
// asked to.
const stopTime = 5 * time.Second

// answerTime is how long the answer to an ordinary request may take.
const answerTime = 15 * time.Second

type server struct {
	ctx        context.Context
	m          nodes.Machine
	o          options
	table      *placement.Watched
	link       *cell.Link // to the Seed, or nil
	fence      *meta.Fence
	port       *ca.Identity      // of the meta port
	credential *nodes.Credential // keeps it new
	homes      *homes
	hub        *hub

	drain   *nodes.Drain
	spread  string         // name of the random numbers that spread who comes back
	running sync.WaitGroup // guests, and those who close their tunnels

	memberSubs atomic.Int64

	mu      sync.Mutex
	opened  uint64 // guests and members ever; their ids
	guests  map[uint64]guest
	members map[uint64]*member
	crowd   crowd
	closed  bool // no more of either
	left    bool // the Seed knows that this node goes
}

func newServer(ctx context.Context, m nodes.Machine, o options, l net.Listener) (*server, error) {
	s := &server{
		ctx:     ctx,
		m:       m,
		o:       o,
		table:   placement.Watch(o.table, m.Elapsed, nil),
		homes:   newHomes(o.region, o.homes),
		guests:  make(map[uint64]guest),
		crowd:   crowd{o.crowd.guests, o.crowd.channels, make(map[string]*share)},
		members: make(map[uint64]*member),
	}
	if o.cell.Joined() {
		if err := s.join(l); err != nil {
			return nil, err
		}
	}
	// Ids must differ from those of an earlier process of this machine also
	// where random numbers are a function of their name: the start is in it.
	started := m.Now().UnixNano()
	s.spread = fmt.Sprintf("live/retry/%d", started)
	draw := fmt.Sprintf("live/incarnation/%d", started)
	var drawn uint64 // guarded by the hub's lock
	s.hub = newHub(o.limits, s.serves, func() string {
		drawn++
		return fmt.Sprintf("%s-%d-%016x", o.region, s.epoch(), m.Rand(draw, drawn))
	}, m.Elapsed)
	return s, nil
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
		ReadTimeout:       answerTime,
		WriteTimeout:      answerTime,
		IdleTimeout:       90 * time.Second, // longer than proxies keep a connection
		MaxHeaderBytes:    32 << 10,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, rawConn{}, c)
		},
		ErrorLog:     log.New(firstLine{s.m}, "", 0),
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
	}
	failed := make(chan error, 2)
	background.Go(func() { failed <- web.Serve(l) })
	if s.link != nil {
		background.Go(func() { _ = s.link.Run(ctx) }) // it ends with ctx, or when we leave
		background.Go(func() { failed <- s.servePort(ctx) })
		background.Go(func() { s.credential.Keep(ctx) })
	}
	s.m.Log().Info("listening", "address", l.Addr().String())

	err := s.drain.Ready()
	if err == nil {
		select {
		case <-s.ctx.Done():
			err = s.ctx.Err()
		case err = <-failed:
			err = cmp.Or(s.ctx.Err(), fmt.Errorf("live: serve: %w", err))
		case <-s.drain.Stopping():
			s.leaveCell()
			s.finish()
			s.handOver()
		}
	}
	_ = web.Close() // its error is that of a listener that is closed already
	s.leave()
	for _, g := range s.sorted() {
		g.who().cut()
	}
	s.running.Wait()
	return err
}

// handOverTime is much longer than a table takes to reach every proxy.
const handOverTime = 2 * time.Second

// finish refuses what is new and lets everybody resume elsewhere.
func (s *server) finish() {
	s.leave()
	n := s.askAll(func(*visit) bool { return true }, CloseRestart, "restart, resume")
	for _, mb := range s.sortedMembers() {
		mb.end(errMemberRestart)
	}
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

// handOver goes on refusing for a while: a proxy that has not heard of the new
// table yet learns from the refusal that there is one, and asks its owner.
func (s *server) handOver() {
	if s.link != nil {
		_ = nodes.Sleep(s.ctx, s.m, "live/hand-over", handOverTime) // the context's end is an end too
	}
}

// watchTable lets go of the keys that a new table gives to others. Each table is
// looked at: a key that was away is lost, also if the next one gives it back, for
// others have gone on meanwhile.
func (s *server) watchTable(ctx context.Context) {
	seen := s.table.Current().Position()
	for {
		changed := s.table.Changed() // first, lest one that comes from here on is missed
		tables, all := s.table.Since(seen)
		if len(tables) == 0 {
			select {
			case <-ctx.Done():
				return
			case <-changed:
			}
			// Several changes may come in one instant. A moment later all are
			// there, and are acted on as one.
			if nodes.Sleep(ctx, s.m, "live/table", 0) != nil {
				return
			}
			continue
		}
		t := tables[len(tables)-1]
		seen = t.Position()
		gone := func(key string) bool {
			return !all || slices.ContainsFunc(tables, func(t placement.Table) bool { return s.placed(t, key) == http.StatusMisdirectedRequest })
		}
		n := s.supersede(func(v *visit) bool { return gone(v.key) }, gone)
		s.m.Log().Info("table changed", "epoch", t.Epoch, "revision", t.Revision, "nodes", len(t.Nodes), "tunnels", n)
	}
}

// supersede asks guests to leave whom others serve now, and forgets their
// channels.
func (s *server) supersede(gone func(*visit) bool, goneKey func(string) bool) int {
	n := s.askAll(gone, CloseMoved, "moved, resume")
	for _, mb := range s.sortedMembers() {
		mb.lose(goneKey)
	}
	s.hub.forget(goneKey)
	return n
}

func (s *server) sorted() []guest {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := slices.Collect(maps.Values(s.guests))
	slices.SortFunc(all, func(a, b guest) int { return cmp.Compare(a.who().id, b.who().id) })
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

// ServeHTTP answers health checks, and for the keys that this node serves
//
//	GET  /live/KEY             opens a tunnel: a WebSocket of Subprotocol
//	POST /live/KEY/CHANNEL     publishes the body, and answers its position
//	GET  /live/KEY/CHANNEL     follows one channel
//
// To follow takes ?position=INCARNATION:OFFSET, or Last-Event-ID with the same.
// With Accept: text/event-stream, or ?as=sse, the answer is a stream of events,
// "subscribed", "message" and "close", whose data are the frames of tunnels and
// whose ids are positions. Otherwise it is {"recovered","position","messages"}:
// at once if there is anything to tell, else when something is said, or after
// ?wait=DURATION, which more than 50s counts as. A browser's EventSource gives
// up at any status but 200, so that its page has to open another after 421 and
// 503. A client with too many tunnels, streams and polls, or too many new channels,
// is answered 429. The host CellHost is answered 403: its channels are on the meta
// port.
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
	name, channel, hasChannel := strings.Cut(rest, "/")
	if !ValidName(name) || hasChannel && !ValidName(channel) {
		http.Error(w, "invalid key or channel", http.StatusBadRequest)
		return
	}
	// A page of another site gains nothing here: nothing that a browser adds by
	// itself, such as a cookie, gives any right.
	w.Header().Set("Access-Control-Allow-Origin", "*")
	v := visit{host: hostName(r.Host), client: clientOf(r, s.o.proxies)}
	v.key = v.host + "/" + name
	v.raw, _ = r.Context().Value(rawConn{}).(net.Conn)
	switch {
	case v.host == CellHost:
		http.Error(w, "channels of the cell are not at this port", http.StatusForbidden)
	case s.refuse(w, v.host, v.key):
	case !hasChannel:
		s.openTunnel(w, r, v)
	case r.Method == http.MethodPost:
		s.publish(w, r, v, channel)
	case r.Method == http.MethodGet:
		s.follow(w, r, v, channel)
	default:
		w.Header().Set("Allow", "GET, POST")
		http.Error(w, "publish with POST, follow with GET", http.StatusMethodNotAllowed)
	}
}

func (s *server) follow(w http.ResponseWriter, r *http.Request, v visit, channel string) {
	q, err := parseQuestion(r.URL.RawQuery, r.Header)
	switch {
	case err != nil:
		http.Error(w, err.Error(), http.StatusBadRequest)
	case q.events:
		s.openStream(w, r, v, channel, q.position)
	default:
		s.openPoll(w, r, v, channel, q)
	}
}

// flush sends an answer while its request still counts as running: once none
// does, connections are closed.
func flush(w http.ResponseWriter) { _ = http.NewResponseController(w).Flush() }

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
	leaving := s.leaving()
	if leaving && s.link == nil {
		return http.StatusServiceUnavailable
	}
	if host != CellHost && !s.homes.serves(host) {
		return http.StatusMisdirectedRequest
	}
	status := s.placed(s.table.Current(), key)
	if status == 0 && leaving {
		return s.farewell()
	}
	return status
}

func (s *server) publish(w http.ResponseWriter, r *http.Request, v visit, channel string) {
	if !s.enter() {
		if status := s.farewell(); status != http.StatusServiceUnavailable {
			http.Error(w, "another node serves this", status)
			return
		}
		unavailable(w, "draining")
		return
	}
	defer s.running.Done()
	defer flush(w)
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
	if s.refuse(w, v.host, v.key) {
		return
	}
	s.accept(w, v.client, v.key, channel, string(data))
}

// accept publishes, and answers the position.
func (s *server) accept(w http.ResponseWriter, client, key, channel, data string) {
	position, err := s.hub.publish(client, key, channel, data)
	if err != nil {
		turnAway(w, noChannel(err))
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
