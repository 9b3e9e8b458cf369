package nodes

import (
	"context"
	"errors"
	"io"
	"time"
)

// Blobs is a bucket of objects. In production it is Amazon S3; on one machine
// and under simulation it is a server that speaks the same protocol.
//
// A put is durable and visible to everybody once it has returned without an
// error; puts of one key are atomic and have one order (S3 has been strongly
// consistent since December 2020). An error other than those named below means
// that the operation may or may not have taken place, and so does an expired
// context: read back before you conclude anything.
//
// Methods may be called concurrently. Keys are 1 to 1024 bytes of UTF-8.
type Blobs interface {
	// Put stores an object of size bytes read from body, from where it stands.
	// The caller keeps body and may use it again once Put has returned. With
	// conditions it gives ErrBlobConflict if they do not hold. Modified is not
	// filled in.
	Put(ctx context.Context, key string, body io.ReadSeeker, size int64, o PutOptions) (BlobInfo, error)
	// Get opens an object, or a range of it. The caller closes Body. What it
	// reads is of one put, or ends in an error, whatever is put meanwhile.
	Get(ctx context.Context, key string, o GetOptions) (Blob, error)
	// Head describes an object.
	Head(ctx context.Context, key string) (BlobInfo, error)
	// Delete removes an object; it is no error if there is none.
	Delete(ctx context.Context, key string) error
	// List gives at most limit objects (1 to 1000) whose keys begin with prefix
	// and are greater than after, sorted by key; fewer than limit if there are no
	// more. Type, Encoding, CacheControl and Metadata are not filled in.
	List(ctx context.Context, prefix, after string, limit int) ([]BlobInfo, error)
}

// PutOptions are what an object is stored with, and under which condition. At
// most one condition may be given.
type PutOptions struct {
	IfAbsent bool   // only if the key has no object
	IfMatch  string // only if the key's object has this ETag

	Type         string            // Content-Type
	Encoding     string            // Content-Encoding
	CacheControl string            // Cache-Control
	Metadata     map[string]string // lower-case names
}

// GetOptions select what to read. The zero value is the whole object.
type GetOptions struct {
	// Offset and Length select a range; a Length of 0 is up to the end. A range
	// that begins at or beyond the end gives ErrBlobRange.
	Offset, Length int64
	// IfMatch wants this ETag, or ErrBlobConflict.
	IfMatch string
}

// BlobInfo describes an object.
type BlobInfo struct {
	Key          string
	Size         int64  // of the whole object, in bytes
	ETag         string // without quotes; a hash of the content, so not unique to a put
	Modified     time.Time
	Type         string
	Encoding     string
	CacheControl string
	Metadata     map[string]string
}

// Blob is an object being read.
type Blob struct {
	BlobInfo
	Body io.ReadCloser
}

// What Blobs can answer for certain.
var (
	ErrBlobNotFound = errors.New("nodes: no such object")
	ErrBlobConflict = errors.New("nodes: the object is not as the condition wants")
	ErrBlobRange    = errors.New("nodes: the range lies beyond the object")
	ErrBlobDenied   = errors.New("nodes: access to the bucket denied")
)
