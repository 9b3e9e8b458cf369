package scenarios

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/fakes/s3"
	"github.com/espra/protoplex/nodes"
	"github.com/espra/protoplex/nodes/cell"
	"github.com/espra/protoplex/nodes/meta"
	"github.com/espra/protoplex/nodes/meta/ca"
	"github.com/espra/protoplex/nodes/placement"
	"github.com/espra/protoplex/nodes/seed"
	"github.com/espra/protoplex/sim"
)

const leaseTerm = 10 * time.Second

// cellWorld is a cell in a world: Seeds, and nodes that do nothing but keep
// their link.
type cellWorld struct {
	t         *testing.T
	w         *sim.World
	authority *ca.Authority
	entropy   *rand.ChaCha8
	store     *sim.Machine // S3
	seeds     []cell.Seed

	mu    sync.Mutex
	links map[string]*cell.Link
	did   []string // orders, as they were carried out
	log   []string // of the Seeds
}

func newCellWorld(t *testing.T, w *sim.World, seeds int) *cellWorld {
	c := &cellWorld{t: t, w: w, entropy: rand.NewChaCha8([32]byte{}), links: map[string]*cell.Link{}}
	c.store = w.NewMachine("s3", sim.In("us-east", "us-east-s3"))
	c.store.OnBoot(func(m *sim.Machine) {
		startRole(m, "s3", nodes.Roles{"s3": s3.Run}, []string{"--listen", ":80", "--bucket", leaseBucket("us-east"), "--key", leaseAccount})
	})
	var err error
	c.authority, err = ca.New(c.entropy, "us-east", w.Start().Add(-time.Hour), w.Start().Add(time.Hour))
	require.NoError(t, err)
	w.Observe(func(e sim.Event) {
		if strings.HasPrefix(e.Machine, "seed-") && strings.HasPrefix(e.Kind, logEvent) {
			text := e.Machine + ": " + strings.TrimPrefix(e.Kind, logEvent)
			for _, f := range e.Fields {
				if f.Key != "cell" {
					text += fmt.Sprintf(" %s=%s", f.Key, f.Value)
				}
			}
			c.mu.Lock()
			defer c.mu.Unlock()
			c.log = append(c.log, text)
		}
	})
	for i := range seeds {
		name := fmt.Sprintf("seed-%d", i+1)
		m := w.NewMachine(name, sim.In("us-east", fmt.Sprintf("us-east-%c", 'a'+i)))
		c.seeds = append(c.seeds, cell.Seed{Name: name, Addr: m.Addr().String() + ":9090"})
		c.files(m, cell.RoleSeed, name)
		m.OnBoot(func(m *sim.Machine) {
			startRole(m, "seed", nodes.Roles{"seed": seed.Run}, []string{"--cell", "us-east", "--cert", cellCert, "--roots", cellRoots,
				"--s3-endpoint", "http://" + c.store.Addr().String(), "--bucket", leaseBucket("us-east"), "--credentials", "/etc/s3"})
		})
	}
	return c
}

// files gives a machine its certificate, and a Seed its account.
func (c *cellWorld) files(m *sim.Machine, role, name string) {
	for path, data := range map[string][]byte{cellCert: c.cert(role, name), cellRoots: c.authority.RootsPEM(), "/etc/s3": []byte(leaseAccount + "\n")} {
		require.NoError(c.t, m.Disk().WriteFile(path, data))
	}
}

func (c *cellWorld) cert(role, name string) []byte {
	file, err := c.authority.Node(c.entropy, role, name, c.w.Start().Add(-time.Hour), c.w.Start().Add(time.Hour))
	require.NoError(c.t, err)
	return file
}

func (c *cellWorld) identity(role, name string) *ca.Identity {
	id, err := ca.NewIdentity(c.cert(role, name), c.authority.RootsPEM())
	require.NoError(c.t, err)
	return id
}

// node boots a machine whose link is kept.
func (c *cellWorld) node(role, name, zone string) *sim.Machine {
	m := c.w.NewMachine(name, sim.In("us-east", zone))
	m.OnBoot(func(m *sim.Machine) { c.boot(m, role) })
	return m
}

// boot starts the process of a node.
func (c *cellWorld) boot(m *sim.Machine, role string) {
	name := m.Name()
	id := c.identity(role, name)
	startRole(m, role, nodes.Roles{role: func(ctx context.Context, m nodes.Machine, _ []string) error {
		o := cell.Options{Identity: id, Seeds: c.seeds, Do: func(_ context.Context, o cell.Order) error {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.did = append(c.did, name+" "+o.Do+" by "+o.By)
			return nil
		}}
		if role == cell.RoleLive {
			o.Registration.Addr = m.Host().Addr.String() + ":8080"
		}
		link, err := cell.NewLink(m, o)
		if err != nil {
			return err
		}
		c.mu.Lock()
		c.links[name] = link
		c.mu.Unlock()
		return link.Run(ctx)
	}}, nil)
}

