package nodes

import (
	"context"
	"errors"
)

// Balancer is a group of targets behind a load balancer. In production it is a
// target group of Elastic Load Balancing; under simulation it is a server that
// speaks the same protocol.
//
// Both changes are idempotent, and neither waits for its effect: a target serves
// once Health says so, and stops taking new connections when its zones' nodes
// have heard of it. Health is eventually consistent, and for some seconds may not
// show what was just changed. An error other than those named below means that
// the change may or may not have been made, and so does an expired context: ask
// again.
//
// Methods may be called concurrently. The caller keeps what it passes.
type Balancer interface {
	// Register adds targets, all or none. One that is registered stays as it is;
	// one that is draining takes new connections again. A target that is no
	// running instance gives ErrNoTarget.
	Register(ctx context.Context, targets ...string) error
	// Drain takes targets out, all or none: they get no new connections, and what
	// is open may go on for the group's delay. ErrNoTarget says that one of them
	// was not registered; one that drains already is none the worse.
	Drain(ctx context.Context, targets ...string) error
	// Health gives the state of all targets, by name.
	Health(ctx context.Context) ([]TargetHealth, error)
}

// TargetState is what a load balancer thinks of a target.
type TargetState string

// The states of a target.
const (
	TargetInitial   TargetState = "initial"   // not judged yet
	TargetHealthy   TargetState = "healthy"   // gets new connections
	TargetUnhealthy TargetState = "unhealthy" // gets none while others are healthy
	TargetDraining  TargetState = "draining"  // gets none, and will be forgotten
	TargetUnused    TargetState = "unused"    // nothing forwards to it, or it is not known
)

// TargetHealth describes a target.
type TargetHealth struct {
	Target string
	Zone   string
	State  TargetState
	Reason string // code, such as Target.Timeout; empty for a healthy one
	Detail string // the same for people
}

// What the control plane of a cloud can answer for certain: a Balancer or a
// Scaler that gives one of these has changed nothing.
var (
	ErrNoTarget      = errors.New("nodes: no such target")
	ErrNoGroup       = errors.New("nodes: no such group")
	ErrNoAction      = errors.New("nodes: the instance does not wait for this")
	ErrOutOfBounds   = errors.New("nodes: beyond the bounds of the group")
	ErrCloudDenied   = errors.New("nodes: access to the cloud denied")
	ErrCloudThrottle = errors.New("nodes: the cloud refuses so many requests")
)
