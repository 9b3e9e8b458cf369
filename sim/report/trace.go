package report

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Bounds of a trace that is read.
const (
	maxLine        = 4 << 20
	maxTraceEvents = 1_000_000
)

// Trace is the trace of another run, to compare one with. The trace of the run
// itself is written to it, as it comes, to find where the two part.
type Trace struct {
	name   string
	lines  int
	events []traceEvent

	again *bufio.Reader // from its beginning, line by line beside the run
	rest  []byte        // of a line of the run
	line  int           // that was compared last
	first *difference
	err   error
}

// difference is the first line that differs. An empty text is the end.
type difference struct {
	Line  int           `json:"line"`
	At    time.Duration `json:"at"`
	Here  string        `json:"here"`
	There string        `json:"there"`
}

type traceEvent struct {
	at      time.Duration
	machine string
	process string
	kind    string
	fields  []string // key, value, key, value
}

// ReadTrace reads a trace as [sim.Options] has it written. Name is for people.
// The file stays the caller's, who closes it once the page is written. An error
// gives the line.
func ReadTrace(name string, file io.ReadSeeker) (*Trace, error) {
	t := &Trace{name: name}
	in := bufio.NewReaderSize(file, 1<<20)
	last := time.Duration(0)
	for {
		line, err := readLine(in)
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, t.lines+1, err)
		}
		t.lines++
		at, e, err := parseLine(line)
		if err == nil && at < last {
			err = fmt.Errorf("%d comes after %d; a trace is in order of time", at, last)
		}
		if err == nil && e != nil && len(t.events) >= maxTraceEvents {
			err = fmt.Errorf("more than %d events cannot be compared", maxTraceEvents)
		}
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, t.lines, err)
		}
		last = at
		if e != nil {
			t.events = append(t.events, *e)
		}
	}
	if t.lines == 0 {
		return nil, fmt.Errorf("%s is empty; want a trace, as --trace writes it", name)
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("read %s again: %w", name, err)
	}
	in.Reset(file)
	t.again = in
	return t, nil
}

// readLine gives a line without its end. The last one must have an end too: a
// trace that was cut off is none.
func readLine(in *bufio.Reader) ([]byte, error) {
	var long []byte
	for {
		part, err := in.ReadSlice('\n')
		switch {
		case err == nil && long == nil:
			return part[:len(part)-1], nil
		case err == nil:
			return append(long, part[:len(part)-1]...), nil
		case errors.Is(err, bufio.ErrBufferFull) && len(long)+len(part) <= maxLine:
			long = append(long, part...)
		case errors.Is(err, bufio.ErrBufferFull):
			return nil, fmt.Errorf("the line is longer than %d bytes", maxLine)
		case err == io.EOF && len(long)+len(part) > 0:
			return nil, errors.New("the last line is cut off")
		default:
			return nil, err
		}
	}
}

// Write compares the next bytes of the run's own trace. It never fails; what goes
// wrong with the other is told when the page is written.
func (t *Trace) Write(p []byte) (int, error) {
	n := len(p)
	for t.first == nil && t.err == nil {
		line, more, whole := bytes.Cut(p, []byte{'\n'})
		if !whole {
			t.rest = append(t.rest, p...)
			break
		}
		if len(t.rest) > 0 {
			line = append(t.rest, line...)
			t.rest = t.rest[:0]
		}
		t.compare(string(line))
		p = more
	}
	return n, nil
}

func (t *Trace) compare(here string) {
	t.line++
	there, err := readLine(t.again)
	if err != nil && err != io.EOF {
		t.err = fmt.Errorf("read %s again: %w", t.name, err)
		return
	}
	if here == string(there) && err == nil {
		return
	}
	t.first = &difference{Line: t.line, Here: here, There: string(there)}
	for _, line := range []string{here, t.first.There} {
		if at, _, err := parseLine([]byte(line)); err == nil {
			t.first.At = max(t.first.At, at)
		}
	}
}

// finish says where the runs part, nil if nowhere.
func (t *Trace) finish() (*difference, error) {
	if t.first == nil && t.err == nil && t.line < t.lines {
		t.compare("") // the run ended, and the other went on
	}
	return t.first, t.err
}

// parseLine reads a line of a trace: the moment, and the event if it tells of one.
func parseLine(line []byte) (time.Duration, *traceEvent, error) {
	l := &lineReader{rest: line}
	l.want(`{"t":`)
	at := l.number()
	l.want(`,`)
	key := l.text()
	l.want(`:`)
	value := l.text()
	var e *traceEvent
	switch {
	case key == "at":
		e = &traceEvent{}
		e.machine, e.process, _ = strings.Cut(value, "/")
		l.want(`,"event":`)
		e.kind = l.text()
	case key == "event":
		e = &traceEvent{kind: value}
	case l.skip(`,"to":`):
		if side := l.text(); side != "c" && side != "s" {
			l.fail(`"c" or "s"`)
		}
	}
	if e == nil && l.skip(`,"n":`) {
		l.number()
	}
	for e != nil && l.skip(`,`) {
		field := l.text()
		l.want(`:`)
		e.fields = append(e.fields, clip(field), clip(l.text()))
	}
	l.want(`}`)
	if l.err == nil && len(l.rest) > 0 {
		l.fail("the end of the line")
	}
	if l.err != nil {
		return 0, nil, l.err
	}
	if e != nil {
		e.at = time.Duration(at)
	}
	return time.Duration(at), e, nil
}

// lineReader reads the JSON that package sim writes, in which the order of keys
// says what they are: a field may be called as anything else is.
type lineReader struct {
	rest []byte
	err  error
}

func (l *lineReader) fail(want string) {
	if l.err == nil {
		l.err = fmt.Errorf("no line of a trace: want %s at %.40q", want, l.rest)
	}
}

func (l *lineReader) skip(s string) bool {
	if l.err != nil || !bytes.HasPrefix(l.rest, []byte(s)) {
		return false
	}
	l.rest = l.rest[len(s):]
	return true
}

func (l *lineReader) want(s string) {
	if !l.skip(s) {
		l.fail(s)
	}
}

func (l *lineReader) number() int64 {
	n := 0
	for n < len(l.rest) && '0' <= l.rest[n] && l.rest[n] <= '9' {
		n++
	}
	v, err := strconv.ParseInt(string(l.rest[:n]), 10, 64)
	if err != nil {
		l.fail("a number")
		return 0
	}
	l.rest = l.rest[n:]
	return v
}

func (l *lineReader) text() string {
	if l.err != nil || len(l.rest) == 0 || l.rest[0] != '"' {
		l.fail("a text")
		return ""
	}
	end := 1
	for end < len(l.rest) && l.rest[end] != '"' {
		if l.rest[end] == '\\' {
			end++
		}
		end++
	}
	if end >= len(l.rest) {
		l.fail("the end of a text")
		return ""
	}
	s := string(l.rest[1:end])
	if plain := func(c byte) bool { return c >= ' ' && c != '\\' && c < utf8.RuneSelf }; !every(l.rest[1:end], plain) {
		if err := json.Unmarshal(l.rest[:end+1], &s); err != nil {
			l.fail("a text")
			return ""
		}
	}
	l.rest = l.rest[end+1:]
	return s
}

func every(b []byte, holds func(byte) bool) bool {
	for _, c := range b {
		if !holds(c) {
			return false
		}
	}
	return true
}
