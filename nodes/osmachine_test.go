package nodes_test

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/espra/protoplex/nodes"
	"github.com/espra/protoplex/nodes/machinetest"
)

func TestMain(m *testing.M) {
	if code, ok := nodes.ChildMain(testRoles()); ok {
		os.Exit(code)
	}
	// Under the race detector each child would sleep for a second at its end.
	if err := os.Setenv("GORACE", "atexit_sleep_ms=0"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// testRoles are all that tests of this package start as processes.
func testRoles() nodes.Roles {
	roles := machinetest.Roles()
	maps.Copy(roles, parentRoles())
	return roles
}

func TestOSConformance(t *testing.T) {
	for _, test := range machinetest.Tests() {
		t.Run(test.Name, func(t *testing.T) {
			t.Parallel()
			test.Run(t, newDesk(t))
		})
	}
}

// desk is a world of machines at loopback addresses, with a name server.
type desk struct {
	resolver string

	mu       sync.Mutex
	machines int
	records  map[string][]string // by kind and name
}

func newDesk(t testing.TB) *desk {
	d := &desk{records: map[string][]string{}}
	p, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	d.resolver = p.LocalAddr().String()
	ready := make(chan struct{})
	server := &dns.Server{PacketConn: p, Handler: dns.HandlerFunc(d.answer), NotifyStartedFunc: func() { close(ready) }}
	done := make(chan error, 1)
	go func() { done <- server.ActivateAndServe() }()
	<-ready
	t.Cleanup(func() {
		require.NoError(t, server.Shutdown())
		require.NoError(t, <-done)
	})
	return d
}

func (d *desk) answer(w dns.ResponseWriter, q *dns.Msg) {
	reply := new(dns.Msg).SetReply(q)
	name := strings.TrimSuffix(strings.ToLower(q.Question[0].Name), ".")
	kind := dns.TypeToString[q.Question[0].Qtype]
	d.mu.Lock()
	found := d.add(reply, kind, name)
	d.mu.Unlock()
	if strings.HasPrefix(name, "broken.") {
		reply.Rcode = dns.RcodeServerFailure
	} else if !found {
		reply.Rcode = dns.RcodeNameError
	}
	if err := w.WriteMsg(reply); err != nil {
		panic(err)
	}
}

// add puts the records of a name into a reply, and says whether it exists.
func (d *desk) add(reply *dns.Msg, kind, name string) bool {
	if target := d.records["CNAME "+name]; target != nil && kind != "CNAME" {
		reply.Answer = append(reply.Answer, record("CNAME", name, target[0]))
		return d.add(reply, kind, target[0])
	}
	for _, v := range d.records[kind+" "+name] {
		reply.Answer = append(reply.Answer, record(kind, name, v))
	}
	for _, k := range []string{"A", "TXT", "CNAME"} {
		if d.records[k+" "+name] != nil {
			return true
		}
	}
	return false
}

func record(kind, name, value string) dns.RR {
	if kind == "TXT" {
		value = fmt.Sprintf("%q %q", value[:1], value[1:]) // of two strings
	} else if kind == "CNAME" {
		value += "."
	}
	rr, err := dns.NewRR(fmt.Sprintf("%s. 60 IN %s %s", name, kind, value))
	if err != nil {
		panic(err)
	}
	return rr
}

func (d *desk) Publish(_ testing.TB, kind, name string, values ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.records[kind+" "+name] = slices.Clone(values)
}

func (d *desk) ContainsPanics() bool { return true }

func (d *desk) Machine(t testing.TB, name string, roles nodes.Roles) nodes.Machine {
	d.mu.Lock()
	d.machines++
	addr := netip.AddrFrom4([4]byte{127, 0, 0, byte(d.machines)})
	d.mu.Unlock()
	m, err := nodes.NewOS(nodes.OSOptions{
		Host:      nodes.Host{Name: name, Addr: addr, Proc: "test"},
		Root:      t.TempDir(),
		Roles:     roles,
		Resolvers: []string{d.resolver},
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	return m
}

// Silent gives the address of a listener that nobody accepts from and whose
// queue is full: the system drops what comes next.
func (d *desk) Silent(t testing.TB) string {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	require.NoError(t, err)
	t.Cleanup(func() { syscall.Close(fd) })
	require.NoError(t, syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	require.NoError(t, syscall.Listen(fd, 0))
	name, err := syscall.Getsockname(fd)
	require.NoError(t, err)
	address := fmt.Sprintf("127.0.0.1:%d", name.(*syscall.SockaddrInet4).Port)
	for range 100 {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		var dialer net.Dialer
		c, err := dialer.DialContext(ctx, "tcp", address)
		cancel()
		if err != nil {
			return address
		}
		t.Cleanup(func() { c.Close() })
	}
	t.Skip("this system's queues do not fill")
	return ""
}

// One address of a name that answers nothing leaves time for the others.
func TestOSDialsNextAddressInTime(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	_, port, err := net.SplitHostPort(d.Silent(t))
	require.NoError(t, err)
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.2", port))
	require.NoError(t, err)
	defer l.Close()
	d.Publish(t, "A", "two.test", "127.0.0.1", "127.0.0.2")
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	c, err := d.Machine(t, "alpha", nil).DialContext(ctx, "tcp", net.JoinHostPort("two.test", port))
	require.NoError(t, err)
	require.Equal(t, l.Addr().String(), c.RemoteAddr().String())
	require.NoError(t, c.Close())
}

func TestOSLookupFailures(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	m := d.Machine(t, "alpha", nil)
	_, err := m.Lookup(t.Context(), "A", "broken.test")
	var de *net.DNSError
	require.ErrorAs(t, err, &de)
	require.True(t, de.IsTemporary)
	require.False(t, de.IsNotFound)
	require.False(t, de.IsTimeout)

	silent, err := net.ListenPacket("udp", "127.0.0.1:0") // takes and never answers
	require.NoError(t, err)
	defer silent.Close()
	two, err := nodes.NewOS(nodes.OSOptions{Root: t.TempDir(), Resolvers: []string{silent.LocalAddr().String(), d.resolver}})
	require.NoError(t, err)
	defer two.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = two.Lookup(ctx, "TXT", "name.test")
	require.ErrorAs(t, err, &de)
	require.True(t, de.IsTimeout)

	ips, err := two.Lookup(t.Context(), "A", "localhost")
	require.NoError(t, err)
	require.Equal(t, []string{"127.0.0.1"}, ips)
}

func TestOSLongAnswer(t *testing.T) {
	t.Parallel()
	// Over UDP the answer is cut short, so it must be fetched over TCP.
	var p net.PacketConn
	var l net.Listener
	for l == nil { // until a port is free for both
		var err error
		p, err = net.ListenPacket("udp", "127.0.0.1:0")
		require.NoError(t, err)
		if l, err = net.Listen("tcp", p.LocalAddr().String()); err != nil {
			l = nil
			require.NoError(t, p.Close())
		}
	}
	long := strings.Repeat("x", 200)
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		reply := new(dns.Msg).SetReply(q)
		if w.LocalAddr().Network() == "udp" {
			reply.Truncated = true
		} else {
			reply.Answer = append(reply.Answer, record("TXT", "long.test", long))
		}
		if err := w.WriteMsg(reply); err != nil {
			panic(err)
		}
	})
	for _, server := range []*dns.Server{{PacketConn: p, Handler: handler}, {Listener: l, Handler: handler}} {
		ready, done := make(chan struct{}), make(chan error, 1)
		server.NotifyStartedFunc = func() { close(ready) }
		go func() { done <- server.ActivateAndServe() }()
		<-ready
		t.Cleanup(func() {
			require.NoError(t, server.Shutdown())
			require.NoError(t, <-done)
		})
	}
	m, err := nodes.NewOS(nodes.OSOptions{Root: t.TempDir(), Resolvers: []string{p.LocalAddr().String()}})
	require.NoError(t, err)
	defer m.Close()
	got, err := m.Lookup(t.Context(), "TXT", "long.test")
	require.NoError(t, err)
	require.Equal(t, []string{long}, got)
}

func TestOSStartKeepsListenersNonBlocking(t *testing.T) {
	t.Parallel()
	m := newDesk(t).Machine(t, "alpha", testRoles())
	l, err := m.Listen("tcp", ":0")
	require.NoError(t, err)
	defer l.Close()
	for range 5 {
		_, err = m.Start("puppet", nil, []net.Listener{l})
		require.NoError(t, err)
		// At this time the child has hardly begun to run.
		raw, err := l.(syscall.Conn).SyscallConn()
		require.NoError(t, err)
		require.NoError(t, raw.Control(func(fd uintptr) {
			flags, err := unix.FcntlInt(fd, unix.F_GETFL, 0)
			require.NoError(t, err)
			require.NotZero(t, flags&unix.O_NONBLOCK, "or Close would not wake Accept")
		}))
	}
}

func TestNewOSErrors(t *testing.T) {
	t.Parallel()
	_, err := nodes.NewOS(nodes.OSOptions{Root: t.TempDir() + "/none"})
	require.ErrorIs(t, err, fs.ErrNotExist)
	for _, resolver := range []string{"", "name", "1.2.3.4:", "1.2.3.4:x", ":53"} {
		_, err := nodes.NewOS(nodes.OSOptions{Root: t.TempDir(), Resolvers: []string{resolver}})
		require.Error(t, err, resolver)
	}
}

func TestOSDiskLinks(t *testing.T) {
	t.Parallel()
	root, outside := t.TempDir(), t.TempDir()
	require.NoError(t, os.WriteFile(outside+"/secret", []byte("x"), 0o600))
	require.NoError(t, os.Symlink(outside, root+"/link"))
	m, err := nodes.NewOS(nodes.OSOptions{Root: root})
	require.NoError(t, err)
	defer m.Close()
	_, err = m.Disk().Open("/link/secret")
	require.Error(t, err, "a link may not lead out")
	_, err = m.Disk().Create("/link/other")
	require.Error(t, err)
}

// Where the root is "/" no link leads out: files of a machine are often found by
// absolute ones.
func TestOSDiskEverything(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(dir+"/real", 0o700))
	require.NoError(t, os.WriteFile(dir+"/real/cert", []byte("pem"), 0o600))
	require.NoError(t, os.Symlink(dir+"/real", dir+"/dir"))
	require.NoError(t, os.Symlink(dir+"/real/cert", dir+"/file"))
	m, err := nodes.NewOS(nodes.OSOptions{})
	require.NoError(t, err)
	d := m.Disk()
	for _, name := range []string{"/real/cert", "/dir/cert", "/file", "/dir/../real/cert"} {
		data, err := nodes.ReadFile(d, dir+name, 10)
		require.NoError(t, err)
		require.Equal(t, "pem", string(data))
	}
	require.NoError(t, d.MkdirAll(dir+"/dir/sub"))
	require.NoError(t, nodes.WriteFile(d, dir+"/dir/sub/new", []byte("new")))
	require.NoError(t, d.Rename(dir+"/dir/sub/new", dir+"/real/new"))
	require.NoError(t, d.Remove(dir+"/dir/sub"))
	list, err := d.List(dir + "/dir")
	require.NoError(t, err)
	require.Equal(t, []string{"cert", "new"}, list)
	size, err := d.Stat(dir + "/dir/new")
	require.NoError(t, err)
	require.Equal(t, int64(3), size)
	_, err = d.Stat(dir + "/none")
	require.EqualError(t, err, "stat "+dir+"/none: no such file or directory")
	require.NoError(t, m.Close())
	_, err = d.Open(dir + "/real/cert")
	require.ErrorIs(t, err, fs.ErrClosed)
}

// Errors name files as they were asked for, below the root or not.
func TestOSDiskErrors(t *testing.T) {
	t.Parallel()
	m, err := nodes.NewOS(nodes.OSOptions{Root: t.TempDir()})
	require.NoError(t, err)
	defer m.Close()
	d := m.Disk()
	for want, do := range map[string]func() error{
		"open /etc/none: no such file or directory":   func() error { _, err := d.Open("/etc/none"); return err },
		"create /etc/none: no such file or directory": func() error { _, err := d.Create("/etc/none"); return err },
		"remove /none: no such file or directory":     func() error { return d.Remove("/none") },
		"list /none: no such file or directory":       func() error { _, err := d.List("/none"); return err },
		"stat /none: no such file or directory":       func() error { _, err := d.Stat("/none"); return err },
		"sync /none: no such file or directory":       func() error { return d.SyncDir("/none") },
		"rename /none /a: no such file or directory":  func() error { return d.Rename("/none", "/a") },
	} {
		err := do()
		require.EqualError(t, err, want)
		require.ErrorIs(t, err, fs.ErrNotExist)
	}
}

func TestOSReadOnlyFile(t *testing.T) {
	t.Parallel()
	if os.Geteuid() == 0 {
		t.Skip("nothing is read-only to root")
	}
	root := t.TempDir()
	require.NoError(t, os.WriteFile(root+"/cert", []byte("pem"), 0o400))
	m, err := nodes.NewOS(nodes.OSOptions{Root: root})
	require.NoError(t, err)
	defer m.Close()
	data, err := nodes.ReadFile(m.Disk(), "/cert", 10)
	require.NoError(t, err)
	require.Equal(t, "pem", string(data))
}

func TestOSClose(t *testing.T) {
	t.Parallel()
	m, err := nodes.NewOS(nodes.OSOptions{Root: t.TempDir(), Roles: testRoles()})
	require.NoError(t, err)
	c, err := m.Start("puppet", nil, nil)
	require.NoError(t, err)
	require.NoError(t, m.Close())
	require.Error(t, c.Wait(), "killed")
	require.NoError(t, c.Control().Close())
	require.NoError(t, m.Close(), "again")
	_, err = m.Start("puppet", nil, nil)
	require.ErrorIs(t, err, os.ErrProcessDone)
	require.Error(t, m.Disk().MkdirAll("/x"))
}

func TestOSRun(t *testing.T) {
	t.Parallel()
	var got []string
	m, err := nodes.NewOS(nodes.OSOptions{Root: t.TempDir(), Roles: nodes.Roles{
		"role": func(_ context.Context, _ nodes.Machine, args []string) error {
			got = args
			return io.EOF
		},
	}})
	require.NoError(t, err)
	defer m.Close()
	require.Equal(t, io.EOF, m.Run(t.Context(), "role", []string{"a"}))
	require.Equal(t, []string{"a"}, got)
	require.ErrorIs(t, m.Run(t.Context(), "other", nil), nodes.ErrUnknownRole)
}