func (c *cellWorld) link(name string) *cell.Link {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.links[name]
}

func (c *cellWorld) table(name string) placement.Table { return c.link(name).Table().Current() }

// until waits for something to hold, and gives the time that it took.
func (c *cellWorld) until(limit time.Duration, holds func() bool) time.Duration {
	c.t.Helper()
	start := c.w.Elapsed()
	for !holds() {
		require.Less(c.t, c.w.Elapsed()-start, limit, "it never came true; the Seeds said:\n%s", strings.Join(c.said(), "\n"))
		time.Sleep(97 * time.Millisecond)
	}
	return c.w.Elapsed() - start
}

func (c *cellWorld) said() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.log...)
}

// requireNothingMoved holds if all tables after the first leader's had n nodes.
func (c *cellWorld) requireNothingMoved(n int) {
	c.t.Helper()
	tables := 0
	for _, line := range c.said() {
		if strings.Contains(line, ": table epoch=") && !strings.Contains(line, ": table epoch=1 ") {
			tables++
			require.Contains(c.t, line, fmt.Sprintf(" nodes=%d ", n))
		}
	}
	require.NotZero(c.t, tables)
}

func (c *cellWorld) heard(text string) bool {
	return strings.Contains(strings.Join(c.said(), "\n"), text)
}

// agree reports whether all these nodes hold one table, of an epoch, with n nodes.
func (c *cellWorld) agree(epoch uint64, n int, names ...string) bool {
	first := c.table(names[0])
	for _, name := range names {
		if !cmp.Equal(first, c.table(name)) || c.link(name).Status().State != "leading" {
			return false
		}
	}
	return first.Epoch == epoch && len(first.Nodes) == n
}

// leader names the Seed that leads, by what the nodes say.
func (c *cellWorld) leader(node string) *sim.Machine { return c.w.Machine(c.link(node).Status().Seed) }

func (c *cellWorld) other(seed *sim.Machine) *sim.Machine {
	if seed.Name() == "seed-1" {
		return c.w.Machine("seed-2")
	}
	return c.w.Machine("seed-1")
}

var four = []string{"live-1", "live-2", "live-3", "proxy-1"}

// standing boots a cell of two Seeds and four nodes, and waits for its table.
func standing(t *testing.T, w *sim.World) *cellWorld {
	c := newCellWorld(t, w, 2)
	for i, name := range four {
		role, _, _ := strings.Cut(name, "-")
		c.node(role, name, fmt.Sprintf("us-east-%c", 'a'+i%2))
	}
	c.until(30*time.Second, func() bool { return c.link("live-1") != nil && c.link("proxy-1") != nil })
	c.until(30*time.Second, func() bool { return c.agree(1, 3, four...) })
	return c
}

func TestSeedTakeOver(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		c := standing(t, w)
		before := c.table("proxy-1")
		c.leader("proxy-1").PowerOff()
		c.until(2*leaseTerm, func() bool { return c.heard("leader epoch=2") })
		c.until(time.Minute, func() bool { return c.agree(2, 3, four...) })
		require.Equal(t, before.Nodes, c.table("proxy-1").Nodes)
		c.requireNothingMoved(3)
	})
}

func TestSeedGivesItsLeadershipUp(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		c := standing(t, w)
		old := c.leader("proxy-1")
		require.NoError(t, old.Processes()[0].Signal(string(nodes.Terminate)))
		took := c.until(leaseTerm, func() bool { return c.heard("leader epoch=2") })
		require.Less(t, took, leaseTerm/2, "nobody waits for the end of the lease")
		require.True(t, c.heard(old.Name()+": leader no longer epoch=1 why=it leaves"))
		c.until(time.Minute, func() bool { return c.agree(2, 3, four...) })
		c.requireNothingMoved(3)
	})
}

