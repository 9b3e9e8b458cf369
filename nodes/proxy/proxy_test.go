package proxy

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/nodes"
	"github.com/espra/protoplex/nodes/live"
	"github.com/espra/protoplex/nodes/placement"
)

const (
	liveHost = "us-1.live.espra.com"
	wwwHost  = "www.espra.com"
)

// machine is the operating system with signals that a test can send and a log
// that it can wait on.
type machine struct {
	*nodes.OS
	signals chan nodes.Signal
	log     *logHook
}

func (m *machine) Signals() <-chan nodes.Signal { return m.signals }

// logHook hands every record to whoever waits for it.
type logHook struct {
	records chan slog.Record
	attrs   []slog.Attr
}

func (h *logHook) Enabled(context.Context, slog.Level) bool { return true }
func (h *logHook) WithGroup(string) slog.Handler            { return h }
func (h *logHook) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &logHook{h.records, append(attrs, h.attrs...)}
}
func (h *logHook) Handle(_ context.Context, r slog.Record) error {
	r.AddAttrs(h.attrs...)
	h.records <- r
	return nil
}

func (h *logHook) await(t testing.TB, message string) map[string]any {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		select {
		case r := <-h.records:
			if r.Message != message {
				continue
			}
			attrs := map[string]any{}
			r.Attrs(func(a slog.Attr) bool { attrs[a.Key] = a.Value.Any(); return true })
			return attrs
		case <-deadline:
			t.Fatalf("never logged %q", message)
		}
	}
}

type process struct {
	*machine
	done   chan error
	cancel context.CancelFunc
}

// start runs a role on a machine of its own until the test ends.
func start(t testing.TB, root, name string, role nodes.Role, args ...string) *process {
	t.Helper()
	log := &logHook{records: make(chan slog.Record, 100_000)}
	host := nodes.Host{Name: name, Region: "us-east", Addr: netip.MustParseAddr("127.0.0.1"), Proc: name}
	system, err := nodes.NewOS(nodes.OSOptions{Host: host, Root: root, Log: slog.New(log)})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, system.Close()) })
	p := &process{machine: &machine{system, make(chan nodes.Signal, 2), log}, done: make(chan error, 2)}
	var ctx context.Context
	ctx, p.cancel = context.WithCancel(context.Background())
	go func() { p.done <- role(ctx, p.machine, args) }()
	t.Cleanup(func() {
		p.cancel()
		select {
		case <-p.done:
		case <-time.After(20 * time.Second):
			t.Errorf("%s does not stop", name)
		}
	})
	return p
}

type proxy struct {
	*process
	plain, secure string // addresses
	root          string // of its disk
	roots         *x509.CertPool
}

func startProxy(t testing.TB, args ...string) *proxy {
	t.Helper()
	root := t.TempDir()
	roots := writeCert(t, filepath.Join(root, "cert.pem"))
	args = append([]string{"--http", "127.0.0.1:0", "--https", "127.0.0.1:0", "--cert", "/cert.pem",
		"--host", liveHost, "--www", wwwHost}, args...)
	p := &proxy{process: start(t, root, "proxy-1", Run, args...), root: root, roots: roots}
	attrs := p.log.await(t, "listening")
	p.plain, p.secure = attrs["http"].(string), attrs["https"].(string)
	return p
}

// writeCert makes a certificate for all hosts, and gives the pool that trusts it.
func writeCert(t testing.TB, file string) *x509.CertPool {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(time.Now().UnixNano()),
		Subject:               pkix.Name{CommonName: "espra.com"},
		DNSNames:              []string{liveHost, wwwHost},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(nil, template, template, public, private)
	require.NoError(t, err)
	key, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	text := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})...)
	require.NoError(t, os.WriteFile(file, text, 0o600))
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	return roots
}

// client is one that reaches the proxy under any name.
func (p *proxy) client(t testing.TB) *http.Client {
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: p.roots},
		TLSNextProto:    map[string]func(string, *tls.Conn) http.RoundTripper{},
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			to := p.plain
			if strings.HasSuffix(address, ":443") {
				to = p.secure
			}
			return p.DialContext(ctx, network, to)
		},
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func do(t testing.TB, c *http.Client, method, url, body string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(context.Background(), method, url, strings.NewReader(body))
	require.NoError(t, err)
	res, err := c.Do(r)
	require.NoError(t, err)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return res, string(b)
}

