package nodes_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"io/fs"
	"log/slog"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/nodes"
)

// bubble is a Machine in a synctest bubble, whose clocks are the bubble's.
type bubble struct {
	nodes.Machine
	start time.Time
	log   *slog.Logger
}

func (b bubble) Now() time.Time         { return time.Now() }
func (b bubble) Elapsed() time.Duration { return time.Since(b.start) }
func (b bubble) Log() *slog.Logger      { return b.log }

// lines is a log that can be read while it is written.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

// take gives what has been written since the last time.
func (l *lines) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.text.Reset()
	return l.text.String()
}

func newBubble(t *testing.T) (bubble, *lines) {
	m, err := nodes.NewOS(nodes.OSOptions{Root: t.TempDir()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	var log lines
	return bubble{m, time.Now(), slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))}, &log
}

// certificate makes one for alpha.test, with its key.
func certificate(t *testing.T, serial int64, from, to time.Time) []byte {
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), DNSNames: []string{"alpha.test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: from, NotAfter: to,
	}
	der, err := x509.CreateCertificate(nil, template, template, key.Public(), key)
	require.NoError(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	return append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})...)
}

const day = 24 * time.Hour

func TestCertificateIsReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, log := newBubble(t)
		put := func(text []byte) { require.NoError(t, nodes.WriteFile(m.Disk(), "/cert.pem", text)) }
		now := time.Now()
		one, two := certificate(t, 1, now, now.Add(90*day)), certificate(t, 2, now, now.Add(100*day))
		put(one)
		c, err := nodes.NewCertificate(m, "/cert.pem")
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go c.Keep(ctx)

		// A connection that is open does not notice any of what follows.
		near, far := net.Pipe()
		defer near.Close()
		go func() {
			server := tls.Server(far, &tls.Config{GetCertificate: c.Get, Time: m.Now})
			_, _ = io.Copy(server, server)
		}()
		roots := x509.NewCertPool()
		require.True(t, roots.AppendCertsFromPEM(one))
		conn := tls.Client(near, &tls.Config{RootCAs: roots, ServerName: "alpha.test", Time: m.Now})
		serial := func() int64 {
			shown, err := c.Get(nil)
			require.NoError(t, err)
			return shown.Leaf.SerialNumber.Int64()
		}
		echo := func() {
			_, err := io.WriteString(conn, "x")
			require.NoError(t, err)
			_, err = io.ReadFull(conn, make([]byte, 1))
			require.NoError(t, err)
		}
		minute := func() {
			time.Sleep(time.Minute + time.Second)
			synctest.Wait()
			echo()
		}
		echo()
		minute()
		require.Empty(t, log.take())

		half, _, _ := bytes.Cut(two, []byte("-----BEGIN PRIVATE")) // the rest is not there yet
		for _, broken := range [][]byte{[]byte("nonsense"), half} {
			put(broken)
			minute()
			require.Contains(t, log.take(), "level=ERROR msg=\"certificate not reloaded\" files=/cert.pem error=", "%s", broken)
			require.Equal(t, int64(1), serial(), "%s", broken)
		}
		minute()
		require.Empty(t, log.take(), "it has been said")
		require.NoError(t, m.Disk().Remove("/cert.pem"))
		minute()
		require.Contains(t, log.take(), "certificate not reloaded")

		put(two)
		minute()
		require.Equal(t, int64(2), serial())
		require.Equal(t, now.Add(100*day).Truncate(time.Second).UTC(), c.NotAfter())
		require.Regexp(t, `^level=INFO msg="certificate reloaded" files=/cert.pem until=\S+\n$`, log.take())
		put(one)
		c.Reload()
		require.Equal(t, int64(1), serial(), "at once")
	})
}

func TestCertificateEnds(t *testing.T) {
	for _, test := range []struct {
		name       string
		valid, due time.Duration // due is when to warn first
	}{
		{"of a public authority", 90 * day, 76 * day},
		{"short", 6 * day, 4 * day},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, log := newBubble(t)
				now := time.Now()
				require.NoError(t, nodes.WriteFile(m.Disk(), "/cert.pem", certificate(t, 1, now, now.Add(test.valid))))
				c, err := nodes.NewCertificate(m, "/cert.pem")
				require.NoError(t, err)
				ctx, cancel := context.WithCancel(t.Context())
				go c.Keep(ctx)
				time.Sleep(test.due - time.Hour)
				require.Empty(t, log.take())
				time.Sleep(2 * time.Hour)
				require.Regexp(t, `^level=WARN msg="certificate should be renewed" files=/cert.pem left=\S+\n$`, log.take())
				time.Sleep(day)
				require.Equal(t, 1, strings.Count(log.take(), "\n"), "daily")
				time.Sleep(test.valid - test.due + day)
				require.Contains(t, log.take(), `level=ERROR msg="certificate has expired" files=/cert.pem since=`)
				cancel()
				synctest.Wait()
			})
		})
	}
}

func TestCertificateErrors(t *testing.T) {
	m, _ := newBubble(t)
	_, err := nodes.NewCertificate(m, "/none.pem")
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorContains(t, err, "none.pem")
	require.NoError(t, nodes.WriteFile(m.Disk(), "/cert.pem", []byte("nonsense")))
	_, err = nodes.NewCertificate(m, "/cert.pem")
	require.ErrorContains(t, err, "certificate /cert.pem: tls: failed to find any PEM data")
}
