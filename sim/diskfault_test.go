package sim_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/sim"
)

// on runs f as a process of a machine and waits for it.
func on(m *sim.Machine, f func(p *sim.Process, d *sim.Disk)) {
	_ = m.Start("test", func(p *sim.Process) error { f(p, p.Disk()); return nil }).Wait()
}

func TestDiskFull(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		m := w.NewMachine("m")
		require.NoError(t, m.Disk().WriteFile("/dir/file", []byte("short")))
		full := m.Disk().Impair("full", sim.DiskConditions{Full: true})
		on(m, func(_ *sim.Process, d *sim.Disk) {
			data, err := read(d, "/dir/file")
			require.NoError(t, err)
			require.Equal(t, "short", string(data))
			require.Zero(t, full.Touched())
			_, err = d.Create("/dir/new")
			require.ErrorIs(t, err, syscall.ENOSPC)
			require.ErrorIs(t, d.MkdirAll("/dir/below"), syscall.ENOSPC)
			require.NoError(t, d.MkdirAll("/dir"))
			f, err := d.Open("/dir/file")
			require.NoError(t, err)
			n, err := f.WriteAt(bytes.Repeat([]byte("x"), 5000), 5)
			require.ErrorIs(t, err, syscall.ENOSPC)
			var path *fs.PathError
			require.ErrorAs(t, err, &path)
			require.Equal(t, 4091, n, "what the last block has room for")
			size, err := f.Size()
			require.NoError(t, err)
			require.EqualValues(t, 4096, size)
			n, err = f.WriteAt([]byte("over"), 10)
			require.NoError(t, err)
			require.Equal(t, 4, n)
			require.NoError(t, f.Sync())
			require.NoError(t, d.Rename("/dir/file", "/dir/other"))
			require.NoError(t, d.Remove("/dir/other"))
			require.EqualValues(t, 3, full.Touched())
			full.Heal()
			full.Heal()
			put(t, d, "/dir/new", []byte("x"), true)
		})
		require.NoError(t, m.Disk().WriteFile("/by/the/world", nil))
	})
}

func TestDiskReadOnly(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		m := w.NewMachine("m")
		require.NoError(t, m.Disk().WriteFile("/file", []byte("x")))
		fault := m.Disk().Impair("ro", sim.DiskConditions{ReadOnly: true})
		require.NoError(t, m.Disk().WriteFile("/by/the/world", nil))
		on(m, func(_ *sim.Process, d *sim.Disk) {
			_, err := d.Create("/file")
			require.ErrorIs(t, err, syscall.EROFS)
			require.ErrorIs(t, d.Remove("/file"), syscall.EROFS)
			require.ErrorIs(t, d.Rename("/file", "/other"), syscall.EROFS)
			require.ErrorIs(t, d.MkdirAll("/dir"), syscall.EROFS)
			f, err := d.Open("/file")
			require.NoError(t, err)
			_, err = f.WriteAt([]byte("y"), 0)
			require.ErrorIs(t, err, syscall.EROFS)
			require.ErrorIs(t, f.Truncate(0), syscall.EROFS)
			require.EqualValues(t, 6, fault.Touched())
			data, err := read(d, "/file")
			require.NoError(t, err)
			require.Equal(t, "x", string(data))
			fault.Heal()
			require.NoError(t, d.Remove("/file"))
		})
	})
}

func TestDiskErrorsAtRandom(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		m := w.NewMachine("m")
		fault := m.Disk().Impair("bad", sim.DiskConditions{Errors: 200_000})
		on(m, func(_ *sim.Process, d *sim.Disk) {
			f, err := d.Create("/file")
			require.NoError(t, err)
			failed := map[string]int{}
			b := make([]byte, 1)
			for i := range 300 {
				was, _ := read(m.Disk(), "/file")
				if _, err := f.WriteAt([]byte{byte(i)}, 0); err != nil {
					require.ErrorIs(t, err, syscall.EIO)
					is, _ := read(m.Disk(), "/file")
					require.Equal(t, was, is)
					failed["write"]++
				}
				if _, err := f.ReadAt(b, 0); err != nil && len(was) > 0 {
					require.ErrorIs(t, err, syscall.EIO)
					failed["read"]++
				}
				if err := f.Sync(); err != nil {
					require.ErrorIs(t, err, syscall.EIO)
					failed["sync"]++
				}
			}
			require.Len(t, failed, 3)
			for op, n := range failed {
				require.InDelta(t, 60, n, 30, op)
			}
			require.EqualValues(t, failed["write"]+failed["read"]+failed["sync"], fault.Touched())
		})
	})
}

