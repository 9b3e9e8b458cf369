package proxy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"github.com/espra/protoplex/nodes/placement"
)

// exchange is one request on its way through a node and back.
type exchange struct {
	c    *conn
	r    *request
	id   string
	keep bool
	wait time.Duration // for which the answer may be held back, as the client asks

	start []byte    // of the body: what fits one buffer
	whole bool      // start is all of it, so that it can be sent again
	taken bool      // the client has been heard to the end of it
	rest  io.Reader // what is left
	fault error     // the client's, in sending it
}

// forward passes a request to the owner of its key, and the response back.
func (c *conn) forward(r *request, d destination, keep bool) bool {
	n := c.s.requests.Add(1)
	x := &exchange{c: c, r: r, keep: keep, wait: d.wait, id: fmt.Sprintf("%016x", c.s.m.Rand(c.s.draw+"request", n))}
	if _, n := r.header.get("Expect"); n > 0 && r.body != noBody {
		if c.write([]byte("HTTP/1.1 100 Continue\r\n\r\n")) != nil {
			return false
		}
	}
	buffer := c.s.buffers.Get().(*[]byte)
	defer c.s.buffers.Put(buffer)
	if err := x.begin(*buffer); err != nil {
		c.answer(nil, failure(err, true), false)
		c.linger()
		return false
	}
	l, keep := x.try(d.key)
	if l == nil {
		return keep
	}
	keep = keep && x.taken
	ok := c.answer(r, l, keep)
	if !keep {
		c.linger()
	}
	return ok && keep
}

// begin reads the body as far as it fits. A node sees nothing of a request
// whose sender is slow, unless it is a large one.
func (x *exchange) begin(buffer []byte) error {
	if x.r.body == noBody {
		x.whole, x.taken = true, true
		return nil
	}
	body := bodyReader(x.c.br, x.r.body, x.r.length)
	n := 0
	err := x.c.s.within("proxy/body/"+x.c.name, x.c.s.o.idle, x.c.expireRead, func() (err error) {
		n, err = fullReader{body}.Read(buffer)
		return err
	})
	x.start, x.rest = buffer[:n], body
	x.whole = errors.Is(err, io.EOF)
	x.taken = x.whole
	if x.whole {
		err = nil
	}
	return err
}

// try finds the owner and asks it, twice where that is safe, and then over a
// new connection. It gives an answer to make, or nil when the response has gone
// out.
func (x *exchange) try(key string) (answer *local, keep bool) {
	s := x.c.s
	table := s.table.Current()
	for last := false; ; last = true {
		owner, ok := table.Owner(key)
		if !ok {
			return text(503, "no node serves this now", retryAfter), x.keep
		}
		u, err := x.connect(owner, last)
		sent := false
		if err == nil {
			sent, err = x.send(u)
		}
		var res *response
		if err == nil {
			res, err = x.receive(u)
		}
		if errors.Is(err, context.DeadlineExceeded) && x.fault == nil {
			s.m.Log().Warn("node silent", "node", owner.Name)
			s.pool.drop(owner) // whatever else was kept is as silent
		}
		switch {
		case err == nil:
		case !sent && !last:
			s.m.Log().Debug("node retried", "node", owner.Name, "error", err)
			table = x.refresh()
			continue
		case !sent:
			s.m.Log().Warn("node unreachable", "node", owner.Name, "error", err)
			return text(503, "the node that serves this cannot be reached", retryAfter), x.keep
		case x.fault != nil:
			return failure(x.fault, true), false
		case u.kept && !last && x.repeatable(err):
			s.m.Log().Debug("request repeated", "node", owner.Name, "error", err)
			table = x.refresh()
			continue
		default:
			return failure(err, false), false
		}
		if res.status == 421 {
			if x.whole && !last {
				if table = x.refresh(); moved(table, key, owner) {
					s.m.Log().Debug("owner changed", "node", owner.Name)
					u.Close()
					continue
				}
			}
			// The host lives elsewhere now, and only a new connection finds out
			// where: a client that keeps this one would be refused for ever.
			x.keep = false
		}
		return x.relay(u, res)
	}
}

func (x *exchange) refresh() placement.Table {
	table, err := x.c.s.table.Refresh(x.c.s.ctx)
	if err != nil {
		x.c.s.m.Log().Warn("table not refreshed", "error", err, "age", x.c.s.table.Age())
	}
	return table
}

func moved(t placement.Table, key string, from placement.Node) bool {
	owner, ok := t.Owner(key)
	return ok && owner != from
}

