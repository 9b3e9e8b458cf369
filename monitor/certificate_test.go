package monitor

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/monitor/probe"
	"github.com/espra/protoplex/nodes"
)

// A certificate that ends soon is told of once, in a text that says when, and
// wakes nobody more while nobody answers. Once it is renewed that is told, too.
func TestCertificateThatEndsIsToldOnce(t *testing.T) {
	w := newWorld(t, func(c *Config) {
		c.Targets = append(c.Targets, Target{Target: probe.Target{Name: "cert-www", Kind: "certificate", Server: "www:443"}})
		c.Escalate = []Level{{Admins: []string{"ana"}}, {After: 10 * time.Minute, Admins: []string{"raj"}}}
	})
	w.run(2 * time.Minute)
	w.down["cert-www"], w.saw["cert-www"] = true, "expires 2026-03-16 13:59:00, 13 days left"
	w.run(2 * time.Hour)
	require.Len(t, w.gateway.texts, 1)
	got := w.gateway.to("+15550000001", "")
	require.Regexp(t, `^twilio ESPRA CERTIFICATE cert-www since 14:02:\d\dZ, [23]/3 vantages\. `+
		`Saw: expires 2026-03-16 13:59:00, 13 days left\. \w{3} espra\.com/i/\S+$`, got[0])
	w.down["cert-www"] = false
	w.run(2 * time.Minute)
	require.Len(t, w.gateway.texts, 2)
	require.Regexp(t, `^twilio ESPRA OK cert-www since 16:0[23]:\d\dZ\. `, w.gateway.to("+15550000001", "")[1])
}

func TestWhatWasSeenInWords(t *testing.T) {
	for _, c := range []struct {
		seen probe.Result
		want string
	}{
		{probe.Result{}, ""},
		{probe.Result{Err: &probe.Error{Phase: probe.Check, Err: context.DeadlineExceeded}}, "context deadline exceeded"},
		{probe.Result{Err: &probe.Error{Phase: probe.Connect, Err: context.Canceled}}, "connect: context canceled"},
		{probe.Result{Note: "13 days left", Err: &probe.Error{Phase: probe.Check, Err: context.Canceled}}, "13 days left"},
		{probe.Result{Note: string(make([]byte, 71))}, string(make([]byte, 68)) + ".."},
	} {
		require.Equal(t, c.want, inWords(c.seen))
	}
}

// The certificate of the listener is read again while the vantage runs.
func TestOwnCertificateIsRenewed(t *testing.T) {
	m, err := nodes.NewOS(nodes.OSOptions{
		Host: nodes.Host{Name: "fremont", Addr: netip.MustParseAddr("127.0.0.1")}, Root: t.TempDir(), Log: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	t.Cleanup(func() { m.Close() })
	key := worldKey("fremont")
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	private := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
	renew := func(serial int64) {
		template := &x509.Certificate{SerialNumber: big.NewInt(serial), NotAfter: time.Now().Add(time.Hour)}
		der, err := x509.CreateCertificate(nil, template, template, key.Public().(ed25519.PublicKey), key)
		require.NoError(t, err)
		file := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), private...)
		require.NoError(t, nodes.WriteFile(m.Disk(), "/cert.pem", file))
	}
	renew(1)
	require.NoError(t, nodes.WriteFile(m.Disk(), "/key.pem", private))
	free, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := free.Addr().String()
	require.NoError(t, free.Close())
	v, err := newVantage(m, Config{Name: "fremont", Listen: address, Cert: "/cert.pem", Key: "/key.pem", State: "/state.json", Probe: time.Hour})
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- v.run(ctx) }()

	serves := func() (serial int64) {
		require.Eventually(t, func() bool {
			conn, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true})
			if err != nil {
				return false // it does not listen yet
			}
			serial = conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
			return conn.Close() == nil
		}, 10*time.Second, 10*time.Millisecond)
		return serial
	}
	require.EqualValues(t, 1, serves())
	renew(2)
	v.cert.Reload()
	require.EqualValues(t, 2, serves())
	stop()
	require.NoError(t, <-done)
}
