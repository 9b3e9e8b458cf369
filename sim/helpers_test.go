package sim_test

import (
	"context"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/sim"
)

// join opens a stream between the consoles of two machines.
func join(t *testing.T, from, to *sim.Machine) (client, server net.Conn) {
	t.Helper()
	l, err := to.Listen("tcp", ":7")
	require.NoError(t, err)
	accepted := make(chan net.Conn, 1)
	go func() {
		if c, err := l.Accept(); err == nil {
			accepted <- c
		}
	}()
	client, err = from.DialContext(context.Background(), "tcp", to.Name()+":7")
	require.NoError(t, err)
	server = <-accepted
	require.NoError(t, l.Close())
	return client, server
}

// takeOne accepts one connection on port 7, and has it served.
func takeOne(p *sim.Process, serve func(net.Conn) error) error {
	l, err := p.Listen("tcp", ":7")
	if err != nil {
		return err
	}
	c, err := l.Accept()
	if err != nil {
		return err
	}
	return serve(c)
}

// heard is what arrived, and when.
type heard struct {
	at   time.Duration
	text string
	err  error
}

// listen reads a stream until it ends and gives all that it heard.
func listen(w *sim.World, c net.Conn) <-chan heard {
	all := make(chan heard, 1000)
	go func() {
		defer close(all)
		for b := make([]byte, 1<<20); ; {
			n, err := c.Read(b)
			all <- heard{w.Elapsed(), string(b[:n]), err}
			if err != nil {
				return
			}
		}
	}()
	return all
}

// catch hears the datagrams that arrive on a port.
func catch(t *testing.T, m *sim.Machine, port uint16) <-chan heard {
	t.Helper()
	c, err := m.ListenPacket("udp", netip.AddrPortFrom(m.Addr(), port).String())
	require.NoError(t, err)
	all := make(chan heard, 10_000)
	go func() {
		defer close(all)
		for b := make([]byte, 2000); ; {
			n, _, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			all <- heard{m.World().Elapsed(), string(b[:n]), nil}
		}
	}()
	return all
}

func write(t *testing.T, w io.Writer, text string) {
	t.Helper()
	_, err := io.WriteString(w, text)
	require.NoError(t, err)
}

// soonAfter asserts that a moment lies within two milliseconds after another:
// what the network within a zone takes.
func soonAfter(t *testing.T, want, got time.Duration) {
	t.Helper()
	require.GreaterOrEqual(t, got, want)
	require.LessOrEqual(t, got, want+2*time.Millisecond)
}
