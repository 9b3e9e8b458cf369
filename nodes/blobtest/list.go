package blobtest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/nodes"
)

func listTests() []Test {
	return []Test{
		{"list: order and fields", testListOrder},
		{"list: prefixes", testListPrefix},
		{"list: pages", testListPages},
	}
}

func names(list []nodes.BlobInfo) []string {
	out := make([]string, 0, len(list))
	for _, i := range list {
		out = append(out, i.Key)
	}
	return out
}

// count makes an object n bytes longer, one put at a time, among others who do
// the same.
func (b *bucket) count(n int) error {
	for n > 0 {
		info, err := b.Head(b.ctx, "count")
		if err != nil {
			return err
		}
		text := strings.Repeat("x", int(info.Size)+1)
		switch _, err = b.try("count", text, nodes.PutOptions{IfMatch: info.ETag}); {
		case err == nil:
			n--
		case !errors.Is(err, nodes.ErrBlobConflict):
			return err
		}
	}
	return nil
}

func testListOrder(t testing.TB, w World) {
	b := open(t, w)
	list, err := b.List(b.ctx, "", "", 1)
	require.NoError(t, err)
	require.Empty(t, list)

	keys := []string{"b", "a/1", "a-", "a-b/1", "a0", "B", "é", "z", "日", "~", "a/10", "a/2"}
	for _, key := range keys {
		b.put(key, key)
	}
	slices.Sort(keys) // by bytes, as S3 sorts
	list, err = b.List(b.ctx, "", "", 1000)
	require.NoError(t, err)
	require.Equal(t, keys, names(list))
	for _, i := range list {
		require.Equal(t, int64(len(i.Key)), i.Size)
		require.False(t, i.Modified.IsZero())
		head, err := b.Head(b.ctx, i.Key)
		require.NoError(t, err)
		require.Equal(t, head.ETag, i.ETag)
	}
}

func testListPrefix(t testing.TB, w World) {
	b := open(t, w)
	for _, key := range []string{"cell/a", "cell/b/c", "cells/x", "celm", "d", "cell+1"} {
		b.put(key, "x")
	}
	for _, c := range []struct {
		prefix, after string
		want          []string
	}{
		{"cell/", "", []string{"cell/a", "cell/b/c"}},
		{"cell", "", []string{"cell+1", "cell/a", "cell/b/c", "cells/x"}},
		{"cell/", "cell/a", []string{"cell/b/c"}},
		{"cell/", "a", []string{"cell/a", "cell/b/c"}},
		{"cell/", "cell/zzz", nil},
		{"cell/", "d", nil},
		{"nothing", "", nil},
		{"", "cell/b", []string{"cell/b/c", "cells/x", "celm", "d"}},
		{"cell+", "", []string{"cell+1"}},
	} {
		list, err := b.List(b.ctx, c.prefix, c.after, 1000)
		require.NoError(t, err)
		require.ElementsMatch(t, c.want, names(list), "prefix %q after %q", c.prefix, c.after)
		require.True(t, slices.IsSorted(names(list)))
	}
}

func testListPages(t testing.TB, w World) {
	b := open(t, w)
	var keys []string
	for i := range 25 {
		keys = append(keys, fmt.Sprintf("page/%02d", i))
		b.put(keys[i], "x")
	}
	b.put("q", "x")
	for _, limit := range []int{1, 7, 25, 26} {
		var all []string
		for after := ""; ; {
			list, err := b.List(b.ctx, "page/", after, limit)
			require.NoError(t, err)
			all = append(all, names(list)...)
			if len(list) < limit {
				break
			}
			require.Len(t, list, limit)
			after = list[len(list)-1].Key
		}
		require.Equal(t, keys, all, "pages of %d", limit)
	}
}
