package workload_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/scenarios/oracle"
	"github.com/espra/protoplex/scenarios/workload"
)

const (
	us1 = "us-east-1-0123456789abcdef"
	eu2 = "eu-west-2-fedcba9876543210"
)

// subscriber starts a browser with one tunnel, and no pages.
func (w *world) subscriber(h http.Handler, channels ...string) (stop func()) {
	return w.start(workload.Browser{
		ID: "anna", Home: w.serve("us-1.live.espra.com", h), Roots: w.roots, Pace: w.pace, Recorder: w.tape,
		Tunnels: []workload.Tunnel{{Key: "room.1", Channels: channels}},
	})
}

func event(kind oracle.Kind, e oracle.Stream) oracle.Stream {
	e.Kind, e.Client, e.Host, e.Key = kind, "anna", "us-1.live.espra.com", "room.1"
	return e
}

func TestTunnelResumesWhereItWas(t *testing.T) {
	w := newWorld(t)
	asked := make(chan string, 100)
	ask := func(c liveConn, n int) {
		for range n {
			asked <- c.hear()
		}
	}
	stop := w.subscriber(w.live(nil,
		func(c liveConn) {
			ask(c, 2)
			c.send(subscribed("a", "fresh", position(us1, 4)))
			c.send(subscribed("b", "fresh", position(us1, 0)))
			c.send(object{"op": "message", "channel": "a", "offset": 5, "data": "five"})
			c.send(object{"op": "news from the future"})
			c.Close(4001, "moved, resume")
		},
		func(c liveConn) {
			ask(c, 2)
			c.send(subscribed("a", "replay", position(us1, 5)))
			c.send(object{"op": "message", "channel": "a", "offset": 6, "data": "six"})
			c.send(subscribed("b", "gap", position(eu2, 9)))
			c.Close(1012, "restart")
		},
		func(c liveConn) {
			ask(c, 2)
			c.CloseNow()
		},
		stay,
	), "a", "b")

	for _, want := range []oracle.Stream{
		event(oracle.Connected, oracle.Stream{}),
		event(oracle.Subscribed, oracle.Stream{Channel: "a", Recovered: oracle.Fresh, Position: oracle.Position{Incarnation: us1, Offset: 4}}),
		event(oracle.Subscribed, oracle.Stream{Channel: "b", Recovered: oracle.Fresh, Position: oracle.Position{Incarnation: us1, Offset: 0}}),
		event(oracle.Message, oracle.Stream{Channel: "a", Position: oracle.Position{Incarnation: us1, Offset: 5}, Data: "five"}),
		event(oracle.Disconnected, oracle.Stream{Code: 4001, Why: "closed 4001"}),
		event(oracle.Connected, oracle.Stream{}),
		event(oracle.Subscribed, oracle.Stream{Channel: "a", Recovered: oracle.Replay, Position: oracle.Position{Incarnation: us1, Offset: 5}}),
		event(oracle.Message, oracle.Stream{Channel: "a", Position: oracle.Position{Incarnation: us1, Offset: 6}, Data: "six"}),
		event(oracle.Subscribed, oracle.Stream{Channel: "b", Recovered: oracle.Gap, Position: oracle.Position{Incarnation: eu2, Offset: 9}}),
		event(oracle.Disconnected, oracle.Stream{Code: 1012, Why: "closed 1012"}),
		event(oracle.Connected, oracle.Stream{}),
		event(oracle.Disconnected, oracle.Stream{Why: "closed"}),
		event(oracle.Connected, oracle.Stream{}),
	} {
		require.Empty(t, cmp.Diff(want, w.stream()))
	}
	stop()
	require.Empty(t, cmp.Diff(event(oracle.Disconnected, oracle.Stream{Why: oracle.Stopped}), w.stream()))

	for _, want := range []string{
		`{"op":"subscribe","channel":"a"}`,
		`{"op":"subscribe","channel":"b"}`,
		`{"op":"subscribe","channel":"a","position":{"incarnation":"` + us1 + `","offset":5}}`,
		`{"op":"subscribe","channel":"b","position":{"incarnation":"` + us1 + `","offset":0}}`,
		`{"op":"subscribe","channel":"a","position":{"incarnation":"` + us1 + `","offset":6}}`,
		`{"op":"subscribe","channel":"b","position":{"incarnation":"` + eu2 + `","offset":9}}`,
	} {
		require.Equal(t, want, <-asked)
	}
}

