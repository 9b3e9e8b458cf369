package sim_test

import (
	"context"
	"io"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/sim"
)

func TestWindowBlocksAndReleases(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		client, server := join(t, w.NewMachine("a"), w.NewMachine("b"))
		var written atomic.Int64
		go func() {
			for b := make([]byte, 1<<10); ; written.Add(1) {
				if _, err := client.Write(b); err != nil {
					return
				}
			}
		}()
		time.Sleep(time.Second)
		require.EqualValues(t, 256, written.Load())
		_, err := io.ReadFull(server, make([]byte, 63<<10))
		require.NoError(t, err)
		time.Sleep(time.Second)
		require.EqualValues(t, 256, written.Load(), "room is announced a quarter of the window at a time")
		_, err = io.ReadFull(server, make([]byte, 1<<10))
		require.NoError(t, err)
		time.Sleep(time.Second)
		require.EqualValues(t, 256+64, written.Load())
		require.NoError(t, client.Close())
	})
}

// Concurrent calls of Write each go through whole, and none of those that wait
// for room is forgotten.
func TestWritersDoNotMix(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		client, server := join(t, w.NewMachine("a"), w.NewMachine("b"))
		const size = 600_000
		for _, letter := range []string{"a", "b", "c"} {
			go func() { _, _ = io.WriteString(client, strings.Repeat(letter, size)) }()
		}
		time.Sleep(time.Second)
		all := make([]byte, 3*size)
		_, err := io.ReadFull(server, all)
		require.NoError(t, err)
		for i := range 3 {
			part := all[i*size : (i+1)*size]
			require.Equal(t, strings.Repeat(string(part[:1]), size), string(part))
		}
	})
}

// A deadline that is set while calls wait holds for all of them.
func TestDeadlineEndsEveryCall(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		client, _ := join(t, w.NewMachine("a"), w.NewMachine("b"))
		ended := make(chan time.Duration, 2)
		for range 2 {
			go func() {
				_, err := client.Read(make([]byte, 1))
				if err != nil && os.IsTimeout(err) {
					ended <- w.Elapsed()
				}
			}()
		}
		time.Sleep(time.Second)
		limit := w.Elapsed() + 3*time.Second
		require.NoError(t, client.SetReadDeadline(time.Now().Add(3*time.Second)))
		require.Equal(t, limit, <-ended)
		require.Equal(t, limit, <-ended)
	})
}

func TestHalfClose(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		client, server := join(t, w.NewMachine("a"), w.NewMachine("b"))
		write(t, client, "question")
		require.NoError(t, client.(interface{ CloseWrite() error }).CloseWrite())
		_, err := client.Write([]byte("more"))
		require.ErrorIs(t, err, syscall.EPIPE)
		text, err := io.ReadAll(server)
		require.NoError(t, err)
		require.Equal(t, "question", string(text))
		write(t, server, "answer")
		require.NoError(t, server.Close())
		text, err = io.ReadAll(client)
		require.NoError(t, err)
		require.Equal(t, "answer", string(text))
		require.NoError(t, client.Close())
		_, err = client.Read(make([]byte, 1))
		require.ErrorIs(t, err, net.ErrClosed)
		require.ErrorIs(t, client.Close(), net.ErrClosed)
	})
}

func TestCloseWithUnreadBytesResets(t *testing.T) {
	for _, unread := range []bool{false, true} {
		t.Run(map[bool]string{false: "all read", true: "unread"}[unread], func(t *testing.T) {
			sim.Test(t, func(t *testing.T, w *sim.World) {
				client, server := join(t, w.NewMachine("a"), w.NewMachine("b"))
				write(t, server, "hello")
				time.Sleep(time.Second)
				if !unread {
					_, err := client.Read(make([]byte, 10))
					require.NoError(t, err)
				}
				require.NoError(t, client.Close())
				_, err := server.Read(make([]byte, 1))
				if unread {
					require.ErrorIs(t, err, syscall.ECONNRESET)
				} else {
					require.ErrorIs(t, err, io.EOF)
				}
			})
		})
	}
}

// What arrived before a reset can be read, also what was written in the moment of
// the close that led to it.
func TestBytesBeforeAReset(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		client, server := join(t, w.NewMachine("a"), w.NewMachine("b"))
		write(t, client, "question")
		time.Sleep(time.Second)
		write(t, server, "too ")
		time.Sleep(time.Second)
		write(t, server, "long")
		require.NoError(t, server.Close()) // the question is unread
		time.Sleep(time.Second)
		text, err := io.ReadAll(client)
		require.ErrorIs(t, err, syscall.ECONNRESET)
		require.Equal(t, "too long", string(text))
	})
}

// Who has ended its side and reads long after the peer has written all and closed
// reads all of it, and the end.
func TestHalfClosedReadsLate(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		client, server := join(t, w.NewMachine("a"), w.NewMachine("b"))
		require.NoError(t, client.(interface{ CloseWrite() error }).CloseWrite())
		_, err := io.ReadAll(server)
		require.NoError(t, err)
		write(t, server, strings.Repeat("x", 200<<10))
		require.NoError(t, server.Close())
		_, err = io.ReadFull(client, make([]byte, 100<<10)) // room is announced
		require.NoError(t, err)
		time.Sleep(time.Second)
		rest, err := io.ReadAll(client)
		require.NoError(t, err)
		require.Len(t, rest, 100<<10)
	})
}

// A write to a peer that has closed is answered with a reset.
func TestWriteToClosedPeerIsReset(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		client, server := join(t, w.NewMachine("a"), w.NewMachine("b"))
		require.NoError(t, server.Close())
		time.Sleep(time.Second)
		write(t, client, "is anybody there")
		time.Sleep(time.Second)
		_, err := client.Write([]byte("hello"))
		require.ErrorIs(t, err, syscall.ECONNRESET)
		require.ErrorContains(t, err, ": write: connection reset by peer")
	})
}

// What a process wrote before it returned arrives, and then the end.
func TestExitFlushes(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		a, b := w.NewMachine("a"), w.NewMachine("b")
		l, err := b.Listen("tcp", ":7")
		require.NoError(t, err)
		a.Start("short", func(p *sim.Process) error {
			c, err := p.DialContext(p.Context(), "tcp", "b:7")
			if err == nil {
				_, err = io.WriteString(c, "last words")
			}
			return err
		})
		c, err := l.Accept()
		require.NoError(t, err)
		text, err := io.ReadAll(c)
		require.NoError(t, err)
		require.Equal(t, "last words", string(text))
	})
}

// A peer whose connection nobody accepted learns at once that the listener has
// gone, though nothing else happens for an hour.
func TestListenerCloseResetsTheBacklog(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		a, b := w.NewMachine("a"), w.NewMachine("b")
		l, err := b.Listen("tcp", ":7")
		require.NoError(t, err)
		c, err := a.DialContext(context.Background(), "tcp", "b:7")
		require.NoError(t, err)
		all := listen(w, c)
		w.After(time.Hour, func() {})
		time.Sleep(61 * time.Second)
		closed := w.Elapsed()
		require.NoError(t, l.Close())
		end := <-all
		require.ErrorIs(t, end.err, syscall.ECONNRESET)
		soonAfter(t, closed, end.at)
	})
}