// failure is the answer to a request that its client or its node did not bring
// to an end.
func failure(err error, byClient bool) *local {
	var head *badHead
	timeout := errors.Is(err, context.DeadlineExceeded)
	switch {
	case byClient && errors.As(err, &head):
		return text(head.status, head.text)
	case byClient && timeout:
		return text(408, "too slow")
	case byClient:
		return text(400, "the body broke off")
	case timeout:
		return text(504, "the node that serves this is silent", retryAfter)
	default:
		return text(502, "the node that serves this broke off")
	}
}

// idempotent are the methods that may be repeated without knowing what became
// of them (RFC 9110, 9.2.2). The table is read-only.
var idempotent = []string{"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"}

// repeatable reports whether a request can be sent again after its connection
// fell silent or broke, rather than its node said something that is not HTTP.
func (x *exchange) repeatable(err error) bool {
	var nonsense *badHead
	return x.whole && slices.Contains(idempotent, x.r.method) && !errors.As(err, &nonsense)
}

// connect gives a connection to a node: a new one if it has to be, or for a
// tunnel, which keeps it.
func (x *exchange) connect(n placement.Node, anew bool) (*upstream, error) {
	if anew || x.r.upgrade() {
		return x.c.s.pool.dial(x.c.s.ctx, n)
	}
	return x.c.s.pool.get(x.c.s.ctx, n)
}

// send writes the head and the start of the body with one write. On an error
// the connection is closed, and sent says whether the node may have got
// something.
func (x *exchange) send(u *upstream) (sent bool, err error) {
	kind, length := byChunks, int64(0)
	switch {
	case x.whole && len(x.start) == 0:
		kind = noBody
	case x.whole:
		kind, length = byLength, int64(len(x.start))
	case x.r.body == byLength:
		kind, length = byLength, x.r.length
	}
	proto := "http"
	if x.c.tls != nil {
		proto = "https"
	}
	client, _, _ := net.SplitHostPort(x.c.RemoteAddr().String())
	b := x.r.appendHead(make([]byte, 0, 1024+len(x.start)), identity{client, proto, x.id}, kind, length)
	if kind == byChunks && len(x.start) > 0 {
		b = fmt.Appendf(b, "%x\r\n%s\r\n", len(x.start), x.start)
	} else {
		b = append(b, x.start...)
	}
	n, err := promptly{x, u}.Write(b)
	if err != nil {
		u.Close()
	}
	return n > 0, err
}

func (u *upstream) expire() { _ = u.SetDeadline(past) }

// receive waits for the head of the response, sending what is left of the body
// meanwhile: a node may answer before it has read all of it.
func (x *exchange) receive(u *upstream) (*response, error) {
	c := x.c
	type answer struct {
		res *response
		err error
	}
	var got answer
	respond := func(f func() error) error {
		err := c.s.within("proxy/response/"+c.name, c.s.o.answer+x.wait, u.expire, f)
		if err != nil {
			u.Close()
		}
		return err
	}
	if x.whole {
		err := respond(func() (err error) {
			got.res, err = readFinal(u, x.r)
			return err
		})
		return got.res, err
	}
	answers := make(chan answer, 1)
	var answered atomic.Bool
	go func() {
		res, err := readFinal(u, x.r)
		answered.Store(true)
		c.expireRead() // the rest of the body is not wanted any more
		answers <- answer{res, err}
	}()
	broken := x.upload(u)
	var byNode *writeError
	switch {
	case broken == nil:
		x.taken = true
	case errors.As(broken, &byNode), answered.Load():
		// The answer is there, or may still come.
	default:
		x.fault = broken
		u.expire()
	}
	err := respond(func() error {
		got = <-answers
		return got.err
	})
	if reset := c.SetReadDeadline(time.Time{}); err == nil && reset != nil {
		u.Close()
		return nil, reset
	}
	if err != nil && byNode != nil {
		err = byNode // which says why there is no answer
	}
	return got.res, err
}

// readFinal reads response heads up to the one that counts.
func readFinal(u *upstream, r *request) (*response, error) {
	for range 5 {
		res, err := readResponse(u.br, r.method)
		switch {
		case err != nil:
			return nil, err
		case res.status == 101 && r.upgrade() && res.header.has("Upgrade", "websocket"):
			return res, nil
		case res.status == 101:
			return nil, errors.New("proxy: node switched protocols unasked")
		case res.status/100 != 1:
			return res, nil
		}
	}
	return nil, errors.New("proxy: node sends nothing but interim responses")
}