// A leader that slept through the end of its lease wakes up believing.
func TestStaleLeader(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		c := standing(t, w)
		old := c.leader("proxy-1")
		old.Pause()
		c.until(2*leaseTerm, func() bool { return c.heard("leader epoch=2") })
		c.until(2*time.Minute, func() bool { return c.agree(2, 3, four...) })
		c.w.Machine("live-3").PowerOff() // something to order about
		c.until(time.Minute, func() bool { return c.agree(2, 2, "live-1", "live-2", "proxy-1") })
		old.Resume()
		c.until(time.Minute, func() bool { return c.heard(old.Name() + ": leader no longer epoch=1") })
		for _, line := range c.said() {
			require.False(t, strings.HasPrefix(line, old.Name()+": table epoch=1") && strings.Contains(line, "silent"), line)
		}
		require.True(t, c.agree(2, 2, "live-1", "live-2", "proxy-1"))
	})
}

func TestLeaseStoreGone(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		c := standing(t, w)
		leader := c.leader("proxy-1")
		before := c.table("proxy-1")
		gone := w.Impair("store", sim.Conditions{Cut: true}, func(from, to *sim.Machine) bool { return from == c.store || to == c.store })
		c.until(leaseTerm, func() bool { return c.link("proxy-1").Status().State == "frozen" })
		require.True(t, c.heard(leader.Name()+": frozen epoch=1 why=lease us-east: write"))
		c.node(cell.RoleLive, "live-4", "us-east-a")
		w.Machine("live-2").PowerOff()
		time.Sleep(2 * time.Minute)
		require.Equal(t, before, c.table("proxy-1"), "frozen")
		require.Equal(t, before, c.table("live-4"), "it gets no keys, but knows who has them")
		require.Greater(t, c.link("proxy-1").Table().Age(), 110*time.Second)
		require.Greater(t, c.link("live-4").Table().Age(), 110*time.Second)
		_, err := c.link("proxy-1").Table().Refresh(t.Context())
		require.Error(t, err)
		require.Equal(t, leader, c.leader("proxy-1"), "its stream is the same")
		require.False(t, c.heard("leader no longer"))

		gone.Heal()
		rest := []string{"live-1", "live-3", "live-4", "proxy-1"}
		c.until(2*time.Minute, func() bool { return c.agree(2, 3, rest...) })
		require.Less(t, c.link("proxy-1").Table().Age(), time.Minute)
	})
}

func TestAllSeedsGone(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		c, seen := standing(t, w), observed(w)
		before := c.table("proxy-1")
		w.Machine("seed-1").PowerOff()
		w.Machine("seed-2").PowerOff()
		time.Sleep(5 * time.Minute)
		for _, name := range four {
			require.Equal(t, before, c.table(name))
			require.Greater(t, c.link(name).Table().Age(), 4*time.Minute)
			require.Equal(t, "gone", c.link(name).Status().State)
			require.Len(t, seen().of("log: no seed", name), 2*4, "of each Seed, after half a minute and then each minute")
		}
		w.Machine("seed-2").PowerOn()
		c.until(3*leaseTerm, func() bool { return c.heard("leader epoch=2") })
		c.until(time.Minute, func() bool { return c.agree(2, 3, four...) })
		require.Equal(t, before.Nodes, c.table("proxy-1").Nodes)
		c.requireNothingMoved(3)
	})
}

// A zone that is cut off keeps its last table, and is told of the newest when it
// is back.
func TestSplitZone(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		c := standing(t, w)
		zone := c.leader("proxy-1").Zone()
		var here, there []string
		for _, name := range four {
			if w.Machine(name).Zone() == zone {
				here = append(here, name)
			} else {
				there = append(there, name)
			}
		}
		before := c.table(there[0])
		cut := w.Impair("split", sim.Conditions{Cut: true}, func(from, to *sim.Machine) bool {
			return (from.Zone() == zone || from == c.store) != (to.Zone() == zone || to == c.store)
		})
		lives := 0
		for _, name := range here {
			if strings.HasPrefix(name, "live") {
				lives++
			}
		}
		c.until(time.Minute, func() bool { return c.agree(1, lives, here...) })
		for _, name := range there {
			require.Equal(t, before, c.table(name))
		}
		cut.Heal()
		c.until(time.Minute, func() bool { return c.agree(1, 3, four...) })
	})
}

func TestCrashedNodeComesBackAnew(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		c := standing(t, w)
		before := c.link("live-1").Incarnation()
		m := w.Machine("live-1")
		m.PowerOff()
		m.PowerOn()
		c.until(10*time.Second, func() bool { return c.link("live-1").Incarnation() > before && c.agree(1, 3, four...) })
		require.Equal(t, c.link("live-1").Incarnation(), c.table("proxy-1").Nodes[0].Incarnation)
		require.True(t, c.heard("reason=live-1 restarted"))
	})
}

