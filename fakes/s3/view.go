package s3

import (
	"errors"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/johannesboyne/gofakes3"

	"github.com/espra/protoplex/nodes"
)

// view is the store as one request sees it: a backend of gofakes3 that knows the
// request's conditions, checksums and errors, which gofakes3 does not pass on.
type view struct {
	*Server
	r           *http.Request
	answer      *answer
	op          *operation
	bucket, key string
	query       url.Values
	conditions  conditions
	body        *body
	claim       checksum          // of the object that an upload becomes
	header      map[string]string // to store
	source      conditions        // on the source of a copy
	replace     bool              // take the headers from the request, not from the source of a copy

	add     http.Header // to the answer
	failure *apiError   // the answer
	broken  bool        // the content ended too soon
}

var (
	_ gofakes3.Backend          = (*view)(nil)
	_ gofakes3.MultipartBackend = (*view)(nil)
)

func (s *store) now() time.Time { return s.m.Now().UTC().Truncate(time.Second) }

// ListBuckets implements gofakes3.Backend.
func (v *view) ListBuckets() ([]gofakes3.BucketInfo, error) {
	var out []gofakes3.BucketInfo
	for _, name := range v.store.bucketNames() {
		if b, err := v.store.bucket(name); err == nil {
			out = append(out, gofakes3.BucketInfo{Name: name, CreationDate: gofakes3.NewContentTime(b.created)})
		}
	}
	return out, nil
}

// ListBucket implements gofakes3.Backend; lists are answered without it.
func (v *view) ListBucket(string, *gofakes3.Prefix, gofakes3.ListBucketPage) (*gofakes3.ObjectList, error) {
	return nil, gofakes3.ErrNotImplemented
}

// CreateBucket implements gofakes3.Backend.
func (v *view) CreateBucket(name string) error {
	if err := v.store.createBucket(v.r.Context(), name); err != nil {
		return v.fail(err)
	}
	return nil
}

// BucketExists implements gofakes3.Backend.
func (v *view) BucketExists(name string) (bool, error) {
	_, err := v.store.bucket(name)
	if err != nil {
		return false, v.fail(err)
	}
	return true, nil
}

// DeleteBucket implements gofakes3.Backend.
func (v *view) DeleteBucket(name string) error {
	if err := v.store.deleteBucket(v.r.Context(), name); err != nil {
		return v.fail(err)
	}
	return nil
}

// ForceDeleteBucket implements gofakes3.Backend; it is no operation of S3.
func (v *view) ForceDeleteBucket(string) error { return gofakes3.ErrNotImplemented }

// GetObject implements gofakes3.Backend.
func (v *view) GetObject(bucket, key string, wanted *gofakes3.ObjectRangeRequest) (*gofakes3.Object, error) {
	o, f, err := v.store.open(bucket, key)
	if err != nil {
		return nil, v.fail(err)
	}
	out, err := v.object(o.record, wanted)
	if err != nil {
		_ = f.Close() // only read from
		return nil, v.fail(err)
	}
	from, length := int64(0), o.Size
	if out.Range != nil {
		from, length = out.Range.Start, out.Range.Length
	}
	out.Contents = &content{view: v, r: io.NewSectionReader(f, from, length), left: length, file: f}
	return out, nil
}

// HeadObject implements gofakes3.Backend.
func (v *view) HeadObject(bucket, key string) (*gofakes3.Object, error) {
	o, err := v.store.find(bucket, key)
	if err == nil && o == nil {
		err = noSuchKey()
	}
	if err != nil {
		return nil, v.fail(err)
	}
	out, err := v.object(o.record, nil)
	if err != nil {
		return nil, v.fail(err)
	}
	out.Contents = io.NopCloser(strings.NewReader(""))
	return out, nil
}

