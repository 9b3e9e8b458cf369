package s3

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/espra/protoplex/nodes"
)

// A file of the store is a content, the record that describes it as JSON, and a
// foot: the length of the record and a mark. The content comes first because
// its hashes are known only after it.
const (
	mark      = "s3blob01"
	footSize  = 8 + len(mark)
	maxRecord = 64 << 10
)

// record describes an object, a part, or an upload that has begun.
type record struct {
	Key      string
	Size     int64
	ETag     string
	Modified time.Time
	Header   map[string]string // to give back, such as Content-Type
	Checksum checksum
	Part     int `json:",omitempty"`
}

// draft is a file being written, not yet under its name.
type draft struct {
	disk nodes.Disk
	name string
	file nodes.File
	size int64
}

func newDraft(disk nodes.Disk, name string) (*draft, error) {
	f, err := disk.Create(name)
	if err != nil {
		return nil, fmt.Errorf("begin file: %w", err)
	}
	return &draft{disk: disk, name: name, file: f}, nil
}

// Write implements io.Writer.
func (d *draft) Write(p []byte) (int, error) {
	n, err := d.file.WriteAt(p, d.size)
	d.size += int64(n)
	if err != nil {
		err = fmt.Errorf("write file: %w", err)
	}
	return n, err
}

// finish adds the record and makes the file's contents durable.
func (d *draft) finish(r *record) error {
	r.Size = d.size
	data, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("describe file: %w", err)
	}
	if len(data) > maxRecord {
		return fmt.Errorf("describe file: %d bytes are too many", len(data))
	}
	foot := binary.BigEndian.AppendUint64(data, uint64(len(data)))
	if _, err := d.Write(append(foot, mark...)); err != nil {
		return err
	}
	if err := errors.Join(d.file.Sync(), d.file.Close()); err != nil {
		return fmt.Errorf("sync file: %w", err)
	}
	d.file = nil
	return nil
}

// discard removes what was not committed. A file that stays is removed at the
// next start.
func (d *draft) discard() {
	if d.file != nil {
		_ = d.file.Close()
	}
	_ = d.disk.Remove(d.name)
}

// errDamaged says that a file is none of the store's, or not whole.
var errDamaged = errors.New("file is damaged")

// readRecord reads the record of a file.
func readRecord(disk nodes.Disk, name string) (*record, error) {
	f, err := disk.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close() // only read from
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	foot := make([]byte, footSize)
	if size < int64(footSize) {
		return nil, errDamaged
	}
	if err := readFull(f, foot, size-int64(footSize)); err != nil {
		return nil, err
	}
	length := binary.BigEndian.Uint64(foot)
	if string(foot[8:]) != mark || length > maxRecord || int64(length) > size-int64(footSize) {
		return nil, errDamaged
	}
	data := make([]byte, length)
	at := size - int64(footSize) - int64(length)
	if err := readFull(f, data, at); err != nil {
		return nil, err
	}
	r := &record{}
	if err := json.Unmarshal(data, r); err != nil || r.Size != at {
		return nil, errDamaged
	}
	return r, nil
}

func readFull(f io.ReaderAt, p []byte, off int64) error {
	if n, err := f.ReadAt(p, off); n < len(p) {
		return err
	}
	return nil
}
