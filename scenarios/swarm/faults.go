package swarm

import (
	"fmt"
	"slices"
	"time"

	"github.com/espra/protoplex/scenarios/story"
)

const (
	maxFaults = 6
	tries     = 12 // at a fault that stays within the budget
)

// faults makes those of the seed: of some families, at random times. Faults that
// the reader of stories refuses are left out, and those that would leave the budget
// with those that there are already.
func (g generator) faults(s *story.Story) []story.Event {
	machines := s.Machines()
	var known []impairment
	for _, e := range s.Timeline {
		known = append(known, impairments(e, machines, s.Lasts)...)
	}
	vocabulary := g.vocabulary(s.Topology)
	var all []story.Event
	for n := range 1 + g.below(maxFaults, "faults") {
		for try := range tries {
			r := roll{g.dice, fmt.Sprintf("fault %d, try %d", n, try)}
			e, ok := r.event(vocabulary[r.below(len(vocabulary), "which")], s, machines)
			if !ok || slices.ContainsFunc(all, func(o story.Event) bool { return same(e, o) }) {
				continue
			}
			e.ID = freeID(slices.Concat(s.Timeline, all), e.Fault, n+1)
			if !readable(s, e) {
				continue
			}
			more := append(slices.Clone(known), impairments(e, machines, 0)...)
			if !g.options.Beyond && Declared.exceeds(s.Topology, more) != "" {
				continue
			}
			known, all = more, append(all, e)
			break
		}
	}
	return all
}

// readable tells whether a story can have a fault, by the rules for those that
// people write.
func readable(s *story.Story, e story.Event) bool {
	alone := story.Story{Title: "one fault", Text: "It strikes.", Starts: starts, Lasts: 24 * time.Hour,
		Topology: s.Topology, Workload: s.Workload, Timeline: []story.Event{e},
		Expect: story.Expect{Always: []story.Expectation{{Oracle: "dns-points-somewhere"}}}}
	_, err := story.Parse("one-fault.yaml", story.Format(&alone))
	return err == nil
}

// same tells whether two faults do the same to the same at one time: the second
// would do nothing.
func same(a, b story.Event) bool {
	return a.Fault == b.Fault && a.On.String() == b.On.String() && a.At <= b.At+b.For && b.At <= a.At+a.For
}

// freeID is the name of the n-th fault, or of a later one if that is taken.
func freeID(taken []story.Event, fault string, n int) string {
	for ; ; n++ {
		id := fmt.Sprintf("%s-%d", fault, n)
		if !slices.ContainsFunc(taken, func(e story.Event) bool { return e.ID == id }) {
			return id
		}
	}
}

// vocabulary gives the faults of some families.
func (g generator) vocabulary(t story.Topology) []story.Fault {
	for n := 0; ; n++ {
		var all []story.Fault
		for _, f := range story.Faults {
			if g.oneIn(2, "family %s, try %d", f.Family, n) {
				all = append(all, f)
			}
		}
		if len(all) > 0 {
			return all
		}
	}
}

// roll are the dice of one try at one fault.
type roll struct {
	dice
	name string
}

func (r roll) below(n int, what string) int { return r.dice.below(n, "%s: %s", r.name, what) }

func pick[T any](r roll, what string, from []T) (T, bool) {
	if len(from) == 0 {
		var none T
		return none, false
	}
	return from[r.below(len(from), what)], true
}

// event makes a fault. It reports false where there is nothing to strike.
func (r roll) event(f story.Fault, s *story.Story, machines []story.Machine) (story.Event, bool) {
	e := story.Event{Fault: f.Name, Times: 1, At: r.between(quiet, quiet+chaos-20*time.Second, "%s: at", r.name)}
	e.Latest = e.At
	if f.For != story.Never {
		e.For = r.between(5*time.Second, quiet+chaos-e.At, "%s: for", r.name)
		e.Longest = e.For
	}
	kind, _ := pick(r, "kind", f.On)
	on, ok := r.target(kind, f, s, machines)
	if !ok {
		return e, false
	}
	e.On = on
	for _, p := range f.Params {
		if !p.Required && r.below(2, p.Name+" given") == 0 {
			continue
		}
		v, ok := r.value(f.Name, p, s)
		switch {
		case ok:
			e.Params = append(e.Params, v)
		case p.Required:
			return e, false
		}
	}
	return e, true
}

