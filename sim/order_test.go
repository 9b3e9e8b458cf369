package sim_test

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/sim"
)

// Bytes that were under way when a link was cut come before those that were
// written during the cut.
func TestOrderAroundACut(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		a, b := w.NewMachine("a", sim.In("us", "a")), w.NewMachine("b", sim.In("eu", "a"))
		client, server := join(t, a, b)
		all := listen(w, server)
		write(t, client, "1")
		time.Sleep(time.Millisecond)
		write(t, client, "2")
		time.Sleep(time.Millisecond)
		w.Link(a, b).Cut(10 * time.Second)
		write(t, client, "3")
		time.Sleep(time.Minute)
		require.NoError(t, client.Close())
		var text strings.Builder
		for h := range all {
			if h.err != nil {
				require.ErrorIs(t, h.err, io.EOF)
			}
			text.WriteString(h.text)
		}
		require.Equal(t, "123", text.String())
	})
}

// Bytes that were on their way longer than a cut lasted wait for those before them
// that were lost in it, and so does the end.
func TestOrderAroundACutShorterThanTheWay(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		a, b := w.NewMachine("a", sim.In("us", "a")), w.NewMachine("b", sim.In("eu", "a"))
		w.SetDistance("us", "eu", 50*time.Millisecond)
		client, server := join(t, a, b)
		all := listen(w, server)
		cut := w.Elapsed() + 40*time.Millisecond
		w.At(cut, func() { w.Link(a, b).Cut(20 * time.Millisecond) })
		write(t, client, "1")
		time.Sleep(20 * time.Millisecond)
		write(t, client, "2")
		time.Sleep(time.Millisecond)
		write(t, client, "3")
		require.NoError(t, client.Close())
		var text strings.Builder
		for h := range all {
			require.Greater(t, h.at, cut+200*time.Millisecond, "after the first retransmission")
			if h.err != nil {
				require.ErrorIs(t, h.err, io.EOF)
			}
			text.WriteString(h.text)
		}
		require.Equal(t, "123", text.String())
	})
}
