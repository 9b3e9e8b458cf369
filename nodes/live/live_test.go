package live

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/nodes"
	"github.com/espra/protoplex/nodes/placement"
)

const testHost = "us-1.live.espra.com"

// machine is the operating system with names of its own and signals that a
// test can send.
type machine struct {
	*nodes.OS
	signals chan nodes.Signal
	log     *logHook

	mu      sync.Mutex
	records map[string][]string
}

func (m *machine) Signals() <-chan nodes.Signal { return m.signals }
func (m *machine) Log() *slog.Logger            { return slog.New(m.log) }

func (m *machine) Lookup(_ context.Context, kind, name string) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	texts := m.records[kind+" "+name]
	if texts == nil {
		return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	return texts, nil
}

func (m *machine) setHome(host, text string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.records["TXT _home."+host] = []string{text}
}

// logHook hands every record to whoever waits for it.
type logHook struct{ records chan slog.Record }

func (h *logHook) Enabled(context.Context, slog.Level) bool { return true }
func (h *logHook) WithGroup(string) slog.Handler            { return h }
func (h *logHook) WithAttrs(attrs []slog.Attr) slog.Handler { return h }
func (h *logHook) Handle(_ context.Context, r slog.Record) error {
	h.records <- r
	return nil
}

// await reads the log up to a line with this message and gives its attributes.
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

type node struct {
	*machine
	address string
	done    chan error
	cancel  context.CancelFunc
}

// start runs the role and returns once it listens.
func start(t testing.TB, args ...string) *node {
	return startWith(t, nil, args...)
}

func startWith(t testing.TB, records map[string][]string, args ...string) *node {
	t.Helper()
	log := &logHook{records: make(chan slog.Record, 10_000)}
	host := nodes.Host{Name: "live-1", Region: "us-east", Addr: netip.MustParseAddr("127.0.0.1"), Proc: "live"}
	system, err := nodes.NewOS(nodes.OSOptions{Host: host, Root: t.TempDir(), Log: slog.New(log)})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, system.Close()) })
	if records == nil {
		records = map[string][]string{}
	}
	m := &machine{OS: system, signals: make(chan nodes.Signal, 1), log: log, records: records}
	ctx, cancel := context.WithCancel(context.Background())
	n := &node{machine: m, done: make(chan error, 1), cancel: cancel}
	go func() { n.done <- Run(ctx, m, append([]string{"--listen", "127.0.0.1:0"}, args...)) }()
	t.Cleanup(func() {
		cancel()
		select {
		case <-n.done:
		case <-time.After(20 * time.Second):
			t.Error("the role does not stop")
		}
	})
	n.address = log.await(t, "listening")["address"].(string)
	return n
}

// client is one tunnel, seen from its far end.
type client struct {
	t    testing.TB
	conn *websocket.Conn
}

// far dials the node whatever the host of the URL.
func (n *node) far() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return n.DialContext(ctx, network, n.address)
			},
		},
	}
}

func (n *node) dial(host, key string) (*websocket.Conn, *http.Response, error) {
	return websocket.Dial(context.Background(), "ws://"+host+"/live/"+key, &websocket.DialOptions{
		HTTPClient:   n.far(),
		Subprotocols: []string{Subprotocol},
	})
}

func (n *node) open(t testing.TB, key string) *client {
	t.Helper()
	conn, _, err := n.dial(testHost, key)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.CloseNow() })
	conn.SetReadLimit(1 << 20)
	return &client{t: t, conn: conn}
}

func (c *client) send(frame string) {
	c.t.Helper()
	require.NoError(c.t, c.conn.Write(context.Background(), websocket.MessageText, []byte(frame)))
}

func (c *client) read() (map[string]any, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_, b, err := c.conn.Read(ctx)
	if err != nil {
		return nil, err
	}
	var v map[string]any
	require.NoError(c.t, json.Unmarshal(b, &v), string(b))
	return v, nil
}

func (c *client) next() map[string]any {
	c.t.Helper()
	v, err := c.read()
	require.NoError(c.t, err)
	return v
}

