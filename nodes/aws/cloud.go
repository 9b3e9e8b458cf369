package aws

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/smithy-go/middleware"

	"github.com/espra/protoplex/nodes"
)

// CloudOptions say which region's control plane, and who asks.
type CloudOptions struct {
	Endpoint string // such as http://127.0.0.1:8000; empty is Amazon's for the region
	Region   string

	Key, Secret string                  // of an account, or
	Credentials aws.CredentialsProvider // who knows them

	Roots *x509.CertPool // trusted for the endpoint; nil is the system's
}

// dependencies are what the clients of the control plane's APIs are made of.
type dependencies struct {
	credentials aws.CredentialsProvider
	endpoint    *string
	transport   *transport
	signer      signer
	reads       aws.Retryer
	writes      aws.Retryer
	stack       []func(*middleware.Stack) error
}

func (o CloudOptions) dependencies(m nodes.Machine) (dependencies, error) {
	d := dependencies{credentials: o.Credentials}
	if d.credentials == nil {
		d.credentials = fixed(o.Key, o.Secret)
	}
	switch {
	case o.Region == "":
		return d, errors.New("aws: a control plane needs its region")
	case o.Credentials == nil && (o.Key == "" || o.Secret == ""):
		return d, errors.New("aws: a control plane needs credentials")
	}
	if o.Endpoint != "" {
		u, err := url.Parse(o.Endpoint)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return d, fmt.Errorf("aws: endpoint %q is not http://HOST or https://HOST", o.Endpoint)
		}
		d.endpoint = &o.Endpoint
	}
	d.transport = newTransport(m, o.Roots)
	d.signer = signer{v4.NewSigner(), d.transport}
	retryer := newRetryer(m, d.transport)
	d.reads, d.writes = retryer, refused{careful{retryer, d.transport}}
	d.stack = []func(*middleware.Stack) error{withoutRequestID}
	return d, nil
}

// refused is careful that also tries again what was refused for its rate, as
// nothing was carried out.
type refused struct{ careful }

// IsErrorRetryable implements aws.Retryer.
func (r refused) IsErrorRetryable(err error) bool {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	return throttled(err) || r.careful.IsErrorRetryable(err)
}

func throttled(err error) bool {
	_, ok := retry.DefaultThrottleErrorCodes[code(err)]
	return ok
}

// certain gives an error of nodes for what the control plane says for certain.
// Many mistakes share the code ValidationError and differ in words only.
func certain(op, what string, err error) error {
	var known error
	message := errorMessage(err)
	switch c := code(err); {
	case c == "InvalidTarget":
		known = nodes.ErrNoTarget
	case c == "TargetGroupNotFound", c == "ValidationError" && strings.HasPrefix(message, "AutoScalingGroup name not found"):
		known = nodes.ErrNoGroup
	case c == "ValidationError" && strings.HasPrefix(message, "No active Lifecycle Action found"):
		known = nodes.ErrNoAction
	case c == "ValidationError" && (strings.Contains(message, "above max value") || strings.Contains(message, "below min value")):
		known = nodes.ErrOutOfBounds
	case c == "AccessDenied", c == "InvalidClientTokenId", c == "MissingAuthenticationToken", c == "SignatureDoesNotMatch", c == "IncompleteSignature",
		c == "UnauthorizedOperation", c == "ExpiredToken":
		known = nodes.ErrCloudDenied
	case throttled(err):
		known = nodes.ErrCloudThrottle
	default:
		return fmt.Errorf("aws: %s %s: %w", op, what, err)
	}
	return fmt.Errorf("aws: %s %s: %w: %w", op, what, known, err)
}
