package scenarios

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"testing"
	"time"

	mdns "github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/monitor/query"
	"github.com/espra/protoplex/monitor/zone"
	"github.com/espra/protoplex/nodes"
	"github.com/espra/protoplex/scenarios/oracle"
	"github.com/espra/protoplex/scenarios/story"
	"github.com/espra/protoplex/sim"
)

// prepared boots a story, and gives the platform and the faults.
func prepared(t *testing.T, w *sim.World, s *story.Story) (*platform, []strike) {
	p, err := boot(w, s)
	require.NoError(t, err)
	all, err := p.strikes()
	require.NoError(t, err)
	return p, all
}

// struck boots a story with the faults, and gives the platform, the strikes by id,
// and a process on each of the named machines.
func struck(t *testing.T, w *sim.World, s *story.Story, on ...string) (*platform, *watcher, map[string]*strike, []nodes.Machine) {
	p, all := prepared(t, w, s)
	watch := newWatcher(p, false)
	w.Observe(watch.event)
	log, err := p.startClients()
	require.NoError(t, err)
	require.NotNil(t, log)
	time.Sleep(10 * time.Second)
	byID := map[string]*strike{}
	for i := range all {
		byID[all[i].event.ID] = &all[i]
	}
	var machines []nodes.Machine
	for _, name := range on {
		made := make(chan nodes.Machine)
		p.hosts[name].Start("tester", func(proc *sim.Process) error {
			made <- newMachine(proc, nil)
			<-proc.Done()
			return nil
		})
		machines = append(machines, <-made)
	}
	return p, watch, byID, machines
}

// troubled is a story with faults that the test strikes itself.
func troubled(t *testing.T, timeline string) *story.Story {
	s, err := story.Parse("troubled.yaml", []byte(`format: 1
title: faults of names
story: The test strikes.
starts: 2026-03-02T14:00:00Z
lasts: 1h
topology:
  regions:
    us-east: {zones: 1, proxy: 1, live: 1}
  vps: [fremont]
workload:
  - {id: few, browsers: 1, home: us-1.live, do: [load the apex page every 20s]}
  - {id: many, browsers: 1, home: us-1.live, do: [load the apex page every 20s]}
timeline:
`+timeline+`
expect: {always: [dns-points-somewhere]}
`))
	require.NoError(t, err)
	return s
}

// asks gives what a server says about the addresses of a name, in a word and a
// number.
func asks(t *testing.T, m nodes.Machine, server, name string) string {
	return asksFor(t, m, server, name, mdns.TypeA)
}

func asksFor(t *testing.T, m nodes.Machine, server, name string, kind uint16) string {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	reply, err := query.Ask(ctx, m, query.Question{Server: server + ":53", Name: name, Type: kind, Timeout: 3 * time.Second})
	require.NoError(t, err)
	return fmt.Sprint(mdns.RcodeToString[reply.Rcode], " ", len(reply.Answer))
}

