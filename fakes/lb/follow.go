package lb

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/espra/protoplex/nodes"
)

// A node that follows a control plane asks it for its targets again and again,
// and tells it on the way what it thinks of each. While nobody answers it goes on
// with what it has.

const (
	syncEvery = 2 * time.Second
	syncTime  = 5 * time.Second
	maxPlan   = 1 << 20 // bytes
)

// Report is what a node tells the control plane: the body of POST /sync.
type Report struct {
	Group   string   `json:"group"` // name of the target group that it serves
	Node    string   `json:"node"`
	Targets []Status `json:"targets"`
}

// Plan is what the control plane answers: all targets that are registered, and
// the settings of their group.
type Plan struct {
	Targets []Target `json:"targets"`
	Settings
}

// follower keeps a Balancer as the control plane wants it.
type follower struct {
	b      *Balancer
	m      nodes.Machine
	client *http.Client
	url    string
	group  string
	lost   bool
}

func (f *follower) run(ctx context.Context) error {
	if nodes.Sleep(ctx, f.m, "first sync", 0) != nil {
		return nil
	}
	f.sync(ctx)
	nodes.Every(ctx, f.m, "sync", syncEvery, f.sync)
	return nil
}

func (f *follower) sync(ctx context.Context) {
	plan, err := f.ask(ctx)
	if ctx.Err() != nil {
		return
	}
	if lost := err != nil; lost != f.lost {
		f.lost = lost
		if lost {
			f.m.Log().Warn("control plane lost", "url", f.url, "error", err.Error())
		} else {
			f.m.Log().Info("control plane back", "url", f.url)
		}
	}
	if err == nil {
		f.b.follow(plan)
	}
}

func (f *follower) ask(ctx context.Context) (Plan, error) {
	var plan Plan
	ctx, cancel := nodes.Timeout(ctx, f.m, "sync answer", syncTime)
	defer cancel()
	body, err := json.Marshal(Report{Group: f.group, Node: f.m.Host().Name, Targets: f.b.Targets()})
	if err != nil {
		return plan, fmt.Errorf("encode report: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, f.url, bytes.NewReader(body))
	if err != nil {
		return plan, fmt.Errorf("ask control plane: %w", err)
	}
	resp, err := f.client.Do(req)
	if err != nil {
		return plan, fmt.Errorf("ask control plane: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return plan, fmt.Errorf("ask control plane: status %d", resp.StatusCode)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxPlan)).Decode(&plan); err != nil {
		return plan, fmt.Errorf("decode plan: %w", err)
	}
	return plan, nil
}

// follow takes over a plan.
func (b *Balancer) follow(plan Plan) {
	b.Configure(plan.Settings)
	for _, t := range plan.Targets {
		if err := b.Register(t); err != nil {
			b.m.Log().Error("target refused", "target", t.Name, "error", err.Error())
		}
	}
	for _, t := range b.Targets() {
		if t.State == Draining || slices.ContainsFunc(plan.Targets, func(p Target) bool { return p.Name == t.Name }) {
			continue
		}
		if err := b.Deregister(t.Name); err != nil {
			b.m.Log().Error("target not deregistered", "target", t.Name, "error", err.Error())
		}
	}
}
