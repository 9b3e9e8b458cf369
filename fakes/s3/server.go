package s3

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/johannesboyne/gofakes3"

	"github.com/espra/protoplex/nodes"
)

const (
	maxSlots   = 256     // requests at once
	maxXML     = 2 << 20 // bytes of a body that is not an object
	maxDeletes = 1000    // keys in one request
	stall      = 30 * time.Second
	maxKey     = 1024 // bytes
	maxMeta    = 2048 // bytes of names and values of user metadata
	maxHeaders = 8192 // bytes of all values that are kept
	metaPrefix = "X-Amz-Meta-"
	copySource = "X-Amz-Copy-Source"
)

// Options configure a Server. Zero values of the limits give defaults.
type Options struct {
	Buckets []string          // made at the start if they are not there
	Keys    map[string]string // secrets by access key id
	Region  string            // that requests must be signed for; default us-east-1
	// Dir is where buckets are kept on the machine's disk. Empty keeps them in
	// memory, to be lost with the process.
	Dir string

	MaxObject  int64 // bytes of one object in one piece; default 5 GiB
	MaxMemory  int64 // bytes of all, without Dir; default 1 GiB
	MaxObjects int   // in one bucket; default 1,000,000
	MaxBuckets int   // default 100
}

// Server is an S3 endpoint, with the bucket in the path. It may be used
// concurrently.
type Server struct {
	m        nodes.Machine
	options  Options
	store    *store
	slots    chan struct{}
	requests atomic.Uint64
}

// New opens the store and gives its endpoint.
func New(ctx context.Context, m nodes.Machine, o Options) (*Server, error) {
	if o.Region == "" {
		o.Region = "us-east-1"
	}
	setDefault(&o.MaxObject, 5<<30)
	setDefault(&o.MaxMemory, 1<<30)
	setDefault(&o.MaxObjects, 1_000_000)
	setDefault(&o.MaxBuckets, 100)
	disk, dir := m.Disk(), o.Dir
	if dir == "" {
		disk = newMemory(o.MaxMemory)
	}
	st, err := openStore(m, disk, dir, o)
	if err != nil {
		return nil, fmt.Errorf("s3: open store: %w", err)
	}
	for _, name := range o.Buckets {
		if err := gofakes3.ValidateBucketName(name); err != nil {
			return nil, fmt.Errorf("s3: bucket %q: %w", name, err)
		}
		if _, err := st.bucket(name); err == nil {
			continue
		}
		if err := st.createBucket(ctx, name); err != nil {
			return nil, fmt.Errorf("s3: bucket %s: %w", name, err)
		}
	}
	return &Server{m: m, options: o, store: st, slots: make(chan struct{}, maxSlots)}, nil
}

func setDefault[T int | int64](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n, id := s.begin(w)
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	default:
		slowDown().write(w, r)
		return
	}
	v, e := s.accept(w, r, n)
	if e != nil {
		if e.status == http.StatusForbidden {
			s.m.Log().Warn("s3 denied", "code", e.code, "method", r.Method, "path", r.URL.Path)
		}
		e.write(v.answer, r)
		return
	}
	s.serve(v, id)
}

// begin numbers a request, names it, and writes what every answer has.
func (s *Server) begin(w http.ResponseWriter) (n, id uint64) {
	n = s.requests.Add(1)
	id = s.m.Rand("s3 request", n)
	h := w.Header()
	h.Set("X-Amz-Request-Id", fmt.Sprintf("%016X", id))
	h.Set("Server", "AmazonS3")
	h.Set("Date", s.m.Now().UTC().Format(http.TimeFormat)) // clients set their clocks by it
	return n, id
}

