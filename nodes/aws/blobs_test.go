package aws_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/nodes"
	"github.com/espra/protoplex/nodes/aws"
)

// endpoint answers requests with one handler after the other, the last for all
// that follow, and counts them.
type endpoint struct {
	*httptest.Server
	mu       sync.Mutex
	requests int
}

func newEndpoint(t *testing.T, handlers ...http.HandlerFunc) *endpoint {
	e := &endpoint{}
	e.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e.mu.Lock()
		h := handlers[min(e.requests, len(handlers)-1)]
		e.requests++
		e.mu.Unlock()
		h(w, r)
	}))
	t.Cleanup(e.Close)
	return e
}

func (e *endpoint) seen() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.requests
}

func (e *endpoint) blobs(t *testing.T, m nodes.Machine) nodes.Blobs {
	b, err := aws.NewBlobs(m, aws.BlobsOptions{Endpoint: e.URL, Region: "eu-west", Bucket: "files", Key: "alice", Secret: "secret"})
	require.NoError(t, err)
	return b
}

func say(status int, code string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Etag", `"abc"`)
		w.WriteHeader(status)
		if code != "" && r.Method != http.MethodHead {
			_, _ = io.WriteString(w, "<Error><Code>"+code+"</Code><Message>m</Message></Error>")
		}
	}
}

// cut reads the request, as one that is applied, and hangs up.
func cut(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	panic(http.ErrAbortHandler)
}

func known(err error) bool {
	for _, k := range []error{nodes.ErrBlobConflict, nodes.ErrBlobDenied, nodes.ErrBlobNotFound, nodes.ErrBlobRange} {
		if errors.Is(err, k) {
			return true
		}
	}
	return false
}

func put(t *testing.T, b nodes.Blobs, o nodes.PutOptions) error {
	_, err := b.Put(t.Context(), "key", strings.NewReader("value"), 5, o)
	return err
}

// A write whose answer is lost, or says that something went wrong, is sent once.
// A second one would be answered 412 by the effect of the first.
func TestWritesAreSentOnce(t *testing.T) {
	for name, first := range map[string]http.HandlerFunc{
		"cut": cut, "500": say(500, "InternalError"), "503": say(503, "SlowDown"), "409": say(409, "OperationAborted"),
	} {
		t.Run(name, func(t *testing.T) {
			for _, o := range []nodes.PutOptions{{}, {IfAbsent: true}, {IfMatch: "abc"}} {
				e := newEndpoint(t, first, say(412, "PreconditionFailed"))
				err := put(t, e.blobs(t, newMachine(t)), o)
				require.Error(t, err)
				require.False(t, known(err), "%v", err)
				require.Equal(t, 1, e.seen())
			}
			e := newEndpoint(t, first, say(204, ""))
			require.Error(t, e.blobs(t, newMachine(t)).Delete(t.Context(), "key"))
			require.Equal(t, 1, e.seen())
		})
	}
}

func TestReadsAreTriedAgain(t *testing.T) {
	e := newEndpoint(t, say(503, "SlowDown"), cut, say(200, ""))
	_, err := e.blobs(t, newMachine(t)).Head(t.Context(), "key")
	require.NoError(t, err)
	require.Equal(t, 3, e.seen())

	e = newEndpoint(t, say(500, "InternalError"))
	_, err = e.blobs(t, newMachine(t)).Get(t.Context(), "key", nodes.GetOptions{})
	require.Error(t, err)
	require.False(t, known(err), "%v", err)
	require.Equal(t, 3, e.seen(), "and no longer")
}

func TestErrors(t *testing.T) {
	for _, c := range []struct {
		status int
		code   string
		o      nodes.PutOptions
		want   error
	}{
		{412, "PreconditionFailed", nodes.PutOptions{IfAbsent: true}, nodes.ErrBlobConflict},
		{409, "ConditionalRequestConflict", nodes.PutOptions{IfAbsent: true}, nodes.ErrBlobConflict},
		{404, "NoSuchKey", nodes.PutOptions{IfMatch: "abc"}, nodes.ErrBlobConflict},
		{404, "NoSuchBucket", nodes.PutOptions{IfMatch: "abc"}, nil},
		{403, "AccessDenied", nodes.PutOptions{}, nodes.ErrBlobDenied},
		{403, "InvalidAccessKeyId", nodes.PutOptions{}, nodes.ErrBlobDenied},
		{301, "PermanentRedirect", nodes.PutOptions{}, nil},
	} {
		e := newEndpoint(t, say(c.status, c.code))
		err := put(t, e.blobs(t, newMachine(t)), c.o)
		if c.want == nil {
			require.Error(t, err)
			require.False(t, known(err), "%v", err)
			continue
		}
		require.ErrorIs(t, err, c.want)
		require.Equal(t, 1, e.seen())
	}
	for code, status := range map[string]int{"NoSuchBucket": 404, "InvalidBucketName": 400} {
		_, err := newEndpoint(t, say(status, code)).blobs(t, newMachine(t)).Get(t.Context(), "key", nodes.GetOptions{})
		require.Error(t, err)
		require.False(t, known(err), "%v", err)
	}
}

