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
