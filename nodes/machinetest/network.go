package machinetest

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func networkTests() []Test {
	return []Test{
		{"a port in use cannot be taken", testInUse},
		{"port 0 gives free ports", testPortZero},
		{"only tcp and udp exist", testUnknownNetwork},
		{"both ends know their addresses", testAddresses},
		{"dialling a closed port is refused", testRefused},
		{"dialling ends with its context", testDialContext},
		{"dialling silence ends with its context", testDialSilence},
		{"read deadlines", testReadDeadline},
		{"write deadlines and back-pressure", testWriteDeadline},
		{"half-close", testHalfClose},
		{"the end of a stream", testEOF},
		{"writing to who has left fails", testWriteAfterClose},
		{"large transfers both ways", testLarge},
		{"close unblocks accept", testCloseAccept},
		{"close unblocks read", testCloseRead},
		{"close unblocks write", testCloseWrite},
		{"closing twice", testCloseTwice},
		{"datagrams keep their bounds", testDatagrams},
		{"datagrams over a connected socket", testDatagramDial},
		{"datagram deadlines and close", testDatagramClose},
		{"unknown names", testNotFound},
		{"known names", testLookup},
		{"dialling a name", testDialName},
	}
}

func testInUse(t testing.TB, w World) {
	m := w.Machine(t, "alpha", nil)
	l, address := listen(t, m)
	_, port, err := net.SplitHostPort(address)
	require.NoError(t, err)
	_, err = m.Listen("tcp", ":"+port)
	require.ErrorIs(t, err, syscall.EADDRINUSE)
	var oe *net.OpError
	require.ErrorAs(t, err, &oe)

	require.NoError(t, l.Close())
	again, err := m.Listen("tcp", ":"+port)
	require.NoError(t, err, "free again after close")
	require.NoError(t, again.Close())

	p, err := m.ListenPacket("udp", ":0")
	require.NoError(t, err)
	defer p.Close()
	_, port, err = net.SplitHostPort(p.LocalAddr().String())
	require.NoError(t, err)
	_, err = m.ListenPacket("udp", ":"+port)
	require.ErrorIs(t, err, syscall.EADDRINUSE)
}

func testPortZero(t testing.TB, w World) {
	m := w.Machine(t, "alpha", nil)
	seen := map[string]bool{}
	for range 5 {
		_, address := listen(t, m)
		seen[address] = true
	}
	require.Len(t, seen, 5)
}

func testUnknownNetwork(t testing.TB, w World) {
	m := w.Machine(t, "alpha", nil)
	_, err := m.Listen("udp", ":0")
	require.Error(t, err)
	_, err = m.ListenPacket("tcp", ":0")
	require.Error(t, err)
	_, err = m.DialContext(context30(t), "unix", "/tmp/x")
	require.Error(t, err)
	_, err = m.Listen("tcp", "no port")
	require.Error(t, err)
	_, err = m.DialContext(context30(t), "tcp", "no port")
	require.Error(t, err)
}

func testAddresses(t testing.TB, w World) {
	a, b := w.Machine(t, "alpha", nil), w.Machine(t, "beta", nil)
	c, s := pair(t, a, b)
	require.Equal(t, c.LocalAddr().String(), s.RemoteAddr().String())
	require.Equal(t, c.RemoteAddr().String(), s.LocalAddr().String())
	require.Equal(t, "tcp", c.LocalAddr().Network())
	host, port, err := net.SplitHostPort(c.RemoteAddr().String())
	require.NoError(t, err)
	require.Equal(t, b.Host().Addr.String(), host)
	n, err := strconv.Atoi(port)
	require.NoError(t, err)
	require.Positive(t, n)
}

func testRefused(t testing.TB, w World) {
	a, b := w.Machine(t, "alpha", nil), w.Machine(t, "beta", nil)
	l, address := listen(t, b)
	require.NoError(t, l.Close())
	_, err := a.DialContext(context30(t), "tcp", address)
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	var oe *net.OpError
	require.ErrorAs(t, err, &oe)
	require.Equal(t, "dial", oe.Op)
}

