package s3

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/johannesboyne/gofakes3"
)

// What a request is about.
const (
	service = iota
	bucketLevel
	objectLevel
)

// What a request's body is.
const (
	noBody  = iota
	xmlBody // small, read whole
	dataBody
)

// operation is something that the server can do. A request is for the one whose
// method and level it has, with all of its needed query parameters and no other
// than those that it may have.
type operation struct {
	name      string
	method    string
	level     int
	body      int
	need, may []string
}

// operations is read-only: all that is served.
var operations = []operation{
	{name: "ListBuckets", method: "GET", level: service},
	{name: "HeadBucket", method: "HEAD", level: bucketLevel},
	{name: "CreateBucket", method: "PUT", level: bucketLevel, body: xmlBody},
	{name: "DeleteBucket", method: "DELETE", level: bucketLevel},
	{name: "GetBucketLocation", method: "GET", level: bucketLevel, need: []string{"location"}},
	{name: "GetBucketVersioning", method: "GET", level: bucketLevel, need: []string{"versioning"}},
	{
		name: "ListMultipartUploads", method: "GET", level: bucketLevel, need: []string{"uploads"},
		may: []string{"key-marker", "max-uploads", "prefix", "upload-id-marker"},
	},
	{
		name: "ListObjects", method: "GET", level: bucketLevel,
		may: []string{"delimiter", "encoding-type", "marker", "max-keys", "prefix"},
	},
	{
		name: "ListObjectsV2", method: "GET", level: bucketLevel, need: []string{"list-type"},
		may: []string{"continuation-token", "delimiter", "encoding-type", "fetch-owner", "max-keys", "prefix", "start-after"},
	},
	{name: "DeleteObjects", method: "POST", level: bucketLevel, body: xmlBody, need: []string{"delete"}},
	{name: "GetObject", method: "GET", level: objectLevel, may: []string{
		"response-cache-control", "response-content-disposition", "response-content-encoding",
		"response-content-language", "response-content-type", "response-expires",
	}},
	{name: "HeadObject", method: "HEAD", level: objectLevel},
	{name: "PutObject", method: "PUT", level: objectLevel, body: dataBody},
	{name: "DeleteObject", method: "DELETE", level: objectLevel},
	{name: "CreateMultipartUpload", method: "POST", level: objectLevel, need: []string{"uploads"}},
	{name: "UploadPart", method: "PUT", level: objectLevel, body: dataBody, need: []string{"partNumber", "uploadId"}},
	{name: "ListParts", method: "GET", level: objectLevel, need: []string{"uploadId"}, may: []string{"max-parts", "part-number-marker"}},
	{name: "AbortMultipartUpload", method: "DELETE", level: objectLevel, need: []string{"uploadId"}},
	{name: "CompleteMultipartUpload", method: "POST", level: objectLevel, body: xmlBody, need: []string{"uploadId"}},
}

// copyObject is what PutObject is with a source in a header.
const copyObject = "CopyObject"

// amzHeaders is read-only: the x-amz- headers that are understood, apart from
// x-amz-meta- and x-amz-checksum- ones. Any other could change what the request
// means.
var amzHeaders = []string{
	"X-Amz-Acl", "X-Amz-Content-Sha256", "X-Amz-Copy-Source", "X-Amz-Copy-Source-If-Match", "X-Amz-Copy-Source-If-None-Match",
	"X-Amz-Date", "X-Amz-Decoded-Content-Length", "X-Amz-Metadata-Directive",
	"X-Amz-Sdk-Checksum-Algorithm", "X-Amz-Storage-Class", "X-Amz-Trailer", "X-Amz-User-Agent",
}

func operationOf(r *http.Request, bucket, key string, query url.Values) (*operation, *apiError) {
	level := objectLevel
	switch {
	case bucket == "":
		level = service
	case key == "":
		level = bucketLevel
	}
	known := false
	for _, o := range operations {
		if o.method != r.Method {
			continue
		}
		known = true
		if o.level == level && o.takes(query) {
			return &o, o.check(r, bucket, query)
		}
	}
	if !known {
		return nil, refuse(http.StatusMethodNotAllowed, "MethodNotAllowed", "The specified method is not allowed against this resource.")
	}
	return nil, notImplemented(r.Method + " with the query " + r.URL.RawQuery)
}

func (o *operation) takes(query url.Values) bool {
	for _, name := range o.need {
		if !query.Has(name) {
			return false
		}
	}
	for name := range query {
		// The SDK tells the operation's name, which changes nothing.
		if name != "x-id" && !slices.Contains(o.need, name) && !slices.Contains(o.may, name) {
			return false
		}
	}
	return true
}

// check refuses what would change the operation's meaning and is not served.
func (o *operation) check(r *http.Request, bucket string, query url.Values) *apiError {
	for name, values := range query {
		if len(values) > 1 {
			return invalidArgument("Query parameter " + name + " is repeated.")
		}
	}
	if o.level != service && gofakes3.ValidateBucketName(bucket) != nil {
		return refuse(http.StatusBadRequest, "InvalidBucketName", "The specified bucket is not valid.")
	}
	for name, values := range r.Header {
		checksum := strings.HasPrefix(name, "X-Amz-Checksum-")
		if strings.HasPrefix(name, "X-Amz-") && !checksum && !strings.HasPrefix(name, metaPrefix) && !slices.Contains(amzHeaders, name) {
			return notImplemented("header " + name)
		}
		if len(values) > 1 && (strings.HasPrefix(name, "If-") || checksum) {
			return invalidArgument("Header " + name + " is repeated.")
		}
	}
	if v := r.Header.Get("X-Amz-Storage-Class"); v != "" && v != "STANDARD" {
		return notImplemented("storage class " + v)
	}
	if v := r.Header.Get("X-Amz-Acl"); v != "" && v != "private" {
		return notImplemented("access list " + v)
	}
	if query.Has("list-type") && query.Get("list-type") != "2" {
		return invalidArgument("list-type must be 2.")
	}
	if v := query.Get("encoding-type"); v != "" && v != "url" {
		return invalidArgument("Invalid Encoding Method specified in Request")
	}
	if query.Has("uploadId") && query.Get("uploadId") == "" {
		return noSuchUpload()
	}
	if r.Header.Get(copySource) != "" && o.name != "PutObject" {
		return notImplemented("header X-Amz-Copy-Source for " + o.name)
	}
	return nil
}
