package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/espra/protoplex/fakes/s3"
	"github.com/espra/protoplex/nodes"
	"github.com/espra/protoplex/nodes/cell"
	"github.com/espra/protoplex/nodes/meta"
	"github.com/espra/protoplex/nodes/meta/ca"
)

// The cell that up runs.
const (
	deskCell  = "desk"
	deskHost  = "localhost" // the live host that it is home to
	roleStore = "store"

	storePort = 9000
	metaPort  = 9090
	livePort  = 8080

	// Short, for on one machine nobody is far away, and all notice at once when
	// a Seed ends. A new leader is patient for that long before its first table.
	leaseTerm   = 3 * time.Second
	leaseBucket = "leases"
	drainWindow = 250 * time.Millisecond // nobody asks for health
	drainLimit  = 5 * time.Second
)

// Files on the disk of a member.
const (
	certFile    = "/cell.pem"
	rootsFile   = "/roots.pem"
	accountFile = "/account"
)

// member is one of the machines that the cell consists of. Its number is the
// last byte of its address.
type member struct {
	name, role, zone string
	number           byte
}

func members() []member {
	return []member{
		{"store", roleStore, "", 1},
		{"seed", cell.RoleSeed, "desk-a", 2},
		{"understudy", cell.RoleSeed, "desk-b", 3},
		{"live-1", cell.RoleLive, "desk-a", 4},
		{"live-2", cell.RoleLive, "desk-b", 5},
		{"proxy", cell.RoleProxy, "desk-a", 6},
	}
}

// deskRoles are those that up starts, beside those of production.
func deskRoles() nodes.Roles {
	all := roles()
	all[roleStore] = runStore
	return all
}

// runStore is S3 with its account in a file: everybody can read arguments.
func runStore(ctx context.Context, m nodes.Machine, args []string) error {
	account, err := cell.ReadFile(m.Disk(), accountFile)
	if err != nil {
		return fmt.Errorf("store: account: %w", err)
	}
	return s3.Run(ctx, m, append(slices.Clone(args), "--key", strings.TrimSpace(string(account))))
}

// desk is a cell on this machine.
type desk struct {
	state     *state
	terminal  *terminal
	base      netip.Addr
	processes map[string]*process
	loops     chan error // of a process that does not start
}

// newDesk prepares all members.
func newDesk(s *state, o upOptions, terminal *terminal) (_ *desk, err error) {
	// The public port, which nobody else can have, is in all addresses: so
	// several cells can share this machine.
	d := &desk{state: s, terminal: terminal, processes: map[string]*process{}, loops: make(chan error, 1),
		base: netip.AddrFrom4([4]byte{127, byte(o.port >> 8), byte(o.port), 0})}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.close())
		}
	}()
	for _, m := range members() {
		if err := s.furnish(m); err != nil {
			return nil, fmt.Errorf("set up %s: %w", m.name, err)
		}
		console, err := openConsole(s.log(m.name), m.name, terminal, o.verbose)
		if err != nil {
			return nil, err
		}
		machine, err := nodes.NewOS(nodes.OSOptions{
			Host:  nodes.Host{Name: m.name, Region: deskCell, Zone: m.zone, Addr: d.addr(m.name), Proc: m.role},
			Root:  s.home(m.name),
			Roles: deskRoles(), Log: quiet(), Console: console,
		})
		if err != nil {
			return nil, errors.Join(err, console.Close())
		}
		d.processes[m.name] = newProcess(m.name, machine, m.role, d.args(m, o.port), console, terminal, d.loops)
	}
	return d, nil
}

// addr is the address of a member.
func (d *desk) addr(name string) netip.Addr {
	a := d.base.As4()
	for _, m := range members() {
		if m.name == name {
			a[3] = m.number
		}
	}
	return netip.AddrFrom4(a)
}

func (d *desk) address(name string, port int) string {
	return net.JoinHostPort(d.addr(name).String(), strconv.Itoa(port))
}

// seeds are the Seeds as flags name them.
func (d *desk) seeds() string {
	return fmt.Sprintf("seed=%s,understudy=%s", d.address("seed", metaPort), d.address("understudy", metaPort))
}

// args are the flags of a member's role.
func (d *desk) args(m member, port int) []string {
	joins := []string{
		"--seeds", d.seeds(),
		"--cell-cert", certFile, "--cell-roots", rootsFile, "--meta", fmt.Sprintf(":%d", metaPort),
	}
	switch m.role {
	case roleStore:
		return []string{"--listen", fmt.Sprintf(":%d", storePort), "--dir", "/buckets", "--bucket", leaseBucket}
	case cell.RoleSeed:
		return []string{"--cell", deskCell, "--cert", certFile, "--roots", rootsFile, "--meta", fmt.Sprintf(":%d", metaPort),
			"--term", leaseTerm.String(), "--missing", leaseTerm.String(), "--s3-endpoint", "http://" + d.address("store", storePort),
			"--bucket", leaseBucket, "--credentials", accountFile}
	case cell.RoleLive:
		return append([]string{"--listen", fmt.Sprintf(":%d", livePort)}, joins...)
	default:
		return append([]string{"--http", local(port), "--https=", "--allow-plain", "--host", deskHost, "--children", "2",
			"--drain-window", drainWindow.String(), "--drain", drainLimit.String()}, joins...)
	}
}

func (d *desk) run(names ...string) {
	for _, name := range names {
		d.processes[name].run()
	}
}

func (d *desk) stop(names ...string) {
	for _, name := range names {
		d.processes[name].stop()
	}
}

func (d *desk) wait(names ...string) {
	for _, name := range names {
		d.processes[name].wait()
	}
}

func (d *desk) kill() {
	for _, p := range d.processes {
		p.kill()
	}
}

// serving asks a member for its health on its meta port, where nobody else can
// answer for it; the store has none.
func (d *desk) serving(ctx context.Context, m member) error {
	if m.role == roleStore {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	c := meta.NewClient(d.processes[m.name].machine, d.state.admin, d.address(m.name, metaPort), ca.Want{Roles: []string{m.role}, Name: m.name})
	defer c.Close()
	var health []byte
	return c.Call(ctx, http.MethodGet, "/health", nil, &health)
}

// killed lists those who did not leave by themselves.
func (d *desk) killed() []string {
	var names []string
	for _, m := range members() {
		if d.processes[m.name].wasKilled {
			names = append(names, m.name)
		}
	}
	return names
}

// close kills what still runs.
func (d *desk) close() error {
	var errs []error
	for _, m := range members() {
		if p := d.processes[m.name]; p != nil {
			errs = append(errs, p.close())
		}
	}
	return errors.Join(errs...)
}
