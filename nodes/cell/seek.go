package cell

import (
	"context"
	"net/http"
	"time"

	"github.com/espra/protoplex/nodes"
	"github.com/espra/protoplex/nodes/meta"
	"github.com/espra/protoplex/nodes/meta/ca"
)

// A frozen Seed keeps its nodes: while nobody reaches the lease store there is no
// better one. But if it is alone in that, another leads after a while, and it does
// not hear of it. So its nodes ask the others meanwhile, often enough to be there
// before that one has settled, and no oftener: while the store is gone for all, it is
// in vain.

const (
	seekEvery = 2 * Heartbeat
	seekTime  = 2 * time.Second // for the answer of one Seed
)

// seek ends the session when its Seed is frozen and another one leads.
func (s *session) seek(ctx context.Context) {
	nodes.Every(ctx, s.l.m, "cell/seek", seekEvery, func(ctx context.Context) {
		for _, seed := range s.l.o.Seeds {
			if s.word() != Frozen || ctx.Err() != nil {
				return
			}
			if seed.Name == s.seed || !s.l.leads(ctx, seed) {
				continue
			}
			s.mu.Lock()
			s.better = seed.Name
			s.mu.Unlock()
			s.stream.Close(errFrozen.Error())
			return
		}
	})
}

// leads asks a Seed whether it does, under a later epoch than any that was heard
// of. One that cannot be asked does not.
func (l *Link) leads(ctx context.Context, seed Seed) bool {
	ctx, cancel := nodes.Timeout(ctx, l.m, "cell/seek/"+seed.Name, seekTime)
	defer cancel()
	c := meta.NewClient(l.m, l.o.Identity, seed.Addr, ca.Want{Roles: []string{RoleSeed}, Name: seed.Name})
	defer c.Close()
	var status struct {
		Facts struct {
			Seed struct {
				State string
				Epoch uint64
			}
		}
	}
	if err := c.Call(ctx, http.MethodGet, "/status", nil, &status); err != nil {
		l.m.Log().Debug("seed not asked", "seed", seed.Name, "reason", err)
		return false
	}
	at := status.Facts.Seed
	return (at.State == Leading || at.State == Settling) && at.Epoch > l.o.Orders.Epoch()
}
