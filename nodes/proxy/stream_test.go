package proxy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/nodes"
	"github.com/espra/protoplex/nodes/live"
)

// pipes is a machine whose only connections are pipes in memory, so that it
// can live in a bubble. What it does not define it does not have.
type pipes struct {
	nodes.Machine
	start time.Time
	conns chan net.Conn
	down  chan struct{}
	to    *pipes // whom it reaches when it dials
}

func newPipes(to *pipes) *pipes {
	return &pipes{start: time.Now(), conns: make(chan net.Conn), down: make(chan struct{}), to: to}
}

func (p *pipes) Host() nodes.Host                            { return nodes.Host{Name: "live-1", Region: "us-east"} }
func (p *pipes) Now() time.Time                              { return time.Now().Round(0) }
func (p *pipes) Elapsed() time.Duration                      { return time.Since(p.start) }
func (p *pipes) Rand(string, uint64) uint64                  { return 7 }
func (p *pipes) Inherited() []net.Listener                   { return nil }
func (p *pipes) Log() *slog.Logger                           { return slog.New(slog.DiscardHandler) }
func (p *pipes) Signals() <-chan nodes.Signal                { return nil }
func (p *pipes) Control() io.ReadWriteCloser                 { return nil }
func (p *pipes) Listen(string, string) (net.Listener, error) { return p, nil }
func (p *pipes) Addr() net.Addr                              { return &net.TCPAddr{} }
func (p *pipes) Close() error                                { close(p.down); return nil }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.down:
		return nil, net.ErrClosed
	}
}

func (p *pipes) DialContext(context.Context, string, string) (net.Conn, error) {
	near, far := net.Pipe()
	p.to.conns <- far
	return near, nil
}

// ask sends a request over a connection of its own.
func (p *pipes) ask(t *testing.T, path string) (net.Conn, *http.Response) {
	t.Helper()
	conn, far := net.Pipe()
	p.conns <- far
	_, err := fmt.Fprintf(conn, "GET /live/%s HTTP/1.1\r\nHost: %s\r\n\r\n", path, liveHost)
	require.NoError(t, err)
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	require.Equal(t, 200, res.StatusCode)
	return conn, res
}

// TestStreamsAndPollsWait: a stream on which nothing is said lives for as long
// as it likes, and a poll may wait for as long as a node lets it.
func TestStreamsAndPollsWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		node := newPipes(nil)
		front := newPipes(node)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 2)
		go func() { done <- live.Run(ctx, node, nil) }()
		go func() {
			done <- Run(ctx, front, []string{"--http", ":80", "--https", "", "--allow-plain", "--host", liveHost, "--live", "live-1=live-1:8080"})
		}()

		opened := time.Now()
		conn, res := front.ask(t, "k/c?as=sse")
		require.Equal(t, "no", res.Header.Get("X-Accel-Buffering"))
		lines := bufio.NewScanner(res.Body)
		var position string
		for beats := 0; time.Since(opened) < time.Hour; {
			require.True(t, lines.Scan(), "after %s: %v", time.Since(opened), lines.Err())
			if id, ok := strings.CutPrefix(lines.Text(), "id: "); ok {
				position = id
				require.Less(t, time.Since(opened), time.Second, "the first event is not held back")
			}
			if lines.Text() == ":" {
				beats++
				require.InDelta(t, float64(beats)*25, time.Since(opened).Seconds(), 1)
			}
		}
		for wait, want := range map[string]float64{"20s": 20, "9h": 50} {
			asked := time.Now()
			poll, res := front.ask(t, "k/c?wait="+wait+"&position="+position)
			b, err := io.ReadAll(res.Body)
			require.NoError(t, err)
			require.Contains(t, string(b), "nothing-missed")
			require.InDelta(t, want, time.Since(asked).Seconds(), 1)
			require.NoError(t, poll.Close())
		}
		require.NoError(t, conn.Close())
		cancel()
		<-done
		<-done
	})
}
