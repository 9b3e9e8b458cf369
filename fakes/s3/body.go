package s3

import (
	"crypto/hmac"
	"crypto/md5" //nolint:gosec // what an ETag is
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// Kinds of body, as X-Amz-Content-Sha256 names them. Otherwise it holds the
// hash of the body.
const (
	unsignedPayload   = "UNSIGNED-PAYLOAD"
	streamingUnsigned = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
	streamingSigned   = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
	streamingTrailer  = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
)

// body is the content that a request carries. It gives io.EOF only once the
// content has turned out to be what the head, or the trailer, says.
type body struct {
	r       io.Reader
	chunked *chunkedReader // what r is, if it is
	size    int64          // announced
	n       int64
	*hashes
	sha     hash.Hash // nil unless wanted
	wantMD5 []byte
	wantSHA string
	wantSum string // base64, "" unless wanted
	err     error
}

// hashes are what is computed of every content.
type hashes struct {
	algorithm string
	md5, sum  hash.Hash
}

func newHashes(algorithm string) *hashes {
	return &hashes{algorithm: algorithm, md5: md5.New(), sum: checksums[algorithm]()}
}

// Write implements io.Writer.
func (h *hashes) Write(p []byte) (int, error) {
	h.sum.Write(p)
	return h.md5.Write(p)
}

// etag is what S3 calls the content.
func (h *hashes) etag() string { return hex.EncodeToString(h.md5.Sum(nil)) }

func (h *hashes) checksum() checksum {
	return checksum{Algorithm: h.algorithm, Value: encode(h.sum), Kind: fullObject}
}

// newBody makes the body of a request from raw, its bytes on the wire.
func newBody(r *http.Request, raw io.Reader, s *signature, limit int64) (*body, *apiError) {
	b := &body{r: raw, size: r.ContentLength}
	claim, e := checksumOf(r.Header)
	if e != nil {
		return nil, e
	}
	if claim.Algorithm == "" {
		claim.Algorithm = defaultChecksum
	}
	b.hashes, b.wantSum = newHashes(claim.Algorithm), claim.Value
	kind := r.Header.Get("X-Amz-Content-Sha256")
	streaming := strings.HasPrefix(kind, "STREAMING-")
	if streaming {
		size, err := strconv.ParseUint(r.Header.Get("X-Amz-Decoded-Content-Length"), 10, 62)
		if err != nil {
			return nil, missingLength()
		}
		b.size = int64(size)
	}
	switch {
	case b.size < 0:
		return nil, missingLength()
	case b.size > limit:
		return nil, refuse(http.StatusBadRequest, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed size.")
	}
	trailer := strings.ToLower(strings.TrimSpace(r.Header.Get("X-Amz-Trailer")))
	if (trailer != "") != (kind == streamingUnsigned || kind == streamingTrailer) {
		return nil, invalidArgument("x-amz-trailer and x-amz-content-sha256 do not go together.")
	}
	switch kind {
	case unsignedPayload:
	case streamingUnsigned:
		b.chunked = newChunkedReader(raw, b.size, nil, trailer)
	case streamingSigned, streamingTrailer:
		b.chunked = newChunkedReader(raw, b.size, s, trailer)
	default:
		if streaming {
			return nil, notImplemented("body " + kind)
		}
		if hash, err := hex.DecodeString(kind); err != nil || len(hash) != sha256.Size {
			return nil, invalidArgument("x-amz-content-sha256 must be UNSIGNED-PAYLOAD, a kind of STREAMING body, or a valid sha256 value.")
		}
		b.sha, b.wantSHA = sha256.New(), strings.ToLower(kind)
	}
	if b.chunked != nil {
		b.r = b.chunked
	}
	if values := r.Header["Content-Md5"]; len(values) > 0 {
		sum, err := base64.StdEncoding.DecodeString(values[0])
		if err != nil || len(sum) != md5.Size || len(values) > 1 {
			return nil, refuse(http.StatusBadRequest, "InvalidDigest", "The Content-MD5 you specified is not valid.")
		}
		b.wantMD5 = sum
	}
	return b, nil
}

func missingLength() *apiError {
	return refuse(http.StatusLengthRequired, "MissingContentLength", "You must provide the Content-Length HTTP header.")
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.r.Read(p)
	b.n += int64(n)
	// Hashes do not fail.
	_, _ = b.Write(p[:n])
	if b.sha != nil {
		b.sha.Write(p[:n])
	}
	switch {
	case err == nil:
	case errors.Is(err, io.EOF):
		b.err = b.verify()
	default:
		b.err = early(err)
	}
	return n, b.err
}

// verify gives io.EOF, or what is wrong with the content.
func (b *body) verify() error {
	if b.n != b.size {
		return incomplete("You did not provide the number of bytes specified by the Content-Length HTTP header.")
	}
	if b.sha != nil && !hmac.Equal([]byte(b.wantSHA), []byte(hex.EncodeToString(b.sha.Sum(nil)))) {
		return refuse(http.StatusBadRequest, "XAmzContentSHA256Mismatch", "The provided 'x-amz-content-sha256' header does not match what was computed.")
	}
	if b.wantMD5 != nil && !hmac.Equal(b.wantMD5, b.md5.Sum(nil)) {
		return badDigest("Content-MD5")
	}
	if b.chunked != nil && b.chunked.wantTrailer != "" {
		b.wantSum = b.chunked.trailer
	}
	if b.wantSum != "" && b.wantSum != b.checksum().Value {
		return badDigest(b.algorithm)
	}
	return io.EOF
}

// whole reads all of a small body. What it gives can be read again.
func (b *body) whole() ([]byte, *apiError) {
	data, err := io.ReadAll(b)
	if err != nil {
		return nil, asAPIError(err)
	}
	return data, nil
}

// asAPIError gives the refusal that an error is. Any other is the client's, who
// has gone or was too slow.
func asAPIError(err error) *apiError {
	var e *apiError
	if errors.As(err, &e) {
		return e
	}
	return refuse(http.StatusBadRequest, "RequestTimeout", "Your socket connection to the server was not read from or written to within the timeout period.")
}
