package lb_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/fakes/internal/desk"
	"github.com/espra/protoplex/fakes/lb"
)

// backend is a target: an echo server that first says its name, and a health
// check whose answer can be set.
type backend struct {
	name   string
	status atomic.Int32
	dead   atomic.Bool // accepts and hangs up with a reset
}

const (
	healthPort = 18080
	dataPort   = 18443
)

// newBackend makes a target on a loopback address of its own.
func newBackend(t *testing.T, name, addr string) *backend {
	t.Helper()
	b := &backend{name: name}
	b.status.Store(http.StatusOK)
	d := desk.New(t, addr)
	data, err := d.Listen("tcp", fmt.Sprint(":", dataPort))
	require.NoError(t, err)
	health, err := d.Listen("tcp", fmt.Sprint(":", healthPort))
	require.NoError(t, err)
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/health" {
			w.WriteHeader(int(b.status.Load()))
		}
	})}
	go s.Serve(health)
	t.Cleanup(func() { s.Close(); data.Close() })
	go func() {
		for {
			c, err := data.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				if b.dead.Load() {
					c.(*net.TCPConn).SetLinger(0)
					return
				}
				fmt.Fprintln(c, name)
				// The echo ends with the client's half; then there is a last word.
				if _, err := io.Copy(c, c); err == nil {
					fmt.Fprint(c, "bye")
				}
			}()
		}
	}()
	return b
}

// node runs one zone's node, whose timings are short.
func node(t *testing.T, addr string, args ...string) (d *desk.Desk, front, control string) {
	t.Helper()
	d = desk.New(t, addr)
	port := desk.FreePort(t, addr)
	d.Run(t, lb.Run, append([]string{
		"--forward", fmt.Sprint(port, "=", dataPort), "--health-port", fmt.Sprint(healthPort), "--control", ":0",
		"--zone", "us-east-a", "--interval", "20ms", "--timeout", "2s", "--drain", "300ms",
	}, args...)...)
	control = "http://" + d.Await(t, "load balancer ready")["control"].(string)
	return d, net.JoinHostPort(addr, fmt.Sprint(port)), control
}

func connect(t *testing.T, front string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", front)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	require.NoError(t, c.SetDeadline(time.Now().Add(10*time.Second)))
	return c
}

// hello reads the name of the target that a connection ended at.
func hello(t *testing.T, c net.Conn) string {
	t.Helper()
	var name []byte
	for one := make([]byte, 1); ; {
		_, err := c.Read(one)
		require.NoError(t, err)
		if one[0] == '\n' {
			return string(name)
		}
		name = append(name, one[0])
	}
}

// reached counts which targets some new connections end at.
func reached(t *testing.T, front string) string {
	t.Helper()
	names := map[string]bool{}
	for range 40 {
		c := connect(t, front)
		names[hello(t, c)] = true
		c.Close()
	}
	var out []string
	for _, n := range []string{"proxy-1", "proxy-2"} {
		if names[n] {
			out = append(out, n)
		}
	}
	return strings.Join(out, " ")
}

func echo(t *testing.T, c net.Conn, text string) {
	t.Helper()
	_, err := io.WriteString(c, text)
	require.NoError(t, err)
	got := make([]byte, len(text))
	_, err = io.ReadFull(c, got)
	require.NoError(t, err)
	require.Equal(t, text, string(got))
}

func post(t *testing.T, url, body string, want int) {
	t.Helper()
	resp, err := http.Post(url, "application/json", strings.NewReader(body))
	require.NoError(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, want, resp.StatusCode, string(text))
}

func get(t *testing.T, url string) (int, []byte) {
	t.Helper()
	resp, err := http.Get(url)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, body
}

