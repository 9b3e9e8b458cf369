package machinetest

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/nodes"
)

func diskTests() []Test {
	return []Test{
		{"disk: create, write, read", testDiskFile},
		{"disk: sparse writes and truncate", testDiskTruncate},
		{"disk: create empties", testDiskCreateEmpties},
		{"disk: directories", testDiskDirs},
		{"disk: rename", testDiskRename},
		{"disk: remove", testDiskRemove},
		{"disk: errors", testDiskErrors},
		{"disk: names cannot leave", testDiskNames},
		{"disk: machines do not share", testDiskApart},
		{"disk: closed files", testDiskClosed},
		{"disk: whole files", testDiskHelpers},
	}
}

func create(t testing.TB, d nodes.Disk, name, data string) {
	t.Helper()
	f, err := d.Create(name)
	require.NoError(t, err)
	n, err := f.WriteAt([]byte(data), 0)
	require.NoError(t, err)
	require.Equal(t, len(data), n)
	require.NoError(t, f.Sync())
	require.NoError(t, f.Close())
}

func content(t testing.TB, d nodes.Disk, name string) string {
	t.Helper()
	data, err := nodes.ReadFile(d, name, 1<<20)
	require.NoError(t, err)
	return string(data)
}

func testDiskFile(t testing.TB, w World) {
	d := w.Machine(t, "alpha", nil).Disk()
	f, err := d.Create("/file")
	require.NoError(t, err)
	data := []byte("hello, world")
	n, err := f.WriteAt(data, 0)
	require.NoError(t, err)
	require.Equal(t, len(data), n)
	copy(data, "XXXXX") // the caller owns it again

	buf := make([]byte, 5)
	n, err = f.ReadAt(buf, 7)
	require.Equal(t, 5, n)
	require.True(t, err == nil || err == io.EOF)
	require.Equal(t, "world", string(buf))
	n, err = f.ReadAt(buf, 10)
	require.Equal(t, 2, n)
	require.Equal(t, io.EOF, err)
	n, err = f.ReadAt(buf, 100)
	require.Zero(t, n)
	require.Equal(t, io.EOF, err)
	_, err = f.ReadAt(buf, -1)
	require.Error(t, err)
	size, err := f.Size()
	require.NoError(t, err)
	require.Equal(t, int64(12), size)
	require.NoError(t, f.Sync())
	require.NoError(t, f.Close())

	f, err = d.Open("/file")
	require.NoError(t, err)
	_, err = f.WriteAt([]byte("J"), 0)
	require.NoError(t, err, "open also writes")
	require.NoError(t, f.Close())
	require.Equal(t, "Jello, world", content(t, d, "/file"))
	got, err := d.Stat("/file")
	require.NoError(t, err)
	require.Equal(t, int64(12), got)
}

func testDiskTruncate(t testing.TB, w World) {
	d := w.Machine(t, "alpha", nil).Disk()
	f, err := d.Create("/file")
	require.NoError(t, err)
	_, err = f.WriteAt([]byte("end"), 10_000)
	require.NoError(t, err)
	buf := bytes.Repeat([]byte{1}, 10_000)
	_, err = f.ReadAt(buf, 0)
	require.NoError(t, err)
	require.Equal(t, make([]byte, 10_000), buf, "a hole reads as zeros")
	require.NoError(t, f.Truncate(10_001))
	size, err := f.Size()
	require.NoError(t, err)
	require.Equal(t, int64(10_001), size)
	require.NoError(t, f.Truncate(10_003))
	n, err := f.ReadAt(buf[:10], 10_000)
	require.Equal(t, io.EOF, err)
	require.Equal(t, "e\x00\x00", string(buf[:n]), "what was cut off does not come back")
	require.Error(t, f.Truncate(-1))
	require.NoError(t, f.Close())
}

func testDiskCreateEmpties(t testing.TB, w World) {
	d := w.Machine(t, "alpha", nil).Disk()
	create(t, d, "/file", "long contents")
	create(t, d, "/file", "short")
	require.Equal(t, "short", content(t, d, "/file"))
}