// object describes what is read, if the conditions hold.
func (v *view) object(r *record, wanted *gofakes3.ObjectRangeRequest) (*gofakes3.Object, error) {
	modified := r.Modified.Format(http.TimeFormat)
	v.add = http.Header{}
	v.add.Set("Etag", `"`+r.ETag+`"`)
	v.add.Set("Last-Modified", modified)
	if v.source == (conditions{}) && !v.copies() {
		if e := v.conditions.reading(r.ETag, r.Modified); e != nil {
			maps.Copy(v.answer.Header(), v.add)
			return nil, e
		}
	}
	meta := map[string]string{"Content-Type": "binary/octet-stream"}
	maps.Copy(meta, r.Header)
	if wanted != nil { // the sums that gofakes3 does with it would overflow
		wanted.End = min(wanted.End, r.Size)
	}
	section, err := wanted.Range(r.Size)
	if err != nil {
		return nil, refuse(http.StatusRequestedRangeNotSatisfiable, "InvalidRange", "The requested range is not satisfiable")
	}
	if v.r.Header.Get(checksumPrefix+"Mode") == "ENABLED" && v.r.Header.Get("Range") == "" {
		r.Checksum.setTo(v.add)
	}
	return &gofakes3.Object{Name: r.Key, Metadata: meta, Size: r.Size, Range: section}, nil
}

// content is an object on its way to a client.
type content struct {
	view *view
	r    io.Reader
	left int64
	file nodes.File
}

// Read implements io.Reader.
func (c *content) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.left -= int64(n)
	if err != nil && c.left > 0 {
		c.view.broken = true
		c.view.m.Log().Error("s3 failed", "operation", c.view.op.name, "bucket", c.view.bucket, "error", err)
	}
	return n, err
}

// Close implements io.Closer.
func (c *content) Close() error { return c.file.Close() }

// DeleteObject implements gofakes3.Backend.
func (v *view) DeleteObject(bucket, key string) (gofakes3.ObjectDeleteResult, error) {
	if err := v.store.remove(v.r.Context(), bucket, key, v.conditions.deleting); err != nil {
		return gofakes3.ObjectDeleteResult{}, v.fail(err)
	}
	return gofakes3.ObjectDeleteResult{}, nil
}

// DeleteMulti implements gofakes3.Backend.
func (v *view) DeleteMulti(bucket string, keys ...string) (gofakes3.MultiDeleteResult, error) {
	var out gofakes3.MultiDeleteResult
	for _, key := range keys {
		if err := v.store.remove(v.r.Context(), bucket, key, v.conditions.deleting); err != nil {
			v.m.Log().Error("s3 failed", "operation", v.op.name, "bucket", bucket, "error", err)
			out.Error = append(out.Error, gofakes3.ErrorResult{Key: key, Code: gofakes3.ErrInternal})
			continue
		}
		out.Deleted = append(out.Deleted, gofakes3.ObjectID{Key: key})
	}
	return out, nil
}

// PutObject implements gofakes3.Backend.
func (v *view) PutObject(bucket, key string, _ map[string]string, input io.Reader, _ int64, _ *gofakes3.PutConditions) (gofakes3.PutObjectResult, error) {
	var none gofakes3.PutObjectResult
	d, err := v.store.draft(bucket, objectsDir)
	if err != nil {
		return none, v.fail(err)
	}
	r := &record{Key: key, Header: v.header}
	err = v.receive(d, r, input)
	if err == nil {
		err = v.store.put(v.r.Context(), bucket, d, r, v.conditions.writing)
	}
	if err != nil {
		d.discard()
		return none, v.fail(err)
	}
	v.add = http.Header{}
	r.Checksum.setTo(v.add)
	return none, nil
}

// receive stores what the client sends in a draft.
func (v *view) receive(d *draft, r *record, input io.Reader) error {
	if _, err := io.CopyBuffer(d, input, make([]byte, copyBuffer)); err != nil {
		if v.body.err != nil && !errors.Is(v.body.err, io.EOF) {
			return asAPIError(err)
		}
		return err
	}
	r.ETag, r.Checksum, r.Modified = v.body.etag(), v.body.checksum(), v.store.now()
	return d.finish(r)
}

func (v *view) copies() bool { return v.r.Header.Get(copySource) != "" }

