package workload_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"hash/fnv"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/nodes"
	"github.com/espra/protoplex/scenarios/oracle"
	"github.com/espra/protoplex/scenarios/pki"
	"github.com/espra/protoplex/scenarios/workload"
)

// hole is an address at which nobody answers.
const hole = "127.9.9.9"

// desk is a machine on loopback with names of its own, and a draw that can be
// foreseen: the addresses named first come first.
type desk struct {
	nodes.Machine
	names map[string][]string
}

func (d desk) Lookup(ctx context.Context, kind, name string) ([]string, error) {
	switch addresses := d.names[name]; {
	case len(addresses) == 0:
		return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	case addresses[0] == hole && len(addresses) == 1 && strings.HasPrefix(name, "slow-dns."):
		<-ctx.Done()
		return nil, &net.DNSError{Err: "no answer", Name: name, IsTimeout: true, IsTemporary: true}
	default:
		return addresses, nil
	}
}

func (d desk) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if strings.HasPrefix(address, hole) {
		<-ctx.Done()
		return nil, &net.OpError{Op: "dial", Net: network, Err: ctx.Err()}
	}
	return d.Machine.DialContext(ctx, network, address)
}

func (d desk) Rand(name string, n uint64) uint64 {
	if strings.HasSuffix(name, "/address/"+hole) {
		return 0
	}
	h := fnv.New64a()
	h.Write([]byte(name))
	return h.Sum64() + n + 1
}

// world is a machine, an authority and quick habits.
type world struct {
	t     *testing.T
	m     desk
	ca    *pki.CA
	roots *x509.CertPool
	pace  workload.Pace
	tape  tape
}

func newWorld(t *testing.T) *world {
	m, err := nodes.NewOS(nodes.OSOptions{
		Host: nodes.Host{Name: "desk", Addr: netip.MustParseAddr("127.0.0.1"), Proc: "client"},
		Root: t.TempDir(),
		Log:  slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	ca, err := pki.New(m.Now().Add(-time.Hour), m.Now().Add(time.Hour))
	require.NoError(t, err)
	w := &world{t: t, m: desk{m, map[string][]string{}}, ca: ca, roots: x509.NewCertPool(), tape: make(tape, 10000)}
	require.True(t, w.roots.AppendCertsFromPEM(ca.RootsPEM()))
	w.pace = workload.Pace{
		Period: 20 * time.Millisecond, Request: 2 * time.Second, Resolve: time.Second, Connect: 100 * time.Millisecond,
		Secure: time.Second, Retry: 10 * time.Millisecond, Longest: 40 * time.Millisecond, Quiet: 300 * time.Millisecond,
	}
	return w
}

// serve gives a name to a new TLS server, and returns "name:port".
func (w *world) serve(name string, h http.Handler) string {
	return w.serveAs(name, w.ca, h)
}

func (w *world) serveAs(name string, ca *pki.CA, h http.Handler) string {
	file, err := ca.Leaf(name)
	require.NoError(w.t, err)
	pair, err := tls.X509KeyPair(file, file)
	require.NoError(w.t, err)
	l, err := w.m.Listen("tcp", "127.0.0.1:0")
	require.NoError(w.t, err)
	server := &http.Server{
		Handler:      h,
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
		TLSConfig:    &tls.Config{Certificates: []tls.Certificate{pair}},
		ErrorLog:     log.New(io.Discard, "", 0),
	}
	go server.ServeTLS(l, "", "")
	w.t.Cleanup(func() { server.Close() })
	w.m.names[name] = append(w.m.names[name], "127.0.0.1")
	_, port, err := net.SplitHostPort(l.Addr().String())
	require.NoError(w.t, err)
	return net.JoinHostPort(name, port)
}

// start runs a client until the returned function is called, or the test ends.
func (w *world) start(c workload.Client) (stop func()) {
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx, w.m) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		select {
		case err := <-done:
			require.NoError(w.t, err)
		case <-time.After(5 * time.Second):
			require.Fail(w.t, "the client does not stop")
		}
	}
	w.t.Cleanup(stop)
	return stop
}

// tape is a Recorder that hands over what it is told, in order.
type tape chan any

func (t tape) PageLoad(p oracle.Page)     { t <- p }
func (t tape) Stream(e oracle.Stream)     { t <- e }
func (t tape) Published(p oracle.Publish) { t <- p }

// next waits for the next record of a kind.
func next[T any](w *world) T {
	w.t.Helper()
	late := time.After(5 * time.Second)
	for {
		select {
		case r := <-w.tape:
			if r, ok := r.(T); ok {
				return r
			}
		case <-late:
			require.FailNow(w.t, "nothing more was recorded")
		}
	}
}

// stream waits for the next stream event, without what varies.
func (w *world) stream() oracle.Stream {
	w.t.Helper()
	e := next[oracle.Stream](w)
	e.Latency = 0
	return e
}

// liveConn is the server's end of a tunnel.
type liveConn struct {
	*websocket.Conn
	t   *testing.T
	ctx context.Context
}

func (c liveConn) send(v map[string]any) {
	b, err := json.Marshal(v)
	require.NoError(c.t, err)
	c.raw(string(b))
}

func (c liveConn) raw(s string) {
	if err := c.Write(c.ctx, websocket.MessageText, []byte(s)); err != nil {
		c.t.Logf("server writes: %v", err)
	}
}

// hear gives the next frame of the client as text.
func (c liveConn) hear() string {
	_, b, err := c.Read(c.ctx)
	if err != nil {
		return "error"
	}
	return string(b)
}

type object = map[string]any

func position(incarnation string, offset int) object {
	return object{"incarnation": incarnation, "offset": offset}
}

func subscribed(channel, how string, p object) object {
	return object{"op": "subscribed", "channel": channel, "recovered": how, "position": p}
}

// live serves tunnels: the n-th by the n-th script, the last one over and over.
func (w *world) live(options *websocket.AcceptOptions, scripts ...func(liveConn)) http.Handler {
	count := make(chan int, 1)
	count <- 0
	if options == nil {
		options = &websocket.AcceptOptions{Subprotocols: []string{"live.espra.1"}}
	}
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		n := <-count
		count <- n + 1
		conn, err := websocket.Accept(rw, r, options)
		if err != nil {
			return
		}
		defer conn.CloseNow()
		scripts[min(n, len(scripts)-1)](liveConn{conn, w.t, w.t.Context()})
	})
}

// stay reads until the client leaves.
func stay(c liveConn) {
	for c.hear() != "error" {
	}
}

// hang takes a request and never answers it.
var hang = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
	panic(http.ErrAbortHandler) // rather than an answer that the client might still see
})
