package probe_test

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/monitor/probe"
)

const day = 24 * time.Hour

// handshakes ends the TLS of each connection with a certificate.
func handshakes(t *testing.T, c tls.Certificate) string {
	return serve(t, func(conn net.Conn) {
		_ = tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{c}}).HandshakeContext(t.Context())
	})
}

func TestCertificate(t *testing.T) {
	m := machine(t)
	until := func(left time.Duration) (string, *x509.CertPool) {
		c, roots := certificate(t, "www.espra.com", m.Now().Add(left))
		return handshakes(t, c), roots
	}
	long, longRoots := until(60*day + time.Hour)
	short, shortRoots := until(12*day + time.Hour)
	over, overRoots := until(-3*day - time.Hour)
	for _, tt := range []struct {
		name   string
		target probe.Target
		roots  *x509.CertPool
		note   string
		failed string
		want   string
	}{
		{"long", probe.Target{Server: long, Host: "www.espra.com"}, longRoots, "60 days left", "", ""},
		{"soon", probe.Target{Server: short, Host: "www.espra.com"}, shortRoots, "12 days left", probe.Check, "12 days left, want 14"},
		{"soon enough", probe.Target{Server: short, Host: "www.espra.com", Days: 12}, shortRoots, "12 days left", "", ""},
		{"over", probe.Target{Server: over, Host: "www.espra.com"}, overRoots, "", probe.Check, "3 days ago"},
		{"for another", probe.Target{Server: long, Host: "espra.com"}, longRoots, "", probe.TLS, "not espra.com"},
		{"of a stranger", probe.Target{Server: long, Host: "www.espra.com"}, x509.NewCertPool(), "", probe.TLS, "unknown authority"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.target.Kind = "certificate"
			r := see(t, m, tt.target, probe.Options{Roots: tt.roots, Limit: time.Second})
			require.Equal(t, tt.failed, r.Failed(), "%v", r.Err)
			require.False(t, r.Unseen())
			require.Contains(t, r.Note, tt.note)
			if tt.want != "" {
				require.ErrorContains(t, r.Err, tt.want)
			}
		})
	}
	// That a server is away is no fault of its certificate.
	for name, server := range map[string]string{"nobody there": closedPort(t), "silent": serve(t, hold(t)), "no TLS": serve(t, flood("220 hello\r\n"))} {
		t.Run(name, func(t *testing.T) {
			r := see(t, m, probe.Target{Kind: "certificate", Server: server, Host: "www.espra.com"}, probe.Options{Limit: 300 * time.Millisecond})
			require.True(t, r.Unseen(), "%v", r.Err)
		})
	}
	t.Run("behind STARTTLS", func(t *testing.T) {
		c, roots := certificate(t, "mail.espra.com", m.Now().Add(5*day+time.Hour))
		target := probe.Target{Kind: "certificate", Server: mailServer(t, mailScript{certificate: &c}), Host: "mail.espra.com", StartTLS: true}
		r := see(t, m, target, probe.Options{Roots: roots, Limit: time.Second})
		require.ErrorContains(t, r.Err, "5 days left, want 14")
		require.Equal(t, []string{"connect", "banner", "ehlo", "tls"}, phases(r))
	})
}
