package sim

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"syscall"
	"time"
)

// DiskConditions are what a fault does to what processes ask of a disk. The zero
// value does nothing. The world itself, which uses [Machine.Disk], is spared.
type DiskConditions struct {
	// Full has everything fail with ENOSPC that needs room: a new name, and bytes
	// beyond the last block that a file has. What there is can be read, overwritten,
	// renamed and removed, and all that is freed has been taken by others.
	Full bool
	// ReadOnly has every change fail with EROFS, as after a file system has found
	// itself damaged and was remounted.
	ReadOnly bool
	// Errors is parts per million of reads, writes and syncs that fail with EIO and
	// do nothing.
	Errors int64
	// Slow is how much longer each read and each sync takes. Writes go to the
	// memory of the kernel, and opening a file costs nothing.
	Slow time.Duration
	// Stalled has everything wait for the end of the fault.
	Stalled bool
	// LoseSyncs has syncs return at once without having made anything durable, as
	// with a drive that lies about its cache. What is synced after the fault is safe.
	LoseSyncs bool
}

// DiskFault is an impairment of a disk, from Impair until Heal.
type DiskFault struct {
	fs      *fileSystem
	name    string
	cond    DiskConditions
	touched uint64        // guarded by fs.mu
	healed  chan struct{} // closed
}

// Impair puts the disk under the conditions until the fault is healed.
func (d *Disk) Impair(name string, c DiskConditions) *DiskFault {
	f := &DiskFault{fs: d.fs, name: name, cond: c, healed: make(chan struct{})}
	d.fs.mu.Lock()
	defer d.fs.mu.Unlock()
	d.fs.faults = append(d.fs.faults, f)
	return f
}

// Touched counts the calls that the fault has affected.
func (f *DiskFault) Touched() uint64 {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	return f.touched
}

// Heal ends the fault. Calls that waited for that go on within a millisecond, in an
// order that hangs on the names of their files. To heal it twice is allowed.
func (f *DiskFault) Heal() {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if i := slices.Index(f.fs.faults, f); i >= 0 {
		f.fs.faults = slices.Delete(f.fs.faults, i, i+1)
		close(f.healed)
	}
}

// strikes tells how the conditions affect an operation: by how much it is late, and
// how it fails. n is how often there was such a one.
func (f *DiskFault) strikes(op, who string, n uint64) (late time.Duration, err error) {
	c := &f.cond
	bytes := op == "read" || op == "write" || op == "sync"
	switch op {
	case "read", "sync":
		late = c.Slow
	case "create", "rename", "remove", "mkdir", "truncate", "write":
		if c.ReadOnly {
			return 0, syscall.EROFS
		}
	}
	if bytes && f.fs.w.happens(c.Errors, who, "error of "+f.name, n) {
		return late, syscall.EIO
	}
	return late, nil
}

// meddle is what the faults of the disk do to a call before it takes place: they
// delay it, or have it fail. The disk is not locked.
func (d *Disk) meddle(op, name string) error {
	f := d.fs
	f.mu.Lock()
	if len(f.faults) == 0 || op == "close" {
		f.mu.Unlock()
		return nil
	}
	who := f.name + "/" + d.proc.name + " " + op + " " + name
	n := f.calls[who]
	f.calls[who] = n + 1
	var stalled []*DiskFault
	var late time.Duration
	var failure error
	for _, fault := range f.faults {
		more, err := fault.strikes(op, who, n)
		late += more
		failure = cmp.Or(failure, err)
		if fault.cond.Stalled {
			stalled = append(stalled, fault)
		}
		if more > 0 || err != nil || fault.cond.Stalled {
			fault.touched++
		}
	}
	f.mu.Unlock()
	for _, fault := range stalled {
		select {
		case <-fault.healed:
		case <-d.proc.ctx.Done():
		}
	}
	if len(stalled) > 0 {
		late += time.Duration(below(f.w.choice(who, "goes on", n), int64(time.Millisecond)))
	}
	if late > 0 {
		// Calls of one instant are kept apart.
		timer := time.NewTimer(late + time.Duration(below(f.w.choice(who, "late", n), int64(time.Microsecond))))
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-d.proc.ctx.Done():
		}
	}
	if failure != nil {
		return pathError(op, name, failure)
	}
	return nil
}