func TestDiskSlow(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		m := w.NewMachine("m")
		require.NoError(t, m.Disk().WriteFile("/file", []byte("x")))
		fault := m.Disk().Impair("slow", sim.DiskConditions{Slow: 300 * time.Millisecond})
		on(m, func(_ *sim.Process, d *sim.Disk) {
			start := w.Elapsed()
			f, err := d.Open("/file")
			require.NoError(t, err)
			_, err = f.WriteAt([]byte("y"), 0)
			require.NoError(t, err)
			require.Equal(t, start, w.Elapsed())
			_, err = f.ReadAt(make([]byte, 1), 0)
			require.NoError(t, err)
			soonAfter(t, start+300*time.Millisecond, w.Elapsed())
			require.NoError(t, f.Sync())
			require.NoError(t, d.SyncDir("/"))
			soonAfter(t, start+900*time.Millisecond, w.Elapsed())
			require.EqualValues(t, 3, fault.Touched())
		})
		// A process that ends meanwhile has synced nothing.
		p := m.Start("short-lived", func(p *sim.Process) error {
			put(t, p.Disk(), "/late", []byte("x"), false)
			f, err := p.Disk().Open("/late")
			require.NoError(t, err)
			require.NoError(t, p.Disk().SyncDir("/"))
			return f.Sync()
		})
		time.Sleep(500 * time.Millisecond)
		p.Kill()
		require.ErrorIs(t, p.Wait(), sim.ErrKilled)
	})
}

// Whoever uses a stalled disk waits for its end, or its own.
func TestDiskStalled(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		m := w.NewMachine("m")
		fault := m.Disk().Impair("stalled", sim.DiskConditions{Stalled: true})
		done := make(chan string, 3)
		for _, name := range []string{"a", "b", "c"} {
			m.Start(name, func(p *sim.Process) error {
				put(t, p.Disk(), "/"+name, nil, true)
				done <- name
				return nil
			})
		}
		doomed := m.Start("doomed", func(p *sim.Process) error {
			_, err := p.Disk().Stat("/")
			require.Error(t, err)
			return err
		})
		time.Sleep(time.Second)
		require.Empty(t, done)
		require.EqualValues(t, 4, fault.Touched())
		doomed.Kill()
		fault.Heal()
		time.Sleep(2 * time.Millisecond)
		require.ElementsMatch(t, []string{"a", "b", "c"}, []string{<-done, <-done, <-done})
	})
}

// A drive that lies loses with the power what it has said to be safe, and in
// some block or name of it at least in many runs.
func TestDiskLosesSyncs(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		lost := 0
		for i := range 100 {
			m := w.NewMachine(fmt.Sprint("m", i))
			require.NoError(t, m.Disk().WriteFile("/f", []byte("old")))
			fault := m.Disk().Impair("lies", sim.DiskConditions{LoseSyncs: true})
			on(m, func(_ *sim.Process, d *sim.Disk) {
				put(t, d, "/f.tmp", []byte("new"), true)
				require.NoError(t, d.Rename("/f.tmp", "/f"))
				require.NoError(t, d.SyncDir("/"))
			})
			require.EqualValues(t, 2, fault.Touched())
			m.PowerOff()
			m.PowerOn()
			if data, err := read(m.Disk(), "/f"); err != nil || string(data) != "new" {
				lost++
			}
			fault.Heal()
			put(t, m.Disk(), "/f", []byte("safe"), true)
			m.PowerOff()
			m.PowerOn()
			data, err := read(m.Disk(), "/f")
			require.NoError(t, err)
			require.Equal(t, "safe", string(data))
		}
		require.Greater(t, lost, 50)
	})
}

// Power that goes in the middle of a sync leaves some blocks old and some new.
func TestPowerOffDuringSync(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		const block = 4 << 10
		torn := 0
		for i := range 100 {
			m := w.NewMachine(fmt.Sprint("m", i))
			require.NoError(t, m.Disk().WriteFile("/f", bytes.Repeat([]byte("o"), 4*block)))
			crash := m.PowerOffDuringSync(2)
			on(m, func(_ *sim.Process, d *sim.Disk) {
				f, err := d.Open("/f")
				require.NoError(t, err)
				require.NoError(t, f.Sync())
				_, err = f.WriteAt(bytes.Repeat([]byte("n"), 4*block), 0)
				require.NoError(t, err)
				require.NoError(t, d.SyncDir("/"), "which is not counted")
				require.False(t, crash.Happened())
				require.Error(t, f.Sync())
			})
			require.True(t, crash.Happened())
			require.False(t, m.On())
			m.PowerOn()
			data, err := read(m.Disk(), "/f")
			require.NoError(t, err)
			if len(slices.Compact(slices.Clone(data))) > 1 {
				torn++
			}
		}
		require.Greater(t, torn, 80)
	})
}

