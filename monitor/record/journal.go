package record

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"

	"github.com/espra/protoplex/nodes"
)

// journal is a log of lines in numbered files. The newest is added to; the
// oldest is removed when all are too large together. It belongs to one
// goroutine at a time.
type journal struct {
	disk    nodes.Disk
	dir     string
	name    string // results: results-00000001.log
	maxFile int64
	maxAll  int64

	known bool      // files are all that there are
	files []segment // oldest first
	file  nodes.File
	fresh bool // what is written next goes into a new file
}

type segment struct {
	number uint64
	size   int64
}

func (j *journal) path(number uint64) string {
	return path.Join(j.dir, fmt.Sprintf("%s-%08d.log", j.name, number))
}

// open finds the files that there are. Before that has gone well nothing is
// written, or an old file might be written over.
func (j *journal) open() error {
	j.fresh, j.files = true, nil
	if err := j.disk.MkdirAll(j.dir); err != nil {
		return err
	}
	names, err := j.disk.List(j.dir)
	if err != nil {
		return err
	}
	for _, name := range names { // sorted, and numbers have eight digits at least
		text, ok := strings.CutPrefix(name, j.name+"-")
		text, log := strings.CutSuffix(text, ".log")
		number, err := strconv.ParseUint(text, 10, 63)
		if !ok || !log || err != nil || j.path(number) != path.Join(j.dir, name) {
			continue // somebody else's
		}
		size, err := j.disk.Stat(j.path(number))
		if err != nil {
			return err
		}
		j.files = append(j.files, segment{number, size})
	}
	j.known = true
	return nil
}

// head gives the first line of a file, without its end.
func (j *journal) head(s segment) ([]byte, error) {
	f, err := j.disk.Open(j.path(s.number))
	if err != nil {
		return nil, err
	}
	defer f.Close() // only read
	b := make([]byte, min(maxLine, s.size))
	n, err := f.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	line, _, _ := bytes.Cut(b[:n], []byte("\n"))
	return line, nil
}

// scan gives every whole line of a file, without its end, to take, which says
// whether it can read it; it must not keep it. What can not be read is counted.
// In the newest file a torn end is cut off, but never a line that is only of
// another kind than is known.
func (j *journal) scan(i int, take func(line []byte) bool) (damaged int, err error) {
	s := &j.files[i]
	f, err := j.disk.Open(j.path(s.number))
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	end, damaged, torn, err := scan(io.NewSectionReader(f, 0, s.size), take)
	if err != nil || i < len(j.files)-1 {
		return damaged + torn, err
	}
	if end < s.size {
		if err := errors.Join(f.Truncate(end), f.Sync()); err != nil {
			return damaged, fmt.Errorf("cut torn end: %w", err)
		}
		s.size = end
	}
	j.fresh = false
	return damaged, nil
}

// scan gives the whole lines of a reader to take. It returns where the last one
// ends, how many pieces up to there could not be read, and how many come after.
func scan(r io.Reader, take func(line []byte) bool) (end int64, damaged, torn int, err error) {
	b := make([]byte, 256<<10)
	held, at := 0, int64(0) // bytes of an unfinished line, and where it begins
	skip := false           // the line is too long to be one
	for {
		n, err := r.Read(b[held:])
		rest := b[:held+n]
		for {
			line, more, found := bytes.Cut(rest, []byte("\n"))
			if !found {
				break
			}
			at += int64(len(line)) + 1
			rest = more
			switch {
			case skip || !whole(line):
				torn++
			case !take(line):
				damaged, torn, end = damaged+torn+1, 0, at
			default:
				damaged, torn, end = damaged+torn, 0, at
			}
			skip = false
		}
		if len(rest) > maxLine {
			at += int64(len(rest))
			rest, skip = rest[:0], true
		}
		held = copy(b, rest)
		switch {
		case errors.Is(err, io.EOF):
			if held > 0 || skip {
				torn++
			}
			return end, damaged, torn, nil
		case err != nil:
			return end, damaged, torn, err
		}
	}
}

// write adds whole lines. After an error none of them is in the journal, as far
// as the disk lets itself be told.
func (j *journal) write(text []byte) error {
	if n := len(j.files); n > 0 && j.files[n-1].size >= j.maxFile {
		if err := j.sync(); err != nil {
			return err
		}
		j.leave()
	}
	if err := j.begin(); err != nil {
		return err
	}
	last := &j.files[len(j.files)-1]
	if _, err := j.file.WriteAt(text, last.size); err != nil {
		// Lines that were half written would be read as well as those of the
		// next attempt.
		if j.file.Truncate(last.size) != nil {
			j.leave()
		}
		return err
	}
	last.size += int64(len(text))
	return nil
}

// begin opens the file to add to.
func (j *journal) begin() error {
	if j.file != nil {
		return nil
	}
	if !j.known {
		if err := j.open(); err != nil {
			return err
		}
	}
	n := len(j.files)
	if n > 0 && !j.fresh {
		f, err := j.disk.Open(j.path(j.files[n-1].number))
		if err != nil {
			return err
		}
		j.file = f
		return nil
	}
	next := segment{number: 1}
	if n > 0 {
		next.number = j.files[n-1].number + 1
	}
	f, err := j.disk.Create(j.path(next.number))
	if err != nil {
		return err
	}
	err = j.disk.SyncDir(j.dir)
	if err == nil && n == 0 {
		err = j.disk.SyncDir(path.Dir(j.dir))
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	j.file, j.fresh, j.files = f, false, append(j.files, next)
	return j.trim()
}

// trim removes the oldest files beyond the bound.
func (j *journal) trim() error {
	all := int64(0)
	for _, s := range j.files {
		all += s.size
	}
	for len(j.files) > 1 && all > j.maxAll-j.maxFile { // the new one will be full, too
		if err := j.disk.Remove(j.path(j.files[0].number)); err != nil {
			return fmt.Errorf("remove oldest: %w", err)
		}
		all -= j.files[0].size
		j.files = j.files[1:]
	}
	return nil
}

// sync makes all that was written durable. After an error nobody knows what is,
// so the file is left.
func (j *journal) sync() error {
	if j.file == nil {
		return nil
	}
	if err := j.file.Sync(); err != nil {
		j.leave()
		return err
	}
	return nil
}

// leave ends the file; the next write begins another.
func (j *journal) leave() {
	if j.file != nil {
		_ = j.file.Close() // it was synced, or an error is reported already
	}
	j.file, j.fresh = nil, true
}

func (j *journal) close() error {
	if j.file == nil {
		return nil
	}
	err := errors.Join(j.file.Sync(), j.file.Close())
	j.file, j.fresh = nil, true
	return err
}
