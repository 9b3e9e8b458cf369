package metatest

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/nodes"
	"github.com/espra/protoplex/nodes/machinetest"
	"github.com/espra/protoplex/nodes/meta"
	"github.com/espra/protoplex/nodes/meta/ca"
)

func callTests() []Test {
	return []Test{
		{"a node tells how it is", testAsked},
		{"health says what is wrong", testHealth},
		{"a stranger is refused by the server", testStrangers},
		{"a stranger is refused by the client", testImpostors},
		{"dates are judged by each machine's clock", testClocks},
		{"roles may do what they may", testRoles},
		{"requests are bounded", testBounds},
		{"a parent is asked and drained", testParent},
	}
}

func testAsked(t testing.TB, w machinetest.World) {
	p := newPair(t, w, meta.Options{
		Facts:  map[string]func() any{"table": func() any { return map[string]int{"epoch": 7} }},
		Gauges: map[string]meta.Gauge{"protoplex_table_age_seconds": {Help: "How old.", Read: func() float64 { return 1.5 }}},
	})
	c := p.as("proxy", "proxy-1")
	var health []byte
	require.NoError(t, c.Call(within(t, p.client), "GET", "/health", nil, &health))
	require.Equal(t, "ok\n", string(health))

	var s meta.Status
	require.NoError(t, c.Call(within(t, p.client), "GET", "/status", nil, &s))
	require.Equal(t, []string{"us-east", "live", "live-1", "server", "v1", "ok"}, []string{s.Cell, s.Role, s.Name, s.Host, s.Version, s.Health})
	require.Equal(t, map[string]any{"table": map[string]any{"epoch": 7.0}}, s.Facts)

	var text []byte
	require.NoError(t, c.Call(within(t, p.client), "GET", "/metrics", nil, &text))
	for _, line := range []string{
		`protoplex_build_info{cell="us-east",goversion="go`,
		`,role="live",version="v1"} 1` + "\n",
		`protoplex_meta_requests_total{code="200",route="GET /status"} 1` + "\n",
		`protoplex_meta_request_duration_seconds_count{route="GET /status"} 1` + "\n",
		"# HELP protoplex_table_age_seconds How old.\n# TYPE protoplex_table_age_seconds gauge\nprotoplex_table_age_seconds 1.5\n",
	} {
		require.Contains(t, string(text), line)
	}
	require.Equal(t, http.StatusNotFound, status(t, c.Call(within(t, p.client), "GET", "/nothing", nil, nil)))
	require.Equal(t, http.StatusMethodNotAllowed, status(t, c.Call(within(t, p.client), "DELETE", "/status", nil, nil)))
}

func testHealth(t testing.TB, w machinetest.World) {
	p := newPair(t, w, meta.Options{Health: func() error { return errors.New("no table yet") }})
	err := p.as("proxy", "proxy-1").Call(within(t, p.client), "GET", "/health", nil, nil)
	require.Equal(t, &meta.StatusError{Status: 503, Text: "no table yet"}, err)
}

func testStrangers(t testing.TB, w machinetest.World) {
	p := newPair(t, w, meta.Options{})
	other := NewCell(t, w, "eu-west", p.server.Now())
	for name, id := range map[string]*ca.Identity{
		"another cell":       other.trusting(p.Cell, "seed", "seed-1"),
		"a key of their own": selfMade(t, p.Cell),
	} {
		// Whoever breaks in does not ask who is there.
		config := id.ClientConfig(p.client.Now, ca.Want{})
		config.VerifyConnection = nil
		require.ErrorContains(t, health(p, config), "bad certificate", name)
	}
	p.server.logged(t, 2, ca.ErrAuthority.Error())
	bare := &tls.Config{InsecureSkipVerify: true, Time: p.client.Now}
	require.ErrorContains(t, health(p, bare), "certificate required")
	require.NoError(t, health(p, p.Identity("seed", "seed-1").ClientConfig(p.client.Now, ca.Want{})))
	bare.MaxVersion = tls.VersionTLS12
	require.ErrorContains(t, health(p, bare), "protocol version")
}

