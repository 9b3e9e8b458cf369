package scenarios

import (
	"testing"
	"time"

	mdns "github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/scenarios/story"
	"github.com/espra/protoplex/sim"
)

// What is deleted at a console is gone at the authorities, of the kinds that were
// chosen, and what nobody has written again by the end is put back.
func TestRecordsDeleted(t *testing.T) {
	for only, want := range map[string][2]string{"": {"NXDOMAIN 0", "NXDOMAIN 0"}, ", only: homes": {"NOERROR 1", "NXDOMAIN 0"}, ", only: addresses": {"NOERROR 0", "NOERROR 1"}} {
		t.Run("records-deleted"+only, func(t *testing.T) {
			s := troubled(t, "  - {id: it, at: 1m, for: 1m, fault: records-deleted, on: provider linode"+only+"}\n")
			sim.TestWith(t, sim.Options{Start: s.Starts}, func(t *testing.T, w *sim.World) {
				p, _, strikes, machines := struck(t, w, s, "many-01")
				for _, proc := range p.hosts["fremont"].Processes() { // nobody mends it
					if proc.Name() == "monitor" {
						p.hosts["fremont"].PowerOff()
					}
				}
				linode, ocean := p.addr("linode-ns3").String(), p.addr("digitalocean-ns1").String()
				kinds := func(server string) [2]string {
					return [2]string{
						asksFor(t, machines[0], server, "www.espra.com", mdns.TypeCNAME), asksFor(t, machines[0], server, "_home.www.espra.com", mdns.TypeTXT),
					}
				}
				all := [2]string{"NOERROR 1", "NOERROR 1"}
				require.Equal(t, all, kinds(linode))
				it := strikes["it"]
				it.begin()
				time.Sleep(time.Minute)
				require.Equal(t, want, kinds(linode))
				require.Equal(t, all, kinds(ocean))
				require.Equal(t, "NOERROR 1", asksFor(t, machines[0], linode, "espra.com", mdns.TypeMX), "what the monitors do not keep is there")
				require.Contains(t, []uint64{2, 4}, it.touched(), "of www and us-1.live")
				it.heal()
				time.Sleep(time.Minute)
				require.Equal(t, all, kinds(linode))
			})
		})
	}
}

// Nobody above the zone knows it any more, and everybody else's names are well.
func TestDomainExpired(t *testing.T) {
	s := troubled(t, "  - {id: it, at: 1m, for: 1m, fault: domain-expired, on: role com}\n")
	sim.TestWith(t, sim.Options{Start: s.Starts}, func(t *testing.T, w *sim.World) {
		p, watch, strikes, machines := struck(t, w, s, "many-01")
		com := p.addr("com-1").String()
		it := strikes["it"]
		it.begin()
		require.Equal(t, "NXDOMAIN 0", asks(t, machines[0], com, "www.espra.com"))
		require.Equal(t, "NXDOMAIN 0", asksFor(t, machines[0], com, "espra.com", mdns.TypeNS))
		require.Equal(t, "NOERROR 0", asksFor(t, machines[0], com, "linode.com", mdns.TypeNS), "a referral")
		time.Sleep(time.Minute)
		require.NotZero(t, it.touched())
		require.NotEmpty(t, watch.texts, "somebody is told")
		require.Contains(t, watch.texts[0].Body, "ESPRA DOWN domain since")
		it.heal()
		require.Equal(t, "NOERROR 0", asks(t, machines[0], com, "www.espra.com"))
	})
}

// Nodes carry out what an operator orders in their epoch, each time anew, and are
// started again once they have drained. A machine that is off is given up.
func TestDrainOrdered(t *testing.T) {
	s, err := story.Parse("s.yaml", []byte(`format: 1
title: orders of people
story: Somebody drains nodes.
starts: 2026-03-02T14:00:00Z
lasts: 6m
topology: {regions: {us-east: {zones: 1, proxy: 1, live: 2, seed: 1}}, vps: []}
timeline:
  - {id: off, at: 20s, fault: machine-lost, on: machine us-east-live-2}
  - {id: it, at: 1m, fault: drain-ordered, on: role live, thinks: 5s, repeat: {times: 2, every: 2m}}
  - {id: proxies, at: 1m, fault: drain-ordered, on: role proxy}
expect: {always: [dns-points-somewhere]}
`))
	require.NoError(t, err)
	sim.TestWith(t, sim.Options{Start: s.Starts}, func(t *testing.T, w *sim.World) {
		seen := observed(w)
		report, err := Play(w, s, Options{})
		require.NoError(t, err)
		require.Empty(t, report.Idle)
		ordered := seen().of("log: order applied", "us-east-live-1")
		require.Len(t, ordered, 2)
		for i, at := range []time.Duration{65 * time.Second, 185 * time.Second} {
			require.InDelta(t, at, ordered[i].At, float64(time.Second), "after some thought")
			require.Equal(t, "admin/it", ordered[i].Get("peer"))
			require.Equal(t, "1", ordered[i].Get("epoch"))
		}
		require.Len(t, seen().of("log: finishing", "us-east-live-1"), 2)
		require.Len(t, seen().of("log: listening", "us-east-live-1"), 3, "init starts it again")
		require.Len(t, seen().of("log: order applied", "us-east-proxy-1"), 1)
		require.Len(t, seen().of("log: node ended", "us-east-proxy-1"), 1)
		require.Len(t, seen().of("log: operator gave up", "us-east-seed-1"), 2)
		require.Len(t, report.History.Orders, 3)
	})
}
