package keep

import (
	"context"
	"fmt"
	"strings"

	"github.com/espra/protoplex/monitor/zone"
	"github.com/espra/protoplex/nodes"
)

// Outcome is how far a plan came at one provider.
type Outcome struct {
	Provider string
	Made, Of int          // changes
	Err      error        // why it stopped
	Untried  bool         // another provider failed first
	Servers  int          // that were asked what they show
	Behind   []Difference // what they did not show in time
}

// Done tells whether all is made and shown.
func (o Outcome) Done() bool { return o.Made == o.Of && o.Err == nil && len(o.Behind) == 0 }

// Apply makes the changes of a proposal, one provider after the other, and then
// reads back at their name servers. It stops at the first change that fails:
// what follows is not tried, so that providers differ as little as may be.
func (k *Keeper) Apply(ctx context.Context, p *Proposal) []Outcome {
	outcomes := make([]Outcome, len(k.providers))
	failed := false
	for i, plan := range p.Plans {
		o := &outcomes[i]
		o.Provider, o.Of, o.Untried = plan.Provider, len(plan.Changes), failed && len(plan.Changes) > 0
		if failed {
			continue
		}
		for _, c := range plan.Changes {
			if o.Err = k.change(ctx, k.providers[i], c); o.Err != nil {
				failed = true
				break
			}
			o.Made++
			if o.Made%20 == 0 && o.Made < o.Of {
				k.tell(fmt.Sprintf("%s: %d of %d changes made", o.Provider, o.Made, o.Of))
			}
		}
	}
	var servers []server
	for i, o := range outcomes {
		if o.Made > 0 && o.Err == nil {
			servers = append(servers, k.servers(i, changed(p.Plans[i]))...)
		}
	}
	k.await(ctx, servers)
	for _, s := range servers {
		outcomes[s.place].Servers++
		outcomes[s.place].Behind = append(outcomes[s.place].Behind, s.behind...)
	}
	return outcomes
}

func (k *Keeper) change(ctx context.Context, p provider, c zone.Change) error {
	ctx, cancel := nodes.Timeout(ctx, k.m, "change "+p.Name, callLimit)
	defer cancel()
	return c.Make(ctx, p.zone)
}

// changed are the sets that a plan changes, as they are to be.
func changed(p Plan) []set {
	touched := map[string]bool{}
	for _, c := range p.Changes {
		for _, r := range []zone.Record{c.Record, c.Was} {
			if r.Name != "" && !strings.HasPrefix(r.Name, markLabel) {
				touched[r.Name+" "+r.Type] = true
			}
		}
	}
	return sets(p.wanted, touched)
}

// await asks name servers until each shows what it is to show, or time is up.
func (k *Keeper) await(ctx context.Context, servers []server) {
	start := k.m.Elapsed()
	nodes.FanOut(ctx, k.m, "read back", places(len(servers)), func(ctx context.Context, i int) {
		s := &servers[i]
		for {
			if s.behind = k.compare(ctx, s); len(s.behind) == 0 {
				k.tell(fmt.Sprintf("%s: %s shows it", s.provider, s.address))
				return
			}
			if k.m.Elapsed()-start >= k.config.ReadBack ||
				nodes.Sleep(ctx, k.m, "look again "+s.provider+" "+s.address, lookPause) != nil {
				return
			}
		}
	})
}
