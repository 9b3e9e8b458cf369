// Package machinetest is the conformance suite of [nodes.Machine]. Each
// implementation runs it against its own worlds, and one that has not passed it
// is an opinion.
//
// It promises to judge only what the contract says, through nothing but the
// contract, and to measure no durations, so that it holds on a busy operating
// system and in virtual time alike. Where a world cannot arrange what a test
// needs, the test is skipped by name.
//
// Start reading at [Tests]; the tests of package nodes show how to run them:
//
//	for _, test := range machinetest.Tests() {
//		t.Run(test.Name, func(t *testing.T) {
//			test.Run(t, newWorld(t)) // or this within a bubble of its own
//		})
//	}
package machinetest

import (
	"bufio"
	"context"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/nodes"
)

// World makes machines that can reach one another.
type World interface {
	// Machine gives a running process, with these roles at hand, on a new
	// machine of the given name. Its Host has a valid Addr, and it has neither
	// parent nor inherited listeners. The world disposes of it after the test.
	Machine(t testing.TB, name string, roles nodes.Roles) nodes.Machine
}

// Silencer is a World that can offer an address, as "ip:port", at which no
// attempt to connect is ever answered.
type Silencer interface {
	Silent(t testing.TB) string
}

// Publisher is a World whose machines' resolvers can be taught a record. Kind
// and values are as for [nodes.Machine]'s Lookup.
type Publisher interface {
	Publish(t testing.TB, kind, name string, values ...string)
}

// Test is one property of a Machine.
type Test struct {
	Name string
	// Run judges one fresh world. It starts no subtest and leaves no goroutine
	// behind, so it may run in a synctest bubble.
	Run func(t testing.TB, w World)
}

// Tests gives the suite.
func Tests() []Test {
	return slices.Concat(machineTests(), networkTests(), httpTests(), diskTests(), processTests())
}

// patience bounds whatever should happen soon; it is never waited for in full
// by a machine that keeps the contract.
const patience = 30 * time.Second

func context30(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// listen opens a listener on a free port and gives the address to dial.
func listen(t testing.TB, m nodes.Machine) (net.Listener, string) {
	t.Helper()
	l, err := m.Listen("tcp", ":0")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	return l, reach(t, m, l.Addr())
}

// reach is how others dial a port of a machine.
func reach(t testing.TB, m nodes.Machine, a net.Addr) string {
	t.Helper()
	_, port, err := net.SplitHostPort(a.String())
	require.NoError(t, err)
	require.NotEqual(t, "0", port)
	return net.JoinHostPort(m.Host().Addr.String(), port)
}

// pair gives the two ends of a connection from one machine to another.
func pair(t testing.TB, client, server nodes.Machine) (net.Conn, net.Conn) {
	t.Helper()
	l, address := listen(t, server)
	accepted := make(chan net.Conn, 1)
	go func() {
		defer close(accepted)
		if c, err := l.Accept(); err == nil {
			accepted <- c
		}
	}()
	c, err := client.DialContext(context30(t), "tcp", address)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	s, ok := <-accepted
	require.True(t, ok, "accept failed")
	t.Cleanup(func() { s.Close() })
	require.NoError(t, l.Close())
	return c, s
}

// result is what a call in another goroutine came to.
type result struct {
	n   int
	err error
}

func async(f func() (int, error)) <-chan result {
	done := make(chan result, 1)
	go func() {
		n, err := f()
		done <- result{n, err}
	}()
	return done
}

// wait gives the result, or ends the test.
func wait(t testing.TB, what string, done <-chan result) result {
	t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case r := <-done:
		return r
	case <-timer.C:
		require.FailNow(t, "still blocked: "+what)
		return result{}
	}
}

func readLine(t testing.TB, r *bufio.Reader) string {
	t.Helper()
	var line string
	r2 := wait(t, "reading a line", async(func() (n int, err error) {
		line, err = r.ReadString('\n')
		return len(line), err
	}))
	require.NoError(t, r2.err)
	return line[:len(line)-1]
}

func writeString(t testing.TB, w io.Writer, s string) {
	t.Helper()
	n, err := io.WriteString(w, s)
	require.NoError(t, err)
	require.Equal(t, len(s), n)
}
