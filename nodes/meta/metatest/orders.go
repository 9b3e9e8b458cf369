package metatest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/nodes/machinetest"
	"github.com/espra/protoplex/nodes/meta"
	"github.com/espra/protoplex/nodes/meta/ca"
)

func orderTests() []Test {
	return []Test{
		{"orders are applied once, and none of the past", testOrders},
		{"nobody but a leader begins an epoch", testEarlyOrders},
		{"an order that failed may come again", testFailedOrder},
		{"an order outlives its issuer's patience", testAbandonedOrder},
		{"orders reach what they are for", testBuiltinOrders},
	}
}

func testOrders(t testing.TB, w machinetest.World) {
	var did []uint64
	p := newPair(t, w, meta.Options{Routes: []meta.Route{{Pattern: "POST /do", Roles: []string{"seed"},
		Order: func(_ context.Context, _ ca.Name, body json.RawMessage) error {
			var o meta.Order
			if err := json.Unmarshal(body, &o); err != nil {
				return err
			}
			did = append(did, o.Epoch*100+o.Revision) // the fence lets in one at a time
			return nil
		}}}})
	seeds := map[string]*meta.Client{"seed/a": p.as("seed", "a"), "seed/b": p.as("seed", "b")}
	ctx := within(t, p.client)
	for i, step := range []struct {
		by              string
		issued          string
		epoch, revision uint64
		applied         bool
		stale           uint64
		status          int
	}{
		{by: "seed/a", epoch: 5, revision: 1, applied: true, status: 200},
		{by: "seed/a", epoch: 5, revision: 2, applied: true, status: 200},
		{by: "seed/a", epoch: 5, revision: 2, status: 200},                    // sent again
		{by: "seed/a", epoch: 5, revision: 1, status: 200},                    // replayed
		{by: "seed/b", issued: "seed/a", epoch: 5, revision: 3, status: 403},  // forged
		{by: "seed/b", issued: "seed/a", epoch: 99, revision: 1, status: 403}, // and heard of by nobody
		{by: "seed/b", epoch: 4, revision: 9, stale: 5},                       // of the past
		{by: "seed/b", epoch: 6, revision: 1, applied: true, status: 200},     // took over
		{by: "seed/a", epoch: 5, revision: 3, stale: 6},                       // wakes up believing
		{by: "seed/a", epoch: 6, revision: 1, applied: true, status: 200},     // issuers count apart
		{by: "seed/b", epoch: 6, revision: 7, applied: true, status: 200},     // a gap is no harm
		{by: "seed/b", epoch: 6, status: 400}, {by: "seed/b", revision: 8, status: 400},
	} {
		o := meta.Order{Epoch: step.epoch, Revision: step.revision, IssuedBy: step.by}
		if step.issued != "" {
			o.IssuedBy = step.issued
		}
		var a meta.Applied
		err := seeds[step.by].Call(ctx, "POST", "/do", o, &a)
		if step.stale > 0 {
			var stale *meta.StaleError
			require.ErrorAs(t, err, &stale, "step %d", i)
			require.Equal(t, step.stale, stale.Epoch, "step %d", i)
			continue
		}
		require.Equal(t, step.status, status(t, err), "step %d", i)
		require.Equal(t, step.applied, a.Applied, "step %d", i)
	}
	require.Empty(t, cmp.Diff([]uint64{501, 502, 601, 601, 607}, did))
	require.Equal(t, 400, status(t, seeds["seed/a"].Call(ctx, "POST", "/do", "no order", nil)))
	var s meta.Status
	require.NoError(t, seeds["seed/a"].Call(ctx, "GET", "/status", nil, &s))
	require.Equal(t, uint64(6), s.Epoch)
	var text []byte
	require.NoError(t, seeds["seed/a"].Call(ctx, "GET", "/metrics", nil, &text))
	require.Contains(t, string(text), `protoplex_meta_orders_total{result="stale"} 2`)
	require.Contains(t, string(text), `protoplex_meta_orders_total{result="forged"} 2`)
}

