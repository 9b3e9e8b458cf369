package meta

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/espra/protoplex/nodes"
	"github.com/espra/protoplex/nodes/meta/ca"
)

// Route is something that peers may ask. Exactly one of Handler, Order and
// Stream is set.
type Route struct {
	// Pattern is that of [http.ServeMux], with a method. Orders are POSTs,
	// streams GETs.
	Pattern string
	// Roles are those that may; none means all but readers, who may if Readers is
	// set.
	Roles   []string
	Readers bool

	// Body bounds the request's body, Time the request, and Concurrency how many
	// may run at once; more are answered 503. For streams only Concurrency
	// counts. Zeros mean 64 KiB, 10 s and 64, or 4096 streams.
	Body        int64
	Time        time.Duration
	Concurrency int

	// Handler answers plain requests. Peer tells who asks.
	Handler http.Handler
	// Order applies an order that has passed the fence; body is all of it. It
	// has until ctx ends, whether or not the issuer still waits. A StatusError
	// is answered as it says, any other with 500.
	Order func(ctx context.Context, issuer ca.Name, body json.RawMessage) error
	// Stream serves one stream, which ends with the return: with nil politely,
	// else telling the peer the error.
	Stream func(ctx context.Context, s *Stream) error
}

func (r Route) permits(role string) bool {
	if role == RoleReader {
		return r.Readers
	}
	return len(r.Roles) == 0 || slices.Contains(r.Roles, role)
}

func (r Route) withDefaults() Route {
	if r.Body == 0 {
		r.Body = 64 << 10
	}
	if r.Time == 0 {
		r.Time = 10 * time.Second
	}
	if r.Concurrency == 0 {
		r.Concurrency = 64
		if r.Stream != nil {
			r.Concurrency = 4096
		}
	}
	return r
}

// StatusError is an answer other than 200: what a client got, or what an order
// wants to be answered.
type StatusError struct {
	Status int
	Text   string
}

func (e *StatusError) Error() string { return fmt.Sprintf("meta: %d: %s", e.Status, e.Text) }

// refusal is the body of every answer that is no success.
type refusal struct {
	Error string `json:"error"`
	Epoch uint64 `json:"epoch,omitempty"`
}

type peerKey struct{}

// Peer gives the node that sent a request, within a route's Handler.
func Peer(ctx context.Context) ca.Name {
	n, _ := ctx.Value(peerKey{}).(ca.Name)
	return n
}

// route adds a route to the mux.
func (s *server) route(r Route) error {
	r = r.withDefaults()
	kinds := 0
	for _, set := range []bool{r.Handler != nil, r.Order != nil, r.Stream != nil} {
		if set {
			kinds++
		}
	}
	method, path, _ := strings.Cut(r.Pattern, " ")
	if kinds != 1 || !strings.HasPrefix(path, "/") || r.Order != nil && method != http.MethodPost || r.Stream != nil && method != http.MethodGet {
		return fmt.Errorf("meta: invalid route %q", r.Pattern)
	}
	places := make(chan struct{}, r.Concurrency)
	s.mux.HandleFunc(r.Pattern, func(w http.ResponseWriter, req *http.Request) {
		ctx := s.enter()
		if ctx == nil {
			refuse(w, http.StatusServiceUnavailable, refusal{Error: "the node is leaving"})
			return
		}
		defer s.running.Done()
		counted := &countedWriter{ResponseWriter: w, status: http.StatusOK}
		began := s.m.Elapsed()
		defer func() { s.metrics.request(r.Pattern, counted.status, s.m.Elapsed()-began) }()
		// The handshake has verified it.
		peer, err := ca.NameOf(req.TLS.PeerCertificates[0])
		switch {
		case err != nil:
			refuse(counted, http.StatusForbidden, refusal{Error: err.Error()})
			return
		case !r.permits(peer.Role):
			s.m.Log().Warn("request refused", "route", r.Pattern, "peer", peer.Short())
			refuse(counted, http.StatusForbidden, refusal{Error: fmt.Sprintf("role %s may not %s", peer.Role, r.Pattern)})
			return
		}
		if r.Stream != nil && !upgrades(counted, req) {
			return
		}
		select {
		case places <- struct{}{}:
			defer func() { <-places }()
		default:
			counted.Header().Set("Retry-After", "1")
			refuse(counted, http.StatusServiceUnavailable, refusal{Error: "too many at once"})
			return
		}
		req = req.WithContext(context.WithValue(req.Context(), peerKey{}, peer))
		if r.Stream != nil {
			s.stream(ctx, counted, r, peer)
			return
		}
		name := "meta/" + r.Pattern + "/" + req.RemoteAddr
		bound := http.NewResponseController(counted)
		deadline := nodes.Deadline(s.m, name, r.Time)
		if err := errors.Join(bound.SetReadDeadline(deadline), bound.SetWriteDeadline(deadline)); err != nil {
			return // the connection is gone
		}
		req.Body = http.MaxBytesReader(counted, req.Body, r.Body)
		if r.Order != nil {
			s.order(ctx, counted, req, r, peer)
			return
		}
		timed, cancel := nodes.Timeout(req.Context(), s.m, name, r.Time)
		defer cancel()
		r.Handler.ServeHTTP(counted, req.WithContext(timed))
	})
	return nil
}