// health asks for it over TLS as configured, until the server hangs up.
func health(p *pair, config *tls.Config) error {
	raw, err := p.client.DialContext(within(p.T, p.client), "tcp", p.address)
	if err != nil {
		return err
	}
	defer raw.Close()
	conn := tls.Client(raw, config)
	if err := conn.Handshake(); err != nil {
		return err
	}
	if _, err := io.WriteString(conn, "GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); err != nil {
		return err
	}
	_, err = io.ReadAll(conn)
	return err
}

// selfMade is a certificate that names the cell but is signed by a key of its
// own making.
func selfMade(t testing.TB, cell *Cell) *ca.Identity {
	thief := &Cell{T: t, W: cell.W, entropy: cell.entropy, from: cell.from, to: cell.to}
	var err error
	thief.Authority, err = ca.New(thief.entropy, "us-east", thief.from, thief.to)
	require.NoError(t, err)
	return thief.trusting(cell, "seed", "seed-1")
}

func testImpostors(t testing.TB, w machinetest.World) {
	p := newPair(t, w, meta.Options{})
	own := p.Identity("proxy", "proxy-1")
	other := NewCell(t, w, "eu-west", p.server.Now())
	for _, test := range []struct {
		id   *ca.Identity
		want ca.Want
		err  error
	}{
		{own, ca.Want{Roles: []string{"live", "seed"}, Name: "live-1"}, nil},
		{own, ca.Want{Roles: []string{"seed"}}, ca.ErrRole},
		{own, ca.Want{Roles: []string{"live"}, Name: "live-2"}, ca.ErrName},
		{p.trusting(other, "proxy", "proxy-1"), ca.Want{}, ca.ErrAuthority},
	} {
		c := p.Client(p.client, test.id, p.address, test.want)
		err := c.Call(within(t, p.client), "GET", "/health", nil, nil)
		if test.err == nil {
			require.NoError(t, err)
			continue
		}
		require.ErrorIs(t, err, test.err)
		_, err = c.Open(within(t, p.client), "/stream")
		require.ErrorIs(t, err, test.err)
	}
}

func testClocks(t testing.TB, w machinetest.World) {
	p := newPair(t, w, meta.Options{})
	id := p.Identity("proxy", "proxy-1")
	fast, slow := p.NewMachine("fast"), p.NewMachine("slow")
	fast.ahead, slow.ahead = 2*time.Hour, -2*time.Hour
	for _, m := range []*Machine{fast, slow} {
		err := p.Client(m, id, p.address, ca.Want{}).Call(within(t, m), "GET", "/health", nil, nil)
		require.ErrorIs(t, err, ca.ErrDates)
	}
	ahead := p.Serve(fast, meta.Options{Identity: p.Identity("live", "live-2")})
	require.Error(t, p.Client(p.client, id, ahead, ca.Want{}).Call(within(t, p.client), "GET", "/health", nil, nil))
	fast.logged(t, 1, ca.ErrDates.Error())
}

func testRoles(t testing.TB, w machinetest.World) {
	p := newPair(t, w, meta.Options{
		Drain:  func() error { return nil },
		Routes: []meta.Route{{Pattern: "GET /who", Handler: http.HandlerFunc(who)}},
	})
	order := meta.Order{Epoch: 1, Revision: 1, IssuedBy: "proxy/one"}
	for _, test := range []struct {
		role, method, path string
		want               int
	}{
		{"proxy", "POST", "/drain", 403},
		{"live", "POST", "/drain", 403},
		{"seed", "POST", "/drain", 403}, // not for the role, but for the issuer
		{"seed", "GET", "/debug/pprof/goroutine", 403},
		{"admin", "GET", "/debug/pprof/goroutine", 200},
		{"admin", "GET", "/debug/pprof/profile?seconds=31", 400},
		{"admin", "POST", "/maintenance", 404}, // this node has none
		{"reader", "GET", "/health", 200},
		{"reader", "GET", "/status", 200},
		{"reader", "GET", "/metrics", 200},
		{"reader", "GET", "/who", 403}, // every node may
		{"reader", "GET", "/debug/pprof/goroutine", 403},
		{"reader", "POST", "/drain", 403},
	} {
		var in any
		if test.method == "POST" {
			in = order
		}
		var out []byte
		err := p.as(test.role, "one").Call(within(t, p.client), test.method, test.path, in, &out)
		require.Equal(t, test.want, status(t, err), test.role+" "+test.path)
	}
	var out []byte
	require.NoError(t, p.as("proxy", "one").Call(within(t, p.client), "GET", "/who", nil, &out))
	require.Equal(t, "protoplex://us-east/proxy/one", string(out))
}

