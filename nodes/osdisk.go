package nodes

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"slices"
	"sync/atomic"
	"syscall"
)

var _ Disk = (*osDisk)(nil)

// Files of a node are its own: nobody else may read keys and mail.
const (
	filePerm = 0o600
	dirPerm  = 0o700
)

// osDisk is a directory tree of the operating system. No name, and no symbolic
// link met on the way, leads out of it.
type osDisk struct {
	root   tree
	closed atomic.Bool
}

// tree takes names relative to its root.
type tree interface {
	OpenFile(name string, flag int, perm os.FileMode) (*os.File, error)
	Rename(oldName, newName string) error
	Remove(name string) error
	Stat(name string) (os.FileInfo, error)
	MkdirAll(name string, perm os.FileMode) error
	Close() error
}

// everything is the tree below "/". An os.Root refuses absolute symbolic links
// wherever they lead, and here they lead nowhere else.
type everything struct{}

func (everything) OpenFile(name string, flag int, perm os.FileMode) (*os.File, error) {
	return os.OpenFile("/"+name, flag, perm)
}
func (everything) Rename(oldName, newName string) error         { return os.Rename("/"+oldName, "/"+newName) }
func (everything) Remove(name string) error                     { return os.Remove("/" + name) }
func (everything) Stat(name string) (os.FileInfo, error)        { return os.Stat("/" + name) }
func (everything) MkdirAll(name string, perm os.FileMode) error { return os.MkdirAll("/"+name, perm) }
func (everything) Close() error                                 { return nil }

func openDisk(dir string) (*osDisk, error) {
	if dir == "/" {
		return &osDisk{root: everything{}}, nil
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &osDisk{root: root}, nil
}

func (d *osDisk) close() error {
	d.closed.Store(true)
	return d.root.Close()
}

// local turns an absolute name into one relative to the root.
func (d *osDisk) local(op, name string) (string, error) {
	if d.closed.Load() {
		return "", &fs.PathError{Op: op, Path: name, Err: fs.ErrClosed}
	}
	if !path.IsAbs(name) {
		return "", &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	if name = path.Clean(name)[1:]; name == "" {
		return ".", nil
	}
	return name, nil
}

// named has an error of the root name what was asked for.
func named(err error, op, name string) error {
	var e *fs.PathError
	if errors.As(err, &e) {
		return &fs.PathError{Op: op, Path: name, Err: e.Err}
	}
	return err
}

func (d *osDisk) open(op, name string, flag int) (File, error) {
	below, err := d.local(op, name)
	if err != nil {
		return nil, err
	}
	f, err := d.root.OpenFile(below, flag, filePerm)
	if err != nil {
		return nil, named(err, op, name)
	}
	return osFile{f}, nil
}

func (d *osDisk) Create(name string) (File, error) {
	return d.open("create", name, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
}

func (d *osDisk) Open(name string) (File, error) {
	f, err := d.open("open", name, os.O_RDWR)
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
		// Certificates and the like are often only for reading.
		return d.open("open", name, os.O_RDONLY)
	}
	return f, err
}

func (d *osDisk) Rename(oldName, newName string) error {
	from, err := d.local("rename", oldName)
	if err != nil {
		return err
	}
	to, err := d.local("rename", newName)
	if err != nil {
		return err
	}
	err = d.root.Rename(from, to)
	var e *os.LinkError
	if errors.As(err, &e) {
		return &os.LinkError{Op: "rename", Old: oldName, New: newName, Err: e.Err}
	}
	return err
}

func (d *osDisk) Remove(name string) error {
	below, err := d.local("remove", name)
	if err != nil {
		return err
	}
	return named(d.root.Remove(below), "remove", name)
}

func (d *osDisk) List(dir string) ([]string, error) {
	below, err := d.local("list", dir)
	if err != nil {
		return nil, err
	}
	f, err := d.root.OpenFile(below, os.O_RDONLY, 0)
	if err != nil {
		return nil, named(err, "list", dir)
	}
	defer f.Close() // only read from
	list, err := f.Readdirnames(-1)
	if err != nil {
		return nil, named(err, "list", dir)
	}
	slices.Sort(list)
	return list, nil
}

func (d *osDisk) Stat(name string) (int64, error) {
	below, err := d.local("stat", name)
	if err != nil {
		return 0, err
	}
	info, err := d.root.Stat(below)
	if err != nil {
		return 0, named(err, "stat", name)
	}
	if info.IsDir() {
		return -1, nil
	}
	return info.Size(), nil
}

func (d *osDisk) MkdirAll(dir string) error {
	below, err := d.local("mkdir", dir)
	if err != nil {
		return err
	}
	return named(d.root.MkdirAll(below, dirPerm), "mkdir", dir)
}

func (d *osDisk) SyncDir(dir string) error {
	below, err := d.local("sync", dir)
	if err != nil {
		return err
	}
	f, err := d.root.OpenFile(below, os.O_RDONLY, 0)
	if err != nil {
		return named(err, "sync", dir)
	}
	defer f.Close() // only synced
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return &fs.PathError{Op: "sync", Path: dir, Err: syscall.ENOTDIR}
	}
	return f.Sync()
}

type osFile struct{ *os.File }

func (f osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
