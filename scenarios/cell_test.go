package scenarios

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/nodes"
	"github.com/espra/protoplex/nodes/cell"
	"github.com/espra/protoplex/nodes/live"
	"github.com/espra/protoplex/nodes/meta"
	"github.com/espra/protoplex/nodes/meta/ca"
	"github.com/espra/protoplex/nodes/placement"
	"github.com/espra/protoplex/nodes/proxy"
	"github.com/espra/protoplex/sim"
)

const cellHost = "us-1.live.espra.com"

// realCell is a cell whose nodes are the platform's own, and a client of it.
type realCell struct {
	*cellWorld
	client *sim.Machine
	web    http.Client
}

func newRealCell(t *testing.T, w *sim.World, lives int) *realCell {
	c := &realCell{cellWorld: newCellWorld(t, w, 2), client: w.NewMachine("client")}
	for i := range lives {
		c.role(cell.RoleLive, fmt.Sprintf("live-%d", i+1), live.Run, "--home-check", "1h")
	}
	c.role(cell.RoleProxy, "proxy-1", proxy.Run, "--http", ":8080", "--https", "", "--allow-plain", "--host", cellHost, "--children", "2")
	c.node(cell.RoleProxy, "watcher", "us-east-b")
	c.web = http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DialContext: c.client.DialContext, DisableKeepAlives: true}}
	c.until(time.Minute, func() bool { return strings.HasPrefix(c.get("/health"), "200") })
	c.until(time.Minute, func() bool { return c.publish("warm") == 200 })
	return c
}

// seedTable is what one hears who only listens.
func (c *realCell) seedTable() placement.Table { return c.table("watcher") }

// role boots a machine with a role that joins the cell.
func (c *realCell) role(role, name string, run nodes.Role, args ...string) {
	m := c.w.NewMachine(name, sim.In("us-east", "us-east-a"))
	c.files(m, role, name)
	var seeds []string
	for _, s := range c.seeds {
		seeds = append(seeds, s.Name+"="+s.Addr)
	}
	args = append(args, "--seeds", strings.Join(seeds, ","), "--cell-cert", cellCert, "--cell-roots", cellRoots)
	roles := nodes.Roles{role: run}
	p := &platform{world: c.w, roles: roles}
	m.OnBoot(func(m *sim.Machine) { p.supervise(m, role, args) })
}

func (c *realCell) url(path string) string {
	return "http://" + c.w.Machine("proxy-1").Addr().String() + ":8080" + path
}

func (c *realCell) do(method, path string) (int, string) {
	req, err := http.NewRequestWithContext(c.t.Context(), method, c.url(path), strings.NewReader(""))
	require.NoError(c.t, err)
	req.Host = cellHost
	res, err := c.web.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	require.NoError(c.t, err)
	return res.StatusCode, string(body)
}

func (c *realCell) get(path string) string {
	status, text := c.do("GET", path)
	return fmt.Sprintf("%d %s", status, text)
}

func (c *realCell) publish(key string) int {
	status, _ := c.do("POST", "/live/"+key+"/news")
	return status
}

// keys gives keys that a node owns.
func (c *realCell) keys(owner string, n int) []string {
	var keys []string
	table := c.seedTable()
	for i := 0; len(keys) < n; i++ {
		key := fmt.Sprintf("room-%d", i)
		if node, ok := table.Owner(cellHost + "/" + key); ok && node.Name == owner {
			keys = append(keys, key)
		}
		require.Less(c.t, i, 1000)
	}
	return keys
}

func TestLiveCrashMovesItsKeys(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		c := newRealCell(t, w, 3)
		c.until(time.Minute, func() bool { return len(c.seedTable().Nodes) == 3 })
		lost, kept := c.keys("live-2", 1)[0], c.keys("live-1", 1)[0]
		require.Equal(t, []int{200, 200}, []int{c.publish(lost), c.publish(kept)})
		w.Machine("live-2").PowerOff()
		require.NotEqual(t, 200, c.publish(lost), "nobody has it")
		require.Equal(t, 200, c.publish(kept))
		c.until(cell.Silence+30*time.Second, // an attempt may take that long
			func() bool { return c.publish(lost) == 200 })
		require.Len(t, c.seedTable().Nodes, 2)

		w.Machine("live-2").PowerOn()
		c.until(30*time.Second, func() bool { return len(c.seedTable().Nodes) == 3 })
		require.Equal(t, []int{200, 200}, []int{c.publish(lost), c.publish(kept)})
	})
}

