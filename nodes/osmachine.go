package nodes

import (
	"context"
	crand "crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

var _ Machine = (*OS)(nil)

// OSOptions describes the process that an [OS] stands for.
type OSOptions struct {
	// Host says where the process runs. With a loopback Addr, Listen and
	// ListenPacket take an empty host to mean that address alone, so that
	// several machines can share one desk.
	Host Host
	// Root is the directory under which the absolute names of Disk live; empty
	// means "/". It must exist.
	Root string
	// Roles are those that Start accepts. The child must know them also: see
	// ChildMain.
	Roles Roles
	// Program is the file that children run, looked up at each start, so that one
	// put in its place takes effect. Empty means the very program that runs now,
	// also after another has been put in its place.
	Program string
	// Resolvers are the recursive name servers to ask, as "ip" or "ip:port", in
	// order of preference. Without any, the system's are used.
	Resolvers []string
	// Log receives this process's log; nil means JSON lines on standard error.
	// Children always log to standard error.
	Log *slog.Logger
	// Console receives what children write to standard output and standard
	// error, several at once; nil means this process's own.
	Console io.Writer
}

// OS is the Machine that is the operating system, for Linux and macOS.
type OS struct {
	options   OSOptions
	disk      *osDisk
	log       *slog.Logger
	start     time.Time
	inherited []net.Listener
	control   io.ReadWriteCloser

	listenConfig net.ListenConfig
	dialer       net.Dialer
	names        names

	signals     chan Signal
	signalsOnce sync.Once
	caught      chan os.Signal

	mu       sync.Mutex
	started  int // children ever
	children map[*osChild]bool
	closed   bool
}

// NewOS makes the Machine of this process. The caller closes it.
func NewOS(options OSOptions) (*OS, error) {
	if options.Root == "" {
		options.Root = "/"
	}
	root, err := filepath.Abs(options.Root)
	if err != nil {
		return nil, fmt.Errorf("nodes: root directory: %w", err)
	}
	options.Root = root
	servers := make([]string, 0, len(options.Resolvers))
	for _, r := range options.Resolvers {
		server, err := resolverAddress(r)
		if err != nil {
			return nil, err
		}
		servers = append(servers, server)
	}
	disk, err := openDisk(root)
	if err != nil {
		return nil, fmt.Errorf("nodes: open root directory: %w", err)
	}
	m := &OS{
		options:  options,
		disk:     disk,
		log:      options.Log,
		start:    time.Now(),
		names:    names{servers: servers},
		signals:  make(chan Signal, 8),
		caught:   make(chan os.Signal, 8),
		children: make(map[*osChild]bool),
	}
	if m.log == nil {
		m.log = processLog(options.Host)
	}
	return m, nil
}

// processLog is the log of a process that was given none.
func processLog(host Host) *slog.Logger {
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	if host.Name != "" {
		log = log.With("host", host.Name)
	}
	if host.Proc != "" {
		log = log.With("proc", host.Proc)
	}
	return log
}

// Close kills the children that still run, and frees what the Machine itself
// holds. Listeners and connections belong to those who opened them.
func (m *OS) Close() error {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return nil
	}
	m.closed = true
	children := make([]*osChild, 0, len(m.children))
	for c := range m.children {
		children = append(children, c)
	}
	m.mu.Unlock()

	for _, c := range children {
		// One that has just ended by itself is as good as killed.
		if err := c.Signal(Kill); err != nil && !errors.Is(err, os.ErrProcessDone) {
			m.log.Warn("kill child", "child", c.Name(), "error", err)
		}
	}
	for _, c := range children {
		<-c.ended
	}
	m.signalsOnce.Do(func() {}) // from here on it is too late to begin
	signal.Stop(m.caught)
	close(m.caught)
	return m.disk.close()
}

// Run runs a role in this process and returns what it returns. From then on
// the process's signals go to the role instead of ending the process.
func (m *OS) Run(ctx context.Context, role string, args []string) error {
	f, ok := m.options.Roles[role]
	if !ok {
		return fmt.Errorf("%w: %q", ErrUnknownRole, role)
	}
	m.Signals()
	return f(ctx, m, args)
}

// Host implements [Machine].
func (m *OS) Host() Host { return m.options.Host }

