package scenarios

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/nodes"
	"github.com/espra/protoplex/nodes/lease"
	"github.com/espra/protoplex/nodes/leasetest"
	"github.com/espra/protoplex/sim"
)

// The whole road to leases works in a simulated world: over the AWS SDK, from
// several machines to an S3 on one.
func TestLeasesConformance(t *testing.T) {
	for _, test := range leasetest.Tests() {
		t.Run(test.Name, func(t *testing.T) {
			sim.Test(t, func(t *testing.T, w *sim.World) {
				bootStore(w, http.Handler.ServeHTTP)
				test.Run(t, &leaseWorld{w})
			})
		})
	}
}

type leaseWorld struct{ w *sim.World }

func (l *leaseWorld) Pass(d time.Duration) { time.Sleep(d) }

func (l *leaseWorld) Process(t testing.TB, name string) leasetest.Process {
	host := l.w.Machine(name)
	if host == nil {
		host = l.w.NewMachine(name)
	}
	for _, p := range host.Processes() {
		p.Kill()
	}
	made := make(chan nodes.Machine)
	host.Start("main", func(p *sim.Process) error {
		made <- newMachine(p, nil)
		<-p.Done()
		return nil
	})
	m := <-made
	return leasetest.Process{Leases: newLeases(t, m), Elapsed: m.Elapsed}
}

// Whatever happens to a few machines that contend for one lease, what they are
// told and what they do on it has an order in which there is one holder at a
// time, and each epoch is one greater than the last.
func TestLeasesLinearizable(t *testing.T) {
	t.Parallel()
	seeds := seedsAskedFor(t)
	if len(seeds) == 1 && seeds[0] == 1 {
		seeds = []uint64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			sim.TestWith(t, sim.Options{Seed: seed}, func(t *testing.T, w *sim.World) {
				c := newLeaseContest(t, w, leaseTrouble{w}.serve)
				c.releases = true
				for i := range 3 {
					// Clocks as wrong as is allowed, and wall clocks wronger.
					clock := c.contender(fmt.Sprint("seed-", i+1)).Clock()
					clock.Drift(int64(w.Choose(fmt.Sprint("drift ", i), 0)%2_000_001) - 1_000_000)
					clock.Step(time.Duration(w.Choose(fmt.Sprint("step ", i), 0) % uint64(time.Hour)))
				}
				partitions := c.strike()
				time.Sleep(4 * time.Minute)
				c.judge(t)
				touched := uint64(0)
				for _, f := range partitions() {
					touched += min(f.Touched(), 1)
				}
				require.Len(t, partitions(), 5)
				require.GreaterOrEqual(t, touched, uint64(3), "partitions that touched nothing")
				t.Logf("%+v", c.history.tally())
				require.Greater(t, c.history.tally().Epochs, 2, "the lease hardly changed hands")
				require.Greater(t, c.history.tally().Acts, 50)
				require.NotZero(t, c.history.tally().Unknown)
			})
		})
	}
}

// A holder that was stopped for longer than its lease wakes up believing: what
// it sends is refused, since others have heard of a greater epoch.
func TestLeasePausedHolder(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		c := newLeaseContest(t, w, http.Handler.ServeHTTP)
		holder := c.contender("seed-1")
		time.Sleep(5 * time.Second)
		c.contender("seed-2")
		time.Sleep(5 * time.Second)
		c.pause(holder, 25*time.Second)
		time.Sleep(time.Minute)
		c.judge(t)
		accepted, refused := c.fence.orders()
		require.Contains(t, accepted, uint64(2))
		require.NotEmpty(t, refused, "nothing that the holder believed in got out")
		for _, epoch := range refused {
			require.Equal(t, uint64(1), epoch)
		}
	})
}

// With clocks beyond the bound two may believe at once. The history then shows
// it, which proves that the judge can; and the fence lets nobody act on it.
func TestLeaseClocksBeyondBound(t *testing.T) {
	for _, test := range []struct {
		name string
		ppm  int64
		safe bool
	}{{"at the bound", 1000, true}, {"far beyond", 300_000, false}} {
		t.Run(test.name, func(t *testing.T) {
			sim.Test(t, func(t *testing.T, w *sim.World) {
				c := newLeaseContest(t, w, http.Handler.ServeHTTP)
				holder := c.contender("seed-1")
				holder.Clock().Drift(-1000 * test.ppm)
				time.Sleep(5 * time.Second)
				waiter := c.contender("seed-2")
				waiter.Clock().Drift(1000 * test.ppm)
				time.Sleep(5 * time.Second)
				cut := w.Link(holder, w.Machine("s3")).Cut(time.Minute)
				time.Sleep(30 * time.Second)
				require.NotZero(t, cut.Touched())
				require.Equal(t, test.safe, c.history.linearizable())
				accepted, refused := c.fence.orders()
				require.Equal(t, test.safe, len(refused) == 0)
				require.Contains(t, accepted, uint64(2))
			})
		})
	}
}

// newLeases is what a node of production would make.
func newLeases(t testing.TB, m nodes.Machine) nodes.Leases {
	return lease.New(m, newStoreClient(t, m), lease.Options{Prefix: "cell/"})
}