func who(w http.ResponseWriter, r *http.Request) {
	_, _ = w.Write([]byte(meta.Peer(r.Context()).String())) // the test sees what came
}

func testBounds(t testing.TB, w machinetest.World) {
	entered, leave := make(chan struct{}), make(chan struct{})
	p := newPair(t, w, meta.Options{
		Maintenance: func(context.Context, bool) error { return nil },
		Routes: []meta.Route{{Pattern: "GET /wait", Concurrency: 1, Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			entered <- struct{}{}
			<-leave
		})}},
	})
	c := p.as("admin", "one")
	first := make(chan error, 1)
	ctx := within(t, p.client)
	go func() { first <- c.Call(ctx, "GET", "/wait", nil, nil) }()
	<-entered
	require.Equal(t, 503, status(t, c.Call(ctx, "GET", "/wait", nil, nil)))
	close(leave)
	require.NoError(t, <-first)

	large := map[string]any{"epoch": 1, "revision": 1, "issued_by": "admin/one", "on": true, "more": strings.Repeat("x", 64<<10)}
	require.Equal(t, 413, status(t, c.Call(ctx, "POST", "/maintenance", large, nil)))
}

func testParent(t testing.TB, w machinetest.World) {
	c := &Cell{T: t, W: w}
	server, client := c.NewMachine("server"), c.NewMachine("client")
	c = NewCell(t, w, "us-east", server.Now())
	ready, ended := make(chan struct{}, 100), make(chan error, 1)
	id := c.Identity("live", "live-1")
	address := c.run(server, func(ctx context.Context) error {
		err := meta.Parent(ctx, server, nodes.ParentOptions{
			Role: "idle", Children: 2, Window: time.Second,
			Status: func(s nodes.ParentStatus) {
				for _, child := range s.Children {
					if child.State != nodes.ChildReady {
						return
					}
				}
				ready <- struct{}{}
			},
		}, meta.Options{Identity: id, Listen: ":0"})
		ended <- err
		return err
	})
	admin := c.Client(client, c.Identity("admin", "ana"), address, ca.Want{Roles: []string{"live"}})
	ctx := within(t, client)
	<-ready
	var s struct {
		Health string
		Facts  struct{ Node meta.NodeFact }
	}
	require.NoError(t, admin.Call(ctx, "GET", "/status", nil, &s))
	require.Equal(t, "ok", s.Health)
	require.Equal(t, nodes.Running, s.Facts.Node.Phase)
	require.Len(t, s.Facts.Node.Children, 2)
	require.Equal(t, nodes.ChildReady, s.Facts.Node.Children[1].State)
	var text []byte
	require.NoError(t, admin.Call(ctx, "GET", "/metrics", nil, &text))
	require.Contains(t, string(text), "protoplex_node_children_ready 2\n")
	require.Contains(t, string(text), "# TYPE protoplex_node_child_ends_total counter\nprotoplex_node_child_ends_total 0\n")

	var applied meta.Applied
	require.NoError(t, admin.Call(ctx, "POST", "/drain", meta.Order{Epoch: 1, Revision: 1, IssuedBy: "admin/ana"}, &applied))
	require.Equal(t, meta.Applied{Applied: true, Epoch: 1, Revision: 1}, applied)
	select {
	case err := <-ended:
		require.NoError(t, err)
	case <-ctx.Done():
		require.Fail(t, "the node does not leave")
	}
}
