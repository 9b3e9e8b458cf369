package aws

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"

	"github.com/espra/protoplex/nodes"
)

const (
	maxAttempts = 3
	baseDelay   = 50 * time.Millisecond
	maxDelay    = 2 * time.Second
	maxIdle     = 32               // kept connections
	idleTimeout = 10 * time.Second // less than servers keep theirs
	clockBound  = 4 * time.Minute  // beyond which the server's clock is believed
)

// transport sends the SDK's requests, and learns from the answers how wrong the
// machine's clock is: S3 refuses requests that seem older, or younger, than a
// quarter of an hour.
type transport struct {
	m      nodes.Machine
	client http.Client
	offset atomic.Int64 // of the server's clock, in nanoseconds, if it is large
}

func newTransport(m nodes.Machine, roots *x509.CertPool) *transport {
	return &transport{m: m, client: http.Client{
		Transport: &http.Transport{
			DialContext:         m.DialContext,
			TLSClientConfig:     &tls.Config{Time: m.Now, RootCAs: roots},
			TLSNextProto:        map[string]func(string, *tls.Conn) http.RoundTripper{},
			MaxIdleConnsPerHost: maxIdle,
			IdleConnTimeout:     idleTimeout,
			DisableCompression:  true, // objects come as they are
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Do implements the SDK's HTTPClient.
func (t *transport) Do(r *http.Request) (*http.Response, error) {
	// The SDK's own names the system, and so has another length elsewhere.
	r.Header.Set("User-Agent", "protoplex")
	resp, err := t.client.Do(r)
	if err != nil {
		return nil, err
	}
	if at, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		offset := at.Sub(t.m.Now())
		if offset.Abs() < clockBound {
			offset = 0
		}
		t.offset.Store(int64(offset))
	}
	return resp, nil
}

// signer signs with the machine's clock, corrected if it has to be.
type signer struct {
	*v4.Signer
	t *transport
}

// SignHTTP implements the SDK's HTTPSignerV4.
func (s signer) SignHTTP(ctx context.Context, c aws.Credentials, r *http.Request, hash, service, region string, _ time.Time, options ...func(*v4.SignerOptions)) error {
	at := s.t.m.Now().Add(time.Duration(s.t.offset.Load())).UTC()
	return s.Signer.SignHTTP(ctx, c, r, hash, service, region, at, options...)
}

// fixed are credentials that never change.
func fixed(key, secret string) aws.CredentialsProvider {
	return aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{AccessKeyID: key, SecretAccessKey: secret}, nil
	})
}

// withoutRequestID takes a random number off each request.
func withoutRequestID(s *middleware.Stack) error {
	_, err := s.Build.Remove("ClientRequestID")
	return err
}

// newRetryer gives the retryer of reads: the SDK's, with a back-off that is a
// draw of the machine's, up to twice as long from attempt to attempt.
func newRetryer(m nodes.Machine, t *transport) *retry.Standard {
	var draws atomic.Uint64
	return retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts = maxAttempts
		o.Retryables = append([]retry.IsErrorRetryable{retry.IsErrorRetryableFunc(t.skewed)}, o.Retryables...)
		o.Backoff = retry.BackoffDelayerFunc(func(attempt int, _ error) (time.Duration, error) {
			span := min(baseDelay<<min(attempt, 16), maxDelay)
			return span/2 + time.Duration(m.Rand("aws/backoff", draws.Add(1))%uint64(span/2)), nil
		})
	})
}

// code is Amazon's name for an error, "" if it did not come from there.
func code(err error) string {
	var e smithy.APIError
	if errors.As(err, &e) {
		return e.ErrorCode()
	}
	return ""
}

// errorMessage is Amazon's text for an error, "" if it did not come from there.
func errorMessage(err error) string {
	var e smithy.APIError
	if errors.As(err, &e) {
		return e.ErrorMessage()
	}
	return ""
}

// skewed knows the refusal of a request for its time. The next attempt is
// signed with the server's. Some services call it a wrong signature, which it is
// only taken for where the clocks are known to differ.
func (t *transport) skewed(err error) aws.Ternary {
	switch code(err) {
	case "RequestTimeTooSkewed":
		return aws.TrueTernary
	case "RequestExpired", "SignatureDoesNotMatch":
		if t.offset.Load() != 0 {
			return aws.TrueTernary
		}
	}
	return aws.UnknownTernary
}

// careful is the retryer of writes. It tries again only what was surely not
// carried out: where no connection was made, or the request was refused for its
// time. After anything else a second attempt could meet the effect of the
// first, or undo what somebody else did in between.
type careful struct {
	*retry.Standard
	t *transport
}

// IsErrorRetryable implements aws.Retryer.
func (c careful) IsErrorRetryable(err error) bool {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	if c.t.skewed(err) == aws.TrueTernary {
		return true
	}
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}