// talk sends raw bytes and gives all that comes back.
func (p *proxy) talk(t testing.TB, in string) string {
	t.Helper()
	c, err := net.Dial("tcp", p.plain)
	require.NoError(t, err)
	defer c.Close()
	_, err = io.WriteString(c, in)
	require.NoError(t, err)
	require.NoError(t, c.SetReadDeadline(time.Now().Add(10*time.Second)))
	out, err := io.ReadAll(c)
	require.NoError(t, err)
	return string(out)
}

// node is a Live node whose every byte a test decides.
type node struct {
	net.Listener
	conns chan net.Conn
}

func startNode(t testing.TB) *node {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	n := &node{l, make(chan net.Conn, 100)}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			n.conns <- c
		}
	}()
	return n
}

func (n *node) table() string { return "live-1=" + n.Addr().String() }

// next is the next connection that the proxy makes.
func (n *node) next(t testing.TB) *peer {
	t.Helper()
	select {
	case c := <-n.conns:
		t.Cleanup(func() { c.Close() })
		require.NoError(t, c.SetDeadline(time.Now().Add(10*time.Second)))
		return &peer{t, c, bufio.NewReader(c)}
	case <-time.After(10 * time.Second):
		t.Fatal("the proxy does not connect")
		return nil
	}
}

type peer struct {
	t testing.TB
	net.Conn
	br *bufio.Reader
}

func (p *peer) request() (*http.Request, string) {
	p.t.Helper()
	r, err := http.ReadRequest(p.br)
	require.NoError(p.t, err)
	b, err := io.ReadAll(r.Body)
	require.NoError(p.t, err)
	return r, string(b)
}

func (p *peer) say(s string) {
	p.t.Helper()
	_, err := io.WriteString(p, s)
	require.NoError(p.t, err)
}

func (p *peer) hear(want string) {
	p.t.Helper()
	b := make([]byte, len(want))
	_, err := io.ReadFull(p.br, b)
	require.NoError(p.t, err)
	require.Equal(p.t, want, string(b))
}

func (p *peer) hearEnd() {
	p.t.Helper()
	b, err := io.ReadAll(p.br)
	require.NoError(p.t, err)
	require.Empty(p.t, string(b))
}

func (p *proxy) dial(t testing.TB) *peer {
	t.Helper()
	c, err := net.Dial("tcp", p.plain)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	require.NoError(t, c.SetDeadline(time.Now().Add(10*time.Second)))
	return &peer{t, c, bufio.NewReader(c)}
}

func (p *peer) response(method string) (*http.Response, string) {
	p.t.Helper()
	res, err := http.ReadResponse(p.br, &http.Request{Method: method})
	require.NoError(p.t, err)
	b, err := io.ReadAll(res.Body)
	require.NoError(p.t, err)
	return res, string(b)
}

func TestLocalAnswers(t *testing.T) {
	p := startProxy(t)
	c := p.client(t)
	for _, tc := range []struct {
		method, url string
		status      int
		body        string
	}{
		{"GET", "http://10.0.0.1/health", 200, "ok\n"},
		{"GET", "http://" + wwwHost + "/a?b=c", 308, "use https\n"},
		{"GET", "http://" + liveHost + "/live/k", 308, "use https\n"},
		{"GET", "http://unknown.example/", 421, "this host is not served here\n"},
		{"GET", "https://" + wwwHost + "/", 200, "Espra is up."},
		{"HEAD", "https://" + wwwHost + "/", 200, ""},
		{"GET", "https://" + wwwHost + "/nothing", 404, "no such page"},
		{"DELETE", "https://" + wwwHost + "/", 405, "only GET and HEAD\n"},
		{"GET", "https://" + liveHost + "/", 404, "nothing is here\n"},
		{"GET", "https://" + liveHost + "/live/a%2Fb", 400, "invalid key or channel\n"},
		{"POST", "https://" + liveHost + "/live/k/c", 503, "no node serves this now\n"},
	} {
		res, body := do(t, c, tc.method, tc.url, "")
		require.Equal(t, tc.status, res.StatusCode, tc.url)
		require.Contains(t, body, tc.body, tc.url)
		require.Equal(t, "us-east", res.Header.Get("X-Espra-Region"))
		switch tc.status {
		case 308:
			require.Equal(t, "https"+strings.TrimPrefix(tc.url, "http"), res.Header.Get("Location"))
		case 503:
			require.Equal(t, "1", res.Header.Get("Retry-After"))
		}
	}
	res, _ := do(t, c, "GET", "https://"+wwwHost+"/", "")
	require.Equal(t, "public, max-age=60", res.Header.Get("Cache-Control"))
	require.Less(t, res.ContentLength, int64(1000))
}

