package s3_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/fakes/internal/desk"
)

// raw is the SDK without our adapter around it.
func (w *world) raw(t testing.TB, options ...func(*sdk.Options)) *sdk.Client {
	t.Helper()
	return sdk.New(sdk.Options{
		Region: region, BaseEndpoint: &w.endpoint, UsePathStyle: true, RetryMaxAttempts: 1, HTTPClient: http.DefaultClient,
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenSupported, ResponseChecksumValidation: aws.ResponseChecksumValidationWhenSupported,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "alice", SecretAccessKey: "secret"}, nil
		}),
	}, options...)
}

func put(t testing.TB, c *sdk.Client, key, text string) string {
	t.Helper()
	out, err := c.PutObject(t.Context(), &sdk.PutObjectInput{Bucket: aws.String(bucket), Key: &key, Body: strings.NewReader(text)})
	require.NoError(t, err)
	return *out.ETag
}

func get(t testing.TB, c *sdk.Client, key string) string {
	t.Helper()
	out, err := c.GetObject(t.Context(), &sdk.GetObjectInput{Bucket: aws.String(bucket), Key: &key})
	require.NoError(t, err)
	data, err := io.ReadAll(out.Body)
	require.NoError(t, err)
	return string(data)
}

func requireCode(t testing.TB, code string, err error, what ...any) {
	t.Helper()
	var e smithy.APIError
	require.ErrorAs(t, err, &e, what...)
	require.Equal(t, code, e.ErrorCode(), what...)
}

// Whatever is not served is refused, and leaves the object and the bucket as
// they were. gofakes3 takes the first for a put of the object.
func TestUnknownIsRefused(t *testing.T) {
	w := start(t, false)
	c, ctx := w.raw(t), t.Context()
	name, key := aws.String(bucket), aws.String("key")
	put(t, c, "key", "value")
	only := func(_ any, err error) error { return err }
	body := func() io.Reader { return strings.NewReader("x") }
	for what, err := range map[string]error{
		"tagging": only(c.PutObjectTagging(ctx, &sdk.PutObjectTaggingInput{Bucket: name, Key: key, Tagging: &types.Tagging{
			TagSet: []types.Tag{{Key: aws.String("a"), Value: aws.String("b")}},
		}})),
		"read tagging": only(c.GetObjectTagging(ctx, &sdk.GetObjectTaggingInput{Bucket: name, Key: key})),
		"drop tagging": only(c.DeleteObjectTagging(ctx, &sdk.DeleteObjectTaggingInput{Bucket: name, Key: key})),
		"object acl":   only(c.PutObjectAcl(ctx, &sdk.PutObjectAclInput{Bucket: name, Key: key, ACL: types.ObjectCannedACLPrivate})),
		"read acl":     only(c.GetObjectAcl(ctx, &sdk.GetObjectAclInput{Bucket: name, Key: key})),
		"attributes":   only(c.GetObjectAttributes(ctx, &sdk.GetObjectAttributesInput{Bucket: name, Key: key, ObjectAttributes: []types.ObjectAttributes{"ETag"}})),
		"a version":    only(c.GetObject(ctx, &sdk.GetObjectInput{Bucket: name, Key: key, VersionId: aws.String("null")})),
		"delete a version": only(c.DeleteObject(ctx, &sdk.DeleteObjectInput{
			Bucket: name, Key: key, VersionId: aws.String("null"),
		})),
		"a part":      only(c.GetObject(ctx, &sdk.GetObjectInput{Bucket: name, Key: key, PartNumber: aws.Int32(1)})),
		"lifecycle":   only(c.GetBucketLifecycleConfiguration(ctx, &sdk.GetBucketLifecycleConfigurationInput{Bucket: name})),
		"policy":      only(c.PutBucketPolicy(ctx, &sdk.PutBucketPolicyInput{Bucket: name, Policy: aws.String("{}")})),
		"drop policy": only(c.DeleteBucketPolicy(ctx, &sdk.DeleteBucketPolicyInput{Bucket: name})),
		"versioning": only(c.PutBucketVersioning(ctx, &sdk.PutBucketVersioningInput{
			Bucket: name, VersioningConfiguration: &types.VersioningConfiguration{Status: "Enabled"},
		})),
		"list versions": only(c.ListObjectVersions(ctx, &sdk.ListObjectVersionsInput{Bucket: name})),
		"public":        only(c.PutObject(ctx, &sdk.PutObjectInput{Bucket: name, Key: key, Body: body(), ACL: "public-read"})),
		"glacier":       only(c.PutObject(ctx, &sdk.PutObjectInput{Bucket: name, Key: key, Body: body(), StorageClass: "GLACIER"})),
		"encryption":    only(c.PutObject(ctx, &sdk.PutObjectInput{Bucket: name, Key: key, Body: body(), ServerSideEncryption: "AES256"})),
		"tags of a put": only(c.PutObject(ctx, &sdk.PutObjectInput{Bucket: name, Key: key, Body: body(), Tagging: aws.String("a=b")})),
		"append": only(c.PutObject(ctx, &sdk.PutObjectInput{
			Bucket: name, Key: key, Body: body(), WriteOffsetBytes: aws.Int64(5),
		})),
		"part copy": only(c.UploadPartCopy(ctx, &sdk.UploadPartCopyInput{
			Bucket: name, Key: key, CopySource: aws.String(bucket + "/key"), UploadId: aws.String("x"), PartNumber: aws.Int32(1),
		})),
		"delete one version of many": only(c.DeleteObjects(ctx, &sdk.DeleteObjectsInput{Bucket: name, Delete: &types.Delete{
			Objects: []types.ObjectIdentifier{{Key: key, VersionId: aws.String("null")}},
		}})),
	} {
		requireCode(t, "NotImplemented", err, what)
	}
	require.Equal(t, "value", get(t, c, "key"))
}