// TestSeedTakesInAClockSetBack: a process that starts where the last one has ended
// is the later one, whatever its wall clock says.
func TestSeedTakesInAClockSetBack(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		c := standing(t, w)
		before := c.link("live-1").Incarnation()
		m := w.Machine("live-1")
		m.Clock().Step(-time.Hour)
		m.PowerOff()
		m.PowerOn()
		c.until(5*time.Second, func() bool { return c.link("live-1").Incarnation() > before && c.agree(1, 3, four...) })
		require.Equal(t, c.link("live-1").Incarnation(), c.table("proxy-1").Nodes[0].Incarnation)
		require.True(t, c.heard("reason=live-1 restarted"))
	})
}

// TestSeedKeepsTheLaterProcess: one that a later process has replaced, but that
// runs on, does not get the name back, however often it asks.
func TestSeedKeepsTheLaterProcess(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		c := standing(t, w)
		first := c.link("live-1")
		before := first.Incarnation()
		c.boot(w.Machine("live-1"), cell.RoleLive)
		c.until(10*time.Second, func() bool { return c.link("live-1") != first && c.agree(1, 3, four...) })
		table := c.table("proxy-1")
		require.Equal(t, c.link("live-1").Incarnation(), table.Nodes[0].Incarnation)
		time.Sleep(2 * time.Minute)
		require.Equal(t, table, c.table("proxy-1"))
		require.Equal(t, before, first.Incarnation())
		require.Equal(t, "gone", first.Status().State)
	})
}

func TestDrainByOperator(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		c := standing(t, w)
		desk := w.NewMachine("desk", sim.In("us-east", "us-east-a"))
		id := c.identity("admin", "ana")
		answers := make(chan error, 2)
		leader := c.leader("proxy-1")
		startRole(desk, "desk", nodes.Roles{"desk": func(ctx context.Context, m nodes.Machine, _ []string) error {
			for _, s := range []*sim.Machine{leader, c.other(leader)} {
				client := meta.NewClient(m, id, s.Addr().String()+":9090", ca.Want{})
				answers <- client.Call(ctx, "POST", cell.Path+"/drain", map[string]string{"node": "live-2"}, nil)
				client.Close()
			}
			return nil
		}}, nil)
		require.NoError(t, <-answers)
		require.ErrorContains(t, <-answers, "not the leader; ask")
		c.until(10*time.Second, func() bool { return c.agree(1, 2, four...) })
		c.mu.Lock()
		defer c.mu.Unlock()
		require.Equal(t, []string{"live-2 drain by admin/ana"}, c.did)
	})
}

func TestLeavingNode(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		c := standing(t, w)
		start := w.Elapsed()
		c.link("live-3").Leave(t.Context(), "restart")
		require.Less(t, w.Elapsed()-start, time.Second)
		c.until(time.Second, func() bool { return c.agree(1, 2, "live-1", "live-2", "proxy-1") })
		require.True(t, c.heard("node left epoch=1 node=live-3 role=live reason=it leaves: restart"))
	})
}

