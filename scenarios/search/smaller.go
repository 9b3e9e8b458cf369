package search

import (
	"slices"
	"time"

	"github.com/espra/protoplex/scenarios/story"
)

// The functions here give smaller stories than the one they get, those first that
// save most. Not all of what they give is valid; whoever uses it drops the rest.

// oneExpectation gives the stories that expect one thing only, those first that
// expect what was broken. Where that was long before the end they end then as well.
func oneExpectation(a *attempt) []*story.Story {
	s := a.story
	n := len(s.Expect.Always) + len(s.Expect.Throughout)
	for _, x := range s.Expect.After {
		n += len(x.Expect)
	}
	if n <= 1 {
		return nil
	}
	var broken, others []*story.Story
	with := func(oracle string, x story.Expect) {
		c := *s
		c.Expect = x
		if oracle != a.finding.Oracle {
			others = append(others, &c)
			return
		}
		if a.finding.At > 0 {
			if end := max(justAfter(a.finding.At), due(&c)); end < s.Lasts*3/4 {
				broken = append(broken, until(&c, end))
			}
		}
		broken = append(broken, &c)
	}
	for _, x := range s.Expect.Always {
		with(x.Oracle, story.Expect{Always: []story.Expectation{x}})
	}
	for _, after := range s.Expect.After {
		for _, x := range after.Expect {
			with(x.Oracle, story.Expect{After: []story.Aftermath{{Event: after.Event, Heals: after.Heals, Expect: []story.Expectation{x}}}})
		}
	}
	for _, x := range s.Expect.Throughout {
		with(x.Oracle, story.Expect{Throughout: []story.Expectation{x}})
	}
	return append(broken, others...)
}

// justAfter is the end of a story that shows what was broken at a moment.
func justAfter(at time.Duration) time.Duration { return (at + time.Second).Truncate(time.Second) }

// sooner gives stories that end earlier, up to the moment that broke.
func sooner(a *attempt) []*story.Story {
	s := a.story
	var ends []time.Duration
	if a.finding.At > 0 {
		ends = append(ends, justAfter(a.finding.At), (a.finding.At + 10*time.Second).Truncate(time.Second))
	}
	if end := due(s); end > 0 {
		ends = append(ends, end)
	}
	ends = append(ends, (s.Lasts / 2).Truncate(time.Second), (s.Lasts * 3 / 4).Truncate(time.Second))
	slices.Sort(ends)
	var all []*story.Story
	for _, end := range slices.Compact(ends) {
		if end <= 0 || end >= s.Lasts {
			continue
		}
		all = append(all, until(s, end))
	}
	return all
}

// until gives the story with an end that is earlier.
func until(s *story.Story, end time.Duration) *story.Story {
	var indices []int
	for i, e := range s.Timeline {
		if e.At < end {
			indices = append(indices, i)
		}
	}
	c := withFaults(s, indices)
	c.Lasts = end
	for i := range c.Timeline {
		if e := &c.Timeline[i]; e.At+e.For > end {
			e.For = end - e.At
			e.Longest = e.For
		}
	}
	return c
}

// due is when the last expectation with a deadline is judged; 0 if there is none.
func due(s *story.Story) time.Duration {
	var last time.Duration
	for _, a := range s.Expect.After {
		e, _ := s.Event(a.Event)
		from := e.At
		if end, ok := e.Heals(); ok && a.Heals {
			from = end
		}
		for _, x := range a.Expect {
			if d := x.Deadline(); d > 0 {
				last = max(last, from+d)
			}
		}
	}
	over, _, _ := s.Over()
	for _, x := range s.Expect.Throughout {
		if d := x.Deadline(); d > 0 && x.Oracle == "converges" {
			last = max(last, over+d)
		}
	}
	return last
}

// withFaults gives the story with some of its faults.
func withFaults(s *story.Story, indices []int) *story.Story {
	c := *s
	c.Timeline = nil
	for _, i := range indices {
		c.Timeline = append(c.Timeline, s.Timeline[i])
	}
	return &c
}

// withFault gives the story with one fault changed.
func withFault(s *story.Story, i int, change func(*story.Event)) *story.Story {
	c := *s
	c.Timeline = slices.Clone(s.Timeline)
	change(&c.Timeline[i])
	return &c
}

