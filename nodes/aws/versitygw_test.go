package aws_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/nodes"
	"github.com/espra/protoplex/nodes/aws"
	"github.com/espra/protoplex/nodes/blobtest"
)

// The suite against a server that is not ours, and stricter about signatures
// and checksums than most. PROTOPLEX_VERSITYGW=0 leaves it out where the tool
// cannot be built.
func TestVersitygw(t *testing.T) {
	if os.Getenv("PROTOPLEX_VERSITYGW") == "0" {
		t.Skip("PROTOPLEX_VERSITYGW=0")
	}
	for _, tls := range []bool{false, true} {
		t.Run(fmt.Sprintf("tls %v", tls), func(t *testing.T) {
			g := startGateway(t, tls)
			for _, test := range blobtest.Tests() {
				t.Run(test.Name, func(t *testing.T) {
					if why := blobtest.Versitygw[test.Name]; why != "" {
						t.Skip("versitygw differs from S3: " + why)
					}
					test.Run(t, g.world(t))
				})
			}
		})
	}
}

// A table that names a test which is gone excuses nothing.
func TestVersitygwTable(t *testing.T) {
	names := map[string]bool{}
	for _, test := range blobtest.Tests() {
		names[test.Name] = true
	}
	for name := range blobtest.Versitygw {
		require.True(t, names[name], name)
	}
}

type gateway struct {
	dir, endpoint string
	roots         *x509.CertPool
	buckets       atomic.Int64
}

func startGateway(t *testing.T, tls bool) *gateway {
	tool := exec.Command("go", "tool", "-n", "versitygw")
	tool.Dir = filepath.Join("..", "..", "tools", "versitygw")
	var stderr strings.Builder
	tool.Stderr = &stderr
	path, err := tool.Output()
	require.NoError(t, err, stderr.String())

	root := t.TempDir()
	g := &gateway{dir: filepath.Join(root, "buckets")}
	require.NoError(t, os.Mkdir(g.dir, 0o700))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := l.Addr().String()
	require.NoError(t, l.Close())
	g.endpoint = "http://" + address
	args := []string{"--port", address, "--access", "alice", "--secret", "secret", "--region", "eu-west", "--quiet", "--keep-alive"}
	if tls {
		var cert, key []byte
		cert, key, g.roots = certificate(t)
		require.NoError(t, os.WriteFile(filepath.Join(root, "cert.pem"), cert, 0o600))
		require.NoError(t, os.WriteFile(filepath.Join(root, "key.pem"), key, 0o600))
		args = append(args, "--cert", filepath.Join(root, "cert.pem"), "--key", filepath.Join(root, "key.pem"))
		g.endpoint = "https://" + address
	}
	var log bytes.Buffer
	server := exec.Command(strings.TrimSpace(string(path)), append(args, "posix", g.dir)...)
	server.Stdout, server.Stderr = &log, &log
	require.NoError(t, server.Start())
	t.Cleanup(func() {
		require.NoError(t, server.Process.Signal(syscall.SIGKILL))
		_ = server.Wait() // it was killed, and says so
		if t.Failed() {
			t.Log(log.String())
		}
	})
	require.Eventually(t, func() bool {
		c, err := net.Dial("tcp", address)
		if err != nil {
			return false
		}
		return c.Close() == nil
	}, 30*time.Second, 20*time.Millisecond, "versitygw does not listen")
	return g
}

func certificate(t *testing.T) (cert, key []byte, roots *x509.CertPool) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "versitygw"}, IPAddresses: []net.IP{{127, 0, 0, 1}},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	require.NoError(t, err)
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	cert = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	roots = x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(cert))
	return cert, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), roots
}

// world makes a bucket, which for this server is a directory.
func (g *gateway) world(t *testing.T) blobtest.World {
	w := &gatewayWorld{g, fmt.Sprintf("bucket-%d", g.buckets.Add(1))}
	require.NoError(t, os.Mkdir(filepath.Join(g.dir, w.bucket), 0o700))
	return w
}

type gatewayWorld struct {
	*gateway
	bucket string
}

func (w *gatewayWorld) Blobs(t testing.TB) nodes.Blobs    { return w.client(t, "secret") }
func (w *gatewayWorld) Stranger(t testing.TB) nodes.Blobs { return w.client(t, "guess") }

func (w *gatewayWorld) client(t testing.TB, secret string) nodes.Blobs {
	b, err := aws.NewBlobs(newMachine(t), aws.BlobsOptions{
		Endpoint: w.endpoint, Region: "eu-west", Bucket: w.bucket, Key: "alice", Secret: secret, Roots: w.roots,
	})
	require.NoError(t, err)
	return b
}

func newMachine(t testing.TB) nodes.Machine {
	m, err := nodes.NewOS(nodes.OSOptions{
		Host: nodes.Host{Name: "client", Addr: netip.MustParseAddr("127.0.0.1")}, Root: t.TempDir(),
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	return m
}
