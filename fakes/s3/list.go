package s3

import (
	"encoding/base64"
	"encoding/xml"
	"strconv"

	"github.com/johannesboyne/gofakes3"

	"github.com/espra/protoplex/fakes/internal/sigv4"
)

const (
	xmlns    = "http://s3.amazonaws.com/doc/2006-03-01/"
	maxPage  = 1000
	standard = "STANDARD"
)

// listing is the answer to a request for a list, of either version.
type listing struct {
	XMLName               xml.Name `xml:"ListBucketResult"`
	Xmlns                 string   `xml:"xmlns,attr"`
	Name                  string
	Prefix                string
	Delimiter             string `xml:",omitempty"`
	EncodingType          string `xml:",omitempty"`
	MaxKeys               int
	KeyCount              *int `xml:",omitempty"`
	IsTruncated           bool
	Marker                *string `xml:",omitempty"`
	NextMarker            string  `xml:",omitempty"`
	ContinuationToken     string  `xml:",omitempty"`
	NextContinuationToken string  `xml:",omitempty"`
	StartAfter            string  `xml:",omitempty"`
	Contents              []gofakes3.Content
	CommonPrefixes        []gofakes3.CommonPrefix
}

// listObjects answers a request for a list. gofakes3 cannot: keys that XML has
// no way to write need an encoding that it does not know.
func (v *view) listObjects() {
	out, e := v.list()
	if e != nil {
		e.write(v.answer, v.r)
		return
	}
	v.writeXML(out)
}

func (v *view) writeXML(out any) {
	body, err := xml.Marshal(out)
	if err != nil {
		internal().write(v.answer, v.r)
		return
	}
	v.answer.Header().Set("Content-Type", "application/xml")
	// A failed write means that the client has gone; nobody is left to tell.
	_, _ = v.answer.Write(append([]byte(xml.Header), body...))
}

func (v *view) list() (*listing, *apiError) {
	q := v.query
	limit := maxPage
	if text := q.Get("max-keys"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return nil, invalidArgument("Provided max-keys not an integer or within integer range")
		}
		limit = min(n, maxPage)
	}
	code := func(s string) string { return s }
	if q.Get("encoding-type") == "url" {
		code = func(s string) string { return sigv4.Escape(s, true) }
	}
	after, second := q.Get("marker"), v.op.name == "ListObjectsV2"
	if second {
		after = q.Get("start-after")
		if q.Has("continuation-token") {
			token, err := base64.URLEncoding.DecodeString(q.Get("continuation-token"))
			if err != nil || len(token) == 0 {
				return nil, invalidArgument("The continuation token provided is incorrect")
			}
			after = string(token)
		}
	}
	found, more, err := v.store.list(v.bucket, q.Get("prefix"), q.Get("delimiter"), after, limit)
	if err != nil {
		return nil, asAPIError(err)
	}
	out := &listing{
		Xmlns: xmlns, Name: v.bucket, Prefix: code(q.Get("prefix")), Delimiter: code(q.Get("delimiter")),
		EncodingType: q.Get("encoding-type"), MaxKeys: limit, IsTruncated: more && limit > 0,
	}
	for _, f := range found {
		if f.record == nil {
			out.CommonPrefixes = append(out.CommonPrefixes, gofakes3.CommonPrefix{Prefix: code(f.name)})
			continue
		}
		out.Contents = append(out.Contents, gofakes3.Content{
			Key: code(f.name), LastModified: gofakes3.NewContentTime(f.Modified), ETag: `"` + f.ETag + `"`, Size: f.Size, StorageClass: standard,
		})
	}
	last := ""
	if out.IsTruncated {
		last = found[len(found)-1].name
	}
	if second {
		count := len(found)
		out.KeyCount, out.ContinuationToken, out.StartAfter = &count, q.Get("continuation-token"), code(q.Get("start-after"))
		out.NextContinuationToken = base64.URLEncoding.EncodeToString([]byte(last))
		return out, nil
	}
	marker := code(after)
	out.Marker = &marker
	if out.Delimiter != "" {
		out.NextMarker = code(last)
	}
	return out, nil
}

// location answers in which region a bucket is. The oldest one has no name.
func (v *view) location() {
	if _, err := v.store.bucket(v.bucket); err != nil {
		asAPIError(err).write(v.answer, v.r)
		return
	}
	region := v.options.Region
	if region == "us-east-1" {
		region = ""
	}
	v.writeXML(gofakes3.GetBucketLocation{Xmlns: xmlns, LocationConstraint: region})
}

// versioning answers what S3 does of a bucket that never kept versions.
func (v *view) versioning() {
	if _, err := v.store.bucket(v.bucket); err != nil {
		asAPIError(err).write(v.answer, v.r)
		return
	}
	v.writeXML(struct {
		XMLName xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ VersioningConfiguration"`
	}{})
}