func TestBadHeadsAreAnsweredAndEndTheConnection(t *testing.T) {
	p := startProxy(t)
	out := p.talk(t, "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /health HTTP/1.1\r\nHost: a\r\n\r\n")
	require.True(t, strings.HasPrefix(out, "HTTP/1.1 400 Bad Request\r\n"), out)
	require.Equal(t, 1, strings.Count(out, "HTTP/1.1"), "nothing that follows is looked at")
	require.Contains(t, out, "Connection: close\r\n")
}

func TestBodyOfALocalAnswerIsNoRequest(t *testing.T) {
	p := startProxy(t)
	hidden := "GET /health HTTP/1.1\r\nHost: a\r\n\r\n"
	out := p.talk(t, fmt.Sprintf("POST / HTTP/1.1\r\nHost: unknown\r\nContent-Length: %d\r\n\r\n%s", len(hidden), hidden))
	require.True(t, strings.HasPrefix(out, "HTTP/1.1 421 "), out)
	require.Equal(t, 1, strings.Count(out, "HTTP/1.1"))
}

func TestSlowHead(t *testing.T) {
	p := startProxy(t, "--head-timeout", "50ms", "--idle-timeout", "100ms")
	c := p.dial(t)
	c.say("GET /health HTTP/1.1\r\n")
	res, _ := c.response("GET")
	require.Equal(t, 408, res.StatusCode)

	c = p.dial(t)
	c.say("GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
	res, _ = c.response("GET")
	require.Equal(t, 200, res.StatusCode)
	c.hearEnd() // having rested for too long
}

func TestPipeline(t *testing.T) {
	n := startNode(t)
	p := startProxy(t, "--allow-plain", "--live", n.table())
	post := func(body, framing string) string {
		return "POST /live/k/c HTTP/1.1\r\nHost: " + liveHost + "\r\n" + framing + "\r\n\r\n" + body
	}
	c := p.dial(t)
	c.say(post("one", "Content-Length: 3") + post("2\r\ntw\r\n1;x\r\no\r\n0\r\nT: x\r\n\r\n", "Transfer-Encoding: chunked") +
		"GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /never")
	u := n.next(t)
	r, body := u.request()
	require.Equal(t, "one", body)
	require.Equal(t, "127.0.0.1", r.Header.Get("X-Forwarded-For"))
	require.Equal(t, "http", r.Header.Get("X-Forwarded-Proto"))
	require.Regexp(t, "^[0-9a-f]{16}$", r.Header.Get("X-Request-Id"))
	u.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: X-Inner\r\nX-Inner: a\r\nX-Outer: b\r\n\r\n3\r\nabc\r\n")
	u.say("0\r\n\r\n")
	res, body := c.response("POST")
	require.Equal(t, "abc", body)
	require.Equal(t, r.Header.Get("X-Request-Id"), res.Header.Get("X-Request-Id"))
	require.Empty(t, res.Header.Get("X-Inner"))
	require.Equal(t, "b", res.Header.Get("X-Outer"))

	r, body = u.request() // the same connection
	require.Equal(t, "two", body)
	require.Equal(t, int64(3), r.ContentLength)
	u.say("HTTP/1.1 204 No Content\r\n\r\n")
	res, _ = c.response("POST")
	require.Equal(t, 204, res.StatusCode)

	res, body = c.response("GET")
	require.Equal(t, "ok\n", body)
	require.True(t, res.Close)
	c.hearEnd()
}

func TestBodies(t *testing.T) {
	n := startNode(t)
	p := startProxy(t, "--allow-plain", "--live", n.table(), "--idle-timeout", "500ms")
	large := strings.Repeat("0123456789abcdef", 20_000)
	post := "POST /live/k/c HTTP/1.1\r\nHost: " + liveHost + "\r\n"
	ok := "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	var u *peer // the one connection that they share
	outer := t

	t.Run("large with length, expected", func(t *testing.T) {
		c := p.dial(t)
		c.say(post + fmt.Sprintf("Expect: 100-continue\r\nContent-Length: %d\r\n\r\n", len(large)))
		c.hear("HTTP/1.1 100 Continue\r\n\r\n")
		go func() { _, _ = io.WriteString(c, large+"GET /health HTTP/1.1\r\nHost: a\r\n\r\n") }()
		u = n.next(outer)
		r, body := u.request()
		require.Equal(t, int64(len(large)), r.ContentLength)
		require.Empty(t, r.Header.Get("Expect"))
		require.Equal(t, large, body)
		u.say(ok)
		_, body = c.response("POST")
		require.Equal(t, "ok", body)
		_, body = c.response("GET")
		require.Equal(t, "ok\n", body)
	})
	t.Run("large with chunks", func(t *testing.T) {
		c := p.dial(t)
		go func() {
			fmt.Fprintf(c, "%sTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", post, len(large), large)
		}()
		r, body := u.request()
		require.Equal(t, []string{"chunked"}, r.TransferEncoding)
		require.Equal(t, large, body)
		u.say(ok)
		_, body = c.response("POST")
		require.Equal(t, "ok", body)
	})
	t.Run("bad chunks after a good start", func(t *testing.T) {
		c := p.dial(t)
		c.say(fmt.Sprintf("%sTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\nnonsense\r\n", post, len(large), large))
		res, _ := c.response("POST")
		require.Equal(t, 400, res.StatusCode)
	})
	t.Run("bad chunks at once", func(t *testing.T) {
		c := p.dial(t)
		c.say(post + "Transfer-Encoding: chunked\r\n\r\n0x1\r\n")
		res, _ := c.response("POST")
		require.Equal(t, 400, res.StatusCode)
	})
	t.Run("too slow", func(t *testing.T) {
		c := p.dial(t)
		c.say(post + "Content-Length: 10\r\n\r\nabc")
		res, _ := c.response("POST")
		require.Equal(t, 408, res.StatusCode)
	})
	t.Run("unknown expectation", func(t *testing.T) {
		c := p.dial(t)
		c.say(post + "Expect: magic\r\n\r\n")
		res, _ := c.response("POST")
		require.Equal(t, 417, res.StatusCode)
	})
}

// TestEarlyAnswer: a node need not hear all of a body, nor the client have sent it.
func TestEarlyAnswer(t *testing.T) {
	n := startNode(t)
	p := startProxy(t, "--allow-plain", "--live", n.table())
	c := p.dial(t)
	c.say("POST /live/k/c HTTP/1.1\r\nHost: " + liveHost + "\r\nContent-Length: 1000000\r\n\r\n" + strings.Repeat("x", 100_000))
	u := n.next(t)
	_, err := http.ReadRequest(u.br)
	require.NoError(t, err)
	u.say("HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno")
	res, body := c.response("POST")
	require.Equal(t, 413, res.StatusCode)
	require.True(t, res.Close)
	require.Equal(t, "no", body)
}

func TestResponses(t *testing.T) {
	n := startNode(t)
	p := startProxy(t, "--allow-plain", "--live", n.table(), "--answer-timeout", "200ms")
	post := "POST /live/k/c HTTP/1.1\r\nHost: " + liveHost + "\r\n\r\n"
	for name, tc := range map[string]struct {
		say    string
		status int
		body   string
	}{
		"until close":   {"HTTP/1.0 200 OK\r\n\r\nabc", 200, "abc"},
		"interim":       {"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\na", 200, "a"},
		"nonsense":      {"nonsense\r\n\r\n", 502, "the node that serves this broke off\n"},
		"two framings":  {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 502, "the node that serves this broke off\n"},
		"unasked 101":   {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n", 502, "the node that serves this broke off\n"},
		"nothing":       {"", 502, "the node that serves this broke off\n"},
		"refused":       {"HTTP/1.1 421 Misdirected Request\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno", 421, "no"},
		"not available": {"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\nContent-Length: 2\r\n\r\nno", 503, "no"},
	} {
		t.Run(name, func(t *testing.T) {
			c := p.dial(t)
			c.say(post)
			u := n.next(t)
			u.request()
			u.say(tc.say)
			require.NoError(t, u.Close())
			res, body := c.response("POST")
			require.Equal(t, tc.status, res.StatusCode)
			require.Equal(t, tc.body, body)
		})
	}
	t.Run("refused clients look for the host anew", func(t *testing.T) {
		for status, closes := range map[int]bool{421: true, 503: false} {
			c := p.dial(t)
			c.say(post)
			u := n.next(t)
			u.request()
			u.say(fmt.Sprintf("HTTP/1.1 %d x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", status))
			require.NoError(t, u.Close())
			res, _ := c.response("POST")
			require.Equal(t, closes, res.Close, status)
		}
	})
	t.Run("silence", func(t *testing.T) {
		c := p.dial(t)
		c.say(post)
		n.next(t).request()
		res, _ := c.response("POST")
		require.Equal(t, 504, res.StatusCode)
		require.Equal(t, "1", res.Header.Get("Retry-After"))
	})
	t.Run("cut short", func(t *testing.T) {
		c := p.dial(t)
		c.say(post)
		u := n.next(t)
		u.request()
		u.say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
		require.NoError(t, u.Close())
		res, err := http.ReadResponse(c.br, nil)
		require.NoError(t, err)
		_, err = io.ReadAll(res.Body)
		require.ErrorIs(t, err, io.ErrUnexpectedEOF, "the client must notice")
	})
	t.Run("unreachable", func(t *testing.T) {
		require.NoError(t, n.Close())
		c := p.dial(t)
		c.say(post)
		res, _ := c.response("POST")
		require.Equal(t, 503, res.StatusCode)
		require.Equal(t, "1", res.Header.Get("Retry-After"))
		require.False(t, res.Close)
	})
}

// TestClosedConnectionsAreNotUsedAgain: a node that went away while idle costs
// no request.
func TestClosedConnectionsAreNotUsedAgain(t *testing.T) {
	n := startNode(t)
	p := startProxy(t, "--allow-plain", "--live", n.table())
	c := p.dial(t)
	for range 3 {
		c.say("POST /live/k/c HTTP/1.1\r\nHost: " + liveHost + "\r\n\r\n")
		u := n.next(t)
		u.request()
		u.say("HTTP/1.1 204 No Content\r\n\r\n")
		res, _ := c.response("POST")
		require.Equal(t, 204, res.StatusCode)
		require.NoError(t, u.Conn.(*net.TCPConn).CloseWrite())
		u.hearEnd() // the proxy has noticed
	}
}

// between gives a connection to a proxy whose table names node a, and once it is
// asked for again node b, and how often that was.
func between(t *testing.T, a, b *node) (ours net.Conn, asked *atomic.Int64) {
	asked = new(atomic.Int64)
	m := &machine{signals: make(chan nodes.Signal), log: &logHook{records: make(chan slog.Record, 100)}}
	var err error
	m.OS, err = nodes.NewOS(nodes.OSOptions{Root: t.TempDir(), Log: slog.New(m.log)})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	s := &server{ctx: ctx, m: m, o: options{connections: 10, idle: time.Minute, head: time.Minute, answer: time.Minute, renew: time.Hour, hosts: []string{liveHost}, allowPlain: true},
		pool: newPool(ctx, m), open: newTunnels(), conns: map[uint64]*conn{}, drain: nodes.NewDrain(ctx, m, nodes.DrainOptions{}),
		buffers: sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}}
	s.table = placement.Watch(placement.Table{Epoch: 1, Nodes: []placement.Node{{Name: "a", Addr: a.Addr().String()}}}, m.Elapsed,
		func(context.Context) (placement.Table, error) {
			asked.Add(1)
			return placement.Table{Epoch: 2, Nodes: []placement.Node{{Name: "b", Addr: b.Addr().String()}}}, nil
		})
	ours, theirs := net.Pipe()
	t.Cleanup(func() { _ = ours.Close() })
	conn, ok := s.admit(theirs, nil)
	require.True(t, ok)
	go conn.serve()
	return ours, asked
}

// TestPoolForgets: nothing is kept of a node whose last idle connection was taken
// and has not come back, as when the node is gone.
func TestPoolForgets(t *testing.T) {
	n := startNode(t)
	m, err := nodes.NewOS(nodes.OSOptions{Root: t.TempDir()})
	require.NoError(t, err)
	defer m.Close()
	p := newPool(t.Context(), m)
	defer p.close()
	node := placement.Node{Name: "a", Addr: n.Addr().String(), Incarnation: 1}
	u, err := p.get(t.Context(), node)
	require.NoError(t, err)
	p.put(u)
	again, err := p.get(t.Context(), node)
	require.NoError(t, err)
	defer again.Close()
	require.Same(t, u, again)
	require.Empty(t, p.idle)
}

func TestMisdirectedAsksAgain(t *testing.T) {
	a, b := startNode(t), startNode(t)
	ours, asked := between(t, a, b)
	go func() {
		fmt.Fprintf(ours, "POST /live/k/c HTTP/1.1\r\nHost: %s\r\nContent-Length: 2\r\n\r\nhi", liveHost)
	}()
	for i, n := range []*node{a, b} {
		u := n.next(t)
		_, body := u.request()
		require.Equal(t, "hi", body)
		u.say(fmt.Sprintf("HTTP/1.1 %d x\r\nContent-Length: 0\r\n\r\n", []int{421, 200}[i]))
	}
	res, err := http.ReadResponse(bufio.NewReader(ours), nil)
	require.NoError(t, err)
	require.Equal(t, 200, res.StatusCode)
	require.Equal(t, int64(1), asked.Load())
}

// TestLargeBodiesAreSentOnce: of a body that is larger than what is kept of it no
// part may pass for the whole, once a node has had it all.
func TestLargeBodiesAreSentOnce(t *testing.T) {
	for name, tc := range map[string]struct {
		method, says string
		status       int
	}{
		"misdirected": {"POST", "HTTP/1.1 421 x\r\nContent-Length: 0\r\n\r\n", 421},
		"broken":      {"PUT", "", 502},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := startNode(t), startNode(t)
			ours, _ := between(t, a, b)
			back := bufio.NewReader(ours)
			body := strings.Repeat("0123456789abcdef", 3000)
			request := func(method, body string) {
				go func() {
					fmt.Fprintf(ours, "%s /live/k/c HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n%s", method, liveHost, len(body), body)
				}()
			}
			request("PUT", "") // so that the connection to the node is one that was kept
			u := a.next(t)
			u.request()
			u.say("HTTP/1.1 204 x\r\n\r\n")
			res, err := http.ReadResponse(back, nil)
			require.NoError(t, err)
			require.Equal(t, 204, res.StatusCode)

			request(tc.method, body)
			_, got := u.request()
			require.Equal(t, len(body), len(got))
			u.say(tc.says)
			require.NoError(t, u.Close())
			go func() {
				for c := range b.conns {
					r, err := http.ReadRequest(bufio.NewReader(c))
					if err == nil {
						got, _ := io.ReadAll(r.Body)
						t.Errorf("%d of %d bytes were sent again", len(got), len(body))
					}
					_, _ = io.WriteString(c, "HTTP/1.1 200 x\r\nContent-Length: 0\r\n\r\n")
				}
			}()
			defer close(b.conns)
			res, err = http.ReadResponse(back, nil)
			require.NoError(t, err)
			require.Equal(t, tc.status, res.StatusCode)
		})
	}
}

