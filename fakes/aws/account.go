package aws

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Account is what there is when a server starts, as its JSON file has it.
type Account struct {
	Zones         []string          `json:"zones"`
	TargetGroups  []TargetGroup     `json:"target_groups"`
	LoadBalancers []LoadBalancer    `json:"load_balancers"`
	ScalingGroups []ScalingGroup    `json:"scaling_groups"`
	Instances     []AccountInstance `json:"instances"`
}

// TargetGroup is one of network load balancers. What is zero gets Amazon's
// default: checks of the target's port every 30 s, 10 s long, 5 passes and 2
// failures, the path /, and a deregistration delay of 300 s.
type TargetGroup struct {
	Name      string `json:"name"`
	Port      int    `json:"port"`
	Type      string `json:"type"` // of targets: "instance" (the default) or "ip"
	Check     Check  `json:"check"`
	Delay     *int   `json:"deregistration_delay"` // seconds
	SlowStart int    `json:"slow_start"`           // seconds
}

// Check is how targets are checked: over HTTP, 200 means well.
type Check struct {
	Port      int    `json:"port"`
	Path      string `json:"path"`
	Interval  int    `json:"interval"` // seconds, as Timeout
	Timeout   int    `json:"timeout"`
	Healthy   int    `json:"healthy"`
	Unhealthy int    `json:"unhealthy"`
}

// LoadBalancer is a network load balancer in all zones.
type LoadBalancer struct {
	Name      string            `json:"name"`
	DNSName   string            `json:"dns_name"`
	Listeners map[string]string `json:"listeners"` // names of target groups by port
}

// ScalingGroup is an Auto Scaling group in all zones.
type ScalingGroup struct {
	Name         string   `json:"name"`
	Min          int      `json:"min"`
	Max          int      `json:"max"`
	Desired      int      `json:"desired"`
	Check        string   `json:"check"`    // "EC2" (the default) or "ELB"
	Grace        int      `json:"grace"`    // seconds
	Cooldown     *int     `json:"cooldown"` // seconds; left out, 300
	TargetGroups []string `json:"target_groups"`
	Hooks        []Hook   `json:"hooks"`
}

// Hook is a lifecycle hook. Without a time-out it has an hour, and then the
// instance is abandoned unless Result is "CONTINUE".
type Hook struct {
	Name       string `json:"name"`
	Transition string `json:"transition"` // such as autoscaling:EC2_INSTANCE_LAUNCHING
	Timeout    int    `json:"timeout"`    // seconds
	Result     string `json:"result"`
}

// AccountInstance runs from the start.
type AccountInstance struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	Zone  string `json:"zone"`
	Addr  string `json:"addr"`
	Group string `json:"group"` // that it is in service of, or none
}

// ParseAccount reads an account file; it knows every key.
func ParseAccount(data []byte) (Account, error) {
	var a Account
	d := json.NewDecoder(strings.NewReader(string(data)))
	d.DisallowUnknownFields()
	if err := d.Decode(&a); err != nil {
		return a, fmt.Errorf("parse account: %w", err)
	}
	return a, nil
}

// build makes the cloud of an account.
func (s *Server) build(a Account) (*cloud, error) {
	c := &cloud{zones: a.Zones}
	if len(a.Zones) == 0 {
		return nil, fmt.Errorf("account: zones: want at least one")
	}
	for i, in := range a.TargetGroups {
		g, err := s.newTargetGroup(in)
		if err == nil && c.targetGroup(g.arn) != nil {
			err = fmt.Errorf("%q comes twice", in.Name)
		}
		if err != nil {
			return nil, fmt.Errorf("account: target_groups[%d]: %w", i, err)
		}
		c.targetGroups = append(c.targetGroups, g)
	}
	arn := func(name string) (string, error) {
		i := slices.IndexFunc(c.targetGroups, func(g *targetGroup) bool { return g.name == name })
		if i < 0 {
			return "", fmt.Errorf("there is no target group %q", name)
		}
		return c.targetGroups[i].arn, nil
	}
	for i, in := range a.LoadBalancers {
		b, err := s.newBalancer(in, arn)
		if err != nil {
			return nil, fmt.Errorf("account: load_balancers[%d]: %w", i, err)
		}
		c.balancers = append(c.balancers, b)
	}
	for i, in := range a.ScalingGroups {
		g, err := s.newGroup(in, c, arn)
		if err != nil {
			return nil, fmt.Errorf("account: scaling_groups[%d]: %w", i, err)
		}
		c.groups = append(c.groups, g)
	}
	for i, in := range a.Instances {
		if err := s.adopt(c, in); err != nil {
			return nil, fmt.Errorf("account: instances[%d]: %w", i, err)
		}
	}
	return c, nil
}

