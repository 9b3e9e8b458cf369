package nodes_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/nodes"
)

// parentRoles are what the nodes of these tests run.
func parentRoles() nodes.Roles {
	return nodes.Roles{"web": web, "failing": failing, "stubborn": stubborn, "sleeping": sleeping, "node": wholeNode}
}

// wholeNode is a node in a process of its own, at the address in args.
func wholeNode(ctx context.Context, m nodes.Machine, args []string) error {
	return nodes.Parent(ctx, m, nodes.ParentOptions{Role: "web", Args: []string{"node", strconv.Itoa(os.Getpid())}, Children: 2, Listen: args, Window: time.Millisecond})
}

func web(ctx context.Context, m nodes.Machine, args []string) error {
	d := nodes.NewDrain(ctx, m, nodes.DrainOptions{Window: time.Millisecond})
	mux := http.NewServeMux()
	mux.Handle("GET /health", d)
	mux.HandleFunc("GET /version", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, os.Getenv(version))
	})
	mux.HandleFunc("GET /leave", func(http.ResponseWriter, *http.Request) { d.Begin(ctx) })
	mux.HandleFunc("GET /leave/node", func(http.ResponseWriter, *http.Request) {
		pid := os.Getpid()
		if len(args) == 2 { // there is a parent between
			pid, _ = strconv.Atoi(args[1])
		}
		_ = syscall.Kill(pid, syscall.SIGTERM)
	})
	mux.HandleFunc("GET /crash", func(http.ResponseWriter, *http.Request) { os.Exit(3) })
	mux.HandleFunc("GET /name", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, m.Host().Proc)
	})
	mux.HandleFunc("POST /echo", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Version", os.Getenv(version))
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).EnableFullDuplex()
		_ = http.NewResponseController(w).Flush()
		_, _ = io.Copy(flushing{w}, r.Body)
	})
	if err := d.Ready(); err != nil {
		return err
	}
	return d.Serve(ctx, &http.Server{Handler: mux}, m.Inherited()[0])
}

// flushing sends at once what is written.
type flushing struct{ http.ResponseWriter }

func (f flushing) Write(b []byte) (int, error) {
	n, err := f.ResponseWriter.Write(b)
	return n, errors.Join(err, http.NewResponseController(f.ResponseWriter).Flush())
}

func failing(context.Context, nodes.Machine, []string) error {
	return errors.New("never works")
}

func stubborn(ctx context.Context, m nodes.Machine, _ []string) error {
	if err := nodes.NewDrain(ctx, m, nodes.DrainOptions{}).Ready(); err != nil {
		return err
	}
	<-ctx.Done() // whatever it is told
	return nil
}

func sleeping(ctx context.Context, _ nodes.Machine, _ []string) error {
	<-ctx.Done() // and never says that it is ready
	return nil
}

// signalled is a Machine whose signals come from the test.
type signalled struct {
	nodes.Machine
	signals chan nodes.Signal
}

func (s signalled) Signals() <-chan nodes.Signal { return s.signals }

// node is a running Parent.
type node struct {
	t       *testing.T
	address string
	signals chan nodes.Signal
	status  chan nodes.ParentStatus
	ended   chan error
	cancel  context.CancelFunc
}

// freeAddress gives a port that is free for the moment, at an address that nobody
// else binds it at afterwards.
func freeAddress(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	return fmt.Sprintf("127.%d.%d.9:%d", port>>8, port&0xff, port)
}

func startNode(t *testing.T, o nodes.ParentOptions) *node {
	m := newDesk(t).Machine(t, "alpha", testRoles())
	n := &node{
		t:       t,
		address: freeAddress(t),
		signals: make(chan nodes.Signal, 8),
		status:  make(chan nodes.ParentStatus, 1000),
		ended:   make(chan error, 1),
	}
	o.Listen = []string{n.address}
	o.Status = func(s nodes.ParentStatus) { n.status <- s }
	ctx, cancel := context.WithCancel(t.Context())
	n.cancel = cancel
	go func() { n.ended <- nodes.Parent(ctx, signalled{m, n.signals}, o) }()
	t.Cleanup(cancel)
	return n
}

// until gives the first status that is as wanted.
func (n *node) until(want func(nodes.ParentStatus) bool) nodes.ParentStatus {
	n.t.Helper()
	timer := time.NewTimer(30 * time.Second)
	defer timer.Stop()
	for {
		select {
		case s := <-n.status:
			if want(s) {
				return s
			}
		case <-timer.C:
			require.FailNow(n.t, "never got there")
		}
	}
}

func (n *node) untilReady() nodes.ParentStatus {
	n.t.Helper()
	return n.until(func(s nodes.ParentStatus) bool {
		for _, c := range s.Children {
			if c.State != nodes.ChildReady {
				return false
			}
		}
		return true
	})
}

func (n *node) untilPhase(p nodes.Phase) {
	n.t.Helper()
	n.until(func(s nodes.ParentStatus) bool { return s.Phase == p })
}

func (n *node) end() error {
	n.t.Helper()
	select {
	case err := <-n.ended:
		return err
	case <-time.After(30 * time.Second):
		require.FailNow(n.t, "the parent does not end")
		return nil
	}
}

