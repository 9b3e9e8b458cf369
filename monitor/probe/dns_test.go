package probe_test

import (
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/monitor/probe"
)

func TestDNS(t *testing.T) {
	m := machine(t)
	var lost atomic.Int32
	server := nameServer(t, func(w dns.ResponseWriter, q *dns.Msg) {
		a := new(dns.Msg)
		a.SetReply(q)
		a.Authoritative = true
		rr, _ := dns.NewRR(q.Question[0].Name + " 60 SOA ns. host. 1 1 1 1 1")
		a.Answer = append(a.Answer, rr)
		switch q.Question[0].Name {
		case "silent.":
			return
		case "lost.": // the first datagram
			if lost.Add(1) == 1 {
				return
			}
		case "refused.":
			a.Rcode = dns.RcodeRefused
		case "cached.":
			a.Authoritative = false
		case "empty.":
			a.Answer = nil
		case "long.":
			if _, udp := w.RemoteAddr().(*net.UDPAddr); udp {
				a.Answer, a.Truncated = nil, true
			}
		case "forged.": // a stray answer before the real one
			stray := a.Copy()
			stray.Id++
			stray.Rcode = dns.RcodeServerFailure
			w.WriteMsg(stray)
		case "other.":
			a.Question[0].Name = "elsewhere."
		}
		w.WriteMsg(a)
	})
	for name, failed := range map[string]string{
		"good": "", "lost": "", "long": "", "forged": "", "silent": probe.FirstByte, "other": probe.FirstByte,
		"refused": probe.Check, "cached": probe.Check, "empty": probe.Check,
	} {
		t.Run(name, func(t *testing.T) {
			for range 2 {
				r := see(t, m, probe.Target{Kind: "dns", Server: server, Zone: name}, probe.Options{Limit: 150 * time.Millisecond})
				require.Equal(t, failed, r.Failed(), "%v", r.Err)
				require.Equal(t, []string{probe.FirstByte}, phases(r))
			}
		})
	}
}

// zone serves records as an authority; what is not there does not exist.
func zone(t *testing.T, records ...string) string {
	return nameServer(t, func(w dns.ResponseWriter, q *dns.Msg) {
		a := new(dns.Msg)
		a.SetReply(q)
		a.Authoritative = true
		a.Rcode = dns.RcodeNameError
		for _, text := range records {
			rr, err := dns.NewRR(text)
			if err != nil || rr.Header().Name != q.Question[0].Name {
				continue
			}
			a.Rcode = dns.RcodeSuccess
			if h := rr.Header(); h.Rrtype == q.Question[0].Qtype || h.Rrtype == dns.TypeCNAME {
				a.Answer = append(a.Answer, rr)
			}
		}
		w.WriteMsg(a)
	})
}

func TestDNSContent(t *testing.T) {
	m := machine(t)
	server := zone(t, "espra.com. 60 A 192.0.2.1", "espra.com. 60 A 192.0.2.2", `espra.com. 60 TXT "v=spf1 " "mx -all"`,
		"espra.com. 60 MX 10 Mail.espra.com.", "www.espra.com. 60 CNAME us-east.elb.amazonaws.com.")
	for _, tt := range []struct {
		name   string
		target probe.Target
		want   string // in the error
	}{
		{"in any order", probe.Target{Zone: "espra.com", Type: "A", Values: []string{"192.0.2.2", "192.0.2.1"}}, ""},
		{"one too many", probe.Target{Zone: "espra.com", Type: "A", Values: []string{"192.0.2.2"}}, "answer has 192.0.2.1"},
		{"one too few", probe.Target{Zone: "espra.com", Type: "A", Values: []string{"192.0.2.1", "192.0.2.2", "192.0.2.3"}}, "answer lacks 192.0.2.3"},
		{"none wanted", probe.Target{Zone: "espra.com", Type: "AAAA", Values: []string{}}, ""},
		{"a text in parts", probe.Target{Zone: "espra.com", Type: "TXT", Values: []string{"v=spf1 mx -all"}}, ""},
		{"another text", probe.Target{Zone: "espra.com", Type: "TXT", Values: []string{"v=spf1 -all"}}, `answer has "v=spf1 " "mx -all"`},
		{"names in any case", probe.Target{Zone: "espra.com", Type: "MX", Values: []string{"10 mail.espra.com"}}, ""},
		{"a CNAME instead", probe.Target{Zone: "www.espra.com", Type: "A", Values: []string{"192.0.2.1"}}, "answer lacks 192.0.2.1"},
		{"the CNAME itself", probe.Target{Zone: "www.espra.com", Type: "CNAME", Values: []string{"us-east.elb.amazonaws.com."}}, ""},
		{"what must not exist", probe.Target{Zone: "none.espra.com", Type: "A", Rcode: "NXDOMAIN"}, ""},
		{"what exists", probe.Target{Zone: "espra.com", Type: "A", Rcode: "NXDOMAIN"}, "rcode NOERROR, want NXDOMAIN"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.target.Kind, tt.target.Server = "dns", server
			r := see(t, m, tt.target, probe.Options{Limit: time.Second})
			if tt.want == "" {
				require.NoError(t, r.Err)
				return
			}
			require.ErrorContains(t, r.Err, tt.want)
			require.Equal(t, probe.Check, r.Failed())
		})
	}
}

