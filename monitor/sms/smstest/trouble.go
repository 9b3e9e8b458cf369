package smstest

import (
	"bytes"
	"io"
	"net/http"
	"strings"
)

// trouble hurts the answers to requests that carry the mark, after the provider
// has seen all of them.
type trouble struct {
	next http.RoundTripper
	hurt func(*http.Response) (*http.Response, error)
}

// RoundTrip implements http.RoundTripper.
func (f *trouble) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
		r.Body.Close()
		r = r.Clone(r.Context())
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	resp, err := f.next.RoundTrip(r)
	if err != nil || !bytes.Contains(body, []byte(mark)) {
		return resp, err
	}
	return f.hurt(resp)
}

// lose cuts the connection before the answer.
func lose(resp *http.Response) (*http.Response, error) {
	resp.Body.Close()
	return nil, io.ErrUnexpectedEOF
}

// halve cuts it within the answer.
func halve(resp *http.Response) (*http.Response, error) {
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(io.LimitReader(resp.Body, 10), cut{}), resp.Body}
	return resp, nil
}

type cut struct{}

func (cut) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// spoil puts a gateway's apology in place of the answer.
func spoil(resp *http.Response) (*http.Response, error) {
	resp.Body.Close()
	const text = "<html>Service Unavailable</html>"
	resp.Status, resp.StatusCode, resp.ContentLength = "503 Service Unavailable", http.StatusServiceUnavailable, int64(len(text))
	resp.Header = http.Header{"Content-Type": {"text/html"}}
	resp.Body = io.NopCloser(strings.NewReader(text))
	return resp, nil
}