// call sends a request that is signed, and changed after that.
func (w *world) call(t testing.TB, method, path, body string, prepare, change func(*http.Request), secret string, at time.Time) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, w.endpoint+path, strings.NewReader(body))
	require.NoError(t, err)
	hash := sha256.Sum256([]byte(body))
	r.Header.Set("X-Amz-Content-Sha256", hex.EncodeToString(hash[:]))
	if prepare != nil {
		prepare(r)
	}
	signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	require.NoError(t, signer.SignHTTP(t.Context(), aws.Credentials{AccessKeyID: "alice", SecretAccessKey: secret}, r,
		r.Header.Get("X-Amz-Content-Sha256"), "s3", region, at))
	if change != nil {
		change(r)
	}
	resp, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NotEmpty(t, resp.Header.Get("X-Amz-Request-Id"))
	_, code, _ := strings.Cut(string(text), "<Code>")
	code, _, _ = strings.Cut(code, "</Code>")
	return resp.StatusCode, code
}

func TestSignatures(t *testing.T) {
	w := start(t, false)
	put(t, w.raw(t), "key", "value")
	now := time.Now()
	header := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	for _, c := range []struct {
		name            string
		prepare, change func(*http.Request)
		secret          string
		at              time.Time
		status          int
		code            string
	}{
		{"right", nil, nil, "secret", now, 200, ""},
		{"wrong secret", nil, nil, "Secret", now, 403, "SignatureDoesNotMatch"},
		{"unsigned", nil, func(r *http.Request) { r.Header.Del("Authorization") }, "secret", now, 403, "AccessDenied"},
		{"another scheme", nil, header("Authorization", "Basic YWxpY2U6c2VjcmV0"), "secret", now, 400, "AuthorizationHeaderMalformed"},
		{"another key", nil, func(r *http.Request) { r.URL.Path = "/" + bucket + "/other" }, "secret", now, 403, "SignatureDoesNotMatch"},
		{"another method", nil, func(r *http.Request) { r.Method = "DELETE" }, "secret", now, 403, "SignatureDoesNotMatch"},
		{"another query", nil, func(r *http.Request) { r.URL.RawQuery = "response-content-type=x" }, "secret", now, 403, "SignatureDoesNotMatch"},
		{"another host", nil, func(r *http.Request) { r.Host = "example.com" }, "secret", now, 403, "SignatureDoesNotMatch"},
		{"another signed header", header("X-Amz-User-Agent", "a"), header("X-Amz-User-Agent", "b"), "secret", now, 403, "SignatureDoesNotMatch"},
		{"an unsigned header", nil, header("X-Amz-User-Agent", "b"), "secret", now, 403, "AccessDenied"},
		{"a body of another hash", nil, header("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD"), "secret", now, 403, "SignatureDoesNotMatch"},
		{"old", nil, nil, "secret", now.Add(-16 * time.Minute), 403, "RequestTimeTooSkewed"},
		{"young", nil, nil, "secret", now.Add(16 * time.Minute), 403, "RequestTimeTooSkewed"},
		{"nearly old", nil, nil, "secret", now.Add(-14 * time.Minute), 200, ""},
		{"another name", nil, func(r *http.Request) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), "alice", "mallory", 1))
		}, "secret", now, 403, "InvalidAccessKeyId"},
		{"another region", nil, func(r *http.Request) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), region, "us-west", 1))
		}, "secret", now, 400, "AuthorizationHeaderMalformed"},
		{"garbage", nil, header("Authorization", "AWS4-HMAC-SHA256 Credential=,,=;Signature"), "secret", now, 400, "AuthorizationHeaderMalformed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, code := w.call(t, "GET", "/"+bucket+"/key", "", c.prepare, c.change, c.secret, c.at)
			require.Equal(t, c.code, code)
			require.Equal(t, c.status, status)
		})
	}
	require.Equal(t, "value", get(t, w.raw(t), "key"))
	w.machine.Await(t, "s3 denied", "code", "SignatureDoesNotMatch")
}