// Disk implements [Machine].
func (m *OS) Disk() Disk { return m.disk }

// Log implements [Machine].
func (m *OS) Log() *slog.Logger { return m.log }

// Inherited implements [Machine].
func (m *OS) Inherited() []net.Listener { return m.inherited }

// Control implements [Machine].
func (m *OS) Control() io.ReadWriteCloser { return m.control }

// Now implements [Machine]; the time is in UTC.
func (m *OS) Now() time.Time { return time.Now().Round(0).UTC() }

// Elapsed implements [Machine]. On Linux it also counts the time that the
// machine was suspended, which is what the validity of a lease needs.
func (m *OS) Elapsed() time.Duration { return elapsedSince(m.start) }

// Rand implements [Machine]: every call is a fresh draw.
func (m *OS) Rand(string, uint64) uint64 {
	var b [8]byte
	crand.Read(b[:]) // never fails: the runtime ends the process first
	return binary.NativeEndian.Uint64(b[:])
}

// Signals implements [Machine]. Until the first call a signal ends the process,
// as it does any other.
func (m *OS) Signals() <-chan Signal {
	m.signalsOnce.Do(func() {
		signal.Notify(m.caught, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
		go func() {
			for s := range m.caught {
				select {
				case m.signals <- signalNames()[s]:
				default: // full: those who do not listen get no more
				}
			}
		}()
	})
	return m.signals
}

func signalNames() map[os.Signal]Signal {
	return map[os.Signal]Signal{syscall.SIGTERM: Terminate, syscall.SIGINT: Interrupt, syscall.SIGHUP: Reload}
}

// Listen implements [Machine].
func (m *OS) Listen(network, address string) (net.Listener, error) {
	address, err := m.listenAddress(network, address, "tcp")
	if err != nil {
		return nil, err
	}
	return m.listenConfig.Listen(context.Background(), network, address)
}

// ListenPacket implements [Machine].
func (m *OS) ListenPacket(network, address string) (net.PacketConn, error) {
	address, err := m.listenAddress(network, address, "udp")
	if err != nil {
		return nil, err
	}
	return m.listenConfig.ListenPacket(context.Background(), network, address)
}

// listenAddress checks the network and fills in an empty host.
func (m *OS) listenAddress(network, address, want string) (string, error) {
	if network != want {
		return "", &net.OpError{Op: "listen", Net: network, Err: net.UnknownNetworkError(network)}
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", &net.OpError{Op: "listen", Net: network, Err: err}
	}
	if own := m.options.Host.Addr; host == "" && own.IsValid() && own.IsLoopback() {
		host = own.String()
	}
	return net.JoinHostPort(host, port), nil
}

// DialContext implements [Machine]. With Resolvers set, names are resolved to
// IPv4 addresses by those alone, and the addresses are tried in turn, each for its
// share of the time that ctx leaves.
func (m *OS) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if network != "tcp" && network != "udp" {
		return nil, &net.OpError{Op: "dial", Net: network, Err: net.UnknownNetworkError(network)}
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	if _, err := netip.ParseAddr(host); err == nil || host == "" || len(m.names.servers) == 0 {
		return m.dialer.DialContext(ctx, network, address)
	}
	ips, err := m.names.lookup(ctx, "A", host)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	var first error
	for i, ip := range ips {
		c, err := m.dialInTime(ctx, network, net.JoinHostPort(ip, port), len(ips)-i)
		if err == nil {
			return c, nil
		}
		if first == nil {
			first = err
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, first
}

// leastShare is what package net leaves to each address of a dial, if it can.
const leastShare = 2 * time.Second

// dialInTime dials one of the addresses that are left, within its share of the
// time, as package net does with those that it has resolved itself.
func (m *OS) dialInTime(ctx context.Context, network, address string, left int) (net.Conn, error) {
	if limit, ok := ctx.Deadline(); ok && left > 1 {
		remains := time.Until(limit)
		if share := max(remains/time.Duration(left), leastShare); share < remains {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, share)
			defer cancel()
		}
	}
	return m.dialer.DialContext(ctx, network, address)
}

// Lookup implements [Machine].
func (m *OS) Lookup(ctx context.Context, kind, name string) ([]string, error) {
	return m.names.lookup(ctx, kind, name)
}
