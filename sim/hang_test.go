package sim_test

import (
	"context"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/sim"
)

// The processes of a machine that hangs say nothing, while its kernel takes
// connections and acknowledges what arrives, so that nobody gives up on it.
func TestHang(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		a, b := w.NewMachine("a"), w.NewMachine("b")
		client, server := join(t, a, b)
		atClient, atServer := listen(w, client), listen(w, server)
		_, err := b.Listen("tcp", ":8")
		require.NoError(t, err)
		b.Hang()
		write(t, client, "in")
		write(t, server, "out")
		clock := b.Console().Elapsed()
		time.Sleep(20 * time.Minute) // beyond any patience with a host that is silent
		require.Equal(t, clock, b.Console().Elapsed())
		require.Empty(t, atClient)
		require.Equal(t, "in", (<-atServer).text)
		late, err := a.DialContext(context.Background(), "tcp", "b:8")
		require.NoError(t, err, "the kernel answers")
		write(t, late, "is anybody there?")

		resumed := w.Elapsed()
		b.Unhang()
		time.Sleep(time.Second)
		require.Zero(t, b.Held())
		h := <-atClient
		require.NoError(t, h.err)
		require.Equal(t, "out", h.text)
		soonAfter(t, resumed, h.at)
		require.Equal(t, w.Elapsed(), b.Console().Elapsed())
	})
}

// A machine that is paused while it hangs stands still until both are over, and
// loses what its processes did if its power goes.
func TestHangAndPause(t *testing.T) {
	for _, off := range []bool{false, true} {
		sim.Test(t, func(t *testing.T, w *sim.World) {
			a, b := w.NewMachine("a"), w.NewMachine("b")
			client, server := join(t, a, b)
			atClient := listen(w, client)
			b.Hang()
			b.Pause()
			write(t, server, "out")
			b.Resume()
			time.Sleep(time.Second)
			require.Empty(t, atClient)
			b.Pause()
			b.Unhang()
			time.Sleep(time.Second)
			require.Empty(t, atClient)
			if off {
				b.PowerOff()
				b.PowerOn()
				time.Sleep(time.Second)
				require.Empty(t, atClient)
				require.Zero(t, b.Held())
				require.Positive(t, b.Console().Elapsed())
				return
			}
			b.Resume()
			time.Sleep(time.Second)
			require.Equal(t, "out", (<-atClient).text)
		})
	}
}

// What processes did one after another while they stood still takes effect one
// after another, and before what they do next: at one instant the three connections
// would be told apart by what they send, and events would be told by name.
func TestTurnsAreKept(t *testing.T) {
	for _, still := range []struct {
		name     string
		from, to func(*sim.Machine)
	}{
		{"hang", (*sim.Machine).Hang, (*sim.Machine).Unhang},
		{"pause", (*sim.Machine).Pause, (*sim.Machine).Resume},
	} {
		t.Run(still.name, func(t *testing.T) {
			sim.Test(t, func(t *testing.T, w *sim.World) {
				a, b := w.NewMachine("a"), w.NewMachine("b")
				_, err := b.Listen("tcp", ":8")
				require.NoError(t, err)
				var mu sync.Mutex
				var told, arrived []string
				w.Observe(func(e sim.Event) {
					mu.Lock()
					defer mu.Unlock()
					told = append(told, e.Kind)
				})
				w.ObserveDeliveries(func(d sim.Delivery) {
					mu.Lock()
					defer mu.Unlock()
					if d.Kind == "seg" {
						arrived = append(arrived, fmt.Sprint(d.Conn, " ", d.Size))
					}
				})
				still.from(a)
				for _, text := range []string{"3", "02", "1"} {
					go func() {
						c, err := a.DialContext(context.Background(), "tcp", "b:8")
						require.NoError(t, err)
						write(t, c, text)
					}()
					a.Console().Emit(text)
					time.Sleep(time.Second)
				}
				still.to(a)
				a.Console().Emit("0")
				time.Sleep(time.Second)
				mu.Lock()
				defer mu.Unlock()
				require.Equal(t, []string{"3", "02", "1", "0"}, told)
				require.ElementsMatch(t, []string{"a>b:8#0 1", "a>b:8#1 2", "a>b:8#2 1"}, arrived)
			})
		})
	}
}

// Without descriptors nothing can be opened or accepted; what is open works on,
// and whoever waited is accepted afterwards.
func TestExhaust(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		a, b := w.NewMachine("a"), w.NewMachine("b")
		client, server := join(t, a, b)
		atClient := listen(w, client)
		l, err := b.Listen("tcp", ":8")
		require.NoError(t, err)
		refused := make(chan error, 1)
		go func() {
			_, err := l.Accept() // it waits already
			refused <- err
		}()
		time.Sleep(time.Second)
		b.Exhaust()
		write(t, server, "still here")
		waits, err := a.DialContext(context.Background(), "tcp", "b:8")
		require.NoError(t, err)
		err = <-refused
		require.ErrorIs(t, err, syscall.EMFILE)
		var temporary interface{ Temporary() bool }
		require.ErrorAs(t, err, &temporary)
		require.True(t, temporary.Temporary(), "servers accept again")
		_, err = l.Accept()
		require.ErrorIs(t, err, syscall.EMFILE)
		_, err = b.DialContext(context.Background(), "tcp", "a:7")
		require.ErrorIs(t, err, syscall.EMFILE)
		_, err = b.DialContext(context.Background(), "udp", "a:7")
		require.ErrorIs(t, err, syscall.EMFILE)
		_, err = b.Listen("tcp", ":9")
		require.ErrorIs(t, err, syscall.EMFILE)
		require.EqualValues(t, 5, b.Denied())
		require.Equal(t, "still here", (<-atClient).text)

		b.Relieve()
		accepted, err := l.Accept()
		require.NoError(t, err)
		atLate := listen(w, accepted)
		write(t, waits, "at last")
		require.Equal(t, "at last", (<-atLate).text)
		require.EqualValues(t, 5, b.Denied())
	})
}