// A body that is not what its head says is not stored.
func TestBodiesAreVerified(t *testing.T) {
	w := start(t, false)
	put(t, w.raw(t), "key", "value")
	sum := md5.Sum([]byte("other"))
	header := func(pairs ...string) func(*http.Request) {
		return func(r *http.Request) {
			for i := 0; i < len(pairs); i += 2 {
				r.Header.Set(pairs[i], pairs[i+1])
			}
		}
	}
	for _, c := range []struct {
		name    string
		prepare func(*http.Request)
		status  int
		code    string
	}{
		{"another hash", header("X-Amz-Content-Sha256", strings.Repeat("0", 64)), 400, "XAmzContentSHA256Mismatch"},
		{"no hash", header("X-Amz-Content-Sha256", "whatever"), 400, "InvalidArgument"},
		{"another md5", header("Content-Md5", base64.StdEncoding.EncodeToString(sum[:])), 400, "BadDigest"},
		{"no md5", header("Content-Md5", "AAAA"), 400, "InvalidDigest"},
		{"crc32", header("X-Amz-Checksum-Crc32", "AAAAAA=="), 400, "BadDigest"},
		{"crc32c", header("X-Amz-Checksum-Crc32c", "AAAAAA=="), 400, "BadDigest"},
		{"crc64nvme", header("X-Amz-Checksum-Crc64nvme", "AAAAAAAAAAA="), 400, "BadDigest"},
		{"sha1", header("X-Amz-Checksum-Sha1", "AAAA"), 400, "BadDigest"},
		{"sha256", header("X-Amz-Checksum-Sha256", "AAAA"), 400, "BadDigest"},
		{"an unknown checksum", header("X-Amz-Checksum-Xxhash3", "AAAA"), 501, "NotImplemented"},
		{"two checksums", header("X-Amz-Checksum-Sha1", "AAAA", "X-Amz-Checksum-Sha256", "AAAA"), 400, "InvalidArgument"},
		{"chunks that are none", header("X-Amz-Content-Sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "X-Amz-Trailer", "x-amz-checksum-crc32",
			"X-Amz-Decoded-Content-Length", "8"), 400, "IncompleteBody"},
		{"chunks of unknown length", header("X-Amz-Content-Sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "X-Amz-Trailer", "x-amz-checksum-crc32"), 411, "MissingContentLength"},
		{"chunks too many", header("X-Amz-Content-Sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "X-Amz-Trailer", "x-amz-checksum-crc32",
			"X-Amz-Decoded-Content-Length", "9000000000000"), 400, "EntityTooLarge"},
		{"a trailer and no chunks", header("X-Amz-Trailer", "x-amz-checksum-crc32"), 400, "InvalidArgument"},
		{"much metadata", header("X-Amz-Meta-A", strings.Repeat("a", 2048)), 400, "MetadataTooLarge"},
		{"another condition", header("If-None-Match", `"abc"`), 501, "NotImplemented"},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, code := w.call(t, "PUT", "/"+bucket+"/key", "contents", c.prepare, nil, "secret", time.Now())
			require.Equal(t, c.code, code)
			require.Equal(t, c.status, status)
			require.Equal(t, "value", get(t, w.raw(t), "key"))
		})
	}
}

