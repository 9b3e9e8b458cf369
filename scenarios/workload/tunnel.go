package workload

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/espra/protoplex/nodes"
	"github.com/espra/protoplex/scenarios/oracle"
)

const maxChannels = 100 // in one tunnel

// Why a tunnel is given up by the client.
var (
	errProtocol = errors.New("workload: server broke the protocol")
	errNoAnswer = errors.New("workload: server did not answer a subscription")
)

// tunnel keeps one live tunnel open, and its place in each channel.
type tunnel struct {
	part
	url       string
	event     oracle.Stream // what all its records have in common
	channels  []string
	positions map[string]position // reached, by channel
	asked     time.Duration       // not to come back before this, says the server
	recorder  Recorder
}

func newTunnel(p part, b Browser, t Tunnel) (*tunnel, error) {
	u := url.URL{Scheme: "wss", Host: b.Home, Path: "/live/" + t.Key}
	if u.Hostname() == "" {
		return nil, fmt.Errorf("workload: %s has tunnels but no home", b.ID)
	}
	if len(t.Channels) == 0 || len(t.Channels) > maxChannels {
		return nil, fmt.Errorf("workload: %s wants %d channels of %q, but a tunnel carries 1 to %d", b.ID, len(t.Channels), t.Key, maxChannels)
	}
	for _, name := range append([]string{t.Key}, t.Channels...) {
		if !validName(name) {
			return nil, fmt.Errorf("workload: %s: invalid key or channel %q", b.ID, name)
		}
	}
	if channels := slices.Sorted(slices.Values(t.Channels)); len(slices.Compact(channels)) < len(t.Channels) {
		return nil, fmt.Errorf("workload: %s wants a channel of %q twice", b.ID, t.Key)
	}
	return &tunnel{
		part:      p,
		url:       u.String(),
		event:     oracle.Stream{Client: b.ID, Host: u.Hostname(), Key: t.Key},
		channels:  t.Channels,
		positions: map[string]position{},
		recorder:  b.Recorder,
	}, nil
}

// tell records an event of this tunnel.
func (t *tunnel) tell(kind oracle.Kind, e oracle.Stream) {
	e.Kind, e.Client, e.Host, e.Key = kind, t.event.Client, t.event.Host, t.event.Key
	t.recorder.Stream(e)
}

func (t *tunnel) run(ctx context.Context) {
	transport := t.transport(ctx)
	defer transport.CloseIdleConnections()
	failures := 0
	for n := uint64(0); ctx.Err() == nil; n++ {
		wait := t.draw("wait", n, t.pace.Retry) // at first, so that not all come at once
		if n > 0 {
			most := delay(t.pace, failures)
			wait = max(most/2+t.draw("wait", n, most/2), t.asked)
		}
		t.asked = 0
		if t.sleep(ctx, "wait", wait) != nil {
			return
		}
		if t.session(ctx, transport) {
			failures = 0
		} else {
			failures++
		}
	}
}

// delay is the longest time to wait after a number of failures in a row.
func delay(p Pace, failures int) time.Duration {
	d := p.Retry
	for range failures {
		if d *= 2; d >= p.Longest {
			return p.Longest
		}
	}
	return d
}

// session opens the tunnel and stays until it is lost. It tells whether all
// subscriptions were answered, so that it was of use.
func (t *tunnel) session(ctx context.Context, transport *http.Transport) bool {
	start := t.m.Elapsed()
	conn, alive, class := t.open(ctx, transport)
	took := t.m.Elapsed() - start
	if class != "" {
		if ctx.Err() != nil {
			class = oracle.Stopped
		}
		t.tell(oracle.Refused, oracle.Stream{Why: class, Latency: took})
		return false
	}
	t.tell(oracle.Connected, oracle.Stream{Latency: took})
	defer conn.CloseNow() // what is lost already needs no farewell; its error says no more than the read's

	open, lose := context.WithCancel(ctx)
	defer lose()
	var watch sync.WaitGroup
	var silent atomic.Bool
	watch.Go(func() { t.watch(open, conn, alive, func() { silent.Store(true); lose() }) })

	subscribed, err := t.listen(open, conn, alive)
	lost := oracle.Stream{Code: max(int(websocket.CloseStatus(err)), 0)}
	switch {
	case ctx.Err() != nil:
		lost.Why, lost.Code = oracle.Stopped, 0
	case silent.Load():
		lost.Why = "silent"
	case lost.Code > 0:
		lost.Why = "closed " + strconv.Itoa(lost.Code)
	case errors.Is(err, errProtocol):
		lost.Why = "protocol"
	case errors.Is(err, websocket.ErrMessageTooBig):
		lost.Why = "too big"
	case errors.Is(err, errNoAnswer):
		lost.Why = "no answer"
	default:
		lost.Why = classOf(err)
	}
	lose()
	watch.Wait()
	t.tell(oracle.Disconnected, lost)
	return subscribed
}

// heard is when a tunnel's server was last heard from, by Elapsed.
type heard struct{ at atomic.Int64 }

