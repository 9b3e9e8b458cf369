package s3

import (
	"io"
	"io/fs"
	"path"
	"slices"
	"sync"
	"syscall"

	"github.com/espra/protoplex/nodes"
)

// memory is a disk of limited size that is gone with its process: as much of
// one as the store needs. A file that was opened stays readable when its name
// is gone.
type memory struct {
	mu    sync.Mutex
	names map[string]*memoryFile // nil for a directory
	free  int64
}

var _ nodes.Disk = (*memory)(nil)

func newMemory(size int64) *memory {
	return &memory{names: map[string]*memoryFile{"/": nil}, free: size}
}

type memoryFile struct {
	disk *memory
	mu   sync.RWMutex
	data []byte
	gone bool
}

func pathError(op, name string, err error) error {
	return &fs.PathError{Op: op, Path: name, Err: err}
}

func (m *memory) Create(name string) (nodes.File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if dir, ok := m.names[path.Dir(name)]; !ok || dir != nil {
		return nil, pathError("create", name, fs.ErrNotExist)
	}
	m.drop(name)
	f := &memoryFile{disk: m}
	m.names[name] = f
	return f, nil
}

// drop gives back the room of a file that loses its name.
func (m *memory) drop(name string) {
	f := m.names[name]
	if f == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.gone = true
	m.free += int64(len(f.data))
}

func (m *memory) Open(name string) (nodes.File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.names[name]
	if f == nil {
		return nil, pathError("open", name, fs.ErrNotExist)
	}
	return f, nil
}

func (m *memory) Rename(oldName, newName string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.names[oldName]
	if f == nil {
		return pathError("rename", oldName, fs.ErrNotExist)
	}
	if oldName != newName {
		m.drop(newName)
		m.names[newName] = f
		delete(m.names, oldName)
	}
	return nil
}

func (m *memory) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.names[name]; !ok {
		return pathError("remove", name, fs.ErrNotExist)
	}
	for other := range m.names {
		if path.Dir(other) == name && other != name {
			return pathError("remove", name, syscall.ENOTEMPTY)
		}
	}
	m.drop(name)
	delete(m.names, name)
	return nil
}

func (m *memory) List(dir string) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if f, ok := m.names[dir]; !ok || f != nil {
		return nil, pathError("list", dir, fs.ErrNotExist)
	}
	var names []string
	for name := range m.names {
		if path.Dir(name) == dir && name != dir {
			names = append(names, path.Base(name))
		}
	}
	slices.Sort(names)
	return names, nil
}

func (m *memory) Stat(name string) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f, ok := m.names[name]
	if !ok {
		return 0, pathError("stat", name, fs.ErrNotExist)
	}
	if f == nil {
		return -1, nil
	}
	return f.Size()
}

func (m *memory) MkdirAll(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for ; dir != "/"; dir = path.Dir(dir) {
		m.names[dir] = nil
	}
	return nil
}

func (m *memory) SyncDir(string) error { return nil }

func (f *memoryFile) ReadAt(p []byte, off int64) (int, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if off < 0 || off >= int64(len(f.data)) {
		return 0, io.EOF
	}
	n := copy(p, f.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// WriteAt appends: the store writes no other way.
func (f *memoryFile) WriteAt(p []byte, off int64) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case off != int64(len(f.data)):
		return 0, syscall.EINVAL
	case f.gone || int64(len(p)) > f.disk.free:
		return 0, syscall.ENOSPC
	}
	f.disk.free -= int64(len(p))
	f.data = append(f.data, p...)
	return len(p), nil
}

func (f *memoryFile) Size() (int64, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return int64(len(f.data)), nil
}

func (f *memoryFile) Truncate(int64) error { return syscall.EINVAL }
func (f *memoryFile) Sync() error          { return nil }
func (f *memoryFile) Close() error         { return nil }
