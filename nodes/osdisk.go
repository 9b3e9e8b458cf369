package nodes

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"slices"
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
type osDisk struct{ root *os.Root }

func openDisk(dir string) (*osDisk, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &osDisk{root}, nil
}

// local turns an absolute name into one relative to the root.
func local(op, name string) (string, error) {
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
	below, err := local(op, name)
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
	from, err := local("rename", oldName)
	if err != nil {
		return err
	}
	to, err := local("rename", newName)
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
	below, err := local("remove", name)
	if err != nil {
		return err
	}
	return named(d.root.Remove(below), "remove", name)
}

func (d *osDisk) List(dir string) ([]string, error) {
	below, err := local("list", dir)
	if err != nil {
		return nil, err
	}
	f, err := d.root.Open(below)
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
	below, err := local("stat", name)
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
	below, err := local("mkdir", dir)
	if err != nil {
		return err
	}
	return named(d.root.MkdirAll(below, dirPerm), "mkdir", dir)
}

func (d *osDisk) SyncDir(dir string) error {
	below, err := local("sync", dir)
	if err != nil {
		return err
	}
	f, err := d.root.Open(below)
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
