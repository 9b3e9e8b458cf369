package proxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"
)

// conn is one connection of a client, served by one goroutine.
type conn struct {
	net.Conn // the TLS connection, or raw
	s        *server
	id       uint64
	name     string // the id as text, for timers
	raw      net.Conn
	tls      *tls.Conn // nil for plain HTTP
	br       *bufio.Reader
	refused  bool
	renew    time.Duration // by this machine's clock: closed with the next answer from then on
	resting  atomic.Bool   // waits for a request after the first
}

// serve answers requests until there is a reason to close.
func (c *conn) serve() {
	defer c.Close()
	c.br = bufio.NewReaderSize(c.Conn, maxLine)
	if c.refused {
		c.answer(nil, text(503, "too many connections", retryAfter), false)
		c.linger()
		return
	}
	if c.tls != nil {
		err := c.s.within("proxy/handshake/"+c.name, c.s.o.head, c.expire, func() error {
			return c.tls.HandshakeContext(context.Background())
		})
		if err != nil {
			return
		}
	}
	for first := true; ; first = false {
		r, err := c.next(first)
		var head *badHead
		switch {
		case err == nil:
			if !c.handle(r) {
				return
			}
		case errors.As(err, &head):
			c.answer(nil, text(head.status, head.text), false)
			c.linger()
			return
		case errors.Is(err, context.DeadlineExceeded):
			c.answer(nil, text(408, "too slow"), false)
			c.linger()
			return
		default:
			return
		}
	}
}

// next reads a head. The first must come at once; the others may be waited for.
func (c *conn) next(first bool) (*request, error) {
	if !first {
		c.resting.Store(true)
		if c.s.leaving() {
			return nil, io.EOF
		}
		err := c.s.within("proxy/rest/"+c.name, c.s.o.idle, c.expireRead, func() error {
			_, err := c.br.Peek(1)
			return err
		})
		c.resting.Store(false)
		if err != nil {
			return nil, io.EOF // gone, silent, or told to leave: nobody waits for an answer
		}
	}
	var r *request
	err := c.s.within("proxy/head/"+c.name, c.s.o.head, c.expireRead, func() (err error) {
		r, err = readRequest(c.br)
		return err
	})
	return r, err
}

func (c *conn) expire()     { _ = c.SetDeadline(past) }
func (c *conn) expireRead() { _ = c.SetReadDeadline(past) }

// handle answers one request, and reports whether the connection can take
// another.
func (c *conn) handle(r *request) bool {
	keep := r.keepAlive() && !c.s.drain.Draining() && c.s.m.Elapsed() < c.renew
	d := c.s.route(r, c.tls != nil)
	if expect, n := r.header.get("Expect"); n > 0 && (n > 1 || r.minor == 0 || expect != "100-continue") {
		d.local = text(417, "unknown expectation")
	}
	if d.local == nil {
		return c.forward(r, d, keep)
	}
	// What the body is does not matter here; a short one may pass.
	keep = keep && r.body == noBody
	ok := c.answer(r, d.local, keep)
	if !keep {
		c.linger()
	}
	return ok && keep
}

// answer writes an answer of our own.
func (c *conn) answer(r *request, l *local, keep bool) bool {
	kind := l.kind
	if kind == "" {
		kind = "text/plain; charset=utf-8"
	}
	b := fmt.Appendf(nil, "HTTP/1.1 %d %s\r\n", l.status, http.StatusText(l.status))
	b = appendField(b, "Content-Type", kind)
	b = appendField(b, "Content-Length", strconv.Itoa(len(l.body)))
	for _, f := range l.headers {
		b = appendField(b, f.name, f.value)
	}
	if region := c.s.m.Host().Region; region != "" {
		b = appendField(b, "X-Espra-Region", region)
	}
	if !keep {
		b = appendField(b, "Connection", "close")
	}
	b = append(b, "\r\n"...)
	if r == nil || r.method != "HEAD" {
		b = append(b, l.body...)
	}
	return c.write(b) == nil
}

func (c *conn) write(b []byte) error {
	return c.s.within("proxy/write/"+c.name, c.s.o.idle, c.expire, func() error {
		_, err := c.Write(b)
		return err
	})
}

// linger lets the last answer arrive: closing at once, with input unread, would
// reset the connection and destroy it.
func (c *conn) linger() {
	if closeWrite(c.Conn) != nil || c.SetReadDeadline(time.Time{}) != nil {
		return
	}
	_ = c.s.within("proxy/linger/"+c.name, time.Second, c.expire, func() error {
		_, err := io.CopyN(io.Discard, c.br, 256<<10)
		return err
	})
}
