package sim_test

import (
	"context"
	"fmt"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/sim"
)

// What arrives at a paused machine waits, in order, and so does what it sends.
func TestPauseHoldsAndReleases(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		a, b := w.NewMachine("a"), w.NewMachine("b")
		client, server := join(t, a, b)
		atClient, atServer := listen(w, client), listen(w, server)
		datagrams := catch(t, b, 9)
		u, err := a.DialContext(context.Background(), "udp", "b:9")
		require.NoError(t, err)
		b.Pause()
		for i := range 3 {
			write(t, client, fmt.Sprint("in ", i))
			write(t, u, fmt.Sprint("datagram ", i))
			write(t, server, fmt.Sprint("out ", i))
			time.Sleep(time.Second)
		}
		require.Empty(t, atClient)
		require.Empty(t, atServer)
		require.Empty(t, datagrams)
		require.Equal(t, 3+3+1, b.Held())
		ties := w.Stats().Ties
		resumed := w.Elapsed()
		b.Resume()
		time.Sleep(time.Second)
		require.Zero(t, b.Held())
		require.Zero(t, w.Stats().Ties-ties, "six arrivals, each at a nanosecond of its own")
		for i := range time.Duration(3) {
			require.Equal(t, heard{at: resumed + 2*i, text: fmt.Sprint("in ", int(i))}, <-atServer)
			require.Equal(t, heard{at: resumed + 2*i + 1, text: fmt.Sprint("datagram ", int(i))}, <-datagrams)
		}
		h := <-atClient
		require.Equal(t, "out 0out 1out 2", h.text)
		soonAfter(t, resumed, h.at)
	})
}

// The reset of a process that is killed within a pause is held as well.
func TestKillWithinAPause(t *testing.T) {
	for _, off := range []bool{false, true} {
		t.Run(map[bool]string{false: "and on", true: "and power off"}[off], func(t *testing.T) { killWithinAPause(t, off) })
	}
}

func killWithinAPause(t *testing.T, off bool) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		a, b := w.NewMachine("a"), w.NewMachine("b")
		p := b.Start("server", func(p *sim.Process) error {
			return takeOne(p, func(net.Conn) error {
				<-p.Context().Done()
				return nil
			})
		})
		time.Sleep(time.Second)
		c, err := a.DialContext(context.Background(), "tcp", "b:7")
		require.NoError(t, err)
		all := listen(w, c)
		b.Pause()
		p.Kill()
		time.Sleep(10 * time.Second)
		resumed := w.Elapsed()
		if off { // nobody will say it any more
			b.PowerOff()
			require.ErrorIs(t, (<-all).err, syscall.ETIMEDOUT)
			return
		}
		b.Resume()
		end := <-all
		require.ErrorIs(t, end.err, syscall.ECONNRESET)
		soonAfter(t, resumed, end.at)
	})
}

// Power that fails within a pause takes with it what was held.
func TestPowerOffWithinAPause(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		a, b := w.NewMachine("a"), w.NewMachine("b")
		client, server := join(t, a, b)
		all := listen(w, client)
		b.Pause()
		write(t, server, "never sent")
		b.PowerOff()
		b.PowerOn()
		require.Zero(t, b.Held())
		end := <-all
		require.Empty(t, end.text)
		require.ErrorIs(t, end.err, syscall.ECONNRESET)
	})
}

// A pause that is shorter than the time-outs breaks nothing.
func TestShortPauseBreaksNothing(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		a, b := w.NewMachine("a"), w.NewMachine("b")
		client, server := join(t, a, b)
		atClient, atServer := listen(w, client), listen(w, server)
		b.Pause()
		time.Sleep(149 * time.Second)
		b.Resume()
		time.Sleep(time.Hour)
		b.Pause()
		write(t, client, "patience")
		time.Sleep(15 * time.Minute)
		b.Resume()
		require.Equal(t, "patience", (<-atServer).text)
		time.Sleep(time.Hour)
		require.Empty(t, atClient)
		write(t, server, "thanks")
		require.Equal(t, "thanks", (<-atClient).text)
	})
}

func TestPauseStopsTheClocks(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		p := w.NewMachine("m").Console()
		time.Sleep(time.Second)
		wall, elapsed := p.Now(), p.Elapsed()
		p.Machine().Pause()
		time.Sleep(time.Minute)
		require.Equal(t, wall, p.Now())
		require.Equal(t, elapsed, p.Elapsed())
		p.Machine().Resume()
		require.Equal(t, wall.Add(time.Minute), p.Now())
		require.Equal(t, elapsed+time.Minute, p.Elapsed())
	})
}

// A leader whose machine is paused past the end of its lease goes on believing
// in it by its own clock, and its orders reach others when it wakes up.
func TestStaleLeaderIsReachable(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		const lease = 10 * time.Second
		leader, node := w.NewMachine("leader"), w.NewMachine("node")
		orders := catch(t, node, 9)
		leader.Start("seed", func(p *sim.Process) error {
			c, err := p.DialContext(p.Context(), "udp", "node:9")
			if err != nil {
				return err
			}
			for granted := p.Elapsed(); p.Elapsed()-granted < lease; time.Sleep(time.Second) {
				if _, err := c.Write([]byte("an order")); err != nil {
					return err
				}
			}
			return nil
		})
		w.At(5*time.Second+time.Second/2, leader.Pause)
		w.At(65*time.Second, leader.Resume)
		time.Sleep(2 * time.Minute)
		require.Len(t, orders, 6+59, "one a second, also while it was paused")
		for i := range 6 + 59 {
			late := (<-orders).at >= 65*time.Second
			require.Equal(t, i >= 6, late, "order %d", i)
		}
		require.Empty(t, leader.Processes(), "and stopped when its clock jumped")
	})
}
