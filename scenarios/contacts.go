package scenarios

import (
	"net/netip"
	"sync"
	"time"

	"github.com/espra/protoplex/scenarios/story"
)

// contacts are when machines of a kind were asked for something, and from which
// address: signs of life that cost those who ask nothing.
type contacts struct {
	mu  sync.Mutex
	all []contact
}

type contact struct {
	at   time.Duration
	from netip.Addr
}

func (c *contacts) note(at time.Duration, from netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = append(c.all, contact{at, from})
}

// by tells of the contacts of some machines, in order.
func (c *contacts) by(p *platform, machines []story.Machine, tell func(at time.Duration, name string)) {
	names := map[netip.Addr]string{}
	for _, m := range machines {
		names[p.addr(m.Name)] = m.Name
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range c.all {
		if name := names[k.from]; name != "" {
			tell(k.at, name)
		}
	}
}