// Checksums are kept and given back, whichever way they came.
func TestChecksumsAreKept(t *testing.T) {
	for _, tls := range []bool{false, true} {
		t.Run(fmt.Sprintf("tls %v", tls), func(t *testing.T) {
			w := start(t, tls)
			c := w.raw(t, func(o *sdk.Options) { o.HTTPClient = w.httpClient() })
			for algorithm, want := range map[types.ChecksumAlgorithm]string{
				"": "y/Q5Jg==", "CRC32": "y/Q5Jg==", "CRC32C": "4waSgw==", "CRC64NVME": "rosUhgp5mIg=",
				"SHA1": "98O8HYCOBHMq32eZZczDTKeuNEE=", "SHA256": "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU=",
			} {
				body := "123456789"
				out, err := c.PutObject(t.Context(), &sdk.PutObjectInput{
					Bucket: aws.String(bucket), Key: aws.String("key"), Body: strings.NewReader(body), ChecksumAlgorithm: algorithm,
				})
				require.NoError(t, err)
				got, err := c.GetObject(t.Context(), &sdk.GetObjectInput{Bucket: aws.String(bucket), Key: aws.String("key"), ChecksumMode: "ENABLED"})
				require.NoError(t, err)
				data, err := io.ReadAll(got.Body)
				require.NoError(t, err)
				require.Equal(t, body, string(data))
				head, err := c.HeadObject(t.Context(), &sdk.HeadObjectInput{Bucket: aws.String(bucket), Key: aws.String("key"), ChecksumMode: "ENABLED"})
				require.NoError(t, err)
				for _, values := range [][]*string{
					{out.ChecksumCRC32, out.ChecksumCRC32C, out.ChecksumCRC64NVME, out.ChecksumSHA1, out.ChecksumSHA256},
					{got.ChecksumCRC32, got.ChecksumCRC32C, got.ChecksumCRC64NVME, got.ChecksumSHA1, got.ChecksumSHA256},
					{head.ChecksumCRC32, head.ChecksumCRC32C, head.ChecksumCRC64NVME, head.ChecksumSHA1, head.ChecksumSHA256},
				} {
					var all []string
					for _, v := range values {
						if v != nil {
							all = append(all, *v)
						}
					}
					require.Equal(t, []string{want}, all, algorithm)
				}
			}
			// Without any, S3 computes one of its own.
			if !tls {
				status, _ := w.call(t, "PUT", "/"+bucket+"/key", "123456789", nil, nil, "secret", time.Now())
				require.Equal(t, 200, status)
				head, err := c.HeadObject(t.Context(), &sdk.HeadObjectInput{Bucket: aws.String(bucket), Key: aws.String("key"), ChecksumMode: "ENABLED"})
				require.NoError(t, err)
				require.Equal(t, "rosUhgp5mIg=", aws.ToString(head.ChecksumCRC64NVME))
			}
		})
	}
}