func (c *client) subscribe(channel string, pos *Position) (Position, string) {
	c.t.Helper()
	c.send(string(encode(map[string]any{"op": "subscribe", "channel": channel, "position": pos})))
	v := c.next()
	require.Equal(c.t, "subscribed", v["op"], v)
	require.Equal(c.t, channel, v["channel"])
	p := v["position"].(map[string]any)
	return Position{p["incarnation"].(string), uint64(p["offset"].(float64))}, v["recovered"].(string)
}

func (c *client) wantMessage(channel string, offset int, data string) {
	c.t.Helper()
	want := map[string]any{"op": "message", "channel": channel, "offset": float64(offset), "data": data}
	require.Empty(c.t, cmp.Diff(want, c.next()))
}

func (c *client) wantClose(code int) {
	c.t.Helper()
	for {
		_, err := c.read()
		if err != nil {
			require.Equal(c.t, code, int(websocket.CloseStatus(err)), "%v", err)
			return
		}
	}
}

func (n *node) post(t testing.TB, host, path, body string) (int, string) {
	t.Helper()
	r, err := n.far().Post("http://"+host+"/live/"+path, "text/plain", strings.NewReader(body))
	require.NoError(t, err)
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	require.NoError(t, err)
	return r.StatusCode, string(b)
}

func (n *node) publish(t testing.TB, path, body string) Position {
	t.Helper()
	status, text := n.post(t, testHost, path, body)
	require.Equal(t, 200, status, text)
	var v struct{ Position Position }
	require.NoError(t, json.Unmarshal([]byte(text), &v))
	return v.Position
}

func TestPublishAndResume(t *testing.T) {
	n := start(t, "--history", "3", "--epoch", "4")
	c := n.open(t, "lobby")
	first, recovered := c.subscribe("news", nil)
	require.Equal(t, "fresh", recovered)
	require.Zero(t, first.Offset)
	require.Regexp(t, `^us-east-4-[0-9a-f]{16}$`, first.Incarnation)

	require.Equal(t, Position{first.Incarnation, 1}, n.publish(t, "lobby/news", `a "b" <c>`))
	c.wantMessage("news", 1, `a "b" <c>`)

	c.send(`{"op":"publish","channel":"news","id":"x1","data":"two"}`)
	c.wantMessage("news", 2, "two")
	require.Empty(t, cmp.Diff(map[string]any{
		"op": "published", "channel": "news", "id": "x1",
		"position": map[string]any{"incarnation": first.Incarnation, "offset": 2.0},
	}, c.next()))

	c.send(`{"op":"unsubscribe","channel":"news"}`)
	c.send(`{"op":"publish","channel":"other","data":"in between"}`)
	require.Equal(t, "published", c.next()["op"])
	for i := 3; i <= 5; i++ {
		n.publish(t, "lobby/news", fmt.Sprint(i))
	}

	for _, tc := range []struct {
		name      string
		pos       Position
		at        uint64
		recovered string
		replayed  []int
	}{
		{"the end", Position{first.Incarnation, 5}, 5, "nothing-missed", nil},
		{"one missed", Position{first.Incarnation, 4}, 4, "replay", []int{5}},
		{"all that is kept", Position{first.Incarnation, 2}, 2, "replay", []int{3, 4, 5}},
		{"one too old", Position{first.Incarnation, 1}, 5, "gap", nil},
		{"before anything", Position{first.Incarnation, 0}, 5, "gap", nil},
		{"the future", Position{first.Incarnation, 6}, 5, "gap", nil},
		{"nowhere", Position{}, 5, "gap", nil},
		{"another incarnation", Position{"us-east-3-0000000000000000", 4}, 5, "gap", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := n.open(t, "lobby")
			at, recovered := c.subscribe("news", &tc.pos)
			require.Equal(t, tc.recovered, recovered)
			require.Equal(t, Position{first.Incarnation, tc.at}, at)
			for _, i := range tc.replayed {
				c.wantMessage("news", i, fmt.Sprint(i))
			}
			// The next thing heard is the next thing asked for: nothing else was sent.
			c.subscribe("other", nil)
		})
	}
}

