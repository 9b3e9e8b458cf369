package redirect_test

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/monitor/redirect"
	"github.com/espra/protoplex/nodes"
)

func TestHandler(t *testing.T) {
	tests := []struct {
		method, host, target string
		status               int
		location             string
	}{
		{"GET", "espra.com", "/", 301, "https://www.espra.com/"},
		{"HEAD", "espra.com", "/a/b?c=d&e", 301, "https://www.espra.com/a/b?c=d&e"},
		{"POST", "espra.com", "/form?x=1", 308, "https://www.espra.com/form?x=1"},
		{"DELETE", "espra.com:80", "/", 308, "https://www.espra.com/"},
		{"GET", "ESPRA.com.", "/", 301, "https://www.espra.com/"},
		{"GET", "espra.com", "/?", 301, "https://www.espra.com/?"},
		{"GET", "espra.com", "/%2F..%2f/%20x", 301, "https://www.espra.com/%2F..%2f/%20x"},
		{"GET", "espra.com", "/a/../b//c", 301, "https://www.espra.com/a/../b//c"},
		{"GET", "espra.com", "//evil.example/x", 301, "https://www.espra.com//evil.example/x"},
		{"GET", "espra.com", `/\evil.example`, 301, `https://www.espra.com/%5Cevil.example`},
		{"GET", "espra.com", "/@evil.example", 301, "https://www.espra.com/@evil.example"},
		{"GET", "espfile.com:443", "/a", 301, "https://www.espfile.com/a"},
		{"GET", "espra.com:evil", "/", 421, ""},
		{"GET", "[::1]:80", "/", 421, ""},
		{"GET", "evil.example", "/", 421, ""},
		{"GET", "www.espra.com", "/", 421, ""},
		{"GET", "espra.com.evil.example", "/", 421, ""},
		{"GET", "", "/", 421, ""},
		{"GET", "espra.com@evil.example", "/", 421, ""},
		{"GET", "192.0.2.1", "/health", 200, ""},
		{"GET", "espra.com", "/health?x", 200, ""},
		{"POST", "espra.com", "/health", 308, "https://www.espra.com/health"},
		{"OPTIONS", "espra.com", "*", 400, ""},
	}
	for _, tt := range tests {
		t.Run(tt.method+" "+tt.host+" "+tt.target, func(t *testing.T) {
			r := httptest.NewRequest(tt.method, "/", nil)
			r.Host = tt.host
			var err error
			r.URL, err = url.ParseRequestURI(tt.target)
			require.NoError(t, err)
			for _, secure := range []bool{false, true} {
				r.TLS = nil
				if secure {
					r.TLS = &tls.ConnectionState{}
				}
				w := httptest.NewRecorder()
				redirect.Handler(redirect.Host{From: "espra.com", To: "www.espra.com"}, redirect.Host{From: "Espfile.com", To: "www.espfile.com"}).ServeHTTP(w, r)
				require.Equal(t, tt.status, w.Code)
				require.Equal(t, tt.location, w.Header().Get("Location"))
				require.Equal(t, secure, w.Header().Get("Strict-Transport-Security") != "")
			}
		})
	}
}

// Whatever is asked, nobody is sent anywhere else, and nobody loses a query.
func FuzzHandler(f *testing.F) {
	f.Add("GET", "espra.com", "/a?b=c")
	f.Add("GET", "espra.com", "//evil.example")
	f.Add("POST", "espra.com:443", `/\evil.example`)
	f.Add("GET", "evil.example", "http://espra.com/")
	f.Add("GET", "espra.com", "http://evil.example/x")
	f.Fuzz(func(t *testing.T, method, host, target string) {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			return
		}
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Method, r.Host, r.URL = method, host, u
		w := httptest.NewRecorder()
		redirect.Handler(redirect.Host{From: "espra.com", To: "www.espra.com"}, redirect.Host{From: "Espfile.com", To: "www.espfile.com"}).ServeHTTP(w, r)
		location := w.Header().Get("Location")
		require.Equal(t, w.Code == 301 || w.Code == 308, location != "")
		if location == "" {
			return
		}
		require.Regexp(t, `^https://www\.(espra|espfile)\.com/`, location)
		require.NotContains(t, location, "\n")
		to, err := url.Parse(location)
		require.NoError(t, err)
		require.Contains(t, []string{"www.espra.com", "www.espfile.com"}, to.Host)
		require.Nil(t, to.User)
		require.Equal(t, u.RawQuery, to.RawQuery)
	})
}

func TestRun(t *testing.T) {
	root := t.TempDir()
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"espra.com"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(nil, template, template, key.Public(), key)
	require.NoError(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	both := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})...)
	require.NoError(t, os.WriteFile(filepath.Join(root, "cert.pem"), both, 0o600))

	lines := make(chan string, 16)
	m, err := nodes.NewOS(nodes.OSOptions{
		Host: nodes.Host{Name: "vps", Addr: netip.MustParseAddr("127.0.0.1")}, Root: root, Log: slog.New(addresses{slog.DiscardHandler, lines}),
	})
	require.NoError(t, err)
	defer m.Close()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- redirect.Run(ctx, m, []string{"--http", "127.0.0.1:0", "--https", "127.0.0.1:0", "--cert", "/cert.pem"})
	}()
	plain, secure := <-lines, <-lines

	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(both))
	for scheme, address := range map[string]string{"http": plain, "https": secure} {
		client := &http.Client{
			Transport: &http.Transport{
				TLSClientConfig:   &tls.Config{RootCAs: roots},
				DisableKeepAlives: true,
				DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
					return (&net.Dialer{}).DialContext(ctx, network, address)
				},
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
		resp, err := client.Get(scheme + "://espra.com/x?y=z")
		require.NoError(t, err)
		resp.Body.Close()
		require.Equal(t, http.StatusMovedPermanently, resp.StatusCode)
		require.Equal(t, "https://www.espra.com/x?y=z", resp.Header.Get("Location"))
	}
	cancel()
	require.NoError(t, <-done)
}

// addresses passes on where the role listens.
type addresses struct {
	slog.Handler
	to chan string
}

func (a addresses) Enabled(context.Context, slog.Level) bool { return true }
func (a addresses) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(attr slog.Attr) bool {
		if attr.Key == "address" {
			a.to <- attr.Value.String()
		}
		return true
	})
	return nil
}

func TestRunRefuses(t *testing.T) {
	m, err := nodes.NewOS(nodes.OSOptions{Host: nodes.Host{Name: "vps"}, Root: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	defer m.Close()
	for _, args := range [][]string{
		{"--https", "127.0.0.1:0"},
		{"--http", "", "--https", ""},
		{"--https", "127.0.0.1:0", "--cert", "/none.pem"},
		{"--https", "", "--from", "a.example", "--to", "a.example"},
		{"--https", "", "--to", "evil.example/x"},
		{"--https", "", "--http", "127.0.0.1:0", "extra"},
		{"--unknown"},
	} {
		require.Error(t, redirect.Run(t.Context(), m, args), fmt.Sprint(args))
	}
}
