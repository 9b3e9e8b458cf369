package sim_test

import (
	"context"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/sim"
)

// What peers learn, and when, of a network or a host that says nothing.

const (
	userTimeout = 924600 * time.Millisecond
	keepalive   = 150 * time.Second
)

// firstRetry is when bytes written at the beginning of a cut of ten seconds are
// sent for the first time after it: at 0.2, 0.6, 1.4, 3, 6.2 and 12.6 s.
const firstRetry = 12600 * time.Millisecond

func TestStreamsGoOnAfterACut(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		a, b := w.NewMachine("a"), w.NewMachine("b")
		client, server := join(t, a, b)
		all := listen(w, server)
		start := w.Elapsed()
		cut := w.Link(a, b).Cut(10 * time.Second)
		for range 9 {
			write(t, client, "x")
			time.Sleep(time.Second)
		}
		require.Empty(t, all)
		time.Sleep(10 * time.Second)
		require.NoError(t, client.Close())
		var text strings.Builder
		for h := range all {
			if h.err != nil {
				require.ErrorIs(t, h.err, io.EOF)
				break
			}
			soonAfter(t, start+firstRetry, h.at) // all of it, in one go
			text.WriteString(h.text)
		}
		require.Equal(t, strings.Repeat("x", 9), text.String())
		require.EqualValues(t, 1, cut.Touched())
	})
}

// With the answers cut, bytes still arrive, but their sender gives up in the end.
func TestCutOneWay(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		a, b := w.NewMachine("a"), w.NewMachine("b")
		client, server := join(t, a, b)
		atServer, atClient := listen(w, server), listen(w, client)
		w.Link(b, a).CutOneWay(time.Hour)
		start := w.Elapsed()
		write(t, client, "hello")
		h := <-atServer
		require.Equal(t, "hello", h.text)
		soonAfter(t, start, h.at)
		write(t, server, "answer")
		end := <-atClient
		require.ErrorIs(t, end.err, syscall.ETIMEDOUT)
		require.Equal(t, h.at+userTimeout, end.at)
	})
}

// What a closed connection still had to send outlives the cut.
func TestCloseDuringACut(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		a, b := w.NewMachine("a", sim.In("us", "a")), w.NewMachine("b", sim.In("eu", "a"))
		client, server := join(t, a, b)
		require.NoError(t, client.(interface{ CloseWrite() error }).CloseWrite())
		_, err := server.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF)
		write(t, server, "answer")
		require.NoError(t, server.Close())
		time.Sleep(5 * time.Millisecond) // on its way
		w.Link(a, b).Cut(10 * time.Second)
		text, err := io.ReadAll(client)
		require.NoError(t, err)
		require.Equal(t, "answer", string(text))
	})
}

func TestUserTimeout(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		a, b := w.NewMachine("a"), w.NewMachine("b")
		client, _ := join(t, a, b)
		all := listen(w, client)
		w.Link(a, b).Cut(2 * time.Hour)
		start := w.Elapsed()
		write(t, client, "hello")
		end := <-all
		require.ErrorIs(t, end.err, syscall.ETIMEDOUT)
		require.Equal(t, start+userTimeout, end.at)
		_, err := client.Write([]byte("more"))
		require.ErrorIs(t, err, syscall.ETIMEDOUT)
	})
}

// Once a side has given up, its kernel knows the connection no more, and the
// other side learns that when it speaks.
func TestTimedOutConnectionStaysDead(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		a, b := w.NewMachine("a"), w.NewMachine("b")
		client, server := join(t, a, b)
		w.Link(a, b).Cut(16 * time.Minute)
		write(t, client, "hello") // gives up before the cut heals
		time.Sleep(100 * time.Second)
		write(t, server, "late") // does not
		end := <-listen(w, client)
		require.ErrorIs(t, end.err, syscall.ETIMEDOUT)
		_, err := server.Read(make([]byte, 10))
		require.ErrorIs(t, err, syscall.ECONNRESET)
		_, err = client.Read(make([]byte, 10))
		require.ErrorIs(t, err, syscall.ETIMEDOUT, "and nothing arrives on it")
	})
}

func TestKeepalive(t *testing.T) {
	for name, silence := range map[string]func(w *sim.World, a, b *sim.Machine){
		"cut":   func(w *sim.World, a, b *sim.Machine) { w.Link(a, b).Cut(time.Hour) },
		"off":   func(w *sim.World, a, b *sim.Machine) { b.PowerOff() },
		"pause": func(w *sim.World, a, b *sim.Machine) { b.Pause() },
	} {
		t.Run(name, func(t *testing.T) {
			sim.Test(t, func(t *testing.T, w *sim.World) {
				a, b := w.NewMachine("a"), w.NewMachine("b")
				client, _ := join(t, a, b)
				all := listen(w, client)
				time.Sleep(time.Minute)
				start := w.Elapsed()
				silence(w, a, b)
				end := <-all
				require.ErrorIs(t, end.err, syscall.ETIMEDOUT)
				require.GreaterOrEqual(t, end.at, start+keepalive)
				require.Less(t, end.at, start+keepalive+time.Second)
			})
		})
	}
}