func TestRollingRestartLosesNoRequest(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		c := newRealCell(t, w, 3)
		c.until(time.Minute, func() bool { return len(c.seedTable().Nodes) == 3 })
		// The proxy hears of tables late, and has to ask.
		w.Impair("slow", sim.Conditions{Delay: 300 * time.Millisecond}, func(from, to *sim.Machine) bool {
			return strings.HasPrefix(from.Name(), "seed") && to.Name() == "proxy-1"
		})
		var keys []string
		for i := range 3 {
			keys = append(keys, c.keys(fmt.Sprintf("live-%d", i+1), 2)...)
		}
		stop := w.Elapsed() + 90*time.Second
		for i := range 3 {
			m := w.Machine(fmt.Sprintf("live-%d", i+1))
			w.After(time.Duration(1+30*i)*time.Second, func() {
				for _, p := range m.Processes() {
					require.NoError(t, p.Signal(string(nodes.Terminate)))
				}
			})
		}
		asked := 0
		for w.Elapsed() < stop {
			for _, key := range keys {
				require.Equal(t, 200, c.publish(key), "%s at %v; the Seeds said:\n%s", key, w.Elapsed(), strings.Join(c.said(), "\n"))
				asked++
			}
			time.Sleep(53 * time.Millisecond)
		}
		require.Greater(t, asked, 200)
		restarted := 0
		for _, line := range c.said() {
			if strings.Contains(line, "reason=it leaves: it drains") {
				restarted++
			}
		}
		require.Equal(t, 3, restarted)
		require.Len(t, c.seedTable().Nodes, 3)
	})
}

func TestTunnelsOfMovedKeysAreTold(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		c := newRealCell(t, w, 1)
		type tunnel struct {
			key  string
			conn *websocket.Conn
		}
		var tunnels []tunnel
		for i := range 12 {
			key := fmt.Sprintf("room-%d", i)
			conn, _, err := websocket.Dial(t.Context(), c.url("/live/"+key), &websocket.DialOptions{
				HTTPClient: &http.Client{Transport: &http.Transport{DialContext: c.client.DialContext}}, Host: cellHost, Subprotocols: []string{live.Subprotocol}})
			require.NoError(t, err)
			tunnels = append(tunnels, tunnel{key, conn})
		}
		before := c.seedTable()
		c.role(cell.RoleLive, "live-2", live.Run, "--home-check", "1h")
		c.until(time.Minute, func() bool { return len(c.seedTable().Nodes) == 2 })
		after, moved := c.seedTable(), 0
		for _, tunnel := range tunnels {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			var err error
			for err == nil { // it may be told more before the close
				_, _, err = tunnel.conn.Read(ctx)
			}
			cancel()
			was, _ := before.Owner(cellHost + "/" + tunnel.key)
			is, _ := after.Owner(cellHost + "/" + tunnel.key)
			if was.Name != is.Name {
				moved++
				require.Equal(t, websocket.StatusCode(live.CloseMoved), websocket.CloseStatus(err))
			} else {
				require.ErrorIs(t, err, context.DeadlineExceeded)
			}
			_ = tunnel.conn.CloseNow()
		}
		require.NotZero(t, moved)
		require.Less(t, moved, 12)
		// Each node says so itself, whichever came first.
		for _, asked := range []string{"live-1", "live-2"} {
			key := c.keys(map[string]string{"live-1": "live-2", "live-2": "live-1"}[asked], 1)[0]
			req, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+w.Machine(asked).Addr().String()+":8080/live/"+key+"/news", nil)
			require.NoError(t, err)
			req.Host = cellHost
			res, err := c.web.Do(req)
			require.NoError(t, err)
			require.Equal(t, 421, res.StatusCode, asked)
			require.NoError(t, res.Body.Close())
		}
	})
}

