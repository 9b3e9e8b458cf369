package probe_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/monitor/probe"
)

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
		case "/text":
			io.WriteString(w, "all is <b>well</b>")
		case "/late":
			io.WriteString(w, strings.Repeat("-", 64<<10)+"well")
		case "/hints":
			w.WriteHeader(http.StatusEarlyHints)
		case "/drip":
			for r.Context().Err() == nil {
				io.WriteString(w, strings.Repeat(".", 1<<10))
				w.(http.Flusher).Flush()
			}
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

	const site = "://us-1.live.espra.com"
	all := []string{"connect", "first byte", "body"}
	tests := []struct {
		name   string
		target probe.Target
		roots  *x509.CertPool
		phases []string
		failed string
	}{
		{"plain", probe.Target{URL: "http" + site + "/health", Connect: plain}, nil, all, ""},
		{"secure, by the balancer's address", probe.Target{URL: "https" + site + "/health", Connect: secure}, roots, []string{"connect", "tls", "first byte", "body"}, ""},
		{"a redirect is an answer", probe.Target{URL: "http" + site + "/moved", Connect: plain, Status: 301}, nil, all, ""},
		{"draining", probe.Target{URL: "http" + site + "/draining", Connect: plain}, nil, all, probe.Check},
		{"silent", probe.Target{URL: "http" + site + "/silent", Connect: plain}, nil, []string{"connect", "first byte"}, probe.FirstByte},
		{"no handshake", probe.Target{URL: "https" + site + "/", Connect: deaf.Addr().String()}, roots, []string{"connect", "tls"}, probe.TLS},
		{"another name", probe.Target{URL: "https://eu-1.live.espra.com/", Connect: secure}, roots, []string{"connect", "tls"}, probe.TLS},
		{"expired", probe.Target{URL: "https" + site + "/health", Connect: old}, expiredRoots, []string{"connect", "tls"}, probe.TLS},
		{"unknown root", probe.Target{URL: "https" + site + "/", Connect: secure}, x509.NewCertPool(), []string{"connect", "tls"}, probe.TLS},
		{"nobody there", probe.Target{URL: "http" + site + "/health", Connect: closedPort(t)}, nil, []string{"connect"}, probe.Connect},
		{"the text", probe.Target{URL: "http" + site + "/text", Connect: plain, Contains: "<b>well</b>"}, nil, all, ""},
		{"another text", probe.Target{URL: "http" + site + "/text", Connect: plain, Contains: "unwell"}, nil, all, probe.Check},
		{"the text too late", probe.Target{URL: "http" + site + "/late", Connect: plain, Contains: "well"}, nil, all, probe.Check},
		{"early hints before the answer", probe.Target{URL: "http" + site + "/hints", Connect: plain}, nil, all, ""},
		{"an endless body is read in part", probe.Target{URL: "http" + site + "/drip", Connect: plain}, nil, all, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.target.Kind = "http"
			r := see(t, m, tt.target, probe.Options{Roots: tt.roots, Limit: 300 * time.Millisecond})
			require.Equal(t, tt.failed, r.Failed(), "%v", r.Err)
			require.Equal(t, tt.failed == "", r.Err == nil)
			require.Equal(t, tt.phases, phases(r))
			if tt.failed == "" {
				require.Equal(t, "us-1.live.espra.com", host.Load())
			}
		})
	}
}

// What no honest server sends ends in an error within the limits.
func TestHTTPFromHostileServers(t *testing.T) {
	m := machine(t)
	after := func(then func(net.Conn)) func(net.Conn) { // reads the request first
		return func(conn net.Conn) {
			if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
				then(conn)
			}
		}
	}
	say := func(text string, then func(net.Conn)) func(net.Conn) {
		return after(func(conn net.Conn) {
			io.WriteString(conn, text)
			then(conn)
		})
	}
	gone := func(net.Conn) {}
	for name, tt := range map[string]struct {
		server func(net.Conn)
		phase  string
		want   string
	}{
		"no HTTP":               {say("220 mail.example ESMTP\r\n", gone), probe.FirstByte, "malformed"},
		"nothing":               {after(gone), probe.FirstByte, "EOF"},
		"endless header":        {say("HTTP/1.1 200 OK\r\n", flood("X-More: more\r\n")), probe.FirstByte, "more than 128 KiB"},
		"endless line":          {say("HTTP/1.1 200 OK\r\nX: ", flood("aaaaaaaaaaaaaaaa")), probe.FirstByte, "more than 128 KiB"},
		"endless informational": {after(flood("HTTP/1.1 103 Early Hints\r\n\r\n")), probe.Check, "informational"},
		"header drips":          {say("HTTP/1.1 200 OK\r\nX:", hold(t)), probe.FirstByte, "deadline"},
		"body drips":            {say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", hold(t)), probe.Body, "deadline"},
		"body cut short":        {say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", gone), probe.Body, "unexpected EOF"},
		"bad chunk":             {say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", gone), probe.Body, "invalid byte in chunk"},
		"endless chunk size":    {say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", flood("0000000000000000")), probe.Body, "too long"},
	} {
		t.Run(name, func(t *testing.T) {
			r := see(t, m, probe.Target{Kind: "http", URL: "http://" + serve(t, tt.server)}, probe.Options{Limit: 300 * time.Millisecond})
			require.ErrorContains(t, r.Err, tt.want)
			require.Equal(t, tt.phase, r.Failed(), "%v", r.Err)
		})
	}
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
	target := probe.Target{Kind: "http", URL: "http://www.espra.com/", Connect: "us-east.elb.amazonaws.com:" + port, Status: 404}
	r := see(t, m, target, probe.Options{Limit: time.Second})
	require.NoError(t, r.Err)
	require.Equal(t, []string{"resolve", "connect", "first byte", "body"}, phases(r))

	target.Connect = "nowhere.example:80"
	require.Equal(t, probe.Resolve, see(t, m, target, probe.Options{Limit: time.Second}).Failed())
}

// Whatever a server says, the probe tells what is wrong with it and no more.
func FuzzHTTP(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
	f.Add([]byte("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 403 Forbidden\r\n\r\n<Error><Code>AccessDenied</Code></Error>"))
	f.Add([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX: y\r\n\r\n"))
	fuzz(f, func(server string) probe.Target { return probe.Target{Kind: "http", URL: "http://" + server} })
}
