package s3

import (
	"bufio"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/espra/protoplex/fakes/internal/sigv4"
)

const (
	maxChunkLine   = 512 // bytes of a chunk's head or of a line of the trailer
	maxTrailers    = 8   // lines
	chunkSignature = "chunk-signature="
	trailerSigned  = "x-amz-trailer-signature"
)

// chunkedReader decodes an aws-chunked body: what it gives are the contents of
// the chunks, and after them io.EOF only if all is as it has to be. It must not
// be trusted before that.
type chunkedReader struct {
	br     *bufio.Reader
	left   int64      // of the whole content, as announced
	signed *signature // nil if chunks are not signed
	// wantTrailer is the one trailer that was announced, in lower case; "" if
	// there must be none.
	wantTrailer string
	trailer     string // its value, valid after io.EOF

	chunk   int64 // bytes left in this chunk
	open    bool  // within a chunk
	hash    hash.Hash
	prev    string // signature of the chunk before
	claimed string // signature of this one
	err     error
}

// newChunkedReader reads size bytes of content from r. Without a signature the
// chunks must not be signed.
func newChunkedReader(r io.Reader, size int64, s *signature, trailer string) *chunkedReader {
	c := &chunkedReader{br: bufio.NewReaderSize(r, 32<<10), left: size, signed: s, wantTrailer: trailer}
	if s != nil {
		c.prev, c.hash = s.Value, sha256.New()
	}
	return c
}

// Read implements io.Reader.
func (c *chunkedReader) Read(p []byte) (int, error) {
	if c.err != nil || len(p) == 0 {
		return 0, c.err
	}
	n, err := c.read(p)
	if err != nil {
		c.err = err
	}
	return n, err
}

func (c *chunkedReader) read(p []byte) (int, error) {
	if !c.open {
		if err := c.begin(); err != nil {
			return 0, err
		}
		if !c.open {
			return 0, c.finish()
		}
	}
	n, err := c.br.Read(p[:min(int64(len(p)), c.chunk)])
	c.chunk -= int64(n)
	c.left -= int64(n)
	if c.hash != nil {
		c.hash.Write(p[:n])
	}
	if c.chunk > 0 {
		return n, early(err)
	}
	c.open = false
	if err := c.verify(); err != nil {
		return n, err
	}
	if line, err := c.line(); err != nil || line != "" {
		return n, orIncomplete(err)
	}
	return n, nil
}

// begin reads the head of a chunk. The last chunk is empty and leaves c closed.
func (c *chunkedReader) begin() error {
	line, err := c.line()
	if err != nil {
		return err
	}
	digits, extension, extended := strings.Cut(line, ";")
	size, err := strconv.ParseUint(digits, 16, 62)
	if err != nil || len(digits) > 16 {
		return incomplete("The size of a chunk could not be read.")
	}
	if c.signed != nil {
		claimed, ok := strings.CutPrefix(extension, chunkSignature)
		if !ok || len(claimed) != sigv4.HexLength {
			return incomplete("A chunk has no signature.")
		}
		c.claimed = claimed
	} else if extended {
		return incomplete("A chunk has an extension.")
	}
	if int64(size) > c.left {
		return incomplete("The chunks are larger than announced.")
	}
	c.chunk, c.open = int64(size), size > 0
	return nil
}

// verify checks the signature of the chunk that has just been read.
func (c *chunkedReader) verify() error {
	if c.signed == nil {
		return nil
	}
	want := c.signed.chunk(c.prev, hex.EncodeToString(c.hash.Sum(nil)))
	if !hmac.Equal([]byte(want), []byte(c.claimed)) {
		return signatureDoesNotMatch()
	}
	c.prev = want
	c.hash.Reset()
	return nil
}

// finish reads what follows the last chunk.
func (c *chunkedReader) finish() error {
	if c.left > 0 {
		return incomplete("The chunks are smaller than announced.")
	}
	if err := c.verify(); err != nil {
		return err
	}
	if err := c.trailers(); err != nil {
		return err
	}
	if _, err := c.br.ReadByte(); err == nil {
		return incomplete("The body goes on after its end.")
	} else if !errors.Is(err, io.EOF) {
		return err
	}
	return io.EOF
}

func (c *chunkedReader) trailers() error {
	var found, sealed bool
	for range maxTrailers {
		line, err := c.line()
		switch {
		case err != nil:
			return err
		case line == "" && (found != (c.wantTrailer != "") || sealed != (c.signed != nil && found)):
			return malformedTrailer()
		case line == "":
			return nil
		}
		name, value, ok := strings.Cut(line, ":")
		name, value = strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(value)
		switch {
		case !ok || sealed:
			return malformedTrailer()
		case name == c.wantTrailer && name != "" && !found:
			c.trailer, found = value, true
		case name == trailerSigned && found && c.signed != nil:
			hash := sha256.Sum256([]byte(c.wantTrailer + ":" + c.trailer + "\n"))
			if !hmac.Equal([]byte(c.signed.trailer(c.prev, hex.EncodeToString(hash[:]))), []byte(value)) {
				return signatureDoesNotMatch()
			}
			sealed = true
		default:
			return malformedTrailer()
		}
	}
	return malformedTrailer()
}

// line reads a line that ends in CR LF, and gives it without.
func (c *chunkedReader) line() (string, error) {
	var line []byte
	for len(line) < maxChunkLine {
		b, err := c.br.ReadByte()
		if err != nil {
			return "", early(err)
		}
		if b == '\n' && len(line) > 0 && line[len(line)-1] == '\r' {
			return string(line[:len(line)-1]), nil
		}
		line = append(line, b)
	}
	return "", incomplete("A line of the chunked body is too long.")
}

// early makes an error of an end that comes too soon.
func early(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return incomplete("The request body terminated unexpectedly.")
	}
	return err
}

func orIncomplete(err error) error {
	if err == nil {
		err = incomplete("A chunk goes on after its end.")
	}
	return err
}

func incomplete(message string) *apiError {
	return refuse(http.StatusBadRequest, "IncompleteBody", message)
}

func malformedTrailer() *apiError {
	return refuse(http.StatusBadRequest, "MalformedTrailerError", "The request contained trailing data that was not well-formed or did not conform to our published schema.")
}
