package cloudtest

import (
	"context"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/nodes"
)

func scalerTests() []Test {
	return []Test{
		{"a group tells its size", func(t testing.TB, w World) {
			s := openScaler(t, w)
			c := s.capacity()
			require.Equal(t, []int{1, 4, 2, 2}, []int{c.Min, c.Max, c.Desired, c.InService()})
			require.Len(t, c.Instances, 2)
			for _, i := range c.Instances {
				require.NotEmpty(t, i.ID)
				require.NotEmpty(t, i.Zone)
				require.True(t, i.Healthy)
				require.False(t, i.Protected)
			}
		}},
		{"a group grows, past its hook", func(t testing.TB, w World) {
			s := openScaler(t, w)
			require.NoError(t, s.SetDesired(s.ctx, 3))
			id := s.newcomer(s.capacity())
			require.NoError(t, s.Heartbeat(s.ctx, Hook, id))
			require.Equal(t, 2, s.capacity().InService(), "it waits")
			require.NoError(t, s.Complete(s.ctx, Hook, id, nodes.Continue))
			s.eventually(func(c nodes.Capacity) bool { return c.Desired == 3 && c.InService() == 3 && len(c.Instances) == 3 })
		}},
		{"an instance completes once", func(t testing.TB, w World) {
			s := openScaler(t, w)
			require.NoError(t, s.SetDesired(s.ctx, 3))
			id := s.newcomer(s.capacity())
			require.NoError(t, s.Complete(s.ctx, Hook, id, nodes.Continue))
			require.ErrorIs(t, s.Complete(s.ctx, Hook, id, nodes.Continue), nodes.ErrNoAction)
			require.ErrorIs(t, s.Heartbeat(s.ctx, Hook, id), nodes.ErrNoAction)
		}},
		{"an abandoned instance is replaced", func(t testing.TB, w World) {
			s := openScaler(t, w)
			before := s.capacity()
			require.NoError(t, s.SetDesired(s.ctx, 3))
			first := s.newcomer(before)
			require.NoError(t, s.Complete(s.ctx, Hook, first, nodes.Abandon))
			s.eventually(func(c nodes.Capacity) bool {
				return slices.ContainsFunc(c.Instances, func(i nodes.Instance) bool {
					return i.State == nodes.PendingWait && i.ID != first
				})
			})
		}},
		{"a group shrinks", func(t testing.TB, w World) {
			s := openScaler(t, w)
			require.NoError(t, s.SetDesired(s.ctx, 1))
			s.eventually(func(c nodes.Capacity) bool { return c.Desired == 1 && c.InService() == 1 && len(c.Instances) == 1 })
		}},
		{"bounds hold", func(t testing.TB, w World) {
			s := openScaler(t, w)
			for _, n := range []int{-1, 0, 5, 1 << 40} {
				require.ErrorIs(t, s.SetDesired(s.ctx, n), nodes.ErrOutOfBounds, "%d", n)
			}
			require.Equal(t, 2, s.capacity().Desired)
		}},
		{"who does not wait cannot complete", func(t testing.TB, w World) {
			s := openScaler(t, w)
			id := s.capacity().Instances[0].ID
			require.ErrorIs(t, s.Complete(s.ctx, Hook, id, nodes.Continue), nodes.ErrNoAction)
			require.ErrorIs(t, s.Heartbeat(s.ctx, Hook, id), nodes.ErrNoAction)
			require.ErrorIs(t, s.Complete(s.ctx, Hook, "i-0123456789abcdef0", nodes.Continue), nodes.ErrNoAction)
		}},
		{"an expired context is respected, by scalers", func(t testing.TB, w World) {
			s := openScaler(t, w)
			ctx, cancel := context.WithCancel(s.ctx)
			cancel()
			require.ErrorIs(t, s.SetDesired(ctx, 3), context.Canceled)
			_, err := s.Capacity(ctx)
			require.ErrorIs(t, err, context.Canceled)
			require.Equal(t, 2, s.capacity().Desired)
		}},
		{"strangers are denied, by scalers", func(t testing.TB, w World) {
			_, s := w.Strangers(t)
			require.ErrorIs(t, s.SetDesired(t.Context(), 3), nodes.ErrCloudDenied)
			_, err := s.Capacity(t.Context())
			require.ErrorIs(t, err, nodes.ErrCloudDenied)
		}},
	}
}

// scaler is a client in the hands of a test.
type scaler struct {
	nodes.Scaler
	t   testing.TB
	w   World
	ctx context.Context
}

func openScaler(t testing.TB, w World) *scaler { return &scaler{w.Scaler(t), t, w, t.Context()} }

func (s *scaler) capacity() nodes.Capacity {
	s.t.Helper()
	c, err := s.Capacity(s.ctx)
	require.NoError(s.t, err)
	return c
}

func (s *scaler) eventually(ok func(nodes.Capacity) bool) {
	s.t.Helper()
	s.w.Eventually(s.t, func() bool { return ok(s.capacity()) }, "the size of the group")
}

// newcomer waits for an instance that was not there before to wait at the hook.
func (s *scaler) newcomer(before nodes.Capacity) string {
	s.t.Helper()
	var id string
	s.eventually(func(c nodes.Capacity) bool {
		i := slices.IndexFunc(c.Instances, func(i nodes.Instance) bool {
			return i.State == nodes.PendingWait && !slices.ContainsFunc(before.Instances, func(o nodes.Instance) bool { return o.ID == i.ID })
		})
		if i >= 0 {
			id = c.Instances[i].ID
		}
		return i >= 0
	})
	return id
}