// Of several servers all must answer, and the error names those that do not.
func TestDNSAsksEveryAuthority(t *testing.T) {
	m := machine(t)
	good := []string{zone(t, "espra.com. 60 A 192.0.2.1"), zone(t, "espra.com. 60 A 192.0.2.1")}
	old, lame := zone(t, "espra.com. 60 A 192.0.2.9"), zone(t)
	target := probe.Target{Kind: "dns", Zone: "espra.com", Type: "A", Values: []string{"192.0.2.1"}, Servers: good}
	require.NoError(t, see(t, m, target, probe.Options{Limit: time.Second}).Err)

	target.Servers = []string{good[0], old, lame, good[1]}
	r := see(t, m, target, probe.Options{Limit: time.Second})
	require.EqualError(t, r.Err, "check: 2 of 4 servers: "+old+": answer has 192.0.2.9; "+lame+": rcode NXDOMAIN, want NOERROR")
	require.Equal(t, []string{old, lame}, r.Parts)
	target.Servers = []string{lame, lame, lame, lame, good[0]}
	require.ErrorContains(t, see(t, m, target, probe.Options{Limit: time.Second}).Err, "4 of 5 servers: ")
}

// Of further names one server is asked in each round, one after another.
func TestFurtherNames(t *testing.T) {
	m := machine(t)
	const a, www = "espra.com. 60 IN A 192.0.2.1", "www.espra.com. 60 IN CNAME us-east.elb.amazonaws.com."
	target := probe.Target{
		Kind: "dns", Zone: "espra.com", Type: "A", Also: []string{"www.espra.com", "espra.com"},
		Servers: []string{zone(t, a, www), zone(t, a), zone(t, a, www)},
	}
	require.Empty(t, target.Check())
	target.Name = "names"
	look, err := target.Probe(m, probe.Options{Limit: time.Second})
	require.NoError(t, err)
	for n := range uint64(6) {
		r := look(t.Context(), n)
		if n%3 != 1 {
			require.NoError(t, r.Err)
			continue
		}
		require.Equal(t, probe.Check, r.Failed())
		require.EqualError(t, r.Err, "check: 1 of 3 servers: "+target.Servers[1]+": www.espra.com: rcode NXDOMAIN, want NOERROR")
		require.Equal(t, []string{"www.espra.com"}, r.Parts, "whoever denies it, it is the name that fails")
	}
}

// A parent refers to the name servers of a zone, or denies that there is one.
func TestDelegation(t *testing.T) {
	m := machine(t)
	parent := nameServer(t, func(w dns.ResponseWriter, q *dns.Msg) {
		a := new(dns.Msg)
		a.SetReply(q)
		add := func(to *[]dns.RR, text string) {
			rr, err := dns.NewRR(text)
			require.NoError(t, err)
			*to = append(*to, rr)
		}
		switch q.Question[0].Name {
		case "gone.com.":
			a.Authoritative, a.Rcode = true, dns.RcodeNameError
		case "empty.com.":
			a.Authoritative = true
			add(&a.Ns, "com. 60 IN SOA ns. host. 1 1 1 1 1")
		case "own.com.": // served by the same server
			a.Authoritative = true
			add(&a.Answer, "own.com. 60 IN NS ns1.linode.com.")
		default:
			add(&a.Ns, q.Question[0].Name+" 60 IN NS NS1.linode.com.")
			add(&a.Ns, q.Question[0].Name+" 60 IN NS ns1.digitalocean.com.")
			add(&a.Ns, "com. 60 IN NS com-1.")
		}
		w.WriteMsg(a)
	})
	both := []string{"ns1.digitalocean.com", "ns1.linode.com"}
	for _, c := range []struct {
		zone   string
		values []string
		want   string
	}{
		{"espra.com", both, ""},
		{"espra.com", nil, ""},
		{"own.com", both[1:], ""},
		{"espra.com", both[1:], "check: answer has ns1.digitalocean.com."},
		{"own.com", both, "check: answer lacks ns1.digitalocean.com."},
		{"gone.com", both, "check: the zone above knows no such name"},
		{"empty.com", nil, "check: refers to no name server"},
	} {
		t.Run(c.zone, func(t *testing.T) {
			r := see(t, m, probe.Target{Kind: "delegation", Server: parent, Zone: c.zone, Values: c.values}, probe.Options{Limit: time.Second})
			if c.want == "" {
				require.NoError(t, r.Err)
				return
			}
			require.EqualError(t, r.Err, c.want)
		})
	}
	r := see(t, m, probe.Target{Kind: "delegation", Server: "127.0.0.1:1", Zone: "espra.com"}, probe.Options{Limit: 100 * time.Millisecond})
	require.True(t, r.Unseen(), "%v", r.Err)
}
