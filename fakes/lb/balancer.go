package lb

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/espra/protoplex/fakes/internal/serve"
	"github.com/espra/protoplex/nodes"
)

const maxTargets = 1000

// Target is where traffic may go.
type Target struct {
	Name string     `json:"name"`
	Zone string     `json:"zone"`
	Addr netip.Addr `json:"addr"`
}

// State is what a load balancer thinks of a target, in AWS's words.
type State string

// The states of a target.
const (
	Initial   State = "initial"   // registered, not judged yet: gets no traffic
	Healthy   State = "healthy"   // gets traffic
	Unhealthy State = "unhealthy" // gets no new connections
	Draining  State = "draining"  // deregistered; open connections go on
	Unused    State = "unused"    // in a zone that this node does not send to
)

// The reasons for a state, in AWS's words.
const (
	reasonChecking = "Elb.InitialHealthChecking"
	reasonMismatch = "Target.ResponseCodeMismatch"
	reasonTimeout  = "Target.Timeout"
	reasonFailed   = "Target.FailedHealthChecks"
	reasonDraining = "Target.DeregistrationInProgress"
	reasonNotInUse = "Target.NotInUse"
)

// Options configure a Balancer. There are no defaults: see Run for those.
type Options struct {
	Zone      string        // of this node
	CrossZone bool          // send to targets of other zones too
	Idle      time.Duration // connections without a byte for as long are cut
	Settings
}

// Settings are those of a target group.
type Settings struct {
	HealthPort int           `json:"health_port"` // of the targets
	HealthPath string        `json:"health_path"` // answers 200 when well
	Interval   time.Duration `json:"interval"`    // between checks of one target
	Timeout    time.Duration `json:"timeout"`     // of one check
	Healthy    int           `json:"healthy"`     // passes in a row to be well again; a new target needs one
	Unhealthy  int           `json:"unhealthy"`   // failures in a row to be unwell
	Drain      time.Duration `json:"drain"`       // open connections of a deregistered target are cut after it
	SlowStart  time.Duration `json:"slow_start"`  // in which a target that has become well gets a growing share
}

// Balancer is one zone's node. Its checks run until the context it was made with
// ends. It may be used concurrently.
type Balancer struct {
	ctx     context.Context
	m       nodes.Machine
	options Options // its Settings are guarded by the mutex
	client  *http.Client
	believe func(t Target, well bool) bool // what a check's result is taken for

	mu      sync.Mutex
	targets map[string]*target
	picks   uint64 // choices made
	conns   map[uint64]*relay
	opened  uint64 // connections ever
	open    bool   // failing open, for the log
}

// target is guarded by the Balancer's mutex.
type target struct {
	Target
	state  State
	reason string
	detail string
	since  time.Duration      // it has been healthy, by Elapsed
	streak int                // results in a row that contradict the state
	stop   context.CancelFunc // ends the checks or the drain
}

// New makes a node without targets.
func New(ctx context.Context, m nodes.Machine, o Options) *Balancer {
	b := &Balancer{
		ctx: ctx, m: m, options: o, client: serve.Client(m),
		targets: map[string]*target{}, conns: map[uint64]*relay{},
		believe: func(_ Target, well bool) bool { return well },
	}
	go nodes.Every(ctx, m, "cut idle connections", max(o.Idle/10, time.Second), func(context.Context) { b.cutIdle() })
	return b
}

var (
	// ErrUnknown is returned for a target that is not registered.
	ErrUnknown = errors.New("target is not registered")
	errTarget  = errors.New("target needs a name, a zone and an address")
	errFull    = errors.New("too many targets")
)

