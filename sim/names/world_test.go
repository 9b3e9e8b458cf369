package names_test

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/sim"
	"github.com/espra/protoplex/sim/names"
)

// A whole tree of names on simulated machines: programs resolve through the
// machine that they are told to ask, and lose one of two name servers.
func TestInASimulatedWorld(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		authority := func(name, addr string, zones ...string) *sim.Machine {
			m := w.NewMachine(name, sim.WithAddr(netip.MustParseAddr(addr)))
			m.Start("dns", func(p *sim.Process) error { return answer(p, names.Zone(zones...)) })
			return m
		}
		authority("root", "192.0.2.1", ". SOA a.root. host. 1 1 1 1 60\ncom. NS a.gtld.com.\na.gtld.com. A 192.0.2.2\n")
		authority("com", "192.0.2.2", `com. SOA a.gtld.com. host. 1 1 1 1 60
espra.com. NS ns1.linode.com.
espra.com. NS ns1.ocean.com.
ns1.linode.com. A 192.0.2.11
ns1.ocean.com. A 192.0.2.12
`)
		espra := `espra.com. SOA ns1.linode.com. host. 1 1 1 1 30
web.espra.com. 60 A 192.0.2.80
www.espra.com. 60 CNAME web.espra.com.
`
		linode, ocean := authority("linode", "192.0.2.11", espra), authority("ocean", "192.0.2.12", espra)

		isp := w.NewMachine("isp")
		isp.Start("resolver", func(p *sim.Process) error {
			return names.Serve(p.Context(), p, names.Options{
				Listen: ":53", Now: p.Now,
				Roots: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:53")},
			})
		})
		home := w.NewMachine("home", sim.WithResolvers(netip.AddrPortFrom(isp.Addr(), 53)))
		time.Sleep(time.Second) // all have booted

		lookup := func(kind, name string) ([]string, error) {
			return home.Console().Lookup(context.Background(), kind, name)
		}
		got, err := lookup("A", "www.espra.com")
		require.NoError(t, err)
		require.Equal(t, []string{"192.0.2.80"}, got)
		got, err = lookup("CNAME", "www.espra.com")
		require.NoError(t, err)
		require.Equal(t, []string{"web.espra.com"}, got)

		linode.PowerOff()
		time.Sleep(2 * time.Minute)
		_, err = lookup("A", "www.espra.com")
		require.NoError(t, err)

		ocean.PowerOff()
		time.Sleep(2 * time.Minute)
		_, err = lookup("A", "www.espra.com")
		var de *net.DNSError
		require.ErrorAs(t, err, &de)
		require.True(t, de.IsTemporary)

		isp.PowerOff()
		start := time.Now()
		_, err = lookup("A", "www.espra.com")
		require.ErrorAs(t, err, &de)
		require.True(t, de.IsTimeout)
		require.InDelta(t, 10*time.Second, time.Since(start), float64(5*time.Millisecond))
	})
}

func answer(p *sim.Process, zone func(*dns.Msg, bool) *dns.Msg) error {
	conn, err := p.ListenPacket("udp", ":53")
	if err != nil {
		return err
	}
	buf := make([]byte, 1500)
	for {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			return err
		}
		q := new(dns.Msg)
		if q.Unpack(buf[:n]) != nil {
			continue
		}
		wire, err := zone(q, false).Pack()
		if err != nil {
			return err
		}
		if _, err := conn.WriteTo(wire, from); err != nil {
			return err
		}
	}
}
