package s3_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/fakes/internal/desk"
	"github.com/espra/protoplex/fakes/s3"
	"github.com/espra/protoplex/nodes"
)

// faulty is a machine whose disk fails when it is told to.
type faulty struct {
	nodes.Machine
	reads, writes, renames, syncs atomic.Bool
}

func (f *faulty) Disk() nodes.Disk { return faultyDisk{f.Machine.Disk(), f} }

type faultyDisk struct {
	nodes.Disk
	f *faulty
}

func (d faultyDisk) Create(name string) (nodes.File, error) {
	file, err := d.Disk.Create(name)
	return faultyFile{file, d.f}, err
}

func (d faultyDisk) Open(name string) (nodes.File, error) {
	file, err := d.Disk.Open(name)
	return faultyFile{file, d.f}, err
}

func (d faultyDisk) Rename(from, to string) error {
	if d.f.renames.Load() {
		return syscall.EIO
	}
	return d.Disk.Rename(from, to)
}

func (d faultyDisk) SyncDir(dir string) error {
	if d.f.syncs.Load() {
		return syscall.EIO
	}
	return d.Disk.SyncDir(dir)
}

type faultyFile struct {
	nodes.File
	f *faulty
}

func (f faultyFile) ReadAt(p []byte, off int64) (int, error) {
	if f.f.reads.Load() && off > 0 {
		return 0, syscall.EIO
	}
	return f.File.ReadAt(p, off)
}

func (f faultyFile) WriteAt(p []byte, off int64) (int, error) {
	if f.f.writes.Load() {
		return 0, syscall.ENOSPC
	}
	return f.File.WriteAt(p, off)
}

// serve gives a server on a machine and a client of it.
func serve(t testing.TB, m nodes.Machine, o s3.Options) *sdk.Client {
	t.Helper()
	o.Keys, o.Region, o.Buckets = map[string]string{"alice": "secret"}, region, []string{bucket}
	s, err := s3.New(t.Context(), m, o)
	require.NoError(t, err)
	h := httptest.NewServer(s)
	t.Cleanup(h.Close)
	return (&world{endpoint: h.URL}).raw(t)
}

func tryPut(t testing.TB, c *sdk.Client, key string, body []byte) error {
	t.Helper()
	_, err := c.PutObject(t.Context(), &sdk.PutObjectInput{Bucket: aws.String(bucket), Key: &key, Body: bytes.NewReader(body)})
	return err
}

// A disk that fails in the middle of an object breaks the answer off: its length
// has been promised, and nothing else may take the place of its content.
func TestReadFailure(t *testing.T) {
	m := &faulty{Machine: desk.New(t, address)}
	c := serve(t, m, s3.Options{Dir: "/blobs"})
	require.NoError(t, tryPut(t, c, "key", make([]byte, 300<<10)))
	m.reads.Store(true)
	out, err := c.GetObject(t.Context(), &sdk.GetObjectInput{Bucket: aws.String(bucket), Key: aws.String("key")})
	require.NoError(t, err)
	data, err := io.ReadAll(out.Body)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.Equal(t, make([]byte, len(data)), data)
}

// A put that the disk does not take changes nothing, now or after a restart.
func TestWriteFailure(t *testing.T) {
	m := &faulty{Machine: desk.New(t, address)}
	c := serve(t, m, s3.Options{Dir: "/blobs"})
	require.NoError(t, tryPut(t, c, "key", []byte("value")))
	for name, fail := range map[string]*atomic.Bool{"write": &m.writes, "rename": &m.renames, "sync": &m.syncs} {
		fail.Store(true)
		requireCode(t, "InternalError", tryPut(t, c, "key", []byte("other")), name)
		requireCode(t, "InternalError", tryPut(t, c, name, []byte("other")), name)
		require.Equal(t, "value", get(t, c, "key"), name)
		fail.Store(false)
		files, err := m.Disk().List("/blobs/" + bucket + "/objects")
		require.NoError(t, err)
		require.Len(t, files, 1, "nothing is left behind after a failed "+name)
	}
	c = serve(t, m, s3.Options{Dir: "/blobs"})
	require.Equal(t, "value", get(t, c, "key"))
	list, err := c.ListObjectsV2(t.Context(), &sdk.ListObjectsV2Input{Bucket: aws.String(bucket)})
	require.NoError(t, err)
	require.Len(t, list.Contents, 1)
}

// A bucket of which it is not known whether it was deleted takes nothing that a
// restart would lose, and can be deleted or made again.
func TestDeleteBucketFailure(t *testing.T) {
	m := &faulty{Machine: desk.New(t, address)}
	c := serve(t, m, s3.Options{Dir: "/blobs"})
	remove := func() error {
		_, err := c.DeleteBucket(t.Context(), &sdk.DeleteBucketInput{Bucket: aws.String(bucket)})
		return err
	}
	m.syncs.Store(true)
	requireCode(t, "InternalError", remove())
	m.syncs.Store(false)
	requireCode(t, "NoSuchBucket", tryPut(t, c, "key", []byte("value")))
	requireCode(t, "NoSuchBucket", remove())
	_, err := c.CreateBucket(t.Context(), &sdk.CreateBucketInput{Bucket: aws.String(bucket)})
	require.NoError(t, err)
	require.NoError(t, tryPut(t, c, "key", []byte("value")))
	require.Equal(t, "value", get(t, serve(t, m, s3.Options{Dir: "/blobs"}), "key"))
}