const upgrade = "GET /live/k HTTP/1.1\r\nHost: " + liveHost + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
const switched = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"

// open makes a tunnel and gives both ends.
func (p *proxy) open(t testing.TB, n *node) (client, node *peer) {
	t.Helper()
	client = p.dial(t)
	client.say(upgrade + "early")
	node = n.next(t)
	r, _ := node.request()
	require.Equal(t, "websocket", r.Header.Get("Upgrade"))
	node.say(switched + "late")
	res, err := http.ReadResponse(client.br, nil)
	require.NoError(t, err)
	require.Equal(t, 101, res.StatusCode)
	node.hear("early")
	client.hear("late")
	return client, node
}

func TestTunnel(t *testing.T) {
	n := startNode(t)
	p := startProxy(t, "--allow-plain", "--live", n.table())

	t.Run("client ends first", func(t *testing.T) {
		client, node := p.open(t, n)
		client.say("last words")
		require.NoError(t, client.Conn.(*net.TCPConn).CloseWrite())
		node.hear("last words")
		node.hearEnd()
		node.say("still here")
		require.NoError(t, node.Close())
		client.hear("still here")
		client.hearEnd()
		require.Equal(t, "client closed", p.log.await(t, "tunnel closed")["reason"])
	})
	t.Run("node ends first", func(t *testing.T) {
		client, node := p.open(t, n)
		require.NoError(t, node.Conn.(*net.TCPConn).CloseWrite())
		client.hearEnd()
		client.say("still here")
		require.NoError(t, client.Close())
		node.hear("still here")
		node.hearEnd()
		require.Equal(t, "node closed", p.log.await(t, "tunnel closed")["reason"])
	})
	t.Run("reset", func(t *testing.T) {
		client, node := p.open(t, n)
		require.NoError(t, client.Conn.(*net.TCPConn).SetLinger(0))
		require.NoError(t, client.Close())
		_, err := io.ReadAll(node.br)
		var timeout net.Error
		require.False(t, errors.As(err, &timeout) && timeout.Timeout(), "the node is told")
		require.Equal(t, "client closed", p.log.await(t, "tunnel closed")["reason"])
	})
}

