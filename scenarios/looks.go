package scenarios

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/espra/protoplex/nodes"
	"github.com/espra/protoplex/scenarios/oracle"
	"github.com/espra/protoplex/scenarios/story"
)

// looks are what the controls saw of the vantages, which ask them in every round
// of their probes: the one sign of life of monitors that have nothing to tell.
type looks struct {
	mu  sync.Mutex
	all []look
}

type look struct {
	at   time.Duration
	from netip.Addr
}

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
	p.looks.mu.Lock()
	defer p.looks.mu.Unlock()
	p.looks.all = append(p.looks.all, look{p.world.Elapsed(), from.Addr()})
}

// seen gives the looks of the vantages, in order.
func (p *platform) seen() []oracle.Look {
	names := map[netip.Addr]string{}
	for _, m := range p.with(story.RoleVPS, nil) {
		names[p.addr(m.Name)] = m.Name
	}
	p.looks.mu.Lock()
	defer p.looks.mu.Unlock()
	var all []oracle.Look
	for _, l := range p.looks.all {
		if name := names[l.from]; name != "" {
			all = append(all, oracle.Look{At: l.at, Vantage: name})
		}
	}
	return all
}
