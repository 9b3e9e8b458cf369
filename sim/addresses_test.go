package sim_test

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/sim"
)

// answer serves a name with the addresses of machines, in this order.
func answer(t *testing.T, m *sim.Machine, name string, hosts ...*sim.Machine) {
	t.Helper()
	c, err := m.ListenPacket("udp", ":53")
	require.NoError(t, err)
	go func() {
		for b := make([]byte, 2000); ; {
			n, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			query, reply := new(dns.Msg), new(dns.Msg)
			if query.Unpack(b[:n]) != nil {
				continue
			}
			reply.SetReply(query)
			reply.RecursionAvailable = true
			for _, h := range hosts {
				reply.Answer = append(reply.Answer, &dns.A{
					Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60}, A: net.IP(h.Addr().AsSlice())})
			}
			if wire, err := reply.Pack(); err == nil {
				_, _ = c.WriteTo(wire, from)
			}
		}
	}()
}

// As in package net, a silent address takes only its share of the time, so that
// the next one gets its turn.
func TestDialSharesItsTime(t *testing.T) {
	for _, tt := range []struct {
		limit, share time.Duration
		reached      bool
	}{
		{10 * time.Second, 5 * time.Second, true},
		{3 * time.Second, 2 * time.Second, true},     // at least two seconds
		{time.Second, time.Second, false},            // or all there is
		{400 * time.Second, 127 * time.Second, true}, // or the kernel's time-out
	} {
		t.Run(tt.limit.String(), func(t *testing.T) {
			sim.Test(t, func(t *testing.T, w *sim.World) {
				silent := w.NewMachine("silent", sim.WithAddr(netip.MustParseAddr("10.0.0.1")))
				alive := w.NewMachine("alive", sim.WithAddr(netip.MustParseAddr("10.0.0.2")))
				resolver := w.NewMachine("resolver")
				a := w.NewMachine("a", sim.WithResolvers(netip.AddrPortFrom(resolver.Addr(), 53)))
				answer(t, resolver, "two.example.", silent, alive)
				_, err := alive.Listen("tcp", ":7")
				require.NoError(t, err)
				silent.PowerOff()
				start := w.Elapsed()
				ctx, cancel := context.WithTimeout(context.Background(), tt.limit)
				defer cancel()
				_, err = a.DialContext(ctx, "tcp", "two.example:7")
				soonAfter(t, start+tt.share, w.Elapsed())
				if tt.reached {
					require.NoError(t, err)
				} else {
					require.ErrorIs(t, err, context.DeadlineExceeded)
					require.ErrorContains(t, err, silent.Addr().String(), "the first error is told")
				}
			})
		})
	}
}
