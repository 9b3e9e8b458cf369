package scenarios

import (
	"context"
	"crypto/x509"
	"errors"
	"slices"
	"time"

	"github.com/espra/protoplex/monitor"
	"github.com/espra/protoplex/nodes"
	"github.com/espra/protoplex/scenarios/story"
	"github.com/espra/protoplex/scenarios/workload"
	"github.com/espra/protoplex/sim"
)

// The people who are paged: in which order, and the phones of those who answer.

const (
	secretFile = "/etc/protoplex/monitor.secret" // on the VPSes, where somebody may acknowledge
	secret     = "the secret of all vantages"
)

// involved says that the monitors are told more of people than their numbers.
func (p *platform) involved() bool {
	t := p.story.Topology
	return t.Escalates() || t.Acknowledged()
}

// people puts them into the configuration of a monitor.
func (p *platform) people(c *monitor.Config) {
	levels := map[time.Duration][]string{}
	var after []time.Duration
	for _, a := range p.story.Topology.Admins {
		c.Admins = append(c.Admins, monitor.Admin{Name: a.Name, Phone: p.phone(a.Name)})
		if levels[a.After] == nil {
			after = append(after, a.After)
		}
		levels[a.After] = append(levels[a.After], a.Name)
	}
	if !p.involved() {
		return
	}
	// The link leads to the vantages themselves, whose addresses are those of the apex.
	c.Secret, c.Status = secretFile, "https://"+story.Apex+c.Listen+"/i/"
	slices.Sort(after)
	for _, d := range after {
		c.Escalate = append(c.Escalate, monitor.Level{After: d, Admins: levels[d]})
	}
}

// phones take texts to the admins who acknowledge them.
type phones struct {
	texts map[string]chan string // by number
	sent  map[string]string      // what has been accepted and has not arrived, by id
}

// maxUnread bounds the texts that wait for somebody to look at them.
const maxUnread = 100

func (p *platform) newPhones() phones {
	all := phones{map[string]chan string{}, map[string]string{}}
	for _, a := range p.story.Topology.Admins {
		if a.Acknowledges > 0 {
			all.texts[p.phone(a.Name)] = make(chan string, maxUnread)
		}
	}
	return all
}

// hear is called for every event of the world: a text reaches a phone by no network
// of ours.
func (p phones) hear(e sim.Event) {
	texts := p.texts[e.Get("to")]
	if texts == nil {
		return
	}
	switch e.Kind {
	case logEvent + "sms accepted":
		p.sent[e.Get("id")] = e.Get("body")
	case logEvent + "sms not delivered":
		delete(p.sent, e.Get("id"))
	case logEvent + "sms delivered", logEvent + "sms delivered late":
		select {
		case texts <- p.sent[e.Get("id")]:
		default: // the phone is full
		}
		delete(p.sent, e.Get("id"))
	}
}

// runPhone is the phone of an admin.
func (p *platform) runPhone(ctx context.Context, m nodes.Machine, args []string) error {
	admins := p.story.Topology.Admins
	i := slices.IndexFunc(admins, func(a story.Admin) bool { return a.Phone() == m.Host().Name })
	roots := x509.NewCertPool()
	if i < 0 || !roots.AppendCertsFromPEM(p.ca.RootsPEM()) {
		return errors.New("a phone needs an admin, and roots to trust")
	}
	return workload.Role(workload.Phone{
		Owner: admins[i].Name, Answers: admins[i].Acknowledges, Texts: p.phones.texts[p.phone(admins[i].Name)], Roots: roots,
	})(ctx, m, args)
}