func testDiskDirs(t testing.TB, w World) {
	d := w.Machine(t, "alpha", nil).Disk()
	list, err := d.List("/")
	require.NoError(t, err)
	require.Empty(t, list)
	require.NoError(t, d.MkdirAll("/a/b/c"))
	require.NoError(t, d.MkdirAll("/a/b/c"), "again")
	require.NoError(t, d.MkdirAll("/"))
	for _, name := range []string{"z", "10", "9", "B", "a.b", "ä"} {
		create(t, d, "/a/b/"+name, name)
	}
	list, err = d.List("/a/b")
	require.NoError(t, err)
	require.Equal(t, []string{"10", "9", "B", "a.b", "c", "z", "ä"}, list)
	size, err := d.Stat("/a/b/c")
	require.NoError(t, err)
	require.Equal(t, int64(-1), size)
	size, err = d.Stat("/")
	require.NoError(t, err)
	require.Equal(t, int64(-1), size)
	for _, dir := range []string{"/", "/a", "/a/b"} {
		require.NoError(t, d.SyncDir(dir))
	}
}

func testDiskRename(t testing.TB, w World) {
	d := w.Machine(t, "alpha", nil).Disk()
	require.NoError(t, d.MkdirAll("/dir"))
	create(t, d, "/old", "old")
	create(t, d, "/new", "new")
	kept, err := d.Open("/new")
	require.NoError(t, err)
	require.NoError(t, d.Rename("/old", "/new"))
	require.Equal(t, "old", content(t, d, "/new"))
	_, err = d.Stat("/old")
	require.ErrorIs(t, err, fs.ErrNotExist)
	buf := make([]byte, 3)
	_, err = kept.ReadAt(buf, 0)
	require.NoError(t, err)
	require.Equal(t, "new", string(buf), "an open file outlives its name")
	require.NoError(t, kept.Close())

	require.NoError(t, d.Rename("/new", "/dir/new"))
	require.Equal(t, "old", content(t, d, "/dir/new"))
	require.NoError(t, d.Rename("/dir/new", "/dir/new"), "onto itself")
	require.Equal(t, "old", content(t, d, "/dir/new"))
	require.ErrorIs(t, d.Rename("/none", "/other"), fs.ErrNotExist)
	require.ErrorIs(t, d.Rename("/dir/new", "/none/other"), fs.ErrNotExist)
	require.Error(t, d.Rename("/dir/new", "/dir"), "a directory is not replaced by a file")
}

func testDiskRemove(t testing.TB, w World) {
	d := w.Machine(t, "alpha", nil).Disk()
	require.NoError(t, d.MkdirAll("/dir/sub"))
	create(t, d, "/dir/file", "data")
	require.Error(t, d.Remove("/dir"), "not empty")
	f, err := d.Open("/dir/file")
	require.NoError(t, err)
	require.NoError(t, d.Remove("/dir/file"))
	_, err = f.WriteAt([]byte("more"), 4)
	require.NoError(t, err, "an open file outlives its name")
	require.NoError(t, f.Close())
	_, err = d.Open("/dir/file")
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NoError(t, d.Remove("/dir/sub"))
	require.NoError(t, d.Remove("/dir"))
	require.ErrorIs(t, d.Remove("/dir"), fs.ErrNotExist)
}

