package proxy

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// maxChunkLine bounds a chunk's size line. Extensions mean nothing to us.
const maxChunkLine = 256

// bodyReader reads a body up to its end and not a byte further. It gives io.EOF
// at the end, and io.ErrUnexpectedEOF if the peer stopped before it.
func bodyReader(r *bufio.Reader, kind framing, length int64) io.Reader {
	switch kind {
	case byLength:
		return &lengthReader{r: r, left: length}
	case byChunks:
		return &chunkReader{r: r}
	case byClose:
		return r
	default:
		return strings.NewReader("")
	}
}

type lengthReader struct {
	r    *bufio.Reader
	left int64
}

func (l *lengthReader) Read(p []byte) (int, error) {
	if l.left == 0 {
		return 0, io.EOF
	}
	n, err := l.r.Read(p[:min(int64(len(p)), l.left)])
	l.left -= int64(n)
	return n, unexpected(err)
}

// chunkReader decodes chunks as strictly as heads are read, and drops
// extensions and trailers.
type chunkReader struct {
	r    *bufio.Reader
	left uint64 // of the current chunk
	in   bool   // a chunk has begun, so CR LF must follow it
	err  error  // for ever after
}

func (c *chunkReader) Read(p []byte) (int, error) {
	if c.err == nil && c.left == 0 {
		c.err = c.next()
	}
	if c.err != nil {
		return 0, c.err
	}
	n, err := c.r.Read(p[:min(uint64(len(p)), c.left)])
	c.left -= uint64(n)
	c.err = unexpected(err)
	return n, c.err
}

func (c *chunkReader) next() error {
	lines := lines{r: c.r, left: maxHead}
	if c.in {
		if line, err := lines.next(); err != nil {
			return unexpected(err)
		} else if line != "" {
			return bad("chunk is longer than its size")
		}
	}
	line, err := lines.next()
	if err != nil {
		return unexpected(err)
	}
	if len(line) > maxChunkLine {
		return bad("chunk size line too long")
	}
	size, extension, has := strings.Cut(line, ";")
	if has {
		size = strings.TrimRight(size, " \t") // allowed by RFC 9112, 7.1.1
		if extension == "" {
			return bad("empty chunk extension")
		}
	}
	if c.left, err = parseChunkSize(size); err != nil {
		return err
	}
	c.in = true
	if c.left > 0 {
		return nil
	}
	if _, err := lines.header(); err != nil {
		return unexpected(err)
	}
	return io.EOF
}

func parseChunkSize(s string) (uint64, error) {
	if s == "" || len(s) > 15 {
		return 0, bad("bad chunk size")
	}
	for _, c := range []byte(s) {
		if !isDigit(c) && !('a' <= c|0x20 && c|0x20 <= 'f') {
			return 0, bad("bad chunk size")
		}
	}
	return strconv.ParseUint(s, 16, 64)
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// chunkWriter frames what it is given as chunks, each with one write below it.
type chunkWriter struct {
	w   io.Writer
	buf []byte
}

func (c *chunkWriter) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil // an empty chunk would end the body
	}
	c.buf = fmt.Appendf(c.buf[:0], "%x\r\n", len(p))
	c.buf = append(c.buf, p...)
	c.buf = append(c.buf, "\r\n"...)
	if _, err := c.w.Write(c.buf); err != nil {
		return 0, err
	}
	return len(p), nil
}

// end writes the last chunk.
func (c *chunkWriter) end() error {
	_, err := io.WriteString(c.w, "0\r\n\r\n")
	return err
}
