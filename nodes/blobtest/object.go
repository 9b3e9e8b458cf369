package blobtest

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/nodes"
)

func objectTests() []Test {
	return []Test{
		{"put, get, head", testRoundTrip},
		{"an object that is not there", testMissing},
		{"a put replaces", testReplace},
		{"an empty object", testEmpty},
		{"ranges", testRanges},
		{"a large object", testLarge},
		{"keys of all kinds", testKeys},
		{"a key may begin as another does", testNestedKeys},
		{"keys that paths cannot hold", testPathKeys},
		{"keys that XML cannot hold", testControlKeys},
		{"what may not be asked", testArguments},
		{"a body is read from where it stands", testBody},
		{"a body that is too short is not stored", testShortBody},
		{"a reader keeps what it opened", testOpened},
		{"a context that has ended", testContext},
		{"a stranger is denied", testStranger},
	}
}

func testRoundTrip(t testing.TB, w World) {
	b, other := open(t, w), open(t, w)
	o := nodes.PutOptions{
		Type: "text/plain; charset=utf-8", Encoding: "zstd", CacheControl: "public, max-age=2592000",
		Metadata: map[string]string{"one": "1", "two-three": "a value"},
	}
	put, err := b.try("key", "hello", o)
	require.NoError(t, err)
	want := nodes.BlobInfo{
		Key: "key", Size: 5, ETag: "5d41402abc4b2a76b9719d911017c592",
		Type: o.Type, Encoding: o.Encoding, CacheControl: o.CacheControl, Metadata: o.Metadata,
	}
	require.Empty(t, cmp.Diff(want, put))

	// Everybody sees it at once.
	head, err := other.Head(b.ctx, "key")
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(want, head, cmpopts.IgnoreFields(nodes.BlobInfo{}, "Modified")))
	require.False(t, head.Modified.IsZero())
	info, text := other.get("key", nodes.GetOptions{})
	require.Equal(t, "hello", text)
	require.Empty(t, cmp.Diff(head, info))
}

func testMissing(t testing.TB, w World) {
	b := open(t, w)
	_, err := b.Get(b.ctx, "key", nodes.GetOptions{})
	require.ErrorIs(t, err, nodes.ErrBlobNotFound)
	_, err = b.Head(b.ctx, "key")
	require.ErrorIs(t, err, nodes.ErrBlobNotFound)
	require.NoError(t, b.Delete(b.ctx, "key"))

	b.put("key", "x")
	require.NoError(t, b.Delete(b.ctx, "key"))
	_, err = b.Head(b.ctx, "key")
	require.ErrorIs(t, err, nodes.ErrBlobNotFound)
	_, err = b.Get(b.ctx, "key", nodes.GetOptions{})
	require.ErrorIs(t, err, nodes.ErrBlobNotFound)
}

func testReplace(t testing.TB, w World) {
	b := open(t, w)
	first, err := b.try("key", "one", nodes.PutOptions{CacheControl: "no-store", Metadata: map[string]string{"a": "1"}})
	require.NoError(t, err)
	second := b.put("key", "two, longer")
	require.NotEqual(t, first.ETag, second.ETag)
	info, text := b.get("key", nodes.GetOptions{})
	require.Equal(t, "two, longer", text)
	require.Empty(t, info.CacheControl)
	require.Empty(t, info.Metadata)

	// An ETag is a hash of the content: equal bodies cannot be told apart.
	third := b.put("key", "one")
	require.Equal(t, first.ETag, third.ETag)
	require.Equal(t, first.ETag, b.put("another", "one").ETag)
}

func testEmpty(t testing.TB, w World) {
	b := open(t, w)
	info := b.put("empty", "")
	require.Zero(t, info.Size)
	info, text := b.get("empty", nodes.GetOptions{})
	require.Zero(t, info.Size)
	require.Empty(t, text)
	_, err := b.Get(b.ctx, "empty", nodes.GetOptions{Length: 1})
	require.ErrorIs(t, err, nodes.ErrBlobRange)
}

