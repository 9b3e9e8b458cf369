package record

import (
	"fmt"
	"sync"
	"time"

	"github.com/espra/protoplex/nodes"
)

// maxWaiting bounds the lines that wait for the disk, and once more those that
// come while it is busy.
const maxWaiting = 4 << 20

// spool stands between those who add lines and a journal that may be slow or
// broken.
type spool struct {
	m       nodes.Machine
	journal journal

	mu     sync.Mutex // guards added; nothing waits while holding it
	added  text
	lost   int       // lines for which there was no room
	since  time.Time // when the first of them was lost
	broken string    // why the journal cannot be written, "" if it can

	// What follows belongs to flush.
	waiting text
	unsafe  int       // lines written since the last sync
	from    time.Time // when the first of them was
	syncAt  time.Duration
}

// text is some lines.
type text struct {
	bytes []byte
	lines int
}

// emptied gives no lines, and keeps the memory for the next unless it took much
// of it: that was a bad time, and is over.
func (t text) emptied() text {
	if cap(t.bytes) > 1<<20 {
		return text{}
	}
	return text{bytes: t.bytes[:0]}
}

// add puts a line, which the function appends, behind the others.
func (s *spool) add(line func([]byte) []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.added.bytes) >= maxWaiting {
		s.lose(1, s.m.Now())
		return
	}
	s.added.bytes = line(s.added.bytes)
	s.added.lines++
}

// lose counts what will be missing. The caller holds mu.
func (s *spool) lose(lines int, since time.Time) {
	if s.lost == 0 {
		s.since = since
	}
	s.lost += lines
}

// syncEvery is how much of the journal a power failure may cost.
const syncEvery = time.Minute

// flush writes what was added, and once in a while, or if it has to be now,
// syncs.
func (s *spool) flush(now bool) {
	s.take()
	if len(s.waiting.bytes) > 0 {
		if err := s.journal.write(s.waiting.bytes); err != nil {
			s.fail(fmt.Errorf("write: %w", err))
			return
		}
		if s.unsafe == 0 {
			s.from = s.m.Now()
		}
		s.unsafe += s.waiting.lines
		s.waiting = s.waiting.emptied()
		s.works()
	}
	if elapsed := s.m.Elapsed(); s.unsafe > 0 && (now || elapsed >= s.syncAt) {
		s.syncAt = elapsed + syncEvery
		if err := s.journal.sync(); err != nil {
			s.mu.Lock()
			s.lose(s.unsafe, s.from)
			s.mu.Unlock()
			s.fail(fmt.Errorf("sync: %w", err))
		}
		s.unsafe = 0
	}
}

// take moves what was added to what waits, as far as there is room.
func (s *spool) take() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.waiting.bytes)+len(s.added.bytes) > 2*maxWaiting || len(s.waiting.bytes) >= maxWaiting {
		s.lose(s.added.lines, s.m.Now())
	} else {
		s.waiting.bytes = append(s.waiting.bytes, s.added.bytes...)
		s.waiting.lines += s.added.lines
	}
	s.added = s.added.emptied()
}

// fail notes that the journal does not work. The first time is told.
func (s *spool) fail(err error) {
	s.mu.Lock()
	was := s.broken
	s.broken = err.Error()
	s.mu.Unlock()
	if was == "" {
		s.m.Log().Error("record not written", "log", s.journal.name, "error", err)
	}
}

// works notes that it does, and has it say what is missing.
func (s *spool) works() {
	s.mu.Lock()
	lost, since, why := s.lost, s.since, s.broken
	s.mu.Unlock()
	if lost == 0 && why == "" {
		return
	}
	if lost > 0 {
		if why == "" {
			why = "disk too slow"
		}
		line := appendMissing(nil, s.m.Now(), since, lost, why)
		if err := s.journal.write(line); err != nil {
			s.fail(fmt.Errorf("write: %w", err))
			return
		}
	}
	s.mu.Lock()
	s.lost -= lost
	s.broken = ""
	s.mu.Unlock()
	s.m.Log().Info("record written again", "log", s.journal.name, "missing", lost)
}