// target chooses what a fault strikes: of which sort first, so that what there are
// few of is struck as often as what there are many of.
func (r roll) target(kind story.Kind, f story.Fault, s *story.Story, machines []story.Machine) (*story.Selector, bool) {
	machines = slices.DeleteFunc(slices.Clone(machines), func(m story.Machine) bool {
		// Nobody starts the program of a client again, and who is gone sees nothing.
		gone := m.Group != "" && f.Family == story.Process && f.For == story.Never
		roles, some := actsOn[f.Name]
		return gone || some && !slices.Contains(roles, m.Role)
	})
	var all []story.Selector
	felt := func(names []string) bool {
		return slices.ContainsFunc(machines, func(m story.Machine) bool {
			return slices.Contains(names, m.Name) && (f.Roles == nil || slices.Contains(f.Roles, m.Role))
		})
	}
	add := func(x story.Selector) {
		if felt(x.Match(machines)) && !slices.ContainsFunc(all, func(y story.Selector) bool { return x.String() == y.String() }) {
			all = append(all, x)
		}
	}
	switch kind {
	case story.ByLink:
		all = links(s)
	case story.ByRole:
		for _, m := range machines {
			add(story.Selector{Kind: kind, Name: m.Role, In: m.Zone})
			add(story.Selector{Kind: kind, Name: m.Role, In: m.Region})
		}
	default:
		for _, m := range machines {
			if m.Standby {
				continue
			}
			name := map[story.Kind]string{
				story.ByRegion: m.Region, story.ByZone: m.Zone, story.ByMachine: m.Name, story.ByProvider: m.Provider, story.ByClients: m.Group,
			}[kind]
			if kind == story.ByVPS && m.Role == story.RoleVPS {
				name = m.Name
			}
			if kind == story.ByProvider && f.Providers != nil && !slices.Contains(f.Providers, name) {
				continue
			}
			if name != "" {
				add(story.Selector{Kind: kind, Name: name})
			}
		}
	}
	var sorts []string
	for _, x := range all {
		if s := sort(x, machines); !slices.Contains(sorts, s) {
			sorts = append(sorts, s)
		}
	}
	chosen, _ := pick(r, "sort of target", sorts)
	all = slices.DeleteFunc(all, func(x story.Selector) bool { return sort(x, machines) != chosen })
	x, ok := pick(r, "target", all)
	return &x, ok
}

// sort is what two selectors have in common that differ only in which machines of
// a role they mean, or which zone, region or client.
func sort(x story.Selector, machines []story.Machine) string {
	switch x.Kind {
	case story.ByLink:
		return sort(*x.From, machines) + " " + sort(*x.To, machines)
	case story.ByMachine:
		return machines[slices.IndexFunc(machines, func(m story.Machine) bool { return m.Name == x.Name })].Role
	case story.ByRole:
		return x.Name
	}
	return string(x.Kind)
}

// actsOn are the roles of which a fault does something to the machines, where that
// is not so of all. The table is read-only.
var actsOn = map[string][]string{
	"restarted":           {story.RoleProxy, story.RoleLive, story.RoleSeed, story.RoleUnderstudy},
	"checks-all-well":     {story.RoleBalancer},
	"checks-all-unwell":   {story.RoleBalancer},
	"balancer-state-lost": {story.RoleAWS},
	"api-errors":          {story.RoleAPI, story.RoleAWS, story.RoleStore},
	"api-answer-lost":     {story.RoleAPI, story.RoleAWS, story.RoleStore},
	"api-hangs":           {story.RoleAPI, story.RoleAWS, story.RoleStore},
}

