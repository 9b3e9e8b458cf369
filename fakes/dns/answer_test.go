package dns_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	mdns "github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/fakes/dns"
)

func zones(t testing.TB, texts ...string) *dns.Zones {
	t.Helper()
	var zs []*dns.Zone
	for _, text := range texts {
		z, err := dns.ParseZone(text, "test")
		require.NoError(t, err)
		zs = append(zs, z)
	}
	return dns.NewZones(zs...)
}

// show writes an answer in the order of its sections, one record a line.
func show(m *mdns.Msg) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s aa=%v\n", mdns.RcodeToString[m.Rcode], m.Authoritative)
	for _, s := range []struct {
		mark string
		rrs  []mdns.RR
	}{{"", m.Answer}, {"auth ", m.Ns}, {"more ", m.Extra}} {
		for _, rr := range s.rrs {
			if _, ok := rr.(*mdns.OPT); !ok {
				b.WriteString(s.mark + strings.ReplaceAll(rr.String(), "\t", " ") + "\n")
			}
		}
	}
	return b.String()
}

func TestAnswer(t *testing.T) {
	zs := zones(t, espraZone, `
elb.amazonaws.com. 60 IN SOA ns1.elb.amazonaws.com. h.amazonaws.com. 1 2 3 4 60
elb.amazonaws.com. 60 IN NS ns1.elb.amazonaws.com.
ns1.elb.amazonaws.com. 60 IN A 10.8.0.1
us-east.elb.amazonaws.com. 60 IN A 10.1.0.9
`)
	const soa = "auth espra.com. 30 IN SOA ns1.linode.com. hostmaster.espra.com. 7 14400 3600 604800 30\n"
	for _, c := range []struct{ name, kind, want string }{
		{"espra.com.", "A", "NOERROR aa=true\nespra.com. 60 IN A 10.9.0.1\nespra.com. 60 IN A 10.9.0.2\n"},
		{"eSpRa.CoM.", "A", "NOERROR aa=true\neSpRa.CoM. 60 IN A 10.9.0.1\neSpRa.CoM. 60 IN A 10.9.0.2\n"},
		{"espra.com.", "MX", "NOERROR aa=true\nespra.com. 60 IN MX 10 mail.espra.com.\nmore mail.espra.com. 60 IN A 10.9.0.9\n"},
		{"_home.www.espra.com.", "TXT", "NOERROR aa=true\n_home.www.espra.com. 60 IN TXT \"v=home1 region=us-east epoch=1\"\n"},
		// Chains go on while this server knows, across its zones.
		{"www2.espra.com.", "A", "NOERROR aa=true\nwww2.espra.com. 60 IN CNAME www.espra.com.\n" +
			"www.espra.com. 60 IN CNAME us-east.elb.amazonaws.com.\nus-east.elb.amazonaws.com. 60 IN A 10.1.0.9\n"},
		{"www2.espra.com.", "CNAME", "NOERROR aa=true\nwww2.espra.com. 60 IN CNAME www.espra.com.\n"},
		{"loop.espra.com.", "A", "NOERROR aa=true\n" + strings.Repeat("loop.espra.com. 60 IN CNAME pool.espra.com.\n"+
			"pool.espra.com. 60 IN CNAME loop.espra.com.\n", 4)},
		// What is not there.
		{"nobody.espra.com.", "A", "NXDOMAIN aa=true\n" + soa},
		{"espra.com.", "AAAA", "NOERROR aa=true\n" + soa},
		{"deep.espra.com.", "A", "NOERROR aa=true\n" + soa},
		{"b.deep.espra.com.", "A", "NOERROR aa=true\n" + soa},
		{"x.b.deep.espra.com.", "A", "NXDOMAIN aa=true\n" + soa},
		// Wildcards.
		{"one.files.espra.com.", "A", "NOERROR aa=true\none.files.espra.com. 60 IN A 10.9.0.7\n"},
		{"one.files.espra.com.", "TXT", "NOERROR aa=true\n" + soa},
		{"files.espra.com.", "A", "NOERROR aa=true\n" + soa},
		// Delegations, with glue.
		{"eu.espra.com.", "A", "NOERROR aa=false\nauth eu.espra.com. 60 IN NS ns.eu.espra.com.\nmore ns.eu.espra.com. 60 IN A 10.9.0.5\n"},
		{"x.y.eu.espra.com.", "TXT", "NOERROR aa=false\nauth eu.espra.com. 60 IN NS ns.eu.espra.com.\nmore ns.eu.espra.com. 60 IN A 10.9.0.5\n"},
		{"eu.espra.com.", "DS", "NOERROR aa=true\n" + soa},
		// What is none of our business.
		{"example.com.", "A", "REFUSED aa=false\n"},
		{"com.", "A", "REFUSED aa=false\n"},
		{"espra.com.", "AXFR", "REFUSED aa=false\n"},
		{"espra.com.", "ANY", "NOERROR aa=true\nespra.com. 3600 IN HINFO \"RFC8482\" \"\"\n"},
	} {
		t.Run(c.name+" "+c.kind, func(t *testing.T) {
			q := new(mdns.Msg).SetQuestion(c.name, mdns.StringToType[c.kind])
			require.Empty(t, cmp.Diff(c.want, show(zs.Answer(q))))
		})
	}
}