// adopt takes in an instance that runs already.
func (s *Server) adopt(c *cloud, in AccountInstance) error {
	addr, err := netip.ParseAddr(in.Addr)
	switch {
	case err != nil:
		return fmt.Errorf("addr: %w", err)
	case in.ID == "" || in.Name == "":
		return fmt.Errorf("want id and name")
	case !slices.Contains(c.zones, in.Zone):
		return fmt.Errorf("there is no zone %q", in.Zone)
	case slices.ContainsFunc(c.machines, func(m machine) bool { return m.id == in.ID }):
		return fmt.Errorf("%q comes twice", in.ID)
	}
	c.machines = append(c.machines, machine{id: in.ID, zone: in.Zone, host: Host{in.Name, addr}})
	if in.Group == "" {
		return nil
	}
	g := c.group(in.Group)
	if g == nil {
		return fmt.Errorf("there is no scaling group %q", in.Group)
	}
	g.instances = append(g.instances, instance{
		id: in.ID, zone: in.Zone, state: inService, health: healthy, launched: s.m.Elapsed(), since: s.m.Elapsed(),
	})
	for _, arn := range g.targetGroups {
		s.register(c.targetGroup(arn), in.ID, in.Zone)
	}
	return nil
}

// cloud is everything that is described. It is guarded by the Server's mutex;
// clones never change.
type cloud struct {
	zones        []string // read only
	balancers    []*balancer
	targetGroups []*targetGroup
	groups       []*group
	machines     []machine // instances of EC2 that have not been terminated
}

// machine is an instance of EC2.
type machine struct {
	id, zone string
	host     Host
}

func (c *cloud) clone() *cloud {
	out := *c
	out.machines = slices.Clone(c.machines)
	out.targetGroups, out.groups = nil, nil
	for _, g := range c.targetGroups {
		out.targetGroups = append(out.targetGroups, g.clone())
	}
	for _, g := range c.groups {
		out.groups = append(out.groups, g.clone())
	}
	return &out
}

func (c *cloud) machine(id string) (machine, bool) {
	i := slices.IndexFunc(c.machines, func(m machine) bool { return m.id == id })
	if i < 0 {
		return machine{}, false
	}
	return c.machines[i], true
}

func (c *cloud) targetGroup(arn string) *targetGroup {
	i := slices.IndexFunc(c.targetGroups, func(g *targetGroup) bool { return g.arn == arn })
	if i < 0 {
		return nil
	}
	return c.targetGroups[i]
}

func (c *cloud) group(name string) *group {
	i := slices.IndexFunc(c.groups, func(g *group) bool { return g.name == name })
	if i < 0 {
		return nil
	}
	return c.groups[i]
}

// digest is the part of an ARN that tells two of one name apart.
func digest(name string) string {
	h := fnv.New64a()
	h.Write([]byte(name))
	return fmt.Sprintf("%016x", h.Sum64())
}

func checkName(name string, max int) error {
	ok := name != "" && len(name) <= max
	for _, c := range name {
		ok = ok && (c == '-' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z')
	}
	if !ok {
		return fmt.Errorf("name %q: want 1 to %d letters, digits and dashes", clip(name), max)
	}
	return nil
}

func seconds(n int) time.Duration { return time.Duration(n) * time.Second }
