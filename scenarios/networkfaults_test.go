package scenarios

import (
	"context"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/nodes"
	"github.com/espra/protoplex/scenarios/story"
	"github.com/espra/protoplex/sim"
)

// echo gives back what it hears, over streams and over datagrams.
func echo(t *testing.T, m nodes.Machine) {
	l, err := m.Listen("tcp", ":7")
	require.NoError(t, err)
	packets, err := m.ListenPacket("udp", ":7")
	require.NoError(t, err)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c) }()
		}
	}()
	go func() {
		b := make([]byte, 2000)
		for {
			n, from, err := packets.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = packets.WriteTo(b[:n], from)
		}
	}()
}

// pen is one end of the link that is struck.
type pen struct {
	t    *testing.T
	m    nodes.Machine
	host string // that gives back what it hears
}

func (p pen) dial(network string) net.Conn {
	c, err := p.m.DialContext(context.Background(), network, p.host+":7")
	require.NoError(p.t, err)
	return c
}

// trip says a text on a stream, hears it, and gives how long that took.
func (p pen) trip(c net.Conn, text string) (time.Duration, error) {
	start := p.m.Elapsed()
	require.NoError(p.t, c.SetDeadline(time.Now().Add(10*time.Second)))
	if _, err := io.WriteString(c, text); err != nil {
		return 0, err
	}
	_, err := io.ReadFull(c, make([]byte, len(text)))
	return p.m.Elapsed() - start, err
}

// packets sends a hundred datagrams and gives those that come back, in their order.
func (p pen) packets() []string {
	c := p.dial("udp")
	for i := range 100 {
		_, err := c.Write([]byte{byte(i)})
		require.NoError(p.t, err)
		time.Sleep(20 * time.Millisecond) // more than they differ by
	}
	require.NoError(p.t, c.SetReadDeadline(time.Now().Add(2*time.Second)))
	var back []string
	for b := make([]byte, 10); ; {
		n, err := c.Read(b)
		if err != nil {
			return back
		}
		back = append(back, string(b[:n]))
	}
}

// sent are the datagrams of packets.
func sent() (all []string) {
	for i := range 100 {
		all = append(all, string([]byte{byte(i)}))
	}
	return all
}

