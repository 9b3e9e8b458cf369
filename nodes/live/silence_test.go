package live

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/nodes"
)

// pipes is a machine whose only connections are pipes in memory, so that it
// can live in a bubble. What it does not define it does not have.
type pipes struct {
	nodes.Machine
	start time.Time
	log   *logHook
	conns chan net.Conn
	down  chan struct{}
}

func newPipes() *pipes {
	return &pipes{
		start: time.Now(),
		log:   &logHook{records: make(chan slog.Record, 10_000)},
		conns: make(chan net.Conn),
		down:  make(chan struct{}),
	}
}

func (p *pipes) Host() nodes.Host                            { return nodes.Host{Name: "live-1", Region: "us-east"} }
func (p *pipes) Now() time.Time                              { return time.Now().Round(0) }
func (p *pipes) Elapsed() time.Duration                      { return time.Since(p.start) }
func (p *pipes) Rand(string, uint64) uint64                  { return 7 }
func (p *pipes) Inherited() []net.Listener                   { return nil }
func (p *pipes) Log() *slog.Logger                           { return slog.New(p.log) }
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

// serve runs Live on pipes until stop is called.
func serve(t *testing.T, args ...string) (p *pipes, stop func()) {
	p = newPipes()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Run(ctx, p, args) }()
	return p, func() {
		cancel()
		require.ErrorIs(t, <-done, context.Canceled)
	}
}

// dial opens a tunnel, and gives the connection below it too.
func (p *pipes) dial(t *testing.T) (*websocket.Conn, net.Conn) {
	t.Helper()
	var below net.Conn
	c, _, err := websocket.Dial(t.Context(), "ws://"+testHost+"/live/k", &websocket.DialOptions{
		Subprotocols: []string{Subprotocol},
		HTTPClient: &http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
			near, far := net.Pipe()
			p.conns <- far
			below = near
			return near, nil
		}}},
	})
	require.NoError(t, err)
	return c, below
}

// TestSilence: a peer that answers pings lives for as long as it likes; one
// that does not is gone a minute after its last word.
func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, stop := serve(t)
		alive, _ := p.dial(t)
		dead, below := p.dial(t)
		go func() { _, _ = io.Copy(io.Discard, below) }() // takes pings and says nothing
		lost := make(chan error, 1)
		go func() {
			_, _, err := alive.Read(context.Background()) // answers pings
			lost <- err
		}()

		opened := time.Now()
		time.Sleep(20 * time.Second)
		require.NoError(t, dead.Write(t.Context(), websocket.MessageText, []byte(`{"op":"unsubscribe","channel":"c"}`)))
		for (<-p.log.records).Message != "tunnel closed" {
		}
		require.InDelta(t, deadAfter+20*time.Second, time.Since(opened), float64(2*stopTime+time.Second))

		time.Sleep(time.Hour)
		require.Empty(t, lost)
		stop()
		require.Error(t, <-lost)
		_ = dead.CloseNow()
	})
}
