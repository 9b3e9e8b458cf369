package s3_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/fakes/internal/desk"
	"github.com/espra/protoplex/fakes/s3"
	"github.com/espra/protoplex/nodes"
	"github.com/espra/protoplex/nodes/aws"
	"github.com/espra/protoplex/nodes/blobtest"
)

// world is an endpoint with one bucket.
type world struct {
	machine  *desk.Desk
	endpoint string
	roots    *x509.CertPool
	stop     func()
}

const (
	address = "127.0.0.1"
	region  = "eu-west"
	bucket  = "espra-files"
)

// start runs the role. With TLS it has a certificate for the address's name.
func start(t testing.TB, secure bool, args ...string) *world {
	t.Helper()
	return startOn(t, desk.New(t, address), secure, args...)
}

func startOn(t testing.TB, m *desk.Desk, secure bool, args ...string) *world {
	t.Helper()
	port := desk.FreePort(t, address)
	w := &world{machine: m, endpoint: fmt.Sprintf("http://127.0.0.1:%d", port)}
	args = append([]string{
		"--listen", fmt.Sprintf("127.0.0.1:%d", port), "--bucket", bucket, "--key", "alice:secret", "--region", region,
	}, args...)
	if secure {
		pem, roots := desk.Certificate(t, "localhost")
		m.WriteFile(t, "/cert.pem", pem)
		w.endpoint, w.roots = fmt.Sprintf("https://localhost:%d", port), roots
		args = append(args, "--cert", "/cert.pem")
	}
	w.stop = m.Run(t, s3.Run, args...)
	m.Await(t, "s3 ready")
	return w
}

func (w *world) client(t testing.TB, secret string) nodes.Blobs {
	t.Helper()
	b, err := aws.NewBlobs(w.machine, aws.BlobsOptions{
		Endpoint: w.endpoint, Region: region, Bucket: bucket, Key: "alice", Secret: secret, Roots: w.roots,
	})
	require.NoError(t, err)
	return b
}

func (w *world) Blobs(t testing.TB) nodes.Blobs    { return w.client(t, "secret") }
func (w *world) Stranger(t testing.TB) nodes.Blobs { return w.client(t, "guess") }

func TestConformance(t *testing.T) {
	for _, secure := range []bool{false, true} {
		for _, args := range [][]string{nil, {"--dir", "/blobs"}} {
			t.Run(fmt.Sprintf("tls %v %v", secure, args), func(t *testing.T) {
				for _, test := range blobtest.Tests() {
					t.Run(test.Name, func(t *testing.T) { test.Run(t, start(t, secure, args...)) })
				}
			})
		}
	}
}

// httpClient trusts the world's certificate.
func (w *world) httpClient() *http.Client {
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: w.roots}}}
}

func TestRunRefuses(t *testing.T) {
	for _, args := range [][]string{
		{}, {"--key", "alice"}, {"--key", ":x"}, {"--key", "a:b", "extra"}, {"--key", "a:b", "--bucket", "No"}, {"--nonsense"},
		{"--key", "a:b", "--cert", "/nothing.pem"},
	} {
		require.Error(t, s3.Run(t.Context(), desk.New(t, address), args), "%v", args)
	}
}