func testEarlyOrders(t testing.TB, w machinetest.World) {
	p := newPair(t, w, meta.Options{Invalidate: func(context.Context, []string) error { return nil }})
	as := map[string]*meta.Client{"admin/ana": p.as("admin", "ana"), "live/one": p.as("live", "one"), "seed/a": p.as("seed", "a")}
	ctx := within(t, p.client)
	revision := 0
	order := func(by string, epoch int) error {
		revision++
		return as[by].Call(ctx, "POST", "/invalidate", map[string]any{"epoch": epoch, "revision": revision, "issued_by": by, "keys": []string{"a"}}, nil)
	}
	early := func(epoch, newest int) error {
		return &meta.StatusError{Status: 409, Text: fmt.Sprintf("epoch %d has not begun: this node has heard of %d", epoch, newest)}
	}
	require.Equal(t, early(99, 0), order("admin/ana", 99))
	require.NoError(t, order("admin/ana", 1), "there may be no leader")
	require.Equal(t, early(2, 1), order("admin/ana", 2))
	require.NoError(t, order("seed/a", 7))
	require.Equal(t, early(8, 7), order("live/one", 8))
	require.NoError(t, order("live/one", 7))
	require.NoError(t, order("seed/a", 8), "the leader is heard as before")
}

func testFailedOrder(t testing.TB, w machinetest.World) {
	failing := true
	p := newPair(t, w, meta.Options{Maintenance: func(context.Context, bool) error {
		if failing {
			return errors.New("not now")
		}
		return nil
	}})
	c := p.as("admin", "ana")
	ctx := within(t, p.client)
	order := map[string]any{"epoch": 1, "revision": 1, "issued_by": "admin/ana", "on": true}
	require.Equal(t, &meta.StatusError{Status: 500, Text: "not now"}, c.Call(ctx, "POST", "/maintenance", order, nil))
	require.NoError(t, c.Call(ctx, "GET", "/health", nil, nil))
	failing = false
	var a meta.Applied
	require.NoError(t, c.Call(ctx, "POST", "/maintenance", order, &a))
	require.True(t, a.Applied)
	require.Equal(t, &meta.StatusError{Status: 503, Text: "maintenance"}, c.Call(ctx, "GET", "/health", nil, nil))
}

func testAbandonedOrder(t testing.TB, w machinetest.World) {
	began, proceed, came := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	p := newPair(t, w, meta.Options{Maintenance: func(ctx context.Context, _ bool) error {
		close(began)
		<-proceed
		came <- ctx.Err()
		return nil
	}})
	c := p.as("admin", "ana")
	ctx, hangUp := context.WithCancel(within(t, p.client))
	answered := make(chan error, 1)
	order := map[string]any{"epoch": 1, "revision": 1, "issued_by": "admin/ana", "on": true}
	go func() { answered <- c.Call(ctx, "POST", "/maintenance", order, nil) }()
	<-began
	hangUp()
	require.Error(t, <-answered)
	close(proceed)
	require.NoError(t, <-came)
	// It counts as applied, as its issuer learns by sending it again.
	var a meta.Applied
	require.NoError(t, c.Call(within(t, p.client), "POST", "/maintenance", order, &a))
	require.False(t, a.Applied)
}

func testBuiltinOrders(t testing.TB, w machinetest.World) {
	keys, drained := make(chan []string, 1), make(chan struct{}, 1)
	p := newPair(t, w, meta.Options{
		Drain:      func() error { drained <- struct{}{}; return nil },
		Invalidate: func(_ context.Context, k []string) error { keys <- k; return nil },
	})
	c := p.as("seed", "seed-1")
	ctx := within(t, p.client)
	order := func(revision int, more map[string]any) map[string]any {
		o := map[string]any{"epoch": 3, "revision": revision, "issued_by": "seed/seed-1"}
		for k, v := range more {
			o[k] = v
		}
		return o
	}
	require.NoError(t, c.Call(ctx, "POST", "/invalidate", order(1, map[string]any{"keys": []string{"a", "b"}}), nil))
	require.Equal(t, []string{"a", "b"}, <-keys)
	require.Equal(t, 400, status(t, c.Call(ctx, "POST", "/invalidate", order(2, map[string]any{"keys": make([]string, 1001)}), nil)))
	require.NoError(t, c.Call(ctx, "POST", "/drain", order(3, nil), nil))
	<-drained
}