func TestWrongAnswers(t *testing.T) {
	s := troubled(t, `
  - {id: servfail, at: 1m, for: 1m, fault: dns-servfail, on: provider linode}
  - {id: nxdomain, at: 1m, for: 1m, fault: dns-nxdomain, on: provider linode}
  - {id: empty, at: 1m, for: 1m, fault: dns-empty-answer, on: provider linode}
  - {id: lame, at: 1m, for: 1m, fault: dns-lame, on: provider linode}
  - {id: no-region, at: 1m, for: 1m, fault: dns-empty-answer, on: region us-east}
`)
	sim.TestWith(t, sim.Options{Start: s.Starts}, func(t *testing.T, w *sim.World) {
		p, _, strikes, machines := struck(t, w, s, "fremont")
		m := machines[0]
		linode, ocean, cloud := p.addr("linode-ns3").String(), p.addr("digitalocean-ns1").String(), p.addr("cloud-dns-2").String()
		for id, want := range map[string]string{"servfail": "SERVFAIL 0", "nxdomain": "NXDOMAIN 0", "empty": "NOERROR 0", "lame": "REFUSED 0"} {
			f := strikes[id]
			require.Equal(t, "NOERROR 1", asks(t, m, linode, "espra.com"))
			require.Zero(t, f.touched())
			f.begin()
			require.Equal(t, want, asks(t, m, linode, "espra.com"))
			require.Equal(t, want, asks(t, m, linode, "www.espra.com"))
			require.Equal(t, "NOERROR 1", asks(t, m, linode, "api.linode.com"), "the provider's own names are well")
			require.Equal(t, "NOERROR 1", asks(t, m, ocean, "espra.com"))
			f.heal()
			require.Equal(t, "NOERROR 1", asks(t, m, linode, "espra.com"))
			require.GreaterOrEqual(t, f.touched(), uint64(2))
		}
		f := strikes["no-region"]
		f.begin()
		require.Equal(t, "NOERROR 0", asks(t, m, cloud, balancerName("us-east")))
		require.Equal(t, "NOERROR 1", asks(t, m, linode, "www.espra.com"), "an alias is there, and leads nowhere")
		f.heal()
		require.Equal(t, "NOERROR 1", asks(t, m, cloud, balancerName("us-east")))
		require.NotZero(t, f.touched())
	})
}

// A change is served after so much longer.
func TestZoneSpreadsSlowly(t *testing.T) {
	s := troubled(t, "  - {id: it, at: 1m, for: 10m, fault: zone-spreads-slowly, on: provider linode, takes: 3m}\n")
	sim.TestWith(t, sim.Options{Start: s.Starts}, func(t *testing.T, w *sim.World) {
		p, _, strikes, machines := struck(t, w, s, "many-01")
		server := p.addr("linode-ns3").String()
		write := func(name string) (took time.Duration) {
			at := w.Elapsed()
			p.console(strikes["it"].event, func(ctx context.Context, z zone.Zone) error {
				return z.Create(ctx, zone.Record{Name: name, Type: "A", Value: "192.0.2.9", TTL: 5 * time.Minute})
			})
			for asks(t, machines[0], server, name) != "NOERROR 1" {
				time.Sleep(time.Second)
			}
			return w.Elapsed() - at
		}
		require.Less(t, write("a.espra.com"), 20*time.Second)
		strikes["it"].begin()
		took := write("b.espra.com")
		require.Greater(t, took, 3*time.Minute)
		require.Less(t, took, 3*time.Minute+30*time.Second)
		require.EqualValues(t, 5, strikes["it"].touched(), "each of its servers")
		strikes["it"].heal()
		require.Less(t, write("c.espra.com"), 20*time.Second)
	})
}

// Those whose resolvers ignore times to live have an answer that others have no
// more, for as long as it is kept.
func TestStaleResolver(t *testing.T) {
	s := troubled(t, `
  - {id: stale, at: 1m, for: 20m, fault: stale-resolver, on: clients few, keeps: 5m}
  - {id: gone, at: 1m, for: 20m, fault: dns-nxdomain, on: region us-east}
`)
	sim.TestWith(t, sim.Options{Start: s.Starts}, func(t *testing.T, w *sim.World) {
		_, _, strikes, machines := struck(t, w, s, "few-01", "many-01")
		finds := func(m nodes.Machine) bool {
			_, err := m.Lookup(t.Context(), "A", balancerName("us-east"))
			return err == nil
		}
		few, many := machines[0], machines[1]
		require.True(t, finds(few) && finds(many))
		strikes["stale"].begin()
		strikes["gone"].begin()
		time.Sleep(2 * time.Minute)
		require.True(t, finds(few))
		require.False(t, finds(many))
		require.NotZero(t, strikes["stale"].touched())
		time.Sleep(4 * time.Minute)
		require.False(t, finds(few), "it has run out")
		strikes["gone"].heal()
		time.Sleep(2 * time.Minute)
		require.False(t, finds(few), "what there is not is kept as well")
		require.True(t, finds(many))
		strikes["stale"].heal()
		require.True(t, finds(few))
	})
}

