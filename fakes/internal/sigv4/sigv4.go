// Package sigv4 checks the signatures of requests to Amazon's services: Signature
// Version 4 in the Authorization header, as the reference "Create a signed AWS API
// request" describes it.
//
// It promises that an accepted request was signed with a known key, for this
// service and region, at most [MaxSkew] from now, over its method, path, query,
// host, every X-Amz- header and the body whose hash it was given. Signatures are
// compared in constant time. It knows neither presigned links nor session tokens.
// What does not verify is an [Error] of a [Kind], which every service words in its
// own way; [Error.Query] gives the codes of those with a Query API.
//
// Start reading at Verifier.
package sigv4

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
	// Algorithm names the one that is known.
	Algorithm = "AWS4-HMAC-SHA256"
	// MaxSkew is how far the clock of a client may be from ours.
	MaxSkew = 15 * time.Minute
	// HexLength is how long a signature is.
	HexLength = 2 * sha256.Size

	timeFormat = "20060102T150405Z"
	terminator = "aws4_request"
	hexDigits  = "0123456789ABCDEF"
	maxSigned  = 64 // headers that a signature may cover
)

// Verifier checks the requests to one service in one region. It may be used
// concurrently while nobody changes it.
type Verifier struct {
	Service string            // "s3", which escapes paths once to sign them, or another, which does twice
	Region  string            // that requests must be signed for
	Keys    map[string]string // secrets by access key id
	Now     func() time.Time
}

// Signature is a verified one.
type Signature struct {
	Access string // id of the key that it was made with
	Date   string // as in the X-Amz-Date header
	Scope  string // day, region, service and terminator
	Value  string // in hexadecimal
	Key    []byte // to sign what follows the head with
}

// Verify checks the signature of a request whose body has the given hash: SHA-256
// in hexadecimal, or what S3 allows in its place. It reads the head only, the path
// and the query as r.URL has them. An error is always an [Error].
func (v *Verifier) Verify(r *http.Request, bodyHash string) (*Signature, error) {
	c, err := parse(r.Header["Authorization"])
	if err != nil {
		return nil, err
	}
	switch {
	case c.service != v.Service:
		return nil, &Error{Kind: WrongService, Message: "Credential should be scoped to correct service: '" + v.Service + "'."}
	case c.region != v.Region:
		return nil, &Error{Kind: WrongRegion, Message: "Credential should be scoped to a valid region: the region '" + c.region + "' is wrong; expecting '" + v.Region + "'"}
	}
	date := r.Header.Get("X-Amz-Date")
	at, err := time.Parse(timeFormat, date)
	if err != nil || c.day != date[:8] {
		return nil, &Error{Kind: NoDate, Message: "AWS authentication requires a valid x-amz-date header."}
	}
	if skew := v.Now().Sub(at); skew > MaxSkew || skew < -MaxSkew {
		return nil, &Error{Kind: Skewed, Message: "The difference between the request time and the current time is too large."}
	}
	secret, ok := v.Keys[c.access]
	if !ok {
		return nil, &Error{Kind: UnknownKey, Message: "The AWS Access Key Id you provided does not exist in our records."}
	}
	headers, err := canonicalHeaders(r, c.signed)
	if err != nil {
		return nil, err
	}
	path := r.URL.EscapedPath()
	if v.Service == "s3" {
		path = r.URL.Path
	}
	request := strings.Join([]string{r.Method, Escape(path, true), canonicalQuery(r.URL.Query()), headers, c.signed, bodyHash}, "\n")
	scope := strings.Join([]string{c.day, c.region, c.service, terminator}, "/")
	key := SigningKey(secret, c.day, c.region, c.service)
	want := Sign(key, Algorithm+"\n"+date+"\n"+scope+"\n"+Hash([]byte(request)))
	if !hmac.Equal([]byte(want), []byte(c.signature)) {
		return nil, mismatch()
	}
	return &Signature{Access: c.access, Date: date, Scope: scope, Value: want, Key: key}, nil
}

// claim is what an Authorization header says.
type claim struct {
	access, day, region, service string
	signed, signature            string
}

func parse(headers []string) (claim, error) {
	if len(headers) == 0 || headers[0] == "" {
		return claim{}, &Error{Kind: Missing, Message: "Request is missing Authentication Token"}
	}
	fields, ok := strings.CutPrefix(headers[0], Algorithm+" ")
	if !ok || len(headers) > 1 {
		return claim{}, &Error{Kind: Malformed, Message: "Only " + Algorithm + " is supported."}
	}
	var c claim
	var credential string
	for field := range strings.SplitSeq(fields, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(field), "=")
		switch name {
		case "Credential":
			credential = value
		case "SignedHeaders":
			c.signed = value
		case "Signature":
			c.signature = value
		}
	}
	parts := strings.Split(credential, "/")
	if len(parts) != 5 || parts[4] != terminator || len(c.signature) != HexLength {
		return claim{}, &Error{Kind: Malformed, Message: "The authorization header is malformed."}
	}
	c.access, c.day, c.region, c.service = parts[0], parts[1], parts[2], parts[3]
	return c, nil
}

// canonicalHeaders writes the signed headers the way they are signed. The host
// and all x-amz- headers must be among them.
func canonicalHeaders(r *http.Request, signed string) (string, error) {
	names := strings.Split(signed, ";")
	if len(names) > maxSigned || !slices.Contains(names, "host") || !slices.IsSorted(names) {
		return "", mismatch()
	}
	for name := range r.Header {
		if strings.HasPrefix(name, "X-Amz-") && !slices.Contains(names, strings.ToLower(name)) {
			return "", &Error{Kind: Unsigned, Message: "There were headers present in the request which were not signed: " + strings.ToLower(name)}
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
			pairs = append(pairs, Escape(name, false)+"="+Escape(v, false))
		}
	}
	slices.Sort(pairs)
	return strings.Join(pairs, "&")
}

// Escape writes bytes as the signature wants them: all but the unreserved
// characters, and slashes if asked, as %XX.
func Escape(s string, slashes bool) string {
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

// Hash gives the SHA-256 of a body in hexadecimal.
func Hash(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// SigningKey derives the key of one day, region and service from a secret.
func SigningKey(secret, day, region, service string) []byte {
	key := []byte("AWS4" + secret)
	for _, part := range []string{day, region, service, terminator} {
		key = mac(key, part)
	}
	return key
}

// Sign gives the signature of a text, in hexadecimal.
func Sign(key []byte, text string) string { return hex.EncodeToString(mac(key, text)) }

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}
