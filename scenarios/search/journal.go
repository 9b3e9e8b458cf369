package search

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// Run is what the run of one seed showed.
type Run struct {
	Seed      uint64    `json:"seed"`
	Trace     string    `json:"trace,omitempty"` // SHA-256; none if the run broke
	Idle      []string  `json:"idle,omitempty"`  // faults that touched nothing
	Sometimes []string  `json:"sometimes,omitempty"`
	Findings  []Finding `json:"findings,omitempty"`
}

// Search says what is played, and by which program: runs of another search say
// nothing about this one.
type Search struct {
	Format int    `json:"format"`         // of the journal
	Story  string `json:"story"`          // its name, and what is added to it
	Text   string `json:"text,omitempty"` // SHA-256 of the story, if there is one
	By     string `json:"by"`             // Version
	First  uint64 `json:"first"`          // seed
}

// same tells whether runs of both are runs of one search; a search may begin
// anywhere.
func (s Search) same(o Search) bool {
	s.First = o.First
	return s == o
}

// String names the search as its journal does.
func (s Search) String() string {
	what := s.Story
	if s.Text != "" {
		what = fmt.Sprintf("%s (text %.8s)", what, s.Text)
	}
	return fmt.Sprintf("%s, played by %s, in format %d", what, s.By, s.Format)
}

// JournalFormat is the format of the journals that this program writes.
const JournalFormat = 1

// Journal keeps the runs of a search in a file, one line of JSON each, so that the
// search goes on after whatever has ended it. Only one process at a time may have
// it open. Its functions are called one at a time.
type Journal struct {
	Search Search
	Runs   []Run // that were in the file when it was opened
	file   *os.File
	size   int64 // of whole lines
}

// JournalName is the name of a search's journal in the folder of its findings.
const JournalName = "explored.jsonl"

// OpenJournal opens the journal of a search in dir, or begins one. A last line
// that was cut off is dropped. It fails if the file is of another search, naming
// that, if it cannot be read, naming the line, or if another process has it open.
func OpenJournal(dir string, s Search) (_ *Journal, err error) {
	s.Format = JournalFormat
	name := filepath.Join(dir, JournalName)
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, fmt.Errorf("%s: another search goes on there; choose another folder", name)
	} else if err != nil {
		return nil, fmt.Errorf("lock %s: %w", name, err)
	}
	data, err := io.ReadAll(f)
	if err != nil {
		return nil, fmt.Errorf("read journal: %w", err)
	}
	j := &Journal{Search: s, file: f}
	data = data[:bytes.LastIndexByte(data, '\n')+1]
	if len(data) == 0 {
		return j, errors.Join(j.cut(0), j.append(s))
	}
	head, rest, _ := bytes.Cut(data, []byte("\n"))
	j.Search = Search{}
	if err := json.Unmarshal(head, &j.Search); err != nil {
		return nil, fmt.Errorf("%s:1: %w; it is no journal of a search", name, err)
	}
	if !j.Search.same(s) {
		return nil, fmt.Errorf("%s: it is of %s; this is %s: choose another folder", name, j.Search, s)
	}
	line := 1
	for text := range bytes.Lines(rest) {
		line++
		var r Run
		if err := json.Unmarshal(text, &r); err != nil {
			return nil, fmt.Errorf("%s:%d: %w; without that line the search would go on", name, line, err)
		}
		j.Runs = append(j.Runs, r)
	}
	return j, j.cut(int64(len(data)))
}

// Add writes a run down. What was written before stays whole if that fails, as it
// does when the disk is full.
func (j *Journal) Add(r Run) error { return j.append(r) }

func (j *Journal) append(what any) error {
	line, err := json.Marshal(what)
	if err != nil {
		return fmt.Errorf("write journal: %w", err)
	}
	if _, err := j.file.Write(append(line, '\n')); err != nil {
		return errors.Join(fmt.Errorf("write journal: %w", err), j.cut(j.size))
	}
	j.size += int64(len(line)) + 1
	return nil
}

// cut drops what is behind the last whole line.
func (j *Journal) cut(size int64) error {
	j.size = size
	if err := j.file.Truncate(size); err != nil {
		return fmt.Errorf("cut journal: %w", err)
	}
	if _, err := j.file.Seek(size, io.SeekStart); err != nil {
		return fmt.Errorf("cut journal: %w", err)
	}
	return nil
}

// Close lets others go on with the search.
func (j *Journal) Close() error { return j.file.Close() }
