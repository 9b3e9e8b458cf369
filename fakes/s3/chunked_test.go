package s3

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/fakes/internal/sigv4"
	"github.com/espra/protoplex/nodes"
)

// The examples of Amazon's documents: what they sign is theirs, not ours.
const (
	docKey    = "AKIAIOSFODNN7EXAMPLE"
	docSecret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
	docDate   = "20130524T000000Z"
	docScope  = "20130524/us-east-1/s3/aws4_request"

	plainSeed    = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"
	trailerSeed  = "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e"
	trailerLine  = "x-amz-checksum-crc32c:sOO8/Q==\r\n"
	trailerProof = "x-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n"
)

// docBody writes 66560 times an a in the chunks of the documents.
func docBody(first, second, last string) string {
	return "10000;chunk-signature=" + first + "\r\n" + strings.Repeat("a", 65536) + "\r\n" +
		"400;chunk-signature=" + second + "\r\n" + strings.Repeat("a", 1024) + "\r\n" +
		"0;chunk-signature=" + last + "\r\n"
}

func plainBody() string {
	return docBody("ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
		"0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
		"b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9") + "\r\n"
}

func trailerBody() string {
	return docBody("b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
		"1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
		"2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992") + trailerLine + trailerProof + "\r\n"
}

func docSignature(seed string) *signature {
	return &signature{&sigv4.Signature{Key: sigv4.SigningKey(docSecret, "20130524", "us-east-1", "s3"), Date: docDate, Scope: docScope, Value: seed}}
}

type docMachine struct{ nodes.Machine }

func (docMachine) Now() time.Time { return time.Date(2013, 5, 24, 0, 3, 0, 0, time.UTC) }

