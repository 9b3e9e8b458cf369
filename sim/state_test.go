package sim_test

import (
	"io"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/sim"
)

// A machine's state names what its processes listen to and are connected with,
// and what waits in their queues.
func TestState(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		near, far := w.NewMachine("near"), w.NewMachine("far")
		server := far.Start("server", func(p *sim.Process) error {
			l, err := p.Listen("tcp", ":80")
			if err != nil {
				return err
			}
			if _, err := p.ListenPacket("udp", ":53"); err != nil {
				return err
			}
			c, err := l.Accept()
			if err != nil {
				return err
			}
			if _, err := io.ReadFull(c, make([]byte, 2)); err != nil {
				return err
			}
			<-p.Context().Done()
			return nil
		})
		require.NoError(t, far.Disk().WriteFile("/a", []byte("abc")))
		far.Clock().Step(time.Minute)
		time.Sleep(time.Millisecond)
		c, err := near.DialContext(t.Context(), "tcp", "far:80")
		require.NoError(t, err)
		write(t, c, "hello")
		_, err = near.DialContext(t.Context(), "tcp", "far:80") // nobody accepts it
		require.NoError(t, err)
		time.Sleep(time.Second)

		want := sim.State{On: true, Clock: time.Minute, Files: 1, Bytes: 3, Processes: []sim.ProcessState{
			{Name: "console"},
			{Name: "server", Listens: []string{"tcp :80", "udp :53"}, Waiting: 1, Connections: []sim.Connection{
				{Name: "near>far:80#0", Peer: "near", Unread: 3},
			}},
		}}
		require.Empty(t, cmp.Diff(want, far.State()))

		w.Link(near, far).Cut(time.Hour)
		write(t, c, "lost")
		time.Sleep(time.Second)
		require.Empty(t, cmp.Diff([]sim.ProcessState{{Name: "console", Connections: []sim.Connection{
			{Name: "near>far:80#0", Peer: "far", Dialled: true, Unheard: 7, Stuck: true},
			{Name: "near>far:80#1", Peer: "far", Dialled: true},
		}}}, near.State().Processes))

		server.Kill()
		far.Pause()
		require.True(t, far.State().Paused)
		far.PowerOff()
		want = sim.State{Clock: time.Minute, Files: far.State().Files, Bytes: far.State().Bytes}
		require.Empty(t, cmp.Diff(want, far.State()))
	})
}

// The two ends of a stream that a process has with itself have an order too.
func TestStateOfAStreamToItself(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		m := w.NewMachine("m")
		join(t, m, m)
		for range 20 {
			ends := m.State().Processes[0].Connections
			require.Len(t, ends, 2)
			require.True(t, ends[0].Dialled)
		}
	})
}
