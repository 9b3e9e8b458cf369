package scenarios

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/espra/protoplex/fakes/dns"
	"github.com/espra/protoplex/monitor"
	"github.com/espra/protoplex/monitor/probe"
	"github.com/espra/protoplex/scenarios/story"
	"github.com/espra/protoplex/sim"
)

// nameFaults are what the faults of names change while a world runs.
type nameFaults struct {
	keeps map[string]*keeping // resolvers that may come to ignore times to live, by machine; never changed

	mu    sync.Mutex
	wrong []*wrongAnswers
	lags  []*lag
}

// keeping is a resolver that keeps answers for too long, for now.
type keeping struct {
	keeps atomic.Int64 // how long, in nanoseconds; 0 while it keeps to times to live
	stale atomic.Uint64
	want  greatest[time.Duration] // of the faults that last; the world's alone
}

// overstay tells whether an answer that has ended is given all the same.
func (k *keeping) overstay(age time.Duration) bool {
	if int64(age) >= k.keeps.Load() {
		return false
	}
	k.stale.Add(1)
	return true
}

// keepings are those of all resolvers that the story's faults strike.
func (p *platform) keepings() map[string]*keeping {
	all := map[string]*keeping{}
	for _, e := range p.story.Timeline {
		if e.Fault != "stale-resolver" {
			continue
		}
		for _, name := range e.On.Match(p.machines) {
			all[name] = &keeping{}
		}
	}
	return all
}

func (p *platform) staleResolvers(s *strike) {
	struck := s.event.On.Match(p.machines)
	keeps := s.event.Params.Duration("keeps")
	s.begin = func() {
		for _, name := range struck {
			k := p.naming.keeps[name]
			k.keeps.Store(int64(k.want.begin(keeps)))
		}
	}
	s.heal = func() {
		for _, name := range struck {
			k := p.naming.keeps[name]
			k.keeps.Store(int64(k.want.end(keeps)))
		}
	}
	s.touched = func() uint64 {
		var sum uint64
		for _, name := range struck {
			sum += p.naming.keeps[name].stale.Load()
		}
		return sum
	}
}

// wrongAnswers are what some authorities say about a zone or a name.
type wrongAnswers struct {
	role, provider string // of the servers
	name           string // and what is under it, fully qualified
	fault          dns.Fault
	touched        uint64
}

// answerOf is what is wrong with a server's answer about a name: a [dns.Faults].
func (f *nameFaults) answerOf(m story.Machine, name string) dns.Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, w := range f.wrong {
		if w.role == m.Role && w.provider == m.Provider && (name == w.name || strings.HasSuffix(name, "."+w.name)) {
			w.touched++
			return w.fault
		}
	}
	return dns.NoFault
}

// faults are those of the answers of all authorities.
func (p *platform) faults() dns.Faults {
	machines := map[string]story.Machine{}
	for _, m := range p.machines {
		machines[m.Name] = m
	}
	return dns.Faults{
		Answer: func(server, name string) dns.Fault { return p.naming.answerOf(machines[server], name) },
		Lag:    func(server string) time.Duration { return p.naming.lagOf(machines[server].Provider) },
	}
}

// lag is how much longer a provider takes than usual, for what it is asked to do.
type lag struct {
	provider string
	takes    time.Duration
	touched  uint64
}

// lagOf is how much longer a provider's authorities take to serve a change.
func (f *nameFaults) lagOf(provider string) (sum time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, l := range f.lags {
		if l.provider == provider {
			l.touched++
			sum += l.takes
		}
	}
	return sum
}

func (p *platform) spreadSlowly(s *strike) {
	p.lagBehind(s, &lag{provider: s.event.On.Name, takes: s.event.Params.Duration("takes")})
}

// lagBehind prepares a fault that is a lag.
func (p *platform) lagBehind(s *strike, l *lag) {
	f := &p.naming
	s.begin = func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.lags = append(f.lags, l)
	}
	s.heal = func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.lags = slices.DeleteFunc(f.lags, func(other *lag) bool { return other == l })
	}
	s.touched = func() uint64 {
		f.mu.Lock()
		defer f.mu.Unlock()
		return l.touched
	}
}

func (p *platform) answerWrongly(s *strike, fault dns.Fault) {
	w := &wrongAnswers{role: story.RoleNameServer, provider: s.event.On.Name, name: story.Apex + ".", fault: fault}
	if s.event.On.Kind == story.ByRegion {
		w.role, w.provider, w.name = story.RoleCloudDNS, "", balancerName(s.event.On.Name)+"."
	}
	p.answer(s, w)
}

// answer prepares a fault of wrong answers.
func (p *platform) answer(s *strike, w *wrongAnswers) {
	f := &p.naming
	s.begin = func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.wrong = append(f.wrong, w)
	}
	s.heal = func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.wrong = slices.DeleteFunc(f.wrong, func(other *wrongAnswers) bool { return other == w })
	}
	s.touched = func() uint64 {
		f.mu.Lock()
		defer f.mu.Unlock()
		return w.touched
	}
}

// certificates are the targets of a monitor that wants all public certificates to
// have so many days left.
func (p *platform) certificates(days int) []monitor.Target {
	var all []monitor.Target
	add := func(name, server, host string) {
		all = append(all, monitor.Target{Target: probe.Target{Name: name + "-cert", Kind: "certificate", Server: server, Host: host, Days: days}})
	}
	for _, r := range p.story.Topology.Regions {
		add(r.Name, balancerName(r.Name)+":443", story.WWW)
	}
	for _, m := range p.with(story.RoleVPS, nil) {
		add(m.Name, p.addr(m.Name).String()+":443", story.Apex)
	}
	return all
}

// certified are the names in the public certificate of a machine, none if it has
// no such certificate.
func (p *platform) certified(m story.Machine) []string {
	switch m.Role {
	case story.RoleProxy:
		return p.hostNames()
	case story.RoleVPS:
		return []string{story.Apex, m.Name}
	}
	return nil
}

// queries matches what is sent to the name servers of a provider, by some or by
// all but the provider itself.
func (p *platform) queries(e story.Event) func(from, to *sim.Machine) bool {
	servers, own := map[*sim.Machine]bool{}, p.set(e.On)
	for _, m := range p.with(story.RoleNameServer, func(m story.Machine) bool { return m.Provider == e.On.Name }) {
		servers[p.hosts[m.Name]] = true
	}
	askers := map[*sim.Machine]bool(nil)
	if from := e.Params.Selector("from"); from != nil {
		askers = p.set(from)
	}
	return func(from, to *sim.Machine) bool {
		return servers[to] && !own[from] && (askers == nil || askers[from])
	}
}
