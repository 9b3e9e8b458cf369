package sim

import "slices"

// A crash after the n-th effect strikes where a crash at an instant of time
// hardly ever does: between two steps of one thing that a program does. An
// effect is what outlives the process that had it: bytes that it sent on a
// stream, all of one instant together, or a file or directory that it synced.

// Crash is a crash that waits for its effect.
type Crash struct {
	m        *Machine
	left     uint64
	power    bool
	during   bool // the sync of a file, and not after it
	happened bool
}

// KillAfter has the process killed that has the n-th effect on this machine from
// now on: what it did up to there has happened, and nothing else.
func (m *Machine) KillAfter(n uint64) *Crash { return m.crash(Crash{left: n}) }

// PowerOffAfter has the machine lose its power with the n-th effect of its
// processes from now on.
func (m *Machine) PowerOffAfter(n uint64) *Crash { return m.crash(Crash{left: n, power: true}) }

// PowerOffDuringSync has the machine lose its power in the middle of the n-th time
// from now on that a process of it syncs a file: of the blocks that had changed some
// are on the disk, and some are not.
func (m *Machine) PowerOffDuringSync(n uint64) *Crash {
	return m.crash(Crash{left: n, power: true, during: true})
}

func (m *Machine) crash(c Crash) *Crash {
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	c.m, c.left = m, max(c.left, 1)
	m.crashes = append(m.crashes, &c)
	return &c
}

// Happened tells whether the effect, and with it the crash, has come.
func (c *Crash) Happened() bool {
	c.m.w.mu.Lock()
	defer c.m.w.mu.Unlock()
	return c.happened
}

// Cancel ends the waiting.
func (c *Crash) Cancel() {
	c.m.w.mu.Lock()
	defer c.m.w.mu.Unlock()
	c.remove()
}

func (c *Crash) remove() {
	c.m.crashes = slices.DeleteFunc(c.m.crashes, func(d *Crash) bool { return d == c })
}

// effect counts one of a process. The world is locked, the disks are not.
func (w *World) effect(p *Process, what string) { w.crashWith(p, what, false) }

// crashWith has those crashes come that wait for this, after it or during it.
func (w *World) crashWith(p *Process, what string, during bool) {
	for _, c := range slices.Clone(p.m.crashes) {
		if c.during != during {
			continue
		}
		if c.left--; c.left > 0 {
			continue
		}
		c.happened = true
		c.remove()
		err := ErrKilled
		if c.power {
			err = ErrPowerOff
		}
		w.records.tell(nil, Event{Machine: p.m.name, Proc: p.name, Kind: "crash", Fields: []Field{{"after", what}, {"error", err.Error()}}})
		if c.power {
			p.m.powerOff()
		} else {
			p.die(err, true)
		}
		w.woke = true
	}
}

// synced counts a sync of a process; the world's own count as nobody's.
func (d *Disk) synced(name string) { d.crashWith("sync "+name, false) }

// syncing counts the sync of a file that is about to begin.
func (d *Disk) syncing(name string) { d.crashWith("half of sync "+name, true) }

func (d *Disk) crashWith(what string, during bool) {
	p := d.proc
	if p == nil {
		return
	}
	p.w.mu.Lock()
	if !p.dead {
		p.w.crashWith(p, what, during)
	}
	p.w.mu.Unlock()
	p.w.wake()
}
