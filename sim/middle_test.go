package sim_test

import (
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/sim"
)

// What boxes in the middle do to streams that stand.

func between(a, b *sim.Machine) func(from, to *sim.Machine) bool {
	return func(from, to *sim.Machine) bool { return from == a && to == b }
}

func TestResetEndsBothEnds(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		a, b, c := w.NewMachine("a"), w.NewMachine("b"), w.NewMachine("c")
		client, server := join(t, a, b)
		back, _ := join(t, b, a)
		other, otherEnd := join(t, a, c)
		heardThere := listen(w, otherEnd)
		start := w.Elapsed()
		require.Equal(t, 2, w.Reset(between(a, b)))
		for _, end := range []interface{ Read([]byte) (int, error) }{client, server, back} {
			_, err := end.Read(make([]byte, 1))
			require.ErrorIs(t, err, syscall.ECONNRESET)
			soonAfter(t, start, w.Elapsed())
		}
		write(t, other, "as ever")
		require.Equal(t, "as ever", (<-heardThere).text)
		again, _ := join(t, a, b)
		write(t, again, "new ones stand")
		require.Equal(t, 1, w.Reset(between(a, b)))
		time.Sleep(time.Second)
		require.Zero(t, w.Reset(between(a, b)))
	})
}

// Nothing of a stream that is forgotten in silence passes; its ends learn it by
// their own time-outs, and new ones work.
func TestForgottenInSilence(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		a, b := w.NewMachine("a"), w.NewMachine("b")
		client, server := join(t, a, b)
		atServer := listen(w, server)
		start := w.Elapsed()
		require.Equal(t, 1, w.Forget(false, between(b, a)))
		require.Zero(t, w.Forget(false, between(a, b)), "once is enough")
		write(t, client, "lost")
		again, ends := join(t, a, b)
		heardThere := listen(w, ends)
		write(t, again, "new")
		require.Equal(t, "new", (<-heardThere).text)
		soonAfter(t, start, w.Elapsed())

		end := <-atServer
		require.ErrorIs(t, end.err, syscall.ETIMEDOUT)
		require.InDelta(t, 150, (end.at - start).Seconds(), 1, "the keepalive of the end that says nothing")
		_, err := client.Read(make([]byte, 1))
		require.ErrorIs(t, err, syscall.ETIMEDOUT)
		require.InDelta(t, 924.6, (w.Elapsed() - start).Seconds(), 1, "and bytes without an answer")

		// A fault that comes and goes brings nothing back.
		client, server = join(t, a, b)
		atServer = listen(w, server)
		w.Forget(false, between(a, b))
		write(t, client, "lost")
		w.Link(a, b).Cut(time.Second)
		time.Sleep(time.Minute)
		require.Empty(t, collect(atServer))
	})
}

// A box that answers resets whoever still sends, and nobody else.
func TestForgottenWithAnAnswer(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		a, b := w.NewMachine("a"), w.NewMachine("b")
		client, server := join(t, a, b)
		atServer := listen(w, server)
		start := w.Elapsed()
		require.Equal(t, 1, w.Forget(true, between(a, b)))
		time.Sleep(5 * time.Second)
		require.Empty(t, collect(atServer), "nothing is known before somebody sends")
		write(t, client, "who is there?")
		_, err := client.Read(make([]byte, 1))
		require.ErrorIs(t, err, syscall.ECONNRESET)
		soonAfter(t, start+5*time.Second, w.Elapsed())
		end := <-atServer
		require.ErrorIs(t, end.err, syscall.ECONNRESET)
		require.InDelta(t, 15.5, (end.at - start).Seconds(), 0.6, "its keepalive")
	})
}
