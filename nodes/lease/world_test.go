package lease_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"fmt"
	"hash/fnv"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/nodes"
	"github.com/espra/protoplex/nodes/lease"
	"github.com/espra/protoplex/nodes/leasetest"
)

// bucket is nodes.Blobs in memory, with what leases use of it.
type bucket struct {
	nodes.Blobs

	mu      sync.Mutex
	objects map[string]string
	bodies  map[string]int // how often each was sent
	gets    int
	// next is what goes wrong with coming puts, one after another.
	next []trouble
	// away has every request fail.
	away error
	// slow holds requests up; cut has bodies end early.
	slowPuts, slowGets time.Duration
	cut                bool
}

// trouble is one way for a put to go wrong: whether it is applied now, and what
// is answered. A late one is applied when the next put has been judged.
type trouble struct {
	applied, late bool
	err           error
	then          func() // called in between
}

func etag(body string) string { return fmt.Sprintf("%x", md5.Sum([]byte(body))) }

func (b *bucket) Put(ctx context.Context, key string, r io.ReadSeeker, size int64, o nodes.PutOptions) (nodes.BlobInfo, error) {
	data, err := io.ReadAll(r)
	if err != nil || int64(len(data)) != size {
		return nodes.BlobInfo{}, fmt.Errorf("body of %d bytes, not %d: %v", len(data), size, err)
	}
	hold(ctx, b.slowPuts)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.bodies[string(data)]++
	if err := ctx.Err(); err != nil {
		return nodes.BlobInfo{}, err
	}
	if b.away != nil {
		return nodes.BlobInfo{}, b.away
	}
	var bad trouble
	if len(b.next) > 0 {
		bad, b.next = b.next[0], b.next[1:]
	}
	if bad.late {
		b.next = append([]trouble{{applied: true, then: func() { b.apply(key, string(data), o) }}}, b.next...)
		return nodes.BlobInfo{}, bad.err
	}
	if bad.then != nil {
		bad.then()
	}
	if bad.err != nil && !bad.applied {
		return nodes.BlobInfo{}, bad.err
	}
	if !b.apply(key, string(data), o) {
		return nodes.BlobInfo{}, nodes.ErrBlobConflict
	}
	return nodes.BlobInfo{Key: key, ETag: etag(string(data))}, bad.err
}

func (b *bucket) apply(key, body string, o nodes.PutOptions) bool {
	old, there := b.objects[key]
	if o.IfAbsent && there || o.IfMatch != "" && (!there || etag(old) != o.IfMatch) {
		return false
	}
	b.objects[key] = body
	return true
}

func (b *bucket) Get(ctx context.Context, key string, _ nodes.GetOptions) (nodes.Blob, error) {
	hold(ctx, b.slowGets)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.gets++
	if err := ctx.Err(); err != nil {
		return nodes.Blob{}, err
	}
	if b.away != nil {
		return nodes.Blob{}, b.away
	}
	body, there := b.objects[key]
	if !there {
		return nodes.Blob{}, nodes.ErrBlobNotFound
	}
	data := []byte(body)
	if b.cut {
		data = data[:len(data)/2]
	}
	return nodes.Blob{
		BlobInfo: nodes.BlobInfo{Key: key, Size: int64(len(body)), ETag: etag(body)},
		Body:     io.NopCloser(bytes.NewReader(data)),
	}, nil
}

func hold(ctx context.Context, d time.Duration) {
	if d == 0 {
		return
	}
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// set is a hand in the bucket.
func (b *bucket) set(key, body string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.objects[key] = body
}

func (b *bucket) remove(key string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.objects, key)
}

func (b *bucket) body(key string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.objects[key]
}

// host is the Machine of one process, with a clock that can drift and random
// numbers that repeat in every incarnation, as in a simulated world.
type host struct {
	nodes.Machine
	name   string
	begin  time.Time
	drift  atomic.Int64 // parts per million
	paused atomic.Int64 // the reading at which the clock stands still
}

func (h *host) Host() nodes.Host { return nodes.Host{Name: h.name, Proc: "test"} }
func (h *host) Now() time.Time   { return time.Now().Round(0) }
func (h *host) Log() *slog.Logger {
	return slog.New(slog.DiscardHandler)
}

func (h *host) Elapsed() time.Duration {
	if at := h.paused.Load(); at != 0 {
		return time.Duration(at)
	}
	real := time.Since(h.begin)
	return real + time.Duration(int64(real)/1_000_000*h.drift.Load())
}

func (h *host) Rand(name string, n uint64) uint64 {
	f := fnv.New64a()
	fmt.Fprintf(f, "%s/%s/%d", h.name, name, n)
	return f.Sum64()
}

// world is a bucket and processes around it, in a bubble.
type world struct {
	*bucket
	begin   time.Time
	options lease.Options
}

func newWorld() *world {
	return &world{
		bucket:  &bucket{objects: map[string]string{}, bodies: map[string]int{}},
		begin:   time.Now().Add(-time.Hour),
		options: lease.Options{Prefix: "leases/"},
	}
}

func (w *world) Pass(d time.Duration) { time.Sleep(d) }

func (w *world) Process(_ testing.TB, name string) leasetest.Process {
	p, _ := w.process(name)
	return p
}

func (w *world) process(name string) (leasetest.Process, *host) {
	h := &host{name: name, begin: w.begin}
	time.Sleep(time.Microsecond) // no process starts at the instant of another
	return leasetest.Process{Leases: lease.New(h, w.bucket, w.options), Elapsed: h.Elapsed}, h
}

// distinct fails if any body was sent twice.
func (w *world) distinct(t testing.TB) {
	t.Helper()
	require.NotEmpty(t, w.bodies)
	for body, n := range w.bodies {
		require.Equal(t, 1, n, "sent twice: %s", body)
	}
}
