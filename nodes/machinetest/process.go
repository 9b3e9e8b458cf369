package machinetest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/nodes"
)

func processTests() []Test {
	return []Test{
		{"child: knows who it is", testChildIdentity},
		{"child: serves on an inherited listener", testChildListener},
		{"child: shares a listener", testChildShares},
		{"child: is gone", testChildGone},
		{"child: clean end", testChildEnd},
		{"child: failure", testChildFailure},
		{"child: panic", testChildPanic},
		{"child: kill", testChildKill},
		{"child: signals", testChildSignals},
		{"child: sees the control pipe end", testChildControl},
		{"child: unknown role", testUnknownRole},
		{"child: shares the disk", testChildDisk},
		{"child: children of children die", testGrandchild},
	}
}

// Roles are those that the suite starts. An implementation whose children are
// real processes must offer them there too.
func Roles() nodes.Roles {
	return nodes.Roles{"puppet": puppet}
}

// puppet does what the lines on its control pipe say, and answers each with a
// line, until the pipe ends.
func puppet(ctx context.Context, m nodes.Machine, args []string) error {
	out := func(format string, a ...any) error {
		_, err := fmt.Fprintf(m.Control(), format+"\n", a...)
		return err
	}
	in := bufio.NewScanner(m.Control())
	for in.Scan() {
		var err error
		verb, arg, _ := strings.Cut(in.Text(), " ")
		switch verb {
		case "who":
			h := m.Host()
			err = out("%s %s %s %s", h.Name, h.Proc, h.Addr, strings.Join(args, ","))
		case "return":
			return nil
		case "fail":
			return errors.New("asked to fail")
		case "panic":
			panic("asked to panic")
		case "signal":
			select {
			case s := <-m.Signals():
				err = out("%s", s)
			case <-ctx.Done():
				return ctx.Err()
			}
		case "write":
			err = out("%v", nodes.WriteFile(m.Disk(), arg, []byte("from the child")))
		case "serve":
			var l net.Listener
			if inherited := m.Inherited(); len(inherited) > 0 {
				l = inherited[0]
			} else if l, err = m.Listen("tcp", ":0"); err != nil {
				return err
			}
			if err = out("%s", l.Addr()); err == nil {
				go greet(l, m.Host().Proc)
			}
		case "child":
			var c nodes.Child
			if c, err = m.Start("puppet", nil, nil); err != nil {
				return err
			}
			if _, err = io.WriteString(c.Control(), "serve\n"); err != nil {
				return err
			}
			var line string
			if line, err = bufio.NewReader(c.Control()).ReadString('\n'); err == nil {
				err = out("%s", strings.TrimSpace(line))
			}
		default:
			err = fmt.Errorf("puppet: %q?", in.Text())
		}
		if err != nil {
			return err
		}
	}
	return in.Err()
}

// greet tells its name to all that connect, and keeps the connections open.
func greet(l net.Listener, name string) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		if _, err := io.WriteString(c, name+"\n"); err != nil {
			return
		}
	}
}

type child struct {
	nodes.Child
	lines *bufio.Reader
}

func start(t testing.TB, m nodes.Machine, listeners []net.Listener, args ...string) child {
	t.Helper()
	c, err := m.Start("puppet", args, listeners)
	require.NoError(t, err)
	t.Cleanup(func() {
		c.Control().Close()
		_ = c.Signal(nodes.Kill) // most have ended before
		_ = c.Wait()
	})
	return child{c, bufio.NewReader(c.Control())}
}

func (c child) ask(t testing.TB, line string) string {
	t.Helper()
	writeString(t, c.Control(), line+"\n")
	return readLine(t, c.lines)
}

func (c child) wait(t testing.TB) error {
	t.Helper()
	return wait(t, "child", async(func() (int, error) { return 0, c.Wait() })).err
}

func testChildIdentity(t testing.TB, w World) {
	m := w.Machine(t, "alpha", Roles())
	one, two := start(t, m, nil, "a", "-flag=b c"), start(t, m, nil)
	require.NotEqual(t, one.Name(), two.Name())
	require.NotEqual(t, m.Host().Proc, one.Name())
	addr := m.Host().Addr.String()
	require.Equal(t, "alpha "+one.Name()+" "+addr+" a,-flag=b c", one.ask(t, "who"))
	require.Equal(t, "alpha "+two.Name()+" "+addr+" ", two.ask(t, "who"))
}

func dialGreeting(t testing.TB, m nodes.Machine, address string) (net.Conn, string) {
	t.Helper()
	c, err := m.DialContext(context30(t), "tcp", address)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	return c, readLine(t, bufio.NewReader(c))
}

func testChildListener(t testing.TB, w World) {
	m, other := w.Machine(t, "alpha", Roles()), w.Machine(t, "beta", nil)
	l, address := listen(t, m)
	c := start(t, m, []net.Listener{l})
	require.Equal(t, l.Addr().String(), c.ask(t, "serve"))
	_, name := dialGreeting(t, other, address)
	require.Equal(t, c.Name(), name)

	done := async(func() (int, error) {
		_, err := l.Accept()
		return 0, err
	})
	require.NoError(t, l.Close())
	require.ErrorIs(t, wait(t, "accept of the parent's handle", done).err, net.ErrClosed)
	_, name = dialGreeting(t, other, address)
	require.Equal(t, c.Name(), name, "the child's handle is its own")
}

