package scenarios

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"sync"
	"time"

	"github.com/espra/protoplex/fakes/aws"
	"github.com/espra/protoplex/nodes"
	"github.com/espra/protoplex/scenarios/story"
	"github.com/espra/protoplex/sim"
)

// What a region's control plane knows from the start, and who may ask it.
const (
	awsFile    = "/etc/aws/account.json"
	awsAccount = "AKIDEXAMPLE:the account's secret"

	// An instance that is launched runs after bootAtLeast and at most bootSpread
	// more.
	bootAtLeast = 45 * time.Second
	bootSpread  = 45 * time.Second
)

// awsRegion is Amazon's name for a region.
func awsRegion(region string) string { return region + "-1" }

// proxyGroup is the name of a region's target group, and of its scaling group.
func proxyGroup(region string) string { return region + "-proxy" }

// instanceID is that of a machine which runs from the start.
func instanceID(machine string) string {
	h := fnv.New64a()
	h.Write([]byte(machine))
	return fmt.Sprintf("i-%016x0", h.Sum64())
}

// controlPlane sets up a region's.
func (p *platform) controlPlane(m story.Machine) error {
	region, _ := p.story.Topology.Region(m.Region)
	f := &fleet{p: p}
	p.fleets[m.Region] = f
	group := proxyGroup(m.Region)
	account := aws.Account{
		Zones: region.ZoneNames(),
		TargetGroups: []aws.TargetGroup{{
			Name: group, Port: 8443,
			Check: aws.Check{Port: 8080, Path: "/health", Interval: 10, Timeout: 5, Healthy: 3, Unhealthy: 2},
		}},
		LoadBalancers: []aws.LoadBalancer{{
			Name: m.Region, DNSName: balancerName(m.Region), Listeners: map[string]string{"80": group, "443": group},
		}},
		ScalingGroups: []aws.ScalingGroup{{
			Name: group, Min: region.Scaling.Min, Max: region.Scaling.Max, Desired: region.Proxy,
			Check: "ELB", Grace: 60, TargetGroups: []string{group},
		}},
	}
	for _, proxy := range p.inRegion(story.RoleProxy, m.Region) {
		f.machines = append(f.machines, proxy)
		if !proxy.Standby {
			account.Instances = append(account.Instances, aws.AccountInstance{
				ID: instanceID(proxy.Name), Name: proxy.Name, Zone: proxy.Zone, Addr: p.addr(proxy.Name).String(), Group: group,
			})
		}
	}
	data, err := json.Marshal(account)
	if err != nil {
		return fmt.Errorf("account: %w", err)
	}
	domain := awsRegion(m.Region) + ".amazonaws.com"
	cert, err := p.ca.Leaf("elasticloadbalancing."+domain, "autoscaling."+domain)
	if err != nil {
		return err
	}
	if err := p.files(m.Name, map[string][]byte{certFile: cert, awsFile: data}); err != nil {
		return err
	}
	p.run(m.Name, "aws", "--cert", certFile, "--account", awsFile, "--key", awsAccount, "--region", awsRegion(m.Region))
	return nil
}

// runAWS is a region's control plane, which launches the machines of its fleet.
func (p *platform) runAWS(ctx context.Context, m nodes.Machine, args []string) error {
	f := p.fleets[m.Host().Region]
	f.start()
	return aws.RunOn(f, &f.amnesia)(ctx, m, args)
}

// fleet is the machines of a region that run a group's instances: an
// [aws.Compute]. There are as many as the group has at most. It has machines
// switched on and off by the world, never itself.
type fleet struct {
	p        *platform
	machines []story.Machine
	amnesia  aws.Amnesia
	slows    greatest[story.Factor] // of the faults that last; the world's alone

	mu       sync.Mutex
	running  map[string]string // machines by instance
	launches uint64
	closed   bool         // nothing is launched
	refused  uint64       // launches while it was
	slow     story.Factor // how many times longer than usual what is launched takes to boot
	slowed   uint64       // launches that did
	stuck    bool         // what is launched does not boot
	waiting  []func()     // boots what is stuck
	held     uint64       // how many were
}

var _ aws.Compute = (*fleet)(nil)

// start begins with a control plane that knows the instances of its account and
// no others: what an earlier one launched is ended.
func (f *fleet) start() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.running = map[string]string{}
	for _, m := range f.machines {
		if m.Standby {
			f.off(m.Name)
			continue
		}
		f.running[instanceID(m.Name)] = m.Name
	}
}

func (f *fleet) off(machine string) { f.p.world.After(0, f.p.hosts[machine].PowerOff) }

// Launch implements aws.Compute.
func (f *fleet) Launch(id, _, zone string) (aws.Host, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		f.refused++
		return aws.Host{}, aws.ErrCapacity
	}
	for _, m := range f.machines {
		host := f.p.hosts[m.Name]
		if m.Zone != zone || f.uses(m.Name) || host.On() {
			continue
		}
		f.running[id] = m.Name
		f.launches++
		spread := time.Duration(f.p.world.Choose("boot "+m.Name, f.launches) % uint64(bootSpread))
		boots := bootAtLeast + spread
		if f.slow > 0 {
			boots = boots * time.Duration(f.slow) / 10000
			f.slowed++
		}
		f.p.world.After(boots, func() { f.boot(id, m.Name) })
		return aws.Host{Name: m.Name, Addr: host.Addr()}, nil
	}
	return aws.Host{}, aws.ErrCapacity
}

// boot switches an instance on, if it was not terminated, as soon as nothing is
// stuck.
func (f *fleet) boot(id, machine string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.running[id] != machine:
	case f.stuck:
		f.held++
		f.waiting = append(f.waiting, func() { f.boot(id, machine) })
	default:
		f.p.hosts[machine].PowerOn()
	}
}

// Terminate implements aws.Compute.
func (f *fleet) Terminate(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if machine, ok := f.running[id]; ok {
		delete(f.running, id)
		f.off(machine)
	}
}

// Running implements aws.Compute.
func (f *fleet) Running(id string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	machine, ok := f.running[id]
	return ok && f.p.hosts[machine].On()
}

// uses tells whether an instance has the machine; the mutex is held.
func (f *fleet) uses(machine string) bool {
	for _, m := range f.running {
		if m == machine {
			return true
		}
	}
	return false
}

// close has the fleet launch nothing, or launch again.
func (f *fleet) close(closed bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = closed
}

// stick has what is launched not boot, or boot again.
func (f *fleet) stick(stuck bool) {
	f.mu.Lock()
	f.stuck = stuck
	waiting := f.waiting
	f.waiting = nil
	f.mu.Unlock()
	for _, boot := range waiting {
		boot()
	}
}

// stretch has what is launched take so many times longer to boot.
func (f *fleet) stretch(times story.Factor) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.slow = times
}

// counted reads a counter of the fleet.
func (f *fleet) counted(n *uint64) func() uint64 {
	return func() uint64 {
		f.mu.Lock()
		defer f.mu.Unlock()
		return *n
	}
}

// ended tells whether a machine belongs to the fleet and no instance to it.
func (f *fleet) ended(host *sim.Machine) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range f.machines {
		if m.Name == host.Name() {
			return !f.uses(m.Name)
		}
	}
	return false
}