func TestKeysAreApart(t *testing.T) {
	n := start(t)
	a, b := n.open(t, "a"), n.open(t, "b")
	pa, _ := a.subscribe("news", nil)
	pb, _ := b.subscribe("news", nil)
	require.NotEqual(t, pa.Incarnation, pb.Incarnation)
	n.publish(t, "a/news", "for a")
	n.publish(t, "b/news", "for b")
	a.wantMessage("news", 1, "for a")
	b.wantMessage("news", 1, "for b")
}

func TestIncarnationsAreNew(t *testing.T) {
	seen := map[string]bool{}
	for range 2 {
		n := start(t)
		for _, key := range []string{"a", "b"} {
			p := n.publish(t, key+"/news", "x")
			require.False(t, seen[p.Incarnation])
			seen[p.Incarnation] = true
		}
		n.cancel()
	}
}

func TestStrangers(t *testing.T) {
	n := start(t)
	for name, tc := range map[string]struct {
		frame string
		code  int
	}{
		"no JSON":       {`{`, 4004},
		"no object":     {`[]`, 4004},
		"no op":         {`{"channel":"a"}`, 4004},
		"unknown op":    {`{"op":"dance","channel":"a"}`, 4004},
		"no channel":    {`{"op":"subscribe"}`, 4004},
		"bad channel":   {`{"op":"subscribe","channel":"a/b"}`, 4004},
		"long channel":  {`{"op":"subscribe","channel":"` + strings.Repeat("a", 129) + `"}`, 4004},
		"long id":       {`{"op":"publish","channel":"a","id":"` + strings.Repeat("a", 129) + `"}`, 4004},
		"bad offset":    {`{"op":"subscribe","channel":"a","position":{"incarnation":"x","offset":-1}}`, 4004},
		"not UTF-8":     {"{\"op\":\"publish\",\"channel\":\"a\",\"data\":\"\xff\"}", 4004},
		"big frame":     {`{"op":"publish","channel":"a","data":"` + strings.Repeat("a", maxFrame) + `"}`, 1009},
		"twice":         {`{"op":"subscribe","channel":"again"}`, 1008},
		"too many":      {`{"op":"subscribe","channel":"c100"}`, 1008},
		"close":         {"", 1000},
		"largest frame": {`{"op":"publish","channel":"a","data":"` + strings.Repeat("a", maxFrame-40) + `"}`, 0},
	} {
		t.Run(name, func(t *testing.T) {
			c := n.open(t, "k")
			switch name {
			case "twice":
				c.subscribe("again", nil)
			case "too many":
				for i := range maxTunnelChannels {
					c.subscribe(fmt.Sprintf("c%d", i), nil)
				}
			case "close":
				require.NoError(t, c.conn.Close(1000, "bye"))
				for n.log.await(t, "tunnel closed")["code"] != int64(1000) {
				}
				return
			}
			c.send(tc.frame)
			if tc.code == 0 {
				require.Equal(t, "published", c.next()["op"])
				return
			}
			c.wantClose(tc.code)
		})
	}
	t.Run("binary", func(t *testing.T) {
		c := n.open(t, "k")
		require.NoError(t, c.conn.Write(t.Context(), websocket.MessageBinary, []byte(`{}`)))
		require.Equal(t, "error", c.next()["op"])
		c.wantClose(4004)
	})
}

