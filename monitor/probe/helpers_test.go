package probe_test

import (
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"log/slog"
	"math/big"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/monitor/probe"
	"github.com/espra/protoplex/nodes"
)

func machine(t testing.TB, resolvers ...string) *nodes.OS {
	return machineAt(t, t.TempDir(), resolvers...)
}

// machineAt is a machine with its files in a directory.
func machineAt(t testing.TB, root string, resolvers ...string) *nodes.OS {
	m, err := nodes.NewOS(nodes.OSOptions{
		Host: nodes.Host{Name: "vantage", Addr: netip.MustParseAddr("127.0.0.1"), Proc: "test"}, Root: root,
		Resolvers: resolvers, Log: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	t.Cleanup(func() { m.Close() })
	return m
}

// certificate for a name, self-signed, that ends at the given time.
func certificate(t testing.TB, name string, until time.Time) (tls.Certificate, *x509.CertPool) {
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: until.Add(-100 * 24 * time.Hour), NotAfter: until, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(nil, template, template, key.Public(), key)
	require.NoError(t, err)
	leaf, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
}

func phases(r probe.Result) (names []string) {
	for _, p := range r.Phases {
		names = append(names, p.Name)
	}
	return names
}

// see checks a target and looks at it once.
func see(t testing.TB, m nodes.Machine, target probe.Target, o probe.Options) probe.Result {
	if target.Name == "" {
		target.Name = "it"
	}
	require.Empty(t, target.Check())
	look, err := target.Probe(m, o)
	require.NoError(t, err)
	return look(t.Context(), 0)
}

// serve runs f on each connection to the address that it gives.
func serve(t testing.TB, f func(net.Conn)) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				f(conn)
			}()
		}
	}()
	return l.Addr().String()
}

// closedPort is an address at which nobody listens.
func closedPort(t testing.TB) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return l.Addr().String()
}

// hold keeps a connection open without reading it, until the other side goes.
func hold(t testing.TB) func(net.Conn) {
	return func(net.Conn) { <-t.Context().Done() }
}

// flood sends the text again and again, as long as somebody takes it.
func flood(text string) func(net.Conn) {
	return func(conn net.Conn) {
		for {
			if _, err := conn.Write([]byte(text)); err != nil {
				return
			}
		}
	}
}

// nameServer answers on UDP and TCP.
func nameServer(t testing.TB, handler dns.HandlerFunc) string {
	var l net.Listener
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	for range 10 { // until the port is free for both
		if l, err = net.Listen("tcp", pc.LocalAddr().String()); err == nil {
			break
		}
		require.NoError(t, pc.Close())
		pc, err = net.ListenPacket("udp", "127.0.0.1:0")
		require.NoError(t, err)
	}
	require.NotNil(t, l)
	for _, s := range []*dns.Server{{PacketConn: pc, Handler: handler}, {Listener: l, Handler: handler}} {
		started := make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		go s.ActivateAndServe()
		<-started
		t.Cleanup(func() { s.Shutdown() })
	}
	return pc.LocalAddr().String()
}