func TestTunnelTimeouts(t *testing.T) {
	n := startNode(t)
	t.Run("idle", func(t *testing.T) {
		p := startProxy(t, "--allow-plain", "--live", n.table(), "--tunnel-timeout", "100ms")
		client, _ := p.open(t, n)
		client.hearEnd()
		require.Equal(t, "idle", p.log.await(t, "tunnel closed")["reason"])
	})
	t.Run("half closed", func(t *testing.T) {
		p := startProxy(t, "--allow-plain", "--live", n.table(), "--idle-timeout", "100ms")
		client, _ := p.open(t, n)
		require.NoError(t, client.Conn.(*net.TCPConn).CloseWrite())
		client.hearEnd()
		require.Equal(t, "client closed", p.log.await(t, "tunnel closed")["reason"])
	})
	t.Run("half closed by the node", func(t *testing.T) {
		p := startProxy(t, "--allow-plain", "--live", n.table(), "--idle-timeout", "100ms")
		client, node := p.open(t, n)
		require.NoError(t, node.Conn.(*net.TCPConn).CloseWrite())
		client.hearEnd() // and does not end itself, as one that is gone
		require.Equal(t, "node closed", p.log.await(t, "tunnel closed")["reason"])
	})
	t.Run("a reader that takes nothing", func(t *testing.T) {
		p := startProxy(t, "--allow-plain", "--live", n.table(), "--idle-timeout", "200ms")
		_, node := p.open(t, n)
		_, err := node.Write(make([]byte, 64<<20))
		require.Error(t, err)
		require.Equal(t, "idle", p.log.await(t, "tunnel closed")["reason"])
	})
}