// A leader of the past, or somebody with its certificate, says what it likes.
func TestLinkBelievesNoLeaderOfThePast(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		c := newCellWorld(t, w, 0)
		m := w.NewMachine("seed-9", sim.In("us-east", "us-east-a"))
		c.seeds = []cell.Seed{{Name: "seed-9", Addr: m.Addr().String() + ":9090"}}
		id := c.identity(cell.RoleSeed, "seed-9")
		table := func(epoch, revision uint64) cell.Report {
			return cell.Report{Table: placement.Table{Epoch: epoch, Revision: revision}}
		}
		type said struct {
			kind            string
			epoch, revision uint64
			body            any
		}
		visits := make(chan []said, 4)
		visits <- []said{
			{cell.TypeWelcome, 5, 0, cell.Welcome{Leader: "seed-9"}},
			{cell.TypeSnapshot, 5, 3, table(5, 3)},
			{cell.TypeOrder, 5, 1, cell.Order{Do: cell.Invalidate, By: "one"}},
			{cell.TypeOrder, 5, 1, cell.Order{Do: cell.Invalidate, By: "replayed"}},
			{cell.TypeOrder, 5, 0, cell.Order{Do: cell.Invalidate, By: "unnumbered"}},
			{cell.TypeOrder, 4, 9, cell.Order{Do: cell.Invalidate, By: "stale"}}, // which ends the stream
			{cell.TypeOrder, 6, 1, cell.Order{Do: cell.Invalidate, By: "too late"}},
		}
		visits <- []said{{cell.TypeWelcome, 4, 0, cell.Welcome{Leader: "seed-9"}}, {cell.TypeSnapshot, 4, 9, table(4, 9)}}
		visits <- []said{{cell.TypeWelcome, 5, 0, cell.Welcome{}}, {cell.TypeSnapshot, 5, 2, table(5, 2)}}                           // an older table
		visits <- []said{{cell.TypeWelcome, 5, 0, cell.Welcome{}}, {cell.TypeChange, 5, 5, placement.Change{Epoch: 5, Revision: 5}}} // one is missing
		close(visits)
		var ended []string
		startRole(m, "seed", nodes.Roles{"seed": func(ctx context.Context, m nodes.Machine, _ []string) error {
			return meta.Serve(ctx, m, meta.Options{Identity: id, Routes: []meta.Route{{Pattern: "GET " + cell.Path, Stream: func(_ context.Context, s *meta.Stream) error {
				_, err := s.Receive()
				if err != nil {
					return err
				}
				for _, say := range <-visits {
					f, err := meta.NewFrame(say.kind, say.epoch, say.revision, say.body)
					if err != nil {
						return err
					}
					if err := s.Send(f); err != nil {
						break
					}
				}
				_, err = s.Receive()
				c.mu.Lock()
				defer c.mu.Unlock()
				ended = append(ended, err.Error())
				return nil
			}}}})
		}}, nil)
		c.node(cell.RoleProxy, "proxy-1", "us-east-a")
		c.until(time.Minute, func() bool { c.mu.Lock(); defer c.mu.Unlock(); return len(ended) >= 4 })
		require.Equal(t, placement.Table{Epoch: 5, Revision: 3}, c.table("proxy-1"))
		require.Equal(t, []string{"proxy-1 invalidate by one"}, c.did)
		require.Equal(t, []string{
			"meta: closed by the peer: meta: the epoch is over: this node has heard of 5",
			"meta: closed by the peer: meta: the epoch is over: this node has heard of 5",
			"meta: closed by the peer: placement: the table at 5.2 is older than the one at 5.3",
			"meta: closed by the peer: placement: the change to 5.5 is not the next of the table at 5.3",
		}, ended[:4])
	})
}

// Members that do not keep to the protocol are told so, and harm nobody.
func TestSeedRefusesNonsense(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		c := standing(t, w)
		leader := c.leader("proxy-1").Addr().String() + ":9090"
		id := c.identity(cell.RoleLive, "live-9")
		good := cell.Registration{Name: "live-9", Role: cell.RoleLive, Addr: "10.9.9.9:8080", Incarnation: 1}
		other, role, twin := good, good, good
		other.Name, role.Role, role.Addr = "live-1", cell.RoleProxy, "10.9.9.9"
		twin.Incarnation = 0
		type frame struct {
			kind string
			body any
		}
		tests := []struct {
			say  []frame
			want string
		}{
			{[]frame{{cell.TypeAlive, cell.Beat{}}}, "a stream begins with register, not alive"},
			{[]frame{{cell.TypeRegister, "me"}}, "cannot unmarshal"},
			{[]frame{{cell.TypeRegister, other}}, "does not agree with the certificate"},
			{[]frame{{cell.TypeRegister, role}}, "does not agree with the certificate"},
			{[]frame{{cell.TypeRegister, twin}}, "an incarnation is above zero"},
			{nil, "no registration in time"},
			{[]frame{{cell.TypeRegister, good}, {cell.TypeRegister, good}}, "registered already"},
			{[]frame{{cell.TypeRegister, good}, {cell.TypeReport, cell.Report{Age: -1}}}, "from the future"},
			{[]frame{{cell.TypeRegister, good}, {cell.TypeAlive, 7}}, "cannot unmarshal"},
		}
		heard := make(chan string)
		startRole(w.NewMachine("odd", sim.In("us-east", "us-east-a")), "odd", nodes.Roles{"odd": func(ctx context.Context, m nodes.Machine, _ []string) error {
			for _, test := range tests {
				client := meta.NewClient(m, id, leader, ca.Want{})
				s, err := client.Open(ctx, cell.Path)
				if err != nil {
					return err
				}
				for _, say := range test.say {
					f, err := meta.NewFrame(say.kind, 0, 0, say.body)
					if err != nil {
						return err
					}
					if err := s.Send(f); err != nil {
						break
					}
				}
				for err == nil {
					_, err = s.Receive()
				}
				s.Close("")
				client.Close()
				heard <- err.Error()
			}
			return nil
		}}, nil)
		for _, test := range tests {
			require.Contains(t, <-heard, test.want)
		}
		c.until(time.Minute, func() bool { return c.agree(1, 3, four...) })
	})
}
