package meta

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/pprof"
	"strconv"
	"time"

	"github.com/espra/protoplex/nodes/meta/ca"
)

// Roles in the certificates of those who are no nodes. Operators, as the Seed of
// the cell, may order a node about; readers may ask how it is, and nothing else.
const (
	RoleAdmin  = "admin"
	RoleReader = "reader"
	roleSeed   = "seed"
)

const (
	maxKeys    = 1000             // in one invalidation
	maxProfile = 30 * time.Second // the longest one that can be asked for
)

// builtin are the routes that every node has, and those whose functions it was
// given.
func (s *server) builtin() []Route {
	orders := []string{RoleAdmin, roleSeed}
	routes := []Route{
		{Pattern: "GET /health", Body: 1, Readers: true, Handler: http.HandlerFunc(s.serveHealth)},
		{Pattern: "GET /status", Body: 1, Readers: true, Handler: http.HandlerFunc(s.serveStatus)},
		{Pattern: "GET /metrics", Body: 1, Readers: true, Concurrency: 4, Handler: s.metrics.handler()},
	}
	if s.o.Drain != nil {
		routes = append(routes, Route{Pattern: "POST /drain", Roles: orders,
			Order: func(context.Context, ca.Name, json.RawMessage) error { return s.o.Drain() }})
	}
	if s.o.Maintenance != nil {
		routes = append(routes, Route{Pattern: "POST /maintenance", Roles: orders, Order: s.orderMaintenance})
	}
	if s.o.Invalidate != nil {
		// Besides, whoever changes what others keep may tell them.
		routes = append(routes, Route{Pattern: "POST /invalidate", Body: 1 << 20, Roles: append(orders, "espra", "live"), Order: s.orderInvalidate})
	}
	profiles := map[string]http.HandlerFunc{"": pprof.Index, "cmdline": pprof.Cmdline, "profile": pprof.Profile, "symbol": pprof.Symbol, "trace": pprof.Trace}
	for name, handler := range profiles {
		routes = append(routes, Route{Pattern: "GET /debug/pprof/" + name, Roles: []string{RoleAdmin}, Body: 1, Time: 2 * maxProfile,
			Concurrency: 1, Handler: boundedProfile(handler)})
	}
	return routes
}

func boundedProfile(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if text := r.URL.Query().Get("seconds"); text != "" {
			n, err := strconv.ParseFloat(text, 64)
			if err != nil || !(n > 0 && n <= maxProfile.Seconds()) {
				refuse(w, http.StatusBadRequest, refusal{Error: "seconds must be above 0 and at most " + strconv.Itoa(int(maxProfile.Seconds()))})
				return
			}
		}
		h.ServeHTTP(w, r)
	})
}

func (s *server) health() error {
	if s.maintenance.Load() {
		return &StatusError{http.StatusServiceUnavailable, "maintenance"}
	}
	if s.o.Health == nil {
		return nil
	}
	return s.o.Health()
}

func (s *server) serveHealth(w http.ResponseWriter, _ *http.Request) {
	status, text := http.StatusOK, "ok"
	if err := s.health(); err != nil {
		status, text = http.StatusServiceUnavailable, healthText(err)
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text + "\n")) // the peer may be gone
}

func healthText(err error) string {
	if e, ok := err.(*StatusError); ok {
		return e.Text
	}
	return err.Error()
}

// Status is what a node says about itself.
type Status struct {
	Cell        string         `json:"cell"`
	Role        string         `json:"role"`
	Name        string         `json:"name"`
	Host        string         `json:"host"`
	Proc        string         `json:"proc,omitempty"`
	Region      string         `json:"region,omitempty"`
	Zone        string         `json:"zone,omitempty"`
	Version     string         `json:"version,omitempty"`
	Now         time.Time      `json:"now"`
	Uptime      float64        `json:"uptime_seconds"` // of the meta port
	Health      string         `json:"health"`         // "ok", or what is wrong
	Maintenance bool           `json:"maintenance"`
	Epoch       uint64         `json:"epoch"` // the newest of which orders were heard
	Facts       map[string]any `json:"facts,omitempty"`
}

func (s *server) serveStatus(w http.ResponseWriter, _ *http.Request) {
	name, host := s.o.Identity.Name(), s.m.Host()
	status := Status{
		Cell: name.Cell, Role: name.Role, Name: name.Name,
		Host: host.Name, Proc: host.Proc, Region: host.Region, Zone: host.Zone,
		Version:     s.o.Version,
		Now:         s.m.Now().UTC(),
		Uptime:      (s.m.Elapsed() - s.since).Seconds(),
		Health:      "ok",
		Maintenance: s.maintenance.Load(),
		Epoch:       s.fence.Epoch(),
		Facts:       make(map[string]any, len(s.o.Facts)),
	}
	if err := s.health(); err != nil {
		status.Health = healthText(err)
	}
	for name, fact := range s.o.Facts {
		status.Facts[name] = fact()
	}
	answer(w, http.StatusOK, status)
}

func (s *server) orderMaintenance(ctx context.Context, _ ca.Name, body json.RawMessage) error {
	var order struct {
		On *bool `json:"on"`
	}
	if err := json.Unmarshal(body, &order); err != nil || order.On == nil {
		return &StatusError{http.StatusBadRequest, `want "on": true or false`}
	}
	if err := s.o.Maintenance(ctx, *order.On); err != nil {
		return err
	}
	s.maintenance.Store(*order.On)
	return nil
}

func (s *server) orderInvalidate(ctx context.Context, _ ca.Name, body json.RawMessage) error {
	var order struct {
		Keys []string `json:"keys"`
	}
	if err := json.Unmarshal(body, &order); err != nil || len(order.Keys) == 0 || len(order.Keys) > maxKeys {
		return &StatusError{http.StatusBadRequest, `want "keys": 1 to ` + strconv.Itoa(maxKeys)}
	}
	return s.o.Invalidate(ctx, order.Keys)
}