// Register adds a target and starts checking it. One that is registered already
// stays as it is; one that is draining starts anew.
func (b *Balancer) Register(t Target) error {
	if t.Name == "" || t.Zone == "" || !t.Addr.IsValid() {
		return errTarget
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if old := b.targets[t.Name]; old != nil {
		if old.Target == t && old.state != Draining {
			return nil
		}
		old.stop()
	} else if len(b.targets) >= maxTargets {
		return errFull
	}
	ctx, cancel := context.WithCancel(b.ctx)
	n := &target{Target: t, state: Initial, reason: reasonChecking, stop: cancel}
	b.targets[t.Name] = n
	if !b.options.CrossZone && t.Zone != b.options.Zone {
		n.state, n.reason = Unused, reasonNotInUse
		return nil
	}
	go b.checkForever(ctx, n, b.options.Settings)
	return nil
}

// Configure changes the settings. Where checks change, they begin anew, and each
// target keeps its state until they have judged it.
func (b *Balancer) Configure(s Settings) {
	b.mu.Lock()
	defer b.mu.Unlock()
	old := b.options.Settings
	b.options.Settings = s
	old.Drain, old.SlowStart = s.Drain, s.SlowStart
	if old == s {
		return
	}
	for _, t := range b.targets {
		if t.state == Draining || t.state == Unused {
			continue
		}
		t.stop()
		var ctx context.Context
		ctx, t.stop = context.WithCancel(b.ctx)
		t.streak = 0
		go b.checkForever(ctx, t, s)
	}
}

// Deregister stops new connections to a target. It is forgotten, and what is
// still open to it is cut, when the drain has passed.
func (b *Balancer) Deregister(name string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.targets[name]
	switch {
	case t == nil:
		return fmt.Errorf("deregister %q: %w", name, ErrUnknown)
	case t.state == Draining:
		return nil
	}
	t.stop()
	var ctx context.Context
	ctx, t.stop = context.WithCancel(b.ctx)
	t.state, t.reason, t.detail = Draining, reasonDraining, ""
	b.m.Log().Info("target draining", "target", name, "zone", t.Zone)
	go b.drain(ctx, t, b.options.Drain)
	return nil
}

// known gives a registered target of that name, which a request to register it
// again need not describe.
func (b *Balancer) known(name string) (Target, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if t := b.targets[name]; t != nil {
		return t.Target, true
	}
	return Target{}, false
}

func (b *Balancer) drain(ctx context.Context, t *target, d time.Duration) {
	if nodes.Sleep(ctx, b.m, "drain "+t.Name, d) != nil {
		return
	}
	b.mu.Lock()
	if b.targets[t.Name] == t {
		delete(b.targets, t.Name)
	}
	cut := b.matching(func(r *relay) bool { return r.target == t })
	b.mu.Unlock()
	for _, r := range cut {
		r.abort()
	}
	b.m.Log().Info("target removed", "target", t.Name, "zone", t.Zone, "cut", len(cut))
}

// Status is a target as the control interface shows it.
type Status struct {
	Name        string `json:"name"`
	Zone        string `json:"zone"`
	Addr        string `json:"addr"`
	State       State  `json:"state"`
	Reason      string `json:"reason,omitempty"`
	Detail      string `json:"detail,omitempty"`
	Connections int    `json:"connections"`
}

// Targets gives all targets by name.
func (b *Balancer) Targets() []Status {
	b.mu.Lock()
	defer b.mu.Unlock()
	counts := map[*target]int{}
	for _, r := range b.conns {
		counts[r.target]++
	}
	out := []Status{}
	for _, t := range b.targets {
		out = append(out, Status{t.Name, t.Zone, t.Addr.String(), t.state, t.reason, t.detail, counts[t]})
	}
	slices.SortFunc(out, func(x, y Status) int { return strings.Compare(x.Name, y.Name) })
	return out
}

// Serving tells whether there is a healthy target that this node may use, which
// is what keeps its address in DNS.
func (b *Balancer) Serving() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, t := range b.targets {
		if t.state == Healthy {
			return true
		}
	}
	return false
}

// pick chooses where a new connection goes: by weight among the healthy targets,
// or, without any, among all that are neither draining nor unused. It gives nil
// when there is nowhere to go.
func (b *Balancer) pick() *target {
	b.mu.Lock()
	defer b.mu.Unlock()
	var well, rest []*target
	for _, t := range b.targets {
		switch t.state {
		case Healthy:
			well = append(well, t)
		case Initial, Unhealthy:
			rest = append(rest, t)
		}
	}
	open := len(well) == 0 && len(rest) > 0
	if open != b.open {
		b.open = open
		b.m.Log().Info(map[bool]string{true: "failing open", false: "no longer failing open"}[open], "zone", b.options.Zone)
	}
	if open {
		well = rest
	}
	if len(well) == 0 {
		return nil
	}
	slices.SortFunc(well, func(x, y *target) int { return cmp.Compare(x.Name, y.Name) })
	b.picks++
	total := uint64(0)
	for _, t := range well {
		total += b.weight(t)
	}
	draw := b.m.Rand("pick target", b.picks) % total
	for _, t := range well {
		if w := b.weight(t); draw >= w {
			draw -= w
			continue
		}
		return t
	}
	return nil // not reached: the weights add up
}

// weight is a target's share of new connections beside others: the same for all,
// but for those that start slowly.
func (b *Balancer) weight(t *target) uint64 {
	slow := b.options.SlowStart
	if slow == 0 {
		return 1
	}
	const full = 1000
	if t.state != Healthy {
		return full
	}
	return uint64(min(max(full*(b.m.Elapsed()-t.since)/slow, 1), full))
}