func TestConditions(t *testing.T) {
	w := start(t, false)
	c, ctx, name, key := w.raw(t), t.Context(), aws.String(bucket), aws.String("key")
	old := put(t, c, "key", "old")
	etag := put(t, c, "key", "value")
	status := func(err error) int {
		var e interface{ HTTPStatusCode() int }
		if err == nil {
			return 200
		}
		require.True(t, errors.As(err, &e), "%v", err)
		return e.HTTPStatusCode()
	}
	past, future := time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	for _, q := range []struct {
		in   sdk.GetObjectInput
		want int
	}{
		{sdk.GetObjectInput{IfMatch: &etag}, 200},
		{sdk.GetObjectInput{IfMatch: &old}, 412},
		{sdk.GetObjectInput{IfMatch: aws.String("*")}, 200},
		{sdk.GetObjectInput{IfMatch: aws.String(old + ", " + etag)}, 200},
		{sdk.GetObjectInput{IfNoneMatch: &etag}, 304},
		{sdk.GetObjectInput{IfNoneMatch: &old}, 200},
		{sdk.GetObjectInput{IfModifiedSince: &past}, 200},
		{sdk.GetObjectInput{IfModifiedSince: &future}, 304},
		{sdk.GetObjectInput{IfUnmodifiedSince: &past}, 412},
		{sdk.GetObjectInput{IfUnmodifiedSince: &future}, 200},
		{sdk.GetObjectInput{IfMatch: &etag, IfUnmodifiedSince: &past}, 200},
		{sdk.GetObjectInput{IfNoneMatch: &etag, IfModifiedSince: &past}, 304},
		{sdk.GetObjectInput{IfNoneMatch: &old, IfModifiedSince: &future}, 200},
	} {
		q.in.Bucket, q.in.Key = name, key
		out, err := c.GetObject(ctx, &q.in)
		require.Equal(t, q.want, status(err), "%+v", q.in)
		if err == nil {
			require.NoError(t, out.Body.Close())
		}
		_, err = c.HeadObject(ctx, &sdk.HeadObjectInput{
			Bucket: name, Key: key, IfMatch: q.in.IfMatch, IfNoneMatch: q.in.IfNoneMatch,
			IfModifiedSince: q.in.IfModifiedSince, IfUnmodifiedSince: q.in.IfUnmodifiedSince,
		})
		require.Equal(t, q.want, status(err), "%+v", q.in)
	}
	_, err := c.PutObject(ctx, &sdk.PutObjectInput{Bucket: name, Key: aws.String("nothing"), IfMatch: &etag, Body: strings.NewReader("x")})
	requireCode(t, "NoSuchKey", err)

	_, err = c.DeleteObject(ctx, &sdk.DeleteObjectInput{Bucket: name, Key: key, IfMatch: &old})
	requireCode(t, "PreconditionFailed", err)
	require.Equal(t, "value", get(t, c, "key"))
	_, err = c.DeleteObject(ctx, &sdk.DeleteObjectInput{Bucket: name, Key: key, IfMatch: &etag})
	require.NoError(t, err)
	_, err = c.HeadObject(ctx, &sdk.HeadObjectInput{Bucket: name, Key: key})
	require.Equal(t, 404, status(err))
}

// A range may end anywhere behind the object (RFC 9110, section 14.1.2).
func TestRangeBeyondTheEnd(t *testing.T) {
	c := start(t, false).raw(t)
	put(t, c, "key", "value")
	for _, end := range []int64{5, 1 << 62, math.MaxInt64} {
		out, err := c.GetObject(t.Context(), &sdk.GetObjectInput{Bucket: aws.String(bucket), Key: aws.String("key"), Range: aws.String(fmt.Sprintf("bytes=1-%d", end))})
		require.NoError(t, err, end)
		data, err := io.ReadAll(out.Body)
		require.NoError(t, err)
		require.Equal(t, "alue", string(data), end)
		require.Equal(t, "bytes 1-4/5", aws.ToString(out.ContentRange), end)
	}
}

