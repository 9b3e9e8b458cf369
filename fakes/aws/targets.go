package aws

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/espra/protoplex/fakes/lb"
)

const maxTargets = 500 // of one group, Amazon's quota for network load balancers

// targetGroup is a set of targets with how they are checked.
type targetGroup struct {
	arn, name  string
	port       int
	targetType string
	check      Check
	delay      int // seconds
	slowStart  int // seconds
	targets    []target
	changed    bool // while its state was lost
}

// target is a registration.
type target struct {
	id, zone string
	drained  time.Duration // when it is forgotten, by Elapsed; 0 while registered
	verdicts []verdict     // by node; replaced, never changed
}

// verdict is what a node of the data plane last said of a target.
type verdict struct {
	node   string
	at     time.Duration
	state  lb.State
	reason string
	detail string
}

// The states that a node never gives.
const (
	reasonRegistering  = "Elb.RegistrationInProgress"
	reasonDraining     = "Target.DeregistrationInProgress"
	reasonUnregistered = "Target.NotRegistered"
	reasonNotInUse     = "Target.NotInUse"
)

// fresh is how old a node's verdict may be and still count beside others.
const fresh = 30 * time.Second

func (s *Server) newTargetGroup(in TargetGroup) (*targetGroup, error) {
	g := &targetGroup{
		arn:  s.arn("elasticloadbalancing", "targetgroup/"+in.Name+"/"+digest("targetgroup/"+in.Name)),
		name: in.Name, port: in.Port, targetType: orElse(in.Type, "instance"), check: in.Check, delay: 300, slowStart: in.SlowStart,
	}
	g.check.Port, g.check.Path = orElse(g.check.Port, in.Port), orElse(g.check.Path, "/")
	g.check.Interval, g.check.Timeout = orElse(g.check.Interval, 30), orElse(g.check.Timeout, 10)
	g.check.Healthy, g.check.Unhealthy = orElse(g.check.Healthy, 5), orElse(g.check.Unhealthy, 2)
	if in.Delay != nil {
		g.delay = *in.Delay
	}
	if err := checkName(in.Name, 32); err != nil {
		return nil, err
	}
	if g.targetType != "instance" && g.targetType != "ip" {
		return nil, fmt.Errorf("type %q: want instance or ip", g.targetType)
	}
	if in.Port < 1 || in.Port > 65535 {
		return nil, fmt.Errorf("port %d is not a port", in.Port)
	}
	if err := checkDelays(g.delay, g.slowStart); err != nil {
		return nil, err
	}
	return g, g.check.valid()
}

func orElse[T comparable](v, other T) T {
	var zero T
	if v == zero {
		return other
	}
	return v
}

func checkDelays(delay, slowStart int) error {
	switch {
	case delay < 0 || delay > 3600:
		return fmt.Errorf("deregistration delay %d: want 0 to 3600 seconds", delay)
	case slowStart != 0 && (slowStart < 30 || slowStart > 900):
		return fmt.Errorf("slow start %d: want 0, or 30 to 900 seconds", slowStart)
	}
	return nil
}

func (c Check) valid() error {
	switch {
	case c.Port < 1 || c.Port > 65535:
		return fmt.Errorf("health check port %d is not a port", c.Port)
	case len(c.Path) > 1024 || c.Path[0] != '/':
		return fmt.Errorf("health check path %q must start with a slash", clip(c.Path))
	case c.Interval < 5 || c.Interval > 300:
		return fmt.Errorf("health check interval %d: want 5 to 300 seconds", c.Interval)
	case c.Timeout < 2 || c.Timeout > 120:
		return fmt.Errorf("health check timeout %d: want 2 to 120 seconds", c.Timeout)
	case c.Timeout > c.Interval:
		return fmt.Errorf("health check timeout %d must not exceed the interval %d", c.Timeout, c.Interval)
	case c.Healthy < 2 || c.Healthy > 10 || c.Unhealthy < 2 || c.Unhealthy > 10:
		return fmt.Errorf("health check thresholds %d and %d: want 2 to 10", c.Healthy, c.Unhealthy)
	}
	return nil
}

func (g *targetGroup) clone() *targetGroup {
	out := *g
	out.targets = slices.Clone(g.targets)
	return &out
}

func (g *targetGroup) target(id string) *target {
	i := slices.IndexFunc(g.targets, func(t target) bool { return t.id == id })
	if i < 0 {
		return nil
	}
	return &g.targets[i]
}

// register adds a target, or takes back one that is draining.
func (s *Server) register(g *targetGroup, id, zone string) {
	if t := g.target(id); t != nil {
		if t.drained != 0 {
			t.drained, t.verdicts = 0, nil
		}
		return
	}
	g.targets, g.changed = append(g.targets, target{id: id, zone: zone}), s.o.Amnesia.lost()
	s.m.Log().Info("target registered", "group", g.name, "target", id, "zone", zone)
}

// deregister begins to drain a target. It does nothing to one that is draining
// or was never there.
func (s *Server) deregister(g *targetGroup, id string) {
	t := g.target(id)
	if t == nil || t.drained != 0 {
		return
	}
	t.drained, g.changed = s.m.Elapsed()+seconds(g.delay), s.o.Amnesia.lost()
	s.m.Log().Info("target deregistered", "group", g.name, "target", id, "zone", t.zone)
}

// forget drops the targets whose drain is over.
func (g *targetGroup) forget(now time.Duration) {
	g.targets = slices.DeleteFunc(g.targets, func(t target) bool { return t.drained != 0 && t.drained <= now })
}

// where gives the address of a target.
func (c *cloud) where(g *targetGroup, t target) (Host, bool) {
	if g.targetType == "ip" {
		addr, err := netip.ParseAddr(t.id)
		return Host{t.id, addr}, err == nil
	}
	m, ok := c.machine(t.id)
	return m.host, ok
}

// health is what the data plane as a whole thinks of a target at an instant: it
// is as well as the kindest of the nodes that have spoken lately says, or, when
// all have been silent, of all.
func (c *cloud) health(g *targetGroup, t target, now time.Duration) verdict {
	switch {
	case t.drained != 0:
		return verdict{state: lb.Draining, reason: reasonDraining, detail: "Target deregistration is in progress"}
	case !c.inUse(g.arn):
		return verdict{state: lb.Unused, reason: reasonNotInUse, detail: "Target group is not configured to receive traffic from the load balancer"}
	}
	kindness := func(v verdict) int {
		return slices.Index([]lb.State{lb.Unused, lb.Initial, lb.Unhealthy, lb.Healthy}, v.state)
	}
	best := verdict{state: lb.Initial, reason: reasonRegistering, detail: "Target registration is in progress"}
	rank := -1
	for _, lately := range []bool{true, false} {
		for _, v := range t.verdicts {
			if (now-v.at < fresh) == lately && kindness(v) > rank {
				best, rank = v, kindness(v)
			}
		}
		if rank >= 0 {
			break
		}
	}
	return best
}

// inUse tells whether a listener forwards to a target group.
func (c *cloud) inUse(arn string) bool {
	return slices.ContainsFunc(c.balancers, func(b *balancer) bool {
		return slices.ContainsFunc(b.listeners, func(l listener) bool { return l.group == arn })
	})
}