// Two decays of the same byte heal in the order in which they began: what nobody wrote
// over is right in the end, and what somebody wrote is what was written, even where
// that is what the decay had made of it.
func TestDiskRotHeals(t *testing.T) {
	rewrite := func(t *testing.T, m *sim.Machine, sync bool) {
		f, err := m.Disk().Open("/dir/file")
		require.NoError(t, err)
		b := make([]byte, 1)
		_, err = f.ReadAt(b, 0)
		require.NoError(t, err)
		_, err = f.WriteAt(b, 0)
		require.NoError(t, err)
		if sync {
			require.NoError(t, f.Sync())
		}
	}
	power := func(m *sim.Machine) { m.PowerOff(); m.PowerOn() }
	for name, c := range map[string]struct {
		then   func(*testing.T, *sim.Machine)
		stays  bool // what was written
		either bool // it may be lost with the power
	}{
		"untouched":                {then: func(*testing.T, *sim.Machine) {}},
		"power lost":               {then: func(_ *testing.T, m *sim.Machine) { power(m) }},
		"written":                  {then: func(t *testing.T, m *sim.Machine) { rewrite(t, m, false) }, stays: true},
		"synced":                   {then: func(t *testing.T, m *sim.Machine) { rewrite(t, m, true); power(m) }, stays: true},
		"written, then power lost": {then: func(t *testing.T, m *sim.Machine) { rewrite(t, m, false); power(m) }, either: true},
	} {
		t.Run(name, func(t *testing.T) {
			sim.Test(t, func(t *testing.T, w *sim.World) {
				m := w.NewMachine("m")
				d := m.Disk()
				require.NoError(t, d.WriteFile("/dir/file", []byte("x")))
				first, second := d.Rot("first", "/dir"), d.Rot("second", "/dir")
				wrong, err := read(d, "/dir/file")
				require.NoError(t, err)
				require.NotEqual(t, "x", string(wrong))
				c.then(t, m)
				first.Heal()
				second.Heal()
				second.Heal()
				got, err := read(d, "/dir/file")
				require.NoError(t, err)
				switch {
				case c.either:
					require.Contains(t, []string{"x", string(wrong)}, string(got))
				case c.stays:
					require.Equal(t, string(wrong), string(got))
				default:
					require.Equal(t, "x", string(got))
				}
				if !c.stays && !c.either {
					power(m)
					got, err = read(d, "/dir/file")
					require.NoError(t, err)
					require.Equal(t, "x", string(got), "also what is kept")
				}
			})
		})
	}
}

// A bit of each file flips; only what somebody reads counts, and what was written
// over is not put right.
func TestDiskRot(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		m := w.NewMachine("m")
		d := m.Disk()
		want := bytes.Repeat([]byte("abc"), 100)
		for _, name := range []string{"/dir/kept", "/dir/replaced", "/dir/crashed"} {
			require.NoError(t, d.WriteFile(name, want))
		}
		require.NoError(t, d.WriteFile("/dir/empty", nil))
		differs := func(name string) (bits int) {
			data, err := read(d, name)
			require.NoError(t, err)
			require.Len(t, data, len(want))
			for i := range data {
				for x := data[i] ^ want[i]; x != 0; x &= x - 1 {
					bits++
				}
			}
			return bits
		}
		require.NoError(t, d.WriteFile("/elsewhere/x", want))
		rot := d.Rot("rot", "/dir")
		require.Equal(t, []int{1, 1, 1}, []int{differs("/dir/kept"), differs("/dir/replaced"), differs("/dir/crashed")})
		require.Zero(t, differs("/elsewhere/x"))
		require.Zero(t, rot.Touched(), "the world looks without reading")
		on(m, func(_ *sim.Process, d *sim.Disk) {
			_, err := read(d, "/dir/kept")
			require.NoError(t, err)
			put(t, d, "/dir/replaced", want, true)
		})
		m.PowerOff()
		m.PowerOn()
		require.Equal(t, []int{1, 0, 1}, []int{differs("/dir/kept"), differs("/dir/replaced"), differs("/dir/crashed")}, "the power changes nothing")
		rot.Heal()
		require.Equal(t, []int{0, 0, 0}, []int{differs("/dir/kept"), differs("/dir/replaced"), differs("/dir/crashed")})
		require.EqualValues(t, 1, rot.Touched())
		m.PowerOff()
		m.PowerOn()
		require.Zero(t, differs("/dir/kept"))
	})
}