func testDialContext(t testing.TB, w World) {
	a, b := w.Machine(t, "alpha", nil), w.Machine(t, "beta", nil)
	_, address := listen(t, b)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := a.DialContext(ctx, "tcp", address)
	require.Error(t, err)
	requireContextError(t, err)
}

func testDialSilence(t testing.TB, w World) {
	s, ok := w.(Silencer)
	if !ok {
		t.Skip("this world has no silent address")
	}
	m := w.Machine(t, "alpha", nil)
	address := s.Silent(t)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := m.DialContext(ctx, "tcp", address)
	requireTimeout(t, err)

	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	done := async(func() (int, error) {
		_, err := m.DialContext(ctx, "tcp", address)
		return 0, err
	})
	cancel()
	requireContextError(t, wait(t, "dial", done).err)
}

// requireContextError accepts what package net makes of a cancelled context,
// which does not always wrap context.Canceled.
func requireContextError(t testing.TB, err error) {
	t.Helper()
	require.Error(t, err)
	if !errors.Is(err, context.Canceled) {
		require.ErrorContains(t, err, "operation was canceled")
	}
}

func requireTimeout(t testing.TB, err error) {
	t.Helper()
	var ne net.Error
	require.ErrorAs(t, err, &ne)
	require.True(t, ne.Timeout(), "not a time-out: %v", err)
}

func testReadDeadline(t testing.TB, w World) {
	a, b := w.Machine(t, "alpha", nil), w.Machine(t, "beta", nil)
	c, s := pair(t, a, b)
	buf := make([]byte, 8)

	require.NoError(t, c.SetReadDeadline(time.Now().Add(20*time.Millisecond)))
	_, err := c.Read(buf)
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	requireTimeout(t, err)
	_, err = c.Read(buf)
	require.ErrorIs(t, err, os.ErrDeadlineExceeded, "it stays in force")

	require.NoError(t, c.SetReadDeadline(time.Time{}))
	writeString(t, s, "late")
	_, err = io.ReadFull(c, buf[:4])
	require.NoError(t, err, "and can be lifted")
	require.Equal(t, "late", string(buf[:4]))

	done := async(func() (int, error) { return c.Read(buf) })
	require.NoError(t, c.SetDeadline(time.Now().Add(-time.Second)))
	require.ErrorIs(t, wait(t, "read", done).err, os.ErrDeadlineExceeded, "one in the past wakes a reader")

	writeString(t, s, "x")
	_, err = c.Read(buf)
	require.ErrorIs(t, err, os.ErrDeadlineExceeded, "and keeps data waiting")
	require.NoError(t, c.SetDeadline(time.Time{}))
	n, err := c.Read(buf)
	require.NoError(t, err)
	require.Equal(t, "x", string(buf[:n]))
}

func testWriteDeadline(t testing.TB, w World) {
	a, b := w.Machine(t, "alpha", nil), w.Machine(t, "beta", nil)
	c, s := pair(t, a, b)
	require.NoError(t, c.SetWriteDeadline(time.Now().Add(200*time.Millisecond)))
	big := make([]byte, 64<<20)
	n, err := c.Write(big)
	require.ErrorIs(t, err, os.ErrDeadlineExceeded, "nobody reads, so not all can be taken")
	requireTimeout(t, err)
	require.Less(t, n, len(big))

	// What was taken arrives, and no more.
	require.NoError(t, c.Close())
	got, err := io.Copy(io.Discard, s)
	require.NoError(t, err)
	require.Equal(t, int64(n), got)
}

type halfCloser interface{ CloseWrite() error }

