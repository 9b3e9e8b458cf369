package aws

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/espra/protoplex/nodes"
)

// Host is where an instance runs.
type Host struct {
	Name string // as its own machine calls itself
	Addr netip.Addr
}

// Compute is where instances come from: EC2 as far as groups need it. A Server
// calls it with a mutex held, so nothing of it may wait for anything.
type Compute interface {
	// Launch begins to boot an instance in a zone. ErrCapacity says that the zone
	// has no more.
	Launch(id, group, zone string) (Host, error)
	// Terminate ends an instance for good.
	Terminate(id string)
	// Running tells whether an instance has booted and passes its status checks.
	Running(id string) bool
}

// ErrCapacity is a Compute's answer when a zone is full.
var ErrCapacity = errors.New("insufficient capacity")

// PlainCompute is a Compute of nothing but names: no program runs on what it
// launches. It may be used concurrently.
type PlainCompute struct {
	m        nodes.Machine
	boot     time.Duration
	capacity int

	mu      sync.Mutex
	last    int
	zones   map[string]string        // by instance
	running map[string]time.Duration // since when, by instance
}

// NewPlainCompute gives one whose instances take the time boot to run, and whose
// zones have room for capacity of them each.
func NewPlainCompute(m nodes.Machine, boot time.Duration, capacity int) *PlainCompute {
	return &PlainCompute{m: m, boot: boot, capacity: capacity, zones: map[string]string{}, running: map[string]time.Duration{}}
}

// Launch implements Compute.
func (c *PlainCompute) Launch(id, _, zone string) (Host, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	used := 0
	for _, z := range c.zones {
		if z == zone {
			used++
		}
	}
	if used >= c.capacity {
		return Host{}, ErrCapacity
	}
	c.last++
	c.zones[id], c.running[id] = zone, c.m.Elapsed()+c.boot
	addr := netip.AddrFrom4([4]byte{10, 0, byte(c.last >> 8), byte(c.last)})
	return Host{Name: fmt.Sprintf("ip-10-0-%d-%d", byte(c.last>>8), byte(c.last)), Addr: addr}, nil
}

// Terminate implements Compute.
func (c *PlainCompute) Terminate(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.zones, id)
	c.running[id] = never
}

// Running implements Compute. An instance that was not launched here always
// runs, until it is terminated.
func (c *PlainCompute) Running(id string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.m.Elapsed() >= c.running[id]
}

const never = time.Duration(1<<63 - 1)