func TestAllSeedsGoneServesOn(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		c := newRealCell(t, w, 2)
		w.Machine("seed-1").PowerOff()
		w.Machine("seed-2").PowerOff()
		time.Sleep(5 * time.Minute)
		for i := range 10 {
			require.Equal(t, 200, c.publish(fmt.Sprintf("room-%d", i)))
		}
		desk := w.NewMachine("desk", sim.In("us-east", "us-east-a"))
		statuses := make(chan meta.Status)
		id := c.identity("admin", "ana")
		startRole(desk, "desk", nodes.Roles{"desk": func(ctx context.Context, m nodes.Machine, _ []string) error {
			for _, name := range []string{"live-1", "proxy-1"} {
				client := meta.NewClient(m, id, w.Machine(name).Addr().String()+":9090", ca.Want{Name: name})
				var status meta.Status
				if err := client.Call(ctx, "GET", "/status", nil, &status); err != nil {
					return err
				}
				client.Close()
				statuses <- status
			}
			return nil
		}}, nil)
		for range 2 {
			table, ok := (<-statuses).Facts["table"].(map[string]any)
			require.True(t, ok)
			require.Equal(t, []any{1.0, 2.0, "gone"}, []any{table["epoch"], table["nodes"], table["state"]})
			require.Greater(t, table["age_seconds"], 290.0)
		}
	})
}

// A Seed tells an operator the epoch that an order for it has to carry.
func TestSeedTellsItsEpoch(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		c := newRealCell(t, w, 1)
		desk := w.NewMachine("desk", sim.In("us-east", "us-east-a"))
		id := c.identity("admin", "ana")
		told := make(chan meta.Status)
		startRole(desk, "desk", nodes.Roles{"desk": func(ctx context.Context, m nodes.Machine, _ []string) error {
			for _, name := range []string{"seed-1", "seed-2"} {
				client := meta.NewClient(m, id, w.Machine(name).Addr().String()+":9090", ca.Want{Name: name})
				var status meta.Status
				if err := client.Call(ctx, "GET", "/status", nil, &status); err != nil {
					return err
				}
				// An understudy has heard of none, and takes any.
				var done meta.Applied
				order := meta.Order{Epoch: max(status.Epoch, 1), Revision: 1, IssuedBy: "admin/ana"}
				if err := client.Call(ctx, "POST", "/drain", order, &done); err != nil {
					return err
				}
				client.Close()
				told <- status
			}
			return nil
		}}, nil)
		led := map[float64]bool{}
		for range 2 {
			status := <-told
			epoch := status.Facts["seed"].(map[string]any)["epoch"].(float64) // that it last led
			require.Equal(t, epoch, float64(status.Epoch), status.Name)
			led[epoch] = true
		}
		require.Equal(t, map[float64]bool{0: true, 1: true}, led)
	})
}

// Keys of a node that has died stay its own while nobody can say otherwise, and
// a new process of it has not what the old one had.
func TestFrozenCellGivesNewNodesNoKeys(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		c := newRealCell(t, w, 2)
		c.until(time.Minute, func() bool { return len(c.seedTable().Nodes) == 2 })
		lost, kept := c.keys("live-2", 1)[0], c.keys("live-1", 1)[0]
		gone := w.Impair("store", sim.Conditions{Cut: true}, func(from, to *sim.Machine) bool { return from == c.store || to == c.store })
		c.until(leaseTerm, func() bool { return c.link("watcher").Status().State == "frozen" })
		w.Machine("live-2").PowerOff()
		w.Machine("live-2").PowerOn()
		time.Sleep(time.Minute)
		status, body := c.do("POST", "/live/"+lost+"/news")
		require.Equal(t, 503, status, body)
		require.Equal(t, 200, c.publish(kept))
		gone.Heal()
		c.until(time.Minute, func() bool { return c.publish(lost) == 200 })
		require.Equal(t, 200, c.publish(kept))
	})
}