func TestCopy(t *testing.T) {
	w := start(t, false)
	c, ctx, name := w.raw(t), t.Context(), aws.String(bucket)
	key := "from +/ü%2F"
	_, err := c.PutObject(ctx, &sdk.PutObjectInput{
		Bucket: name, Key: &key, Body: strings.NewReader("value"), CacheControl: aws.String("no-store"), Metadata: map[string]string{"a": "1"},
	})
	require.NoError(t, err)
	source := aws.String(bucket + "/from%20%2B/%C3%BC%252F")
	_, err = c.CopyObject(ctx, &sdk.CopyObjectInput{Bucket: name, Key: aws.String("to"), CopySource: source})
	require.NoError(t, err)
	require.Equal(t, "value", get(t, c, "to"))
	head, err := c.HeadObject(ctx, &sdk.HeadObjectInput{Bucket: name, Key: aws.String("to")})
	require.NoError(t, err)
	require.Equal(t, "no-store", aws.ToString(head.CacheControl))
	require.Equal(t, map[string]string{"a": "1"}, head.Metadata)

	_, err = c.CopyObject(ctx, &sdk.CopyObjectInput{Bucket: name, Key: aws.String("to"), CopySource: source, MetadataDirective: "REPLACE", ContentType: aws.String("text/plain")})
	require.NoError(t, err)
	head, err = c.HeadObject(ctx, &sdk.HeadObjectInput{Bucket: name, Key: aws.String("to")})
	require.NoError(t, err)
	require.Empty(t, head.Metadata)
	require.Equal(t, "text/plain", aws.ToString(head.ContentType))

	_, err = c.CopyObject(ctx, &sdk.CopyObjectInput{Bucket: name, Key: aws.String("to"), CopySource: source, CopySourceIfMatch: aws.String("x")})
	requireCode(t, "PreconditionFailed", err)
	_, err = c.CopyObject(ctx, &sdk.CopyObjectInput{Bucket: name, Key: &key, CopySource: source})
	requireCode(t, "InvalidRequest", err)
	_, err = c.CopyObject(ctx, &sdk.CopyObjectInput{Bucket: name, Key: aws.String("to"), CopySource: aws.String(bucket + "/nothing")})
	requireCode(t, "NoSuchKey", err)
}

func TestBuckets(t *testing.T) {
	w := start(t, false, "--dir", "/blobs", "--bucket", "second")
	c, ctx := w.raw(t), t.Context()
	third := aws.String("third")
	_, err := c.CreateBucket(ctx, &sdk.CreateBucketInput{Bucket: third})
	require.NoError(t, err)
	_, err = c.CreateBucket(ctx, &sdk.CreateBucketInput{Bucket: third})
	requireCode(t, "BucketAlreadyOwnedByYou", err)
	out, err := c.ListBuckets(ctx, &sdk.ListBucketsInput{})
	require.NoError(t, err)
	var names []string
	for _, b := range out.Buckets {
		names = append(names, *b.Name)
	}
	require.Equal(t, []string{bucket, "second", "third"}, names)
	location, err := c.GetBucketLocation(ctx, &sdk.GetBucketLocationInput{Bucket: third})
	require.NoError(t, err)
	require.Equal(t, types.BucketLocationConstraint(region), location.LocationConstraint)
	versioning, err := c.GetBucketVersioning(ctx, &sdk.GetBucketVersioningInput{Bucket: third})
	require.NoError(t, err)
	require.Empty(t, versioning.Status)
	_, err = c.GetBucketVersioning(ctx, &sdk.GetBucketVersioningInput{Bucket: aws.String("nothing")})
	requireCode(t, "NoSuchBucket", err)

	_, err = c.PutObject(ctx, &sdk.PutObjectInput{Bucket: third, Key: aws.String("key"), Body: strings.NewReader("x")})
	require.NoError(t, err)
	_, err = c.DeleteBucket(ctx, &sdk.DeleteBucketInput{Bucket: third})
	requireCode(t, "BucketNotEmpty", err)
	deleted, err := c.DeleteObjects(ctx, &sdk.DeleteObjectsInput{Bucket: third, Delete: &types.Delete{
		Objects: []types.ObjectIdentifier{{Key: aws.String("key")}, {Key: aws.String("nothing")}},
	}})
	require.NoError(t, err)
	require.Len(t, deleted.Deleted, 2)
	_, err = c.DeleteBucket(ctx, &sdk.DeleteBucketInput{Bucket: third})
	require.NoError(t, err)
	_, err = c.PutObject(ctx, &sdk.PutObjectInput{Bucket: third, Key: aws.String("key"), Body: strings.NewReader("x")})
	requireCode(t, "NoSuchBucket", err)
	_, err = c.HeadBucket(ctx, &sdk.HeadBucketInput{Bucket: third})
	require.Error(t, err)
}