func testChildShares(t testing.TB, w World) {
	m, other := w.Machine(t, "alpha", Roles()), w.Machine(t, "beta", nil)
	l, address := listen(t, m)
	one, two := start(t, m, []net.Listener{l}), start(t, m, []net.Listener{l})
	one.ask(t, "serve")
	two.ask(t, "serve")
	_, name := dialGreeting(t, other, address)
	require.Contains(t, []string{one.Name(), two.Name()}, name)

	require.NoError(t, one.Signal(nodes.Kill))
	require.Error(t, one.wait(t))
	for range 5 {
		_, name := dialGreeting(t, other, address)
		require.Equal(t, two.Name(), name, "those who are left accept all")
	}
}

func testChildGone(t testing.TB, w World) {
	m, other := w.Machine(t, "alpha", Roles()), w.Machine(t, "beta", nil)
	c := start(t, m, nil)
	_, port, err := net.SplitHostPort(c.ask(t, "serve"))
	require.NoError(t, err)
	address := net.JoinHostPort(m.Host().Addr.String(), port)
	conn, _ := dialGreeting(t, other, address)
	require.NoError(t, c.Signal(nodes.Kill))
	require.Error(t, c.wait(t))

	r := wait(t, "read from the dead", async(func() (int, error) { return conn.Read(make([]byte, 1)) }))
	require.Zero(t, r.n)
	require.True(t, r.err == io.EOF || errors.Is(r.err, syscall.ECONNRESET), "%v", r.err)
	_, err = other.DialContext(context30(t), "tcp", address)
	require.ErrorIs(t, err, syscall.ECONNREFUSED)

	require.ErrorIs(t, c.Signal(nodes.Terminate), os.ErrProcessDone)
	require.ErrorIs(t, c.Signal(nodes.Kill), os.ErrProcessDone)
	r = wait(t, "read from the control pipe", async(func() (int, error) { return c.lines.Read(make([]byte, 1)) }))
	require.Error(t, r.err)
	_, err = io.WriteString(c.Control(), "who\n")
	require.Error(t, err)
	again := c.Wait()
	require.Error(t, again, "may be asked again")
}

func testChildEnd(t testing.TB, w World) {
	m := w.Machine(t, "alpha", Roles())
	c := start(t, m, nil)
	writeString(t, c.Control(), "return\n")
	require.NoError(t, c.wait(t))
	require.NoError(t, c.wait(t), "may be asked again")
	require.ErrorIs(t, c.Signal(nodes.Terminate), os.ErrProcessDone)
}

func testChildFailure(t testing.TB, w World) {
	m := w.Machine(t, "alpha", Roles())
	c := start(t, m, nil)
	writeString(t, c.Control(), "fail\n")
	require.Error(t, c.wait(t))
}

func testChildPanic(t testing.TB, w World) {
	p, ok := w.(Panicker)
	if !ok || !p.ContainsPanics() {
		t.Skip("a panic would end this world")
	}
	m := w.Machine(t, "alpha", Roles())
	c := start(t, m, nil)
	writeString(t, c.Control(), "panic\n")
	require.Error(t, c.wait(t))
}

// Panicker is a World in which a child's panic may end only the child.
type Panicker interface {
	ContainsPanics() bool
}

func testChildKill(t testing.TB, w World) {
	m := w.Machine(t, "alpha", Roles())
	c := start(t, m, nil)
	require.NoError(t, c.Signal(nodes.Kill))
	require.Error(t, c.wait(t))
}

func testChildSignals(t testing.TB, w World) {
	m := w.Machine(t, "alpha", Roles())
	c := start(t, m, nil)
	c.ask(t, "who") // it runs
	for _, s := range []nodes.Signal{nodes.Terminate, nodes.Interrupt, nodes.Reload} {
		require.NoError(t, c.Signal(s))
		require.Equal(t, string(s), c.ask(t, "signal"))
	}
	require.Error(t, c.Signal("nonsense"))
}

func testChildControl(t testing.TB, w World) {
	m := w.Machine(t, "alpha", Roles())
	c := start(t, m, nil)
	c.ask(t, "who")
	require.NoError(t, c.Control().Close())
	require.NoError(t, c.wait(t), "the role returns when its pipe ends")
}

func testUnknownRole(t testing.TB, w World) {
	m := w.Machine(t, "alpha", Roles())
	_, err := m.Start("nonsense", nil, nil)
	require.ErrorIs(t, err, nodes.ErrUnknownRole)
}

func testChildDisk(t testing.TB, w World) {
	m := w.Machine(t, "alpha", Roles())
	c := start(t, m, nil)
	require.Equal(t, "<nil>", c.ask(t, "write /shared"))
	require.NoError(t, c.Signal(nodes.Kill))
	require.Error(t, c.wait(t))
	require.Equal(t, "from the child", content(t, m.Disk(), "/shared"))
}

func testGrandchild(t testing.TB, w World) {
	m, other := w.Machine(t, "alpha", Roles()), w.Machine(t, "beta", nil)
	c := start(t, m, nil)
	_, port, err := net.SplitHostPort(c.ask(t, "child"))
	require.NoError(t, err)
	conn, name := dialGreeting(t, other, net.JoinHostPort(m.Host().Addr.String(), port))
	require.NotEqual(t, c.Name(), name)
	require.NoError(t, c.Signal(nodes.Kill))
	require.Error(t, c.wait(t))
	r := wait(t, "read from the grandchild", async(func() (int, error) { return conn.Read(make([]byte, 1)) }))
	require.Error(t, r.err)
}
