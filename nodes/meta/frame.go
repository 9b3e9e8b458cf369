package meta

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// MaxFrame bounds a frame on the wire, in bytes with its newline.
const MaxFrame = 64 << 10

// Frame is what a stream carries: on the wire one JSON object on a line.
// Members that are not known are ignored, so that neighbouring versions work
// together.
type Frame struct {
	// Type says what Body is: 1 to 64 letters in lower case, digits and hyphens.
	// "beat" and "close" are the stream's own.
	Type string `json:"type"`
	// Epoch and Revision are the position of whoever sends, where that matters.
	Epoch    uint64          `json:"epoch,omitempty"`
	Revision uint64          `json:"revision,omitempty"`
	Body     json.RawMessage `json:"body,omitempty"`
}

// What is wrong with a frame.
var (
	ErrFrameTooLarge = errors.New("meta: frame larger than 64 KiB")
	ErrFrame         = errors.New("meta: not a frame")
)

// The types of frames that streams keep to themselves.
const (
	typeBeat  = "beat"
	typeClose = "close"
)

// NewFrame makes a frame whose body is v.
func NewFrame(kind string, epoch, revision uint64, v any) (Frame, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return Frame{}, fmt.Errorf("meta: frame %s: %w", kind, err)
	}
	return Frame{Type: kind, Epoch: epoch, Revision: revision, Body: body}, nil
}

// Decode reads the body into v.
func (f Frame) Decode(v any) error {
	if err := json.Unmarshal(f.Body, v); err != nil {
		return fmt.Errorf("meta: frame %s: %w", f.Type, err)
	}
	return nil
}

// ParseFrame reads one line, with or without its newline.
func ParseFrame(line []byte) (Frame, error) {
	if len(line) > MaxFrame {
		return Frame{}, ErrFrameTooLarge
	}
	if !utf8.Valid(line) {
		return Frame{}, fmt.Errorf("%w: invalid UTF-8", ErrFrame)
	}
	var f Frame
	if err := json.Unmarshal(line, &f); err != nil {
		return Frame{}, fmt.Errorf("%w: %w", ErrFrame, err)
	}
	if !validType(f.Type) {
		return Frame{}, fmt.Errorf("%w: invalid type", ErrFrame)
	}
	return f, nil
}

// AppendFrame appends a frame's line, newline included.
func AppendFrame(b []byte, f Frame) ([]byte, error) {
	if !validType(f.Type) {
		return b, fmt.Errorf("%w: invalid type %q", ErrFrame, f.Type)
	}
	if !utf8.Valid(f.Body) {
		return b, fmt.Errorf("%w: invalid UTF-8", ErrFrame)
	}
	line, err := json.Marshal(f) // which leaves no newline in the body
	if err != nil {
		return b, fmt.Errorf("%w: %w", ErrFrame, err)
	}
	if len(line)+1 > MaxFrame {
		return b, ErrFrameTooLarge
	}
	return append(append(b, line...), '\n'), nil
}

func validType(s string) bool {
	if len(s) == 0 || len(s) > 64 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-') {
			return false
		}
	}
	return true
}

// readFrame reads the next frame. It gives up on one that is too large when it
// has read hardly more than is allowed.
func readFrame(r *bufio.Reader) (Frame, error) {
	line, err := r.ReadSlice('\n')
	if err == nil {
		return ParseFrame(line)
	}
	var long []byte
	for errors.Is(err, bufio.ErrBufferFull) && len(long) <= MaxFrame {
		long = append(long, line...)
		line, err = r.ReadSlice('\n')
	}
	if errors.Is(err, bufio.ErrBufferFull) || len(long)+len(line) > MaxFrame {
		return Frame{}, ErrFrameTooLarge
	}
	if err != nil {
		return Frame{}, err
	}
	return ParseFrame(append(long, line...))
}