// order answers one order.
func (s *server) order(ctx context.Context, w http.ResponseWriter, req *http.Request, r Route, peer ca.Name) {
	body, err := io.ReadAll(req.Body)
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		refuse(w, http.StatusRequestEntityTooLarge, refusal{Error: fmt.Sprintf("more than %d bytes", large.Limit)})
		return
	case err != nil:
		return // nobody is there to be answered
	}
	var o Order
	if err := json.Unmarshal(body, &o); err != nil {
		refuse(w, http.StatusBadRequest, refusal{Error: "the body is not an order"})
		return
	}
	log := s.m.Log().With("route", r.Pattern, "peer", peer.Short(), "epoch", o.Epoch, "revision", o.Revision)
	if o.IssuedBy != peer.Short() {
		s.metrics.order("forged")
		log.Warn("order refused", "reason", "forged", "issued_by", o.IssuedBy)
		refuse(w, http.StatusForbidden, refusal{Error: "the order was issued by somebody else"})
		return
	}
	// Not the request's context: an order that has begun does not end half way
	// because its issuer hangs up.
	ctx, cancel := nodes.Timeout(ctx, s.m, "meta/order/"+peer.Short(), r.Time)
	defer cancel()
	applied, err := s.fence.Do(ctx, o, func(ctx context.Context) error { return r.Order(ctx, peer, body) })
	var stale *StaleError
	var early *EarlyError
	var status *StatusError
	switch {
	case err == nil && applied:
		s.metrics.order("applied")
		log.Info("order applied")
		answer(w, http.StatusOK, Applied{Applied: true, Epoch: o.Epoch, Revision: o.Revision})
	case err == nil:
		s.metrics.order("repeated")
		log.Info("order repeated")
		answer(w, http.StatusOK, Applied{Epoch: o.Epoch, Revision: o.Revision})
	case errors.As(err, &stale):
		s.metrics.order("stale")
		log.Warn("order refused", "reason", "stale", "newest", stale.Epoch)
		refuse(w, http.StatusConflict, refusal{Error: "the epoch is over", Epoch: stale.Epoch})
	case errors.As(err, &early):
		s.metrics.order("early")
		log.Warn("order refused", "reason", "early", "newest", early.Newest)
		refuse(w, http.StatusConflict, refusal{Error: strings.TrimPrefix(early.Error(), "meta: ")})
	case errors.Is(err, errOrder):
		refuse(w, http.StatusBadRequest, refusal{Error: strings.TrimPrefix(err.Error(), "meta: ")})
	default:
		s.metrics.order("failed")
		log.Error("order failed", "error", err)
		if !errors.As(err, &status) {
			status = &StatusError{http.StatusInternalServerError, err.Error()}
		}
		refuse(w, status.Status, refusal{Error: status.Text})
	}
}

// countedWriter remembers the status.
type countedWriter struct {
	http.ResponseWriter
	status int
}

func (w *countedWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (w *countedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func refuse(w http.ResponseWriter, status int, r refusal) { answer(w, status, r) }

func answer(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		status, b = http.StatusInternalServerError, []byte(`{"error":"the answer is no JSON"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(append(b, '\n')) // the peer may be gone
}
