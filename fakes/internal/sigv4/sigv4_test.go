package sigv4_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/fakes/internal/sigv4"
)

// The example of Amazon's documents: what it signs is theirs, not ours.
const (
	docKey    = "AKIDEXAMPLE"
	docSecret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
	docProof  = "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
)

func TestDocumentedSignature(t *testing.T) {
	v := verifier("iam", time.Date(2015, 8, 30, 12, 40, 0, 0, time.UTC))
	r := httptest.NewRequest(http.MethodGet, "https://iam.amazonaws.com/?Version=2010-05-08&Action=ListUsers", nil)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	r.Header.Set("X-Amz-Date", "20150830T123600Z")
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+docKey+"/20150830/us-east-1/iam/aws4_request, "+
		"SignedHeaders=content-type;host;x-amz-date, Signature="+docProof)
	s, err := v.Verify(r, sigv4.Hash(nil))
	require.NoError(t, err)
	require.Equal(t, []string{docKey, "20150830T123600Z", "20150830/us-east-1/iam/aws4_request", docProof}, []string{s.Access, s.Date, s.Scope, s.Value})
}

func verifier(service string, now time.Time) *sigv4.Verifier {
	return &sigv4.Verifier{
		Service: service, Region: "us-east-1", Keys: map[string]string{docKey: docSecret},
		Now: func() time.Time { return now },
	}
}

// What the SDK signs is accepted, and nothing that was changed after that or
// was signed for somebody else.
func TestSDK(t *testing.T) {
	now := time.Date(2026, 3, 2, 14, 0, 0, 0, time.UTC)
	type request struct {
		service, region, key, secret string
		at                           time.Time
		body                         string
		change                       func(*http.Request)
	}
	good := request{"sns", "us-east-1", docKey, docSecret, now, "Action=Publish", func(*http.Request) {}}
	header := func(name, value string) func(*request) {
		return func(q *request) { q.change = func(r *http.Request) { r.Header.Set(name, value) } }
	}
	for _, c := range []struct {
		name   string
		change func(*request)
		kind   sigv4.Kind
		status int
		code   string
	}{
		{"as signed", func(*request) {}, 0, 0, ""},
		{"clock ahead", func(q *request) { q.at = now.Add(sigv4.MaxSkew) }, 0, 0, ""},
		{"clock behind", func(q *request) { q.at = now.Add(-sigv4.MaxSkew) }, 0, 0, ""},
		{"too far ahead", func(q *request) { q.at = now.Add(sigv4.MaxSkew + time.Second) }, sigv4.Skewed, 403, "SignatureDoesNotMatch"},
		{"too old", func(q *request) { q.at = now.Add(-sigv4.MaxSkew - time.Second) }, sigv4.Skewed, 403, "SignatureDoesNotMatch"},
		{"other service", func(q *request) { q.service = "s3" }, sigv4.WrongService, 403, "SignatureDoesNotMatch"},
		{"other region", func(q *request) { q.region = "eu-west-1" }, sigv4.WrongRegion, 403, "SignatureDoesNotMatch"},
		{"unknown key", func(q *request) { q.key = "AKIDNOBODY" }, sigv4.UnknownKey, 403, "InvalidClientTokenId"},
		{"wrong secret", func(q *request) { q.secret = "guess" }, sigv4.Mismatch, 403, "SignatureDoesNotMatch"},
		{"other body", func(q *request) { q.body = "Action=Subscribe" }, sigv4.Mismatch, 403, "SignatureDoesNotMatch"},
		{"other host", func(q *request) { q.change = func(r *http.Request) { r.Host = "sns.example.com" } }, sigv4.Mismatch, 403, "SignatureDoesNotMatch"},
		{"other path", func(q *request) { q.change = func(r *http.Request) { r.URL.Path = "/other" } }, sigv4.Mismatch, 403, "SignatureDoesNotMatch"},
		{"other query", func(q *request) { q.change = func(r *http.Request) { r.URL.RawQuery = "a=2" } }, sigv4.Mismatch, 403, "SignatureDoesNotMatch"},
		{"other method", func(q *request) { q.change = func(r *http.Request) { r.Method = http.MethodPut } }, sigv4.Mismatch, 403, "SignatureDoesNotMatch"},
		{"header added", header("X-Amz-Target", "x"), sigv4.Unsigned, 403, "SignatureDoesNotMatch"},
		{"header that may be added", header("X-Forwarded-For", "x"), 0, 0, ""},
		{"date of another hour", header("X-Amz-Date", "20260302T140100Z"), sigv4.Mismatch, 403, "SignatureDoesNotMatch"},
		{"date of another day", header("X-Amz-Date", "20260301T140000Z"), sigv4.NoDate, 400, "IncompleteSignature"},
		{"no date", header("X-Amz-Date", ""), sigv4.NoDate, 400, "IncompleteSignature"},
		{"basic", header("Authorization", "Basic x"), sigv4.Malformed, 400, "IncompleteSignature"},
		{"cut short", header("Authorization", "AWS4-HMAC-SHA256 Credential=a/b"), sigv4.Malformed, 400, "IncompleteSignature"},
		{"none", header("Authorization", ""), sigv4.Missing, 403, "MissingAuthenticationToken"},
	} {
		t.Run(c.name, func(t *testing.T) {
			q := good
			c.change(&q)
			r := httptest.NewRequest(http.MethodPost, "https://sns.us-east-1.amazonaws.com/a%20b/c%2Fd?b=%2B&a=1", strings.NewReader(good.body))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Header.Set("X-Amz-Meta-Note", "  two   words ")
			require.NoError(t, v4.NewSigner().SignHTTP(t.Context(), aws.Credentials{AccessKeyID: q.key, SecretAccessKey: q.secret},
				r, sigv4.Hash([]byte(good.body)), q.service, q.region, q.at))
			q.change(r)
			s, err := verifier("sns", now).Verify(r, sigv4.Hash([]byte(q.body)))
			if c.kind == 0 {
				require.NoError(t, err)
				require.Equal(t, docKey, s.Access)
				return
			}
			var refused *sigv4.Error
			require.ErrorAs(t, err, &refused)
			require.Equal(t, c.kind, refused.Kind, refused.Message)
			status, code := refused.Query()
			require.Equal(t, c.status, status)
			require.Equal(t, c.code, code)
		})
	}
}

// Nothing in an Authorization header brings the check down.
func FuzzVerify(f *testing.F) {
	f.Add("AWS4-HMAC-SHA256 Credential="+docKey+"/20150830/us-east-1/sns/aws4_request, SignedHeaders=host;x-amz-date, Signature="+docProof, "20150830T123600Z")
	f.Add("AWS4-HMAC-SHA256 Credential=,SignedHeaders=;;,Signature=", "2015")
	f.Add("", "")
	f.Fuzz(func(t *testing.T, header, date string) {
		r := httptest.NewRequest(http.MethodPost, "https://sns.us-east-1.amazonaws.com/", nil)
		r.Header["Authorization"], r.Header["X-Amz-Date"] = []string{header}, []string{date}
		_, err := verifier("sns", time.Date(2015, 8, 30, 12, 40, 0, 0, time.UTC)).Verify(r, sigv4.Hash(nil))
		var refused *sigv4.Error
		require.ErrorAs(t, err, &refused)
	})
}
