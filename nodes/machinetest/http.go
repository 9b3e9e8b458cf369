package machinetest

import (
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/nodes"
)

func httpTests() []Test {
	return []Test{
		{"net/http keeps connections", testHTTP},
		{"TLS", testTLS},
		{"TLS with an unknown certificate is refused", testTLSUnknown},
	}
}

// serve runs a small HTTP server and gives its address and the number of
// connections it has accepted.
func serve(t testing.TB, m nodes.Machine, config *tls.Config) (string, *atomic.Int64) {
	t.Helper()
	l, address := listen(t, m)
	if config != nil {
		l = tls.NewListener(l, config)
	}
	accepted := new(atomic.Int64)
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(w, r.Body) // a broken echo shows at the client
		}),
		ConnState: func(_ net.Conn, s http.ConnState) {
			if s == http.StateNew {
				accepted.Add(1)
			}
		},
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
		ErrorLog:     nil,
	}
	done := async(func() (int, error) { return 0, server.Serve(l) })
	t.Cleanup(func() {
		_ = server.Close()
		if err := (<-done).err; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("serve: %v", err)
		}
	})
	return address, accepted
}

func client(t testing.TB, m nodes.Machine, config *tls.Config) *http.Client {
	transport := &http.Transport{
		DialContext:     m.DialContext,
		TLSClientConfig: config,
		TLSNextProto:    map[string]func(string, *tls.Conn) http.RoundTripper{},
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: patience}
}

func post(t testing.TB, c *http.Client, url, body string) {
	t.Helper()
	resp, err := c.Post(url, "text/plain", strings.NewReader(body))
	require.NoError(t, err)
	echo, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, len(body), len(echo))
	require.True(t, body == string(echo))
}

func testHTTP(t testing.TB, w World) {
	a, b := w.Machine(t, "alpha", nil), w.Machine(t, "beta", nil)
	address, accepted := serve(t, b, nil)
	c := client(t, a, nil)
	for range 5 {
		post(t, c, "http://"+address+"/", "hello")
	}
	post(t, c, "http://"+address+"/", strings.Repeat("large ", 200_000))
	require.Equal(t, int64(1), accepted.Load())
}

func testTLS(t testing.TB, w World) {
	a, b := w.Machine(t, "alpha", nil), w.Machine(t, "beta", nil)
	cert, pool := certificate(t, b)
	address, accepted := serve(t, b, &tls.Config{Certificates: []tls.Certificate{cert}, Time: b.Now})
	c := client(t, a, &tls.Config{RootCAs: pool, Time: a.Now, ServerName: "conformance.test"})
	for range 5 {
		post(t, c, "https://"+address+"/", "hello")
	}
	post(t, c, "https://"+address+"/", strings.Repeat("large ", 200_000))
	require.Equal(t, int64(1), accepted.Load())
}

func testTLSUnknown(t testing.TB, w World) {
	a, b := w.Machine(t, "alpha", nil), w.Machine(t, "beta", nil)
	cert, pool := certificate(t, b)
	l, address := listen(t, b)
	done := async(func() (int, error) {
		raw, err := l.Accept()
		if err != nil {
			return 0, err
		}
		conn := tls.Server(raw, &tls.Config{Certificates: []tls.Certificate{cert}, Time: b.Now})
		return 0, errors.Join(conn.Handshake(), raw.Close())
	})
	c := client(t, a, &tls.Config{RootCAs: pool, Time: a.Now, ServerName: "other.test"})
	_, err := c.Get("https://" + address + "/")
	var he x509.HostnameError
	require.ErrorAs(t, err, &he)
	require.Error(t, wait(t, "handshake", done).err, "the server learns of it")
}

// certificate makes a self-signed Ed25519 one for conformance.test.
func certificate(t testing.TB, m nodes.Machine) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key := ed25519.NewKeyFromSeed([]byte("a seed of precisely 32 bytes....")[:ed25519.SeedSize])
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "conformance"},
		DNSNames:              []string{"conformance.test"},
		NotBefore:             m.Now().Add(-time.Hour),
		NotAfter:              m.Now().Add(time.Hour),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(nil, template, template, key.Public(), key)
	require.NoError(t, err)
	leaf, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, pool
}
