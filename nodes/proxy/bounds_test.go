package proxy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/nodes"
)

// deaf is a machine whose dials go where a test says.
type deaf struct {
	*pipes
	dial func(context.Context) (net.Conn, error)
}

func (d *deaf) DialContext(ctx context.Context, _, _ string) (net.Conn, error) { return d.dial(ctx) }

// nodeOf gives dials whose far end is served by f, each with its number.
func nodeOf(f func(n int, c net.Conn)) func(context.Context) (net.Conn, error) {
	var made atomic.Int64
	return func(context.Context) (net.Conn, error) {
		near, far := net.Pipe()
		go f(int(made.Add(1)), far)
		return near, nil
	}
}

// bubble runs a proxy in virtual time before a node that is reached by dial. The
// client given to f is one connection to it.
func bubble(t *testing.T, dial func(context.Context) (net.Conn, error), f func(t *testing.T, c net.Conn, p *pipes)) {
	synctest.Test(t, func(t *testing.T) {
		front := &deaf{newPipes(nil), dial}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			done <- Run(ctx, front, []string{"--http", ":80", "--https", "", "--allow-plain", "--host", liveHost, "--live", "live-1=live-1:8080"})
		}()
		c, far := net.Pipe()
		front.conns <- far
		f(t, c, front.pipes)
		_ = c.Close()
		cancel()
		<-done
	})
}

// exchangeIn sends a request and gives the status of the answer, its header, and
// the time that it took.
func exchangeIn(t *testing.T, c net.Conn, request string) (int, http.Header, time.Duration) {
	t.Helper()
	asked := time.Now()
	go func() { _, _ = io.WriteString(c, request) }()
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	require.NoError(t, err)
	_, _ = io.Copy(io.Discard, res.Body) // what a broken body is, its test says
	return res.StatusCode, res.Header, time.Since(asked)
}

func post(body string) string {
	return fmt.Sprintf("POST /live/k/c HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n%s", liveHost, len(body), body)
}

func get(query string) string {
	return "GET /live/k/c" + query + " HTTP/1.1\r\nHost: " + liveHost + "\r\n\r\n"
}

const fine = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// answers serves a connection until it has answered n requests, and then hears
// without a word.
func answers(c net.Conn, n int) {
	r := bufio.NewReader(c)
	for range n {
		req, err := http.ReadRequest(r)
		if err != nil {
			return // the proxy has left
		}
		_, _ = io.Copy(io.Discard, req.Body)
		_, _ = io.WriteString(c, fine)
	}
	_, _ = io.Copy(io.Discard, r)
}

// TestEveryStepOfANodeIsBounded: whatever a node does not do any more, the
// client is told in time.
func TestEveryStepOfANodeIsBounded(t *testing.T) {
	hear := func(say string) func(context.Context) (net.Conn, error) {
		return nodeOf(func(_ int, c net.Conn) {
			go func() { _, _ = io.WriteString(c, say) }()
			_, _ = io.Copy(io.Discard, c)
		})
	}
	const answer = 5 * time.Second
	for name, tc := range map[string]struct {
		dial    func(context.Context) (net.Conn, error)
		request string
		status  int
		within  time.Duration
	}{
		"connect": {func(ctx context.Context) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() },
			post("x"), 503, 4 * time.Second},
		"take the head":       {nodeOf(func(int, net.Conn) {}), post("x"), 503, 2 * answer},
		"take all of it":      {nodeOf(func(_ int, c net.Conn) { _, _ = io.ReadFull(c, make([]byte, 20)) }), post("x"), 504, answer},
		"take a large body":   {nodeOf(func(_ int, c net.Conn) { _, _ = io.ReadFull(c, make([]byte, 40<<10)) }), post(strings.Repeat("x", 60<<10)), 504, answer},
		"answer":              {hear(""), post("x"), 504, answer},
		"answer a large body": {hear(""), post(strings.Repeat("x", 60<<10)), 504, answer},
		"end its head":        {hear("HTTP/1.1 200 OK\r\n"), post("x"), 504, answer},
		"come to the point":   {hear("HTTP/1.1 103 Early Hints\r\n\r\n"), post("x"), 504, answer},
		"answer a GET":        {hear(""), get(""), 504, answer},
		"answer a poll":       {hear(""), get("?wait=20s"), 504, 20*time.Second + answer},
		"end its body":        {hear("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"), post("x"), 200, time.Minute},
		"upgrade":             {hear(""), upgrade, 504, answer},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, tc.dial, func(t *testing.T, c net.Conn, _ *pipes) {
				status, header, took := exchangeIn(t, c, tc.request)
				require.Equal(t, tc.status, status)
				require.InDelta(t, tc.within.Seconds(), took.Seconds(), 0.1)
				if status > 200 {
					require.Equal(t, "1", header.Get("Retry-After"))
				}
			})
		})
	}
}