// weakerFaults gives stories with one fault that strikes less, or for less long.
func weakerFaults(s *story.Story) []*story.Story {
	var all []*story.Story
	machines := s.Machines()
	for i, e := range s.Timeline {
		spec, _ := story.FindFault(e.Fault)
		for _, d := range []time.Duration{time.Second, 5 * time.Second, 15 * time.Second, (e.For / 2).Truncate(time.Second)} {
			if d > 0 && d < e.For {
				all = append(all, withFault(s, i, func(e *story.Event) { e.For, e.Longest = d, d }))
			}
		}
		if e.Times > 1 {
			all = append(all, withFault(s, i, func(e *story.Event) { e.Times, e.Every = 1, 0 }))
		}
		strikes := func(fault string, kind story.Kind, name string) {
			all = append(all, withFault(s, i, func(e *story.Event) {
				e.Fault, e.On = fault, &story.Selector{Kind: kind, Name: name}
			}))
		}
		struck := e.On.Match(machines)
		if e.On.Kind != story.ByLink && e.On.Kind != story.ByProvider && len(struck) > 1 {
			narrower := map[string]string{"region-lost": "machine-lost", "zone-lost": "machine-lost"}
			fault := e.Fault
			if n, ok := narrower[fault]; ok {
				fault = n
			}
			if n, _ := story.FindFault(fault); slices.Contains(n.On, story.ByMachine) {
				for _, name := range struck {
					strikes(fault, story.ByMachine, name)
				}
			}
			var zones []string
			for _, m := range machines {
				if e.On.Kind == story.ByRegion && m.Zone != "" && slices.Contains(struck, m.Name) && !slices.Contains(zones, m.Zone) {
					zones = append(zones, m.Zone)
				}
			}
			fault = e.Fault
			if fault == "region-lost" {
				fault = "zone-lost"
			}
			if n, _ := story.FindFault(fault); slices.Contains(n.On, story.ByZone) {
				for _, zone := range zones {
					strikes(fault, story.ByZone, zone)
				}
			}
		}
		for _, p := range spec.Params {
			if _, given := e.Params.Get(p.Name); given && !p.Required {
				all = append(all, withFault(s, i, func(e *story.Event) {
					e.Params = slices.DeleteFunc(slices.Clone(e.Params), func(v story.Value) bool { return v.Name == p.Name })
				}))
			}
		}
	}
	return all
}

// earlier gives stories in which everything happens sooner.
func earlier(s *story.Story) []*story.Story {
	if len(s.Timeline) == 0 {
		return nil
	}
	first := s.Timeline[0].At
	for _, e := range s.Timeline {
		first = min(first, e.At)
	}
	var all []*story.Story
	for _, at := range []time.Duration{30 * time.Second, time.Minute, 90 * time.Second} {
		if at >= first {
			continue
		}
		c := *s
		c.Lasts -= first - at
		c.Timeline = slices.Clone(s.Timeline)
		for i := range c.Timeline {
			c.Timeline[i].At -= first - at
			c.Timeline[i].Latest = c.Timeline[i].At
		}
		all = append(all, &c)
	}
	return all
}

// muchSmaller gives stories that leave out at once what most failures can do without:
// a region and what strikes it, and of the others all but one machine of each role, or
// one client of each group.
func muchSmaller(s *story.Story) []*story.Story {
	var all []*story.Story
	for i := range s.Topology.Regions {
		if len(s.Topology.Regions) > 1 {
			all = append(all, withoutRegion(s, i))
		}
	}
	least := func(cells, platform, clients bool) {
		c := *s
		if platform {
			c.Topology.Regions = slices.Clone(s.Topology.Regions)
			for i, r := range c.Topology.Regions {
				c.Topology.Regions[i] = story.Region{Name: r.Name, Zones: 1, Proxy: 1, Live: 1}
				if cells {
					c.Topology.Regions[i].Seed, c.Topology.Regions[i].Understudy = r.Seed, r.Understudy
				}
			}
		}
		if clients {
			c.Workload = slices.Clone(s.Workload)
			for i, g := range c.Workload {
				c.Workload[i].Browsers, c.Workload[i].Publishers = min(g.Browsers, 1), min(g.Publishers, 1)
			}
		}
		all = append(all, stricken(&c))
	}
	for _, clients := range []bool{true, false} {
		least(false, true, clients)
		least(true, true, clients)
	}
	least(true, false, true)
	return all
}

// withoutRegion gives the story without a region, nor those whose home it is.
func withoutRegion(s *story.Story, i int) *story.Story {
	c := *s
	c.Topology.Regions = slices.Delete(slices.Clone(s.Topology.Regions), i, i+1)
	c.Workload = slices.DeleteFunc(slices.Clone(s.Workload), func(g story.Group) bool {
		home, _ := s.Topology.Home(g.Home)
		return home == s.Topology.Regions[i].Name
	})
	return stricken(&c)
}

