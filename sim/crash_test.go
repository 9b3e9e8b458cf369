package sim_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/sim"
)

// A dead process answers with resets, a dead host with nothing.
func TestDeathAsPeersSeeIt(t *testing.T) {
	for _, tt := range []struct {
		name string
		die  func(p *sim.Process)
		err  error
		tell bool
	}{
		{"killed", (*sim.Process).Kill, syscall.ECONNRESET, true},
		{"returned", func(p *sim.Process) { _ = p.Signal("TERM") }, io.EOF, true},
		{"power off", func(p *sim.Process) { p.Machine().PowerOff() }, syscall.ETIMEDOUT, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sim.Test(t, func(t *testing.T, w *sim.World) {
				a, b := w.NewMachine("a"), w.NewMachine("b")
				p := b.Start("server", func(p *sim.Process) error {
					return takeOne(p, func(net.Conn) error {
						select {
						case <-p.Signals():
						case <-p.Context().Done():
						}
						return nil
					})
				})
				time.Sleep(time.Second)
				c, err := a.DialContext(context.Background(), "tcp", "b:7")
				require.NoError(t, err)
				all := listen(w, c)
				time.Sleep(time.Second)
				died := w.Elapsed()
				tt.die(p)
				end := <-all
				require.ErrorIs(t, end.err, tt.err)
				if tt.tell {
					soonAfter(t, died, end.at)
				} else {
					require.GreaterOrEqual(t, end.at, died+keepalive)
				}
			})
		})
	}
}

// After its end a process can do nothing: calls fail and effects are dropped.
func TestNothingAfterDeath(t *testing.T) {
	for _, tt := range []struct {
		name string
		die  func(p *sim.Process)
		err  error
	}{
		{"killed", (*sim.Process).Kill, sim.ErrKilled},
		{"power off", func(p *sim.Process) { p.Machine().PowerOff(); p.Machine().PowerOn() }, sim.ErrPowerOff},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sim.Test(t, func(t *testing.T, w *sim.World) {
				a, b := w.NewMachine("a"), w.NewMachine("b")
				_, err := b.Listen("tcp", ":7")
				require.NoError(t, err)
				datagrams := catch(t, b, 9)
				var told []sim.Event
				w.Observe(func(e sim.Event) { told = append(told, e) })
				var c, u net.Conn
				var l net.Listener
				var f *sim.File
				p := a.Start("victim", func(p *sim.Process) error {
					var errs [4]error
					c, errs[0] = p.DialContext(p.Context(), "tcp", "b:7")
					u, errs[1] = p.DialContext(p.Context(), "udp", "b:9")
					l, errs[2] = p.Listen("tcp", ":7")
					f, errs[3] = p.Disk().Create("/f")
					if err := errors.Join(errs[:]...); err != nil {
						return err
					}
					<-p.Context().Done()
					return errors.New("nobody will know")
				})
				time.Sleep(time.Second)
				require.True(t, p.Alive())
				tt.die(p)
				require.ErrorIs(t, p.Wait(), tt.err)
				require.False(t, p.Alive())

				p.Emit("ghost")
				_, err = c.Write([]byte("x"))
				require.Error(t, err)
				_, err = c.Read(make([]byte, 1))
				require.Error(t, err)
				_, err = u.Write([]byte("x"))
				require.Error(t, err)
				_, err = l.Accept()
				require.ErrorIs(t, err, net.ErrClosed)
				_, err = p.Listen("tcp", ":8")
				require.Error(t, err)
				_, err = p.Listen("tcp", ":0")
				require.Error(t, err)
				_, err = p.ListenPacket("udp", ":8")
				require.Error(t, err)
				_, err = p.DialContext(context.Background(), "tcp", "b:7")
				require.Error(t, err)
				_, err = p.Disk().Create("/g")
				require.Error(t, err)
				_, err = f.WriteAt([]byte("x"), 0)
				require.Error(t, err)
				_, err = p.Start("child", func(*sim.Process) error { return nil })
				require.ErrorIs(t, err, os.ErrProcessDone)
				require.ErrorIs(t, p.Signal("HUP"), os.ErrProcessDone)
				time.Sleep(time.Second)
				require.Empty(t, told)
				require.Empty(t, datagrams)
				_, err = a.Disk().Stat("/g")
				require.ErrorIs(t, err, os.ErrNotExist)
			})
		})
	}
}