// get asks over a connection of its own.
func (n *node) get(path string) (int, string, error) {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 30 * time.Second}
	resp, err := client.Get("http://" + n.address + path)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body), err
}

func TestParentReplacesCrashed(t *testing.T) {
	t.Parallel()
	n := startNode(t, nodes.ParentOptions{Role: "web", Children: 2, Backoff: time.Millisecond, Window: time.Millisecond})
	before := n.untilReady()
	require.Len(t, before.Children, 2)
	require.NotEqual(t, before.Children[0].Name, before.Children[1].Name)

	_, _, err := n.get("/crash")
	require.Error(t, err)
	crashed := n.until(func(s nodes.ParentStatus) bool { return s.Children[0].Ends+s.Children[1].Ends == 1 })
	slot := crashed.Children[1].Ends
	require.Equal(t, nodes.ChildWaiting, crashed.Children[slot].State)
	require.Equal(t, "exit status 3", crashed.Children[slot].Error)
	require.Equal(t, nodes.ChildReady, crashed.Children[1-slot].State)
	_, name, err := n.get("/name")
	require.NoError(t, err, "the other goes on")
	require.NotEqual(t, before.Children[slot].Name, name) // the next one may be there by now

	after := n.untilReady()
	require.NotEqual(t, before.Children[slot].Name, after.Children[slot].Name)
	require.Equal(t, before.Children[1-slot].Name, after.Children[1-slot].Name)
	require.False(t, after.Children[slot].CrashLooping())

	n.signals <- nodes.Terminate
	require.NoError(t, n.end())
}

func TestParentDrain(t *testing.T) {
	t.Parallel()
	n := startNode(t, nodes.ParentOptions{Role: "web", Window: 2 * time.Second, Finish: time.Hour})
	n.untilReady()
	status, text, err := n.get("/health")
	require.NoError(t, err)
	require.Equal(t, 200, status)
	require.Equal(t, "ok\n", text)

	// One request is open, one connection idle.
	var transport http.Transport
	client := http.Client{Transport: &transport}
	resp, err := client.Get("http://" + n.address + "/name")
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	body, more := io.Pipe()
	open, err := http.Post("http://"+n.address+"/echo", "text/plain", body)
	require.NoError(t, err)
	defer open.Body.Close()
	_, err = io.WriteString(more, "before ")
	require.NoError(t, err)

	n.signals <- nodes.Terminate
	n.untilPhase(nodes.Draining)
	for status = 200; status == 200; { // until the child has heard
		status, text, err = n.get("/health")
		require.NoError(t, err, "in the window it still accepts")
	}
	require.Equal(t, 503, status)
	require.Equal(t, "draining\n", text)
	status, _, err = n.get("/name")
	require.NoError(t, err)
	require.Equal(t, 200, status, "and still serves")

	n.untilPhase(nodes.Stopping)
	for err == nil || errors.Is(err, syscall.ECONNRESET) { // until the child has heard
		_, err = net.Dial("tcp", n.address)
	}
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	select {
	case err := <-n.ended:
		require.FailNow(t, "ended with a request open", "%v", err)
	default:
	}
	_, err = io.WriteString(more, "after")
	require.NoError(t, err)
	require.NoError(t, more.Close())
	echo, err := io.ReadAll(open.Body)
	require.NoError(t, err)
	require.Equal(t, "before after", string(echo))
	require.NoError(t, n.end())
}

func TestParentHardStop(t *testing.T) {
	t.Parallel()
	n := startNode(t, nodes.ParentOptions{Role: "stubborn", Children: 2, Window: time.Millisecond, Finish: 10 * time.Millisecond})
	n.untilReady()
	n.signals <- nodes.Terminate
	n.untilPhase(nodes.Draining)
	n.untilPhase(nodes.Stopping)
	n.untilPhase(nodes.Killing)
	require.ErrorContains(t, n.end(), "2 of 2 children did not finish")
}

func TestParentSecondInterrupt(t *testing.T) {
	t.Parallel()
	n := startNode(t, nodes.ParentOptions{Role: "stubborn", Window: time.Hour, Finish: time.Hour})
	n.untilReady()
	n.signals <- nodes.Interrupt
	n.untilPhase(nodes.Draining)
	n.signals <- nodes.Terminate // in a hurry or not, it has been told
	n.signals <- nodes.Interrupt
	require.ErrorContains(t, n.end(), "1 of 1 children did not finish")
}

func TestParentCrashLoop(t *testing.T) {
	t.Parallel()
	n := startNode(t, nodes.ParentOptions{Role: "failing", Backoff: 2 * time.Millisecond, MaxBackoff: 10 * time.Millisecond})
	var waits []time.Duration
	last := n.until(func(s nodes.ParentStatus) bool {
		c := s.Children[0]
		if c.State == nodes.ChildWaiting {
			require.Equal(t, c.InARow >= 5, c.CrashLooping())
			require.Equal(t, "exit status 1", c.Error)
			waits = append(waits, c.Backoff)
		}
		return c.Ends == 6
	})
	const ms = time.Millisecond
	require.Equal(t, []time.Duration{2 * ms, 4 * ms, 8 * ms, 10 * ms, 10 * ms, 10 * ms}, waits)
	require.Equal(t, nodes.Running, last.Phase)
	n.signals <- nodes.Terminate
	require.NoError(t, n.end(), "nothing is left to drain")
}