func TestThroughToLive(t *testing.T) {
	l := start(t, t.TempDir(), "live-1", live.Run, "--listen", "127.0.0.1:0")
	address := l.log.await(t, "listening")["address"].(string)
	p := startProxy(t, "--live", "live-1="+address)
	c := p.client(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, "wss://"+liveHost+"/live/k", &websocket.DialOptions{
		HTTPClient: c, Subprotocols: []string{live.Subprotocol}})
	require.NoError(t, err)
	defer conn.CloseNow()
	hear := func() string {
		t.Helper()
		_, b, err := conn.Read(ctx)
		require.NoError(t, err)
		return string(b)
	}
	require.NoError(t, conn.Write(ctx, websocket.MessageText, []byte(`{"op":"subscribe","channel":"c"}`)))
	require.Contains(t, hear(), `"recovered":"fresh"`)
	for i := range 3 {
		res, body := do(t, c, "POST", "https://"+liveHost+"/live/k/c", fmt.Sprint("message ", i))
		require.Equal(t, 200, res.StatusCode)
		require.Contains(t, body, fmt.Sprintf(`"offset":%d}`, i+1))
		require.Equal(t, fmt.Sprintf(`{"op":"message","channel":"c","offset":%d,"data":"message %d"}`, i+1, i), hear())
	}
	l.signals <- nodes.Terminate
	for err = nil; err == nil; { // it may say when to come back
		_, _, err = conn.Read(ctx)
	}
	require.EqualValues(t, 1012, websocket.CloseStatus(err))
	require.NoError(t, <-l.done)
	l.done <- nil
	res, _ := do(t, c, "POST", "https://"+liveHost+"/live/k/c", "x")
	require.Equal(t, 503, res.StatusCode)
}

