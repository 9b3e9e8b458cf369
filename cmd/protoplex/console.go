package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"sync"
)

// terminal is where up talks to people, line by line.
type terminal struct {
	mu  sync.Mutex
	out io.Writer
}

func newTerminal(out io.Writer) *terminal { return &terminal{out: out} }

func (t *terminal) say(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprintf(t.out, format+"\n", args...) // if nobody can read it the cell runs all the same
}

// quiet is the log of machines on which nothing but their children runs: those
// have a console.
func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// maxLine bounds what is kept of a line that does not end.
const maxLine = 64 << 10

// console takes what a process writes: into a file and, if wanted, in short to
// the terminal.
type console struct {
	name     string
	terminal *terminal // or nil

	mu      sync.Mutex
	file    *os.File
	line    []byte
	failure string
}

// openConsole begins a new log file; the one before stays, with .1 to its name.
func openConsole(file, name string, t *terminal, show bool) (*console, error) {
	if err := os.Rename(file, file+".1"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	c := &console{name: name, file: f}
	if show {
		c.terminal = t
	}
	return c, nil
}

// Write implements io.Writer. A full disk does not stop a process: its log ends.
func (c *console) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, _ = c.file.Write(b)
	c.line = append(c.line, b...)
	for {
		line, rest, ok := bytes.Cut(c.line, []byte("\n"))
		if !ok && len(line) < maxLine {
			return len(b), nil
		}
		if c.terminal != nil {
			c.terminal.say("%-10s  %s", c.name, shorten(line))
		}
		if why := failure(line); why != "" {
			c.failure = why
		}
		c.line = rest
	}
}

// takeFailure gives why the role failed, if it has said so since the last time.
func (c *console) takeFailure() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	why := c.failure
	c.failure = ""
	return why
}

// Close implements io.Closer.
func (c *console) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.file.Close()
}

// failure is the error of a line with which nodes.ChildMain ends, else empty.
func failure(line []byte) string {
	var said struct{ Msg, Error string }
	if err := json.Unmarshal(line, &said); err != nil || said.Msg != "role failed" {
		return ""
	}
	return said.Error
}

// shorten makes a line for people out of one of a log: its text, its level if
// that matters, and the attributes in their order.
func shorten(line []byte) string {
	var text strings.Builder
	d := json.NewDecoder(bytes.NewReader(line))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return string(line)
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return string(line)
		}
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return string(line)
		}
		value := string(raw)
		var s string
		isText := json.Unmarshal(raw, &s) == nil
		switch key {
		case "time", "host", "proc":
		case slog.LevelKey:
			if s != slog.LevelInfo.String() {
				text.WriteString(s + " ")
			}
		case slog.MessageKey:
			text.WriteString(s)
		default:
			if isText && s != "" && !strings.ContainsAny(s, " \"=\n\t") {
				value = s
			}
			fmt.Fprintf(&text, " %v=%s", key, value)
		}
	}
	return text.String()
}
