package scenarios

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"time"

	"github.com/espra/protoplex/nodes"
	"github.com/espra/protoplex/scenarios/oracle"
	"github.com/espra/protoplex/scenarios/story"
)

// runControl is a site of somebody else, which practically always answers.
func (p *platform) runControl(ctx context.Context, m nodes.Machine, _ []string) error {
	l, err := m.Listen("tcp", ":80")
	if err != nil {
		return err
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.looked(r.RemoteAddr)
		fmt.Fprintln(w, "It works!")
	}), ReadHeaderTimeout: 10 * time.Second}
	stop := context.AfterFunc(ctx, func() { s.Close() })
	defer stop()
	return s.Serve(l)
}

func (p *platform) looked(remote string) {
	from, err := netip.ParseAddrPort(remote)
	if err != nil {
		return
	}
	p.looks.note(p.world.Elapsed(), from.Addr())
}

// seen gives the looks of the vantages at the controls, in order. They ask them in
// every round of their probes: the one sign of life of monitors that have nothing to
// tell.
func (p *platform) seen() []oracle.Look {
	var all []oracle.Look
	p.looks.by(p, p.with(story.RoleVPS, nil), func(at time.Duration, name string) {
		all = append(all, oracle.Look{At: at, Vantage: name})
	})
	return all
}
