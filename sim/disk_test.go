package sim_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"slices"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/sim"
)

func put(t *testing.T, d *sim.Disk, name string, data []byte, sync bool) {
	t.Helper()
	f, err := d.Create(name)
	require.NoError(t, err)
	_, err = f.WriteAt(data, 0)
	require.NoError(t, err)
	if sync {
		require.NoError(t, f.Sync())
	}
	require.NoError(t, f.Close())
}

func read(d *sim.Disk, name string) ([]byte, error) {
	f, err := d.Open(name)
	if err != nil {
		return nil, err
	}
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	data := make([]byte, size)
	_, err = f.ReadAt(data, 0)
	return data, err
}

// eachCrash has many machines do the same and lose their power.
func eachCrash(t *testing.T, w *sim.World, before, after func(d *sim.Disk)) {
	for i := range 200 {
		m := w.NewMachine(fmt.Sprint("machine ", i))
		before(m.Disk())
		m.PowerOff()
		m.PowerOn()
		after(m.Disk())
	}
}

// What was synced survives; a file put in place by a rename is whole, the old
// one or the new.
func TestDiskCrashKeepsWhatWasSynced(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		first, second := bytes.Repeat([]byte("1"), 10_000), bytes.Repeat([]byte("2"), 15_000)
		found := map[string]int{}
		eachCrash(t, w, func(d *sim.Disk) {
			put(t, d, "/state", first, true)
			require.NoError(t, d.SyncDir("/"))
			put(t, d, "/state.new", second, true)
			require.NoError(t, d.Rename("/state.new", "/state"))
		}, func(d *sim.Disk) {
			data, err := read(d, "/state")
			require.NoError(t, err)
			names, err := d.List("/")
			require.NoError(t, err)
			switch {
			case bytes.Equal(data, second):
				require.Equal(t, []string{"state"}, names)
				found["new"]++
			case bytes.Equal(data, first):
				found[fmt.Sprint("old ", names)]++
			default:
				t.Fatal("neither the old nor the new file")
			}
		})
		require.Len(t, found, 3, "each prefix: nothing, the creation, the rename")
		require.Greater(t, found["new"], 20)
	})
}

// Changes of names survive as a prefix: a later one never without an earlier.
func TestDiskCrashKeepsAPrefixOfRenames(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		at := map[string]int{}
		eachCrash(t, w, func(d *sim.Disk) {
			put(t, d, "/0", []byte("x"), true)
			require.NoError(t, d.SyncDir("/"))
			for i := range 4 {
				require.NoError(t, d.Rename(fmt.Sprintf("/%d", i), fmt.Sprintf("/%d", i+1)))
			}
			require.NoError(t, d.MkdirAll("/a/b"))
			require.NoError(t, d.Remove("/4"))
		}, func(d *sim.Disk) {
			names, err := d.List("/")
			require.NoError(t, err)
			_, err = d.Stat("/a/b")
			at[fmt.Sprintf("%v%v", names, err == nil)]++
		})
		for name := range at {
			require.Contains(t, []string{"[0]false", "[1]false", "[2]false", "[3]false", "[4]false",
				"[4 a]false", "[4 a]true", "[a]true"}, name)
		}
		require.Len(t, at, 8)
	})
}

// Of what was not synced, each block is old or new; what was is whole.
func TestDiskCrashTearsBlocks(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		const block = 4 << 10
		torn := 0
		eachCrash(t, w, func(d *sim.Disk) {
			put(t, d, "/f", bytes.Repeat([]byte("s"), 4*block), true)
			require.NoError(t, d.SyncDir("/"))
			f, err := d.Open("/f")
			require.NoError(t, err)
			_, err = f.WriteAt(bytes.Repeat([]byte("u"), 2*block), 2*block)
			require.NoError(t, err)
		}, func(d *sim.Disk) {
			data, err := read(d, "/f")
			require.NoError(t, err)
			require.Len(t, data, 4*block)
			require.Equal(t, bytes.Repeat([]byte("s"), 2*block), data[:2*block], "untouched since the sync")
			for at := 2 * block; at < len(data); at += block {
				require.Len(t, slices.Compact(slices.Clone(data[at:at+block])), 1)
			}
			if data[2*block] != data[3*block] {
				torn++
			}
		})
		require.Greater(t, torn, 50)
		require.Less(t, torn, 150)
	})
}

// Syncing again after each kind of change keeps all of it.
func TestDiskSyncAfterEveryChange(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		var want []byte
		eachCrash(t, w, func(d *sim.Disk) {
			f, err := d.Create("/f")
			require.NoError(t, err)
			require.NoError(t, d.SyncDir("/"))
			for _, change := range []func() error{
				func() error { _, err := f.WriteAt([]byte("hello world"), 0); return err },
				func() error { _, err := f.WriteAt([]byte("W"), 6); return err },
				func() error { return f.Truncate(8) },
				func() error { _, err := f.WriteAt([]byte("hole"), 12); return err },
				func() error { return f.Truncate(20) },
				func() error { _, err := f.WriteAt([]byte("J"), 0); return err },
			} {
				require.NoError(t, change())
				require.NoError(t, f.Sync())
			}
			want, err = read(d, "/f")
			require.NoError(t, err)
			require.Equal(t, "Jello Wo\x00\x00\x00\x00hole\x00\x00\x00\x00", string(want))
		}, func(d *sim.Disk) {
			data, err := read(d, "/f")
			require.NoError(t, err)
			require.Equal(t, string(want), string(data))
		})
	})
}

// The undoing has a bound, as a journal has.
func TestDiskJournalIsBounded(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		const files = 8000
		for n := range 8 {
			m := w.NewMachine(fmt.Sprint("m", n))
			for i := range files {
				put(t, m.Disk(), fmt.Sprintf("/%05d", i), nil, true)
			}
			m.PowerOff()
			m.PowerOn()
			names, err := m.Disk().List("/")
			require.NoError(t, err)
			require.GreaterOrEqual(t, len(names), files-4096)
			require.Equal(t, fmt.Sprintf("%05d", len(names)-1), names[len(names)-1])
		}
	})
}

func TestDiskErrors(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		d := w.NewMachine("m").Disk()
		require.NoError(t, d.WriteFile("/dir/file", []byte("x")))
		_, err := d.Open("/nothing")
		require.ErrorIs(t, err, fs.ErrNotExist)
		_, err = d.Open("/dir")
		require.ErrorIs(t, err, syscall.EISDIR)
		_, err = d.Create("/dir/file/below")
		require.ErrorIs(t, err, syscall.ENOTDIR)
		_, err = d.Create("/none/file")
		require.ErrorIs(t, err, fs.ErrNotExist)
		_, err = d.Create("relative")
		require.ErrorIs(t, err, fs.ErrInvalid)
		_, err = d.List("/dir/file")
		require.ErrorIs(t, err, syscall.ENOTDIR)
		require.ErrorIs(t, d.Remove("/dir"), syscall.ENOTEMPTY)
		require.ErrorIs(t, d.MkdirAll("/dir/file"), syscall.ENOTDIR)
		f, err := d.Open("/dir/file")
		require.NoError(t, err)
		require.NoError(t, d.Remove("/dir/file"))
		_, err = f.WriteAt([]byte("still open"), 0)
		require.NoError(t, err)
		require.NoError(t, f.Close())
		_, err = f.Size()
		require.ErrorIs(t, err, fs.ErrClosed)
	})
}
