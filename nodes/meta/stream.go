package meta

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/espra/protoplex/nodes"
	"github.com/espra/protoplex/nodes/meta/ca"
)

// Protocol is what a connection is upgraded to that becomes a stream.
const Protocol = "protoplex-meta/1"

const (
	beatEvery  = 10 * time.Second
	silentTime = 35 * time.Second // three beats lost: the peer is gone
	stallTime  = 30 * time.Second // for one frame to be taken by the network
	lingerTime = 2 * time.Second  // for the peer to take the goodbye
)

// Why a stream ends, apart from what the network says and a ClosedError.
var (
	ErrSilent       = errors.New("meta: the peer is silent")
	ErrStalled      = errors.New("meta: the peer takes nothing any more")
	ErrStreamClosed = errors.New("meta: the stream was closed here")
)

// ClosedError is a goodbye of the peer.
type ClosedError struct{ Reason string }

func (e *ClosedError) Error() string { return "meta: closed by the peer: " + e.Reason }

// Stream carries frames both ways, in order, until either end closes it. It
// beats by itself; a peer from which no whole frame comes for 35 s is given up,
// and so is one that does not take a frame within 30 s. There is no queue but
// the network's: Send waits while the peer does not Receive, so a slow peer
// costs nothing but the sender's goroutine. Methods may be called concurrently.
type Stream struct {
	m    nodes.Machine
	conn *tls.Conn
	r    *bufio.Reader
	peer ca.Name
	name string // for timers

	ctx    context.Context // ends with the stream; its cause says why
	cancel context.CancelCauseFunc
	beats  sync.WaitGroup

	writing chan struct{} // held by whoever writes, in the end by Close
	reading chan struct{} // held by whoever reads
	broken  error         // what was wrong with a frame; guarded by reading
	closing atomic.Bool
	closed  func(reason string)
}

func newStream(ctx context.Context, m nodes.Machine, conn *tls.Conn, r *bufio.Reader, peer ca.Name) *Stream {
	s := &Stream{
		m: m, conn: conn, r: r, peer: peer,
		name:    "meta/stream/" + conn.LocalAddr().String() + "/" + conn.RemoteAddr().String(),
		writing: make(chan struct{}, 1),
		reading: make(chan struct{}, 1),
	}
	s.ctx, s.cancel = context.WithCancelCause(ctx)
	// Below TLS, whose own Close would wait to say goodbye.
	context.AfterFunc(s.ctx, func() { _ = conn.NetConn().Close() })
	s.beats.Go(func() { nodes.Every(s.ctx, m, s.name+"/beat", beatEvery, s.beat) })
	var begun atomic.Bool
	said := make(chan struct{}) // a mutex would stop a virtual clock that others wait by
	s.closed = func(reason string) {
		if begun.CompareAndSwap(false, true) {
			s.sayGoodbye(reason)
			close(said)
		}
		<-said
	}
	return s
}

// Peer is the node at the other end.
func (s *Stream) Peer() ca.Name { return s.peer }

// Done is closed when the stream has ended.
func (s *Stream) Done() <-chan struct{} { return s.ctx.Done() }

// Err says why the stream has ended, nil before.
func (s *Stream) Err() error { return context.Cause(s.ctx) }

// Send hands a frame to the network, and waits for room there. An error is that
// of the frame, which changes nothing, or the end of the stream: then the peer
// may have got the frame or not.
func (s *Stream) Send(f Frame) error {
	if f.Type == typeBeat || f.Type == typeClose {
		return fmt.Errorf("%w: type %s is the stream's own", ErrFrame, f.Type)
	}
	return s.send(f)
}

func (s *Stream) send(f Frame) error {
	line, err := AppendFrame(nil, f)
	if err != nil {
		return err
	}
	select {
	case s.writing <- struct{}{}:
		defer func() { <-s.writing }()
	case <-s.ctx.Done():
		return s.Err()
	}
	return s.write(line, stallTime)
}

// write writes within a time. The caller holds writing.
func (s *Stream) write(line []byte, within time.Duration) error {
	err := s.conn.SetWriteDeadline(nodes.Deadline(s.m, s.name+"/write", within))
	if err == nil {
		_, err = s.conn.Write(line)
	}
	if isTimeout(err) {
		err = ErrStalled
	}
	if err != nil {
		s.cancel(err)
		return s.Err()
	}
	return nil
}

func (s *Stream) beat(context.Context) {
	select {
	case s.writing <- struct{}{}:
		<-s.writing
		_ = s.send(Frame{Type: typeBeat}) // an error has ended the stream
	default:
		// Somebody is writing: that will tell whether the peer is there.
	}
}

// Receive gives the peer's next frame. Whoever has a stream keeps calling it, for
// it is also how a peer that is gone gets noticed. After an error that is of the
// frame, ErrFrame or ErrFrameTooLarge, nothing more can be received; Close can
// still tell the peer.
func (s *Stream) Receive() (Frame, error) {
	select {
	case s.reading <- struct{}{}:
	case <-s.ctx.Done():
		return Frame{}, s.Err()
	}
	defer func() { <-s.reading }()
	return s.receive()
}

