package s3

import (
	"net/http"
	"strings"
	"time"
)

// conditions are what a request wants of the object that is there.
type conditions struct {
	match, noneMatch string
	modified, same   string // If-Modified-Since and If-Unmodified-Since
}

// takeConditions moves the conditions out of a request's head.
func takeConditions(h http.Header) conditions {
	c := conditions{
		match: h.Get("If-Match"), noneMatch: h.Get("If-None-Match"),
		modified: h.Get("If-Modified-Since"), same: h.Get("If-Unmodified-Since"),
	}
	for _, name := range []string{"If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since"} {
		h.Del(name)
	}
	return c
}

// matches tells whether a list of ETags, or "*", has this one. Quotes may be
// missing, as S3 allows.
func matches(list, etag string) bool {
	for item := range strings.SplitSeq(list, ",") {
		item = strings.TrimPrefix(strings.TrimSpace(item), "W/")
		if item == "*" || strings.Trim(item, `"`) == etag {
			return true
		}
	}
	return false
}

// reading judges a GET or HEAD of an object.
func (c conditions) reading(etag string, modified time.Time) *apiError {
	if c.match != "" {
		if !matches(c.match, etag) {
			return preconditionFailed()
		}
	} else if at, err := http.ParseTime(c.same); err == nil && modified.After(at) {
		return preconditionFailed()
	}
	if c.noneMatch != "" {
		if matches(c.noneMatch, etag) {
			return notModified()
		}
	} else if at, err := http.ParseTime(c.modified); err == nil && !modified.After(at) {
		return notModified()
	}
	return nil
}

// writing judges a put over what is there, nil for nothing.
func (c conditions) writing(there *record) *apiError {
	switch {
	case c.match != "" && there == nil:
		return noSuchKey()
	case c.match != "" && !matches(c.match, there.ETag), c.noneMatch != "" && there != nil:
		return preconditionFailed()
	}
	return nil
}

// deleting judges a delete of what is there, nil for nothing.
func (c conditions) deleting(there *record) *apiError {
	if c.match != "" && (there == nil || !matches(c.match, there.ETag)) {
		return preconditionFailed()
	}
	return nil
}

// forWriting refuses conditions that S3 does not know on writes.
func (c conditions) forWriting() *apiError {
	switch {
	case c.noneMatch != "" && c.noneMatch != "*":
		return notImplemented("If-None-Match other than *")
	case c.match != "" && c.noneMatch != "", strings.Contains(c.match, ","):
		return invalidArgument("There can be one condition on one ETag.")
	case c.modified != "" || c.same != "":
		return notImplemented("conditions on time for writes")
	}
	return nil
}

// forDeleting refuses conditions that S3 does not know on deletes.
func (c conditions) forDeleting() *apiError {
	if c.noneMatch != "" {
		return notImplemented("If-None-Match on DELETE")
	}
	return c.forWriting()
}