func testRanges(t testing.TB, w World) {
	b := open(t, w)
	put := b.put("key", "0123456789")
	for _, c := range []struct {
		offset, length int64
		want           string
	}{
		{0, 0, "0123456789"}, {0, 1, "0"}, {0, 10, "0123456789"}, {3, 4, "3456"}, {9, 1, "9"}, {4, 0, "456789"},
		{8, 100, "89"}, {0, 1 << 62, "0123456789"}, {9, 1<<63 - 1, "9"},
	} {
		info, text := b.get("key", nodes.GetOptions{Offset: c.offset, Length: c.length})
		require.Equal(t, c.want, text, "%d+%d", c.offset, c.length)
		require.Equal(t, int64(10), info.Size, "%d+%d: the size is of the whole", c.offset, c.length)
		require.Equal(t, put.ETag, info.ETag)
	}
	for _, o := range []nodes.GetOptions{{Offset: 10}, {Offset: 10, Length: 1}, {Offset: 1 << 40, Length: 7}} {
		_, err := b.Get(b.ctx, "key", o)
		require.ErrorIs(t, err, nodes.ErrBlobRange, "%+v", o)
	}
}

// noise gives bytes that look random and are the same every time.
func noise(n int) string {
	var s strings.Builder
	s.Grow(n)
	x := uint32(2463534242)
	for range n {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		s.WriteByte(byte(x))
	}
	return s.String()
}

func testLarge(t testing.TB, w World) {
	b := open(t, w)
	data := noise(8 << 20)
	info := b.put("large", data)
	require.Equal(t, int64(len(data)), info.Size)
	_, text := b.get("large", nodes.GetOptions{})
	require.True(t, data == text, "the content has changed")
	_, text = b.get("large", nodes.GetOptions{Offset: 5<<20 - 1, Length: 70_000})
	require.True(t, data[5<<20-1:][:70_000] == text, "the range has changed")
}

func testKeys(t testing.TB, w World) {
	keys := []string{
		"a", "b/c/d", "with space", "plus+and%percent", "100%", "a=b&c=d;e", "what?", "#hash", "ünïcödé/漢字/🙂",
		"quote\"and'apostrophe", "<xml>&amp;", "star*(bang)!", "a:b@c,d$e", "~tilde", "back\\slash", "UPPER", "upper",
		".hidden", "dots...", "trailing.", strings.Repeat("long/", 40) + "key",
	}
	keepsKeys(t, w, keys...)
	b := open(t, w)
	for _, key := range keys {
		require.NoError(t, b.Delete(b.ctx, key))
	}
	list, err := b.List(b.ctx, "", "", 1000)
	require.NoError(t, err)
	require.Empty(t, list)
}

func testNestedKeys(t testing.TB, w World) {
	keepsKeys(t, w, "a", "a/b", "a/b/c", "a/bc")
}

func testPathKeys(t testing.TB, w World) {
	keepsKeys(t, w, "/leading", "trailing/", "double//slash", strings.Repeat("k", 1024))
}

func testControlKeys(t testing.TB, w World) {
	keepsKeys(t, w, "control\x01\x1fcharacters", "line\nbreak\r\n", "tab\t", "\ufffe")
}

// keepsKeys stores something under each of the keys, and finds and lists it.
func keepsKeys(t testing.TB, w World, keys ...string) {
	t.Helper()
	b := open(t, w)
	for _, key := range keys {
		b.put(key, "content of "+key)
	}
	for _, key := range keys {
		b.holds(key, "content of "+key)
	}
	list, err := b.List(b.ctx, "", "", 1000)
	require.NoError(t, err)
	require.ElementsMatch(t, keys, names(list))
}