func TestListWithDelimiter(t *testing.T) {
	w := start(t, false)
	c, ctx := w.raw(t), t.Context()
	for _, key := range []string{"a/1", "a/2", "a/b/3", "b", "c/", "c/1", "d"} {
		put(t, c, key, key)
	}
	list := func(in sdk.ListObjectsV2Input) []string {
		in.Bucket = aws.String(bucket)
		var all []string
		for {
			out, err := c.ListObjectsV2(ctx, &in)
			require.NoError(t, err)
			for _, o := range out.Contents {
				all = append(all, *o.Key)
			}
			for _, p := range out.CommonPrefixes {
				all = append(all, *p.Prefix+"*")
			}
			if in.ContinuationToken = out.NextContinuationToken; in.ContinuationToken == nil {
				require.False(t, *out.IsTruncated)
				return all
			}
		}
	}
	slash := aws.String("/")
	for _, size := range []*int32{nil, aws.Int32(1), aws.Int32(2), aws.Int32(3)} {
		require.ElementsMatch(t, []string{"a/*", "b", "c/*", "d"}, list(sdk.ListObjectsV2Input{Delimiter: slash, MaxKeys: size}))
		require.ElementsMatch(t, []string{"a/1", "a/2", "a/b/*"}, list(sdk.ListObjectsV2Input{Delimiter: slash, Prefix: aws.String("a/"), MaxKeys: size}))
		require.ElementsMatch(t, []string{"c/", "c/1"}, list(sdk.ListObjectsV2Input{Delimiter: slash, Prefix: aws.String("c/"), MaxKeys: size}))
	}
	first, err := c.ListObjects(ctx, &sdk.ListObjectsInput{Bucket: aws.String(bucket), MaxKeys: aws.Int32(3), Marker: aws.String("a/1")})
	require.NoError(t, err)
	require.Len(t, first.Contents, 3)
	require.Equal(t, "a/2", *first.Contents[0].Key)
	require.True(t, *first.IsTruncated)
}