// states gives "name state reason" of every target.
func states(t *testing.T, control string) string {
	t.Helper()
	_, body := get(t, control+"/targets")
	var out struct{ Targets []lb.Status }
	require.NoError(t, json.Unmarshal(body, &out))
	var lines []string
	for _, s := range out.Targets {
		lines = append(lines, strings.TrimSpace(fmt.Sprint(s.Name, " ", s.State, " ", s.Reason)))
	}
	return strings.Join(lines, "; ")
}

func TestTargets(t *testing.T) {
	t.Parallel()
	one, two := newBackend(t, "proxy-1", "127.0.21.1"), newBackend(t, "proxy-2", "127.0.21.2")
	d, front, control := node(t, "127.0.21.9", "--target", "proxy-1@us-east-a=127.0.21.1", "--target", "proxy-2@us-east-b=127.0.21.2")
	d.Await(t, "target healthy")
	d.Await(t, "target healthy")
	require.Equal(t, "proxy-1 healthy; proxy-2 healthy", states(t, control))
	require.Equal(t, "proxy-1 proxy-2", reached(t, front))
	status, _ := get(t, control+"/zone")
	require.Equal(t, 200, status)

	// An unhealthy target keeps what it has and gets nothing new.
	var kept net.Conn
	for kept == nil {
		if c := connect(t, front); hello(t, c) == "proxy-1" {
			kept = c
		}
	}
	one.status.Store(503)
	line := d.Await(t, "target unhealthy")
	require.Equal(t, "proxy-1 Target.ResponseCodeMismatch", fmt.Sprint(line["target"], " ", line["reason"]))
	require.Equal(t, "proxy-1 unhealthy Target.ResponseCodeMismatch; proxy-2 healthy", states(t, control))
	require.Equal(t, "proxy-2", reached(t, front))
	echo(t, kept, "still here")

	// Without any healthy target all are used, and the zone says so.
	two.status.Store(500)
	d.Await(t, "target unhealthy", "target", "proxy-2")
	require.Equal(t, "proxy-1 proxy-2", reached(t, front))
	d.Await(t, "failing open")
	status, _ = get(t, control+"/zone")
	require.Equal(t, 503, status)

	one.status.Store(200)
	d.Await(t, "target healthy", "target", "proxy-1")
	require.Equal(t, "proxy-1", reached(t, front))
	d.Await(t, "no longer failing open")
}

func TestDrain(t *testing.T) {
	t.Parallel()
	newBackend(t, "proxy-1", "127.0.22.1")
	newBackend(t, "proxy-2", "127.0.22.2")
	d, front, control := node(t, "127.0.22.9", "--target", "proxy-1@us-east-a=127.0.22.1")
	d.Await(t, "target healthy")
	open := connect(t, front)
	require.Equal(t, "proxy-1", hello(t, open))

	post(t, control+"/register", `{"name":"proxy-2","zone":"us-east-a","addr":"127.0.22.2"}`, 200)
	d.Await(t, "target healthy", "target", "proxy-2")
	post(t, control+"/deregister", `{"name":"proxy-1"}`, 200)
	d.Await(t, "target draining", "target", "proxy-1")
	require.Equal(t, "proxy-1 draining Target.DeregistrationInProgress; proxy-2 healthy", states(t, control))
	require.Equal(t, "proxy-2", reached(t, front))
	echo(t, open, "not yet")
	line := d.Await(t, "target removed", "target", "proxy-1")
	require.EqualValues(t, 1, line["cut"])
	_, err := open.Read(make([]byte, 1))
	require.ErrorIs(t, err, syscall.ECONNRESET, "the drain has ended")
	require.Equal(t, "proxy-2 healthy", states(t, control))

	// One that comes back while it drains starts anew, and is not removed.
	post(t, control+"/deregister", `{"name":"proxy-2"}`, 200)
	d.Await(t, "target draining", "target", "proxy-2")
	post(t, control+"/register", `{"name":"proxy-2"}`, 200)
	d.Await(t, "target healthy", "target", "proxy-2")
	require.Equal(t, "proxy-2", reached(t, front))

	post(t, control+"/deregister", `{"name":"proxy-9"}`, 404)
	post(t, control+"/register", `{"name":"proxy-9"}`, 400)
	post(t, control+"/register", `{"name":`, 400)
}

