package metatest

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/nodes/machinetest"
	"github.com/espra/protoplex/nodes/meta"
	"github.com/espra/protoplex/nodes/meta/ca"
)

func streamTests() []Test {
	return []Test{
		{"frames go both ways", testFrames},
		{"either end says why it closes", testGoodbyes},
		{"a cut stream is noticed", testCut},
		{"a frame that is none ends the stream with a reason", testBadFrames},
		{"streams are bounded and for their roles", testStreamBounds},
		{"the end of the server ends streams", testServerEnds},
	}
}

// Echo is a stream that sends back what it receives.
func Echo(ctx context.Context, s *meta.Stream) error {
	for {
		f, err := s.Receive()
		var goodbye *meta.ClosedError
		if errors.As(err, &goodbye) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := s.Send(f); err != nil {
			return err
		}
	}
}

func streamOptions(f func(context.Context, *meta.Stream) error) meta.Options {
	return meta.Options{Routes: []meta.Route{{Pattern: "GET /stream", Roles: []string{"live"}, Stream: f}}}
}

func testFrames(t testing.TB, w machinetest.World) {
	p := newPair(t, w, streamOptions(Echo))
	s, err := p.as("live", "live-2").Open(within(t, p.client), "/stream")
	require.NoError(t, err)
	defer s.Close("done")
	require.Equal(t, ca.Name{Cell: "us-east", Role: "live", Name: "live-1"}, s.Peer())
	const overhead = len(`{"type":"table","epoch":3,"revision":7,"body":""}` + "\n")
	for _, body := range []string{"", "a\nb\u2028<>&", strings.Repeat("x", 5000), strings.Repeat("x", meta.MaxFrame-overhead)} {
		sent, err := meta.NewFrame("table", 3, 7, body)
		require.NoError(t, err)
		require.NoError(t, s.Send(sent))
		got, err := s.Receive()
		require.NoError(t, err)
		require.Equal(t, []any{"table", uint64(3), uint64(7)}, []any{got.Type, got.Epoch, got.Revision})
		var back string
		require.NoError(t, got.Decode(&back))
		require.True(t, body == back)
	}
	// What is refused here does the stream no harm.
	large, err := meta.NewFrame("table", 3, 7, strings.Repeat("x", meta.MaxFrame-overhead+1))
	require.NoError(t, err)
	require.ErrorIs(t, s.Send(large), meta.ErrFrameTooLarge)
	require.ErrorIs(t, s.Send(meta.Frame{Type: "close"}), meta.ErrFrame)
	require.ErrorIs(t, s.Send(meta.Frame{Type: "No"}), meta.ErrFrame)
	require.ErrorIs(t, s.Send(meta.Frame{Type: "x", Body: json.RawMessage("{")}), meta.ErrFrame)
	require.NoError(t, s.Send(meta.Frame{Type: "last"}))
	got, err := s.Receive()
	require.NoError(t, err)
	require.Equal(t, "last", got.Type)
}

func testGoodbyes(t testing.TB, w machinetest.World) {
	heard := make(chan error, 1)
	p := newPair(t, w, streamOptions(func(_ context.Context, s *meta.Stream) error {
		f, err := s.Receive()
		if err == nil {
			return errors.New("I have had enough of " + f.Type)
		}
		heard <- err
		return nil
	}))
	c := p.as("live", "live-2")
	s, err := c.Open(within(t, p.client), "/stream")
	require.NoError(t, err)
	s.Close("leaving for good")
	s.Close("twice")
	var goodbye *meta.ClosedError
	require.ErrorAs(t, <-heard, &goodbye)
	require.Equal(t, "leaving for good", goodbye.Reason)
	require.ErrorIs(t, s.Send(meta.Frame{Type: "x"}), meta.ErrStreamClosed)

	s, err = c.Open(within(t, p.client), "/stream")
	require.NoError(t, err)
	// More than the peer will read, so that it has something unread when it leaves.
	for range 3 {
		require.NoError(t, s.Send(meta.Frame{Type: "chatter"}))
	}
	_, err = s.Receive()
	require.ErrorAs(t, err, &goodbye)
	require.Equal(t, "I have had enough of chatter", goodbye.Reason)
	<-s.Done()
	require.Equal(t, err, s.Err())
	s.Close("")
}

