package pki_test

import (
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/scenarios/pki"
)

var (
	from = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	to   = from.AddDate(0, 0, 7)
)

func leaf(t *testing.T, ca *pki.CA, names ...string) *x509.Certificate {
	t.Helper()
	file, err := ca.Leaf(names...)
	require.NoError(t, err)
	pair, err := tls.X509KeyPair(file, file)
	require.NoError(t, err)
	require.IsType(t, ed25519.PrivateKey{}, pair.PrivateKey)
	return pair.Leaf
}

func TestLeafIsTrusted(t *testing.T) {
	ca, err := pki.New(from, to)
	require.NoError(t, err)
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(ca.RootsPEM()))
	cert := leaf(t, ca, "espra.com", "*.live.espra.com", "10.1.0.9")

	cases := map[string]struct {
		name string
		at   time.Time
		ok   bool
	}{
		"its name":      {"espra.com", from, true},
		"a wildcard":    {"us-1.live.espra.com", from, true},
		"its address":   {"10.1.0.9", to, true},
		"another name":  {"www.espra.com", from, false},
		"too early":     {"espra.com", from.Add(-time.Second), false},
		"too late":      {"espra.com", to.Add(time.Second), false},
		"other address": {"10.1.0.8", from, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := cert.Verify(x509.VerifyOptions{DNSName: c.name, Roots: roots, CurrentTime: c.at})
			require.Equal(t, c.ok, err == nil, "%v", err)
		})
	}

	other, err := pki.New(from, to)
	require.NoError(t, err)
	_, err = leaf(t, other, "espra.com").Verify(x509.VerifyOptions{Roots: roots, CurrentTime: from})
	require.Error(t, err)
}

func TestSizesAndSerialsAreTheSameInEveryRun(t *testing.T) {
	var sizes, rootSizes []int
	var serials []string
	for range 2 {
		ca, err := pki.New(from, to)
		require.NoError(t, err)
		rootSizes = append(rootSizes, len(ca.RootsPEM()))
		for range 3 {
			cert := leaf(t, ca, "us-1.live.espra.com")
			sizes = append(sizes, len(cert.Raw))
			serials = append(serials, cert.SerialNumber.String())
		}
	}
	require.Equal(t, rootSizes[0], rootSizes[1])
	for _, n := range sizes {
		require.Equal(t, sizes[0], n)
	}
	require.Equal(t, serials[:3], serials[3:])
	require.NotEqual(t, serials[0], serials[1])
}

func TestRefusals(t *testing.T) {
	_, err := pki.New(to, from)
	require.Error(t, err)
	ca, err := pki.New(from, to)
	require.NoError(t, err)
	_, err = ca.Leaf()
	require.Error(t, err)
}