// stricken gives the story without faults that strike nothing that there is.
func stricken(s *story.Story) *story.Story {
	machines := s.Machines()
	var indices []int
	for i, e := range s.Timeline {
		ends := []*story.Selector{e.On}
		if e.On.Kind == story.ByLink {
			ends = []*story.Selector{e.On.From, e.On.To}
		}
		if !slices.ContainsFunc(ends, func(x *story.Selector) bool { return len(x.Match(machines)) == 0 }) {
			indices = append(indices, i)
		}
	}
	return withFaults(s, indices)
}

// smallerTopology gives stories with less of a platform.
func smallerTopology(s *story.Story) []*story.Story {
	var all []*story.Story
	with := func(change func(*story.Topology)) {
		c := *s
		c.Topology.Regions = slices.Clone(s.Topology.Regions)
		change(&c.Topology)
		all = append(all, &c)
	}
	for i, r := range s.Topology.Regions {
		if len(s.Topology.Regions) > 1 {
			all = append(all, withoutRegion(s, i))
		}
		to := func(change func(*story.Region)) {
			with(func(t *story.Topology) { change(&t.Regions[i]) })
		}
		if r.Scaling.Max > 0 {
			to(func(r *story.Region) { r.Scaling = story.Scaling{} })
		}
		if r.Seed > 0 {
			to(func(r *story.Region) { r.Seed, r.Understudy = 0, 0 })
		}
		if r.Understudy > 0 {
			to(func(r *story.Region) { r.Understudy = 0 })
		}
		if r.Zones > 1 {
			to(func(r *story.Region) { r.Zones = 1 })
		}
		for _, n := range fewer(r.Proxy) {
			to(func(r *story.Region) { r.Proxy = n })
		}
		for _, n := range fewer(r.Live) {
			to(func(r *story.Region) { r.Live = n })
		}
	}
	for _, n := range append([]int{0}, fewer(len(s.Topology.VPS))...) {
		if n < len(s.Topology.VPS) {
			with(func(t *story.Topology) { t.VPS = t.VPS[:n] })
		}
	}
	for _, list := range []func(*story.Topology) *[]string{
		func(t *story.Topology) *[]string { return &t.DNS.Providers },
		func(t *story.Topology) *[]string { return &t.SMS },
	} {
		for i, n := 0, len(*list(&s.Topology)); n > 1 && i < n; i++ {
			with(func(t *story.Topology) { *list(t) = slices.Delete(slices.Clone(*list(t)), i, i+1) })
		}
	}
	for i, a := range s.Topology.Admins {
		if len(s.Topology.Admins) > 1 {
			with(func(t *story.Topology) { t.Admins = slices.Delete(slices.Clone(t.Admins), i, i+1) })
		}
		if a.After > 0 || a.Acknowledges > 0 {
			with(func(t *story.Topology) {
				t.Admins = slices.Clone(t.Admins)
				t.Admins[i] = story.Admin{Name: a.Name}
			})
		}
	}
	return all
}

// fewer gives smaller counts than n, the smallest first.
func fewer(n int) []int {
	var all []int
	for _, m := range []int{1, n / 2, n - 1} {
		if m > 0 && m < n && !slices.Contains(all, m) {
			all = append(all, m)
		}
	}
	return all
}

// smallerWorkload gives stories with fewer clients, that do less.
func smallerWorkload(s *story.Story) []*story.Story {
	var all []*story.Story
	with := func(i int, change func(*story.Group)) {
		c := *s
		c.Workload = slices.Clone(s.Workload)
		change(&c.Workload[i])
		all = append(all, &c)
	}
	for i := range s.Workload {
		c := *s
		c.Workload = slices.Delete(slices.Clone(s.Workload), i, i+1)
		all = append(all, &c)
	}
	for i, g := range s.Workload {
		for _, n := range fewer(g.Browsers) {
			with(i, func(g *story.Group) { g.Browsers = n })
		}
		for _, n := range fewer(g.Publishers) {
			with(i, func(g *story.Group) { g.Publishers = n })
		}
		for j, a := range g.Do {
			if len(g.Do) > 1 {
				with(i, func(g *story.Group) { g.Do = slices.Delete(slices.Clone(g.Do), j, j+1) })
			}
			for _, n := range fewer(a.Channels) {
				with(i, func(g *story.Group) { g.Do = slices.Clone(g.Do); g.Do[j].Channels = n })
			}
		}
	}
	return all
}