// TestKeptConnectionThatDiedInSilence: only what may be repeated is, over a new
// connection, and nobody else is sent over those that were kept.
func TestKeptConnectionThatDiedInSilence(t *testing.T) {
	for name, tc := range map[string]struct {
		request string
		status  int
	}{
		"a publish is not repeated": {post("x"), 504},
		"a poll is":                 {get(""), 200},
	} {
		t.Run(name, func(t *testing.T) {
			var made atomic.Int64
			both := make(chan struct{})
			dial := nodeOf(func(n int, c net.Conn) {
				made.Add(1)
				if n == 2 {
					close(both)
				}
				<-both // so that two are kept
				if n <= 2 {
					answers(c, 1)
				} else {
					answers(c, 10)
				}
			})
			bubble(t, dial, func(t *testing.T, c net.Conn, p *pipes) {
				other, far := net.Pipe()
				p.conns <- far
				first := make(chan int, 1)
				go func() {
					status, _, _ := exchangeIn(t, other, post("x"))
					first <- status
				}()
				status, _, _ := exchangeIn(t, c, post("x"))
				require.Equal(t, []int{200, 200}, []int{status, <-first})
				require.EqualValues(t, 2, made.Load())

				status, _, took := exchangeIn(t, c, tc.request)
				require.Equal(t, tc.status, status)
				require.InDelta(t, 5, took.Seconds(), 0.1)
				synctest.Wait() // until the connection is kept
				status, _, took = exchangeIn(t, other, post("x"))
				require.Equal(t, 200, status)
				require.Less(t, took, time.Second, "the other was not kept")
				require.EqualValues(t, 3, made.Load(), "and the new one is")
				_ = other.Close()
			})
		})
	}
}

// TestKeptConnectionThatBreaks: the same where the node says that it is gone,
// but only once it has the request.
func TestKeptConnectionThatBreaks(t *testing.T) {
	for name, tc := range map[string]struct {
		request string
		status  int
	}{
		"a publish is not repeated": {post("x"), 502},
		"a poll is":                 {get(""), 200},
	} {
		t.Run(name, func(t *testing.T) {
			dial := nodeOf(func(n int, c net.Conn) {
				if n > 1 {
					answers(c, 10)
					return
				}
				r := bufio.NewReader(c)
				for i := range 2 {
					req, err := http.ReadRequest(r)
					if err != nil {
						return
					}
					_, _ = io.Copy(io.Discard, req.Body)
					if i == 0 {
						_, _ = io.WriteString(c, fine)
					}
				}
				_ = c.Close()
			})
			bubble(t, dial, func(t *testing.T, c net.Conn, _ *pipes) {
				status, _, _ := exchangeIn(t, c, post("x"))
				require.Equal(t, 200, status)
				status, _, took := exchangeIn(t, c, tc.request)
				require.Equal(t, tc.status, status)
				require.Less(t, took, time.Second)
			})
		})
	}
}

// TestNothingIsRepeatedTwice: two tries are all there are.
func TestNothingIsRepeatedTwice(t *testing.T) {
	var made atomic.Int64
	dial := nodeOf(func(n int, c net.Conn) {
		made.Add(1)
		if n == 1 {
			answers(c, 1)
		} else {
			answers(c, 0)
		}
	})
	bubble(t, dial, func(t *testing.T, c net.Conn, _ *pipes) {
		status, _, _ := exchangeIn(t, c, post("x"))
		require.Equal(t, 200, status)
		status, _, took := exchangeIn(t, c, get(""))
		require.Equal(t, 504, status)
		require.InDelta(t, 10, took.Seconds(), 0.1)
		require.EqualValues(t, 2, made.Load())
	})
}

// TestSlowClientBlamesNoNode: kept connections outlive a client's own fault.
func TestSlowClientBlamesNoNode(t *testing.T) {
	var made atomic.Int64
	dial := nodeOf(func(n int, c net.Conn) {
		made.Add(1)
		answers(c, 10)
	})
	bubble(t, dial, func(t *testing.T, c net.Conn, p *pipes) {
		status, _, _ := exchangeIn(t, c, post("x"))
		require.Equal(t, 200, status)
		status, _, took := exchangeIn(t, c, strings.TrimSuffix(post("abc"), "c"))
		require.Equal(t, 408, status)
		require.InDelta(t, 60, took.Seconds(), 0.1)
		require.NoError(t, c.Close())
		require.EqualValues(t, 1, made.Load())
	})
}

// A connection that is in use for ever is closed in order, now and then: its
// client looks the name up again, which may have moved to another region.
func TestRenewal(t *testing.T) {
	dial := nodeOf(func(_ int, c net.Conn) { answers(c, 100) })
	bubble(t, dial, func(t *testing.T, c net.Conn, _ *pipes) {
		began, r := time.Now(), bufio.NewReader(c)
		for {
			_, err := io.WriteString(c, get(""))
			require.NoError(t, err)
			res, err := http.ReadResponse(r, nil)
			require.NoError(t, err)
			_, err = io.Copy(io.Discard, res.Body)
			require.NoError(t, err)
			require.Equal(t, 200, res.StatusCode)
			age := time.Since(began)
			require.Equal(t, age > 4*time.Minute, res.Close, age) // as the draw has it
			if res.Close {
				break
			}
			time.Sleep(20 * time.Second)
		}
		_, err := r.ReadByte()
		require.ErrorIs(t, err, io.EOF)
	})
}

// Connections that were made at once are not renewed at once.
func TestRenewalsSpread(t *testing.T) {
	m, err := nodes.NewOS(nodes.OSOptions{Root: t.TempDir()})
	require.NoError(t, err)
	defer func() { require.NoError(t, m.Close()) }()
	s := &server{m: m, o: options{renew: 5 * time.Minute}}
	ages := map[time.Duration]bool{}
	for n := range uint64(100) {
		age := s.renewal(n)
		require.InDelta(t, 5*time.Minute, age, float64(time.Minute))
		ages[age] = true
	}
	require.Len(t, ages, 100)
}
