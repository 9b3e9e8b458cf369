package ca_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/nodes/meta/ca"
)

var (
	from = time.Date(2026, 3, 2, 0, 0, 0, 500, time.UTC)
	to   = from.AddDate(0, 0, 7)
)

func entropy(seed byte) *rand.ChaCha8 { return rand.NewChaCha8([32]byte{seed}) }

func authority(t *testing.T, cell string, seed byte) *ca.Authority {
	t.Helper()
	a, err := ca.New(entropy(seed), cell, from, to)
	require.NoError(t, err)
	return a
}

func identity(t *testing.T, a *ca.Authority, role, name string, roots ...byte) *ca.Identity {
	t.Helper()
	file, err := a.Node(entropy(9), role, name, from, to)
	require.NoError(t, err)
	if roots == nil {
		roots = a.RootsPEM()
	}
	id, err := ca.NewIdentity(file, roots)
	require.NoError(t, err)
	return id
}

// show gives what a peer shows of itself.
func show(id *ca.Identity) tls.ConnectionState {
	return tls.ConnectionState{PeerCertificates: []*x509.Certificate{id.Certificate()}}
}

func TestPeers(t *testing.T) {
	east, west := authority(t, "us-east", 1), authority(t, "eu-west", 2)
	both := append(east.RootsPEM(), west.RootsPEM()...)
	own := identity(t, east, "proxy", "proxy-1", both...)
	peer := identity(t, east, "live", "live-1")
	block, _ := pem.Decode(east.RootsPEM())
	root, err := x509.ParseCertificate(block.Bytes)
	require.NoError(t, err)

	for name, c := range map[string]struct {
		state tls.ConnectionState
		at    time.Time
		want  ca.Want
		err   error
	}{
		"any node of the cell":  {show(peer), from, ca.Want{}, nil},
		"the node":              {show(peer), to.Truncate(time.Second), ca.Want{Roles: []string{"seed", "live"}, Name: "live-1"}, nil},
		"another name":          {show(peer), from, ca.Want{Name: "live-2"}, ca.ErrName},
		"another role":          {show(peer), from, ca.Want{Roles: []string{"seed"}, Name: "live-1"}, ca.ErrRole},
		"expired":               {show(peer), to.Add(time.Second), ca.Want{}, ca.ErrDates},
		"not valid yet":         {show(peer), from.Add(-time.Second), ca.Want{}, ca.ErrDates},
		"another cell, trusted": {show(identity(t, west, "live", "live-1")), from, ca.Want{}, ca.ErrCell},
		"another authority":     {show(identity(t, authority(t, "us-east", 3), "live", "live-1")), from, ca.Want{}, ca.ErrAuthority},
		"the authority itself":  {tls.ConnectionState{PeerCertificates: []*x509.Certificate{root}}, from, ca.Want{}, ca.ErrIdentity},
		"no certificate":        {tls.ConnectionState{}, from, ca.Want{}, ca.ErrNoCertificate},
	} {
		t.Run(name, func(t *testing.T) {
			config := own.ClientConfig(func() time.Time { return c.at }, c.want)
			require.ErrorIs(t, config.VerifyConnection(c.state), c.err)
			if len(c.want.Roles) == 0 && c.want.Name == "" {
				config = own.ServerConfig(func() time.Time { return c.at })
				require.ErrorIs(t, config.VerifyConnection(c.state), c.err)
			}
		})
	}
}

// Clients that are no nodes, such as curl, look for a host's name.
func TestHostName(t *testing.T) {
	cert := identity(t, authority(t, "us-east", 1), "live", "us-east-live-1").Certificate()
	require.NoError(t, cert.VerifyHostname("us-east-live-1"))
	require.Error(t, cert.VerifyHostname("us-east-live-2"))
}