func testDiskErrors(t testing.TB, w World) {
	d := w.Machine(t, "alpha", nil).Disk()
	create(t, d, "/file", "data")
	require.NoError(t, d.MkdirAll("/dir"))
	errOf := func(_ any, err error) error { return err }

	for what, err := range map[string]error{
		"open":            errOf(d.Open("/none")),
		"create":          errOf(d.Create("/none/file")),
		"list":            errOf(d.List("/none")),
		"stat":            errOf(d.Stat("/none")),
		"stat below":      errOf(d.Stat("/none/file")),
		"remove":          d.Remove("/none"),
		"rename":          d.Rename("/none", "/file"),
		"sync":            d.SyncDir("/none"),
		"read whole file": errOf(nodes.ReadFile(d, "/none", 1)),
		"write in none":   nodes.WriteFile(d, "/none/file", nil),
	} {
		require.ErrorIs(t, err, fs.ErrNotExist, what)
	}
	for what, err := range map[string]error{
		"create below a file": errOf(d.Create("/file/x")),
		"list a file":         errOf(d.List("/file")),
		"mkdir below a file":  d.MkdirAll("/file/x"),
		"sync a file as dir":  d.SyncDir("/file"),
		"stat below a file":   errOf(d.Stat("/file/x")),
	} {
		require.ErrorIs(t, err, syscall.ENOTDIR, what)
	}
	require.Error(t, d.MkdirAll("/file"), "mkdir over a file")
	require.Error(t, errOf(d.Create("/dir")), "create over a directory")
	require.Error(t, errOf(d.Open("/dir")), "open a directory")
	require.Equal(t, "data", content(t, d, "/file"))
}

func testDiskNames(t testing.TB, w World) {
	d := w.Machine(t, "alpha", nil).Disk()
	create(t, d, "/../../above", "kept in")
	require.Equal(t, "kept in", content(t, d, "/above"))
	require.NoError(t, d.MkdirAll("/a"))
	create(t, d, "/a//./b/../x", "clean")
	require.Equal(t, "clean", content(t, d, "/a/x"))
	for _, name := range []string{"", "relative", "./x", "../x"} {
		_, err := d.Create(name)
		require.ErrorIs(t, err, fs.ErrInvalid, name)
		_, err = d.Open(name)
		require.ErrorIs(t, err, fs.ErrInvalid, name)
		_, err = d.List(name)
		require.ErrorIs(t, err, fs.ErrInvalid, name)
		require.ErrorIs(t, d.MkdirAll(name), fs.ErrInvalid, name)
		require.ErrorIs(t, d.Rename("/above", name), fs.ErrInvalid, name)
	}
}

func testDiskApart(t testing.TB, w World) {
	a, b := w.Machine(t, "alpha", nil), w.Machine(t, "beta", nil)
	create(t, a.Disk(), "/file", "alpha's")
	_, err := b.Disk().Stat("/file")
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func testDiskClosed(t testing.TB, w World) {
	d := w.Machine(t, "alpha", nil).Disk()
	f, err := d.Create("/file")
	require.NoError(t, err)
	require.NoError(t, f.Close())
	_, sizeErr := f.Size()
	_, writeErr := f.WriteAt([]byte("x"), 0)
	_, readErr := f.ReadAt(make([]byte, 1), 0)
	for what, err := range map[string]error{
		"size": sizeErr, "write": writeErr, "read": readErr, "sync": f.Sync(), "truncate": f.Truncate(0), "close": f.Close(),
	} {
		require.ErrorIs(t, err, fs.ErrClosed, what)
	}
}

func testDiskHelpers(t testing.TB, w World) {
	d := w.Machine(t, "alpha", nil).Disk()
	require.NoError(t, d.MkdirAll("/dir"))
	require.NoError(t, nodes.WriteFile(d, "/dir/file", []byte("one")))
	require.NoError(t, nodes.WriteFile(d, "/dir/file", []byte("two")))
	require.NoError(t, nodes.WriteFile(d, "/top", nil))
	require.Equal(t, "two", content(t, d, "/dir/file"))
	require.Empty(t, content(t, d, "/top"))
	list, err := d.List("/dir")
	require.NoError(t, err)
	require.Equal(t, []string{"file"}, list, "nothing is left behind")
	_, err = nodes.ReadFile(d, "/dir/file", 2)
	require.True(t, errors.Is(err, nodes.ErrTooLarge), "%v", err)
	data, err := nodes.ReadFile(d, "/dir/file", 3)
	require.NoError(t, err)
	require.Equal(t, "two", string(data))
}