// prepareCopy reads what is special about a copy.
func (v *view) prepareCopy(source string) *apiError {
	h := v.r.Header
	if strings.Contains(source, "?") {
		return notImplemented("versions of the source of a copy")
	}
	path, err := url.PathUnescape(strings.TrimPrefix(source, "/"))
	bucket, key, ok := strings.Cut(path, "/")
	if err != nil || !ok || bucket == "" || key == "" {
		return invalidArgument("Copy Source must mention the source bucket and key: sourcebucket/sourcekey")
	}
	switch h.Get("X-Amz-Metadata-Directive") {
	case "", "COPY":
	case "REPLACE":
		v.replace = true
	default:
		return invalidArgument("Unknown metadata directive.")
	}
	if bucket == v.bucket && key == v.key && !v.replace {
		return refuse(http.StatusBadRequest, "InvalidRequest", "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata.")
	}
	v.source = conditions{match: h.Get(copySource + "-If-Match"), noneMatch: h.Get(copySource + "-If-None-Match")}
	var e *apiError
	if v.header, e = keptHeaders(h); e != nil {
		return e
	}
	// gofakes3 decodes it as a form, where a plus is a space.
	h.Set(copySource, "/"+bucket+"/"+url.QueryEscape(key))
	return nil
}

// CopyObject implements gofakes3.Backend.
func (v *view) CopyObject(fromBucket, fromKey, bucket, key string, _ map[string]string) (gofakes3.CopyObjectResult, error) {
	r, err := v.copy(fromBucket, fromKey, bucket, key)
	if err != nil {
		return gofakes3.CopyObjectResult{}, v.fail(err)
	}
	v.add = nil
	return gofakes3.CopyObjectResult{ETag: `"` + r.ETag + `"`, LastModified: gofakes3.NewContentTime(r.Modified)}, nil
}

func (v *view) copy(fromBucket, fromKey, bucket, key string) (*record, error) {
	from, f, err := v.store.open(fromBucket, fromKey)
	if err != nil {
		return nil, err
	}
	defer f.Close() // only read from
	if e := v.source.reading(from.ETag, from.Modified); e != nil {
		return nil, preconditionFailed()
	}
	if from.Size > v.options.MaxObject {
		return nil, refuse(http.StatusBadRequest, "InvalidRequest", "The specified copy source is larger than the maximum allowable size for a copy source.")
	}
	d, err := v.store.draft(bucket, objectsDir)
	if err != nil {
		return nil, err
	}
	r := &record{Key: key, Header: from.Header, Modified: v.store.now()}
	if v.replace {
		r.Header = v.header
	}
	h := newHashes(v.copyAlgorithm(from.record))
	err = copyContent(io.MultiWriter(d, h), f, from.Size)
	if err == nil {
		r.ETag, r.Checksum = h.etag(), h.checksum()
		err = d.finish(r)
	}
	if err == nil {
		err = v.store.put(v.r.Context(), bucket, d, r, v.conditions.writing)
	}
	if err != nil {
		d.discard()
		return nil, err
	}
	return r, nil
}

// copyAlgorithm is the one asked for, or else the source's.
func (v *view) copyAlgorithm(from *record) string {
	if c, e := checksumOf(v.r.Header); e == nil && c.Algorithm != "" {
		return c.Algorithm
	}
	return from.Checksum.Algorithm
}

// CreateMultipartUpload implements gofakes3.MultipartBackend.
func (v *view) CreateMultipartUpload(bucket, key string, _ map[string]string) (gofakes3.UploadID, error) {
	c, e := checksumOf(v.r.Header)
	switch {
	case e != nil:
		return "", v.fail(e)
	case c.Algorithm == "":
		c.Algorithm, c.Kind = defaultChecksum, fullObject
	case c.Kind == "" && c.Algorithm == defaultChecksum:
		c.Kind = fullObject
	case c.Kind == "":
		c.Kind = composite
	case c.Kind == fullObject && strings.HasPrefix(c.Algorithm, "SHA"), c.Kind == composite && c.Algorithm == defaultChecksum:
		return "", v.fail(refuse(http.StatusBadRequest, "InvalidRequest", "The checksum type and algorithm do not go together."))
	}
	c.Value = ""
	id, err := v.store.begin(v.r.Context(), bucket, &record{Key: key, Header: v.header, Modified: v.store.now(), Checksum: c})
	if err != nil {
		return "", v.fail(err)
	}
	v.add = http.Header{}
	v.add.Set(checksumPrefix+"Algorithm", c.Algorithm)
	v.add.Set(checksumPrefix+"Type", c.Kind)
	return gofakes3.UploadID(id), nil
}