func testArguments(t testing.TB, w World) {
	b := open(t, w)
	for _, key := range []string{"", strings.Repeat("k", 1025), "not\xffUTF-8"} {
		_, err := b.try(key, "x", nodes.PutOptions{})
		require.Error(t, err, "%.20q", key)
		_, err = b.Get(b.ctx, key, nodes.GetOptions{})
		require.Error(t, err, "%.20q", key)
		_, err = b.Head(b.ctx, key)
		require.Error(t, err, "%.20q", key)
		require.Error(t, b.Delete(b.ctx, key), "%.20q", key)
	}
	_, err := b.try("key", "x", nodes.PutOptions{IfAbsent: true, IfMatch: "5d41402abc4b2a76b9719d911017c592"})
	require.Error(t, err)
	require.NotErrorIs(t, err, nodes.ErrBlobConflict)
	for _, limit := range []int{-1, 0, 1001} {
		_, err := b.List(b.ctx, "", "", limit)
		require.Error(t, err, limit)
	}
	b.put("key", "x")
	_, err = b.Get(b.ctx, "key", nodes.GetOptions{Offset: -1})
	require.Error(t, err)
	list, err := b.List(b.ctx, "", "", 1000)
	require.NoError(t, err)
	require.Equal(t, []string{"key"}, names(list))
}

func testBody(t testing.TB, w World) {
	b := open(t, w)
	body := bytes.NewReader([]byte("before|the object|after"))
	_, err := body.Seek(7, 0)
	require.NoError(t, err)
	_, err = b.Put(b.ctx, "key", body, 10, nodes.PutOptions{})
	require.NoError(t, err)
	b.holds("key", "the object")
}

func testShortBody(t testing.TB, w World) {
	b := open(t, w)
	b.put("key", "old")
	_, err := b.Put(b.ctx, "key", strings.NewReader("short"), 10, nodes.PutOptions{})
	require.Error(t, err)
	for _, known := range []error{nodes.ErrBlobConflict, nodes.ErrBlobDenied, nodes.ErrBlobNotFound, nodes.ErrBlobRange} {
		require.NotErrorIs(t, err, known)
	}
	b.holds("key", "old")
}

func testOpened(t testing.TB, w World) {
	b, other := open(t, w), open(t, w)
	data := noise(1 << 20)
	b.put("key", data)
	blob, err := b.Get(b.ctx, "key", nodes.GetOptions{})
	require.NoError(t, err)
	other.put("key", "something else")
	require.True(t, data == b.drain(blob), "another put shows")

	blob, err = b.Get(b.ctx, "key", nodes.GetOptions{})
	require.NoError(t, err)
	require.NoError(t, other.Delete(b.ctx, "key"))
	require.Equal(t, "something else", b.drain(blob))
}

func testContext(t testing.TB, w World) {
	b := open(t, w)
	b.put("key", "value")
	ended, cancel := context.WithCancel(b.ctx)
	cancel()
	_, err := b.Head(ended, "key")
	require.ErrorIs(t, err, context.Canceled)
	_, err = b.Put(ended, "key", strings.NewReader("x"), 1, nodes.PutOptions{})
	require.ErrorIs(t, err, context.Canceled)
	b.holds("key", "value")
}

func testStranger(t testing.TB, w World) {
	g, ok := w.(Guarded)
	if !ok {
		t.Skip("this world has no strangers")
	}
	b := open(t, w)
	b.put("key", "value")
	s := &bucket{g.Stranger(t), t, b.ctx}
	_, err := s.Get(s.ctx, "key", nodes.GetOptions{})
	_, headErr := s.Head(s.ctx, "key")
	_, listErr := s.List(s.ctx, "", "", 10)
	_, putErr := s.try("key", "mine", nodes.PutOptions{})
	for what, err := range map[string]error{
		"get": err, "head": headErr, "list": listErr, "put": putErr, "delete": s.Delete(s.ctx, "key"),
	} {
		require.True(t, errors.Is(err, nodes.ErrBlobDenied), "%s: %v", what, err)
	}
	b.holds("key", "value")
}
