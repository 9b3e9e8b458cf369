// Package blobtest is the conformance suite of [nodes.Blobs]. Each
// implementation, and each server that one is pointed at, runs it; one that has
// not passed it is an opinion.
//
// It promises to judge only what the contract says, through nothing but the
// contract, and to measure no durations, so that it holds over real sockets and
// in virtual time alike. Where a server is known to depart from what Amazon
// documents of S3, the tests that show it are named, with the reason, in a table
// such as [Versitygw], and are skipped for it.
//
// Start reading at [Tests]:
//
//	for _, test := range blobtest.Tests() {
//		t.Run(test.Name, func(t *testing.T) {
//			test.Run(t, newWorld(t)) // or this within a bubble of its own
//		})
//	}
package blobtest

import (
	"bytes"
	"context"
	"io"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/nodes"
)

// World has one bucket, empty at the start.
type World interface {
	// Blobs gives a client of the bucket, with connections of its own.
	Blobs(t testing.TB) nodes.Blobs
}

// Guarded is a World that can make a client who signs with a wrong secret.
type Guarded interface {
	Stranger(t testing.TB) nodes.Blobs
}

// Test is one property of Blobs.
type Test struct {
	Name string
	// Run judges one fresh world. It starts no subtest and leaves no goroutine
	// behind, so it may run in a synctest bubble.
	Run func(t testing.TB, w World)
}

// Tests gives the suite.
func Tests() []Test { return slices.Concat(objectTests(), conditionTests(), listTests()) }

// Versitygw is read-only: the tests that versitygw v1.8.0, over its posix
// backend, does not pass, and in what it differs from S3's documentation.
var Versitygw = map[string]string{
	"a key may begin as another does":             "keys are paths of files, so with an object a there can be none a/b (409 ObjectParentIsFile)",
	"keys that paths cannot hold":                 "keys are paths of files, so one that ends in a slash is a directory without content (400 DirectoryObjectContainsData)",
	"keys that XML cannot hold":                   "encoding-type=url is ignored in lists of objects, so such characters come back as U+FFFD",
	"what is read is of one put":                  "HEAD looks up size and ETag one after the other, so they can be of two puts",
	"counting by put if it matches loses nothing": "as HEAD can give an old size with a new ETag, what is put on its word is wrong",
}

// bucket is a client in the hands of a test.
type bucket struct {
	nodes.Blobs
	t   testing.TB
	ctx context.Context
}

func open(t testing.TB, w World) *bucket {
	return &bucket{w.Blobs(t), t, t.Context()}
}

// put stores a text that must be taken.
func (b *bucket) put(key, text string) nodes.BlobInfo {
	b.t.Helper()
	info, err := b.try(key, text, nodes.PutOptions{})
	require.NoError(b.t, err)
	return info
}

func (b *bucket) try(key, text string, o nodes.PutOptions) (nodes.BlobInfo, error) {
	return b.Put(b.ctx, key, bytes.NewReader([]byte(text)), int64(len(text)), o)
}

// get reads all of an object, or of a range.
func (b *bucket) get(key string, o nodes.GetOptions) (nodes.BlobInfo, string) {
	b.t.Helper()
	blob, err := b.Get(b.ctx, key, o)
	require.NoError(b.t, err)
	return blob.BlobInfo, b.drain(blob)
}

func (b *bucket) drain(blob nodes.Blob) string {
	b.t.Helper()
	data, err := io.ReadAll(blob.Body)
	require.NoError(b.t, err)
	require.NoError(b.t, blob.Body.Close())
	return string(data)
}

// holds checks that an object has a content.
func (b *bucket) holds(key, text string) {
	b.t.Helper()
	_, found := b.get(key, nodes.GetOptions{})
	require.Equal(b.t, text, found)
}
