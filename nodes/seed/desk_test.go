package seed_test

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/nodes"
	"github.com/espra/protoplex/nodes/cell"
	"github.com/espra/protoplex/nodes/meta"
	"github.com/espra/protoplex/nodes/meta/ca"
	"github.com/espra/protoplex/nodes/placement"
	"github.com/espra/protoplex/nodes/seed"
)

// A Seed and its nodes on the operating system. What they do about what goes
// wrong is judged in simulated worlds.

// lease is a store of one lease, which ends only by a release.
type lease struct {
	mu   sync.Mutex
	held nodes.Lease
}

func (l *lease) Acquire(_ context.Context, name, holder string, term time.Duration) (nodes.Lease, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held.Holder != "" {
		return nodes.Lease{}, &nodes.LeaseHeldError{Holder: l.held.Holder}
	}
	l.held = nodes.Lease{Name: name, Holder: holder, Epoch: l.held.Epoch + 1, Term: term, Until: 1 << 62}
	return l.held, nil
}

func (l *lease) Renew(_ context.Context, held nodes.Lease) (nodes.Lease, error) { return held, nil }

func (l *lease) Release(context.Context, nodes.Lease) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held.Holder = ""
	return nil
}

// machine tells where it listens.
type machine struct {
	nodes.Machine
	bound chan string
}

func (m *machine) Listen(network, address string) (net.Listener, error) {
	l, err := m.Machine.Listen(network, address)
	if err == nil {
		m.bound <- l.Addr().String()
	}
	return l, err
}

func newMachine(t *testing.T, name string) *machine {
	m, err := nodes.NewOS(nodes.OSOptions{
		Host: nodes.Host{Name: name, Zone: "a", Addr: netip.MustParseAddr("127.0.0.1"), Proc: "main"},
		Root: t.TempDir(), Log: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	return &machine{m, make(chan string, 1)}
}

func TestOnTheOperatingSystem(t *testing.T) {
	entropy := rand.NewChaCha8([32]byte{})
	from, to := time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	authority, err := ca.New(entropy, "us-east", from, to)
	require.NoError(t, err)
	identity := func(role, name string) *ca.Identity {
		file, err := authority.Node(entropy, role, name, from, to)
		require.NoError(t, err)
		id, err := ca.NewIdentity(file, authority.RootsPEM())
		require.NoError(t, err)
		return id
	}
	var store lease
	var seeds []cell.Seed
	stops := map[string]chan struct{}{}
	ended := make(chan error, 2)
	for _, name := range []string{"seed-1", "seed-2"} {
		m, stop, id := newMachine(t, name), make(chan struct{}), identity(cell.RoleSeed, name)
		stops[name] = stop
		go func() {
			ended <- seed.Serve(t.Context(), m, seed.Config{Meta: meta.Options{Identity: id, Listen: "127.0.0.1:0"},
				Leases: &store, Lease: "us-east", Term: time.Second}, stop)
		}()
		seeds = append(seeds, cell.Seed{Name: name, Addr: <-m.bound})
	}
	links := map[string]*cell.Link{}
	for name, role := range map[string]string{"live-1": cell.RoleLive, "proxy-1": cell.RoleProxy} {
		o := cell.Options{Identity: identity(role, name), Seeds: seeds}
		if role == cell.RoleLive {
			o.Registration.Addr = "127.0.0.1:8080"
		}
		link, err := cell.NewLink(newMachine(t, name), o)
		require.NoError(t, err)
		links[name] = link
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- link.Run(ctx) }()
		t.Cleanup(func() {
			cancel()
			if err := <-done; !errors.Is(err, context.Canceled) {
				require.NoError(t, err)
			}
		})
	}
	wait := func(epoch uint64, lives int) {
		for _, link := range links {
			link := link.Table()
			for table := (placement.Table{}); table.Epoch != epoch || len(table.Nodes) != lives; {
				changed := link.Changed()
				if table = link.Current(); table.Epoch != epoch || len(table.Nodes) != lives {
					<-changed
				}
			}
		}
	}
	wait(1, 1)
	first := links["proxy-1"].Status().Seed
	close(stops[first])
	require.NoError(t, <-ended)
	wait(2, 1)
	require.Equal(t, "leading", links["proxy-1"].Status().State)
	require.NotEqual(t, first, links["proxy-1"].Status().Seed)
	_, err = links["proxy-1"].Table().Refresh(t.Context())
	require.NoError(t, err)
}
