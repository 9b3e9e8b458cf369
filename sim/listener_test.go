package sim_test

import (
	"context"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/sim"
)

func TestPorts(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		m := w.NewMachine("m")
		l, err := m.Listen("tcp", ":80")
		require.NoError(t, err)
		_, err = m.Listen("tcp", ":80")
		require.ErrorIs(t, err, syscall.EADDRINUSE)
		_, err = m.Listen("tcp", m.Addr().String()+":80")
		require.ErrorIs(t, err, syscall.EADDRINUSE)
		_, err = m.Listen("tcp", "192.0.2.1:80")
		require.ErrorIs(t, err, syscall.EADDRNOTAVAIL)
		u, err := m.ListenPacket("udp", ":80")
		require.NoError(t, err, "datagrams have ports of their own")

		require.NoError(t, l.Close())
		_, err = l.Accept()
		require.ErrorIs(t, err, net.ErrClosed)
		_, err = m.Listen("tcp", ":80")
		require.NoError(t, err)
		require.NoError(t, u.Close())
		_, err = m.ListenPacket("udp", ":80")
		require.NoError(t, err)

		seen := map[string]bool{}
		for range 10 {
			l, err := m.Listen("tcp", ":0")
			require.NoError(t, err)
			require.False(t, seen[l.Addr().String()])
			seen[l.Addr().String()] = true
		}
	})
}

// The ports of a process are free when it has ended, however it ended.
func TestPortsAreFreedByTheEnd(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		m := w.NewMachine("m")
		serve := func(p *sim.Process) error {
			if _, err := p.Listen("tcp", ":80"); err != nil {
				return err
			}
			if _, err := p.ListenPacket("udp", ":53"); err != nil {
				return err
			}
			select {
			case <-p.Signals():
			case <-p.Context().Done():
			}
			return nil
		}
		for _, end := range []func(p *sim.Process){
			(*sim.Process).Kill,
			func(p *sim.Process) { require.NoError(t, p.Signal("TERM")) },
			func(p *sim.Process) { m.PowerOff(); m.PowerOn() },
		} {
			p := m.Start("server", serve)
			time.Sleep(time.Second)
			require.True(t, p.Alive())
			end(p)
			_ = p.Wait()
		}
		p := m.Start("server", serve)
		time.Sleep(time.Second)
		require.True(t, p.Alive())
	})
}

// Connections that nobody has accepted yet can be written to, and are served in
// the order of their arrival.
func TestBacklog(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		a, b := w.NewMachine("a"), w.NewMachine("b")
		l, err := b.Listen("tcp", ":7")
		require.NoError(t, err)
		for _, text := range []string{"first", "second", "third"} {
			c, err := a.DialContext(context.Background(), "tcp", "b:7")
			require.NoError(t, err)
			write(t, c, text)
			require.NoError(t, c.Close())
			time.Sleep(time.Second)
		}
		for _, want := range []string{"first", "second", "third"} {
			c, err := l.Accept()
			require.NoError(t, err)
			text, err := io.ReadAll(c)
			require.NoError(t, err)
			require.Equal(t, want, string(text))
		}
	})
}

// A full backlog drops handshakes, which are tried again until there is room.
func TestFullBacklog(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		const somaxconn = 4096
		a, b := w.NewMachine("a"), w.NewMachine("b")
		l, err := b.Listen("tcp", ":7")
		require.NoError(t, err)
		for range somaxconn {
			_, err := a.DialContext(context.Background(), "tcp", "b:7")
			require.NoError(t, err)
		}
		start := w.Elapsed()
		w.After(2*time.Second, func() {
			go func() { _, _ = l.Accept() }()
		})
		_, err = a.DialContext(context.Background(), "tcp", "b:7")
		require.NoError(t, err)
		soonAfter(t, start+3*time.Second, w.Elapsed())
	})
}

// Processes that share a listener share its connections; one that leaves gives
// its share to the others.
func TestSharedListener(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		a, b := w.NewMachine("a"), w.NewMachine("b")
		served := map[string]*atomic.Int64{"one": {}, "two": {}}
		child := func(p *sim.Process) error {
			for l := p.Inherited()[0]; ; {
				c, err := l.Accept()
				if err != nil {
					return err
				}
				served[p.Name()].Add(1)
				if err := c.Close(); err != nil {
					return err
				}
			}
		}
		var children []*sim.Process
		b.Start("parent", func(p *sim.Process) error {
			l, err := p.Listen("tcp", ":7")
			if err != nil {
				return err
			}
			for _, name := range []string{"one", "two"} {
				c, err := p.Start(name, child, l)
				if err != nil {
					return err
				}
				children = append(children, c)
			}
			<-p.Context().Done()
			return nil
		})
		time.Sleep(time.Second)
		dial := func() {
			for range 50 {
				_, err := a.DialContext(context.Background(), "tcp", "b:7")
				require.NoError(t, err)
				time.Sleep(10 * time.Millisecond)
			}
		}
		dial()
		one, two := served["one"].Load(), served["two"].Load()
		require.EqualValues(t, 50, one+two)
		require.Greater(t, min(one, two), int64(10))
		children[0].Kill()
		dial()
		require.Equal(t, one, served["one"].Load())
		require.Equal(t, two+50, served["two"].Load())
	})
}

// A dialled socket hears that nobody listens, and only its own peer.
func TestDialledDatagrams(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		a, b, other := w.NewMachine("a"), w.NewMachine("b"), w.NewMachine("other")
		c, err := a.DialContext(context.Background(), "udp", "b:9")
		require.NoError(t, err)
		write(t, c, "anybody?")
		_, err = c.Read(make([]byte, 10))
		require.ErrorIs(t, err, syscall.ECONNREFUSED)

		server, err := b.ListenPacket("udp", ":9")
		require.NoError(t, err)
		stranger, err := other.ListenPacket("udp", ":9")
		require.NoError(t, err)
		write(t, c, "hello")
		buffer := make([]byte, 10)
		_, from, err := server.ReadFrom(buffer)
		require.NoError(t, err)
		_, err = stranger.WriteTo([]byte("psst"), from)
		require.NoError(t, err)
		time.Sleep(time.Second)
		_, err = server.WriteTo([]byte("answer"), from)
		require.NoError(t, err)
		n, err := c.Read(buffer)
		require.NoError(t, err)
		require.Equal(t, "answer", string(buffer[:n]))
	})
}