func testHalfClose(t testing.TB, w World) {
	a, b := w.Machine(t, "alpha", nil), w.Machine(t, "beta", nil)
	c, s := pair(t, a, b)
	writeString(t, c, "question")
	h, ok := c.(halfCloser)
	require.True(t, ok, "%T has no CloseWrite", c)
	require.NoError(t, h.CloseWrite())
	question, err := io.ReadAll(s)
	require.NoError(t, err)
	require.Equal(t, "question", string(question))
	writeString(t, s, "answer")
	require.NoError(t, s.Close())
	answer, err := io.ReadAll(c)
	require.NoError(t, err)
	require.Equal(t, "answer", string(answer))
	_, err = c.Write([]byte("more"))
	require.Error(t, err, "this direction is closed")
}

func testEOF(t testing.TB, w World) {
	a, b := w.Machine(t, "alpha", nil), w.Machine(t, "beta", nil)
	c, s := pair(t, a, b)
	n, err := c.Write(nil)
	require.NoError(t, err)
	require.Zero(t, n)
	writeString(t, c, "bye")
	require.NoError(t, c.Close())
	data, err := io.ReadAll(s)
	require.NoError(t, err)
	require.Equal(t, "bye", string(data))
	n, err = s.Read(make([]byte, 1))
	require.Zero(t, n)
	require.Equal(t, io.EOF, err, "every further read")
}

func testWriteAfterClose(t testing.TB, w World) {
	a, b := w.Machine(t, "alpha", nil), w.Machine(t, "beta", nil)
	c, s := pair(t, a, b)
	writeString(t, c, "never read")
	require.NoError(t, s.Close())
	require.NoError(t, c.SetWriteDeadline(time.Now().Add(patience)))
	var err error
	for err == nil { // the first writes may still be taken
		_, err = c.Write(make([]byte, 64<<10))
	}
	require.True(t, errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET), "%v", err)
	_, err = c.Read(make([]byte, 1))
	require.Error(t, err)
}

func testLarge(t testing.TB, w World) {
	a, b := w.Machine(t, "alpha", nil), w.Machine(t, "beta", nil)
	c, s := pair(t, a, b)
	const size = 4 << 20
	sum := func(conn net.Conn) <-chan result {
		return async(func() (int, error) { return checkPattern(conn) })
	}
	send := func(conn net.Conn) <-chan result {
		return async(func() (int, error) {
			n, err := sendPattern(conn, size)
			return n, errors.Join(err, conn.(halfCloser).CloseWrite())
		})
	}
	all := map[string]<-chan result{
		"client sends": send(c), "server sends": send(s),
		"client receives": sum(c), "server receives": sum(s),
	}
	for what, done := range all {
		r := wait(t, what, done)
		require.NoError(t, r.err, what)
		require.Equal(t, size, r.n, what)
	}
}

// pattern is a byte that tells its place in a stream.
func pattern(i int) byte { return byte(i ^ i>>8 ^ i>>16) }

func sendPattern(w io.Writer, size int) (int, error) {
	sent := 0
	for step := 1; sent < size; step = (step*3 + 1) % 200_003 { // writes of many sizes
		b := make([]byte, min(step, size-sent))
		for i := range b {
			b[i] = pattern(sent + i)
		}
		n, err := w.Write(b)
		sent += n
		if err != nil {
			return sent, err
		}
		clear(b) // the connection may not keep it
	}
	return sent, nil
}

func checkPattern(r io.Reader) (int, error) {
	got, b := 0, make([]byte, 10_007)
	for {
		n, err := r.Read(b)
		for i := range n {
			if b[i] != pattern(got+i) {
				return got + i, errors.New("wrong byte at " + strconv.Itoa(got+i))
			}
		}
		got += n
		if err == io.EOF {
			return got, nil
		}
		if err != nil {
			return got, err
		}
	}
}

func testCloseAccept(t testing.TB, w World) {
	m := w.Machine(t, "alpha", nil)
	l, _ := listen(t, m)
	done := async(func() (int, error) {
		_, err := l.Accept()
		return 0, err
	})
	require.NoError(t, l.Close())
	require.ErrorIs(t, wait(t, "accept", done).err, net.ErrClosed)
	_, err := l.Accept()
	require.ErrorIs(t, err, net.ErrClosed)
}

