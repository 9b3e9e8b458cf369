package sim

import (
	"io"
	"io/fs"
	"math"
	"slices"
	"syscall"
)

// File is an open file. It is safe for concurrent use.
type File struct {
	disk   *Disk
	name   string
	node   *inode
	closed bool // guarded by the file system's mu
}

func (f *File) enter(op string) error {
	if err := f.disk.enter(op, f.name); err != nil {
		return err
	}
	if f.closed {
		f.disk.fs.mu.Unlock()
		return pathError(op, f.name, fs.ErrClosed)
	}
	return nil
}

// ReadAt implements io.ReaderAt.
func (f *File) ReadAt(b []byte, at int64) (int, error) {
	if err := f.enter("read"); err != nil {
		return 0, err
	}
	defer f.disk.fs.mu.Unlock()
	if at < 0 {
		return 0, pathError("read", f.name, syscall.EINVAL)
	}
	n := 0
	if at < int64(len(f.node.data)) {
		n = copy(b, f.node.data[at:])
		if f.disk.proc != nil {
			f.node.readRot(int(at), n)
		}
	}
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// WriteAt implements io.WriterAt.
func (f *File) WriteAt(b []byte, at int64) (int, error) {
	if err := f.enter("write"); err != nil {
		return 0, err
	}
	defer f.disk.fs.mu.Unlock()
	if at < 0 {
		return 0, pathError("write", f.name, syscall.EINVAL)
	}
	room := f.disk.room(len(f.node.data), int(at), len(b))
	if end := int(at) + room; room > 0 && end > len(f.node.data) {
		f.node.data = slices.Grow(f.node.data, end-len(f.node.data))[:end]
	}
	if room > 0 {
		f.node.changed(int(at))
		f.node.written(int(at), int(at)+room)
		copy(f.node.data[at:], b[:room])
	}
	if room < len(b) {
		return room, pathError("write", f.name, syscall.ENOSPC)
	}
	return room, nil
}

// Size gives the present size in bytes.
func (f *File) Size() (int64, error) {
	if err := f.enter("stat"); err != nil {
		return 0, err
	}
	defer f.disk.fs.mu.Unlock()
	return int64(len(f.node.data)), nil
}

// Truncate cuts the file to a size, or fills it up with zeros.
func (f *File) Truncate(size int64) error {
	if err := f.enter("truncate"); err != nil {
		return err
	}
	defer f.disk.fs.mu.Unlock()
	if size < 0 {
		return pathError("truncate", f.name, syscall.EINVAL)
	}
	if have := int64(len(f.node.data)); size > have {
		f.node.data = append(f.node.data, make([]byte, size-have)...)
	}
	f.node.data = f.node.data[:size:size]
	f.node.changed(int(size))
	f.node.written(int(size), math.MaxInt)
	return nil
}

// Sync makes the contents durable.
func (f *File) Sync() error {
	f.disk.syncing(f.name)
	if err := f.sync(); err != nil {
		return err
	}
	f.disk.synced(f.name)
	return nil
}

func (f *File) sync() error {
	if err := f.enter("sync"); err != nil {
		return err
	}
	defer f.disk.fs.mu.Unlock()
	if f.disk.liesAboutSync() {
		return nil
	}
	n := f.node
	n.decay(n.same, math.MaxInt, func(s *spot) { s.kept = s.seen })
	n.durable = append(n.durable[:n.same], n.data[n.same:]...)
	n.same = len(n.data)
	return nil
}

// Close implements io.Closer.
func (f *File) Close() error {
	if err := f.enter("close"); err != nil {
		return err
	}
	defer f.disk.fs.mu.Unlock()
	f.closed = true
	return nil
}
