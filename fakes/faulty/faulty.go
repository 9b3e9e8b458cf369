// Package faulty stands in front of the fakes' public faces and can keep them
// from answering as they should: with errors in the provider's own words, with
// answers that are lost on the way or are those of a while ago, or with none at all.
//
// A fake knows nothing of faults. It wraps its API with [Wrap], and whoever runs
// it may put an [Injector] into the context that it runs with; without one, Wrap
// gives the API itself. The package promises that a request is carried out
// exactly if its [Fate] says so, and that what it keeps in memory of a request
// is bounded. It fails never by itself.
//
// Start reading at Wrap.
package faulty

import (
	"bytes"
	"context"
	"io"
	"mime"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Fate is what becomes of a request.
type Fate int

// The fates.
const (
	Served   Fate = iota // as if nothing were wrong
	Refused              // it is not carried out, and answered with an error
	Lost                 // it is carried out, and the connection ends without an answer
	Ignored              // it is not carried out, and waits for an answer until its client goes
	Repeated             // it is answered as the first one with the same key was, which was carried out
)

// Outcome is a fate with what belongs to it. The zero value is Served.
type Outcome struct {
	Fate   Fate
	Status int    // with Refused: the HTTP status, as far as the provider knows it
	Key    string // with Repeated
}

// Request is what is known of a request before it is carried out.
type Request struct {
	From  netip.Addr // who asks
	Write bool       // it may change something
	// What is equal for equal requests: method, path and query and, of a form,
	// what is filled in.
	What string
}

// Injector decides what becomes of each request, before it is carried out. It
// is called concurrently and must not block.
type Injector func(Request) Outcome

// API is the public face of a fake.
type API interface {
	http.Handler
	// Refuse answers a request as the provider does when it fails it with an HTTP
	// status of 400 or more. A provider that has other words for the same, such as
	// 403 for 401, uses its own.
	Refuse(w http.ResponseWriter, r *http.Request, status int)
}

// retryAfter is what clients are told to wait who have asked too much.
const retryAfter = 10 * time.Second

type injectorKey struct{}

// With gives a context in which every API that is wrapped asks the injector.
func With(ctx context.Context, in Injector) context.Context {
	return context.WithValue(ctx, injectorKey{}, in)
}

// Wrap gives what to serve in the place of an API.
func Wrap(ctx context.Context, api API) http.Handler {
	in, ok := ctx.Value(injectorKey{}).(Injector)
	if !ok {
		return api
	}
	var old memory
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch o := in(look(r)); o.Fate {
		case Refused:
			if o.Status == http.StatusTooManyRequests {
				w.Header().Set("Retry-After", strconv.Itoa(int(retryAfter/time.Second)))
			}
			api.Refuse(w, r, o.Status)
		case Lost:
			api.ServeHTTP(nowhere{}, r)
			panic(http.ErrAbortHandler)
		case Ignored:
			// A server sees a client go only once it has read all of the request.
			_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, maxIgnored))
			<-r.Context().Done()
			panic(http.ErrAbortHandler)
		case Repeated:
			old.serve(w, r, o.Key, api)
		default:
			api.ServeHTTP(w, r)
		}
	})
}

const (
	maxForm    = 64 << 10 // bytes of one that is looked at
	maxIgnored = 1 << 20  // bytes of a body that nobody wants
)

// look reads what an injector may know, and leaves the request as it was.
func look(r *http.Request) Request {
	var from netip.Addr
	if at, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		from = at.Addr()
	}
	form := peekForm(r)
	return Request{From: from, Write: writes(r.Method, form), What: r.Method + " " + r.URL.RequestURI() + " " + form}
}

// peekForm gives the body of a request that is a form, as far as it is looked
// at.
func peekForm(r *http.Request) string {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/x-www-form-urlencoded" {
		return ""
	}
	var read bytes.Buffer
	// An error comes again to whoever reads on.
	_, _ = io.CopyN(&read, r.Body, maxForm)
	form := read.String()
	r.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(&read, r.Body), r.Body}
	return form
}

// writes tells whether a request may change something. With the AWS Query
// protocol all are POST, and the action says it.
func writes(method, form string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return false
	}
	values, err := url.ParseQuery(form)
	if err != nil {
		return true
	}
	for _, verb := range []string{"Check", "Describe", "Get", "List"} {
		if strings.HasPrefix(values.Get("Action"), verb) {
			return false
		}
	}
	return true
}

// nowhere is where an answer goes that is lost.
type nowhere struct{}

// Header implements http.ResponseWriter.
func (nowhere) Header() http.Header { return http.Header{} }

// Write implements http.ResponseWriter.
func (nowhere) Write(p []byte) (int, error) { return len(p), nil }

// WriteHeader implements http.ResponseWriter.
func (nowhere) WriteHeader(int) {}