// An answer between two cuts starts the keepalive's count anew.
func TestKeepaliveStartsAnew(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		a, b := w.NewMachine("a"), w.NewMachine("b")
		client, _ := join(t, a, b)
		all := listen(w, client)
		w.Link(a, b).Cut(100 * time.Second)
		time.Sleep(110 * time.Second)
		start := w.Elapsed()
		w.Link(a, b).Cut(time.Hour)
		end := <-all
		require.ErrorIs(t, end.err, syscall.ETIMEDOUT)
		require.GreaterOrEqual(t, end.at, start+keepalive)
	})
}

// A host that has booted anew answers the keepalive with a reset.
func TestKeepaliveFindsANewBoot(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		a, b := w.NewMachine("a"), w.NewMachine("b")
		client, _ := join(t, a, b)
		b.PowerOff()
		time.Sleep(time.Minute)
		b.PowerOn()
		end := <-listen(w, client)
		require.ErrorIs(t, end.err, syscall.ECONNRESET)
		require.GreaterOrEqual(t, end.at, keepalive)
	})
}

// A client whose server dies unheard learns of it all the same: the reset was lost
// with all else that the server's host sends, in a cut during which the client's own
// bytes are not acknowledged, or by bad luck, time after time.
func TestLostResetIsMadeUpFor(t *testing.T) {
	for name, ill := range map[string]func(l sim.Link){
		"cut":  func(l sim.Link) { l.CutOneWay(200 * time.Second) },
		"loss": func(l sim.Link) { l.Impair(sim.Conditions{Loss: 1_000_000}, 24*time.Hour) },
	} {
		t.Run(name, func(t *testing.T) {
			sim.Test(t, func(t *testing.T, w *sim.World) {
				a, b := w.NewMachine("a"), w.NewMachine("b")
				server := b.Start("server", func(p *sim.Process) error {
					return takeOne(p, func(c net.Conn) error { _, err := io.Copy(io.Discard, c); return err })
				})
				time.Sleep(time.Millisecond)
				client, err := a.DialContext(t.Context(), "tcp", "b:7")
				require.NoError(t, err)
				all := listen(w, client)
				ill(w.Link(b, a))
				write(t, client, "question")
				time.Sleep(time.Second)
				start := w.Elapsed()
				server.Kill()
				select {
				case end := <-all:
					require.ErrorIs(t, end.err, syscall.ECONNRESET)
					require.Less(t, end.at, start+200*time.Second+keepalive+time.Second)
				case <-time.After(time.Hour):
					require.Fail(t, "the client waits for ever")
				}
			})
		})
	}
}

func TestDial(t *testing.T) {
	for _, tt := range []struct {
		name    string
		prepare func(w *sim.World, a, b *sim.Machine)
		address string
		fails   error
		after   time.Duration
	}{
		{"refused", func(w *sim.World, a, b *sim.Machine) {}, "b:8", syscall.ECONNREFUSED, 0},
		{"nobody has the address", func(w *sim.World, a, b *sim.Machine) {}, "192.0.2.1:7", syscall.EHOSTUNREACH, 3 * time.Second},
		{"host off", func(w *sim.World, a, b *sim.Machine) { b.PowerOff() }, "b:7", syscall.ETIMEDOUT, 127 * time.Second},
		{"host paused", func(w *sim.World, a, b *sim.Machine) { b.Pause() }, "b:7", syscall.ETIMEDOUT, 127 * time.Second},
		{"cut", func(w *sim.World, a, b *sim.Machine) { w.Link(a, b).Cut(time.Hour) }, "b:7", syscall.ETIMEDOUT, 127 * time.Second},
		{"answers cut", func(w *sim.World, a, b *sim.Machine) { w.Link(b, a).CutOneWay(time.Hour) }, "b:7", syscall.ETIMEDOUT, 127 * time.Second},
		{"all lost", func(w *sim.World, a, b *sim.Machine) {
			w.Link(a, b).Impair(sim.Conditions{Loss: 1_000_000}, time.Hour)
		}, "b:7", syscall.ETIMEDOUT, 127 * time.Second},
		{"cut for half a second", func(w *sim.World, a, b *sim.Machine) { w.Link(a, b).Cut(time.Second / 2) }, "b:7", nil, time.Second},
		{"cut for two seconds", func(w *sim.World, a, b *sim.Machine) { w.Link(a, b).Cut(2 * time.Second) }, "b:7", nil, 3 * time.Second},
		{"cut for five seconds", func(w *sim.World, a, b *sim.Machine) { w.Link(a, b).Cut(5 * time.Second) }, "b:7", nil, 7 * time.Second},
		{"cut for 40 seconds", func(w *sim.World, a, b *sim.Machine) { w.Link(a, b).Cut(40 * time.Second) }, "b:7", nil, 63 * time.Second},
		{"cut for 64 seconds", func(w *sim.World, a, b *sim.Machine) { w.Link(a, b).Cut(64 * time.Second) }, "b:7", syscall.ETIMEDOUT, 127 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sim.Test(t, func(t *testing.T, w *sim.World) {
				a, b := w.NewMachine("a"), w.NewMachine("b")
				_, err := b.Listen("tcp", ":7")
				require.NoError(t, err)
				tt.prepare(w, a, b)
				start := w.Elapsed()
				_, err = a.DialContext(context.Background(), "tcp", tt.address)
				require.ErrorIs(t, err, tt.fails)
				soonAfter(t, start+tt.after, w.Elapsed())
			})
		})
	}
}