func TestOneZone(t *testing.T) {
	t.Parallel()
	newBackend(t, "proxy-2", "127.0.23.2")
	d, front, control := node(t, "127.0.23.9", "--cross-zone=false",
		"--target", "proxy-1@us-east-b=127.0.23.1", "--target", "proxy-2@us-east-a=127.0.23.2")
	d.Await(t, "target healthy", "target", "proxy-2")
	require.Equal(t, "proxy-1 unused Target.NotInUse; proxy-2 healthy", states(t, control))
	require.Equal(t, "proxy-2", reached(t, front))
}

func TestHalfClose(t *testing.T) {
	t.Parallel()
	newBackend(t, "proxy-1", "127.0.24.1")
	d, front, _ := node(t, "127.0.24.9", "--target", "proxy-1@us-east-a=127.0.24.1")
	d.Await(t, "target healthy")
	c := connect(t, front)
	hello(t, c)
	sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<16) // a megabyte
	go func() {
		c.Write(sent)
		c.(*net.TCPConn).CloseWrite()
	}()
	got, err := io.ReadAll(c)
	require.NoError(t, err)
	require.True(t, bytes.Equal(append(sent, "bye"...), got), "all comes back, and the last word after our end")
}

func TestUnreachable(t *testing.T) {
	t.Parallel()
	b := newBackend(t, "proxy-2", "127.0.25.2")
	d, front, control := node(t, "127.0.25.9", "--target", "proxy-1@us-east-a=127.0.25.1")
	d.Await(t, "target unhealthy", "reason", "Target.FailedHealthChecks")
	requireReset(t, front)
	d.Await(t, "target unreachable", "target", "proxy-1")

	post(t, control+"/register", `{"name":"proxy-2","zone":"us-east-a","addr":"127.0.25.2"}`, 200)
	d.Await(t, "target healthy", "target", "proxy-2")
	b.dead.Store(true)
	requireReset(t, front)
}

// requireReset checks that a new connection fails at once, rather than ends.
func requireReset(t *testing.T, front string) {
	t.Helper()
	c, err := net.Dial("tcp", front)
	if err == nil {
		defer c.Close()
		require.NoError(t, c.SetDeadline(time.Now().Add(10*time.Second)))
		_, err = c.Read(make([]byte, 1))
	}
	require.ErrorIs(t, err, syscall.ECONNRESET)
}

func TestIdle(t *testing.T) {
	t.Parallel()
	newBackend(t, "proxy-1", "127.0.26.1")
	d, front, control := node(t, "127.0.26.9", "--target", "proxy-1@us-east-a=127.0.26.1", "--idle", "100ms")
	d.Await(t, "target healthy")
	c := connect(t, front)
	hello(t, c)
	_, err := c.Read(make([]byte, 1))
	require.ErrorIs(t, err, syscall.ECONNRESET, "cut when idle")
	desk.Eventually(t, func() bool {
		_, body := get(t, control+"/targets")
		return strings.Contains(string(body), `"connections":0`)
	}, "nothing is left of it")
}

func TestRunRefuses(t *testing.T) {
	d := desk.New(t, "127.0.0.1")
	for want, args := range map[string][]string{
		"--forward is needed": {"--zone", "a"},
		"is not LISTEN":       {"--forward", "80"},
		"is not a port":       {"--forward", "80=http"},
		"is not NAME@ZONE":    {"--forward", "0=8080", "--target", "proxy-1"},
		"parse address":       {"--forward", "0=8080", "--target", "a@b=c"},
		"must be positive":    {"--forward", "0=8080", "--interval", "0s"},
		"parse flags":         {"--none"},
	} {
		require.ErrorContains(t, lb.Run(t.Context(), d, args), want)
	}
}
