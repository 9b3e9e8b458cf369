package nodes

import "context"

// Scaler is a group of instances that a cloud keeps at a wanted size, replacing
// what is lost. In production it is a group of EC2 Auto Scaling; under simulation
// it is a server that speaks the same protocol.
//
// A change is carried out in the background, instance by instance, and may fail
// there for lack of capacity. Capacity is eventually consistent, and for some
// seconds may not show what was just changed. Errors are as those of a Balancer.
//
// Methods may be called concurrently.
type Scaler interface {
	// Capacity tells how large the group is and should be.
	Capacity(ctx context.Context) (Capacity, error)
	// SetDesired wants so many instances from now on. Fewer or more than the
	// group's bounds give ErrOutOfBounds.
	SetDesired(ctx context.Context, n int) error
	// Complete ends the wait of an instance at a lifecycle hook: it goes on, or,
	// while it is launched, is abandoned and replaced. ErrNoAction says that it
	// waits no more, which is what is wanted when an earlier call's answer was
	// lost.
	Complete(ctx context.Context, hook, instance string, how Outcome) error
	// Heartbeat prolongs such a wait by the hook's time-out.
	Heartbeat(ctx context.Context, hook, instance string) error
}

// Outcome is how the wait of an instance ends.
type Outcome string

// The outcomes.
const (
	Continue Outcome = "CONTINUE"
	Abandon  Outcome = "ABANDON"
)

// Capacity is the size of a group.
type Capacity struct {
	Min, Max, Desired int
	Instances         []Instance // by id, those on their way in or out included
}

// InService counts the instances that serve.
func (c Capacity) InService() int {
	n := 0
	for _, i := range c.Instances {
		if i.State == InService {
			n++
		}
	}
	return n
}

// Instance is a member of a group.
type Instance struct {
	ID        string
	Zone      string
	State     InstanceState
	Healthy   bool
	Protected bool // from scale-in
}

// InstanceState is where in its life an instance is, in Amazon's words.
type InstanceState string

// The states of an instance.
const (
	Pending            InstanceState = "Pending"
	PendingWait        InstanceState = "Pending:Wait"    // at a hook
	PendingProceed     InstanceState = "Pending:Proceed" // past all hooks
	InService          InstanceState = "InService"
	Terminating        InstanceState = "Terminating"
	TerminatingWait    InstanceState = "Terminating:Wait"
	TerminatingProceed InstanceState = "Terminating:Proceed"
)
