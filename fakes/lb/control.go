package lb

import (
	"errors"
	"net/http"
	"net/netip"

	"github.com/espra/protoplex/fakes/internal/serve"
)

// Control is the node's management interface, for internal use:
//
//	GET  /targets     every target with state and reason
//	POST /register    {"name", "zone", "addr"}; a name is enough for a target it knows
//	POST /deregister  {"name"}
//	GET  /zone        200 while a healthy target can be used, else 503
func (b *Balancer) Control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /targets", func(w http.ResponseWriter, _ *http.Request) {
		serve.WriteJSON(w, http.StatusOK, map[string][]Status{"targets": b.Targets()})
	})
	mux.HandleFunc("GET /zone", func(w http.ResponseWriter, _ *http.Request) {
		status, serving := http.StatusServiceUnavailable, b.Serving()
		if serving {
			status = http.StatusOK
		}
		serve.WriteJSON(w, status, map[string]any{"zone": b.options.Zone, "serving": serving})
	})
	mux.HandleFunc("POST /register", b.control(func(in request) error {
		t, ok := b.known(in.Name)
		if !ok || in.Addr != "" || in.Zone != "" {
			addr, err := netip.ParseAddr(in.Addr)
			if err != nil {
				return errTarget
			}
			t = Target{Name: in.Name, Zone: in.Zone, Addr: addr}
		}
		return b.Register(t)
	}))
	mux.HandleFunc("POST /deregister", b.control(func(in request) error { return b.Deregister(in.Name) }))
	return mux
}

type request struct {
	Name string `json:"name"`
	Zone string `json:"zone"`
	Addr string `json:"addr"`
}

func (b *Balancer) control(f func(request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var in request
		err := serve.ReadJSON(w, r, &in)
		status := http.StatusBadRequest
		if err == nil {
			err = f(in)
		}
		switch {
		case err == nil:
			serve.WriteJSON(w, http.StatusOK, map[string][]Status{"targets": b.Targets()})
			return
		case errors.Is(err, ErrUnknown):
			status = http.StatusNotFound
		}
		serve.WriteJSON(w, status, map[string]string{"error": err.Error()})
	}
}
