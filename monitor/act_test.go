package monitor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/monitor/zone"
)

// A zone that holds little more than the homes moves as any other, away and home.
func TestSmallZoneMoves(t *testing.T) {
	hosts := []string{"www.espra.com", "us-1.live.espra.com", "us-2.live.espra.com"}
	w := newWorld(t, func(c *Config) {
		for _, host := range hosts[1:] {
			h := c.Homes[0]
			h.Host = host
			c.Homes = append(c.Homes, h)
		}
	})
	w.zone.records = []zone.Record{{ID: "1", Name: "espra.com", Type: "MX"}}
	for _, host := range hosts {
		w.zone.records = append(w.zone.records, zone.Record{ID: "t " + host, Name: "_home." + host, Type: "TXT", Value: "v=home1 region=us-east epoch=1"},
			zone.Record{ID: "c " + host, Name: host, Type: "CNAME", Value: "us-east.elb"})
	}
	live := func(region string, epoch int) {
		for k := range hosts {
			require.Equal(t, fmt.Sprintf("v=home1 region=%s epoch=%d", region, epoch), w.zone.records[1+2*k].Value)
			require.Equal(t, region+".elb", w.zone.records[2+2*k].Value)
		}
	}
	w.run(2 * time.Minute)
	w.lose("us-east")
	w.run(2 * time.Minute)
	live("eu-west", 2)
	w.heal()
	w.run(time.Minute)
	w.lose("eu-west") // before they are home
	w.run(2 * time.Minute)
	live("us-east", 3)
	w.run(10 * time.Minute)
	require.Empty(t, w.gateway.to(ana, "ESPRA STUCK"))
}

// A region that is lost explains what goes in a host that lived there, also when that
// lives elsewhere by then, and not what goes in one that did not.
func TestLostRegionExplainsItsOwn(t *testing.T) {
	w := newWorld(t, nil)
	w.serve()
	w.run(2 * time.Minute)
	w.lose("eu-west")
	w.run(30 * time.Minute)
	w.down["www"] = true // which lives in us-east
	w.run(2 * time.Minute)
	require.Len(t, w.gateway.to(ana, "ESPRA DOWN www"), 1)
	w.heal()
	w.run(20 * time.Minute)

	w.lose("us-east")
	w.run(5 * time.Minute)
	require.Contains(t, w.zone.records[0].Value, "region=eu-west")
	w.heal()
	w.run(time.Minute)
	w.down["eu-west-web"], w.down["www"] = true, true
	w.run(5 * time.Minute)
	require.Contains(t, w.zone.records[0].Value, "region=us-east")
	require.Len(t, w.gateway.to(ana, "ESPRA DOWN www"), 1, "it went with eu-west")
}

// serve gives the zone a name server, which shows at once what was changed.
func (w *world) serve() {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(w.t, err)
	server := &dns.Server{PacketConn: conn, Handler: dns.HandlerFunc(func(out dns.ResponseWriter, q *dns.Msg) {
		answer := new(dns.Msg).SetReply(q)
		answer.Authoritative = true
		w.zone.mu.Lock()
		defer w.zone.mu.Unlock()
		for _, r := range w.zone.records {
			h := dns.RR_Header{Name: q.Question[0].Name, Rrtype: q.Question[0].Qtype, Class: dns.ClassINET, Ttl: 60}
			switch {
			case dns.Fqdn(r.Name) != h.Name || dns.TypeToString[h.Rrtype] != r.Type:
			case r.Type == "TXT":
				answer.Answer = append(answer.Answer, &dns.TXT{Hdr: h, Txt: []string{r.Value}})
			case r.Type == "CNAME":
				answer.Answer = append(answer.Answer, &dns.CNAME{Hdr: h, Target: dns.Fqdn(r.Value)})
			}
		}
		_ = out.WriteMsg(answer) // else the question is asked again
	})}
	stopped := make(chan error, 1)
	go func() { stopped <- server.ActivateAndServe() }()
	w.t.Cleanup(func() {
		require.NoError(w.t, conn.Close())
		<-stopped
	})
	for _, s := range w.vantages {
		s.zones[0].authorities = []string{conn.LocalAddr().String()}
	}
}

// Whatever keeps names from moving is told: at once if only a person can help, and
// else when it has lasted.
func TestStuckIsTold(t *testing.T) {
	away := errors.New("503 Service Unavailable")
	for _, c := range []struct {
		name        string
		read, write error
		after       time.Duration // of the page: within which it is told
		want        string
	}{
		{"denied", nil, fmt.Errorf("change: %w", zone.ErrDenied), 2 * time.Minute, "linode denies our key"},
		{"no such zone", fmt.Errorf("list: %w", zone.ErrNotFound), nil, 2 * time.Minute, "linode has no such zone"},
		{"malformed", fmt.Errorf("list: %w", zone.ErrMalformed), nil, 2 * time.Minute, "linode answers nonsense"},
		{"away", away, nil, 12 * time.Minute, "linode takes no change"},
		{"takes no change", nil, away, 12 * time.Minute, "linode takes no change"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, nil)
			w.serve()
			w.run(2 * time.Minute)
			w.zone.fail, w.zone.writes = c.read, c.write
			w.lose("us-east")
			w.run(c.after / 2)
			require.Empty(t, w.gateway.to(ana, "ESPRA STUCK"), "it may pass")
			w.run(c.after / 2)
			texts := w.gateway.to(ana, "ESPRA STUCK")
			require.Len(t, texts, 1)
			require.Contains(t, texts[0], "DNS not moved: "+c.want+". ")
			w.run(10 * time.Minute)
			require.Len(t, w.gateway.to(ana, "ESPRA STUCK"), 1)
		})
	}
}

