package nodes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// A child is this program started again, or the one that has been put in its
// place, with:
//
//	argv       protoplex node --child ROLE ARGS..., for people who look at ps
//	childEnv   what it is to be, as JSON
//	fd 0       a pipe on which nothing is sent: its end is the parent's
//	fd 3       the control pipe, a stream socket
//	fd 4...    the listeners, in order
const (
	childEnv      = "PROTOPLEX_CHILD"
	controlFD     = 3
	firstListenFD = 4
)

type childSpec struct {
	Role      string   `json:"role"`
	Host      Host     `json:"host"`
	Root      string   `json:"root"`
	Resolvers []string `json:"resolvers,omitempty"`
	Listeners int      `json:"listeners"`
}

// childArgv comes before the role and its arguments.
func childArgv() []string { return []string{"protoplex", "node", "--child"} }

type osChild struct {
	name    string
	process *os.Process
	control net.Conn
	ended   chan struct{} // closed after err is set
	err     error
}

var _ Child = (*osChild)(nil)

func (c *osChild) Name() string                { return c.name }
func (c *osChild) PID() int                    { return c.process.Pid } // for people
func (c *osChild) Control() io.ReadWriteCloser { return c.control }

func (c *osChild) Wait() error {
	<-c.ended
	return c.err
}

func (c *osChild) Signal(s Signal) error {
	if s == Kill {
		return c.process.Kill()
	}
	for real, name := range signalNames() {
		if name == s {
			return c.process.Signal(real)
		}
	}
	return fmt.Errorf("nodes: unknown signal %q", s)
}

// Start implements [Machine]: the child is this program again, or what Program
// names, so its main must call [ChildMain] first.
func (m *OS) Start(role string, args []string, listeners []net.Listener) (Child, error) {
	if _, ok := m.options.Roles[role]; !ok {
		return nil, fmt.Errorf("%w: %q", ErrUnknownRole, role)
	}
	m.mu.Lock()
	closed := m.closed
	m.started++
	number := strconv.Itoa(m.started)
	m.mu.Unlock()
	if closed {
		return nil, fmt.Errorf("nodes: start %s: %w", role, os.ErrProcessDone)
	}

	spec := childSpec{Role: role, Host: m.options.Host, Root: m.options.Root, Resolvers: m.options.Resolvers, Listeners: len(listeners)}
	if spec.Host.Proc == "" {
		spec.Host.Proc = role
	}
	spec.Host.Proc += "/" + number
	c, err := m.startChild(spec, args, listeners)
	if err != nil {
		return nil, fmt.Errorf("nodes: start %s: %w", spec.Host.Proc, err)
	}

	m.mu.Lock()
	m.children[c] = true
	closed = m.closed
	m.mu.Unlock()
	go func() {
		<-c.ended
		m.mu.Lock()
		delete(m.children, c)
		m.mu.Unlock()
	}()
	if closed { // meanwhile
		return nil, errors.Join(fmt.Errorf("nodes: start %s: %w", c.name, os.ErrProcessDone), c.Signal(Kill), c.control.Close())
	}
	return c, nil
}

func (m *OS) startChild(spec childSpec, args []string, listeners []net.Listener) (_ *osChild, err error) {
	text, err := json.Marshal(spec)
	if err != nil {
		return nil, err
	}
	path := m.options.Program
	if path == "" {
		if path, err = selfPath(); err != nil {
			return nil, err
		}
	}
	control, theirs, err := controlPipe()
	if err != nil {
		return nil, err
	}
	files := []*os.File{theirs} // ours only until the child has them
	defer func() {
		for _, f := range files {
			f.Close()
		}
		if err != nil {
			control.Close()
		}
	}()
	for _, l := range listeners {
		f, err := duplicate(l)
		if err != nil {
			return nil, fmt.Errorf("hand over listener: %w", err)
		}
		files = append(files, f)
	}

	cmd := exec.Command(path)
	cmd.Args = slices.Concat(childArgv(), []string{spec.Role}, args)
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(s string) bool {
		return strings.HasPrefix(s, childEnv+"=")
	}), childEnv+"="+string(text))
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if console := m.options.Console; console != nil {
		cmd.Stdout, cmd.Stderr = console, console
	}
	cmd.ExtraFiles = files
	cmd.SysProcAttr = childAttributes()
	if _, err := cmd.StdinPipe(); err != nil { // closed by Wait, or with us
		return nil, err
	}

	c := &osChild{name: spec.Host.Proc, control: control, ended: make(chan struct{})}
	started := make(chan error)
	go func() {
		// The kernel ends a child with the thread that started it, not with the
		// process, so this thread is kept for as long as the child lives.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := cmd.Start(); err != nil {
			started <- err
			return
		}
		c.process = cmd.Process
		started <- nil
		c.err = cmd.Wait()
		close(c.ended)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return c, nil
}

