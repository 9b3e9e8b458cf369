package names

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"
)

// Whatever a server sends, only what it may speak about is believed, and it can
// only send the walk further down.
func FuzzReply(f *testing.F) {
	answer := zone(espraZone)
	for _, s := range []struct {
		name  string
		qtype uint16
	}{{"espra.com.", dns.TypeA}, {"www.espra.com.", dns.TypeA}, {"loop.espra.com.", dns.TypeTXT}, {"no.espra.com.", dns.TypeA}} {
		m := answer(newQuery(1, s.name, s.qtype, false), false)
		wire, err := m.Pack()
		require.NoError(f, err)
		f.Add(wire, s.name, s.qtype)
	}
	m := zone(comZone)(newQuery(1, "espra.com.", dns.TypeA, false), false)
	wire, err := m.Pack()
	require.NoError(f, err)
	f.Add(wire, "espra.com.", dns.TypeA)
	f.Add(wire[:len(wire)-3], "espra.com.", dns.TypeA)

	f.Fuzz(func(t *testing.T, wire []byte, name string, qtype uint16) {
		if _, ok := dns.IsDomainName(name); !ok {
			return
		}
		query := newQuery(1, dns.Fqdn(name), qtype, false)
		m, err := parseReply(query, wire)
		if err != nil {
			return
		}
		require.EqualValues(t, 1, m.Id)
		name = dns.CanonicalName(name)
		readAnswer(name, qtype, m)
		for _, zone := range []string{".", "com.", "espra.com."} {
			if !dns.IsSubDomain(zone, name) {
				continue
			}
			r, err := readReply(zone, name, qtype, m)
			if err != nil {
				continue
			}
			require.LessOrEqual(t, len(r.sets), maxAliases+1)
			at := name
			for _, s := range r.sets {
				require.Equal(t, at, s.name)
				require.True(t, dns.IsSubDomain(zone, s.name))
				require.NotEmpty(t, s.records)
				require.LessOrEqual(t, len(s.records), maxRecords)
				for _, rr := range s.records {
					require.Equal(t, s.rtype, rr.Header().Rrtype)
				}
				if s.rtype == dns.TypeCNAME {
					at = dns.CanonicalName(s.records[0].(*dns.CNAME).Target)
				}
			}
			if d := r.referral; d != nil {
				require.True(t, d.zone != zone && dns.IsSubDomain(zone, d.zone) && dns.IsSubDomain(d.zone, name))
				require.NotEmpty(t, d.servers)
				for _, s := range d.servers {
					require.True(t, len(s.addrs) == 0 || dns.IsSubDomain(zone, s.name))
				}
			}
			if r.soa != nil {
				require.True(t, dns.IsSubDomain(zone, dns.CanonicalName(r.soa.Hdr.Name)))
			}
		}
	})
}

// Whatever a client sends, the answer is a message with its id, of a size that
// was allowed, or nothing. The root servers here are never reached.
func FuzzQuery(f *testing.F) {
	for _, q := range []*dns.Msg{newQuery(1, "espra.com.", dns.TypeA, true), newQuery(2, ".", dns.TypeANY, true)} {
		wire, err := q.Pack()
		require.NoError(f, err)
		f.Add(wire)
		f.Add(wire[:13])
	}
	r, err := New(nowhere{}, Options{
		Roots:  []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:53")},
		Budget: time.Second,
	})
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, wire []byte) {
		query := parseQuery(wire)
		if query == nil {
			return
		}
		reply := pack(r.answer(t.Context(), query, "10.0.0.1:1"), dns.MinMsgSize)
		require.NotNil(t, reply)
		require.LessOrEqual(t, len(reply), dns.MinMsgSize)
		var m dns.Msg
		require.NoError(t, m.Unpack(reply))
		require.Equal(t, query.Id, m.Id)
		require.True(t, m.Response)
	})
}

// nowhere is a Host from which nobody can be reached.
type nowhere struct{ memHost }

func (nowhere) Rand(name string, n uint64) uint64 { return hash(name) + n }

func (nowhere) DialContext(context.Context, string, string) (net.Conn, error) {
	return nil, errors.New("network is unreachable")
}
