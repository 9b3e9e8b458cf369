package lb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"

	"github.com/espra/protoplex/nodes"
)

// checkForever checks one target now and then once an interval.
func (b *Balancer) checkForever(ctx context.Context, t *target, o Settings) {
	check := func(ctx context.Context) {
		f := b.check(ctx, t, o)
		switch well := f == nil; {
		case b.believe(t.Target, well) == well:
		case well:
			f = &failure{reasonFailed, "Health checks failed"}
		default:
			f = nil
		}
		b.observe(ctx, t, f)
	}
	if nodes.Sleep(ctx, b.m, "first check of "+t.Name, 0) != nil {
		return
	}
	check(ctx)
	nodes.Every(ctx, b.m, "check "+t.Name, o.Interval, check)
}

// failure says why a target did not pass.
type failure struct{ reason, detail string }

// check asks a target how it is; nil means well.
func (b *Balancer) check(ctx context.Context, t *target, o Settings) *failure {
	ctx, cancel := nodes.Timeout(ctx, b.m, "check "+t.Name, o.Timeout)
	defer cancel()
	host := netip.AddrPortFrom(t.Addr, uint16(o.HealthPort)).String()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+host+o.HealthPath, nil)
	if err != nil {
		return &failure{reasonFailed, err.Error()}
	}
	req.Header.Set("User-Agent", "ELB-HealthChecker/2.0")
	resp, err := b.client.Do(req)
	if err == nil {
		defer resp.Body.Close()
		_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return &failure{reasonTimeout, "Request timed out"}
	case err != nil:
		return &failure{reasonFailed, "Health checks failed"}
	case resp.StatusCode != http.StatusOK:
		return &failure{reasonMismatch, fmt.Sprintf("Health checks failed with these codes: [%d]", resp.StatusCode)}
	}
	return nil
}

// observe takes one result into account. A new target is well after its first
// pass, so that a replacement is in use soon.
func (b *Balancer) observe(ctx context.Context, t *target, f *failure) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if ctx.Err() != nil || t.state == Draining {
		return
	}
	well := f == nil
	if !well && t.state == Unhealthy {
		t.reason, t.detail = f.reason, f.detail
	}
	if well == (t.state == Healthy) && t.state != Initial {
		t.streak = 0
		return
	}
	t.streak++
	need := b.options.Unhealthy
	switch {
	case well && t.state == Initial:
		need = 1
	case well:
		need = b.options.Healthy
	}
	if t.streak < need {
		return
	}
	t.streak = 0
	if well {
		t.state, t.reason, t.detail, t.since = Healthy, "", "", b.m.Elapsed()
		b.m.Log().Info("target healthy", "target", t.Name, "zone", t.Zone)
		return
	}
	t.state, t.reason, t.detail = Unhealthy, f.reason, f.detail
	b.m.Log().Info("target unhealthy", "target", t.Name, "zone", t.Zone, "reason", f.reason, "detail", f.detail)
}