// stubborn is a machine that fails to connect a few times, with a clock that is
// wrong.
type stubborn struct {
	nodes.Machine
	fail  atomic.Int64
	wrong time.Duration
}

func (s *stubborn) Now() time.Time { return s.Machine.Now().Add(s.wrong) }

func (s *stubborn) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if s.fail.Add(-1) >= 0 {
		return nil, &net.OpError{Op: "dial", Net: network, Err: errors.New("connection refused")}
	}
	return s.Machine.DialContext(ctx, network, address)
}

// What was never sent may be sent again.
func TestWritesConnectAgain(t *testing.T) {
	e := newEndpoint(t, say(200, ""))
	m := &stubborn{Machine: newMachine(t)}
	m.fail.Store(2)
	require.NoError(t, put(t, e.blobs(t, m), nodes.PutOptions{IfAbsent: true}))
	require.Equal(t, 1, e.seen())
	m.fail.Store(3)
	require.Error(t, put(t, e.blobs(t, m), nodes.PutOptions{}), "three attempts, not more")
}

// A machine whose clock is wrong learns the time from S3 and is served.
func TestClockIsCorrected(t *testing.T) {
	for _, wrong := range []time.Duration{time.Hour, -time.Hour, 24 * 365 * time.Hour} {
		var refused atomic.Int64
		e := newEndpoint(t, func(w http.ResponseWriter, r *http.Request) {
			at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
			if err != nil || time.Since(at).Abs() > 15*time.Minute {
				refused.Add(1)
				say(403, "RequestTimeTooSkewed")(w, r)
				return
			}
			say(200, "")(w, r)
		})
		b := e.blobs(t, &stubborn{Machine: newMachine(t), wrong: wrong})
		require.NoError(t, put(t, b, nodes.PutOptions{IfAbsent: true}))
		require.Equal(t, int64(1), refused.Load())
		require.NoError(t, put(t, b, nodes.PutOptions{}))
		require.Equal(t, int64(1), refused.Load(), "it remembers")
	}
	// Without a way to correct it, it is an error and not a denial for ever.
	e := newEndpoint(t, say(403, "RequestTimeTooSkewed"))
	require.Error(t, put(t, e.blobs(t, newMachine(t)), nodes.PutOptions{}))
	require.Equal(t, 3, e.seen())
}

// What the SDK adds to requests on its own account is not random, and as long
// on every system.
func TestHeaders(t *testing.T) {
	e := newEndpoint(t, func(w http.ResponseWriter, r *http.Request) {
		if r.UserAgent() != "protoplex" || r.Header.Get("Amz-Sdk-Invocation-Id") != "" {
			w.WriteHeader(http.StatusTeapot)
		}
	})
	_, err := e.blobs(t, newMachine(t)).Head(t.Context(), "key")
	require.NoError(t, err)
}

func TestNewBlobsRefuses(t *testing.T) {
	good := aws.BlobsOptions{Endpoint: "http://s3:80", Region: "eu-west", Bucket: "files", Key: "a", Secret: "b"}
	_, err := aws.NewBlobs(newMachine(t), good)
	require.NoError(t, err)
	for _, spoil := range []func(*aws.BlobsOptions){
		func(o *aws.BlobsOptions) { o.Endpoint = "s3:80" },
		func(o *aws.BlobsOptions) { o.Endpoint = "ftp://s3" },
		func(o *aws.BlobsOptions) { o.Region = "" },
		func(o *aws.BlobsOptions) { o.Bucket = "" },
		func(o *aws.BlobsOptions) { o.Key = "" },
		func(o *aws.BlobsOptions) { o.Secret = "" },
	} {
		o := good
		spoil(&o)
		_, err := aws.NewBlobs(newMachine(t), o)
		require.Error(t, err, "%+v", o)
	}
}
