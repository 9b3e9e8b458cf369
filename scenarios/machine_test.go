package scenarios

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/fakes/dns"
	"github.com/espra/protoplex/nodes"
	"github.com/espra/protoplex/nodes/machinetest"
	"github.com/espra/protoplex/sim"
	"github.com/espra/protoplex/sim/names"
)

// A simulated machine keeps the same contract as the operating system.
func TestMachineConformance(t *testing.T) {
	for _, test := range machinetest.Tests() {
		t.Run(test.Name, func(t *testing.T) {
			sim.Test(t, func(t *testing.T, w *sim.World) {
				test.Run(t, newNamedWorld(t, w))
			})
		})
	}
}

// conformanceWorld makes machines without a name server.
type conformanceWorld struct{ w *sim.World }

func (c *conformanceWorld) Machine(t testing.TB, name string, roles nodes.Roles) nodes.Machine {
	return c.start(name, roles)
}

// start gives a process of a new machine.
func (c *conformanceWorld) start(name string, roles nodes.Roles, options ...sim.MachineOption) nodes.Machine {
	made := make(chan nodes.Machine)
	c.w.NewMachine(name, options...).Start("main", func(p *sim.Process) error {
		made <- newMachine(p, roles)
		<-p.Context().Done()
		return nil
	})
	return <-made
}

// Silent is an address at which a machine stands that is switched off.
func (c *conformanceWorld) Silent(t testing.TB) string {
	m := c.w.NewMachine("silent")
	m.PowerOff()
	return m.Addr().String() + ":80"
}

// namedWorld has one name server besides, for everything, and machines that ask
// it through a caching resolver each.
type namedWorld struct {
	conformanceWorld
	authority *dns.Authority
	zone      strings.Builder
}

var nameServer = netip.AddrFrom4([4]byte{10, 255, 0, 53})

func newNamedWorld(t *testing.T, w *sim.World) *namedWorld {
	c := &namedWorld{conformanceWorld: conformanceWorld{w}}
	c.zone.WriteString("$ORIGIN .\n@ 60 IN SOA ns. hostmaster. 1 60 60 60 60\n@ 60 IN NS ns.\nns. 60 IN A " + nameServer.String() + "\n")
	m := c.start("ns", nil, sim.WithAddr(nameServer))
	c.authority = dns.NewAuthority(m)
	c.serve(t)
	packets, err := m.ListenPacket("udp", ":53")
	require.NoError(t, err)
	streams, err := m.Listen("tcp", ":53")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	go func() { _ = c.authority.ServeUDP(ctx, packets) }() // until the world ends
	go func() { _ = c.authority.ServeTCP(ctx, streams) }()
	return c
}

func (c *namedWorld) serve(t testing.TB) {
	zone, err := dns.ParseZone(c.zone.String(), "zone")
	require.NoError(t, err)
	c.authority.Set(dns.NewZones(zone))
}

func (c *namedWorld) Machine(t testing.TB, name string, roles nodes.Roles) nodes.Machine {
	m := c.start(name, roles, sim.WithResolvers(netip.MustParseAddrPort("127.0.0.1:53")))
	c.w.Machine(name).Start("resolver", func(p *sim.Process) error {
		return names.Serve(p.Context(), p, names.Options{Roots: []netip.AddrPort{netip.AddrPortFrom(nameServer, 53)}})
	})
	return m
}

// Publish adds records that every machine can look up.
func (c *namedWorld) Publish(t testing.TB, kind, name string, values ...string) {
	for _, v := range values {
		switch kind {
		case "TXT":
			v = fmt.Sprintf("%q", v)
		case "CNAME":
			v += "."
		}
		fmt.Fprintf(&c.zone, "%s. 60 IN %s %s\n", name, kind, v)
	}
	c.serve(t)
}
