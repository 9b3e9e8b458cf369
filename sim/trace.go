package sim

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"strconv"
	"time"
	"unicode/utf8"
)

// Field is one named value of an [Event].
type Field struct{ Key, Value string }

// Event is something that a process or the world itself told. Events reach the
// trace and the observers in their final order, when the instant is quiet.
type Event struct {
	At      time.Duration // since the start of the world
	Machine string        // empty for the world itself
	Proc    string
	Kind    string
	Fields  []Field
}

// Get returns the value of a field, or "".
func (e Event) Get(key string) string {
	for _, f := range e.Fields {
		if f.Key == key {
			return f.Value
		}
	}
	return ""
}

// trace writes one JSON object a line and keeps the SHA-256 of all lines.
type trace struct {
	hash  hash.Hash
	out   *bufio.Writer
	line  []byte
	lines uint64
	err   error
	ended bool
}

func newTrace(w io.Writer) *trace {
	t := &trace{hash: sha256.New()}
	var sink io.Writer = t.hash
	if w != nil {
		sink = io.MultiWriter(t.hash, w)
	}
	t.out = bufio.NewWriterSize(sink, 64<<10)
	return t
}

// delivery records that something arrived: what is "seg", "syn", and so on. A
// size below zero is left out.
func (t *trace) delivery(at time.Duration, what, conn string, side byte, size int) {
	if t.ended {
		return
	}
	b := append(t.line[:0], `{"t":`...)
	b = strconv.AppendInt(b, int64(at), 10)
	b = append(b, `,"`...)
	b = append(b, what...)
	b = append(b, `":`...)
	b = appendJSON(b, conn)
	if side != 0 {
		b = append(b, `,"to":"`...)
		b = append(b, side, '"')
	}
	if size >= 0 {
		b = append(b, `,"n":`...)
		b = strconv.AppendInt(b, int64(size), 10)
	}
	t.end(append(b, '}', '\n'))
}

func (t *trace) event(e *Event) {
	if t.ended {
		return
	}
	b := append(t.line[:0], `{"t":`...)
	b = strconv.AppendInt(b, int64(e.At), 10)
	if e.Machine != "" {
		b = append(b, `,"at":`...)
		b = appendJSON(b, e.Machine+"/"+e.Proc)
	}
	b = append(b, `,"event":`...)
	b = appendJSON(b, e.Kind)
	for _, f := range e.Fields {
		b = append(b, ',')
		b = appendJSON(b, f.Key)
		b = append(b, ':')
		b = appendJSON(b, f.Value)
	}
	t.end(append(b, '}', '\n'))
}

func (t *trace) end(b []byte) {
	t.line = b
	t.lines++
	if _, err := t.out.Write(b); err != nil && t.err == nil {
		t.err = fmt.Errorf("write trace: %w", err)
	}
}

// seal ends the trace; what happens later is not part of the run.
func (t *trace) seal() (sum string, err error) {
	t.ended = true
	if err := t.out.Flush(); err != nil && t.err == nil {
		t.err = fmt.Errorf("write trace: %w", err)
	}
	return hex.EncodeToString(t.hash.Sum(nil)), t.err
}

func appendJSON(b []byte, s string) []byte {
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if r != utf8.RuneError || n > 1 {
				i += n
				continue
			}
		}
		b = append(b, s[start:i]...)
		const digits = "0123456789abcdef"
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c >= utf8.RuneSelf:
			b = append(b, `\ufffd`...)
		default:
			b = append(b, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		}
		i++
		start = i
	}
	b = append(b, s[start:]...)
	return append(b, '"')
}