func TestParentStableForgets(t *testing.T) {
	t.Parallel()
	n := startNode(t, nodes.ParentOptions{Role: "failing", Backoff: time.Millisecond, Stable: time.Nanosecond})
	n.until(func(s nodes.ParentStatus) bool {
		require.LessOrEqual(t, s.Children[0].InARow, 1)
		require.LessOrEqual(t, s.Children[0].Backoff, time.Millisecond)
		return s.Children[0].Ends == 4
	})
	n.cancel()
	require.ErrorIs(t, n.end(), context.Canceled)
}

func TestParentContext(t *testing.T) {
	t.Parallel()
	n := startNode(t, nodes.ParentOptions{Role: "web"})
	n.untilReady()
	n.cancel()
	require.ErrorIs(t, n.end(), context.Canceled)
	_, _, err := n.get("/name")
	require.ErrorIs(t, err, syscall.ECONNREFUSED, "the child is dead")
}

func TestParentProcess(t *testing.T) {
	t.Parallel()
	m := newDesk(t).Machine(t, "alpha", testRoles())
	for _, test := range []struct {
		signal nodes.Signal
		clean  bool
	}{{nodes.Terminate, true}, {nodes.Kill, false}} {
		n := node{t: t, address: freeAddress(t)}
		c, err := m.Start("node", []string{n.address}, nil)
		require.NoError(t, err)
		name := ""
		for err = io.EOF; err != nil; { // until it serves
			_, name, err = n.get("/name")
		}
		require.Contains(t, name, c.Name()+"/", "a grandchild answers")
		require.NoError(t, c.Signal(test.signal))
		require.Equal(t, test.clean, c.Wait() == nil)
		for err == nil { // until all have gone
			_, _, err = n.get("/name")
		}
		require.NoError(t, c.Control().Close())
	}
}

func TestParentErrors(t *testing.T) {
	t.Parallel()
	m := newDesk(t).Machine(t, "alpha", testRoles())
	err := nodes.Parent(t.Context(), m, nodes.ParentOptions{Role: "nonsense"})
	require.ErrorIs(t, err, nodes.ErrUnknownRole)
	l, err := m.Listen("tcp", ":0")
	require.NoError(t, err)
	defer l.Close()
	err = nodes.Parent(t.Context(), m, nodes.ParentOptions{Role: "web", Listen: []string{":0", l.Addr().String()}})
	require.ErrorIs(t, err, syscall.EADDRINUSE)
}

func TestDrainAlone(t *testing.T) {
	t.Parallel()
	signals := make(chan nodes.Signal, 8)
	m := signalled{newDesk(t).Machine(t, "alpha", nil), signals}
	reloads := make(chan struct{}, 8)
	d := nodes.NewDrain(t.Context(), m, nodes.DrainOptions{Window: time.Hour, Reload: func() { reloads <- struct{}{} }})
	require.NoError(t, d.Ready())
	require.False(t, d.Draining())
	l, err := m.Listen("tcp", ":0")
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() { done <- d.Serve(t.Context(), &http.Server{Handler: d}, l) }()

	signals <- nodes.Reload
	<-reloads
	c, err := net.Dial("tcp", l.Addr().String()) // kept, and idle in the end
	require.NoError(t, err)
	defer c.Close()
	health := func() string {
		_, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		require.NoError(t, err)
		buf := make([]byte, 4096)
		n, err := c.Read(buf)
		require.NoError(t, err)
		return string(buf[:n])
	}
	require.True(t, strings.HasPrefix(health(), "HTTP/1.1 200 "))
	signals <- nodes.Terminate
	signals <- nodes.Reload
	<-reloads // so the one before has been heeded
	require.True(t, d.Draining())
	require.True(t, strings.HasPrefix(health(), "HTTP/1.1 503 "))
	signals <- nodes.Interrupt
	<-d.Stopping()
	_, err = c.Read(make([]byte, 1))
	require.Equal(t, io.EOF, err, "idle connections end")
	require.NoError(t, <-done)
}

func TestDrainServeContext(t *testing.T) {
	t.Parallel()
	m := newDesk(t).Machine(t, "alpha", nil)
	ctx, cancel := context.WithCancel(t.Context())
	d := nodes.NewDrain(ctx, m, nodes.DrainOptions{})
	l, err := m.Listen("tcp", ":0")
	require.NoError(t, err)
	cancel()
	require.ErrorIs(t, d.Serve(ctx, &http.Server{Handler: d}, l), context.Canceled)
	_, err = net.Dial("tcp", l.Addr().String())
	require.ErrorIs(t, err, syscall.ECONNREFUSED)

	l, err = m.Listen("tcp", ":0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	require.ErrorIs(t, d.Serve(t.Context(), &http.Server{Handler: d}, l), net.ErrClosed)
}