func TestHTTP(t *testing.T) {
	n := start(t, "--max-tunnels", "1", "--max-channels", "3")
	for _, tc := range []struct {
		method, path, body string
		status             int
	}{
		{"GET", "/health", "", 200},
		{"GET", "/", "", 404},
		{"GET", "/live/", "", 400},
		{"GET", "/live/a%2Fb", "", 400},
		{"GET", "/live/k", "", 400}, // no WebSocket
		{"GET", "/live/k/c", "", 200},
		{"PUT", "/live/k/c", "", 405},
		{"POST", "/live/k/c", "", 200},
		{"POST", "/live/k/c/d", "", 400},
		{"POST", "/live/k/c", strings.Repeat("a", maxFrame), 200},
		{"POST", "/live/k/c", strings.Repeat("a", maxFrame+1), 413},
		{"POST", "/live/k/c", "\xff", 400},
	} {
		r, err := http.NewRequestWithContext(t.Context(), tc.method, "http://"+testHost+tc.path, strings.NewReader(tc.body))
		require.NoError(t, err)
		answer, err := n.far().Do(r)
		require.NoError(t, err)
		b, _ := io.ReadAll(answer.Body)
		answer.Body.Close()
		require.Equal(t, tc.status, answer.StatusCode, "%s %s: %s", tc.method, tc.path, b)
	}

	c := n.open(t, "k")
	for i := range 3 {
		c.subscribe(fmt.Sprint(i), nil) // answered, so the tunnel has its place
	}
	_, answer, err := n.dial(testHost, "k")
	require.Error(t, err)
	require.Equal(t, 503, answer.StatusCode, "one tunnel too many")

	status, _ := n.post(t, testHost, "k/another", "x")
	require.Equal(t, 503, status, "all channels have subscribers")
	c.send(`{"op":"publish","channel":"another","id":"7","data":"x"}`)
	require.Equal(t, "no-room", c.next()["code"])
	c.send(`{"op":"subscribe","channel":"another"}`)
	c.wantClose(1013)
}

func TestOwnership(t *testing.T) {
	const nodes = "live-1=127.0.0.1:1,live-2=127.0.0.1:2"
	table, err := placement.Parse(nodes)
	require.NoError(t, err)
	n := start(t, "--live", nodes)
	served, refused := 0, 0
	for i := range 40 {
		key := fmt.Sprintf("k%d", i)
		owner, _ := table.Owner(testHost + "/" + key)
		status, _ := n.post(t, testHost, key+"/c", "x")
		if owner.Name == "live-1" {
			require.Equal(t, 200, status)
			served++
		} else {
			require.Equal(t, 421, status)
			refused++
		}
	}
	require.NotZero(t, served)
	require.NotZero(t, refused)
}

func TestHome(t *testing.T) {
	other := "eu-1.live.espra.com"
	n := startWith(t, map[string][]string{
		"TXT _home." + testHost: {"v=home1 region=us-east epoch=1"},
		"TXT _home." + other:    {"v=home1 region=eu-west epoch=1"},
	}, "--home", testHost, "--home", other, "--home-check", "20ms")

	status, _ := n.post(t, other, "k/c", "x")
	require.Equal(t, 421, status, "lives elsewhere since before the start")
	status, _ = n.post(t, "www.espra.com", "k/c", "x")
	require.Equal(t, 421, status, "not a live host of ours")

	c := n.open(t, "k")
	before, _ := c.subscribe("c", nil)

	n.setHome(testHost, "v=home1 region=eu-west epoch=1")
	n.setHome(other, "v=home1 region=us-east epoch=2")
	require.Equal(t, map[string]any{"host": other, "epoch": uint64(2)}, n.log.await(t, "home here"))
	status, _ = n.post(t, testHost, "k/c", "x")
	require.Equal(t, 200, status, "an equal epoch moves nothing")
	c.wantMessage("c", 1, "x")

	n.setHome(testHost, "v=home1 region=eu-west epoch=2")
	require.Equal(t, map[string]any{"host": testHost, "region": "eu-west", "epoch": uint64(2), "tunnels": int64(1)},
		n.log.await(t, "home moved"))
	c.wantClose(CloseMoved)
	_, answer, err := n.dial(testHost, "k")
	require.Error(t, err)
	require.Equal(t, 421, answer.StatusCode)

	n.setHome(testHost, "nonsense")
	n.log.await(t, "home unreadable")
	status, _ = n.post(t, testHost, "k/c", "x")
	require.Equal(t, 421, status, "what cannot be read changes nothing")

	n.setHome(testHost, "v=home1 region=us-east epoch=3")
	require.Equal(t, map[string]any{"host": testHost, "epoch": uint64(3)}, n.log.await(t, "home here"))
	c = n.open(t, "k")
	after, recovered := c.subscribe("c", &before)
	require.Equal(t, "gap", recovered)
	require.NotEqual(t, before.Incarnation, after.Incarnation)

	// Away and back, as one learns who could not read for so long.
	n.setHome(testHost, "v=home1 region=us-east epoch=5")
	require.Equal(t, map[string]any{"host": testHost, "epoch": uint64(5), "tunnels": int64(1)}, n.log.await(t, "home here again"))
	c.wantClose(CloseMoved)
	_, recovered = n.open(t, "k").subscribe("c", &after)
	require.Equal(t, "gap", recovered)
}