func TestRespondFits(t *testing.T) {
	text := espraZone
	for i := range 200 {
		text += fmt.Sprintf("many IN A 10.7.%d.%d\n", i/100, i%100)
	}
	zs := zones(t, text)
	q := new(mdns.Msg).SetQuestion("many.espra.com.", mdns.TypeA)
	for _, c := range []struct {
		name      string
		edns      uint16
		udp       bool
		max       int
		truncated bool
	}{
		{"plain", 0, true, 512, true},
		{"small buffer", 100, true, 512, true},
		{"middling buffer", 800, true, 800, true},
		{"large buffer", 65000, true, 1232, true},
		{"stream", 0, false, 65535, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			q := q.Copy()
			if c.edns > 0 {
				q.SetEdns0(c.edns, false)
			}
			packet, err := q.Pack()
			require.NoError(t, err)
			out := zs.Respond(packet, c.udp)
			require.LessOrEqual(t, len(out), c.max)
			reply := new(mdns.Msg)
			require.NoError(t, reply.Unpack(out))
			require.Equal(t, c.truncated, reply.Truncated)
			require.Equal(t, c.edns > 0, reply.IsEdns0() != nil)
			if !c.truncated {
				require.Len(t, reply.Answer, 200)
			}
		})
	}
}

func TestRespondOdd(t *testing.T) {
	zs := zones(t, espraZone)
	rcode := func(change func(*mdns.Msg)) int {
		q := new(mdns.Msg).SetQuestion("espra.com.", mdns.TypeA)
		change(q)
		packet, err := q.Pack()
		require.NoError(t, err)
		reply := new(mdns.Msg)
		require.NoError(t, reply.Unpack(zs.Respond(packet, true)))
		require.Equal(t, q.Id, reply.Id)
		if opt := reply.IsEdns0(); opt != nil {
			return reply.Rcode&0xF | opt.ExtendedRcode()
		}
		return reply.Rcode
	}
	require.Equal(t, mdns.RcodeSuccess, rcode(func(*mdns.Msg) {}))
	require.Equal(t, mdns.RcodeNotImplemented, rcode(func(m *mdns.Msg) { m.Opcode = mdns.OpcodeUpdate }))
	require.Equal(t, mdns.RcodeFormatError, rcode(func(m *mdns.Msg) { m.Question = nil }))
	require.Equal(t, mdns.RcodeFormatError, rcode(func(m *mdns.Msg) { m.Question = slices.Repeat(m.Question, 2) }))
	require.Equal(t, mdns.RcodeRefused, rcode(func(m *mdns.Msg) { m.Question[0].Qclass = mdns.ClassCHAOS }))
	require.Equal(t, mdns.RcodeBadVers, rcode(func(m *mdns.Msg) {
		m.SetEdns0(1232, false)
		m.IsEdns0().SetVersion(1)
	}))

	q, err := new(mdns.Msg).SetQuestion("espra.com.", mdns.TypeA).Pack()
	require.NoError(t, err)
	reply := new(mdns.Msg)
	require.NoError(t, reply.Unpack(zs.Respond(q[:len(q)-3], true)))
	require.Equal(t, mdns.RcodeFormatError, reply.Rcode)
	require.Nil(t, zs.Respond(q[:5], true), "no room for a header")
	require.Nil(t, zs.Respond(zs.Respond(q, true), true), "an answer must not be answered")
}

func FuzzRespond(f *testing.F) {
	zs := zones(f, espraZone)
	for _, kind := range []uint16{mdns.TypeA, mdns.TypeANY, mdns.TypeDS, mdns.TypeNS} {
		for _, name := range []string{"espra.com.", "www2.espra.com.", "a.eu.espra.com.", "x.files.espra.com.", "."} {
			q := new(mdns.Msg).SetQuestion(name, kind)
			q.SetEdns0(4096, true)
			packet, err := q.Pack()
			require.NoError(f, err)
			f.Add(packet, true)
		}
	}
	f.Fuzz(func(t *testing.T, packet []byte, udp bool) {
		out := zs.Respond(packet, udp)
		if out == nil {
			return
		}
		reply := new(mdns.Msg)
		require.NoError(t, reply.Unpack(out), "what is sent can be read")
		require.True(t, reply.Response)
		if udp {
			require.LessOrEqual(t, len(out), 1232)
		}
		require.Equal(t, packet[:2], out[:2], "the id comes back")
	})
}
