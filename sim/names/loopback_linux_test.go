package names

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"
)

// sockets is a Host on the real loopback, all of whose 127.0.0.0/8 Linux owns.
type sockets struct{ net.Dialer }

func (*sockets) Listen(network, address string) (net.Listener, error) {
	return net.Listen(network, address)
}
func (*sockets) ListenPacket(network, address string) (net.PacketConn, error) {
	return net.ListenPacket(network, address)
}
func (*sockets) Rand(name string, n uint64) uint64 { return hash(name, fmt.Sprint(n)) }

// The resolver between servers and clients of another make, on real sockets.
func TestLoopback(t *testing.T) {
	const port = 15353
	up := make(chan struct{}, 10)
	serve := func(ip string, answer func(*dns.Msg, bool) *dns.Msg) {
		for _, network := range []string{"udp", "tcp"} {
			s := &dns.Server{
				Addr: fmt.Sprintf("%s:%d", ip, port), Net: network,
				NotifyStartedFunc: func() { up <- struct{}{} },
				Handler: dns.HandlerFunc(func(rw dns.ResponseWriter, q *dns.Msg) {
					rw.WriteMsg(answer(q, network == "tcp"))
				}),
			}
			go s.ListenAndServe()
			<-up
			t.Cleanup(func() { s.Shutdown() })
		}
	}
	list := `espra.com. SOA a.gtld.com. host. 1 1 1 1 30
www.espra.com. 60 A 203.0.113.1
`
	for i := range 60 {
		list += fmt.Sprintf("many.espra.com. 60 TXT \"number %d of a long list\"\n", i)
	}
	serve("127.53.0.1", zone(". SOA a.root. host. 1 1 1 1 60\ncom. NS a.gtld.com.\na.gtld.com. A 127.53.0.2\n"))
	serve("127.53.0.2", zone(`com. SOA a.gtld.com. host. 1 1 1 1 60
espra.com. NS ns1.linode.com.
espra.com. NS ns2.linode.com.
ns1.linode.com. A 127.53.0.3
ns2.linode.com. A 127.53.0.4
`)) // nobody is at 127.53.0.4: refused at once
	serve("127.53.0.3", zone(list))

	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	at := netip.AddrPortFrom(netip.MustParseAddr("127.53.0.53"), port)
	go func() {
		done <- Serve(ctx, &sockets{}, Options{
			Listen: at.String(), Port: port,
			Roots: []netip.AddrPort{netip.AddrPortFrom(netip.MustParseAddr("127.53.0.1"), port)},
		})
	}()
	stub := Stub{Host: &sockets{}, Servers: []netip.AddrPort{at}, Timeout: 2 * time.Second}
	require.Eventually(t, func() bool {
		_, err := stub.LookupAddrs(ctx, "www.espra.com")
		return err == nil
	}, 5*time.Second, 5*time.Millisecond)

	got, err := stub.Lookup(ctx, "TXT", "many.espra.com")
	require.NoError(t, err)
	require.Len(t, got, 60)

	for _, network := range []string{"udp", "tcp"} {
		client := dns.Client{Net: network, UDPSize: udpSize}
		q := newQuery(77, "WwW.espra.com.", dns.TypeA, true)
		m, _, err := client.ExchangeContext(ctx, q, at.String())
		require.NoError(t, err)
		require.Len(t, m.Answer, 1)
		require.Equal(t, "WwW.espra.com.", m.Answer[0].Header().Name)
		require.True(t, m.RecursionAvailable)
		m, _, err = client.ExchangeContext(ctx, newQuery(78, "no.espra.com.", dns.TypeA, true), at.String())
		require.NoError(t, err)
		require.Equal(t, dns.RcodeNameError, m.Rcode)
		require.Len(t, m.Ns, 1)
	}

	// Several questions over one connection.
	conn, err := dns.DialTimeout("tcp", at.String(), time.Second)
	require.NoError(t, err)
	defer conn.Close()
	for i := range uint16(3) {
		require.NoError(t, conn.WriteMsg(newQuery(i, "many.espra.com.", dns.TypeTXT, true)))
		m, err := conn.ReadMsg()
		require.NoError(t, err)
		require.Equal(t, i, m.Id)
		require.Len(t, m.Answer, 60)
	}

	cancel()
	require.NoError(t, <-done)
}