func testCloseRead(t testing.TB, w World) {
	a, b := w.Machine(t, "alpha", nil), w.Machine(t, "beta", nil)
	c, _ := pair(t, a, b)
	done := async(func() (int, error) { return c.Read(make([]byte, 1)) })
	require.NoError(t, c.Close())
	require.ErrorIs(t, wait(t, "read", done).err, net.ErrClosed)
	require.ErrorIs(t, c.SetDeadline(time.Time{}), net.ErrClosed)
}

func testCloseWrite(t testing.TB, w World) {
	a, b := w.Machine(t, "alpha", nil), w.Machine(t, "beta", nil)
	c, _ := pair(t, a, b)
	done := async(func() (int, error) { return c.Write(make([]byte, 64<<20)) })
	require.NoError(t, c.Close())
	r := wait(t, "write", done)
	require.ErrorIs(t, r.err, net.ErrClosed)
	require.Less(t, r.n, 64<<20)
}

func testCloseTwice(t testing.TB, w World) {
	a, b := w.Machine(t, "alpha", nil), w.Machine(t, "beta", nil)
	c, _ := pair(t, a, b)
	require.NoError(t, c.Close())
	require.ErrorIs(t, c.Close(), net.ErrClosed)
	l, _ := listen(t, a)
	require.NoError(t, l.Close())
	require.ErrorIs(t, l.Close(), net.ErrClosed)
}

func testDatagrams(t testing.TB, w World) {
	a, b := w.Machine(t, "alpha", nil), w.Machine(t, "beta", nil)
	pa, err := a.ListenPacket("udp", ":0")
	require.NoError(t, err)
	defer pa.Close()
	pb, err := b.ListenPacket("udp", ":0")
	require.NoError(t, err)
	defer pb.Close()
	to, err := net.ResolveUDPAddr("udp", reach(t, b, pb.LocalAddr()))
	require.NoError(t, err)
	require.NoError(t, pb.SetReadDeadline(time.Now().Add(patience)))

	buf := make([]byte, 1200)
	for _, size := range []int{1, 1000, 0, 3} {
		n, err := pa.WriteTo(make([]byte, size), to)
		require.NoError(t, err)
		require.Equal(t, size, n)
		n, from, err := pb.ReadFrom(buf)
		require.NoError(t, err)
		require.Equal(t, size, n)
		require.Equal(t, "udp", from.Network())
		_, port, err := net.SplitHostPort(from.String())
		require.NoError(t, err)
		_, want, err := net.SplitHostPort(pa.LocalAddr().String())
		require.NoError(t, err)
		require.Equal(t, want, port)
	}

	// A buffer that is too small gets the beginning; the rest is gone.
	_, err = pa.WriteTo([]byte("truncated"), to)
	require.NoError(t, err)
	n, _, err := pb.ReadFrom(buf[:5])
	require.NoError(t, err)
	require.Equal(t, "trunc", string(buf[:n]))
	_, err = pa.WriteTo([]byte("next"), to)
	require.NoError(t, err)
	n, _, err = pb.ReadFrom(buf)
	require.NoError(t, err)
	require.Equal(t, "next", string(buf[:n]))
}

func testDatagramDial(t testing.TB, w World) {
	a, b := w.Machine(t, "alpha", nil), w.Machine(t, "beta", nil)
	p, err := b.ListenPacket("udp", ":0")
	require.NoError(t, err)
	defer p.Close()
	c, err := a.DialContext(context30(t), "udp", reach(t, b, p.LocalAddr()))
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, p.SetReadDeadline(time.Now().Add(patience)))
	require.NoError(t, c.SetReadDeadline(time.Now().Add(patience)))
	writeString(t, c, "ping")
	buf := make([]byte, 100)
	n, from, err := p.ReadFrom(buf)
	require.NoError(t, err)
	require.Equal(t, "ping", string(buf[:n]))
	_, err = p.WriteTo([]byte("pong"), from)
	require.NoError(t, err)
	n, err = c.Read(buf)
	require.NoError(t, err)
	require.Equal(t, "pong", string(buf[:n]))
}