// Who believes false routes is told lies and sees a certificate that nobody
// vouches for. Who goes on all the same is found out.
func TestHijack(t *testing.T) {
	s := troubled(t, `
  - {id: few-astray, at: 1m, for: 1m, fault: dns-hijack, on: provider linode, from: clients few}
  - {id: ocean-too, at: 1m, for: 1m, fault: dns-hijack, on: provider digitalocean, from: clients few}
`)
	sim.TestWith(t, sim.Options{Start: s.Starts}, func(t *testing.T, w *sim.World) {
		p, watch, strikes, machines := struck(t, w, s, "few-01", "many-01")
		impostor := p.addr(impostorName).String()
		leads := func(m nodes.Machine, name string) bool {
			found, err := m.Lookup(t.Context(), "A", name)
			require.NoError(t, err)
			return len(found) == 1 && found[0] == impostor
		}
		strikes["few-astray"].begin()
		strikes["ocean-too"].begin()
		time.Sleep(2 * time.Minute)
		require.True(t, leads(machines[0], "espra.com"))
		require.True(t, leads(machines[0], "us-1.live.espra.com"))
		require.False(t, leads(machines[1], "espra.com"))
		require.NotZero(t, strikes["few-astray"].touched()+strikes["ocean-too"].touched())

		refused := len(watch.visits)
		require.NotZero(t, refused, "the browser was there")
		require.True(t, oracle.ImpostorRefused(oracle.History{Visits: watch.visits}).OK)
		raw, err := machines[0].DialContext(t.Context(), "tcp", impostor+":443")
		require.NoError(t, err)
		conn := tls.Client(raw, &tls.Config{InsecureSkipVerify: true})
		require.NoError(t, conn.Handshake())
		require.NoError(t, conn.Close())
		time.Sleep(time.Second)
		require.Len(t, watch.visits, refused+1)
		require.Equal(t, oracle.Visit{At: watch.visits[refused].At, From: "few-01", Believed: true}, watch.visits[refused])

		strikes["few-astray"].heal()
		strikes["ocean-too"].heal()
		time.Sleep(2 * time.Minute)
		require.False(t, leads(machines[0], "espra.com"))
	})
}

// Certificates that end soon take the place of others, and are renewed, without a
// process that starts again.
func TestCertificateEnds(t *testing.T) {
	s := troubled(t, `
  - {id: end, at: 1m, for: 10m, fault: certificate-ends, on: role proxy, in: 1h}
`)
	sim.TestWith(t, sim.Options{Start: s.Starts}, func(t *testing.T, w *sim.World) {
		p, _, strikes, machines := struck(t, w, s, "many-01")
		roots := x509.NewCertPool()
		require.True(t, roots.AppendCertsFromPEM(p.ca.RootsPEM()))
		left := func() time.Duration {
			raw, err := machines[0].DialContext(t.Context(), "tcp", p.addr("us-east-lb-a").String()+":443")
			require.NoError(t, err)
			conn := tls.Client(raw, &tls.Config{RootCAs: roots, ServerName: story.WWW, Time: machines[0].Now})
			require.NoError(t, conn.Handshake())
			defer conn.Close()
			return conn.ConnectionState().PeerCertificates[0].NotAfter.Sub(machines[0].Now())
		}
		processes := func() (names []string) {
			for _, proc := range p.hosts["us-east-proxy-1"].Processes() {
				names = append(names, proc.Name())
			}
			return names
		}
		before := processes()
		require.Greater(t, left(), 24*time.Hour)
		strikes["end"].begin()
		time.Sleep(2 * time.Minute)
		require.InDelta(t, float64(58*time.Minute), float64(left()), float64(2*time.Second))
		strikes["end"].heal()
		time.Sleep(2 * time.Minute)
		require.Greater(t, left(), 24*time.Hour)
		require.Equal(t, before, processes())
		require.Equal(t, uint64(2), strikes["end"].touched())
	})
}
