package aws

import (
	"fmt"
	"slices"
	"time"
)

// group is an Auto Scaling group.
type group struct {
	arn, name         string
	min, max, desired int
	cooldown          time.Duration
	check             string // EC2 or ELB
	grace             time.Duration
	protect           bool     // new instances from scale-in
	targetGroups      []string // ARNs; read only
	created           time.Time

	instances  []instance
	hooks      []hook
	activities []activity // oldest first

	scaled bool          // the desired capacity was set at least once
	at     time.Duration // when it last was, by Elapsed
	retry  time.Duration // not before then: what failed
}

// Lifecycle states of instances, as the Auto Scaling User Guide has them.
const (
	pending            = "Pending"
	pendingWait        = "Pending:Wait"
	pendingProceed     = "Pending:Proceed"
	inService          = "InService"
	terminating        = "Terminating"
	terminatingWait    = "Terminating:Wait"
	terminatingProceed = "Terminating:Proceed"
)

const (
	healthy   = "Healthy"
	unhealthy = "Unhealthy"
)

// instance is a member of a group. Its times are by Elapsed.
type instance struct {
	id, zone   string
	state      string
	health     string
	protected  bool
	launched   time.Duration
	since      time.Duration // it is in service
	ran        time.Duration // when it was last seen running
	waits      []wait        // replaced, never changed
	activityID string        // the one that it is launched or terminated by
}

// leaving tells whether an instance no longer counts as capacity.
func (i *instance) leaving() bool {
	return i.state == terminating || i.state == terminatingWait || i.state == terminatingProceed
}

// activity is something that a group did.
type activity struct {
	id, description, cause string
	status, message        string
	progress               int
	start, end             time.Time
}

// Status codes of activities.
const (
	statusPreInService = "PreInService"
	statusDraining     = "WaitingForELBConnectionDraining"
	statusHook         = "MidLifecycleAction"
	statusSuccessful   = "Successful"
	statusFailed       = "Failed"
)

const maxActivities = 100 // kept for each group; Amazon keeps six weeks

func (s *Server) newGroup(in ScalingGroup, c *cloud, arn func(string) (string, error)) (*group, error) {
	g := &group{
		arn:  s.arn("autoscaling", "autoScalingGroup:"+digest(in.Name)+":autoScalingGroupName/"+in.Name),
		name: in.Name, min: in.Min, max: in.Max, desired: in.Desired,
		cooldown: 300 * time.Second, check: orElse(in.Check, "EC2"), grace: seconds(in.Grace), created: s.m.Now(),
	}
	if in.Cooldown != nil {
		g.cooldown = seconds(*in.Cooldown)
	}
	for _, name := range in.TargetGroups {
		a, err := arn(name)
		if err != nil {
			return nil, err
		}
		if c.targetGroup(a).targetType != "instance" {
			return nil, fmt.Errorf("target group %q has targets by address; a scaling group wants them by instance", name)
		}
		g.targetGroups = append(g.targetGroups, a)
	}
	for _, h := range in.Hooks {
		wanted := hook{h.Name, h.Transition, orElse(seconds(h.Timeout), time.Hour), orElse(h.Result, abandon)}
		if err := wanted.valid(); err != nil {
			return nil, fmt.Errorf("hook %q: %w", h.Name, err)
		}
		g.hooks = append(g.hooks, wanted)
	}
	if err := checkName(in.Name, 255); err != nil {
		return nil, err
	}
	if c.group(in.Name) != nil {
		return nil, fmt.Errorf("%q comes twice", in.Name)
	}
	return g, g.valid()
}

func (g *group) valid() error {
	switch {
	case g.min < 0 || g.max < g.min:
		return fmt.Errorf("max %d must be at least min %d, and neither negative", g.max, g.min)
	case g.desired < g.min || g.desired > g.max:
		return fmt.Errorf("desired %d is not between min %d and max %d", g.desired, g.min, g.max)
	case g.max > 1000:
		return fmt.Errorf("max %d is more than 1000", g.max)
	case g.check != "EC2" && g.check != "ELB":
		return fmt.Errorf("health check type %q: want EC2 or ELB", clip(g.check))
	case g.grace < 0 || g.cooldown < 0:
		return fmt.Errorf("grace and cooldown must not be negative")
	}
	return nil
}

func (g *group) clone() *group {
	out := *g
	out.instances, out.hooks, out.activities = slices.Clone(g.instances), slices.Clone(g.hooks), slices.Clone(g.activities)
	return &out
}

func (g *group) instance(id string) *instance {
	i := slices.IndexFunc(g.instances, func(i instance) bool { return i.id == id })
	if i < 0 {
		return nil
	}
	return &g.instances[i]
}

// member finds an instance and its group.
func (c *cloud) member(id string) (*group, *instance) {
	for _, g := range c.groups {
		if i := g.instance(id); i != nil {
			return g, i
		}
	}
	return nil, nil
}

// capacity counts the instances that are not on their way out.
func (g *group) capacity() int {
	n := 0
	for i := range g.instances {
		if !g.instances[i].leaving() {
			n++
		}
	}
	return n
}

// inZone counts them by zone.
func (g *group) inZone(zone string) int {
	n := 0
	for i := range g.instances {
		if g.instances[i].zone == zone && !g.instances[i].leaving() {
			n++
		}
	}
	return n
}

func (s *Server) begin(g *group, description, cause string) *activity {
	now := s.m.Now()
	if len(g.activities) >= maxActivities {
		g.activities = slices.Clone(g.activities[1:])
	}
	g.activities = append(g.activities, activity{
		id: s.draw(), description: description, status: statusPreInService, start: now,
		cause: "At " + now.UTC().Format(time.RFC3339) + " " + cause,
	})
	return &g.activities[len(g.activities)-1]
}

// end ends the activity of that id, if it is still remembered.
func (s *Server) end(g *group, id, status, message string) {
	for i := range g.activities {
		if a := &g.activities[i]; a.id == id {
			a.status, a.message, a.progress, a.end = status, message, 100, s.m.Now()
		}
	}
}

func (g *group) progress(id, status string, percent int) {
	for i := range g.activities {
		if a := &g.activities[i]; a.id == id {
			a.status, a.progress = status, percent
		}
	}
}