func TestMultipart(t *testing.T) {
	m := desk.New(t, address)
	w := startOn(t, m, false, "--dir", "/blobs")
	c, ctx, name, key := w.raw(t), t.Context(), aws.String(bucket), aws.String("large")
	begin := func() *string {
		out, err := c.CreateMultipartUpload(ctx, &sdk.CreateMultipartUploadInput{
			ChecksumAlgorithm: "SHA256", Bucket: name, Key: key, ContentType: aws.String("video/mp4"), CacheControl: aws.String("no-cache"), Metadata: map[string]string{"a": "1"},
		})
		require.NoError(t, err)
		return out.UploadId
	}
	large := bytes.Repeat([]byte("0123456789abcdef"), 5<<20/16)
	send := func(id *string, number int32, data []byte) types.CompletedPart {
		out, err := c.UploadPart(ctx, &sdk.UploadPartInput{Bucket: name, Key: key, UploadId: id, PartNumber: &number, Body: bytes.NewReader(data), ChecksumAlgorithm: "SHA256"})
		require.NoError(t, err)
		return types.CompletedPart{PartNumber: &number, ETag: out.ETag, ChecksumSHA256: out.ChecksumSHA256}
	}
	complete := func(id *string, absent bool, parts ...types.CompletedPart) error {
		in := &sdk.CompleteMultipartUploadInput{Bucket: name, Key: key, UploadId: id, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts}}
		if absent {
			in.IfNoneMatch = aws.String("*")
		}
		_, err := c.CompleteMultipartUpload(ctx, in)
		return err
	}
	id := begin()
	_ = send(id, 1, []byte("too small, and replaced"))
	small := send(id, 2, []byte("the end"))
	requireCode(t, "InvalidPart", complete(id, false, types.CompletedPart{PartNumber: aws.Int32(3), ETag: small.ETag}))
	first := send(id, 1, large)
	requireCode(t, "InvalidPartOrder", complete(id, false, small, first))

	// A restart forgets neither the upload nor its parts.
	w.stop()
	w = startOn(t, m, false, "--dir", "/blobs")
	c = w.raw(t)
	parts, err := c.ListParts(ctx, &sdk.ListPartsInput{Bucket: name, Key: key, UploadId: id})
	require.NoError(t, err)
	require.Len(t, parts.Parts, 2)
	require.Equal(t, *first.ETag, *parts.Parts[0].ETag)
	require.Equal(t, int64(7), *parts.Parts[1].Size)
	another := begin()
	uploads, err := c.ListMultipartUploads(ctx, &sdk.ListMultipartUploadsInput{Bucket: name, MaxUploads: aws.Int32(1)})
	require.NoError(t, err)
	require.Equal(t, []string{*id}, []string{*uploads.Uploads[0].UploadId})
	require.True(t, *uploads.IsTruncated)
	uploads, err = c.ListMultipartUploads(ctx, &sdk.ListMultipartUploadsInput{Bucket: name, KeyMarker: uploads.NextKeyMarker, UploadIdMarker: uploads.NextUploadIdMarker})
	require.NoError(t, err)
	require.Len(t, uploads.Uploads, 1)
	require.Equal(t, *another, *uploads.Uploads[0].UploadId)

	// There is an object at the key: the condition holds only without it.
	put(t, c, "large", "in the way")
	requireCode(t, "PreconditionFailed", complete(id, true, first, small))
	require.Equal(t, "in the way", get(t, c, "large"))
	require.NoError(t, complete(id, false, first, small))
	require.True(t, get(t, c, "large") == string(large)+"the end")
	requireCode(t, "NoSuchUpload", complete(id, false, first, small))

	head, err := c.HeadObject(ctx, &sdk.HeadObjectInput{Bucket: name, Key: key, ChecksumMode: "ENABLED"})
	require.NoError(t, err)
	one, two := md5.Sum(large), md5.Sum([]byte("the end"))
	both := md5.Sum(append(one[:], two[:]...))
	require.Equal(t, `"`+hex.EncodeToString(both[:])+`-2"`, *head.ETag)
	require.Equal(t, "video/mp4", *head.ContentType)
	require.Equal(t, "no-cache", *head.CacheControl)
	require.Equal(t, map[string]string{"a": "1"}, head.Metadata)
	require.Equal(t, types.ChecksumTypeComposite, head.ChecksumType)
	sumOne, sumTwo := sha256.Sum256(large), sha256.Sum256([]byte("the end"))
	sums := sha256.Sum256(append(sumOne[:], sumTwo[:]...))
	require.Equal(t, base64.StdEncoding.EncodeToString(sums[:])+"-2", *head.ChecksumSHA256)

	// A small part that is not the last.
	tiny := send(another, 1, []byte("tiny"))
	requireCode(t, "EntityTooSmall", complete(another, false, tiny, send(another, 2, []byte("end"))))
	_, err = c.AbortMultipartUpload(ctx, &sdk.AbortMultipartUploadInput{Bucket: name, Key: key, UploadId: another})
	require.NoError(t, err)
	_, err = c.AbortMultipartUpload(ctx, &sdk.AbortMultipartUploadInput{Bucket: name, Key: key, UploadId: another})
	requireCode(t, "NoSuchUpload", err)
	uploads, err = c.ListMultipartUploads(ctx, &sdk.ListMultipartUploadsInput{Bucket: name})
	require.NoError(t, err)
	require.Empty(t, uploads.Uploads)
	left, err := m.Disk().List("/blobs/" + bucket + "/uploads")
	require.NoError(t, err)
	require.Empty(t, left)

	w.stop()
	w = startOn(t, m, false, "--dir", "/blobs")
	require.True(t, get(t, w.raw(t), "large") == string(large)+"the end")
}
