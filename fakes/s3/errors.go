package s3

import (
	"encoding/xml"
	"fmt"
	"net/http"
)

// apiError is an answer that refuses.
type apiError struct {
	status        int
	code, message string
	region        string // which one to sign for, if that was wrong
}

func (e *apiError) Error() string { return fmt.Sprintf("%d %s: %s", e.status, e.code, e.message) }

func refuse(status int, code, message string) *apiError {
	return &apiError{status: status, code: code, message: message}
}

// notModified has neither code nor body.
func notModified() *apiError { return refuse(http.StatusNotModified, "NotModified", "Not modified") }

func notImplemented(what string) *apiError {
	return refuse(http.StatusNotImplemented, "NotImplemented", "Not implemented here: "+what)
}

func preconditionFailed() *apiError {
	return refuse(http.StatusPreconditionFailed, "PreconditionFailed", "At least one of the preconditions you specified did not hold.")
}

func noSuchKey() *apiError {
	return refuse(http.StatusNotFound, "NoSuchKey", "The specified key does not exist.")
}

func noSuchBucket() *apiError {
	return refuse(http.StatusNotFound, "NoSuchBucket", "The specified bucket does not exist.")
}

func noSuchUpload() *apiError {
	return refuse(http.StatusNotFound, "NoSuchUpload", "The specified multipart upload does not exist.")
}

func badDigest(what string) *apiError {
	return refuse(http.StatusBadRequest, "BadDigest", "The "+what+" you specified did not match the calculated one.")
}

func invalidArgument(message string) *apiError {
	return refuse(http.StatusBadRequest, "InvalidArgument", message)
}

func denied(message string) *apiError { return refuse(http.StatusForbidden, "AccessDenied", message) }

func slowDown() *apiError {
	return refuse(http.StatusServiceUnavailable, "SlowDown", "Please reduce your request rate.")
}

func internal() *apiError {
	return refuse(http.StatusInternalServerError, "InternalError", "We encountered an internal error. Please try again.")
}

// write sends the error the way S3 does.
func (e *apiError) write(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodHead || e.status == http.StatusNotModified {
		w.WriteHeader(e.status)
		return
	}
	body, err := xml.Marshal(struct {
		XMLName   xml.Name `xml:"Error"`
		Code      string
		Message   string
		Region    string `xml:",omitempty"`
		Resource  string
		RequestID string `xml:"RequestId"`
	}{Code: e.code, Message: e.message, Region: e.region, Resource: r.URL.Path, RequestID: w.Header().Get("X-Amz-Request-Id")})
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(e.status)
	// A failed write means that the client has gone; nobody is left to tell.
	_, _ = w.Write(append([]byte(xml.Header), body...))
}
