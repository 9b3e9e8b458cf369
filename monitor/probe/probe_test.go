package probe_test

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/monitor/probe"
	"github.com/espra/protoplex/nodes"
)

func machine(t *testing.T, resolvers ...string) *nodes.OS {
	m, err := nodes.NewOS(nodes.OSOptions{
		Host: nodes.Host{Name: "vantage", Addr: netip.MustParseAddr("127.0.0.1"), Proc: "test"}, Root: t.TempDir(),
		Resolvers: resolvers, Log: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	t.Cleanup(func() { m.Close() })
	return m
}

// certificate for a name, self-signed, from now until the given time.
func certificate(t *testing.T, name string, until time.Time) (tls.Certificate, *x509.CertPool) {
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: until.Add(-48 * time.Hour), NotAfter: until, IsCA: true, BasicConstraintsValid: true,
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

func TestHTTP(t *testing.T) {
	m := machine(t)
	good, roots := certificate(t, "us-1.live.espra.com", m.Now().Add(24*time.Hour))
	expired, expiredRoots := certificate(t, "us-1.live.espra.com", m.Now().Add(-time.Hour))
	var host atomic.Value
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host.Store(r.Host)
		switch r.URL.Path {
		case "/draining":
			w.WriteHeader(http.StatusServiceUnavailable)
		case "/silent":
			<-r.Context().Done()
		case "/moved":
			http.Redirect(w, r, "/health", http.StatusMovedPermanently)
		}
	})
	serve := func(c *tls.Certificate) string {
		s := httptest.NewUnstartedServer(handler)
		s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
		if c == nil {
			s.Start()
		} else {
			s.TLS = &tls.Config{Certificates: []tls.Certificate{*c}}
			s.StartTLS()
		}
		t.Cleanup(s.Close)
		return s.Listener.Addr().String()
	}
	plain, secure, old := serve(nil), serve(&good), serve(&expired)
	deaf, err := net.Listen("tcp", "127.0.0.1:0") // accepts and says nothing
	require.NoError(t, err)
	defer deaf.Close()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	closed.Close()

	tests := []struct {
		name    string
		url     string
		connect string
		roots   *x509.CertPool
		status  int
		phases  []string
		failed  string
	}{
		{"plain", "http://us-1.live.espra.com/health", plain, nil, 0, []string{"connect", "first byte"}, ""},
		{"secure, by the balancer's address", "https://us-1.live.espra.com/health", secure, roots, 0, []string{"connect", "tls", "first byte"}, ""},
		{"a redirect is an answer", "http://us-1.live.espra.com/moved", plain, nil, 301, []string{"connect", "first byte"}, ""},
		{"draining", "http://us-1.live.espra.com/draining", plain, nil, 0, []string{"connect", "first byte"}, probe.Check},
		{"silent", "http://us-1.live.espra.com/silent", plain, nil, 0, []string{"connect", "first byte"}, probe.FirstByte},
		{"no handshake", "https://us-1.live.espra.com/health", deaf.Addr().String(), roots, 0, []string{"connect", "tls"}, probe.TLS},
		{"another name", "https://eu-1.live.espra.com/health", secure, roots, 0, []string{"connect", "tls"}, probe.TLS},
		{"expired", "https://us-1.live.espra.com/health", old, expiredRoots, 0, []string{"connect", "tls"}, probe.TLS},
		{"unknown root", "https://us-1.live.espra.com/health", secure, x509.NewCertPool(), 0, []string{"connect", "tls"}, probe.TLS},
		{"nobody there", "http://us-1.live.espra.com/health", closed.Addr().String(), nil, 0, []string{"connect"}, probe.Connect},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			u, err := url.Parse(tt.url)
			require.NoError(t, err)
			look := probe.HTTP(m, probe.HTTPOptions{Name: tt.name, URL: u, Connect: tt.connect, Status: tt.status, Roots: tt.roots, Limit: 300 * time.Millisecond})
			r := look(t.Context(), 0)
			require.Equal(t, tt.failed, r.Failed(), "%v", r.Err)
			require.Equal(t, tt.failed == "", r.Err == nil)
			require.Equal(t, tt.phases, phases(r))
			if tt.failed == "" {
				require.Equal(t, u.Host, host.Load())
			}
		})
	}
}

// nameServer answers on UDP and TCP.
func nameServer(t *testing.T, handler dns.HandlerFunc) string {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	l, err := net.Listen("tcp", pc.LocalAddr().String())
	require.NoError(t, err)
	for _, s := range []*dns.Server{{PacketConn: pc, Handler: handler}, {Listener: l, Handler: handler}} {
		started := make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		go s.ActivateAndServe()
		<-started
		t.Cleanup(func() { s.Shutdown() })
	}
	return pc.LocalAddr().String()
}

func TestHTTPResolvesAndSkipsADeadZone(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	require.NoError(t, err)
	resolver := nameServer(t, func(w dns.ResponseWriter, q *dns.Msg) {
		a := new(dns.Msg)
		a.SetReply(q)
		if q.Question[0].Name != "us-east.elb.amazonaws.com." {
			a.Rcode = dns.RcodeNameError
		} else if q.Question[0].Qtype == dns.TypeA {
			for _, addr := range []string{"127.0.0.1", "127.0.0.0"} { // the second, sorted first, cannot be reached
				rr, _ := dns.NewRR("us-east.elb.amazonaws.com. 60 A " + addr)
				a.Answer = append(a.Answer, rr)
			}
		}
		w.WriteMsg(a)
	})
	m := machine(t, resolver)
	u := &url.URL{Scheme: "http", Host: "www.espra.com", Path: "/"}
	look := probe.HTTP(m, probe.HTTPOptions{Name: "lb", URL: u, Connect: "us-east.elb.amazonaws.com:" + port, Status: 404, Limit: time.Second})
	r := look(t.Context(), 0)
	require.NoError(t, r.Err)
	require.Equal(t, []string{"resolve", "connect", "first byte"}, phases(r))

	look = probe.HTTP(m, probe.HTTPOptions{Name: "none", URL: u, Connect: "nowhere.example:80", Limit: time.Second})
	require.Equal(t, probe.Resolve, look(t.Context(), 0).Failed())
}

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
			look := probe.DNS(m, probe.DNSOptions{Server: server, Name: name, Limit: 150 * time.Millisecond})
			for n := range uint64(2) {
				r := look(context.Background(), n)
				require.Equal(t, failed, r.Failed(), "%v", r.Err)
			}
		})
	}
}
