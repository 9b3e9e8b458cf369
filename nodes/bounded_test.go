package nodes_test

import (
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/nodes"
)

// door is a listener where those who come are made by hand, at times made by hand.
type door struct {
	nodes.Machine
	now time.Duration
	in  chan net.Conn
}

func (d *door) Elapsed() time.Duration    { return d.now }
func (d *door) Log() *slog.Logger         { return slog.New(slog.DiscardHandler) }
func (d *door) Accept() (net.Conn, error) { return <-d.in, nil }
func (d *door) Close() error              { return nil }
func (d *door) Addr() net.Addr            { return nil }

// comer is one of them, and the end that the server has.
type comer struct {
	net.Conn
	server net.Conn
}

type from struct {
	net.Conn
	addr string
}

func (f from) RemoteAddr() net.Addr { return address(f.addr) }

type address string

func (a address) Network() string { return "tcp" }
func (a address) String() string  { return string(a) }

// come lets one in, a second after the last.
func (d *door) come(t *testing.T, l net.Listener, addr string) comer {
	d.now += time.Second
	here, there := net.Pipe()
	d.in <- from{there, addr}
	server, err := l.Accept()
	require.NoError(t, err)
	return comer{here, server}
}

// says passes a letter to the server, or is told that nobody listens any more.
func (c comer) says(t *testing.T) bool {
	heard := make(chan error, 1)
	go func() {
		_, err := c.server.Read(make([]byte, 1))
		heard <- err
	}()
	_, err := c.Write([]byte("x"))
	if err != nil {
		require.ErrorIs(t, err, io.ErrClosedPipe)
	}
	require.Equal(t, err == nil, <-heard == nil)
	return err == nil
}

func TestBounded(t *testing.T) {
	d := &door{in: make(chan net.Conn, 1)}
	l := nodes.Bounded(d, d, nodes.Bounds{All: 4, Source: 2})
	first, second := d.come(t, l, "192.0.2.1:1000"), d.come(t, l, "192.0.2.1:1001")
	d.now += time.Second
	require.True(t, first.says(t))
	third := d.come(t, l, "192.0.2.1:1002")
	require.False(t, second.says(t), "the more silent one of its source")
	require.NoError(t, second.server.Close(), "its owner closes it too, and frees no place")
	six, seven := d.come(t, l, "[2001:db8::1]:1000"), d.come(t, l, "[2001:db8::2]:1000")
	eight := d.come(t, l, "[2001:db8::3]:1000")
	require.False(t, six.says(t), "a network of 64 bits is one source")
	require.True(t, first.says(t))
	peer := d.come(t, l, "198.51.100.7:1000")
	require.False(t, third.says(t), "the most silent of all")
	for _, c := range []comer{first, seven, eight, peer} {
		require.True(t, c.says(t))
	}
	// What is closed leaves a place.
	require.NoError(t, peer.server.Close())
	other := d.come(t, l, "198.51.100.8:1000")
	for _, c := range []comer{first, seven, eight, other} {
		require.True(t, c.says(t))
	}
}

func TestSource(t *testing.T) {
	for address, want := range map[string]string{
		"192.0.2.1:80": "192.0.2.1", "192.0.2.1": "192.0.2.1", "[::ffff:192.0.2.1]:80": "192.0.2.1",
		"[2001:db8::1:2:3]:80": "2001:db8::/64", "2001:db8:0:1::1": "2001:db8:0:1::/64", "[fe80::1%eth0]:80": "fe80::/64", "pipe": "pipe",
	} {
		require.Equal(t, want, nodes.Source(address), address)
	}
}
