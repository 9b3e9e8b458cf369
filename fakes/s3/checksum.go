package s3

import (
	"crypto/sha1" //nolint:gosec // one of the checksums that S3 offers
	"crypto/sha256"
	"encoding/base64"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"net/http"
	"strings"
)

const checksumPrefix = "X-Amz-Checksum-"

// Kinds of checksum of objects that were put together from parts.
const (
	fullObject = "FULL_OBJECT"
	composite  = "COMPOSITE" // of the parts' checksums
)

// nvme is the polynomial of CRC-64/NVME, reversed as package crc64 wants it.
const nvme = 0x9a6c9329ac4bc9b5

// defaultChecksum is what an object gets whose client sent none.
const defaultChecksum = "CRC64NVME"

// checksums is read-only: the algorithms by name.
var checksums = map[string]func() hash.Hash{
	"CRC32":     func() hash.Hash { return crc32.NewIEEE() },
	"CRC32C":    func() hash.Hash { return crc32.New(crc32.MakeTable(crc32.Castagnoli)) },
	"CRC64NVME": func() hash.Hash { return crc64.New(crc64.MakeTable(nvme)) },
	"SHA1":      sha1.New,
	"SHA256":    sha256.New,
}

// checksum is the checksum of an object or a part.
type checksum struct {
	Algorithm string
	Value     string // base64; a composite one has "-" and the number of parts added
	Kind      string
}

// header is the name of the header that carries it.
func (c checksum) header() string { return checksumPrefix + c.Algorithm }

// setTo adds it to an answer.
func (c checksum) setTo(h http.Header) {
	h.Set(c.header(), c.Value)
	h.Set(checksumPrefix+"Type", c.Kind)
}

// checksumOf finds the algorithm that a request chose, and the value that it
// sent in its head, if any.
func checksumOf(h http.Header) (checksum, *apiError) {
	var c checksum
	for name := range h {
		a, ok := strings.CutPrefix(name, checksumPrefix)
		if !ok || a == "Mode" || a == "Algorithm" || a == "Type" {
			continue
		}
		if c.Algorithm != "" {
			return c, invalidArgument("Expecting a single x-amz-checksum- header.")
		}
		c.Algorithm, c.Value = strings.ToUpper(a), h.Get(name)
	}
	for _, name := range []string{checksumPrefix + "Algorithm", "X-Amz-Sdk-Checksum-Algorithm"} {
		v := strings.ToUpper(h.Get(name))
		if v != "" && c.Algorithm != "" && v != c.Algorithm {
			return c, invalidArgument("Value for " + strings.ToLower(name) + " header is invalid.")
		}
		if v != "" {
			c.Algorithm = v
		}
	}
	if trailer := h.Get("X-Amz-Trailer"); trailer != "" {
		a, ok := strings.CutPrefix(http.CanonicalHeaderKey(strings.TrimSpace(trailer)), checksumPrefix)
		a = strings.ToUpper(a)
		if !ok || c.Value != "" || c.Algorithm != "" && c.Algorithm != a {
			return c, invalidArgument("The value specified in the x-amz-trailer header is not supported.")
		}
		c.Algorithm = a
	}
	c.Kind = strings.ToUpper(h.Get(checksumPrefix + "Type"))
	if c.Algorithm != "" && checksums[c.Algorithm] == nil {
		return c, notImplemented("checksum algorithm " + c.Algorithm)
	}
	if c.Kind != "" && c.Kind != fullObject && c.Kind != composite {
		return c, invalidArgument("Value for x-amz-checksum-type header is invalid.")
	}
	return c, nil
}

func encode(h hash.Hash) string { return base64.StdEncoding.EncodeToString(h.Sum(nil)) }