// Each of these words changes what passes between two machines in its own way, and
// its end ends that.
func TestNetworkFaultsStrike(t *testing.T) {
	const link = "on: link vps fremont <-> vps london"
	long := strings.Repeat("x", 2000)
	for _, c := range []struct {
		fault string
		check func(t *testing.T, p pen, f *strike)
	}{
		{"fault: jitter, for: 1m, up-to: 2s, " + link, func(t *testing.T, p pen, f *strike) {
			require.NotEqual(t, sent(), p.packets())
			conn := p.dial("tcp")
			took, err := p.trip(conn, "x")
			require.NoError(t, err)
			require.Greater(t, took, 200*time.Millisecond)
		}},
		{"fault: bandwidth, for: 1m, rate: 1KB/s, " + link, func(t *testing.T, p pen, f *strike) {
			took, err := p.trip(p.dial("tcp"), long)
			require.NoError(t, err)
			require.Greater(t, took, 4*time.Second, "there and back")
		}},
		{"fault: burst-loss, for: 1m, percent: 30%, run: 100ms, " + link, func(t *testing.T, p pen, f *strike) {
			require.Less(t, len(p.packets()), 90)
		}},
		{"fault: duplication, for: 1m, percent: 50%, " + link, func(t *testing.T, p pen, f *strike) {
			require.Greater(t, len(p.packets()), 150)
		}},
		{"fault: reordering, for: 1m, percent: 20%, " + link, func(t *testing.T, p pen, f *strike) {
			back := p.packets()
			require.NotEqual(t, sent(), back)
			require.ElementsMatch(t, sent(), back)
		}},
		{"fault: corruption, for: 1m, percent: 20%, " + link, func(t *testing.T, p pen, f *strike) {
			back := p.packets()
			require.Len(t, back, 100)
			require.NotSubset(t, sent(), back)
		}},
		{"fault: mtu-drop, for: 1m, " + link, func(t *testing.T, p pen, f *strike) {
			conn := p.dial("tcp")
			_, err := p.trip(conn, "short")
			require.NoError(t, err)
			_, err = p.trip(conn, long)
			require.Error(t, err)
		}},
		{"fault: held-back, for: 1m, " + link, func(t *testing.T, p pen, f *strike) {
			require.Empty(t, p.packets())
			conn := make(chan net.Conn, 1)
			go func() { conn <- p.dial("tcp") }()
			time.Sleep(20 * time.Second)
			f.heal()
			start := p.m.Elapsed()
			<-conn
			require.Less(t, p.m.Elapsed()-start, 200*time.Millisecond, "the handshake has only waited")
			f.begin()
		}},
		{"fault: swizzle-clog, for: 1m, on: role vps", func(t *testing.T, p pen, f *strike) {
			time.Sleep(30 * time.Second)
			require.Empty(t, p.packets(), "all are cut off by now")
			time.Sleep(30 * time.Second)
		}},
	} {
		name, _, _ := strings.Cut(strings.TrimPrefix(c.fault, "fault: "), ",")
		t.Run(name, func(t *testing.T) {
			s := troubledVantages(t, "{id: it, at: 1m, "+c.fault+"}")
			sim.TestWith(t, sim.Options{Start: s.Starts}, func(t *testing.T, w *sim.World) {
				_, _, strikes, machines := struck(t, w, s, "fremont", "london")
				f := strikes["it"]
				echo(t, machines[1])
				p := pen{t, machines[0], "london"}
				well := func() {
					require.Equal(t, sent(), p.packets())
					took, err := p.trip(p.dial("tcp"), long)
					require.NoError(t, err)
					require.Less(t, took, 500*time.Millisecond)
				}
				well()
				f.begin()
				c.check(t, p, f)
				require.NotZero(t, f.touched())
				f.heal()
				well()
			})
		})
	}
}

// Connections that stand end, or pass nothing any more; new ones work.
func TestConnectionFaultsStrike(t *testing.T) {
	s := troubledVantages(t, `
  {id: ended, at: 1m, fault: connections-reset, on: vps london},
  {id: silent, at: 1m, fault: half-open, on: link vps fremont <-> vps london},
  {id: answered, at: 1m, fault: half-open, on: vps london, answer: reset}`)
	sim.TestWith(t, sim.Options{Start: s.Starts}, func(t *testing.T, w *sim.World) {
		_, _, strikes, machines := struck(t, w, s, "fremont", "london")
		echo(t, machines[1])
		p := pen{t, machines[0], "london"}
		for _, id := range []string{"ended", "silent", "answered"} {
			conn := p.dial("tcp")
			_, err := p.trip(conn, "before")
			require.NoError(t, err)
			strikes[id].begin()
			require.NotZero(t, strikes[id].touched())
			start := p.m.Elapsed()
			_, err = p.trip(conn, "after")
			if id == "silent" {
				require.ErrorIs(t, err, os.ErrDeadlineExceeded)
				require.GreaterOrEqual(t, p.m.Elapsed()-start, 10*time.Second)
			} else {
				require.ErrorIs(t, err, syscall.ECONNRESET)
				require.Less(t, p.m.Elapsed()-start, time.Second)
			}
			_, err = p.trip(p.dial("tcp"), "new")
			require.NoError(t, err)
		}
	})
}

// troubledVantages is a story of vantages alone, with faults that the test strikes
// itself.
func troubledVantages(t *testing.T, timeline string) *story.Story {
	s, err := story.Parse("s.yaml", []byte(`format: 1
title: faults of networks
story: The test strikes.
starts: 2026-03-02T14:00:00Z
lasts: 1h
topology: {regions: {us-east: {zones: 1, proxy: 1, live: 0}}, vps: [fremont, london, singapore], dns: {providers: [digitalocean]}}
timeline: [`+timeline+`]
expect: {always: [dns-points-somewhere]}
`))
	require.NoError(t, err)
	return s
}