// links are those along which a platform comes apart. What is at the first end
// counts as impaired.
func links(s *story.Story) []story.Selector {
	var all []story.Selector
	link := func(a, b story.Selector) {
		all = append(all,
			story.Selector{Kind: story.ByLink, From: &a, To: &b},
			story.Selector{Kind: story.ByLink, From: &a, To: &b, OneWay: true})
	}
	t := s.Topology
	for _, v := range t.VPS {
		vps := story.Selector{Kind: story.ByVPS, Name: v}
		for _, r := range t.Regions {
			link(vps, story.Selector{Kind: story.ByRegion, Name: r.Name})
		}
		for _, other := range t.VPS {
			if other != v {
				link(vps, story.Selector{Kind: story.ByVPS, Name: other})
			}
		}
		for _, p := range t.DNS.Providers {
			link(vps, story.Selector{Kind: story.ByProvider, Name: p})
		}
		link(vps, story.Selector{Kind: story.ByRole, Name: story.RoleControl})
	}
	for i, r := range t.Regions {
		zones := r.ZoneNames()
		for _, a := range zones {
			for _, b := range zones {
				if a != b {
					link(story.Selector{Kind: story.ByZone, Name: a}, story.Selector{Kind: story.ByZone, Name: b})
				}
			}
		}
		for _, m := range t.Machines() {
			if m.Region != r.Name {
				continue
			}
			node := story.Selector{Kind: story.ByMachine, Name: m.Name}
			if m.Role == story.RoleLive {
				link(node, story.Selector{Kind: story.ByRole, Name: story.RoleProxy, In: r.Name})
			}
			if r.Seed == 0 {
				continue
			}
			switch m.Role {
			case story.RoleSeed, story.RoleUnderstudy:
				link(node, story.Selector{Kind: story.ByRole, Name: story.RoleStore, In: r.Name})
			case story.RoleLive, story.RoleProxy:
				link(node, story.Selector{Kind: story.ByRole, Name: story.RoleSeed, In: r.Name})
			}
		}
		if i > 0 {
			link(story.Selector{Kind: story.ByRegion, Name: t.Regions[0].Name}, story.Selector{Kind: story.ByRegion, Name: r.Name})
		}
		for _, g := range s.Workload {
			link(story.Selector{Kind: story.ByClients, Name: g.ID}, story.Selector{Kind: story.ByRegion, Name: r.Name})
		}
	}
	return all
}

// value chooses a parameter. It reports false for a type that it does not know.
func (r roll) value(fault string, p story.Param, s *story.Story) (story.Value, bool) {
	v := story.Value{Name: p.Name}
	switch p.Type {
	case story.TypeDuration:
		choices := []time.Duration{100 * time.Millisecond, 300 * time.Millisecond, time.Second, 3 * time.Second}
		switch fault {
		case "restarted", "zone-spreads-slowly", "stale-describes":
			choices = []time.Duration{20 * time.Second, 60 * time.Second}
		case "slow-start":
			choices = []time.Duration{5 * time.Second, 20 * time.Second}
		case "texts-delayed":
			choices = []time.Duration{time.Minute, 25 * time.Minute}
		}
		v.Duration, _ = pick(r, p.Name, choices)
	case story.TypeOffset:
		choices := []time.Duration{-10 * time.Minute, -5 * time.Second, 5 * time.Second, 10 * time.Minute}
		if p.Most > 0 { // a rate: what the platform promises to bear is a hundredth of what there is
			choices = []time.Duration{-p.Most / 100, p.Most / 100}
		}
		v.Duration, _ = pick(r, p.Name, choices)
	case story.TypeShare:
		v.Share, _ = pick(r, p.Name, []story.BasisPoints{100, 500, 3000, 10000})
		if (fault == "loss" || fault == "corruption") && v.Share == 10000 {
			v.Share = 6000 // all of it is another fault
		}
	case story.TypeFactor:
		v.Factor, _ = pick(r, p.Name, []story.Factor{20000, 100000})
	case story.TypeCounts:
		n, _ := pick(r, p.Name, []int{1, 3})
		v.Counts = story.Range{Min: n, Max: n}
	case story.TypeSelector:
		var groups []*story.Selector
		for _, g := range s.Workload {
			groups = append(groups, &story.Selector{Kind: story.ByClients, Name: g.ID})
		}
		v.Selector, _ = pick(r, p.Name, groups)
		return v, v.Selector != nil
	case story.TypeProviders:
		name, ok := pick(r, p.Name, s.Topology.DNS.Providers)
		v.Names = []string{name}
		return v, ok
	case story.TypeHosts:
		v.Names = []string{story.WWW}
	case story.TypeCount:
		choices := []int{1, 2, 5}
		if fault == "throttled" {
			choices = []int{5, 20, 60}
		}
		v.Count, _ = pick(r, p.Name, choices)
	case story.TypeChoice:
		v.Choice, _ = pick(r, p.Name, p.Among)
	case story.TypeRate:
		v.Rate, _ = pick(r, p.Name, []story.Rate{4, 32, 256})
	default:
		return v, false
	}
	return v, true
}
