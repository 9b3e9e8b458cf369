package live

import (
	"bufio"
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/espra/protoplex/nodes"
)

const (
	pingEvery = 25 * time.Second
	deadAfter = 60 * time.Second // without any frame or pong
	frameTime = 10 * time.Second // to send all of a frame, in however many pieces
)

// tunnel is one WebSocket. One goroutine reads it and acts, one writes what is
// queued, one pings. Any of them, and the server, may decide that it ends; the
// first to do so says why.
type tunnel struct {
	visit
	s     *server
	conn  *websocket.Conn
	queue *queue
	subs  map[string]*subscription // by channel; the reader's alone

	heard   atomic.Int64 // the machine's Elapsed at the last sign of life
	began   atomic.Int64 // at the start of the frame that is being read, else 0
	ending  atomic.Pointer[ending]
	pinging context.Context // ends with the ending
	hush    context.CancelFunc
	written chan struct{} // closed when the writer has left
	closed  chan struct{} // closed when a shut has run its course
}

// connectionLost is read-only.
var connectionLost = ending{code: int(websocket.StatusAbnormalClosure), text: "connection lost"}

func (s *server) openTunnel(w http.ResponseWriter, r *http.Request, v visit) {
	if !offers(r.Header.Values("Sec-WebSocket-Protocol")) {
		http.Error(w, "WebSocket subprotocol "+Subprotocol+" required", http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	full := s.full(v.client)
	s.mu.Unlock()
	if full != nil {
		turnAway(w, *full)
		return
	}
	t := &tunnel{
		visit:   v,
		s:       s,
		subs:    make(map[string]*subscription),
		written: make(chan struct{}),
		closed:  make(chan struct{}),
	}
	conn, err := websocket.Accept(lean{w}, r, &websocket.AcceptOptions{
		Subprotocols:       []string{Subprotocol},
		InsecureSkipVerify: true, // of any origin, see ServeHTTP
		OnPingReceived:     func(context.Context, []byte) bool { t.hear(); return true },
		OnPongReceived:     func(context.Context, []byte) { t.hear() },
	})
	if err != nil {
		return // Accept has answered
	}
	conn.SetReadLimit(maxFrame)
	t.conn = conn
	if refused := s.admit(t, t.prepare); refused != nil { // another was faster
		goodbye(s.m, t.raw, r.RemoteAddr, conn, *refused)
		return
	}
	// On a goroutine of its own, so that net/http lets go of the request.
	go func() {
		defer s.dismiss(t)
		// The home may have moved since the request was looked at; from here on
		// whoever moves it sees this tunnel.
		if s.refusal(v.host, v.key) != 0 {
			t.shut(CloseMoved, "moved, resume")
		}
		t.run()
	}()
}

// lean hands a connection over with smaller buffers than those of net/http:
// most tunnels are idle most of the time.
type lean struct{ http.ResponseWriter }

const (
	readBuffer  = 512
	writeBuffer = 2 << 10 // a usual message in one write
)

func (l lean) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, b, err := http.NewResponseController(l.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	if b.Reader.Buffered() > 0 { // an eager client
		return conn, b, nil
	}
	r, to := bufio.NewReaderSize(conn, readBuffer), bufio.NewWriterSize(conn, writeBuffer)
	return conn, bufio.NewReadWriter(r, to), nil
}

func offers(values []string) bool {
	for _, v := range values {
		if slices.ContainsFunc(strings.Split(v, ","), func(p string) bool { return strings.TrimSpace(p) == Subprotocol }) {
			return true
		}
	}
	return false
}

// prepare readies what may end a tunnel as soon as it is admitted.
func (t *tunnel) prepare() {
	t.queue = newQueue(t.s.o.queue, func() { t.end(CloseResume, "too slow, resume") })
	t.pinging, t.hush = context.WithCancel(t.s.ctx)
	t.hear()
}

func (t *tunnel) hear() { t.heard.Store(int64(t.s.m.Elapsed())) }

func (t *tunnel) silence() time.Duration {
	return t.s.m.Elapsed() - time.Duration(t.heard.Load())
}

// run serves the tunnel to its end.
func (t *tunnel) run() {
	log := t.s.m.Log().With("tunnel", t.id, "host", t.host, "key", t.key)
	log.Debug("tunnel opened")
	pinged := make(chan struct{})
	go func() {
		defer close(t.written)
		t.write()
	}()
	go func() {
		defer close(pinged)
		nodes.Every(t.pinging, t.s.m, "live/ping/"+t.name, pingEvery, t.ping)
	}()

	heard := t.read()
	if t.ending.CompareAndSwap(nil, &heard) {
		t.hush()
		t.queue.stop(true)
		_ = t.conn.CloseNow() // the peer closed it, or it is broken
	} else {
		<-t.closed
	}
	// In order, for it decides which idle channel goes first.
	for _, name := range slices.Sorted(maps.Keys(t.subs)) {
		t.s.hub.unsubscribe(t.subs[name])
	}
	t.s.takeChannels(t.client, -len(t.subs))
	<-t.written
	<-pinged
	end := t.ending.Load()
	log.Debug("tunnel closed", "code", end.code, "reason", end.text)
}

// end decides that the tunnel ends, with the frames that are queued written
// first if the queue still has them. It never blocks, and gives false if that
// was decided already.
func (t *tunnel) end(code int, text string) bool {
	if !t.ending.CompareAndSwap(nil, &ending{code: code, text: text}) {
		return false
	}
	t.hush()
	t.s.running.Add(1) // while run counts, for that has yet to see the ending
	go func() {
		defer t.s.running.Done()
		defer close(t.closed)
		// Many tunnels may end at one instant; each closes at its own.
		_ = nodes.Sleep(t.s.ctx, t.s.m, "live/close", time.Duration(t.id%(1<<16))*11)
		flush, cancel := nodes.Timeout(t.s.ctx, t.s.m, "live/flush/"+t.name, stopTime)
		defer cancel()
		select {
		case <-t.written:
		case <-flush.Done():
		}
		goodbye(t.s.m, t.raw, t.name, t.conn, ending{code: code, text: text})
	}()
	return true
}

// goodbye closes a tunnel, in bounded time: the library gives itself 5 s to write
// and 5 s to hear the peer's, but not while it passes over what the peer sends before
// that.
func goodbye(m nodes.Machine, raw net.Conn, name string, conn *websocket.Conn, e ending) {
	_ = raw.SetReadDeadline(nodes.Deadline(m, "live/goodbye/"+name, 2*stopTime))
	_ = conn.Close(websocket.StatusCode(e.code), e.text)
}

// shut ends the tunnel once what is queued has been written.
func (t *tunnel) shut(code int, text string) bool {
	ended := t.end(code, text)
	t.queue.stop(false)
	return ended
}

// ask says when to come back before it closes.
func (t *tunnel) ask(e ending) bool {
	t.queue.push(encode(serverFrame{Op: "error", Code: "resume", Text: e.text, RetryAfter: e.retry.Milliseconds()}))
	return t.shut(e.code, e.text)
}

func (t *tunnel) write() {
	for {
		frame, ok := t.queue.next()
		if !ok {
			return
		}
		// No deadline: a reader that takes nothing fills its queue or falls
		// silent, and either ends the tunnel and this call.
		if err := t.conn.Write(context.Background(), websocket.MessageText, frame); err != nil {
			t.queue.stop(true) // the reader learns the same and says why
			return
		}
	}
}

func (t *tunnel) ping(ctx context.Context) {
	if began := t.began.Load(); began > 0 && t.s.m.Elapsed()-time.Duration(began) >= frameTime {
		t.fail(CloseBadRequest, "bad-request", "frame is not complete")
		return
	}
	if left := deadAfter - t.silence(); left > 0 {
		// At least a second, lest this spins while the machine's clock stands.
		pong, cancel := nodes.Timeout(ctx, t.s.m, "live/pong/"+t.name, max(left, time.Second))
		_ = t.conn.Ping(pong) // only a sign of life counts, and hear notes it
		cancel()
	}
	if ctx.Err() == nil && t.silence() >= deadAfter {
		t.shut(CloseResume, "silent, resume")
	}
}

// read acts on what the peer sends until the tunnel ends, and gives the reason
// if the peer is the one who ended it.
func (t *tunnel) read() ending {
	for {
		if !t.queue.waitRoom() {
			return connectionLost // unless it is ending already
		}
		kind, data, err := t.readFrame()
		if err != nil {
			return t.lost(err)
		}
		t.hear()
		if t.ending.Load() != nil {
			return ending{}
		}
		if kind != websocket.MessageText {
			t.fail(CloseBadRequest, "bad-request", "frame is not text")
			return ending{}
		}
		frame, err := parseFrame(data)
		if err != nil {
			t.fail(CloseBadRequest, "bad-request", err.Error())
			return ending{}
		}
		if !t.act(frame) {
			return ending{}
		}
	}
}

// readFrame reads one frame. A peer that begins one and never ends it is found
// by ping.
func (t *tunnel) readFrame() (websocket.MessageType, []byte, error) {
	kind, r, err := t.conn.Reader(context.Background())
	if err != nil {
		return kind, nil, err
	}
	t.began.Store(max(1, int64(t.s.m.Elapsed())))
	data, err := io.ReadAll(r)
	t.began.Store(0)
	return kind, data, err
}

// lost says why a read failed.
func (t *tunnel) lost(err error) ending {
	if errors.Is(err, websocket.ErrMessageTooBig) {
		t.shut(CloseTooBig, "frame too big")
		return ending{}
	}
	if code := websocket.CloseStatus(err); code != -1 {
		return ending{code: int(code), text: "closed by the peer"}
	}
	return connectionLost
}

// fail tells the peer what is wrong, in a frame and in the close.
func (t *tunnel) fail(code int, kind, text string) {
	t.queue.push(encode(serverFrame{Op: "error", Code: kind, Text: text}))
	t.shut(code, text)
}

// act does what a frame asks for, and gives false when that ended the tunnel.
func (t *tunnel) act(f clientFrame) bool {
	switch f.Op {
	case "subscribe":
		return t.subscribe(f)
	case "unsubscribe":
		if sub := t.subs[f.Channel]; sub != nil {
			t.s.hub.unsubscribe(sub)
			delete(t.subs, f.Channel)
			t.s.takeChannels(t.client, -1)
		}
	case "publish":
		position, err := t.s.hub.publish(t.client, t.key, f.Channel, f.Data)
		if errors.Is(err, errTooMany) || errors.Is(err, errNotOurs) {
			return t.refuse(err)
		}
		if err != nil {
			t.queue.push(encode(serverFrame{Op: "error", Channel: f.Channel, ID: f.ID, Code: "no-room", Text: "too many channels"}))
			return true
		}
		t.queue.push(encode(serverFrame{Op: "published", Channel: f.Channel, ID: f.ID, Position: &position}))
	}
	return true
}

func (t *tunnel) subscribe(f clientFrame) bool {
	if t.subs[f.Channel] != nil {
		t.fail(ClosePolicy, "subscribed-already", "subscribed already")
		return false
	}
	if len(t.subs) >= maxTunnelChannels {
		t.fail(ClosePolicy, "too-many-channels", "too many channels in one tunnel")
		return false
	}
	if !t.s.takeChannels(t.client, 1) {
		t.fail(ClosePolicy, "too-many-channels", "too many channels of one client")
		return false
	}
	sub, err := t.s.hub.subscribe(t.client, t.key, f.Channel, f.Position, t.queue)
	if err != nil {
		t.s.takeChannels(t.client, -1)
		return t.refuse(err)
	}
	t.s.tellGap(sub.recovered, t.key, f.Channel, f.Position, sub.at)
	t.subs[f.Channel] = sub
	return true
}

// refuse ends the tunnel of a client that gets no channel, and gives false.
func (t *tunnel) refuse(err error) bool {
	switch e := noChannel(err); e.code {
	case CloseMoved:
		t.ask(e)
	case ClosePolicy:
		t.fail(e.code, "too-many-channels", e.text)
	default:
		t.fail(e.code, "no-room", e.text)
	}
	return false
}
