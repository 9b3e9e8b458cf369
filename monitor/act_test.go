package monitor

import (
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