func docServer(t testing.TB) *Server {
	m, err := nodes.NewOS(nodes.OSOptions{Host: nodes.Host{Addr: netip.MustParseAddr("127.0.0.1")}, Root: t.TempDir()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	s, err := New(t.Context(), docMachine{m}, Options{Keys: map[string]string{docKey: docSecret}, Buckets: []string{"examplebucket"}})
	require.NoError(t, err)
	return s
}

// docRequest is the upload in chunks that the documents sign.
func docRequest(trailer bool) *http.Request {
	r := httptest.NewRequest(http.MethodPut, "http://s3.amazonaws.com/examplebucket/chunkObject.txt", nil)
	signed, proof := "content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class", plainSeed
	r.Header.Set("X-Amz-Content-Sha256", streamingSigned)
	r.ContentLength = 66824
	if trailer {
		signed, proof = strings.Replace(signed, "content-length;", "", 1)+";x-amz-trailer", trailerSeed
		r.Header.Set("X-Amz-Content-Sha256", streamingTrailer)
		r.Header.Set("X-Amz-Trailer", "x-amz-checksum-crc32c")
	}
	r.Header.Set("X-Amz-Date", docDate)
	r.Header.Set("X-Amz-Decoded-Content-Length", "66560")
	r.Header.Set("X-Amz-Storage-Class", "REDUCED_REDUNDANCY")
	r.Header.Set("Content-Encoding", "aws-chunked")
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+docKey+"/"+docScope+",SignedHeaders="+signed+",Signature="+proof)
	return r
}

func TestDocumentedSignatures(t *testing.T) {
	s := docServer(t)
	for _, trailer := range []bool{false, true} {
		r, wire := docRequest(trailer), plainBody()
		if trailer {
			wire = trailerBody()
		}
		sig, e := s.authenticate(r)
		require.Nil(t, e)
		b, e := newBody(r, strings.NewReader(wire), sig, 1<<20)
		require.Nil(t, e)
		data, err := io.ReadAll(b)
		require.NoError(t, err)
		require.Equal(t, strings.Repeat("a", 66560), string(data))
		if trailer {
			require.Equal(t, checksum{"CRC32C", "sOO8/Q==", fullObject}, b.checksum())
		}
	}
}

// One byte anywhere in a signed body makes it refused.
func TestSignedBodyChanged(t *testing.T) {
	for name, c := range map[string]struct{ seed, wire, trailer string }{
		"plain":   {plainSeed, plainBody(), ""},
		"trailer": {trailerSeed, trailerBody(), "x-amz-checksum-crc32c"},
	} {
		t.Run(name, func(t *testing.T) {
			places := []int{0, 4, 5, 40, 85, 86, 87, 50_000, 65536 + 86, 65536 + 87, 65536 + 90, 66_700}
			for i := len(c.wire) - 250; i < len(c.wire); i++ {
				places = append(places, i)
			}
			for _, i := range places {
				wire := []byte(c.wire)
				wire[i] ^= 1
				_, err := io.ReadAll(newChunkedReader(bytes.NewReader(wire), 66560, docSignature(c.seed), c.trailer))
				var e *apiError
				// The case of a trailer's name, and space around its value, is
				// all that may change.
				if !errors.As(err, &e) {
					t.Fatalf("byte %d, %q to %q, makes no difference: %v", i, c.wire[i], wire[i], err)
				}
			}
			for i := range len(c.wire) {
				if i > 200 && i < len(c.wire)-400 {
					continue
				}
				_, err := io.ReadAll(newChunkedReader(strings.NewReader(c.wire[:i]), 66560, docSignature(c.seed), c.trailer))
				var e *apiError
				require.ErrorAs(t, err, &e, "cut off at %d", i)
			}
		})
	}
}

func TestUnsignedChunks(t *testing.T) {
	const crc = "x-amz-checksum-crc32"
	for _, c := range []struct {
		wire, trailer string
		size          int64
		want, err     string
	}{
		{"5\r\nhello\r\n0\r\n" + crc + ":NhCmhg==\r\n\r\n", crc, 5, "hello", ""},
		{"2\r\nhe\r\n003\r\nllo\r\n0\r\nX-Amz-Checksum-CRC32: NhCmhg==\r\n\r\n", crc, 5, "hello", ""},
		{"0\r\n" + crc + ":AAAAAA==\r\n\r\n", crc, 0, "", ""},
		{"5\r\nhello\r\n0\r\n\r\n", crc, 5, "", "MalformedTrailerError"},
		{"5\r\nhello\r\n0\r\nx-amz-checksum-sha1:x\r\n\r\n", crc, 5, "", "MalformedTrailerError"},
		{"5\r\nhello\r\n0\r\n" + crc + ":a\r\n" + crc + ":a\r\n\r\n", crc, 5, "", "MalformedTrailerError"},
		{"5\r\nhello\r\n0\r\n" + crc + ":NhCmhg==\r\n", crc, 5, "", "IncompleteBody"},
		{"5\r\nhello\r\n0\r\n" + crc + ":NhCmhg==\r\n\r\nx", crc, 5, "", "IncompleteBody"},
		{"5\r\nhello\r\n0\r\n" + crc + ":NhCmhg==\r\n\r\n", crc, 6, "", "IncompleteBody"},
		{"5\r\nhello\r\n0\r\n" + crc + ":NhCmhg==\r\n\r\n", crc, 4, "", "IncompleteBody"},
		{"5\r\nhello0\r\n", crc, 5, "", "IncompleteBody"},
		{"5\nhello\n0\n", crc, 5, "", "IncompleteBody"},
		{"+5\r\nhello\r\n", crc, 5, "", "IncompleteBody"},
		{"0x5\r\nhello\r\n", crc, 5, "", "IncompleteBody"},
		{"-1\r\n", crc, 5, "", "IncompleteBody"},
		{"ffffffffffffffff\r\n", crc, 5, "", "IncompleteBody"},
		{"5;chunk-signature=x\r\nhello\r\n", crc, 5, "", "IncompleteBody"},
		{strings.Repeat("0", 600) + "5\r\nhello\r\n", crc, 5, "", "IncompleteBody"},
		{"", crc, 0, "", "IncompleteBody"},
	} {
		r := newChunkedReader(iotest.OneByteReader(strings.NewReader(c.wire)), c.size, nil, c.trailer)
		data, err := io.ReadAll(r)
		if c.err == "" {
			require.NoError(t, err, c.wire)
			require.Equal(t, c.want, string(data))
			continue
		}
		var e *apiError
		require.ErrorAs(t, err, &e, c.wire)
		require.Equal(t, c.err, e.code, c.wire)
		require.LessOrEqual(t, int64(len(data)), c.size)
	}
}

// chunkUp is the decoder's opposite. The sizes of chunks are bytes of cut.
func chunkUp(data, cut []byte, s *signature, trailer string) []byte {
	var out bytes.Buffer
	prev := ""
	if s != nil {
		prev = s.Value
	}
	head := func(chunk []byte) {
		fmt.Fprintf(&out, "%x", len(chunk))
		if s != nil {
			hash := sha256.Sum256(chunk)
			prev = s.chunk(prev, hex.EncodeToString(hash[:]))
			out.WriteString(";" + chunkSignature + prev)
		}
		out.WriteString("\r\n")
	}
	for len(data) > 0 {
		n := len(data)
		if len(cut) > 0 {
			n = min(n, 1+int(cut[0]))
			cut = cut[1:]
		}
		head(data[:n])
		out.Write(data[:n])
		out.WriteString("\r\n")
		data = data[n:]
	}
	head(nil)
	if trailer != "" {
		line := trailer + ":value\n"
		out.WriteString(trailer + ":value\r\n")
		if s != nil {
			hash := sha256.Sum256([]byte(line))
			out.WriteString(trailerSigned + ":" + s.trailer(prev, hex.EncodeToString(hash[:])) + "\r\n")
		}
	}
	out.WriteString("\r\n")
	return out.Bytes()
}

// FuzzChunked feeds the decoder anything: it gives no more than was announced,
// the same whatever the pieces that it comes in, and ends well only at the end
// of the input. What is encoded comes out again.
func FuzzChunked(f *testing.F) {
	f.Add([]byte("5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n"), []byte{1, 2}, int64(5), false, true)
	f.Add([]byte("5;chunk-signature="+plainSeed+"\r\nhello\r\n"), []byte{}, int64(5), true, false)
	f.Add([]byte("0\r\n\r\n"), []byte{0}, int64(0), false, false)
	f.Add([]byte("ffffffff\r\n"), []byte{255}, int64(1<<40), true, true)
	f.Fuzz(func(t *testing.T, wire, cut []byte, size int64, signed, trailing bool) {
		var s *signature
		if signed {
			s = docSignature(plainSeed)
		}
		trailer := ""
		if trailing {
			trailer = "x-amz-checksum-crc32"
		}
		if size < 0 {
			size = 0
		}
		in := bytes.NewReader(wire)
		data, err := io.ReadAll(newChunkedReader(in, size, s, trailer))
		slow, slowErr := io.ReadAll(iotest.OneByteReader(newChunkedReader(iotest.OneByteReader(bytes.NewReader(wire)), size, s, trailer)))
		require.Equal(t, err == nil, slowErr == nil)
		if err == nil {
			require.Equal(t, size, int64(len(data)))
			require.Zero(t, in.Len())
			require.Equal(t, data, slow)
		}
		require.LessOrEqual(t, int64(len(data)), size)

		encoded := chunkUp(wire, cut, s, trailer)
		back, err := io.ReadAll(newChunkedReader(bytes.NewReader(encoded), int64(len(wire)), s, trailer))
		require.NoError(t, err)
		require.True(t, bytes.Equal(wire, back))
	})
}
