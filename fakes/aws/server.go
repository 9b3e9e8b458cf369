package aws

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/espra/protoplex/fakes/internal/sigv4"
	"github.com/espra/protoplex/nodes"
)

const (
	maxBody = 64 << 10
	// stepTime is how often groups are moved, and so how old a description is.
	stepTime = time.Second
)

// Options configure a Server.
type Options struct {
	Region  string            // that requests are signed for
	Keys    map[string]string // secrets by access key id, who may do all
	Rate    int               // requests a second, of each of the two APIs, with bursts of as many
	Account Account           // what there is at the start
	Compute Compute
	Amnesia *Amnesia // nil for none
}

// Server is the control plane of one region: the two APIs. It may be used
// concurrently.
type Server struct {
	m       nodes.Machine
	o       Options
	apis    map[string]*api // by version
	compute Compute

	mu     sync.Mutex
	cloud  *cloud // as it is
	seen   *cloud // as it is described
	draws  uint64 // ids made
	number uint64 // of requests
}

// api is one of the two.
type api struct {
	version, namespace string
	actions            map[string]action
	verifier           *sigv4.Verifier

	// Guarded by the Server's mutex.
	busy time.Duration // until then its rate is used up, by Elapsed
}

// action carries out a request, with the Server's mutex held.
type action func(*Server, *params) (any, *apiError)

// act makes an action of a function of decoded parameters.
func act[In, Out any](f func(*Server, In) (Out, *apiError)) action {
	return func(s *Server, p *params) (any, *apiError) {
		var in In
		if e := p.decode(&in); e != nil {
			return nil, e
		}
		out, e := f(s, in)
		if e != nil {
			return nil, e
		}
		return out, nil
	}
}

// New makes a server and moves its groups until ctx ends.
func New(ctx context.Context, m nodes.Machine, o Options) (*Server, error) {
	if o.Region == "" || len(o.Keys) == 0 || o.Rate < 1 || o.Compute == nil {
		return nil, errors.New("aws: a server needs a region, a key, a rate and a compute")
	}
	s := &Server{m: m, o: o, compute: o.Compute}
	verifier := func(service string) *sigv4.Verifier {
		return &sigv4.Verifier{Service: service, Region: o.Region, Keys: o.Keys, Now: m.Now}
	}
	s.apis = map[string]*api{}
	for _, a := range []*api{
		{version: "2015-12-01", actions: balancingActions(), verifier: verifier("elasticloadbalancing"),
			namespace: "http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/"},
		{version: "2011-01-01", actions: scalingActions(), verifier: verifier("autoscaling"),
			namespace: "http://autoscaling.amazonaws.com/doc/2011-01-01/"},
	} {
		s.apis[a.version] = a
	}
	var err error
	if s.cloud, err = s.build(o.Account); err != nil {
		return nil, err
	}
	s.seen = s.cloud.clone()
	go nodes.Every(ctx, m, "aws/step", stepTime, func(context.Context) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.step()
		s.seen = s.cloud.clone()
	})
	return s, nil
}

// ServeHTTP answers a request to either API; its parameter Version says to which.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := s.requestID()
	w.Header().Set("X-Amzn-Requestid", id)
	fallback := s.apis["2011-01-01"]
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		malformed("the body is too long, or was cut off").write(w, fallback.namespace, id)
		return
	}
	if r.Method != http.MethodPost || r.URL.Path != "/" || r.URL.RawQuery != "" {
		malformed("a request is a POST to /, with its parameters in the body").write(w, fallback.namespace, id)
		return
	}
	query, e := parseQuery(string(body))
	if e != nil {
		e.write(w, fallback.namespace, id)
		return
	}
	name, version := query.take("Action"), query.take("Version")
	a := s.apis[version]
	if a == nil {
		refuse("InvalidAction", "Could not find operation "+clip(name)+" for version "+clip(version)).write(w, fallback.namespace, id)
		return
	}
	if _, err := a.verifier.Verify(r, sigv4.Hash(body)); err != nil {
		var refused *sigv4.Error
		if !errors.As(err, &refused) {
			refused = &sigv4.Error{Message: err.Error()}
		}
		status, code := refused.Query()
		(&apiError{status, code, refused.Message}).write(w, a.namespace, id)
		return
	}
	result, e := s.do(a, name, version, query)
	if e == nil {
		err := writeResult(w, a, name, id, result)
		if err == nil {
			return
		}
		e = &apiError{http.StatusInternalServerError, "InternalFailure", err.Error()}
	}
	s.m.Log().Debug("refused", "action", clip(name), "code", e.code, "message", e.message)
	e.write(w, a.namespace, id)
}

// Refuse implements faulty.API. The namespace is that of Auto Scaling, as of all
// answers to requests that were not read; clients look at the code alone.
func (s *Server) Refuse(w http.ResponseWriter, _ *http.Request, status int) {
	e := &apiError{status, "InternalFailure", "The request processing has failed because of an unknown error, exception or failure."}
	switch status {
	case http.StatusUnauthorized: // AWS says it so
		e = denied("InvalidClientTokenId", "The security token included in the request is invalid.")
	case http.StatusForbidden:
		e = denied("AccessDenied", "User is not authorized to perform this action")
	case http.StatusTooManyRequests:
		e = throttled()
	case http.StatusServiceUnavailable:
		e = &apiError{status, "ServiceUnavailable", "The request has failed due to a temporary failure of the server."}
	}
	id := s.requestID()
	w.Header().Set("X-Amzn-Requestid", id)
	e.write(w, s.apis["2011-01-01"].namespace, id)
}

func throttled() *apiError { return refuse("Throttling", "Rate exceeded") }

func (s *Server) do(a *api, name, version string, query *params) (any, *apiError) {
	s.mu.Lock()
	defer s.mu.Unlock()
	// Requests fill a bucket that empties with time.
	now, each := s.m.Elapsed(), time.Second/time.Duration(s.o.Rate)
	busy := max(a.busy, now) + each
	if busy-now > time.Second {
		return nil, throttled()
	}
	a.busy = busy
	do := a.actions[name]
	if do == nil {
		return nil, refuse("InvalidAction", "Could not find operation "+clip(name)+" for version "+version)
	}
	if edits(name) && s.o.Amnesia.strikes() {
		return nil, forgotten()
	}
	return do(s, query)
}

func (s *Server) requestID() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.number++
	a, b := s.m.Rand("aws request", 2*s.number), s.m.Rand("aws request", 2*s.number+1)
	return fmt.Sprintf("%08x-%04x-4%03x-8%03x-%012x", uint32(a), uint16(a>>32), a>>52, b&0xfff, b>>16)
}

// draw gives a fresh id of 16 hexadecimal digits; the mutex is held.
func (s *Server) draw() string {
	s.draws++
	return fmt.Sprintf("%016x", s.m.Rand("aws id", s.draws))
}

// arn names a resource. What it ends in hangs on the name alone, so that a
// control plane that starts again has the same.
func (s *Server) arn(service, rest string) string {
	return strings.Join([]string{"arn:aws", service, s.o.Region, accountID, rest}, ":")
}

const accountID = "123456789012"