// TestTunnelComesBackWhenAsked: the wait that a server asks for is kept, up to
// the longest that the client waits anyway, and only once.
func TestTunnelComesBackWhenAsked(t *testing.T) {
	w := newWorld(t)
	w.pace.Longest = 300 * time.Millisecond
	opened := make(chan time.Duration, 100)
	leave := func(frames ...object) func(liveConn) {
		return func(c liveConn) {
			opened <- w.m.Elapsed()
			for _, f := range frames {
				c.send(f)
			}
			c.hear()
			c.send(subscribed("a", "fresh", position(us1, 0)))
			c.Close(1012, "restart, resume")
		}
	}
	stop := w.subscriber(w.live(nil,
		leave(object{"op": "error", "code": "resume", "text": "restart, resume", "retry-after-ms": 200}),
		leave(object{"op": "error", "code": "resume", "retry-after-ms": uint64(1) << 63}),
		leave(object{"op": "error", "code": "other", "retry-after-ms": 250}),
		func(c liveConn) { opened <- w.m.Elapsed(); stay(c) },
	), "a")
	first, second, third, fourth := <-opened, <-opened, <-opened, <-opened
	require.GreaterOrEqual(t, second-first, 200*time.Millisecond)
	require.GreaterOrEqual(t, third-second, 300*time.Millisecond)
	require.Positive(t, fourth-third)
	stop()
}

func TestTunnelRefused(t *testing.T) {
	for class, h := range map[string]http.Handler{
		"status 503": status(503),
		"status 421": status(421),
		"status 301": http.RedirectHandler("https://elsewhere.espra.com/", 301),
		"status 200": status(200),
		"protocol":   (&world{t: t}).live(&websocket.AcceptOptions{}, stay),
		"timeout":    hang,
	} {
		t.Run(class, func(t *testing.T) {
			w := newWorld(t)
			w.pace.Request = 200 * time.Millisecond
			stop := w.subscriber(h, "a")
			for range 3 {
				require.Empty(t, cmp.Diff(event(oracle.Refused, oracle.Stream{Why: class}), w.stream()))
			}
			stop()
		})
	}
}

func TestTunnelGivenUp(t *testing.T) {
	answer := func(c liveConn) {
		c.hear()
		c.send(subscribed("a", "fresh", position(us1, 0)))
	}
	silent := make(chan bool)
	t.Cleanup(func() { close(silent) })
	for name, c := range map[string]struct {
		script func(liveConn)
		why    string
	}{
		"silent":              {func(c liveConn) { answer(c); <-silent }, "silent"},
		"no answer":           {stay, "no answer"},
		"not JSON":            {func(c liveConn) { c.raw("hello"); stay(c) }, "protocol"},
		"too big":             {func(c liveConn) { c.raw(`{"op":"` + strings.Repeat("x", 600<<10) + `"}`); stay(c) }, "too big"},
		"binary":              {func(c liveConn) { c.Write(c.ctx, websocket.MessageBinary, []byte("{}")); stay(c) }, "protocol"},
		"unasked channel":     {func(c liveConn) { c.send(subscribed("z", "fresh", position(us1, 0))); stay(c) }, "protocol"},
		"answered twice":      {func(c liveConn) { answer(c); c.send(subscribed("a", "fresh", position(us1, 0))); stay(c) }, "protocol"},
		"no position":         {func(c liveConn) { c.send(object{"op": "subscribed", "channel": "a"}); stay(c) }, "protocol"},
		"message to nobody":   {func(c liveConn) { c.send(object{"op": "message", "channel": "a", "offset": 1}); stay(c) }, "protocol"},
		"message at offset 0": {func(c liveConn) { answer(c); c.send(object{"op": "message", "channel": "a"}); stay(c) }, "protocol"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.pace.Request = 200 * time.Millisecond
			stop := w.subscriber(w.live(nil, c.script), "a")
			for losses := 0; losses < 2; {
				if e := w.stream(); e.Kind == oracle.Disconnected {
					require.Equal(t, c.why, e.Why)
					require.Zero(t, e.Code)
					losses++
				}
			}
			stop()
		})
	}
}

func TestQuietTunnelIsKeptByPings(t *testing.T) {
	w := newWorld(t)
	pings := make(chan bool, 100)
	w.subscriber(w.live(&websocket.AcceptOptions{
		Subprotocols:   []string{"live.espra.1"},
		OnPingReceived: func(context.Context, []byte) bool { pings <- true; return true },
	}, func(c liveConn) {
		c.hear()
		c.send(subscribed("a", "fresh", position(us1, 0)))
		stay(c)
	}), "a")
	require.Equal(t, oracle.Connected, w.stream().Kind)
	require.Equal(t, oracle.Subscribed, w.stream().Kind)
	late := time.After(5 * time.Second)
	for range 6 { // twice as long as silence would be borne
		select {
		case <-pings:
		case <-late:
			require.FailNow(t, "the client does not ping")
		}
	}
	require.Empty(t, w.tape)
}