func testDatagramClose(t testing.TB, w World) {
	m := w.Machine(t, "alpha", nil)
	p, err := m.ListenPacket("udp", ":0")
	require.NoError(t, err)
	require.NoError(t, p.SetReadDeadline(time.Now().Add(20*time.Millisecond)))
	_, _, err = p.ReadFrom(make([]byte, 1))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.NoError(t, p.SetReadDeadline(time.Time{}))
	done := async(func() (int, error) {
		n, _, err := p.ReadFrom(make([]byte, 1))
		return n, err
	})
	require.NoError(t, p.Close())
	require.ErrorIs(t, wait(t, "read", done).err, net.ErrClosed)
}

func testNotFound(t testing.TB, w World) {
	m := w.Machine(t, "alpha", nil)
	for _, kind := range []string{"A", "TXT", "CNAME"} {
		_, err := m.Lookup(context30(t), kind, "nothing.conformance.invalid")
		requireNotFound(t, err)
	}
	_, err := m.DialContext(context30(t), "tcp", "nothing.conformance.invalid:80")
	requireNotFound(t, err)
	_, err = m.Lookup(context30(t), "NONSENSE", "conformance.invalid")
	require.Error(t, err)
}

func requireNotFound(t testing.TB, err error) {
	t.Helper()
	var de *net.DNSError
	require.ErrorAs(t, err, &de)
	require.True(t, de.IsNotFound, "%v", err)
}

func testLookup(t testing.TB, w World) {
	p, ok := w.(Publisher)
	if !ok {
		t.Skip("this world publishes no names")
	}
	m := w.Machine(t, "alpha", nil)
	p.Publish(t, "A", "many.conformance.test", "192.0.2.9", "192.0.2.10", "192.0.2.1")
	p.Publish(t, "TXT", "text.conformance.test", "v=home1 region=us-east epoch=1", "another")
	p.Publish(t, "CNAME", "alias.conformance.test", "many.conformance.test")

	got, err := m.Lookup(context30(t), "A", "many.conformance.test")
	require.NoError(t, err)
	require.Equal(t, []string{"192.0.2.1", "192.0.2.10", "192.0.2.9"}, got, "sorted as text")
	got, err = m.Lookup(context30(t), "A", "alias.conformance.test")
	require.NoError(t, err)
	require.Equal(t, []string{"192.0.2.1", "192.0.2.10", "192.0.2.9"}, got, "through the alias")
	got, err = m.Lookup(context30(t), "CNAME", "alias.conformance.test")
	require.NoError(t, err)
	require.Equal(t, []string{"many.conformance.test"}, got)
	got, err = m.Lookup(context30(t), "TXT", "text.conformance.test")
	require.NoError(t, err)
	require.Equal(t, []string{"another", "v=home1 region=us-east epoch=1"}, got)
	_, err = m.Lookup(context30(t), "TXT", "many.conformance.test")
	requireNotFound(t, err)
}

func testDialName(t testing.TB, w World) {
	p, ok := w.(Publisher)
	if !ok {
		t.Skip("this world publishes no names")
	}
	a, b := w.Machine(t, "alpha", nil), w.Machine(t, "beta", nil)
	p.Publish(t, "A", "beta.conformance.test", b.Host().Addr.String())
	l, address := listen(t, b)
	_, port, err := net.SplitHostPort(address)
	require.NoError(t, err)
	done := async(func() (int, error) {
		c, err := l.Accept()
		if err != nil {
			return 0, err
		}
		return 0, c.Close()
	})
	c, err := a.DialContext(context30(t), "tcp", "beta.conformance.test:"+port)
	require.NoError(t, err)
	require.NoError(t, wait(t, "accept", done).err)
	require.NoError(t, c.Close())
}