// struck counts a call of a process for the faults of a kind. The disk is locked.
func (d *Disk) struck(by func(c *DiskConditions) bool) bool {
	any := false
	for _, f := range d.fs.faults {
		if d.proc != nil && by(&f.cond) {
			f.touched++
			any = true
		}
	}
	return any
}

func (d *Disk) liesAboutSync() bool {
	return d.struck(func(c *DiskConditions) bool { return c.LoseSyncs })
}

func (d *Disk) full() bool { return d.struck(func(c *DiskConditions) bool { return c.Full }) }

// room is how many of n bytes that are written at an offset find room in a file of
// that size. The disk is locked.
func (d *Disk) room(size, at, n int) int {
	end := (size + block - 1) / block * block
	if at+n <= end || !d.full() {
		return n
	}
	return max(end-at, 0)
}

// Rot is decay of what lies on a disk: from [Disk.Rot] until Heal.
type Rot struct {
	fs    *fileSystem
	spots []*spot
}

// spot is one byte that has changed, until it is healed or written over.
type spot struct {
	node *inode
	at   int
	bit  byte
	seen bool // in the data
	kept bool // in what is durable of them
	read uint64
}

// Rot flips one bit of each file below a directory that is not empty, as it is seen
// and as it is kept. Which one hangs on the disk, the name of the rot, and the file.
func (d *Disk) Rot(name, dir string) *Rot {
	f := d.fs
	f.mu.Lock()
	defer f.mu.Unlock()
	r := &Rot{fs: f}
	for _, file := range slices.Sorted(maps.Keys(f.names)) {
		node := f.names[file]
		if node.dir || len(node.data) == 0 || !strings.HasPrefix(file, strings.TrimSuffix(dir, "/")+"/") {
			continue
		}
		x := f.w.choice(f.name+"/disk"+file, "rot "+name, 0)
		at := int(below(x>>8, int64(len(node.data))))
		s := &spot{node: node, at: at, bit: 1 << (x & 7), seen: true, kept: at < node.same}
		r.spots = append(r.spots, s)
		node.spots = append(node.spots, s)
		s.flip()
	}
	return r
}

// decay has f look at the changed bytes within a range.
func (i *inode) decay(from, to int, f func(*spot)) {
	for _, s := range i.spots {
		if from <= s.at && s.at < to {
			f(s)
		}
	}
}

// written notes that something else has taken the place of a range of the data.
func (i *inode) written(from, to int) { i.decay(from, to, func(s *spot) { s.seen = false }) }

// flip changes the byte where it is wrong, or right.
func (s *spot) flip() {
	if s.seen {
		s.node.data[s.at] ^= s.bit
	}
	if s.kept {
		s.node.durable[s.at] ^= s.bit
	}
}

// Heal puts right what is still as the rot has left it, as from a copy. What was
// written over meanwhile stays. To heal it twice is allowed.
func (r *Rot) Heal() {
	r.fs.mu.Lock()
	defer r.fs.mu.Unlock()
	for _, s := range r.spots {
		s.flip()
		s.seen, s.kept = false, false
		s.node.spots = slices.DeleteFunc(s.node.spots, func(o *spot) bool { return o == s })
	}
	r.spots = slices.DeleteFunc(r.spots, func(s *spot) bool { return s.read == 0 })
}

// Touched counts the reads that have got a byte that had changed.
func (r *Rot) Touched() uint64 {
	r.fs.mu.Lock()
	defer r.fs.mu.Unlock()
	n := uint64(0)
	for _, s := range r.spots {
		n += s.read
	}
	return n
}

// readRot counts a read of a process. The disk is locked.
func (i *inode) readRot(at, n int) {
	i.decay(at, at+n, func(s *spot) {
		if s.seen {
			s.read++
		}
	})
}