// A zone that nobody can keep any more costs nothing until a region is lost: it is
// shown at once, told to the first of the admins after an hour, and closed when it is
// well. Every vantage tries its own key.
func TestDeniedKeyInQuietTimes(t *testing.T) {
	if testing.Short() {
		t.Skip("it is long under the race detector")
	}
	w := newWorld(t, func(c *Config) {
		c.Escalate = []Level{{Admins: []string{"ana"}}, {After: 10 * time.Minute, Admins: []string{"raj"}}}
		c.Providers = []Provider{{Name: "linode", URL: "http://linode", Token: "/secret", Zone: "espra.com"}}
	})
	w.serve()
	shown := func(s *seat) (states []string) {
		for _, subject := range s.shown().Subjects {
			if subject.Name == "zone-linode" {
				states = append(states, string(subject.State)+" "+string(subject.Targets[0].State))
			}
		}
		return states
	}
	w.run(10 * time.Minute)
	require.Empty(t, shown(w.vantages[0]), "while nothing is wrong there is nothing to show")
	w.zone.fail = fmt.Errorf("list: %w", zone.ErrDenied)
	w.run(6 * time.Minute)
	require.Equal(t, []string{"unknown down"}, shown(w.vantages[0]))
	w.run(54 * time.Minute)
	require.Empty(t, w.gateway.texts, "it may be on its way to be mended")
	w.run(15 * time.Minute)
	texts := w.gateway.to(ana, "")
	require.Len(t, texts, 1)
	require.Regexp(t, `^twilio ESPRA DOWN zone-linode since 14:1\d:\d\dZ, [23]/3 vantages\. Saw: linode denies our key\. `, texts[0])
	require.Equal(t, []string{"down down"}, shown(w.vantages[2]))
	w.run(6 * time.Hour)
	require.Len(t, w.gateway.texts, 1, "nobody else is woken for it, and nobody twice")
	w.zone.fail = nil
	w.run(15 * time.Minute)
	require.Len(t, w.gateway.to(ana, "ESPRA OK zone-linode"), 1)
	require.Equal(t, []string{"up up"}, shown(w.vantages[2]))

	// One key out of three: another vantage would act.
	w.vantages[0].zones[0].zone = deniedZone{w.vantages[0].zones[0].zone}
	w.run(3 * time.Hour)
	require.Len(t, w.gateway.texts, 2)
	require.Equal(t, []string{"up down"}, shown(w.vantages[0]))
}

// Keys are read at the start, so whoever mends one starts the vantages again: what
// they told of it before ends all the same, and what comes later is told again.
func TestDeniedKeyIsReplaced(t *testing.T) {
	if testing.Short() {
		t.Skip("it is long under the race detector")
	}
	w := newWorld(t, func(c *Config) {
		c.SilentAfter = 10 * time.Minute
		c.Providers = []Provider{{Name: "linode", URL: "http://linode", Token: "/secret", Zone: "espra.com"}}
	})
	w.serve()
	servers := w.vantages[0].zones[0].authorities
	deny := func() {
		for _, s := range w.vantages {
			s.zones[0].zone = deniedZone{s.zones[0].zone}
		}
		w.run(30 * time.Minute)
	}
	w.run(2 * time.Minute)
	deny()
	require.Len(t, w.gateway.to(ana, "ESPRA DOWN zone-linode"), 1)
	delete(w.vantages[1].disk.files, "/state/monitor.json")
	for _, s := range w.vantages {
		s.boot()
		s.zones[0].authorities = servers
		w.run(time.Minute)
	}
	w.run(10 * time.Minute)
	require.Len(t, w.gateway.to(ana, "ESPRA OK zone-linode"), 1)
	w.run(time.Hour)
	deny()
	require.Len(t, w.gateway.to(ana, "ESPRA DOWN zone-linode"), 2)
}

// deniedZone is a zone with a key that no longer works.
type deniedZone struct{ zone.Zone }

func (deniedZone) Records(context.Context) ([]zone.Record, error) { return nil, zone.ErrDenied }

// What comes again with every retry is told once, so that the story of an incident
// has room for the rest.
func TestRetriesAreToldOnce(t *testing.T) {
	w := newWorld(t, nil)
	w.serve()
	w.run(2 * time.Minute)
	w.zone.writes = errors.New("503 Service Unavailable")
	w.lose("us-east")
	w.run(5 * time.Minute)
	told := func(what, text string) (n int) {
		for _, m := range w.vantages[0].incidents["us-east"].Moments {
			if strings.HasPrefix(m.What, what) && strings.Contains(m.Text, text) {
				n++
			}
		}
		return n
	}
	require.Equal(t, 1, told("plan", "www.espra.com to eu-west, epoch 2"))
	require.Equal(t, 1, told("half changed", "linode: 0 of 2: "))
	w.zone.writes = errors.New("500 Internal Server Error")
	w.run(time.Minute)
	require.Equal(t, 2, told("half changed", ""), "another error is news")
	w.zone.writes = nil
	w.run(time.Minute)
	require.Equal(t, 1, told("home ", "www.espra.com: eu-west, epoch 2"), "set, or confirmed if another vantage did it")
}
