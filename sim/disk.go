package sim

import (
	"io/fs"
	"maps"
	"math"
	slashpath "path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// Disk is the file system of a machine, as one process sees it. Names are
// slash-separated and absolute.
//
// It keeps two states: what processes see, and what a power failure leaves.
// File.Sync makes a file's contents durable; SyncDir makes every change of names
// durable that was made before it. Of the rest a power failure keeps, chosen by
// the seed, a prefix of the changes of names, and of each file any of the 4 KiB
// blocks that changed. A journal of some thousand changes of names is full, and
// then the oldest become durable.
//
// Errors are *fs.PathError with the system's error numbers. Impair and Rot have a
// disk fail; see [DiskConditions].
type Disk struct {
	fs   *fileSystem
	proc *Process // nil for the world itself
}

// block is what a disk writes or does not write as a whole.
const block = 4 << 10

// maxPending is how many changes of names a power failure can undo.
const maxPending = 4096

type fileSystem struct {
	w    *World
	name string

	mu      sync.Mutex
	names   map[string]*inode // what processes see
	durable map[string]*inode // what remains
	pending []rename          // changes of names since the last SyncDir
	crashes uint64
	faults  []*DiskFault
	calls   map[string]uint64 // while there were faults, by process, operation and name
}

// rename is one change of names: to gets node, from (if any) goes away; a nil
// node removes to.
type rename struct {
	from, to string
	node     *inode
}

func (r rename) apply(names map[string]*inode) {
	if r.from != "" {
		delete(names, r.from)
	}
	if r.node == nil {
		delete(names, r.to)
		return
	}
	names[r.to] = r.node
}

type inode struct {
	dir     bool
	data    []byte
	durable []byte
	same    int // how much of both is known to be equal
	spots   []*spot
}

// changed notes that the data differ from an offset on.
func (i *inode) changed(from int) { i.same = min(i.same, from) }

func newDisk(w *World, name string) *Disk {
	root := &inode{dir: true}
	return &Disk{fs: &fileSystem{
		w: w, name: name,
		names:   map[string]*inode{"/": root},
		durable: map[string]*inode{"/": root},
		calls:   map[string]uint64{},
	}}
}

func (d *Disk) as(p *Process) *Disk { return &Disk{fs: d.fs, proc: p} }

func (d *Disk) crash() {
	f := d.fs
	f.mu.Lock()
	defer f.mu.Unlock()
	who := f.name + "/disk"
	n := f.crashes
	f.crashes++
	kept := below(f.w.choice(who, "names", n), int64(len(f.pending)+1))
	for _, r := range f.pending[:kept] {
		r.apply(f.durable)
	}
	f.pending = nil
	for _, name := range slices.Sorted(maps.Keys(f.durable)) {
		f.durable[name].crash(f.w, who+name, n)
	}
	f.names = maps.Clone(f.durable)
}

func (i *inode) crash(w *World, who string, n uint64) {
	size := len(i.durable)
	if len(i.data) != size && w.choice(who, "size", n)&1 == 1 {
		size = len(i.data)
	}
	after := make([]byte, size)
	for at := 0; at < size; at += block {
		from := i.durable
		if w.choice(who, "block "+strconv.Itoa(at/block), n)&1 == 1 {
			from = i.data
			i.decay(at, at+block, func(s *spot) { s.kept = s.seen })
		} else {
			i.decay(at, at+block, func(s *spot) { s.seen = s.kept })
		}
		if at < len(from) {
			copy(after[at:min(at+block, size)], from[at:])
		}
	}
	i.decay(size, math.MaxInt, func(s *spot) { s.seen, s.kept = false, false })
	i.data = after
	i.durable = slices.Clone(after)
	i.same = size
}

func pathError(op, name string, err error) error {
	return &fs.PathError{Op: op, Path: name, Err: err}
}

// enter begins a call: it lets faults meddle, checks the process and takes the lock.
func (d *Disk) enter(op, name string) error {
	if d.proc != nil {
		var err error
		if d.proc.ctx.Err() == nil {
			err = d.meddle(op, name)
		}
		switch {
		case d.proc.ctx.Err() != nil:
			return pathError(op, name, errDead.Err)
		case err != nil:
			return err
		}
	}
	d.fs.mu.Lock()
	return nil
}

func (f *fileSystem) change(r rename) {
	r.apply(f.names)
	f.pending = append(f.pending, r)
	if len(f.pending) > maxPending {
		f.pending[0].apply(f.durable)
		f.pending = f.pending[1:]
	}
}

// find gives the clean form of a name and what has it, nil if nothing. It is an
// error if the name is not absolute, or lies below a file.
func (f *fileSystem) find(name string) (string, *inode, error) {
	if !strings.HasPrefix(name, "/") {
		return name, nil, fs.ErrInvalid
	}
	name = slashpath.Clean(name)
	if node := f.names[name]; node != nil {
		return name, node, nil
	}
	for dir := slashpath.Dir(name); ; dir = slashpath.Dir(dir) {
		if node := f.names[dir]; node != nil {
			if !node.dir {
				return name, nil, syscall.ENOTDIR
			}
			return name, nil, nil
		}
	}
}

// existing is find for a name that must be there.
func (f *fileSystem) existing(name string) (string, *inode, error) {
	name, node, err := f.find(name)
	if err == nil && node == nil {
		err = syscall.ENOENT
	}
	return name, node, err
}

// Create makes an empty file, or empties one that exists.
func (d *Disk) Create(name string) (*File, error) {
	if err := d.enter("create", name); err != nil {
		return nil, err
	}
	defer d.fs.mu.Unlock()
	name, node, err := d.fs.find(name)
	switch {
	case err != nil:
		return nil, pathError("create", name, err)
	case node != nil && node.dir:
		return nil, pathError("create", name, syscall.EISDIR)
	case node != nil:
		node.data = nil
		node.changed(0)
		node.written(0, math.MaxInt)
	case d.fs.names[slashpath.Dir(name)] == nil:
		return nil, pathError("create", name, syscall.ENOENT)
	case d.full():
		return nil, pathError("create", name, syscall.ENOSPC)
	default:
		node = &inode{}
		d.fs.change(rename{to: name, node: node})
	}
	return &File{disk: d, name: name, node: node}, nil
}

// Open opens an existing file for reading and writing.
func (d *Disk) Open(name string) (*File, error) {
	if err := d.enter("open", name); err != nil {
		return nil, err
	}
	defer d.fs.mu.Unlock()
	name, node, err := d.fs.existing(name)
	switch {
	case err != nil:
		return nil, pathError("open", name, err)
	case node.dir:
		return nil, pathError("open", name, syscall.EISDIR)
	}
	return &File{disk: d, name: name, node: node}, nil
}

// Rename moves a file, replacing a file that had the new name.
func (d *Disk) Rename(oldName, newName string) error {
	if err := d.enter("rename", oldName); err != nil {
		return err
	}
	defer d.fs.mu.Unlock()
	oldName, node, err := d.fs.existing(oldName)
	if err != nil {
		return pathError("rename", oldName, err)
	}
	newName, target, err := d.fs.find(newName)
	switch {
	case err != nil:
		return pathError("rename", newName, err)
	case node.dir:
		return pathError("rename", oldName, syscall.EISDIR)
	case target != nil && target.dir:
		return pathError("rename", newName, syscall.EISDIR)
	case d.fs.names[slashpath.Dir(newName)] == nil:
		return pathError("rename", newName, syscall.ENOENT)
	case oldName == newName:
		return nil
	}
	d.fs.change(rename{from: oldName, to: newName, node: node})
	return nil
}

// Remove deletes a file or an empty directory.
func (d *Disk) Remove(name string) error {
	if err := d.enter("remove", name); err != nil {
		return err
	}
	defer d.fs.mu.Unlock()
	name, node, err := d.fs.existing(name)
	switch {
	case err != nil:
		return pathError("remove", name, err)
	case node.dir && (name == "/" || len(d.fs.list(name)) > 0):
		return pathError("remove", name, syscall.ENOTEMPTY)
	}
	d.fs.change(rename{to: name})
	return nil
}

func (f *fileSystem) list(dir string) []string {
	prefix := strings.TrimSuffix(dir, "/") + "/"
	var names []string
	for name := range f.names {
		if rest, ok := strings.CutPrefix(name, prefix); ok && rest != "" && !strings.Contains(rest, "/") {
			names = append(names, rest)
		}
	}
	slices.Sort(names)
	return names
}

// List gives the base names in a directory, sorted.
func (d *Disk) List(dir string) ([]string, error) {
	if err := d.enter("list", dir); err != nil {
		return nil, err
	}
	defer d.fs.mu.Unlock()
	dir, err := d.fs.directory(dir)
	if err != nil {
		return nil, pathError("list", dir, err)
	}
	return d.fs.list(dir), nil
}

func (f *fileSystem) directory(name string) (string, error) {
	name, node, err := f.existing(name)
	if err == nil && !node.dir {
		err = syscall.ENOTDIR
	}
	return name, err
}

// Stat gives the size of a file, or -1 for a directory.
func (d *Disk) Stat(name string) (int64, error) {
	if err := d.enter("stat", name); err != nil {
		return 0, err
	}
	defer d.fs.mu.Unlock()
	name, node, err := d.fs.existing(name)
	switch {
	case err != nil:
		return 0, pathError("stat", name, err)
	case node.dir:
		return -1, nil
	}
	return int64(len(node.data)), nil
}

// MkdirAll makes a directory and its parents.
func (d *Disk) MkdirAll(dir string) error {
	if err := d.enter("mkdir", dir); err != nil {
		return err
	}
	defer d.fs.mu.Unlock()
	dir, node, err := d.fs.find(dir)
	switch {
	case err != nil:
		return pathError("mkdir", dir, err)
	case node != nil && !node.dir:
		return pathError("mkdir", dir, syscall.ENOTDIR)
	}
	for at := 1; at <= len(dir); at++ {
		if at < len(dir) && dir[at] != '/' {
			continue
		}
		if name := dir[:at]; d.fs.names[name] == nil {
			if d.full() {
				return pathError("mkdir", dir, syscall.ENOSPC)
			}
			d.fs.change(rename{to: name, node: &inode{dir: true}})
		}
	}
	return nil
}

// SyncDir makes all changes of names so far durable, those of other directories
// too, as a journal does.
func (d *Disk) SyncDir(dir string) error {
	if err := d.syncDir(dir); err != nil {
		return err
	}
	d.synced(dir)
	return nil
}

func (d *Disk) syncDir(dir string) error {
	if err := d.enter("sync", dir); err != nil {
		return err
	}
	defer d.fs.mu.Unlock()
	if dir, err := d.fs.directory(dir); err != nil {
		return pathError("sync", dir, err)
	}
	if d.liesAboutSync() {
		return nil
	}
	for _, r := range d.fs.pending {
		r.apply(d.fs.durable)
	}
	d.fs.pending = nil
	return nil
}

// WriteFile puts a durable file in place, with its directories, for setting up a
// machine.
func (d *Disk) WriteFile(name string, data []byte) error {
	if err := d.MkdirAll(slashpath.Dir(name)); err != nil {
		return err
	}
	f, err := d.Create(name)
	if err != nil {
		return err
	}
	if _, err := f.WriteAt(data, 0); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return d.SyncDir(slashpath.Dir(name))
}