func TestDrain(t *testing.T) {
	n := startNode(t)
	p := startProxy(t, "--allow-plain", "--live", n.table(), "--drain-window", "300ms", "--drain", "300ms")
	resting := p.dial(t)
	resting.say("GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
	res, _ := resting.response("GET")
	require.Equal(t, 200, res.StatusCode)
	working := p.dial(t)
	working.say("POST /live/k/c HTTP/1.1\r\nHost: " + liveHost + "\r\n\r\n")
	u := n.next(t)
	u.request()
	client, _ := p.open(t, n)

	p.signals <- nodes.Terminate
	p.log.await(t, "draining")
	require.Eventually(t, func() bool {
		res, _ := do(t, p.client(t), "GET", "http://a/health", "") // accepted still
		return res.StatusCode == 503 && res.Close
	}, 10*time.Second, time.Millisecond)
	require.Equal(t, int64(1), p.log.await(t, "finishing")["tunnels"])
	resting.hearEnd()
	_, err := net.Dial("tcp", p.plain)
	require.Error(t, err)

	u.say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	res, _ = working.response("POST")
	require.True(t, res.Close)

	client.hearEnd() // at the end of its time
	require.Equal(t, "drain", p.log.await(t, "tunnel closed")["reason"])
	require.NoError(t, <-p.done)
	p.done <- nil
}

func TestLimit(t *testing.T) {
	p := startProxy(t, "--max-connections", "1")
	c := p.dial(t)
	c.say("GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
	c.response("GET")
	res, _ := p.dial(t).response("GET")
	require.Equal(t, 503, res.StatusCode)
	require.True(t, res.Close)
	_, err := tls.Dial("tcp", p.secure, &tls.Config{RootCAs: p.roots, ServerName: wwwHost})
	require.Error(t, err)
	require.NoError(t, c.Close())
	require.Eventually(t, func() bool {
		// Not with net/http, which calls an answer that comes before its request an error.
		return strings.HasPrefix(p.talk(t, "GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"), "HTTP/1.1 200 ")
	}, 10*time.Second, time.Millisecond)
}

func TestTLS(t *testing.T) {
	p := startProxy(t, "--head-timeout", "100ms")
	_, err := tls.Dial("tcp", p.secure, &tls.Config{RootCAs: p.roots, ServerName: wwwHost, MaxVersion: tls.VersionTLS11})
	require.Error(t, err)
	c, err := tls.Dial("tcp", p.secure, &tls.Config{RootCAs: p.roots, ServerName: wwwHost, NextProtos: []string{"h2", "http/1.1"}})
	require.NoError(t, err)
	require.Equal(t, "http/1.1", c.ConnectionState().NegotiatedProtocol)
	require.NoError(t, c.Close())

	// A handshake that never comes is cut.
	raw, err := net.Dial("tcp", p.secure)
	require.NoError(t, err)
	require.NoError(t, raw.SetDeadline(time.Now().Add(10*time.Second)))
	_, err = io.ReadAll(raw)
	var timeout net.Error
	require.False(t, errors.As(err, &timeout) && timeout.Timeout())

	// Another certificate is shown from then on.
	renewed := writeCert(t, filepath.Join(p.root, "cert.pem"))
	p.signals <- nodes.Reload
	p.log.await(t, "certificate reloaded")
	c, err = tls.Dial("tcp", p.secure, &tls.Config{RootCAs: renewed, ServerName: wwwHost})
	require.NoError(t, err)
	require.NoError(t, c.Close())
}

func TestStopCutsAll(t *testing.T) {
	n := startNode(t)
	p := startProxy(t, "--allow-plain", "--live", n.table())
	client, _ := p.open(t, n)
	p.cancel()
	client.hearEnd()
	require.ErrorIs(t, <-p.done, context.Canceled)
	p.done <- nil
}

func TestFlags(t *testing.T) {
	for args, want := range map[string]string{
		"--nonsense":                         "not defined",
		"extra --https=":                     `unexpected argument "extra"`,
		"--live a":                           "want name=host:port[@zone]",
		"--https=:1":                         "--https needs --cert",
		"--http= --https=":                   "both --http and --https are off",
		"--https= --host a/b":                `"a/b" is not a host`,
		"--https= --www a/b":                 `"a/b" is not a host`,
		"--https= --drain 0s":                "times must be above zero",
		"--https= --max-connections 0":       "--max-connections",
		"--https= --children -1":             "--children",
		"--cert /none":                       "proxy: nodes: certificate: read file",
		"--https= --http 127.0.0.1:nonsense": "proxy: listen",
	} {
		system, err := nodes.NewOS(nodes.OSOptions{Root: t.TempDir()})
		require.NoError(t, err)
		require.ErrorContains(t, Run(t.Context(), system, strings.Fields(args)), want, args)
		require.NoError(t, system.Close())
	}
}

func BenchmarkRelay(b *testing.B) {
	l := start(b, b.TempDir(), "live-1", live.Run, "--listen", "127.0.0.1:0")
	address := l.log.await(b, "listening")["address"].(string)
	p := startProxy(b, "--live", "live-1="+address, "--allow-plain")
	c := p.client(b)
	for _, scheme := range []string{"http", "https"} {
		b.Run(scheme, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				do(b, c, "POST", scheme+"://"+liveHost+"/live/k/c", "message")
			}
		})
	}
}