// The answer to a handshake is lost in a cut; the handshake is repeated, and
// there is one connection, not two.
func TestCutTakesTheAnswerToADial(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		a, b := w.NewMachine("a", sim.In("us", "a")), w.NewMachine("b", sim.In("eu", "a"))
		w.SetDistance("us", "eu", 40*time.Millisecond)
		l, err := b.Listen("tcp", ":7")
		require.NoError(t, err)
		var accepted atomic.Int64
		go func() {
			for {
				if _, err := l.Accept(); err != nil {
					return
				}
				accepted.Add(1)
			}
		}()
		w.At(60*time.Millisecond, func() { w.Link(a, b).Cut(time.Second / 2) })
		_, err = a.DialContext(context.Background(), "tcp", "b:7")
		require.NoError(t, err)
		require.InDelta(t, 1.08, w.Elapsed().Seconds(), 0.01)
		time.Sleep(time.Minute)
		require.EqualValues(t, 1, accepted.Load())
	})
}

// A client loses its power within the handshake: the server asks, in the end.
func TestPowerLossWithinAHandshake(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		a, b := w.NewMachine("a", sim.In("us", "a")), w.NewMachine("b", sim.In("eu", "a"))
		w.SetDistance("us", "eu", 40*time.Millisecond)
		l, err := b.Listen("tcp", ":7")
		require.NoError(t, err)
		go func() { _, _ = a.DialContext(context.Background(), "tcp", "b:7") }()
		w.At(20*time.Millisecond, a.PowerOff)
		c, err := l.Accept()
		require.NoError(t, err)
		end := <-listen(w, c)
		require.ErrorIs(t, end.err, syscall.ETIMEDOUT)
		require.Less(t, end.at, keepalive+2*time.Second)
	})
}

// A server forgets a handshake before its answer has got through. It answers the next
// attempt as a new one.
func TestServerForgetsAHandshake(t *testing.T) {
	for name, c := range map[string]struct {
		again bool // somebody listens
		want  error
	}{"and listens no more": {false, syscall.ECONNREFUSED}, "and listens again": {true, nil}} {
		t.Run(name, func(t *testing.T) {
			sim.Test(t, func(t *testing.T, w *sim.World) {
				a, b := w.NewMachine("a", sim.In("us", "a")), w.NewMachine("b", sim.In("eu", "a"))
				w.SetDistance("us", "eu", 50*time.Millisecond)
				_, err := b.Listen("tcp", ":7")
				require.NoError(t, err)
				w.At(75*time.Millisecond, func() { w.Link(b, a).CutOneWay(10 * time.Second) }) // the answer is on its way
				w.At(2*time.Second, b.PowerOff)
				w.At(4*time.Second, b.PowerOn)
				w.At(5*time.Second, func() {
					if c.again {
						b.Start("echo", func(p *sim.Process) error {
							return takeOne(p, func(c net.Conn) error { _, err := io.Copy(c, c); return err })
						})
					}
				})
				conn, err := a.DialContext(t.Context(), "tcp", "b:7")
				require.ErrorIs(t, err, c.want)
				if err == nil {
					write(t, conn, "hello")
					_, err = io.ReadFull(conn, make([]byte, 5))
					require.NoError(t, err)
				}
			})
		})
	}
}

func TestDialEndedByItsContext(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		a, b := w.NewMachine("a"), w.NewMachine("b")
		b.PowerOff()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		start := w.Elapsed()
		_, err := a.DialContext(ctx, "tcp", "b:7")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, start+5*time.Second, w.Elapsed())
		_, err = a.DialContext(ctx, "tcp", "b:7")
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}
