package sim_test

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/sim"
)

// Whoever observes deliveries sees those of the trace, and from when to when each
// travelled: an answer leaves at the nanosecond at which its question arrived.
func TestObserveDeliveries(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		client, server := w.NewMachine("client"), w.NewMachine("server")
		var seen []sim.Delivery
		w.ObserveDeliveries(func(d sim.Delivery) { seen = append(seen, d) })
		c, s := join(t, client, server)
		go func() {
			b := make([]byte, 10)
			if n, err := s.Read(b); err == nil {
				_, _ = s.Write(b[:n])
			}
		}()
		asked := w.Elapsed()
		write(t, c, "what?")
		_, err := c.Read(make([]byte, 10))
		require.NoError(t, err)
		answered := w.Elapsed()

		d, err := client.ListenPacket("udp", ":0")
		require.NoError(t, err)
		_ = catch(t, server, 9)
		_, err = d.WriteTo([]byte("abc"), net.UDPAddrFromAddrPort(netip.AddrPortFrom(server.Addr(), 9)))
		require.NoError(t, err)
		_, err = client.DialContext(t.Context(), "tcp", "server:99")
		require.Error(t, err)

		var told []string
		for _, d := range seen {
			told = append(told, fmt.Sprintf("%s %s %s>%s %d", d.Kind, d.Conn, d.From, d.To, d.Size))
			require.Less(t, d.Sent, d.At)
		}
		require.Equal(t, []string{
			"syn client>server:7#0 client>server -1",
			"established client>server:7#0 server>client -1",
			"seg client>server:7#0 client>server 5",
			"seg client>server:7#0 server>client 5",
			"dgram client>server:9/udp#0 client>server 3",
			"syn client>server:99#0 client>server -1",
			"refused client>server:99#0 server>client -1",
		}, told)
		require.Equal(t, seen[0].At, seen[1].Sent)
		require.Equal(t, asked, seen[2].Sent)
		require.Equal(t, seen[2].At, seen[3].Sent)
		require.Equal(t, answered, seen[3].At)
	})
}

// What waited for a route was sent when its process wrote it.
func TestObserveDelayedDelivery(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		client, server := w.NewMachine("client"), w.NewMachine("server")
		c, s := join(t, client, server)
		var seen []sim.Delivery
		w.ObserveDeliveries(func(d sim.Delivery) { seen = append(seen, d) })
		w.Link(client, server).Cut(time.Minute)
		wrote := w.Elapsed()
		write(t, c, "late")
		_, err := s.Read(make([]byte, 10))
		require.NoError(t, err)
		require.Len(t, seen, 1)
		require.Equal(t, wrote, seen[0].Sent)
		require.Greater(t, seen[0].At, wrote+time.Minute)
	})
}