// A store with a file that is none of its own is not opened.
func TestDamage(t *testing.T) {
	m := desk.New(t, address)
	c := serve(t, m, s3.Options{Dir: "/blobs"})
	require.NoError(t, tryPut(t, c, "key", []byte("value")))
	dir := "/blobs/" + bucket + "/objects/"
	files, err := m.Disk().List(dir)
	require.NoError(t, err)
	whole, err := nodes.ReadFile(m.Disk(), dir+files[0], 1<<20)
	require.NoError(t, err)
	for _, damaged := range [][]byte{nil, []byte("x"), whole[1:], whole[:len(whole)-1], append([]byte("x"), whole...)} {
		m.WriteFile(t, dir+files[0], damaged)
		_, err := s3.New(t.Context(), m, s3.Options{Dir: "/blobs"})
		require.Error(t, err)
	}
	m.WriteFile(t, dir+files[0], whole)
	require.Equal(t, "value", get(t, serve(t, m, s3.Options{Dir: "/blobs"}), "key"))
}

func TestLimits(t *testing.T) {
	c := serve(t, desk.New(t, address), s3.Options{MaxObject: 100_000, MaxMemory: 250_000, MaxObjects: 3, MaxBuckets: 2})
	require.NoError(t, tryPut(t, c, "a", make([]byte, 100_000)))
	requireCode(t, "EntityTooLarge", tryPut(t, c, "a", make([]byte, 100_001)))
	require.NoError(t, tryPut(t, c, "b", make([]byte, 100_000)))
	requireCode(t, "InternalError", tryPut(t, c, "c", make([]byte, 100_000)), "memory is full")
	// What was begun, and what is replaced or deleted, is given back.
	for range 10 {
		_, err := c.DeleteObject(t.Context(), &sdk.DeleteObjectInput{Bucket: aws.String(bucket), Key: aws.String("b")})
		require.NoError(t, err)
		require.NoError(t, tryPut(t, c, "b", make([]byte, 100_000)))
	}
	require.NoError(t, tryPut(t, c, "c", nil))
	requireCode(t, "SlowDown", tryPut(t, c, "d", nil))
	require.NoError(t, tryPut(t, c, "c", nil), "replacing takes no room")

	requireCode(t, "KeyTooLongError", tryPut(t, c, strings.Repeat("k", 1025), nil))
	_, err := c.CreateBucket(t.Context(), &sdk.CreateBucketInput{Bucket: aws.String("second")})
	require.NoError(t, err)
	_, err = c.CreateBucket(t.Context(), &sdk.CreateBucketInput{Bucket: aws.String("third")})
	requireCode(t, "TooManyBuckets", err)
}

// Clients that hold back their bodies take all places; then it is said at once
// that there is none, and each place is free again when its client has gone.
func TestManyClients(t *testing.T) {
	const places = 256
	c := serve(t, desk.New(t, address), s3.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan error, 10*places)
	begun := make(chan struct{}, 10*places)
	holding := 0
	hold := func() {
		key := fmt.Sprint(holding)
		holding++
		go func() {
			_, err := c.PutObject(ctx, &sdk.PutObjectInput{
				Bucket: aws.String(bucket), Key: aws.String(key), Body: &held{ctx: ctx, begun: begun}, ContentLength: aws.Int64(1 << 20),
			}, func(o *sdk.Options) { o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired }, unsigned)
			gone <- err
		}()
	}
	for range places {
		hold()
	}
	for range places {
		<-begun
	}
	for refused := false; !refused; {
		var e interface{ ErrorCode() string }
		refused = errors.As(tryPut(t, c, "key", nil), &e) && e.ErrorCode() == "SlowDown"
		if !refused { // it may have taken the place of one of those that hold
			require.Less(t, holding, 10*places, "nobody is refused")
			hold()
		}
	}
	cancel()
	for range holding {
		require.Error(t, <-gone)
	}
	desk.Eventually(t, func() bool { return tryPut(t, c, "key", []byte("value")) == nil }, "places are not given back")
	require.Equal(t, "value", get(t, c, "key"))
}

// unsigned leaves the body out of the signature, so that it need not be read
// beforehand.
func unsigned(o *sdk.Options) {
	o.APIOptions = append(o.APIOptions, v4.SwapComputePayloadSHA256ForUnsignedPayloadMiddleware)
}

// held is a body of which one byte comes and then nothing.
type held struct {
	ctx   context.Context
	begun chan<- struct{}
	sent  bool
}

func (h *held) Read(p []byte) (int, error) {
	if !h.sent {
		h.sent = true
		h.begun <- struct{}{}
		return 1, nil
	}
	<-h.ctx.Done()
	return 0, h.ctx.Err()
}
