package sim_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/sim"
)

// What a process did up to its n-th effect has happened, and nothing after it,
// whatever the effect is and whichever way it goes.
func TestCrashAfter(t *testing.T) {
	for _, power := range []bool{false, true} {
		// A write, a sync of the file, a sync of its directory, a write; and one more
		// than the program has.
		for n := uint64(1); n <= 5; n++ {
			t.Run(fmt.Sprintf("effect %d, power %t", n, power), func(t *testing.T) {
				sim.Test(t, func(t *testing.T, w *sim.World) {
					a, b := w.NewMachine("a"), w.NewMachine("b")
					l, err := b.Listen("tcp", ":7")
					require.NoError(t, err)
					heard := transcript(l)
					other := a.Start("other", func(p *sim.Process) error { <-p.Context().Done(); return nil })
					p := a.Start("worker", func(p *sim.Process) error {
						c, err := p.DialContext(p.Context(), "tcp", "b:7")
						if err != nil {
							return err
						}
						time.Sleep(time.Second)
						if _, err := io.WriteString(c, "1"); err != nil {
							return err
						}
						time.Sleep(time.Second)
						f, err := p.Disk().Create("/f")
						if err != nil {
							return err
						}
						if _, err := f.WriteAt([]byte("x"), 0); err != nil {
							return err
						}
						if err := f.Sync(); err != nil {
							return err
						}
						if err := p.Disk().SyncDir("/"); err != nil {
							return err
						}
						if _, err := io.WriteString(c, "2"); err != nil {
							return err
						}
						time.Sleep(time.Second)
						return c.Close()
					})
					time.Sleep(500 * time.Millisecond)
					var crashes []sim.Event
					w.Observe(func(e sim.Event) {
						if e.Kind == "crash" {
							crashes = append(crashes, e)
						}
					})
					var c *sim.Crash
					if power {
						c = a.PowerOffAfter(n)
					} else {
						c = a.KillAfter(n)
					}
					time.Sleep(10 * time.Second)
					require.Equal(t, n <= 4, c.Happened())
					if n == 5 {
						require.NoError(t, p.Wait())
						require.Empty(t, crashes)
						require.Equal(t, "12", <-heard)
						return
					}
					require.Len(t, crashes, 1)
					require.Equal(t, "worker", crashes[0].Proc)
					require.Equal(t, []string{"write", "sync /f", "sync /", "write"}[n-1], crashes[0].Get("after"))
					require.ErrorIs(t, p.Wait(), map[bool]error{false: sim.ErrKilled, true: sim.ErrPowerOff}[power])
					require.Equal(t, !power, other.Alive())
					require.Equal(t, !power, a.On())
					if power {
						a.PowerOn()
					}
					_, err = a.Disk().Stat("/f")
					switch {
					case n == 1:
						require.Error(t, err)
					case n >= 3 || !power:
						require.NoError(t, err)
					} // else the name was not synced yet, and may have survived all the same
					if !power {
						require.Equal(t, map[bool]string{false: "1", true: "12"}[n == 4], <-heard)
					}
				})
			})
		}
	}
}

// A crash that is cancelled never comes.
func TestCrashCancelled(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		m := w.NewMachine("m")
		c := m.KillAfter(2)
		p := m.Start("writer", func(p *sim.Process) error {
			for p.Context().Err() == nil {
				if err := p.Disk().SyncDir("/"); err != nil {
					return err
				}
				time.Sleep(time.Second)
			}
			return nil
		})
		time.Sleep(500 * time.Millisecond)
		c.Cancel()
		time.Sleep(10 * time.Second)
		require.True(t, p.Alive())
		require.False(t, c.Happened())
	})
}

// Of a process that dies by what it sent, the peer has all of that and a reset,
// and what it sent elsewhere in the same instant, later in the order of names,
// was never sent.
func TestCrashWithinTheInstant(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		a, b := w.NewMachine("a"), w.NewMachine("b")
		var heard [2]<-chan string
		for i := range heard {
			l, err := b.Listen("tcp", fmt.Sprintf(":%d", 7+i))
			require.NoError(t, err)
			heard[i] = transcript(l)
		}
		a.Start("worker", func(p *sim.Process) error {
			var conns [2]net.Conn
			for i := range conns {
				var err error
				if conns[i], err = p.DialContext(context.Background(), "tcp", fmt.Sprintf("b:%d", 7+i)); err != nil {
					return err
				}
			}
			time.Sleep(time.Second)
			for i := range conns {
				if _, err := io.WriteString(conns[1-i], "x"); err != nil {
					return err
				}
			}
			<-p.Context().Done()
			return nil
		})
		time.Sleep(500 * time.Millisecond)
		a.KillAfter(1)
		require.Equal(t, "x", <-heard[0])
		require.Empty(t, <-heard[1])
	})
}

// transcript is all that the first client of a listener says.
func transcript(l net.Listener) <-chan string {
	heard := make(chan string, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		text, _ := io.ReadAll(c) // up to the end, whichever that is
		heard <- string(text)
	}()
	return heard
}
