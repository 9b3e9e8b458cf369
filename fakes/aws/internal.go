package aws

import (
	"net/http"
	"slices"
	"strings"

	"github.com/espra/protoplex/fakes/internal/serve"
	"github.com/espra/protoplex/fakes/lb"
)

// Internal is the interface between the control plane and the nodes of its data
// plane: POST /sync takes an [lb.Report] and answers with an [lb.Plan]. It is for
// them alone, and asks for no signature.
func (s *Server) Internal() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /sync", func(w http.ResponseWriter, r *http.Request) {
		var report lb.Report
		if err := serve.ReadJSON(w, r, &report); err != nil {
			serve.WriteJSON(w, http.StatusBadRequest, map[string]string{"error": err.Error()})
			return
		}
		plan, ok := s.sync(report)
		if !ok {
			serve.WriteJSON(w, http.StatusNotFound, map[string]string{"error": "there is no target group " + clip(report.Group)})
			return
		}
		serve.WriteJSON(w, http.StatusOK, plan)
	})
	return mux
}

func (s *Server) sync(report lb.Report) (lb.Plan, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := slices.IndexFunc(s.cloud.targetGroups, func(g *targetGroup) bool { return g.name == report.Group })
	if n < 0 {
		return lb.Plan{}, false
	}
	g := s.cloud.targetGroups[n]
	plan := lb.Plan{Targets: []lb.Target{}, Settings: lb.Settings{
		HealthPort: g.check.Port, HealthPath: g.check.Path, Interval: seconds(g.check.Interval), Timeout: seconds(g.check.Timeout),
		Healthy: g.check.Healthy, Unhealthy: g.check.Unhealthy, Drain: seconds(g.delay), SlowStart: seconds(g.slowStart),
	}}
	if g.changed && s.o.Amnesia.strikes() {
		return plan, true
	}
	g.changed = g.changed && s.o.Amnesia.lost()
	for i := range g.targets {
		t := &g.targets[i]
		host, ok := s.cloud.where(g, *t)
		if !ok || t.drained != 0 {
			continue
		}
		plan.Targets = append(plan.Targets, lb.Target{Name: host.Name, Zone: t.zone, Addr: host.Addr})
		for _, status := range report.Targets {
			if status.Name == host.Name && status.State != lb.Draining {
				t.verdicts = heard(t.verdicts, verdict{report.Node, s.m.Elapsed(), status.State, status.Reason, status.Detail})
			}
		}
	}
	slices.SortFunc(plan.Targets, func(x, y lb.Target) int { return strings.Compare(x.Name, y.Name) })
	return plan, true
}

const maxNodes = 100 // whose verdicts are kept

// heard puts a node's verdict in the place of its last one.
func heard(all []verdict, v verdict) []verdict {
	out := slices.DeleteFunc(slices.Clone(all), func(x verdict) bool { return x.node == v.node })
	if len(out) >= maxNodes {
		out = out[1:]
	}
	return append(out, v)
}