// What a process did in the instant of its death never happened.
func TestDeathWithinTheInstant(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		a, b := w.NewMachine("a"), w.NewMachine("b")
		datagrams := catch(t, b, 9)
		p := a.Start("victim", func(p *sim.Process) error {
			c, err := p.DialContext(p.Context(), "udp", "b:9")
			if err != nil {
				return err
			}
			if _, err := c.Write([]byte("x")); err != nil {
				return err
			}
			p.Kill()
			return nil
		})
		require.ErrorIs(t, p.Wait(), sim.ErrKilled)
		time.Sleep(time.Second)
		require.Empty(t, datagrams)
	})
}

func TestChildrenDieWithTheirParent(t *testing.T) {
	for name, end := range map[string]func(p *sim.Process){
		"killed":   (*sim.Process).Kill,
		"returned": func(p *sim.Process) { _ = p.Signal("TERM") },
	} {
		t.Run(name, func(t *testing.T) {
			sim.Test(t, func(t *testing.T, w *sim.World) {
				m := w.NewMachine("m")
				idle := func(p *sim.Process) error { <-p.Context().Done(); return nil }
				var child, grandchild *sim.Process
				parent := m.Start("parent", func(p *sim.Process) (err error) {
					child, err = p.Start("child", func(p *sim.Process) (err error) {
						grandchild, err = p.Start("grandchild", idle)
						<-p.Context().Done()
						return err
					})
					select {
					case <-p.Signals():
					case <-p.Context().Done():
					}
					return err
				})
				time.Sleep(time.Second)
				require.Len(t, m.Processes(), 3)
				end(parent)
				require.ErrorIs(t, child.Wait(), sim.ErrKilled)
				require.ErrorIs(t, grandchild.Wait(), sim.ErrKilled)
				require.Empty(t, m.Processes())
			})
		})
	}
}

// A child and its parent talk over a pipe, whose end tells of the other's death.
func TestControl(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		m := w.NewMachine("m")
		parent := m.Start("parent", func(p *sim.Process) error {
			child, err := p.Start("child", func(p *sim.Process) error {
				_, err := io.WriteString(p.Control(), "ready")
				return err
			})
			if err != nil {
				return err
			}
			text, err := io.ReadAll(child.ParentEnd())
			if err == nil && string(text) != "ready" {
				return errors.New(string(text))
			}
			return errors.Join(err, child.Wait())
		})
		require.NoError(t, parent.Wait())
		require.Nil(t, parent.Control())
	})
}

// Every boot runs what was asked for at boot, once, also when the power comes
// and goes within one nanosecond.
func TestPowerOnBootsAgain(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		m := w.NewMachine("m")
		var starts atomic.Int64
		m.OnBoot(func(m *sim.Machine) {
			m.Start("server", func(p *sim.Process) error {
				starts.Add(1)
				_, err := p.Listen("tcp", ":80")
				<-p.Context().Done()
				return err
			})
		})
		time.Sleep(time.Second)
		require.EqualValues(t, 1, starts.Load())
		m.PowerOff()
		time.Sleep(time.Second)
		require.False(t, m.On())
		require.Empty(t, m.Processes())
		m.PowerOn()
		m.PowerOn()
		time.Sleep(time.Second)
		require.EqualValues(t, 2, starts.Load())
		w.After(0, func() {
			for range 3 {
				m.PowerOff()
				m.PowerOn()
			}
		})
		time.Sleep(time.Second)
		require.EqualValues(t, 3, starts.Load())
		require.Len(t, m.Processes(), 1)
		m.PowerOff()
		p := m.Start("too late", func(*sim.Process) error { starts.Add(1); return nil })
		require.ErrorIs(t, p.Wait(), sim.ErrPowerOff)
		require.EqualValues(t, 3, starts.Load())
	})
}

// Processes that were asked for in one instant begin at nanoseconds of their own,
// so that what they do on a grid from then on does not meet.
func TestProcessesBeginApart(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		const machines = 20
		began := make(chan time.Duration, 2*machines)
		for i := range machines {
			w.NewMachine(fmt.Sprint("m", i)).OnBoot(func(m *sim.Machine) {
				for _, name := range []string{"a", "b"} {
					m.Start(name, func(*sim.Process) error { began <- w.Elapsed(); return nil })
				}
			})
		}
		time.Sleep(time.Second)
		seen := map[time.Duration]bool{}
		for range 2 * machines {
			at := <-began
			require.False(t, seen[at], "%s", at)
			require.Less(t, at, 100*time.Microsecond+1)
			seen[at] = true
		}
	})
}
