package s3

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	algorithm  = "AWS4-HMAC-SHA256"
	amzTime    = "20060102T150405Z"
	maxSkew    = 15 * time.Minute
	emptyHash  = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	sigLength  = 2 * sha256.Size
	hexDigits  = "0123456789ABCDEF"
	maxSigning = 64 // headers that a signature may cover
)

// signature is a verified signature of a request's head, and what the
// signatures of its chunks are made with.
type signature struct {
	key         []byte
	date, scope string
	seed        string
}

// authenticate verifies a request's signature. The body is not covered by it
// but for the hash, or kind of body, that the head names.
func (s *Server) authenticate(r *http.Request, path string, query url.Values) (*signature, *apiError) {
	header := r.Header.Get("Authorization")
	if header == "" {
		return nil, denied("Access Denied")
	}
	fields, ok := strings.CutPrefix(header, algorithm+" ")
	if !ok || len(r.Header["Authorization"]) > 1 {
		return nil, malformed("Only " + algorithm + " is supported.")
	}
	var credential, signed, given string
	for field := range strings.SplitSeq(fields, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(field), "=")
		switch name {
		case "Credential":
			credential = value
		case "SignedHeaders":
			signed = value
		case "Signature":
			given = value
		}
	}
	access, scope, ok := strings.Cut(credential, "/")
	parts := strings.Split(scope, "/")
	if !ok || len(parts) != 4 || parts[2] != "s3" || parts[3] != "aws4_request" || len(given) != sigLength {
		return nil, malformed("The authorization header is malformed.")
	}
	if parts[1] != s.options.Region {
		e := malformed("The authorization header is malformed; the region '" + parts[1] + "' is wrong; expecting '" + s.options.Region + "'")
		e.region = s.options.Region
		return nil, e
	}
	date := r.Header.Get("X-Amz-Date")
	at, err := time.Parse(amzTime, date)
	if err != nil || parts[0] != date[:8] {
		return nil, denied("AWS authentication requires a valid x-amz-date header.")
	}
	if skew := s.m.Now().Sub(at); skew > maxSkew || skew < -maxSkew {
		return nil, refuse(http.StatusForbidden, "RequestTimeTooSkewed", "The difference between the request time and the current time is too large.")
	}
	if r.Header.Get("X-Amz-Content-Sha256") == "" {
		return nil, refuse(http.StatusBadRequest, "InvalidRequest", "Missing required header for this request: x-amz-content-sha256")
	}
	secret, ok := s.options.Keys[access]
	if !ok {
		return nil, refuse(http.StatusForbidden, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.")
	}
	headers, e := canonicalHeaders(r, signed)
	if e != nil {
		return nil, e
	}
	request := strings.Join([]string{
		r.Method, escape(path, true), canonicalQuery(query), headers, signed, r.Header.Get("X-Amz-Content-Sha256"),
	}, "\n")
	key := signingKey(secret, parts[0], parts[1])
	hash := sha256.Sum256([]byte(request))
	want := sign(key, algorithm+"\n"+date+"\n"+scope+"\n"+hex.EncodeToString(hash[:]))
	if !hmac.Equal([]byte(want), []byte(given)) {
		return nil, signatureDoesNotMatch()
	}
	return &signature{key: key, date: date, scope: scope, seed: want}, nil
}

func malformed(message string) *apiError {
	return refuse(http.StatusBadRequest, "AuthorizationHeaderMalformed", message)
}

func signatureDoesNotMatch() *apiError {
	return refuse(http.StatusForbidden, "SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided.")
}

// canonicalHeaders writes the signed headers the way they are signed. The host
// and all x-amz- headers must be among them.
func canonicalHeaders(r *http.Request, signed string) (string, *apiError) {
	names := strings.Split(signed, ";")
	if len(names) > maxSigning || !slices.Contains(names, "host") || !slices.IsSorted(names) {
		return "", signatureDoesNotMatch()
	}
	for name := range r.Header {
		if strings.HasPrefix(name, "X-Amz-") && !slices.Contains(names, strings.ToLower(name)) {
			return "", denied("There were headers present in the request which were not signed: " + strings.ToLower(name))
		}
	}
	var b strings.Builder
	for _, name := range names {
		values := r.Header.Values(name)
		switch name {
		case "host":
			values = []string{r.Host}
		case "content-length":
			values = []string{strconv.FormatInt(r.ContentLength, 10)}
		}
		b.WriteString(name)
		b.WriteByte(':')
		for i, v := range values {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(strings.Join(strings.Fields(v), " "))
		}
		b.WriteByte('\n')
	}
	return b.String(), nil
}

func canonicalQuery(query url.Values) string {
	var pairs []string
	for name, values := range query {
		for _, v := range values {
			pairs = append(pairs, escape(name, false)+"="+escape(v, false))
		}
	}
	slices.Sort(pairs)
	return strings.Join(pairs, "&")
}

// escape writes bytes as the signature wants them: all but the unreserved
// characters as %XX.
func escape(s string, slashes bool) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
			c == '-' || c == '.' || c == '_' || c == '~' || slashes && c == '/' {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('%')
		b.WriteByte(hexDigits[c>>4])
		b.WriteByte(hexDigits[c&15])
	}
	return b.String()
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

func sign(key []byte, text string) string { return hex.EncodeToString(mac(key, text)) }

func signingKey(secret, day, region string) []byte {
	return mac(mac(mac(mac([]byte("AWS4"+secret), day), region), "s3"), "aws4_request")
}

// chunk gives the signature of a chunk whose bytes have the given hash, and
// that follows one with the signature prev.
func (s *signature) chunk(prev, hash string) string {
	return sign(s.key, strings.Join([]string{algorithm + "-PAYLOAD", s.date, s.scope, prev, emptyHash, hash}, "\n"))
}

// trailer gives the signature of a trailer whose lines have the given hash.
func (s *signature) trailer(prev, hash string) string {
	return sign(s.key, strings.Join([]string{algorithm + "-TRAILER", s.date, s.scope, prev, hash}, "\n"))
}
