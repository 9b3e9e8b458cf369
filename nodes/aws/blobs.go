package aws

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/espra/protoplex/nodes"
)

const (
	maxKey  = 1024 // bytes
	maxPage = 1000 // objects in one answer
)

// BlobsOptions say which bucket, and who asks.
type BlobsOptions struct {
	Endpoint string // such as https://s3.example.com:8443; empty is Amazon's for the region
	Region   string
	Bucket   string

	Key, Secret string                  // of an account, or
	Credentials aws.CredentialsProvider // who knows them

	Roots *x509.CertPool // trusted for the endpoint; nil is the system's
}

// blobs is a bucket through the SDK. It may be used concurrently.
type blobs struct {
	client *s3.Client
	bucket string
	writes aws.Retryer
}

// NewBlobs gives a bucket. It asks nothing of S3 yet.
//
// Reads are tried up to three times; writes only if they were surely not carried
// out, so that a put which was applied and whose answer was lost is never
// answered ErrBlobConflict by its own effect. There is no time limit but that of
// the context. A put's body is read under a lock of the SDK, so it should be in
// memory or on a disk, not on its way from elsewhere. Keys that begin with a slash, or have "." or ".." between slashes,
// are as good as any other here, though not with every tool.
func NewBlobs(m nodes.Machine, o BlobsOptions) (nodes.Blobs, error) {
	credentials := o.Credentials
	if credentials == nil {
		credentials = fixed(o.Key, o.Secret)
	}
	switch {
	case o.Bucket == "" || o.Region == "":
		return nil, errors.New("aws: a bucket needs its name and its region")
	case o.Credentials == nil && (o.Key == "" || o.Secret == ""):
		return nil, errors.New("aws: a bucket needs credentials")
	}
	options := s3.Options{
		Region: o.Region, Credentials: credentials,
		// Clocks are corrected by the transport, which knows the machine's.
		DisableClockSkewCorrection:                true,
		ContinueHeaderThresholdBytes:              -1, // no waiting before bodies
		DisableLogOutputChecksumValidationSkipped: true,
		DisableS3ExpressSessionAuth:               aws.Bool(true),
		RequestChecksumCalculation:                aws.RequestChecksumCalculationWhenSupported,
		ResponseChecksumValidation:                aws.ResponseChecksumValidationWhenSupported,
		APIOptions:                                []func(*middleware.Stack) error{withoutRequestID},
	}
	if o.Endpoint != "" {
		u, err := url.Parse(o.Endpoint)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return nil, fmt.Errorf("aws: endpoint %q is not http://HOST or https://HOST", o.Endpoint)
		}
		options.BaseEndpoint, options.UsePathStyle = &o.Endpoint, true
	}
	t := newTransport(m, o.Roots)
	retryer := newRetryer(m, t)
	options.HTTPClient, options.Retryer = t, retryer
	options.HTTPSignerV4 = signer{v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true }), t}
	return &blobs{client: s3.New(options), bucket: o.Bucket, writes: careful{retryer, t}}, nil
}

// write makes an operation one that is tried again only when it is safe.
func (b *blobs) write(o *s3.Options) { o.Retryer = b.writes }

func checkKey(key string) error {
	if key == "" || len(key) > maxKey || !utf8.ValidString(key) {
		return fmt.Errorf("aws: key %.40q is not 1 to %d bytes of UTF-8", key, maxKey)
	}
	return nil
}

// Put implements nodes.Blobs.
func (b *blobs) Put(ctx context.Context, key string, body io.ReadSeeker, size int64, o nodes.PutOptions) (nodes.BlobInfo, error) {
	var none nodes.BlobInfo
	if err := checkKey(key); err != nil {
		return none, err
	}
	if o.IfAbsent && o.IfMatch != "" || size < 0 {
		return none, fmt.Errorf("aws: put %s: two conditions, or a size of %d", key, size)
	}
	part, err := newSection(body, size)
	if err != nil {
		return none, fmt.Errorf("aws: put %s: %w", key, err)
	}
	in := &s3.PutObjectInput{
		Bucket: &b.bucket, Key: &key, Body: part, ContentLength: &size, Metadata: o.Metadata,
		ContentType: optional(o.Type), ContentEncoding: optional(o.Encoding), CacheControl: optional(o.CacheControl),
		IfMatch: quoted(o.IfMatch),
	}
	if o.IfAbsent {
		in.IfNoneMatch = aws.String("*")
	}
	out, err := b.client.PutObject(ctx, in, b.write)
	if err != nil {
		if o.IfMatch != "" && code(err) == "NoSuchKey" {
			return none, fmt.Errorf("aws: put %s: %w: %w", key, nodes.ErrBlobConflict, err)
		}
		return none, mapped("put", key, err)
	}
	return nodes.BlobInfo{
		Key: key, Size: size, ETag: unquoted(out.ETag),
		Type: o.Type, Encoding: o.Encoding, CacheControl: o.CacheControl, Metadata: o.Metadata,
	}, nil
}