// Refuse implements faulty.API.
func (s *Server) Refuse(w http.ResponseWriter, r *http.Request, status int) {
	s.begin(w)
	e := internal()
	switch status {
	case http.StatusUnauthorized: // S3 says it so
		e = refuse(http.StatusForbidden, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.")
	case http.StatusForbidden:
		e = denied("Access Denied")
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		e = slowDown()
	}
	e.write(w, r)
}

// accept checks a request and gives the view of the store that it is served
// from. With a refusal, the view has nothing but the answer to write it to.
func (s *Server) accept(w http.ResponseWriter, r *http.Request, n uint64) (*view, *apiError) {
	name := "s3/" + strconv.FormatUint(n, 10)
	v := &view{Server: s, r: r}
	v.answer = &answer{ResponseWriter: w, view: v, stall: newStall(s.m, w, name+"/write")}
	bucket, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return v, refuse(http.StatusBadRequest, "InvalidURI", "Couldn't parse the specified URI.")
	}
	signature, e := s.authenticate(r)
	if e != nil {
		return v, e
	}
	if v.op, e = operationOf(r, bucket, key, query); e != nil {
		return v, e
	}
	switch {
	case len(key) > maxKey:
		return v, refuse(http.StatusBadRequest, "KeyTooLongError", "Your key is too long")
	case !utf8.ValidString(key):
		return v, refuse(http.StatusBadRequest, "InvalidURI", "Couldn't parse the specified URI.")
	}
	v.bucket, v.key, v.query = bucket, key, query
	v.conditions = takeConditions(r.Header)
	if e := v.checkConditions(); e != nil {
		return v, e
	}
	limit := int64(0)
	switch v.op.body {
	case xmlBody:
		limit = maxXML
	case dataBody:
		limit = s.options.MaxObject
	}
	raw := &slowReader{r: r.Body, stall: newStall(s.m, w, name+"/read")}
	if v.op.name == "CompleteMultipartUpload" {
		// The checksum is the object's, not the body's.
		if v.claim, e = checksumOf(r.Header); e != nil {
			return v, e
		}
		r.Header.Del(v.claim.header())
	}
	if v.body, e = newBody(r, raw, signature, limit); e != nil {
		return v, e
	}
	return v, v.prepare()
}

func (v *view) checkConditions() *apiError {
	c := v.conditions
	switch v.op.name {
	case "GetObject", "HeadObject":
		return nil
	case "PutObject", "CompleteMultipartUpload":
		return c.forWriting()
	case "DeleteObject":
		return c.forDeleting()
	}
	if c != (conditions{}) {
		return notImplemented("conditions on " + v.op.name)
	}
	return nil
}

// prepare makes the request one that gofakes3 understands aright.
func (v *view) prepare() *apiError {
	h := v.r.Header
	if v.op.body == dataBody {
		if source := h.Get(copySource); source != "" {
			return v.prepareCopy(source)
		}
		v.r.Body = io.NopCloser(v.body)
		h.Set("Content-Length", strconv.FormatInt(v.body.size, 10))
		v.r.ContentLength = v.body.size
	} else {
		data, e := v.body.whole()
		if e != nil {
			return e
		}
		if v.op.name == "DeleteObjects" {
			if e := v.checkDeletes(data); e != nil {
				return e
			}
		}
		v.r.Body = io.NopCloser(bytes.NewReader(data))
	}
	// What is left to gofakes3 must not look for these.
	h.Del("X-Amz-Content-Sha256")
	h.Del("Content-Md5")
	var e *apiError
	v.header, e = keptHeaders(h)
	return e
}

// checkDeletes refuses what gofakes3 would not see in a request for deletion,
// and one that no checksum protects, as S3 does.
func (v *view) checkDeletes(data []byte) *apiError {
	var in struct {
		Object []struct {
			Version  *string `xml:"VersionId"`
			ETag     *string `xml:"ETag"`
			Size     *string `xml:"Size"`
			Modified *string `xml:"LastModifiedTime"`
		}
	}
	if xml.Unmarshal(data, &in) != nil || len(in.Object) == 0 || len(in.Object) > maxDeletes {
		return refuse(http.StatusBadRequest, "MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema.")
	}
	for _, o := range in.Object {
		if o.Version != nil || o.ETag != nil || o.Size != nil || o.Modified != nil {
			return notImplemented("conditions and versions in DeleteObjects")
		}
	}
	if checked, _ := checksumOf(v.r.Header); v.body.wantMD5 == nil && checked.Algorithm == "" {
		return refuse(http.StatusBadRequest, "InvalidRequest", "Missing required header for this request: Content-MD5")
	}
	return nil
}