// UploadPart implements gofakes3.MultipartBackend.
func (v *view) UploadPart(bucket, key string, id gofakes3.UploadID, part int, _ int64, input io.Reader) (string, error) {
	u, _, err := v.store.findUpload(bucket, key, string(id))
	if err != nil {
		return "", v.fail(err)
	}
	if sent := v.body.algorithm; sent != u.Checksum.Algorithm {
		if u.Checksum.Kind == composite {
			return "", v.fail(refuse(http.StatusBadRequest, "InvalidRequest", "Checksum Type mismatch occurred, expected checksum Type: "+u.Checksum.Algorithm+", actual checksum Type: "+sent))
		}
	}
	d, err := v.store.draft(bucket, uploadsDir)
	if err != nil {
		return "", v.fail(err)
	}
	r := &record{Key: key, Part: part}
	err = v.receive(d, r, input)
	if err == nil {
		err = v.store.putPart(v.r.Context(), bucket, key, string(id), d, r)
	}
	if err != nil {
		d.discard()
		return "", v.fail(err)
	}
	v.add = http.Header{}
	v.add.Set(r.Checksum.header(), r.Checksum.Value)
	return `"` + r.ETag + `"`, nil
}

// ListMultipartUploads implements gofakes3.MultipartBackend.
func (v *view) ListMultipartUploads(bucket string, marker *gofakes3.UploadListMarker, prefix gofakes3.Prefix, limit int64) (*gofakes3.ListMultipartUploadsResult, error) {
	all, err := v.store.uploads(bucket, prefix.Prefix)
	if err != nil {
		return nil, v.fail(err)
	}
	out := &gofakes3.ListMultipartUploadsResult{Bucket: bucket, Prefix: prefix.Prefix, MaxUploads: limit}
	if marker != nil {
		out.KeyMarker, out.UploadIDMarker = marker.Object, marker.UploadID
	}
	for _, u := range all {
		if marker != nil && (u.Key < marker.Object || u.Key == marker.Object && (marker.UploadID == "" || u.id <= string(marker.UploadID))) {
			continue
		}
		if int64(len(out.Uploads)) == limit {
			last := out.Uploads[limit-1]
			out.IsTruncated, out.NextKeyMarker, out.NextUploadIDMarker = true, last.Key, last.UploadID
			break
		}
		out.Uploads = append(out.Uploads, gofakes3.ListMultipartUploadItem{
			Key: u.Key, UploadID: gofakes3.UploadID(u.id), StorageClass: "STANDARD", Initiated: gofakes3.NewContentTime(u.Modified),
		})
	}
	return out, nil
}

// ListParts implements gofakes3.MultipartBackend.
func (v *view) ListParts(bucket, key string, id gofakes3.UploadID, marker int, limit int64) (*gofakes3.ListMultipartUploadPartsResult, error) {
	_, parts, err := v.store.findUpload(bucket, key, string(id))
	if err != nil {
		return nil, v.fail(err)
	}
	out := &gofakes3.ListMultipartUploadPartsResult{
		Bucket: bucket, Key: key, UploadID: id, StorageClass: "STANDARD", PartNumberMarker: marker, MaxParts: limit,
	}
	for _, p := range parts {
		if p.Part <= marker {
			continue
		}
		if int64(len(out.Parts)) == limit {
			out.IsTruncated = true
			break
		}
		out.NextPartNumberMarker = p.Part
		out.Parts = append(out.Parts, gofakes3.ListMultipartUploadPartItem{
			PartNumber: p.Part, ETag: `"` + p.ETag + `"`, Size: p.Size, LastModified: gofakes3.NewContentTime(p.Modified),
		})
	}
	return out, nil
}

// AbortMultipartUpload implements gofakes3.MultipartBackend.
func (v *view) AbortMultipartUpload(bucket, key string, id gofakes3.UploadID) error {
	if err := v.store.abort(v.r.Context(), bucket, key, string(id)); err != nil {
		return v.fail(err)
	}
	return nil
}

// CompleteMultipartUpload implements gofakes3.MultipartBackend.
func (v *view) CompleteMultipartUpload(bucket, key string, id gofakes3.UploadID, in *gofakes3.CompleteMultipartUploadRequest) (gofakes3.VersionID, string, error) {
	r, err := v.store.complete(v.r.Context(), bucket, key, string(id), in.Parts, v.claim, v.conditions.writing)
	if err != nil {
		return "", "", v.fail(err)
	}
	return "", `"` + r.ETag + `"`, nil
}
