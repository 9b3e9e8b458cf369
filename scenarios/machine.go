package scenarios

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"

	"github.com/espra/protoplex/nodes"
	"github.com/espra/protoplex/sim"
)

// machine is a process of a simulated machine as a nodes.Machine.
type machine struct {
	proc    *sim.Process
	roles   nodes.Roles
	signals chan nodes.Signal
	log     *slog.Logger
}

var _ nodes.Machine = (*machine)(nil)

// newMachine shows a process to the roles that run in it.
func newMachine(p *sim.Process, roles nodes.Roles) nodes.Machine {
	m := &machine{proc: p, roles: roles, signals: make(chan nodes.Signal, 8)}
	m.log = slog.New(eventHandler{proc: p})
	go func() {
		for {
			select {
			case s := <-p.Signals():
				select {
				case m.signals <- nodes.Signal(s):
				default:
				}
			case <-p.Done():
				return
			}
		}
	}()
	return m
}

// startRole boots a role on a machine, as its own process.
func startRole(m *sim.Machine, name string, roles nodes.Roles, args []string) *sim.Process {
	return m.Start(name, func(p *sim.Process) error { return runRole(p, name, roles, args) })
}

func runRole(p *sim.Process, role string, roles nodes.Roles, args []string) error {
	run := roles[role]
	if run == nil {
		return fmt.Errorf("%w %q", nodes.ErrUnknownRole, role)
	}
	return run(p.Context(), newMachine(p, roles), args)
}

func (m *machine) Host() nodes.Host {
	h := m.proc.Machine()
	return nodes.Host{Name: h.Name(), Region: h.Region(), Zone: h.Zone(), Addr: h.Addr(), Proc: m.proc.Name()}
}

func (m *machine) Listen(network, address string) (net.Listener, error) {
	return m.proc.Listen(network, address)
}

func (m *machine) ListenPacket(network, address string) (net.PacketConn, error) {
	return m.proc.ListenPacket(network, address)
}

func (m *machine) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	return m.proc.DialContext(ctx, network, address)
}

func (m *machine) Lookup(ctx context.Context, kind, name string) ([]string, error) {
	return m.proc.Lookup(ctx, kind, name)
}

func (m *machine) Disk() nodes.Disk                  { return disk{m.proc.Disk()} }
func (m *machine) Now() time.Time                    { return m.proc.Now() }
func (m *machine) Elapsed() time.Duration            { return m.proc.Elapsed() }
func (m *machine) Rand(name string, n uint64) uint64 { return m.proc.Rand(m.proc.Name()+"/"+name, n) }
func (m *machine) Inherited() []net.Listener         { return m.proc.Inherited() }
func (m *machine) Signals() <-chan nodes.Signal      { return m.signals }
func (m *machine) Log() *slog.Logger                 { return m.log }

func (m *machine) Control() io.ReadWriteCloser {
	if c := m.proc.Control(); c != nil {
		return c
	}
	return nil
}

func (m *machine) Start(role string, args []string, listeners []net.Listener) (nodes.Child, error) {
	if m.roles[role] == nil {
		return nil, fmt.Errorf("%w %q", nodes.ErrUnknownRole, role)
	}
	c, err := m.proc.Start(m.proc.Name()+"/"+role, func(p *sim.Process) error {
		return runRole(p, role, m.roles, args)
	}, listeners...)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", role, err)
	}
	return child{c}, nil
}

type child struct{ proc *sim.Process }

func (c child) Name() string                { return c.proc.Name() }
func (c child) Control() io.ReadWriteCloser { return c.proc.ParentEnd() }

func (c child) Wait() error {
	if err := c.proc.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("%s: %w", c.proc.Name(), err)
	}
	return nil
}

func (c child) Signal(s nodes.Signal) error {
	switch s {
	case nodes.Terminate, nodes.Interrupt, nodes.Reload:
		return c.proc.Signal(string(s))
	case nodes.Kill:
		select {
		case <-c.proc.Done():
			return os.ErrProcessDone
		default:
			c.proc.Kill()
			return nil
		}
	}
	return fmt.Errorf("unknown signal %q", s)
}

// disk differs from a simulated disk in nothing but the type of its files.
type disk struct{ *sim.Disk }

func (d disk) Create(name string) (nodes.File, error) {
	f, err := d.Disk.Create(name)
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (d disk) Open(name string) (nodes.File, error) {
	f, err := d.Disk.Open(name)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// eventHandler makes log lines events of the world, and so part of the trace.
type eventHandler struct {
	proc   *sim.Process
	attrs  []slog.Attr
	prefix string
}

// logEvent begins the kind of every event that was a log line.
const logEvent = "log: "

func (h eventHandler) Enabled(context.Context, slog.Level) bool { return true }

func (h eventHandler) Handle(_ context.Context, r slog.Record) error {
	fields := make([]sim.Field, 0, len(h.attrs)+r.NumAttrs())
	for _, a := range h.attrs {
		fields = appendAttr(fields, "", a)
	}
	r.Attrs(func(a slog.Attr) bool {
		fields = appendAttr(fields, h.prefix, a)
		return true
	})
	h.proc.Emit(logEvent+r.Message, fields...)
	return nil
}

func appendAttr(fields []sim.Field, prefix string, a slog.Attr) []sim.Field {
	v := a.Value.Resolve()
	if v.Kind() != slog.KindGroup {
		return append(fields, sim.Field{Key: prefix + a.Key, Value: v.String()})
	}
	for _, member := range v.Group() {
		fields = appendAttr(fields, prefix+a.Key+".", member)
	}
	return fields
}

func (h eventHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	all := append([]slog.Attr(nil), h.attrs...)
	for _, a := range attrs {
		a.Key = h.prefix + a.Key
		all = append(all, a)
	}
	h.attrs = all
	return h
}

func (h eventHandler) WithGroup(name string) slog.Handler {
	if name != "" {
		h.prefix += strings.TrimSuffix(name, ".") + "."
	}
	return h
}
