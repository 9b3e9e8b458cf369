// Package leasetest is the conformance suite of [nodes.Leases]. Each
// implementation runs it against its own worlds, and one that has not passed it
// is an opinion.
//
// It promises to judge only what the contract says, through nothing but the
// contract. It lets terms of ten seconds pass by the dozen, so it is for worlds
// that can make time pass.
//
// Start reading at [Tests]; the tests of package lease show how to run them:
//
//	for _, test := range leasetest.Tests() {
//		t.Run(test.Name, func(t *testing.T) {
//			test.Run(t, newWorld(t)) // or this within a bubble of its own
//		})
//	}
package leasetest

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/nodes"
)

// World makes processes that share one lease store, which is empty at first.
type World interface {
	// Process starts a process with its own Leases. A name that is in use is
	// started anew: the earlier process of that name has crashed.
	Process(t testing.TB, name string) Process
	// Pass returns when that much time has passed for all.
	Pass(d time.Duration)
}

// Process is what a test needs of one process.
type Process struct {
	Leases  nodes.Leases
	Elapsed func() time.Duration // of its Machine
}

// Test is one property of Leases.
type Test struct {
	Name string
	// Run judges one fresh world. It starts no subtest and leaves no goroutine
	// behind, so it may run in a synctest bubble.
	Run func(t testing.TB, w World)
}

// Tests gives the suite.
func Tests() []Test {
	return slices.Concat(holdingTests(), changingTests(), callingTests())
}

const term = 10 * time.Second

// acquire must succeed.
func (p Process) acquire(t testing.TB, name, holder string) nodes.Lease {
	t.Helper()
	before := p.Elapsed()
	l, err := p.Leases.Acquire(t.Context(), name, holder, term)
	require.NoError(t, err)
	require.Equal(t, name, l.Name)
	require.Equal(t, holder, l.Holder)
	require.Equal(t, term, l.Term)
	require.NotZero(t, l.Epoch)
	p.fresh(t, l, before)
	return l
}

// renew must succeed.
func (p Process) renew(t testing.TB, l nodes.Lease) nodes.Lease {
	t.Helper()
	before := p.Elapsed()
	next, err := p.Leases.Renew(t.Context(), l)
	require.NoError(t, err)
	p.fresh(t, next, before)
	l.Until = next.Until
	require.Equal(t, l, next, "a renewal changes nothing but the end")
	return next
}

// fresh judges the end of a lease that was given by a call made at before: the
// term counts from when the request was sent, so it ends before a term from now.
func (p Process) fresh(t testing.TB, l nodes.Lease, before time.Duration) {
	t.Helper()
	require.GreaterOrEqual(t, l.Until, before+term)
	require.LessOrEqual(t, l.Until, p.Elapsed()+term)
}

// refused must be told that somebody holds the lease.
func (p Process) refused(t testing.TB, name, holder string) {
	t.Helper()
	_, err := p.Leases.Acquire(t.Context(), name, holder, term)
	require.ErrorIs(t, err, nodes.ErrLeaseHeld)
	require.NotErrorIs(t, err, nodes.ErrLeaseLost)
}

// lost must be told that its lease is.
func (p Process) lost(t testing.TB, l nodes.Lease) {
	t.Helper()
	_, err := p.Leases.Renew(t.Context(), l)
	require.ErrorIs(t, err, nodes.ErrLeaseLost)
	require.NotErrorIs(t, err, nodes.ErrLeaseHeld)
}
