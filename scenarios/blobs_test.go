package scenarios

import (
	"bytes"
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/fakes/s3"
	"github.com/espra/protoplex/nodes"
	"github.com/espra/protoplex/nodes/aws"
	"github.com/espra/protoplex/nodes/blobtest"
	"github.com/espra/protoplex/scenarios/pki"
	"github.com/espra/protoplex/sim"
)

// The whole road to objects works in a simulated world: the AWS SDK on one
// machine, S3 on another, TLS between them.
func TestBlobsConformance(t *testing.T) {
	t.Parallel()
	for where, dir := range map[string]string{"in memory": "", "on disk": "/blobs"} {
		for _, test := range blobtest.Tests() {
			t.Run(where+": "+test.Name, func(t *testing.T) {
				sim.Test(t, func(t *testing.T, w *sim.World) {
					test.Run(t, newBlobWorld(t, w, dir))
				})
			})
		}
	}
}

type blobWorld struct {
	w       *sim.World
	server  *sim.Machine
	roots   *x509.CertPool
	clients int
}

// newBlobWorld boots a server, which boots again when it is switched on again.
func newBlobWorld(t *testing.T, w *sim.World, dir string) *blobWorld {
	ca, err := pki.New(w.Start().Add(-time.Hour), w.Start().Add(365*24*time.Hour))
	require.NoError(t, err)
	leaf, err := ca.Leaf("s3")
	require.NoError(t, err)
	b := &blobWorld{w: w, server: w.NewMachine("s3"), roots: x509.NewCertPool()}
	require.True(t, b.roots.AppendCertsFromPEM(ca.RootsPEM()))
	require.NoError(t, nodes.WriteFile(disk{b.server.Disk()}, "/cert.pem", leaf))
	roles := nodes.Roles{"s3": s3.Run}
	b.server.OnBoot(func(m *sim.Machine) {
		startRole(m, "s3", roles, []string{
			"--cert", "/cert.pem", "--bucket", "leases", "--key", "node:secret", "--region", "us-east", "--dir", dir,
		})
	})
	b.settle()
	return b
}

// settle gives what was started the time to be ready.
func (b *blobWorld) settle() { time.Sleep(time.Second) }

func (b *blobWorld) Blobs(t testing.TB) nodes.Blobs    { return b.client(t, "secret") }
func (b *blobWorld) Stranger(t testing.TB) nodes.Blobs { return b.client(t, "guess") }

func (b *blobWorld) client(t testing.TB, secret string) nodes.Blobs {
	b.clients++
	m := (&conformanceWorld{b.w}).Machine(t, fmt.Sprintf("client-%d", b.clients), nil)
	blobs, err := aws.NewBlobs(m, aws.BlobsOptions{
		Endpoint: "https://s3", Region: "us-east", Bucket: "leases", Key: "node", Secret: secret, Roots: b.roots,
	})
	require.NoError(t, err)
	return blobs
}

// What a client was told is stored is there after a power failure at any
// moment; what was under way is there as a whole or not at all.
func TestBlobsSurvivePowerFailure(t *testing.T) {
	t.Parallel()
	for seed := uint64(1); seed <= 5; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			sim.TestWith(t, sim.Options{Seed: seed}, func(t *testing.T, w *sim.World) {
				b := newBlobWorld(t, w, "/blobs")
				blobs := b.Blobs(t)
				for round := range 8 {
					h := &writer{blobs: blobs, round: round}
					ctx, cancel := context.WithCancel(t.Context())
					done := make(chan struct{})
					go func() {
						defer close(done)
						h.write(ctx)
					}()
					time.Sleep(100*time.Millisecond + time.Duration(w.Choose("power", uint64(round))%uint64(200*time.Millisecond)))
					b.server.PowerOff()
					cancel()
					<-done
					b.server.PowerOn()
					b.settle()
					require.NotEmpty(t, h.kept, "nothing was stored before the power failed")
					h.check(t)
				}
			})
		})
	}
}

// writer puts, replaces and deletes until something fails.
type writer struct {
	blobs nodes.Blobs
	round int
	kept  map[string]string // acknowledged; "" for deleted
	last  string            // key whose last change may or may not have happened
	maybe string            // what it would hold
}

func (h *writer) write(ctx context.Context) {
	h.kept = map[string]string{}
	for i := 0; ; i++ {
		h.last = fmt.Sprintf("round-%d/%d", h.round, i%7)
		h.maybe = ""
		var err error
		if i%5 == 4 {
			err = h.blobs.Delete(ctx, h.last)
		} else {
			h.maybe = strings.Repeat(fmt.Sprintf("%d of %d;", i, h.round), 1+i*1000%9000)
			_, err = h.blobs.Put(ctx, h.last, bytes.NewReader([]byte(h.maybe)), int64(len(h.maybe)), nodes.PutOptions{})
		}
		if err != nil {
			return
		}
		h.kept[h.last] = h.maybe
	}
}

func (h *writer) check(t *testing.T) {
	for i := range 7 {
		key := fmt.Sprintf("round-%d/%d", h.round, i)
		found := ""
		blob, err := h.blobs.Get(t.Context(), key, nodes.GetOptions{})
		if err == nil {
			data, err := io.ReadAll(blob.Body)
			require.NoError(t, err)
			require.NoError(t, blob.Body.Close())
			found = string(data)
		} else {
			require.ErrorIs(t, err, nodes.ErrBlobNotFound)
		}
		if key == h.last && found == h.maybe {
			continue
		}
		require.True(t, found == h.kept[key], "%s holds %.40q of %d bytes, not %.40q of %d", key, found, len(found), h.kept[key], len(h.kept[key]))
	}
}

// One seed, one trace: neither the SDK nor the server draws anything of its own,
// also when many clients race.
func TestBlobsReplay(t *testing.T) {
	const where = "PROTOPLEX_BLOBS_TRACES"
	dir := os.Getenv(where) // set in the processes that the runs are
	if dir == "" {
		dir = t.TempDir()
		t.Setenv(where, dir)
	}
	var traces [][]byte
	for _, run := range []string{"first", "second", "third"} {
		file := filepath.Join(dir, run)
		t.Run(run, func(t *testing.T) {
			var trace bytes.Buffer
			t.Cleanup(func() {
				if trace.Len() > 0 {
					require.NoError(t, os.WriteFile(file, trace.Bytes(), 0o600))
				}
			})
			sim.TestWith(t, sim.Options{Seed: 1, Trace: &trace}, func(t *testing.T, w *sim.World) {
				b := newBlobWorld(t, w, "/blobs")
				for _, test := range blobtest.Tests() {
					if strings.Contains(test.Name, "one of many wins") {
						test.Run(t, b)
					}
				}
			})
		})
		if os.Getenv("SIM_INSIDE") != "" {
			continue
		}
		trace, err := os.ReadFile(file)
		require.NoError(t, err)
		traces = append(traces, trace)
	}
	for _, trace := range traces {
		require.Greater(t, bytes.Count(trace, []byte("\n")), 100)
		require.True(t, bytes.Equal(traces[0], trace), "two runs of one seed differ")
	}
}
