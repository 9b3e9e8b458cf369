// Package cloudtest is the conformance suite of [nodes.Balancer] and
// [nodes.Scaler]. Each implementation, and each server that one is pointed at,
// runs it; one that has not passed it is an opinion.
//
// It promises to judge only what the contracts say, through nothing but them,
// and to measure no durations: what happens later is waited for through the
// World, so it holds over real sockets and in virtual time alike. Start reading
// at Tests.
package cloudtest

import (
	"context"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/nodes"
)

// World has one target group without targets, nothing of which is checked for
// health, and one scaling group of at least 1, at most 4 and now 2 instances, all
// in service, whose instances wait at the hook named Hook when they are launched.
// The target group is not that of the scaling group.
type World interface {
	// Balancer and Scaler give clients with connections of their own.
	Balancer(t testing.TB) nodes.Balancer
	Scaler(t testing.TB) nodes.Scaler
	// Strangers are clients who sign with a wrong secret.
	Strangers(t testing.TB) (nodes.Balancer, nodes.Scaler)
	// Targets names some that can be registered, at least two.
	Targets() []string
	// Eventually waits until f holds, and fails the test if it never does.
	Eventually(t testing.TB, f func() bool, what string)
}

// Hook is the name of the scaling group's hook.
const Hook = "warm-up"

// Test is one property.
type Test struct {
	Name string
	// Run judges one fresh world. It starts no subtest and leaves no goroutine
	// behind, so it may run in a synctest bubble.
	Run func(t testing.TB, w World)
}

// Tests gives the suite.
func Tests() []Test { return slices.Concat(balancerTests(), scalerTests()) }

func balancerTests() []Test {
	return []Test{
		{"what is registered is described", func(t testing.TB, w World) {
			b := openBalancer(t, w)
			require.Empty(t, b.health())
			require.NoError(t, b.Register(b.ctx, b.targets[0], b.targets[1]))
			b.eventually(2, b.targets[0], registered)
			b.eventually(2, b.targets[1], registered)
		}},
		{"registering again changes nothing", func(t testing.TB, w World) {
			b := openBalancer(t, w)
			for range 3 {
				require.NoError(t, b.Register(b.ctx, b.targets[0]))
			}
			b.eventually(1, b.targets[0], registered)
		}},
		{"all are registered or none", func(t testing.TB, w World) {
			b := openBalancer(t, w)
			require.ErrorIs(t, b.Register(b.ctx, b.targets[0], "i-0123456789abcdef0"), nodes.ErrNoTarget)
			require.NoError(t, b.Register(b.ctx, b.targets[1]))
			b.eventually(1, b.targets[1], registered)
		}},
		{"a target drains and can come back", func(t testing.TB, w World) {
			b := openBalancer(t, w)
			require.NoError(t, b.Register(b.ctx, b.targets[0], b.targets[1]))
			require.NoError(t, b.Drain(b.ctx, b.targets[0]))
			require.NoError(t, b.Drain(b.ctx, b.targets[0]), "it drains already")
			b.eventually(2, b.targets[0], func(s nodes.TargetState) bool { return s == nodes.TargetDraining })
			b.eventually(2, b.targets[1], registered)
			require.NoError(t, b.Register(b.ctx, b.targets[0]))
			b.eventually(2, b.targets[0], registered)
		}},
		{"who is not registered cannot drain", func(t testing.TB, w World) {
			b := openBalancer(t, w)
			require.NoError(t, b.Register(b.ctx, b.targets[0]))
			require.ErrorIs(t, b.Drain(b.ctx, b.targets[0], b.targets[1]), nodes.ErrNoTarget)
			b.eventually(1, b.targets[0], registered)
		}},
		{"targets come by name", func(t testing.TB, w World) {
			b := openBalancer(t, w)
			names := slices.Clone(b.targets)
			slices.Sort(names)
			slices.Reverse(names)
			require.NoError(t, b.Register(b.ctx, names...))
			b.w.Eventually(t, func() bool { return len(b.health()) == len(names) }, "all are described")
			var found []string
			for _, h := range b.health() {
				found = append(found, h.Target)
			}
			slices.Sort(names)
			require.Equal(t, names, found)
		}},
		{"an expired context is respected, by balancers", func(t testing.TB, w World) {
			b := openBalancer(t, w)
			ctx, cancel := context.WithCancel(b.ctx)
			cancel()
			require.ErrorIs(t, b.Register(ctx, b.targets[0]), context.Canceled)
			_, err := b.Health(ctx)
			require.ErrorIs(t, err, context.Canceled)
		}},
		{"strangers are denied, by balancers", func(t testing.TB, w World) {
			b, _ := w.Strangers(t)
			require.ErrorIs(t, b.Register(t.Context(), w.Targets()[0]), nodes.ErrCloudDenied)
			_, err := b.Health(t.Context())
			require.ErrorIs(t, err, nodes.ErrCloudDenied)
		}},
	}
}

// balancer is a client in the hands of a test.
type balancer struct {
	nodes.Balancer
	t       testing.TB
	w       World
	ctx     context.Context
	targets []string
}

func openBalancer(t testing.TB, w World) *balancer {
	require.GreaterOrEqual(t, len(w.Targets()), 2)
	return &balancer{w.Balancer(t), t, w, t.Context(), w.Targets()}
}

func (b *balancer) health() []nodes.TargetHealth {
	b.t.Helper()
	all, err := b.Health(b.ctx)
	require.NoError(b.t, err)
	return all
}

// registered tells whether a state is one of those that it depends on the health
// of a target to have.
func registered(s nodes.TargetState) bool { return s != nodes.TargetDraining }

// eventually waits until so many targets are described, one of them in a state.
func (b *balancer) eventually(n int, target string, ok func(nodes.TargetState) bool) {
	b.t.Helper()
	b.w.Eventually(b.t, func() bool {
		all := b.health()
		i := slices.IndexFunc(all, func(h nodes.TargetHealth) bool { return h.Target == target })
		return len(all) == n && i >= 0 && ok(all[i].State)
	}, "the state of "+target)
}