// A renewed identity shows and trusts what is new, also through what was made
// before; it does not become somebody else.
func TestRenew(t *testing.T) {
	now := func() time.Time { return from }
	old, next := authority(t, "us-east", 1), authority(t, "us-east", 2)
	own, peer := identity(t, old, "proxy", "proxy-1"), identity(t, next, "live", "live-1")
	server, client := own.ServerConfig(now), own.ClientConfig(now, ca.Want{})
	require.ErrorIs(t, client.VerifyConnection(show(peer)), ca.ErrAuthority)

	file, err := next.Node(entropy(4), "proxy", "proxy-1", from, to)
	require.NoError(t, err)
	other, err := next.Node(entropy(4), "proxy", "proxy-2", from, to)
	require.NoError(t, err)
	before := own.Certificate()
	require.ErrorContains(t, own.Renew(other, next.RootsPEM()), "the certificate is that of protoplex://us-east/proxy/proxy-2, not of protoplex://us-east/proxy/proxy-1")
	require.Error(t, own.Renew(file[:len(file)/2], next.RootsPEM()))
	require.Error(t, own.Renew(file, nil))
	require.Same(t, before, own.Certificate())

	require.NoError(t, own.Renew(file, next.RootsPEM()))
	require.NotEqual(t, before.Raw, own.Certificate().Raw)
	require.NoError(t, client.VerifyConnection(show(peer)))
	require.NoError(t, server.VerifyConnection(show(peer)))
	shown, err := server.GetCertificate(nil)
	require.NoError(t, err)
	require.Equal(t, own.Certificate(), shown.Leaf)
	shown, err = client.GetClientCertificate(nil)
	require.NoError(t, err)
	require.Equal(t, own.Certificate(), shown.Leaf)
}

func TestNames(t *testing.T) {
	n, err := ca.ParseName("protoplex://us-east/live/ip-10-1-0-9.internal")
	require.NoError(t, err)
	require.Equal(t, ca.Name{Cell: "us-east", Role: "live", Name: "ip-10-1-0-9.internal"}, n)
	require.Equal(t, "protoplex://us-east/live/ip-10-1-0-9.internal", n.String())
	for _, s := range []string{"", "protoplex://a/b", "protoplex://a/b/c/d", "protoplex://a//c", "https://a/b/c", "protoplex://a/b/C",
		"protoplex://a/b/c%20", "protoplex://a/b/-c", "protoplex://a/b/c\n", "protoplex://a@x/b/c"} {
		_, err := ca.ParseName(s)
		require.ErrorIs(t, err, ca.ErrIdentity, s)
	}
}

func TestFiles(t *testing.T) {
	a := authority(t, "us-east", 1)
	file, err := a.PEM()
	require.NoError(t, err)
	loaded, err := ca.Load(file)
	require.NoError(t, err)
	require.Equal(t, "us-east", loaded.Cell())
	one, err := a.Node(entropy(5), "live", "live-1", from, to)
	require.NoError(t, err)
	two, err := loaded.Node(entropy(5), "live", "live-1", from, to)
	require.NoError(t, err)
	require.Equal(t, string(one), string(two), "the same entropy gives the same certificate")
	other, err := a.Node(entropy(6), "live", "live-1", from, to)
	require.NoError(t, err)
	require.NotEqual(t, one, other)
	require.Len(t, other, len(one))

	_, err = ca.Load(one)
	require.ErrorContains(t, err, "not the authority")
	cert, _, _ := bytes.Cut(one, []byte("-----BEGIN PRIVATE"))
	_, key, _ := bytes.Cut(other, []byte("-----BEGIN PRIVATE"))
	for name, bad := range map[string][]byte{
		"no key":      cert,
		"another key": append(append([]byte{}, cert...), append([]byte("-----BEGIN PRIVATE"), key...)...),
		"nothing":     nil,
		"two":         append(append([]byte{}, one...), one...),
	} {
		_, err := ca.NewIdentity(bad, a.RootsPEM())
		require.Error(t, err, name)
	}
	_, err = ca.NewIdentity(one, nil)
	require.ErrorContains(t, err, "root")
	_, err = ca.NewIdentity(file, a.RootsPEM())
	require.ErrorIs(t, err, ca.ErrIdentity)
}

func TestRefusals(t *testing.T) {
	_, err := ca.New(entropy(1), "US East", from, to)
	require.Error(t, err)
	_, err = ca.New(entropy(1), "us-east", to, from)
	require.Error(t, err)
	_, err = ca.New(bytes.NewReader(make([]byte, 10)), "us-east", from, to)
	require.ErrorContains(t, err, "random")
	a := authority(t, "us-east", 1)
	_, err = a.Node(entropy(1), "live", "live/1", from, to)
	require.ErrorIs(t, err, ca.ErrIdentity)
	_, err = a.Node(entropy(1), "live", "live-1", from, to.Add(time.Second))
	require.ErrorContains(t, err, "valid only")
}