// promptly writes what the node takes in time.
type promptly struct {
	x *exchange
	u *upstream
}

func (p promptly) Write(b []byte) (n int, err error) {
	s := p.x.c.s
	err = s.within("proxy/send/"+p.x.c.name, s.o.answer, p.u.expire, func() (err error) {
		n, err = p.u.Write(b)
		return err
	})
	return n, err
}

// upload sends the rest of a body.
func (x *exchange) upload(u *upstream) error {
	to := io.Writer(promptly{x, u})
	chunks := &chunkWriter{w: to}
	if x.r.body == byChunks {
		to = chunks
	}
	err := x.c.copy(to, fullReader{x.rest}, func() { x.c.expireRead(); u.expire() })
	if err == nil && x.r.body == byChunks {
		err = chunks.end()
	}
	return err
}

// fullReader fills the buffers that it is given, so that a step of copy cannot
// be had for a byte.
type fullReader struct{ r io.Reader }

func (f fullReader) Read(p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var m int
		m, err = f.r.Read(p[n:])
		n += m
	}
	return n, err
}

// writeError is a failure of the receiving side of a copy.
type writeError struct{ err error }

func (e *writeError) Error() string { return "proxy: write: " + e.err.Error() }
func (e *writeError) Unwrap() error { return e.err }

// copy passes a body on, each step within the idle time.
func (c *conn) copy(to io.Writer, from io.Reader, expire func()) error {
	buffer := c.s.buffers.Get().(*[]byte)
	defer c.s.buffers.Put(buffer)
	for {
		err := c.s.within("proxy/copy/"+c.name, c.s.o.idle, expire, func() error {
			n, err := from.Read(*buffer)
			if n > 0 {
				if _, werr := to.Write((*buffer)[:n]); werr != nil {
					return &writeError{werr}
				}
			}
			return err
		})
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// relay passes a response to the client, and takes both connections on to what
// comes after it.
func (x *exchange) relay(u *upstream, res *response) (*local, bool) {
	c := x.c
	if res.status == 101 {
		x.tunnel(u, res)
		return nil, false
	}
	keep := x.keep && x.taken && !c.s.drain.Draining()
	kind, length := res.body, res.length
	if kind == byClose || kind == byChunks {
		kind = byChunks
		if x.r.minor == 0 {
			kind = byClose // it knows no chunks, and is closed after each request
		}
	}
	w := bufio.NewWriter(c.Conn)
	_, _ = w.Write(res.appendHead(nil, x.id, kind, length, keep)) // its error comes again with Flush
	to := io.Writer(flusher{w})
	chunks := &chunkWriter{w: to}
	if kind == byChunks {
		to = chunks
	}
	var err error
	if res.body != noBody {
		err = c.copy(to, bodyReader(u.br, res.body, res.length), func() { c.expire(); u.expire() })
	}
	if err == nil && kind == byChunks {
		err = chunks.end()
	}
	if err == nil {
		err = c.s.within("proxy/write/"+c.name, c.s.o.idle, c.expire, w.Flush)
	}
	if err == nil && x.taken && res.body != byClose && res.minor == 1 && !res.header.has("Connection", "close") {
		c.s.pool.put(u)
	} else {
		u.Close()
	}
	if err == nil && !keep {
		c.linger()
	}
	return nil, err == nil && keep
}

// flusher sends what has gathered after each write: a response that trickles
// is to trickle on.
type flusher struct{ w *bufio.Writer }

func (f flusher) Write(p []byte) (int, error) {
	n, err := f.w.Write(p)
	if err == nil {
		err = f.w.Flush()
	}
	return n, err
}

// tunnel passes on that the protocols were switched, and then bytes.
func (x *exchange) tunnel(u *upstream, res *response) {
	c, s := x.c, x.c.s
	defer u.Close()
	if c.write(res.appendHead(nil, x.id, noBody, 0, true)) != nil {
		return
	}
	t := &tunnel{m: s.m, client: c.Conn, node: u.Conn}
	s.open.add(t)
	log := s.m.Log().With("tunnel", t.id, "host", x.r.host, "path", x.r.path())
	log.Debug("tunnel opened")
	t.run(s.ctx, c.br, u.br, s.o.tunnel, s.o.idle)
	s.open.remove(t)
	log.Debug("tunnel closed", "reason", *t.reason.Load())
}