// keptHeaders gives what an object is stored with and given back with.
func keptHeaders(h http.Header) (map[string]string, *apiError) {
	kept, size := map[string]string{}, 0
	for name, values := range h {
		switch name {
		case "Cache-Control", "Content-Disposition", "Content-Language", "Content-Type", "Expires":
			kept[name] = values[0]
		case "Content-Encoding":
			var left []string
			for _, token := range strings.Split(strings.Join(values, ","), ",") {
				if token = strings.TrimSpace(token); token != "" && token != "aws-chunked" {
					left = append(left, token)
				}
			}
			if len(left) > 0 {
				kept[name] = strings.Join(left, ",")
			}
		default:
			if key, ok := strings.CutPrefix(name, metaPrefix); ok {
				kept[name] = strings.Join(values, ",")
				size += len(key) + len(kept[name])
			}
		}
	}
	all := 0
	for _, v := range kept {
		if all += len(v); !utf8.ValidString(v) {
			return nil, invalidArgument("Headers must be UTF-8.")
		}
	}
	if size > maxMeta || all > maxHeaders {
		return nil, refuse(http.StatusBadRequest, "MetadataTooLarge", "Your metadata headers exceed the maximum allowed metadata size.")
	}
	return kept, nil
}

// serve answers a request that was accepted.
func (s *Server) serve(v *view, id uint64) {
	switch v.op.name {
	case "ListObjects", "ListObjectsV2":
		v.listObjects()
		return
	case "GetBucketLocation":
		v.location()
		return
	case "GetBucketVersioning":
		v.versioning()
		return
	}
	// gofakes3 counts before it names.
	gofakes3.New(
		v, gofakes3.WithRequestID(id-1), gofakes3.WithTimeSource(clock{s.m}), gofakes3.WithTimeSkewLimit(0),
		gofakes3.WithMetadataSizeLimit(0), gofakes3.WithoutVersioning(),
	).Server().ServeHTTP(v.answer, v.r)
	// A put that went well is answered by headers alone.
	v.answer.WriteHeader(http.StatusOK)
}

// clock is the machine's wall clock for gofakes3.
type clock struct{ m nodes.Machine }

func (c clock) Now() time.Time                  { return c.m.Now().UTC() }
func (c clock) Since(t time.Time) time.Duration { return c.m.Now().Sub(t) }

// newStall gives a function that allows the client another while, to be called
// before each read or write, or, when it is done, any time.
func newStall(m nodes.Machine, w http.ResponseWriter, name string) func(read, done bool) {
	control := http.NewResponseController(w)
	return func(read, done bool) {
		set, at := control.SetWriteDeadline, time.Time{}
		if read {
			set = control.SetReadDeadline
		}
		if !done {
			at = nodes.Deadline(m, name, stall)
		}
		// Without deadlines, as when there is no connection, the server's
		// limits hold.
		_ = set(at)
	}
}

// slowReader reads from a client for as long as it sends something.
type slowReader struct {
	r     io.Reader
	stall func(read, done bool)
}

// Read implements io.Reader.
func (s *slowReader) Read(p []byte) (int, error) {
	s.stall(true, false)
	n, err := s.r.Read(p)
	if err != nil {
		// From here on the server reads only to see the client go, and would
		// take a deadline for that.
		s.stall(true, true)
	}
	return n, err
}

// answer mends what gofakes3 answers.
type answer struct {
	http.ResponseWriter
	view    *view
	stall   func(read, done bool)
	began   bool
	refused bool // what gofakes3 writes is not sent
}

// WriteHeader implements http.ResponseWriter.
func (a *answer) WriteHeader(status int) {
	if a.began {
		return
	}
	a.began = true
	h := a.Header()
	for _, name := range []string{"Access-Control-Allow-Origin", "X-Amz-Delete-Marker"} {
		h.Del(name)
	}
	a.stall(false, false)
	if f := a.view.failure; f != nil {
		a.refused = true
		f.write(a.ResponseWriter, a.view.r)
		return
	}
	for name, values := range a.view.add {
		h[name] = values
	}
	a.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (a *answer) Write(p []byte) (int, error) {
	if !a.began {
		a.WriteHeader(http.StatusOK)
	}
	if a.refused {
		return len(p), nil
	}
	if a.view.broken {
		// What has been sent says that an object follows, and gofakes3 is
		// about to add an error to it.
		panic(http.ErrAbortHandler)
	}
	a.stall(false, false)
	return a.ResponseWriter.Write(p)
}

// fail keeps an error to be answered, and gives one for gofakes3.
func (v *view) fail(err error) error {
	e := (*apiError)(nil)
	if !errors.As(err, &e) {
		e = internal()
		if v.r.Context().Err() == nil {
			v.m.Log().Error("s3 failed", "operation", v.op.name, "bucket", v.bucket, "error", err)
		}
	}
	v.failure = e
	return gofakes3.ErrInternal
}
