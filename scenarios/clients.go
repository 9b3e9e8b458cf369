package scenarios

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/espra/protoplex/nodes"
	"github.com/espra/protoplex/scenarios/story"
	"github.com/espra/protoplex/scenarios/workload"
	"github.com/espra/protoplex/sim"
)

// clientsStart is when the clients come: the platform boots first, and the first
// leader of a cell takes a lease's time to learn whom it leads.
func (p *platform) clientsStart() time.Duration {
	if len(p.cells) > 0 {
		return 20 * time.Second
	}
	return time.Second
}

// maxRooms bounds the placement keys that the clients of a live host share.
const maxRooms = 24

// startClients puts the workload's clients on their machines. What they see goes
// to the log that it returns.
func (p *platform) startClients() (*workload.Log, error) {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(p.ca.RootsPEM()) {
		return nil, errors.New("the roots are no certificates")
	}
	log := workload.NewLog(p.world.Elapsed)
	rooms := p.rooms()
	channels := p.channels()
	published := 0
	for _, g := range p.story.Workload {
		for _, m := range g.Machines() {
			if g.Publishers > 0 {
				host, n := p.publishesTo(g, published)
				published++
				c := workload.Publisher{ID: m.Name, Life: -1, Host: host, Key: room(n % rooms[host]), Channels: channelNames(channels), Size: messageSize(g),
					Roots: roots, Pace: workload.Pace{Period: every(g, story.Publish)}, Recorder: log}
				p.roles["client "+m.Name] = func(ctx context.Context, m nodes.Machine, args []string) error {
					c.Life++ // one process comes after the other
					return workload.Role(c)(ctx, m, args)
				}
			} else {
				p.roles["client "+m.Name] = workload.Role(p.browser(g, m, rooms[g.Home], roots, log))
			}
			p.run(m.Name, "resolver")
			p.hosts[m.Name].OnBoot(func(host *sim.Machine) {
				p.world.After(p.clientsStart(), func() {
					proc := startRole(host, "client "+host.Name(), p.roles, nil)
					go func() {
						<-proc.Done()
						log.Gone(host.Name())
					}()
				})
			})
		}
	}
	return log, nil
}

func (p *platform) browser(g story.Group, m story.Machine, rooms int, roots *x509.CertPool, log *workload.Log) workload.Browser {
	b := workload.Browser{ID: m.Name, Home: g.Home, Roots: roots, Recorder: log}
	for _, a := range g.Do {
		switch a.Verb {
		case story.Load:
			b.Page = "https://" + story.Apex + "/"
			b.Pace.Period = a.Every
		case story.Subscribe:
			n := p.world.Choose("room of "+m.Name, 0) % uint64(rooms)
			b.Tunnels = []workload.Tunnel{{Key: room(int(n)), Channels: channelNames(a.Channels)}}
		}
	}
	return b
}

func every(g story.Group, v story.Verb) time.Duration {
	for _, a := range g.Do {
		if a.Verb == v {
			return a.Every
		}
	}
	return 0
}

// messageSize is how many bytes each message of a group's publishers has at least.
func messageSize(g story.Group) int {
	for _, a := range g.Do {
		if a.Verb == story.Publish {
			return a.Size * 1000
		}
	}
	return 0
}

// publishesTo is the live host of the n-th publisher of a story, and which
// publisher of that host it is.
func (p *platform) publishesTo(g story.Group, n int) (host string, nth int) {
	if g.Home != "" {
		return g.Home, n
	}
	live := p.hostNames()[1:] // without www
	return live[n%len(live)], n / len(live)
}

// rooms says how many keys each live host has: one for each of its publishers,
// so that every subscriber has something to hear.
func (p *platform) rooms() map[string]int {
	rooms := map[string]int{}
	for _, host := range p.hostNames() {
		rooms[host] = 1
	}
	published := 0
	for _, g := range p.story.Workload {
		for range g.Publishers {
			host, n := p.publishesTo(g, published)
			published++
			rooms[host] = max(rooms[host], min(n+1, maxRooms))
		}
	}
	return rooms
}

// channels is how many channels of a room are in use.
func (p *platform) channels() int {
	most := 1
	for _, g := range p.story.Workload {
		for _, a := range g.Do {
			most = max(most, a.Channels)
		}
	}
	return most
}

func room(n int) string { return fmt.Sprintf("room-%d", n+1) }

func channelNames(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("c%d", i+1)
	}
	return names
}
