package scenarios

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/espra/protoplex/nodes"
	"github.com/espra/protoplex/nodes/meta"
	"github.com/espra/protoplex/nodes/meta/ca"
	"github.com/espra/protoplex/scenarios/story"
	"github.com/espra/protoplex/sim"
)

// orderDrain has an operator order nodes to drain, from the machine of their Seed:
// meta ports are reached from within a cell only. Each event has an operator of its
// own, who counts the strikes.
func (p *platform) orderDrain(s *strike) {
	var ordered atomic.Uint64
	strikes := uint64(0)
	s.begin = func() {
		strikes++
		revision := strikes
		for _, m := range p.among(s.event) {
			if p.cells[m.Region] == nil {
				continue
			}
			desk := p.hosts[p.inRegion(story.RoleSeed, m.Region)[0].Name]
			desk.Start("operator", func(proc *sim.Process) error {
				machine := newMachine(proc, nil)
				if err := p.drainByHand(proc.Context(), machine, s.event, m, revision, &ordered); err != nil {
					machine.Log().Info("operator gave up", "node", m.Name, "error", err)
				}
				return nil
			})
		}
	}
	s.touched = ordered.Load
}

// drainByHand reads a node's status and orders it to drain, in the epoch that it
// told.
func (p *platform) drainByHand(ctx context.Context, m nodes.Machine, e story.Event, node story.Machine, revision uint64, ordered *atomic.Uint64) error {
	a := p.cells[node.Region]
	from, until := p.validity()
	cert, err := a.Node(entropy("operator "+e.ID), meta.RoleAdmin, e.ID, from, until)
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	id, err := ca.NewIdentity(cert, a.RootsPEM())
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	client := meta.NewClient(m, id, p.addr(node.Name).String()+meta.Listen, ca.Want{Name: node.Name})
	defer client.Close()
	var status meta.Status
	if err := client.Call(ctx, "GET", "/status", nil, &status); err != nil {
		return fmt.Errorf("read status: %w", err)
	}
	if err := nodes.Sleep(ctx, m, "operator thinks/"+node.Name, e.Params.Duration("thinks")); err != nil {
		return err
	}
	ordered.Add(1)
	order := meta.Order{Epoch: status.Epoch, Revision: revision, IssuedBy: id.Name().Short()}
	if err := client.Call(ctx, "POST", "/drain", order, nil); err != nil {
		return fmt.Errorf("order: %w", err)
	}
	return nil
}
