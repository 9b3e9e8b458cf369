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

func (d *osDisk) open(op, name string, flag int) (File, error) {
	name, err := local(op, name)
	if err != nil {
		return nil, err
	}
	f, err := d.root.OpenFile(name, flag, filePerm)
	if err != nil {
		return nil, err
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
	return d.root.Rename(from, to)
}

func (d *osDisk) Remove(name string) error {
	name, err := local("remove", name)
	if err != nil {
		return err
	}
	return d.root.Remove(name)
}

func (d *osDisk) List(dir string) ([]string, error) {
	dir, err := local("list", dir)
	if err != nil {
		return nil, err
	}
	f, err := d.root.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close() // only read from
	list, err := f.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	slices.Sort(list)
	return list, nil
}

func (d *osDisk) Stat(name string) (int64, error) {
	name, err := local("stat", name)
	if err != nil {
		return 0, err
	}
	info, err := d.root.Stat(name)
	if err != nil {
		return 0, err
	}
	if info.IsDir() {
		return -1, nil
	}
	return info.Size(), nil
}

func (d *osDisk) MkdirAll(dir string) error {
	dir, err := local("mkdir", dir)
	if err != nil {
		return err
	}
	return d.root.MkdirAll(dir, dirPerm)
}

func (d *osDisk) SyncDir(dir string) error {
	name, err := local("sync", dir)
	if err != nil {
		return err
	}
	f, err := d.root.Open(name)
	if err != nil {
		return err
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
