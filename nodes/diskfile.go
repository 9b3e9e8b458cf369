package nodes

import (
	"errors"
	"fmt"
	"io"
	"path"
)

// ErrTooLarge is returned by ReadFile for a file beyond the limit.
var ErrTooLarge = errors.New("nodes: file too large")

// ReadFile reads a whole file of at most limit bytes.
func ReadFile(d Disk, name string, limit int64) ([]byte, error) {
	f, err := d.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read file: %w", err)
	}
	data, err := readAll(f, limit)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("read file %s: %w", name, err)
	}
	return data, nil
}

func readAll(f File, limit int64) ([]byte, error) {
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size > limit {
		return nil, fmt.Errorf("%w: %d bytes, limit %d", ErrTooLarge, size, limit)
	}
	data := make([]byte, size)
	n, err := f.ReadAt(data, 0)
	if err == io.EOF && int64(n) == size {
		err = nil
	} else if err == io.EOF {
		err = io.ErrUnexpectedEOF // it shrank meanwhile
	}
	return data[:n], err
}

// WriteFile replaces a file by one that holds data, so that after a crash at
// any moment the name leads to the old contents or to the new, and, once it has
// returned nil, to the new. On the way it uses the name with ".tmp" added; two
// calls for one name must not overlap. After an error either may be found.
func WriteFile(d Disk, name string, data []byte) error {
	temp := name + ".tmp"
	err := writeSynced(d, temp, data)
	if err == nil {
		err = d.Rename(temp, name)
	}
	if err != nil {
		// The error to report is the first; a file that stays behind is
		// emptied and used by the next call.
		_ = d.Remove(temp)
		return fmt.Errorf("write file %s: %w", name, err)
	}
	if err := d.SyncDir(path.Dir(name)); err != nil {
		return fmt.Errorf("write file %s: %w", name, err)
	}
	return nil
}

func writeSynced(d Disk, name string, data []byte) error {
	f, err := d.Create(name)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(data, 0)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}