func TestNothingReadableCarriesOn(t *testing.T) {
	n := start(t, "--home", testHost)
	status, _ := n.post(t, testHost, "k/c", "x")
	require.Equal(t, 200, status)
}

// TestReadLate: who was let in while no record could be read may have missed that
// the host moved away and back.
func TestReadLate(t *testing.T) {
	for epoch, moved := range map[int]bool{1: false, 3: true} {
		n := startWith(t, map[string][]string{"TXT _home." + testHost: {"nonsense"}}, "--home", testHost, "--home-check", "20ms")
		n.log.await(t, "home unreadable")
		c := n.open(t, "k")
		at, _ := c.subscribe("c", nil)
		n.setHome(testHost, fmt.Sprintf("v=home1 region=us-east epoch=%d", epoch))
		if !moved {
			n.log.await(t, "home here")
			status, _ := n.post(t, testHost, "k/c", "x")
			require.Equal(t, 200, status)
			c.wantMessage("c", 1, "x")
			continue
		}
		require.Equal(t, map[string]any{"host": testHost, "epoch": uint64(3), "tunnels": int64(1)}, n.log.await(t, "home here again"))
		c.wantClose(CloseMoved)
		_, recovered := n.open(t, "k").subscribe("c", &at)
		require.Equal(t, "gap", recovered)
	}
}

func TestTerminate(t *testing.T) {
	n := start(t)
	c := n.open(t, "k")
	c.subscribe("c", nil)
	n.signals <- nodes.Terminate
	c.wantClose(1012)
	require.NoError(t, <-n.done)
	n.done <- nil
}

func TestStop(t *testing.T) {
	n := start(t)
	c := n.open(t, "k")
	n.cancel()
	_, err := c.read()
	require.Error(t, err)
	err = <-n.done
	require.ErrorIs(t, err, context.Canceled)
	n.done <- nil
}

func TestFlags(t *testing.T) {
	for args, want := range map[string]string{
		"--nonsense":                          "not defined",
		"extra":                               `unexpected argument "extra"`,
		"--live a":                            "want name=host:port[@zone]",
		"--live a=h:1":                        `--name "live-1" is not in --live`,
		"--history 0":                         "want a number above zero",
		"--queue-bytes 1GiB":                  "want a number above zero",
		"--home-check 0s":                     "--home-check",
		"--home a --home A":                   "empty, reserved or repeated host",
		"--home cell.internal":                "empty, reserved or repeated host",
		"--proxies 10.0.0.1":                  "not a network such as",
		"--client-tunnels 0":                  "want a number above zero",
		"--epoch -1":                          "invalid value",
		"--history-bytes 99999999999999MiB":   "want a number above zero",
		"--listen not.an.address --epoch=1":   "live: listen:",
		"--listen 127.0.0.1:1x --max-tunnels": "flag needs an argument",
	} {
		system, err := nodes.NewOS(nodes.OSOptions{Host: nodes.Host{Name: "live-1"}, Root: t.TempDir()})
		require.NoError(t, err)
		require.ErrorContains(t, Run(t.Context(), system, strings.Fields(args)), want, args)
		require.NoError(t, system.Close())
	}
}