// receive is Receive for whoever holds reading. All that it meets ends the stream
// alike, whoever that is.
func (s *Stream) receive() (Frame, error) {
	for s.broken == nil {
		within := silentTime
		if s.closing.Load() {
			within = lingerTime
		}
		// For the whole frame, so that one in endless pieces counts as silence.
		err := s.conn.SetReadDeadline(nodes.Deadline(s.m, s.name+"/read", within))
		if err != nil {
			s.cancel(err)
			return Frame{}, s.Err()
		}
		f, err := readFrame(s.r)
		switch {
		case errors.Is(err, ErrFrame), errors.Is(err, ErrFrameTooLarge):
			s.broken = err
			return Frame{}, err
		case s.closing.Load() && (isTimeout(err) || errors.Is(err, io.EOF)):
			s.cancel(ErrStreamClosed)
			return Frame{}, s.Err()
		case isTimeout(err):
			s.cancel(ErrSilent)
			return Frame{}, s.Err()
		case errors.Is(err, io.EOF):
			s.cancel(io.ErrUnexpectedEOF) // it left without a goodbye
			return Frame{}, s.Err()
		case err != nil:
			s.cancel(err)
			return Frame{}, s.Err()
		case f.Type == typeBeat, s.closing.Load() && f.Type != typeClose:
		case f.Type == typeClose:
			var reason string
			_ = f.Decode(&reason) // a goodbye without a reason is one, too
			s.cancel(&ClosedError{Reason: clip(reason)})
			return Frame{}, s.Err()
		default:
			return f, nil
		}
	}
	return Frame{}, s.broken
}

// Close tells the peer a reason and ends the stream; it waits up to two seconds
// for the peer to hear it. Calls after the first change nothing.
func (s *Stream) Close(reason string) {
	s.closed(reason)
	s.beats.Wait()
}

func (s *Stream) sayGoodbye(reason string) {
	if s.ctx.Err() != nil {
		return // there is nobody to tell, and no telling what a select would choose
	}
	defer s.cancel(ErrStreamClosed)
	ctx, cancel := nodes.Timeout(s.ctx, s.m, s.name+"/close", lingerTime)
	defer cancel()
	// A peer that goes on talking gets no more time than a silent one.
	enough := context.AfterFunc(ctx, func() { s.cancel(ErrStreamClosed) })
	defer enough()
	f, err := NewFrame(typeClose, 0, 0, clip(reason))
	if err != nil {
		return // a string is always JSON
	}
	line, err := AppendFrame(nil, f)
	if err != nil {
		return // and short
	}
	select {
	case s.writing <- struct{}{}: // for good: nothing follows a goodbye
	case <-ctx.Done():
		return
	}
	if s.write(line, lingerTime) != nil {
		return
	}
	// Closing with something unread would reset the connection, and take the
	// goodbye back. The peer closes its end when it has read it.
	s.closing.Store(true)
	if s.conn.SetReadDeadline(nodes.Deadline(s.m, s.name+"/linger", lingerTime)) != nil {
		return
	}
	select {
	case s.reading <- struct{}{}:
		// Until the peer closes, or says goodbye itself, or the deadline.
		for _, err := s.receive(); err == nil; _, err = s.receive() {
		}
	case <-ctx.Done():
	}
}

func clip(reason string) string {
	const longest = 200
	if len(reason) <= longest {
		return strings.ToValidUTF8(reason, "?")
	}
	for cut := longest; ; cut-- {
		if utf8.RuneStart(reason[cut]) {
			return strings.ToValidUTF8(reason[:cut], "?")
		}
	}
}

func isTimeout(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout()
}

// upgrades reports whether a request may become a stream, and answers it if not.
func upgrades(w http.ResponseWriter, req *http.Request) bool {
	if strings.EqualFold(req.Header.Get("Upgrade"), Protocol) && strings.EqualFold(req.Header.Get("Connection"), "Upgrade") && req.ContentLength == 0 {
		return true
	}
	w.Header().Set("Upgrade", Protocol)
	w.Header().Set("Connection", "Upgrade")
	refuse(w, http.StatusUpgradeRequired, refusal{Error: "this is a stream of " + Protocol})
	return false
}

// stream upgrades a request to a stream and serves it to its end.
func (s *server) stream(ctx context.Context, w *countedWriter, r Route, peer ca.Name) {
	hijacked, both, err := http.NewResponseController(w).Hijack()
	if err != nil {
		refuse(w, http.StatusInternalServerError, refusal{Error: "the connection cannot be upgraded"})
		return
	}
	conn, ok := hijacked.(*tls.Conn)
	if !ok {
		_ = hijacked.Close() // there is no other kind on this port
		return
	}
	w.status = http.StatusSwitchingProtocols
	st := newStream(ctx, s.m, conn, both.Reader, peer)
	s.metrics.stream(r.Pattern, 1)
	defer s.metrics.stream(r.Pattern, -1)
	log := s.m.Log().With("route", r.Pattern, "peer", peer.Short())
	reason := "done"
	switching := "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + Protocol + "\r\n\r\n"
	st.writing <- struct{}{}
	err = st.write([]byte(switching), stallTime)
	<-st.writing
	if err == nil {
		log.Info("stream opened")
		err = r.Stream(st.ctx, st)
	}
	if err != nil {
		reason = err.Error()
	}
	st.Close(reason)
	log.Info("stream ended", "reason", clip(reason))
}
