// Package desk gives the tests of the fakes a Machine: the operating system's,
// on a loopback address, with a log that a test can wait on. It promises that a
// role started with Run has ended before its test does; whatever fails, fails
// the test. Start reading at New.
package desk

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/nodes"
)

// patience is how long a test waits for what it expects.
const patience = 10 * time.Second

// Desk is a Machine with its log.
type Desk struct {
	nodes.Machine
	lines chan map[string]any
}

// New makes a machine at a loopback address.
func New(t testing.TB, addr string) *Desk {
	t.Helper()
	d := &Desk{lines: make(chan map[string]any, 10_000)}
	m, err := nodes.NewOS(nodes.OSOptions{
		Host: nodes.Host{Name: t.Name(), Zone: "us-east-a", Addr: netip.MustParseAddr(addr)},
		Root: t.TempDir(),
		Log:  slog.New(slog.NewJSONHandler(lineWriter(d.lines), nil)),
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	d.Machine = m
	return d
}

type lineWriter chan map[string]any

// Write takes one JSON line, as slog's handler writes it.
func (w lineWriter) Write(line []byte) (int, error) {
	var fields map[string]any
	if err := json.Unmarshal(line, &fields); err != nil {
		return 0, err
	}
	select {
	case w <- fields:
	default: // nobody waits for that many lines
	}
	return len(line), nil
}

// WriteFile puts a file on the machine's disk.
func (d *Desk) WriteFile(t testing.TB, name string, data []byte) {
	t.Helper()
	f, err := d.Disk().Create(name)
	require.NoError(t, err)
	_, err = f.WriteAt(data, 0)
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

// Run runs a role until the test ends or the given function is called, which
// waits for the end and checks that it was a clean one.
func (d *Desk) Run(t testing.TB, role nodes.Role, args ...string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	var err error
	go func() {
		defer close(ended)
		err = role(ctx, d, args)
	}()
	stop = func() {
		cancel()
		select {
		case <-ended:
			require.NoError(t, err)
		case <-time.After(patience):
			t.Fatal("the role did not stop")
		}
	}
	t.Cleanup(stop)
	return stop
}

// Await gives the next log line of that message whose attributes have the given
// values, as pairs. It drops the lines before it.
func (d *Desk) Await(t testing.TB, msg string, pairs ...string) map[string]any {
	t.Helper()
	late := time.After(patience)
	var seen []string
	for {
		select {
		case line := <-d.lines:
			ok := line["msg"] == msg
			for i := 0; ok && i+1 < len(pairs); i += 2 {
				ok = line[pairs[i]] == pairs[i+1]
			}
			if ok {
				return line
			}
			text, err := json.Marshal(line)
			require.NoError(t, err)
			seen = append(seen, string(text))
		case <-late:
			t.Fatalf("no log line %q %v after %q", msg, pairs, seen)
		}
	}
}

// Pending gives the messages logged and not taken yet.
func (d *Desk) Pending() []string {
	var out []string
	for {
		select {
		case line := <-d.lines:
			out = append(out, line["msg"].(string))
		default:
			return out
		}
	}
}

// Eventually waits until f holds.
func Eventually(t testing.TB, f func() bool, what string) {
	t.Helper()
	require.Eventually(t, f, patience, 5*time.Millisecond, what)
}

// FreePort gives a TCP port that was free on the address a moment ago.
func FreePort(t testing.TB, addr string) int {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(addr, "0"))
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// Certificate mints a certificate for a host: one PEM with its key, as the roles
// read it, and a pool that trusts it.
func Certificate(t testing.TB, host string) ([]byte, *x509.CertPool) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	require.NoError(t, err)
	key, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	var out bytes.Buffer
	require.NoError(t, pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: der}))
	require.NoError(t, pem.Encode(&out, &pem.Block{Type: "PRIVATE KEY", Bytes: key}))
	pool := x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM(out.Bytes()))
	return out.Bytes(), pool
}