// Get implements nodes.Blobs.
func (b *blobs) Get(ctx context.Context, key string, o nodes.GetOptions) (nodes.Blob, error) {
	var none nodes.Blob
	if err := checkKey(key); err != nil {
		return none, err
	}
	if o.Offset < 0 || o.Length < 0 {
		return none, fmt.Errorf("aws: get %s: %w", key, nodes.ErrBlobRange)
	}
	in := &s3.GetObjectInput{Bucket: &b.bucket, Key: &key, IfMatch: quoted(o.IfMatch)}
	switch {
	case o.Length > 0:
		// The end may lie beyond what an int64 holds; S3 stops at the object's.
		end := uint64(o.Offset) + uint64(o.Length) - 1
		in.Range = aws.String("bytes=" + strconv.FormatInt(o.Offset, 10) + "-" + strconv.FormatUint(min(end, 1<<62), 10))
	case o.Offset > 0:
		in.Range = aws.String("bytes=" + strconv.FormatInt(o.Offset, 10) + "-")
	}
	out, err := b.client.GetObject(ctx, in)
	if err != nil {
		return none, mapped("get", key, err)
	}
	size := aws.ToInt64(out.ContentLength)
	if in.Range != nil {
		if size, err = total(aws.ToString(out.ContentRange)); err != nil {
			_ = out.Body.Close() // not read
			return none, fmt.Errorf("aws: get %s: %w", key, err)
		}
	}
	return nodes.Blob{Body: out.Body, BlobInfo: nodes.BlobInfo{
		Key: key, Size: size, ETag: unquoted(out.ETag), Modified: modified(out.LastModified),
		Type: aws.ToString(out.ContentType), Encoding: aws.ToString(out.ContentEncoding),
		CacheControl: aws.ToString(out.CacheControl), Metadata: out.Metadata,
	}}, nil
}

// total reads the size of the whole from a Content-Range.
func total(text string) (int64, error) {
	_, size, _ := strings.Cut(text, "/")
	n, err := strconv.ParseInt(size, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("a range was asked for and %q came", text)
	}
	return n, nil
}

// Head implements nodes.Blobs.
func (b *blobs) Head(ctx context.Context, key string) (nodes.BlobInfo, error) {
	if err := checkKey(key); err != nil {
		return nodes.BlobInfo{}, err
	}
	out, err := b.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &b.bucket, Key: &key})
	if err != nil {
		return nodes.BlobInfo{}, mapped("head", key, err)
	}
	return nodes.BlobInfo{
		Key: key, Size: aws.ToInt64(out.ContentLength), ETag: unquoted(out.ETag), Modified: modified(out.LastModified),
		Type: aws.ToString(out.ContentType), Encoding: aws.ToString(out.ContentEncoding),
		CacheControl: aws.ToString(out.CacheControl), Metadata: out.Metadata,
	}, nil
}

// Delete implements nodes.Blobs.
func (b *blobs) Delete(ctx context.Context, key string) error {
	if err := checkKey(key); err != nil {
		return err
	}
	_, err := b.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &b.bucket, Key: &key}, b.write)
	if err != nil && code(err) != "NoSuchKey" {
		return mapped("delete", key, err)
	}
	return nil
}

// List implements nodes.Blobs. S3 may answer with fewer than were asked for and
// say that there are more, so it is asked until there is enough.
func (b *blobs) List(ctx context.Context, prefix, after string, limit int) ([]nodes.BlobInfo, error) {
	if limit < 1 || limit > maxPage {
		return nil, fmt.Errorf("aws: list %s: limit %d is not 1 to %d", prefix, limit, maxPage)
	}
	var found []nodes.BlobInfo
	var token *string
	for {
		out, err := b.client.ListObjectsV2(ctx, &s3.ListObjectsV2Input{
			Bucket: &b.bucket, Prefix: optional(prefix), StartAfter: optional(after), ContinuationToken: token,
			MaxKeys: aws.Int32(int32(limit - len(found))), //nolint:gosec // at most 1000
			// XML has no way to write some of the characters that keys may have.
			EncodingType: types.EncodingTypeUrl,
		})
		if err != nil {
			return nil, mapped("list", prefix, err)
		}
		for _, o := range out.Contents {
			key := aws.ToString(o.Key)
			if out.EncodingType == types.EncodingTypeUrl {
				// As in forms: S3 writes a space as a plus.
				if key, err = url.QueryUnescape(key); err != nil {
					return nil, fmt.Errorf("aws: list %s: %w", prefix, err)
				}
			}
			found = append(found, nodes.BlobInfo{
				Key: key, Size: aws.ToInt64(o.Size), ETag: unquoted(o.ETag), Modified: modified(o.LastModified),
			})
		}
		if token = out.NextContinuationToken; len(found) >= limit || !aws.ToBool(out.IsTruncated) || token == nil {
			return found[:min(len(found), limit)], nil
		}
	}
}

// mapped gives an error of nodes for what S3 says for certain.
func mapped(op, key string, err error) error {
	var known error
	var response *smithyhttp.ResponseError
	status := 0
	if errors.As(err, &response) {
		status = response.HTTPStatusCode()
	}
	switch c := code(err); {
	case status == http.StatusPreconditionFailed, c == "ConditionalRequestConflict":
		known = nodes.ErrBlobConflict
	case c == "NoSuchKey", op == "head" && status == http.StatusNotFound:
		known = nodes.ErrBlobNotFound
	case status == http.StatusRequestedRangeNotSatisfiable:
		known = nodes.ErrBlobRange
	case status == http.StatusForbidden, status == http.StatusUnauthorized:
		known = nodes.ErrBlobDenied
	default:
		return fmt.Errorf("aws: %s %s: %w", op, key, err)
	}
	return fmt.Errorf("aws: %s %s: %w: %w", op, key, known, err)
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func quoted(etag string) *string {
	if etag == "" {
		return nil
	}
	return aws.String(`"` + etag + `"`)
}

func unquoted(etag *string) string { return strings.Trim(aws.ToString(etag), `"`) }

func modified(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.UTC()
}