func testCut(t testing.TB, w machinetest.World) {
	ended := make(chan error, 1)
	p := newPair(t, w, streamOptions(func(_ context.Context, s *meta.Stream) error {
		_, err := s.Receive()
		ended <- err
		return err
	}))
	ctx, cut := context.WithCancel(within(t, p.client))
	s, err := p.as("live", "live-2").Open(ctx, "/stream")
	require.NoError(t, err)
	cut()
	err = <-ended
	require.Error(t, err)
	var goodbye *meta.ClosedError
	require.False(t, errors.As(err, &goodbye), "nobody said goodbye")
	_, err = s.Receive()
	require.ErrorIs(t, err, context.Canceled)
	s.Close("")
}

func testBadFrames(t testing.TB, w machinetest.World) {
	p := newPair(t, w, streamOptions(Echo))
	id := p.Identity("live", "live-2")
	for _, test := range []struct{ text, want string }{
		{strings.Repeat("x", meta.MaxFrame+8192), "larger than 64 KiB"},
		{"not a frame\n", "not a frame"},
		{"\n", "not a frame"},
		{`{"type":"x"} {"type":"y"}` + "\n", "not a frame"},
		{`{"type":"` + strings.Repeat("x", 65) + `"}` + "\n", "invalid type"},
		{`{"type":"x","epoch":-1}` + "\n", "not a frame"},
		{"{\"type\":\"x\",\"body\":\"\xff\"}\n", "invalid UTF-8"},
		{strings.Repeat("[", 20_000) + "\n", "not a frame"},
	} {
		raw, err := p.client.DialContext(within(t, p.client), "tcp", p.address)
		require.NoError(t, err)
		conn := tls.Client(raw, id.ClientConfig(p.client.Now, ca.Want{}))
		_, err = io.WriteString(conn, "GET /stream HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: protoplex-meta/1\r\n\r\n"+test.text)
		require.NoError(t, err)
		answer, err := readUntil(conn, "}\n", `"close"`)
		require.NoError(t, err, answer)
		require.Contains(t, answer, test.want)
		require.NoError(t, raw.Close())
	}
}

// readUntil reads up to a line that holds text.
func readUntil(r io.Reader, end, text string) (string, error) {
	var all strings.Builder
	b := make([]byte, 1)
	for !strings.Contains(all.String(), text) || !strings.HasSuffix(all.String(), end) {
		if _, err := r.Read(b); err != nil {
			return all.String(), err
		}
		all.Write(b)
	}
	return all.String(), nil
}

func testStreamBounds(t testing.TB, w machinetest.World) {
	p := newPair(t, w, meta.Options{Routes: []meta.Route{{Pattern: "GET /stream", Roles: []string{"live"}, Concurrency: 1, Stream: Echo}}})
	ctx := within(t, p.client)
	_, err := p.as("proxy", "proxy-1").Open(ctx, "/stream")
	require.Equal(t, 403, status(t, errors.Unwrap(err)))
	c := p.as("live", "live-2")
	s, err := c.Open(ctx, "/stream")
	require.NoError(t, err)
	_, err = c.Open(ctx, "/stream")
	require.Equal(t, 503, status(t, errors.Unwrap(err)))
	require.Equal(t, 426, status(t, c.Call(ctx, "GET", "/stream", nil, nil)))
	_, err = c.Open(ctx, "/status")
	require.Error(t, err)
	s.Close("done")
}

func testServerEnds(t testing.TB, w machinetest.World) {
	c := &Cell{T: t, W: w}
	server, client := c.NewMachine("server"), c.NewMachine("client")
	c = NewCell(t, w, "us-east", server.Now())
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	done := make(chan error, 1)
	o := streamOptions(Echo)
	o.Identity, o.Listen = c.Identity("live", "live-1"), ":0"
	go func() { done <- meta.Serve(ctx, server, o) }()
	s, err := c.Client(client, c.Identity("live", "live-2"), <-server.bound, ca.Want{}).Open(within(t, client), "/stream")
	require.NoError(t, err)
	stop()
	require.ErrorIs(t, <-done, context.Canceled)
	_, err = s.Receive()
	require.Error(t, err)
	s.Close("")
}
