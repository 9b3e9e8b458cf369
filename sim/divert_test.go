package sim_test

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/sim"
)

// After a false announcement of routes some reach an impostor under the address
// of another, over streams and datagrams alike, and the others never notice.
func TestDivert(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		near, far := w.NewMachine("near"), w.NewMachine("far")
		real, impostor := w.NewMachine("real"), w.NewMachine("impostor")
		for _, m := range []*sim.Machine{real, impostor} {
			m.Start("server", func(p *sim.Process) error { return nameItself(p, m.Name()) })
		}
		time.Sleep(time.Millisecond)
		ask := func(from *sim.Machine, network string) string {
			conn, err := from.DialContext(t.Context(), network, net.JoinHostPort(real.Addr().String(), "53"))
			require.NoError(t, err)
			defer conn.Close()
			_, err = conn.Write([]byte("who?"))
			require.NoError(t, err)
			require.NoError(t, conn.SetReadDeadline(time.Now().Add(time.Second)))
			buf := make([]byte, 64)
			n, err := conn.Read(buf)
			require.NoError(t, err)
			return string(buf[:n])
		}
		hijack := w.Impair("hijack", sim.Conditions{Divert: impostor}, func(from, to *sim.Machine) bool {
			return from == near && to == real
		})
		for _, network := range []string{"tcp", "udp"} {
			require.Equal(t, "impostor", ask(near, network), network)
			require.Equal(t, "real", ask(far, network), network)
		}
		require.NotZero(t, hijack.Touched())
		hijack.Heal()
		for _, network := range []string{"tcp", "udp"} {
			require.Equal(t, "real", ask(near, network), network)
		}
	})
}

// nameItself answers everything with its name, over both networks.
func nameItself(p *sim.Process, name string) error {
	l, err := p.Listen("tcp", ":53")
	if err != nil {
		return err
	}
	packets, err := p.ListenPacket("udp", ":53")
	if err != nil {
		return err
	}
	go func() {
		buf := make([]byte, 64)
		for {
			_, from, err := packets.ReadFrom(buf)
			if err != nil {
				return
			}
			packets.WriteTo([]byte(name), from)
		}
	}()
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		io.WriteString(conn, name)
		conn.Close()
	}
}
