package s3

import (
	"errors"
	"net/http"
	"strings"

	"github.com/espra/protoplex/fakes/internal/sigv4"
)

// signature is a verified signature of a request's head, which the first chunk
// of its body follows.
type signature struct {
	*sigv4.Signature
}

// authenticate verifies a request's signature. The body is not covered by it
// but for the hash, or kind of body, that the head names.
func (s *Server) authenticate(r *http.Request) (*signature, *apiError) {
	hash := r.Header.Get("X-Amz-Content-Sha256")
	if hash == "" && r.Header.Get("Authorization") != "" {
		return nil, refuse(http.StatusBadRequest, "InvalidRequest", "Missing required header for this request: x-amz-content-sha256")
	}
	v := &sigv4.Verifier{Service: "s3", Region: s.options.Region, Keys: s.options.Keys, Now: s.m.Now}
	verified, err := v.Verify(r, hash)
	if err != nil {
		return nil, s.unauthentic(err)
	}
	return &signature{verified}, nil
}

// unauthentic words why a signature was not accepted as S3 does.
func (s *Server) unauthentic(err error) *apiError {
	e := (*sigv4.Error)(nil)
	if !errors.As(err, &e) {
		return internal()
	}
	malformed := func() *apiError { return refuse(http.StatusBadRequest, "AuthorizationHeaderMalformed", e.Message) }
	switch e.Kind {
	case sigv4.Malformed, sigv4.WrongService:
		return malformed()
	case sigv4.WrongRegion:
		refusal := malformed()
		refusal.region = s.options.Region
		return refusal
	case sigv4.Skewed:
		return refuse(http.StatusForbidden, "RequestTimeTooSkewed", e.Message)
	case sigv4.UnknownKey:
		return refuse(http.StatusForbidden, "InvalidAccessKeyId", e.Message)
	case sigv4.Mismatch:
		return signatureDoesNotMatch()
	case sigv4.Missing:
		return denied("Access Denied")
	}
	return denied(e.Message)
}

func signatureDoesNotMatch() *apiError {
	return refuse(http.StatusForbidden, "SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided.")
}

// chunk gives the signature of a chunk whose bytes have the given hash, and
// that follows one with the signature prev.
func (s *signature) chunk(prev, hash string) string {
	return sigv4.Sign(s.Key, strings.Join([]string{sigv4.Algorithm + "-PAYLOAD", s.Date, s.Scope, prev, sigv4.Hash(nil), hash}, "\n"))
}

// trailer gives the signature of a trailer whose lines have the given hash.
func (s *signature) trailer(prev, hash string) string {
	return sigv4.Sign(s.Key, strings.Join([]string{sigv4.Algorithm + "-TRAILER", s.Date, s.Scope, prev, hash}, "\n"))
}
