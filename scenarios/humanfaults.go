package scenarios

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/espra/protoplex/fakes/dns"
	"github.com/espra/protoplex/monitor/home"
	"github.com/espra/protoplex/monitor/zone"
	"github.com/espra/protoplex/nodes"
	"github.com/espra/protoplex/scenarios/story"
	"github.com/espra/protoplex/sim"
)

// restart tells the nodes among the machines to terminate, one after another;
// init starts them again.
func (p *platform) restart(s *strike) {
	told := uint64(0)
	every := s.event.Params.Duration("every")
	s.begin = func() {
		n := 0
		for _, m := range p.machines {
			process := m.Role
			switch m.Role {
			case story.RoleProxy, story.RoleLive, story.RoleSeed:
			case story.RoleUnderstudy:
				process = story.RoleSeed
			default:
				continue
			}
			if !slices.Contains(s.event.On.Match(p.machines), m.Name) {
				continue
			}
			p.world.After(time.Duration(n)*every, func() {
				for _, proc := range p.hosts[m.Name].Processes() {
					if proc.Name() == process && proc.Signal(string(nodes.Terminate)) == nil {
						told++
					}
				}
			})
			n++
		}
	}
	s.touched = func() uint64 { return told }
}

// expireDomain has com deny that there is the platform's domain.
func (p *platform) expireDomain(s *strike) {
	p.answer(s, &wrongAnswers{role: story.RoleCom, name: story.Apex + ".", fault: dns.NameError})
}

// pushBadly puts a broken file in the place of another on off-site machines, and
// the right one back. Only who starts reads its configuration.
func (p *platform) pushBadly(s *strike) {
	machines := p.selected(s.event.On)
	file := map[string]string{"config": confFile, "certificate": certFile}[s.event.Params.Choice("file")]
	pushed := uint64(0)
	count := func(m *sim.Machine, err error) {
		if err != nil {
			p.world.Emit("file not pushed", sim.Field{Key: "on", Value: m.Name()}, sim.Field{Key: "error", Value: err.Error()})
			return
		}
		pushed++
	}
	s.begin = func() {
		for _, m := range machines {
			data, err := p.right(m, file)
			if err != nil {
				count(m, err)
				continue
			}
			if file != confFile {
				count(m, p.scribble(m, file, s.event.ID, data[:len(data)/2])) // the transfer was cut off
				continue
			}
			count(m, p.scribble(m, file, s.event.ID, bytes.Replace(data, []byte("probe:"), []byte("prob:"), 1)))
			for _, proc := range m.Processes() {
				if proc.Name() == "monitor" {
					_ = proc.Signal(string(nodes.Terminate)) // one that has ended starts anyway
				}
			}
		}
	}
	s.heal = func() {
		for _, m := range machines {
			count(m, p.erase(m, file, s.event.ID, nil))
		}
	}
	s.touched = func() uint64 { return pushed }
}

func (p *platform) readFile(m *sim.Machine, name string) ([]byte, error) {
	return nodes.ReadFile(disk{m.Disk()}, name, 1<<20)
}

// deleteRecords has somebody at a DNS provider's console delete what the monitors
// keep there, and put back what is still missing at the end.
func (p *platform) deleteRecords(s *strike) {
	only := s.event.Params.Choice("only")
	var (
		mu      sync.Mutex
		gone    []zone.Record // since the last strike
		deleted uint64
	)
	s.begin = func() {
		mu.Lock()
		defer mu.Unlock()
		gone = nil
		p.console(s.event, func(ctx context.Context, z zone.Zone) error {
			records, err := z.Records(ctx)
			if err != nil {
				return err
			}
			for _, r := range records {
				if what := p.kept(r); what == "" || only != "" && what != only {
					continue
				}
				if err := z.Delete(ctx, r.ID); err != nil {
					return err
				}
				mu.Lock()
				deleted++
				gone = append(gone, r)
				mu.Unlock()
			}
			return nil
		})
	}
	s.heal = func() {
		mu.Lock()
		missing := slices.Clone(gone)
		mu.Unlock()
		p.console(s.event, func(ctx context.Context, z zone.Zone) error {
			records, err := z.Records(ctx)
			if err != nil {
				return err
			}
			for _, r := range missing {
				if slices.ContainsFunc(records, func(o zone.Record) bool { return o.Name == r.Name && o.Type == r.Type }) {
					continue
				}
				if err := z.Create(ctx, r); err != nil {
					return err
				}
			}
			return nil
		})
	}
	s.touched = func() uint64 {
		mu.Lock()
		defer mu.Unlock()
		return deleted
	}
}

// kept says what of the monitors' a record is: "homes", "addresses", or "".
func (p *platform) kept(r zone.Record) string {
	for _, host := range p.hostNames() {
		mark := home.Host{Name: host}.Mark()
		switch {
		case r.Name == mark && r.Type == "TXT":
			return "homes"
		case r.Name == host && r.Type == "CNAME":
			return "addresses"
		}
	}
	return ""
}

// again is after how long somebody tries once more what a console would not do.
const again = 10 * time.Second

// console has somebody do something at a DNS provider's console, again until it
// works. The console asks the provider's API as everybody does.
func (p *platform) console(e story.Event, do func(context.Context, zone.Zone) error) {
	api := p.hosts[e.On.Name+"-api"]
	api.Start("console", func(proc *sim.Process) error {
		m := newMachine(proc, nil)
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(p.ca.RootsPEM())
		client := &http.Client{Transport: &http.Transport{
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return m.DialContext(ctx, network, net.JoinHostPort(api.Addr().String(), "443"))
			},
			DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots, Time: m.Now},
			TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{},
		}}
		url := "https://api." + providerDomain(e.On.Name)
		z := zone.Zone(zone.NewLinode(client, url, dnsToken, story.Apex))
		if e.On.Name == "digitalocean" {
			var err error
			if z, err = zone.NewDigitalOcean(client, url, dnsToken, story.Apex); err != nil {
				return err
			}
		}
		for {
			err := func() error {
				ctx, cancel := nodes.Timeout(proc.Context(), m, "console", again)
				defer cancel()
				return do(ctx, z)
			}()
			if err == nil {
				return nil
			}
			m.Log().Info("console failed", "error", err.Error())
			if nodes.Sleep(proc.Context(), m, "console", again) != nil {
				return nil
			}
		}
	})
}