func (h *heard) now(m nodes.Machine) { h.at.Store(int64(m.Elapsed())) }
func (h *heard) silence(m nodes.Machine) (d time.Duration) {
	return m.Elapsed() - time.Duration(h.at.Load())
}

// open connects and upgrades. The class says what went wrong.
func (t *tunnel) open(ctx context.Context, transport *http.Transport) (_ *websocket.Conn, alive *heard, class string) {
	alive = &heard{}
	alive.now(t.m)
	ctx, cancel := t.within(ctx, "request", t.pace.Request)
	defer cancel()
	conn, resp, err := websocket.Dial(ctx, t.url, &websocket.DialOptions{
		HTTPClient: &http.Client{
			Transport:     transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		Subprotocols: []string{subprotocol},
		OnPingReceived: func(context.Context, []byte) bool {
			alive.now(t.m)
			return true
		},
	})
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, nil, classIn(ctx, err)
	case err != nil && resp != nil && resp.StatusCode != http.StatusSwitchingProtocols:
		return nil, nil, statusFailure(resp.StatusCode)
	case err != nil && resp != nil:
		return nil, nil, "protocol"
	case err != nil:
		return nil, nil, classIn(ctx, err)
	case conn.Subprotocol() != subprotocol:
		conn.CloseNow()
		return nil, nil, "protocol"
	}
	conn.SetReadLimit(maxFrame)
	alive.now(t.m)
	return conn, alive, ""
}

// watch gives the tunnel up when its server is silent for too long, and does
// not answer a ping either.
func (t *tunnel) watch(ctx context.Context, conn *websocket.Conn, alive *heard, giveUp func()) {
	third := t.pace.Quiet / 3
	nodes.Every(ctx, t.m, t.name+"/watch", third, func(ctx context.Context) {
		if alive.silence(t.m) < third {
			return
		}
		ping, cancel := t.within(ctx, "ping", third)
		defer cancel()
		if err := conn.Ping(ping); err == nil {
			alive.now(t.m)
		} else if ctx.Err() == nil && ping.Err() != nil {
			giveUp()
		}
	})
}

// listen subscribes and follows the channels until the tunnel is lost, which
// the error explains.
func (t *tunnel) listen(ctx context.Context, conn *websocket.Conn, alive *heard) (subscribed bool, err error) {
	waiting := make(map[string]bool, len(t.channels))
	answered, cancel := t.within(ctx, "subscribe", t.pace.Request)
	defer cancel()
	for _, name := range t.channels {
		request := subscribe{Op: "subscribe", Channel: name}
		if p, ok := t.positions[name]; ok {
			request.Position = &p
		}
		b, err := json.Marshal(request)
		if err != nil {
			return false, fmt.Errorf("workload: encode subscription: %w", err)
		}
		waiting[name] = true
		if err := conn.Write(answered, websocket.MessageText, b); err != nil {
			return false, lostIn(answered, fmt.Errorf("workload: subscribe: %w", err))
		}
	}
	// Once all is answered, one watch of ctx serves all reads: a context of their
	// own would cost each of them more than the message itself.
	defer context.AfterFunc(ctx, func() { conn.CloseNow() })()
	var message bytes.Buffer
	for {
		patience, bound := ctx, context.Background()
		if len(waiting) > 0 {
			patience, bound = answered, answered
		}
		message.Reset()
		kind, r, err := conn.Reader(bound)
		if err == nil {
			_, err = message.ReadFrom(r)
		}
		if err != nil {
			return len(waiting) == 0, lostIn(patience, fmt.Errorf("workload: read tunnel: %w", err))
		}
		alive.now(t.m)
		if kind != websocket.MessageText {
			return false, errProtocol
		}
		f, err := parseFrame(message.Bytes())
		if err != nil {
			return false, errors.Join(errProtocol, err)
		}
		if err := t.take(f, waiting); err != nil {
			return false, err
		}
	}
}

// lostIn explains a loss under ctx, whose own end comes before what followed
// from it.
func lostIn(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return errNoAnswer
	}
	return err
}

// take acts on one frame.
func (t *tunnel) take(f frame, waiting map[string]bool) error {
	switch f.Op {
	case "subscribed":
		if !waiting[f.Channel] {
			return errProtocol
		}
		delete(waiting, f.Channel)
		t.positions[f.Channel] = *f.Position
		t.tell(oracle.Subscribed, oracle.Stream{Channel: f.Channel, Recovered: f.Recovered, Position: f.Position.observed()})
	case "message":
		at, known := t.positions[f.Channel]
		if !known {
			return errProtocol
		}
		// An offset that goes back or jumps is for the oracles to judge; the
		// client goes on from what it was last told.
		at.Offset = f.Offset
		t.positions[f.Channel] = at
		t.tell(oracle.Message, oracle.Stream{Channel: f.Channel, Position: at.observed(), Data: f.Data})
	case "error":
		if f.Code == "resume" {
			t.asked = min(time.Duration(min(f.RetryAfter, uint64(time.Hour/time.Millisecond)))*time.Millisecond, t.pace.Longest)
		}
	}
	return nil
}