// pause stops a machine for a while.
func (c *leaseContest) pause(m *sim.Machine, d time.Duration) {
	c.history.stop(m.Name(), true)
	m.Pause()
	c.w.After(d, func() {
		m.Resume()
		c.history.stop(m.Name(), false)
	})
}

// strike sets up every kind of fault once, in an order and at times that the
// seed chooses. It gives the partitions that there have been.
func (c *leaseContest) strike() (partitions func() []*sim.Fault) {
	var mu sync.Mutex
	var faults []*sim.Fault
	cut := func(f *sim.Fault) {
		mu.Lock()
		defer mu.Unlock()
		faults = append(faults, f)
	}
	w := c.w
	store := w.Machine("s3")
	one := func(what string) *sim.Machine { return w.Machine(fmt.Sprint("seed-", 1+w.Choose(what, 0)%3)) }
	for what, f := range map[string]func(m *sim.Machine, d time.Duration){
		"partition":      func(m *sim.Machine, d time.Duration) { cut(w.Link(m, store).Cut(d)) },
		"no answers":     func(m *sim.Machine, d time.Duration) { cut(w.Link(store, m).CutOneWay(d)) },
		"no requests":    func(m *sim.Machine, d time.Duration) { cut(w.Link(m, store).CutOneWay(d)) },
		"pause":          func(m *sim.Machine, d time.Duration) { c.pause(m, d) },
		"pause holder":   func(_ *sim.Machine, d time.Duration) { c.pause(c.holder(), d) },
		"cut off holder": func(_ *sim.Machine, d time.Duration) { cut(w.Link(c.holder(), store).Cut(d)) },
		"crash":          func(m *sim.Machine, d time.Duration) { c.crash(m, d/10) },
		"crash holder":   func(_ *sim.Machine, d time.Duration) { c.crash(c.holder(), d/10) },
		"power off": func(m *sim.Machine, d time.Duration) {
			m.PowerOff()
			w.After(d, m.PowerOn)
		},
		"store away": func(_ *sim.Machine, d time.Duration) {
			f := w.Impair("store away", sim.Conditions{Cut: true}, func(a, b *sim.Machine) bool { return a == store || b == store })
			w.After(d, f.Heal)
			cut(f)
		},
	} {
		at := 10*time.Second + time.Duration(w.Choose(what+" at", 0)%uint64(3*time.Minute))
		d := 5*time.Second + time.Duration(w.Choose(what+" for", 0)%uint64(20*time.Second))
		w.At(at, func() { f(one(what), d) })
	}
	return func() []*sim.Fault {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(faults)
	}
}

// crash ends a machine's processes, and starts a contender anew after a while.
func (c *leaseContest) crash(m *sim.Machine, d time.Duration) {
	for _, p := range m.Processes() {
		p.Kill()
	}
	c.w.After(d, func() {
		if m.On() {
			c.start(m)
		}
	})
}

// holder is the machine that holds the lease, as far as anybody was told.
func (c *leaseContest) holder() *sim.Machine {
	return c.w.Machine(c.history.lastHolder())
}

// contend acquires, renews and now and then releases, and gives orders while it
// believes that it holds the lease.
func (c *leaseContest) contend(ctx context.Context, m nodes.Machine) error {
	me := m.Host().Name
	leases := newLeases(c.t, m)
	orders, err := m.DialContext(ctx, "udp", "fence:9")
	if err != nil {
		return err
	}
	for n := uint64(0); ctx.Err() == nil; n++ {
		if nodes.Sleep(ctx, m, "contend/idle", time.Second) != nil {
			break
		}
		done := c.history.call(me)
		l, err := leases.Acquire(ctx, "leader", me, 10*time.Second)
		done(leaseAcquired(l, err))
		for round := uint64(0); err == nil && m.Elapsed() < l.Until && ctx.Err() == nil; round++ {
			c.history.act(me, l.Epoch)
			fmt.Fprintf(orders, "%d", l.Epoch) // a refused datagram is a lost one
			if nodes.Sleep(ctx, m, "contend/act", 400*time.Millisecond) != nil {
				break
			}
			if round%5 != 4 {
				continue
			}
			if c.releases && m.Rand("contend/release", n*1000+round)%12 == 0 {
				done := c.history.call(me)
				err := leases.Release(ctx, l)
				done(leaseReleased(l, err))
				break
			}
			// Renewing may take longer than the lease lasts, so acting does
			// not wait for it.
			renewed := make(chan nodes.Lease, 1)
			lost := make(chan error, 1)
			done := c.history.call(me)
			go func() {
				next, err := leases.Renew(ctx, l)
				done(leaseRenewed(l, err))
				if err == nil {
					renewed <- next
				} else {
					lost <- err
				}
			}()
			for waiting := true; waiting; {
				if m.Elapsed() < l.Until {
					c.history.act(me, l.Epoch)
					fmt.Fprintf(orders, "%d", l.Epoch)
				}
				if nodes.Sleep(ctx, m, "contend/wait", 200*time.Millisecond) != nil {
					break
				}
				select {
				case l = <-renewed:
					waiting = false
				case <-lost:
					waiting = false // while it lasts; the loop's condition tells
				default:
				}
			}
		}
	}
	return ctx.Err()
}