// duplicate gives a second descriptor of a listener. The listener's own File
// will not do: handing that on turns all its copies to blocking mode, and then
// Close no longer wakes Accept.
func duplicate(l net.Listener) (*os.File, error) {
	sc, ok := l.(syscall.Conn)
	if !ok {
		return nil, fmt.Errorf("%T has no descriptor", l)
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil, err
	}
	var fd int
	var dupErr error
	if err := raw.Control(func(own uintptr) {
		fd, dupErr = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 0)
	}); err != nil {
		return nil, err
	}
	if dupErr != nil {
		return nil, os.NewSyscallError("fcntl", dupErr)
	}
	return os.NewFile(uintptr(fd), "listener"), nil
}

// controlPipe makes a connected pair: our end, and the one for the child.
func controlPipe() (net.Conn, *os.File, error) {
	// No fork may come between, or another child would hold our end open.
	syscall.ForkLock.RLock()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(fds[0])
		syscall.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "control"), os.NewFile(uintptr(fds[1]), "control")
	defer ours.Close() // the connection has its own copy
	conn, err := net.FileConn(ours)
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return conn, theirs, nil
}

// ChildMain does the work of a child process: it runs the role that the parent
// asked for and returns the status to exit with. In a process that no [OS] has
// started it does nothing and reports false. Call it first in main, and in
// TestMain of tests that start children:
//
//	if code, ok := nodes.ChildMain(roles); ok {
//		os.Exit(code)
//	}
//
// When the parent dies the whole process exits at once.
func ChildMain(roles Roles) (code int, isChild bool) {
	text, ok := os.LookupEnv(childEnv)
	if !ok {
		return 0, false
	}
	var spec childSpec
	err := json.Unmarshal([]byte(text), &spec)
	log := processLog(spec.Host)
	if err == nil {
		err = runChild(roles, spec, log)
	}
	if err != nil {
		log.Error("role failed", "role", spec.Role, "error", err)
		return 1, true
	}
	return 0, true
}

func runChild(roles Roles, spec childSpec, log *slog.Logger) error {
	if err := os.Unsetenv(childEnv); err != nil {
		return err
	}
	go func() {
		// Nothing is ever sent, so any return means that the parent is gone.
		io.Copy(io.Discard, os.Stdin)
		os.Exit(1)
	}()
	m, err := NewOS(OSOptions{Host: spec.Host, Root: spec.Root, Roles: roles, Resolvers: spec.Resolvers, Log: log})
	if err != nil {
		return err
	}
	defer m.Close()
	if m.control, err = inheritControl(); err != nil {
		return err
	}
	for i := range spec.Listeners {
		l, err := inheritListener(firstListenFD + i)
		if err != nil {
			return err
		}
		m.inherited = append(m.inherited, l)
	}
	var args []string
	if n := len(childArgv()) + 1; len(os.Args) > n {
		args = os.Args[n:]
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	return m.Run(ctx, spec.Role, args)
}

func inheritControl() (net.Conn, error) {
	f := os.NewFile(controlFD, "control")
	defer f.Close() // the connection has its own copy
	c, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("nodes: inherit control pipe: %w", err)
	}
	return c, nil
}

func inheritListener(fd int) (net.Listener, error) {
	f := os.NewFile(uintptr(fd), "listener")
	defer f.Close() // the listener has its own copy
	l, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("nodes: inherit listener: %w", err)
	}
	return l, nil
}
