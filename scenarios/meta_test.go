package scenarios

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/nodes/meta"
	"github.com/espra/protoplex/nodes/meta/ca"
	"github.com/espra/protoplex/nodes/meta/metatest"
	"github.com/espra/protoplex/sim"
)

// The meta port is the same between simulated machines as on loopback.
func TestMetaConformance(t *testing.T) {
	for _, test := range metatest.Tests() {
		t.Run(test.Name, func(t *testing.T) {
			sim.Test(t, func(t *testing.T, w *sim.World) {
				test.Run(t, &conformanceWorld{w})
			})
		})
	}
}

// metaPair opens a server whose streams f serves, and a client of it.
func metaPair(t *testing.T, w *sim.World, f func(context.Context, *meta.Stream) error) *meta.Client {
	world := &conformanceWorld{w}
	server := (&metatest.Cell{T: t, W: world}).NewMachine("server")
	c := metatest.NewCell(t, world, "us-east", server.Now())
	address := c.Serve(server, meta.Options{
		Identity: c.Identity("seed", "seed-1"),
		Routes:   []meta.Route{{Pattern: "GET /stream", Stream: f}},
	})
	return c.Client(c.NewMachine("client"), c.Identity("live", "live-1"), address, ca.Want{})
}

// told gives the end of a stream as its handler got it, and when.
type told struct {
	err error
	at  time.Duration
}

func TestMetaStreamLivesWhileNothingIsSaid(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		s, err := metaPair(t, w, metatest.Echo).Open(t.Context(), "/stream")
		require.NoError(t, err)
		frames := make(chan meta.Frame, 1)
		go func() {
			for f, err := s.Receive(); err == nil; f, err = s.Receive() {
				frames <- f
			}
		}()
		time.Sleep(time.Hour)
		require.NoError(t, s.Err())
		require.NoError(t, s.Send(meta.Frame{Type: "still-there"}))
		require.Equal(t, "still-there", (<-frames).Type)
		s.Close("done")
	})
}

func TestMetaHalfOpenPeerIsNoticed(t *testing.T) {
	for name, breakIt := range map[string]func(w *sim.World){
		"the link is cut":  func(w *sim.World) { w.Link(w.Machine("client"), w.Machine("server")).Cut(time.Hour) },
		"the peer is gone": func(w *sim.World) { w.Machine("client").PowerOff() },
		"it is paused":     func(w *sim.World) { w.Machine("client").Pause() },
		"one way is cut":   func(w *sim.World) { w.Link(w.Machine("client"), w.Machine("server")).CutOneWay(time.Hour) },
	} {
		t.Run(name, func(t *testing.T) {
			sim.Test(t, func(t *testing.T, w *sim.World) {
				ended := make(chan told, 1)
				client := metaPair(t, w, func(_ context.Context, s *meta.Stream) error {
					_, err := s.Receive()
					ended <- told{err, w.Elapsed()}
					return err
				})
				s, err := client.Open(t.Context(), "/stream")
				require.NoError(t, err)
				go func() { _, _ = s.Receive() }() // it ends with the stream
				time.Sleep(time.Minute)
				broken := w.Elapsed()
				breakIt(w)
				end := <-ended
				require.ErrorIs(t, end.err, meta.ErrSilent)
				require.Greater(t, end.at-broken, 20*time.Second)
				require.Less(t, end.at-broken, 36*time.Second)
			})
		})
	}
}

func TestMetaSlowReaderIsBounded(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		ended, sent := make(chan told, 1), 0
		body, err := meta.NewFrame("table", 1, 1, strings.Repeat("x", 60_000))
		require.NoError(t, err)
		client := metaPair(t, w, func(_ context.Context, s *meta.Stream) error {
			for {
				if err := s.Send(body); err != nil {
					ended <- told{err, w.Elapsed()}
					return err
				}
				sent++
			}
		})
		start := w.Elapsed()
		s, err := client.Open(t.Context(), "/stream")
		require.NoError(t, err)
		end := <-ended
		require.ErrorIs(t, end.err, meta.ErrStalled)
		require.Less(t, sent, 20, "what is not read is not sent")
		require.Less(t, end.at-start, 40*time.Second)
		// What had arrived is there, whole and in order, and then the end is told.
		got := 0
		for {
			f, err := s.Receive()
			if err != nil {
				break
			}
			require.Len(t, f.Body, len(body.Body))
			got++
		}
		require.LessOrEqual(t, got, sent)
		require.Error(t, s.Err())
		s.Close("")
	})
}

// A goodbye survives what its sender has not read: a peer that looks late still
// finds it.
func TestMetaGoodbyeIsHeardLate(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		left := make(chan time.Duration, 1)
		client := metaPair(t, w, func(_ context.Context, s *meta.Stream) error {
			time.Sleep(time.Second) // while more arrives than it reads
			s.Close("enough")
			left <- w.Elapsed()
			return nil
		})
		s, err := client.Open(t.Context(), "/stream")
		require.NoError(t, err)
		for range 3 {
			require.NoError(t, s.Send(meta.Frame{Type: "chatter"}))
		}
		time.Sleep(2 * time.Second)
		_, err = s.Receive()
		var goodbye *meta.ClosedError
		require.ErrorAs(t, err, &goodbye)
		require.Equal(t, "enough", goodbye.Reason)
		require.Less(t, <-left, 4*time.Second, "it does not wait for ever either")
		s.Close("")
	})
}

// Two goodbyes that cross are an end: neither side waits for the other to go on.
func TestMetaGoodbyesCross(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		client := metaPair(t, w, func(_ context.Context, s *meta.Stream) error {
			_, err := s.Receive()
			s.Close("enough") // nobody receives any more
			return err
		})
		s, err := client.Open(t.Context(), "/stream")
		require.NoError(t, err)
		require.NoError(t, s.Send(meta.Frame{Type: "chatter"}))
		start := time.Now()
		s.Close("enough here, too")
		require.Less(t, time.Since(start), time.Second)
	})
}

// Whoever closes while another does waits in virtual time, not for a mutex.
func TestMetaClosedTwiceAtOnce(t *testing.T) {
	sim.TestWith(t, sim.Options{Watchdog: 3 * time.Second}, func(t *testing.T, w *sim.World) {
		s, err := metaPair(t, w, metatest.Echo).Open(t.Context(), "/stream")
		require.NoError(t, err)
		w.Link(w.Machine("client"), w.Machine("server")).Cut(time.Hour)
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() { s.Close("leaving") })
		}
		wg.Wait()
		require.ErrorIs(t, s.Err(), meta.ErrStreamClosed)
	})
}

func TestMetaManyStreams(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		const streams = 1000
		client := metaPair(t, w, metatest.Echo)
		var wg sync.WaitGroup
		for i := range streams {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * 1_000_003)
				s, err := client.Open(t.Context(), "/stream")
				if err != nil {
					t.Errorf("open: %v", err)
					return
				}
				defer s.Close("done")
				time.Sleep(2 * time.Second) // so that all are open at once
				kind := fmt.Sprint("frame-", i)
				if err := s.Send(meta.Frame{Type: kind}); err != nil {
					t.Errorf("send: %v", err)
				}
				if f, err := s.Receive(); err != nil || f.Type != kind {
					t.Errorf("receive: %q, %v", f.Type, err)
				}
			})
		}
		wg.Wait()
	})
}
