// Package metatest is the conformance suite of the meta port: its certificates,
// orders and streams, between machines of any world that can run
// [machinetest]'s suite.
//
// It promises to measure no durations, so that it holds on a busy operating
// system and in virtual time alike.
//
// Start reading at [Tests].
package metatest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/nodes"
	"github.com/espra/protoplex/nodes/machinetest"
	"github.com/espra/protoplex/nodes/meta"
	"github.com/espra/protoplex/nodes/meta/ca"
)

// Test is one property of the meta port.
type Test struct {
	Name string
	// Run judges one fresh world. It starts no subtest and leaves no goroutine
	// behind, so it may run in a synctest bubble.
	Run func(t testing.TB, w machinetest.World)
}

// Tests gives the suite.
func Tests() []Test {
	return append(append(callTests(), orderTests()...), streamTests()...)
}

// Roles are what the suite starts as child processes; worlds that start real
// ones have to know them.
func Roles() nodes.Roles {
	return nodes.Roles{"idle": func(ctx context.Context, m nodes.Machine, _ []string) error {
		d := nodes.NewDrain(ctx, m, nodes.DrainOptions{})
		if err := d.Ready(); err != nil {
			return err
		}
		select {
		case <-d.Stopping():
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}}
}

// patience bounds whatever should happen soon.
const patience = 30 * time.Second

// Cell is a cell's authority, in a world, with what tests need to use it.
type Cell struct {
	T         testing.TB
	W         machinetest.World
	Authority *ca.Authority

	entropy  *rand.ChaCha8
	from, to time.Time
}

// NewCell makes the authority of a cell, whose certificates are valid for an
// hour before and after now.
func NewCell(t testing.TB, w machinetest.World, name string, now time.Time) *Cell {
	var seed [32]byte
	copy(seed[:], name)
	c := &Cell{T: t, W: w, entropy: rand.NewChaCha8(seed), from: now.Add(-time.Hour), to: now.Add(time.Hour)}
	var err error
	c.Authority, err = ca.New(c.entropy, name, c.from, c.to)
	require.NoError(t, err)
	return c
}

// Identity mints a node's certificate, trusting this cell.
func (c *Cell) Identity(role, name string) *ca.Identity {
	return c.trusting(c, role, name)
}

// trusting mints a certificate of this cell for a node that trusts another.
func (c *Cell) trusting(other *Cell, role, name string) *ca.Identity {
	c.T.Helper()
	file, err := c.Authority.Node(c.entropy, role, name, c.from, c.to)
	require.NoError(c.T, err)
	id, err := ca.NewIdentity(file, other.Authority.RootsPEM())
	require.NoError(c.T, err)
	return id
}

// Machine is a machine whose clock, log and meta port tests can get at.
type Machine struct {
	nodes.Machine
	ahead time.Duration // of the wall clock
	text  *lockedBuffer
	bound chan string
}

// NewMachine makes a machine.
func (c *Cell) NewMachine(name string) *Machine {
	return &Machine{Machine: c.W.Machine(c.T, name, Roles()), text: &lockedBuffer{changed: make(chan struct{}, 1)}, bound: make(chan string, 1)}
}

// Now is the clock of the machine, set forward.
func (m *Machine) Now() time.Time { return m.Machine.Now().Add(m.ahead) }

// Log collects the log.
func (m *Machine) Log() *slog.Logger { return slog.New(slog.NewTextHandler(m.text, nil)) }

// Listen tells the address to whoever waits for it.
func (m *Machine) Listen(network, address string) (net.Listener, error) {
	l, err := m.Machine.Listen(network, address)
	if err == nil {
		_, port, _ := net.SplitHostPort(l.Addr().String()) // as every listener has it
		m.bound <- net.JoinHostPort(m.Host().Addr.String(), port)
	}
	return l, err
}

// lockedBuffer tells of each line that it takes.
type lockedBuffer struct {
	mu      sync.Mutex
	b       bytes.Buffer
	changed chan struct{}
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case b.changed <- struct{}{}:
	default:
	}
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// logged waits until a text has been logged n times.
func (m *Machine) logged(t testing.TB, n int, text string) {
	t.Helper()
	ctx := within(t, m)
	for strings.Count(m.text.String(), text) < n {
		select {
		case <-m.text.changed:
		case <-ctx.Done():
			require.FailNow(t, "not logged: "+text, m.text.String())
		}
	}
}

// Serve opens a meta port for the length of the test, and gives its address.
func (c *Cell) Serve(m *Machine, o meta.Options) string {
	c.T.Helper()
	return c.run(m, func(ctx context.Context) error {
		o.Listen = ":0"
		return meta.Serve(ctx, m, o)
	})
}

// run runs something that opens a port and lasts until its context ends.
func (c *Cell) run(m *Machine, f func(context.Context) error) string {
	c.T.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	c.T.Cleanup(func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			c.T.Errorf("serve: %v", err)
		}
	})
	select {
	case address := <-m.bound:
		return address
	case err := <-done:
		done <- err
		require.FailNow(c.T, fmt.Sprint("the port was not opened: ", err))
		return ""
	}
}

// Client makes a client for the length of the test.
func (c *Cell) Client(m nodes.Machine, id *ca.Identity, address string, want ca.Want) *meta.Client {
	client := meta.NewClient(m, id, address, want)
	c.T.Cleanup(client.Close)
	return client
}

// within gives a context that ends with the test's patience.
func within(t testing.TB, m nodes.Machine) context.Context {
	ctx, cancel := nodes.Timeout(context.Background(), m, "metatest", patience)
	t.Cleanup(cancel)
	return ctx
}

// pair is a server and a client of one cell on two machines.
type pair struct {
	*Cell
	server, client *Machine
	address        string
}

func newPair(t testing.TB, w machinetest.World, o meta.Options) *pair {
	t.Helper()
	c := &Cell{T: t, W: w}
	p := &pair{server: c.NewMachine("server"), client: c.NewMachine("client")}
	p.Cell = NewCell(t, w, "us-east", p.server.Now())
	o.Identity = p.Identity("live", "live-1")
	o.Version = "v1"
	p.address = p.Serve(p.server, o)
	return p
}

// as gives a client that is a node of this name.
func (p *pair) as(role, name string) *meta.Client {
	return p.Client(p.client, p.Identity(role, name), p.address, ca.Want{})
}

// status gives the status of an answer, 200 if there is no error.
func status(t testing.TB, err error) int {
	t.Helper()
	if err == nil {
		return 200
	}
	var s *meta.StatusError
	require.ErrorAs(t, err, &s)
	return s.Status
}
