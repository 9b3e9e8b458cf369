package swarm

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/espra/protoplex/scenarios/story"
	"github.com/espra/protoplex/sim"
)

// Options are what a story depends on beside its seed.
type Options struct {
	// Beyond leaves the budget: anything may break, and only safety is asked for.
	Beyond bool
}

// starts is when all stories begin.
var starts = time.Date(2026, 3, 2, 14, 0, 0, 0, time.UTC)

const (
	quiet = 2 * time.Minute // before the first fault, so that what is usual is known
	chaos = 3 * time.Minute // in which faults strike
	dull  = 3 * time.Minute // without any fault, a story is this much longer

	// Until everything is as it should be when no name has to move: load balancers
	// notice within 50 s, a silent tunnel is given up after a minute, and whoever
	// failed often waits a minute before it tries again.
	settle = 4 * time.Minute
	// More, if names have to come home beside the hold-down: closing the incident
	// takes 30 s, moving names 2m, and their TTL 1m.
	homeward = 4 * time.Minute
	// More, until connections are what they were: those that last are renewed after
	// 5m, and the least of a minute counts.
	renewal = 6 * time.Minute
)

// Story makes the story of a seed, with the given name.
func Story(name string, seed uint64, o Options) (*story.Story, error) {
	g := generator{dice: dice{seed}, options: o}
	s := &story.Story{Starts: starts, Topology: g.topology()}
	s.Workload = g.workload(s.Topology)
	return g.finish(name, s)
}

// OnTop makes a story out of another one: its platform, its clients and its
// faults, with further faults of the seed. Of what the other expects, only what
// always has to hold is asked for.
func OnTop(name string, base *story.Story, seed uint64, o Options) (*story.Story, error) {
	g := generator{dice: dice{seed}, options: o}
	s := *base.Timed(func(id, what string) uint64 { return sim.Choose(seed, what+" of "+id, 0) })
	s.Expect = story.Expect{Always: base.Expect.Always}
	g.base = base.Name
	return g.finish(name, &s)
}

// dice are random numbers by name.
type dice struct{ seed uint64 }

// below gives a number from 0 to n-1.
func (d dice) below(n int, what string, args ...any) int {
	return int(sim.Choose(d.seed, "swarm "+fmt.Sprintf(what, args...), 0) % uint64(n))
}

func (d dice) oneIn(n int, what string, args ...any) bool { return d.below(n, what, args...) == 0 }

// between gives a duration in whole seconds.
func (d dice) between(low, high time.Duration, what string, args ...any) time.Duration {
	return low + time.Duration(d.below(int((high-low)/time.Second)+1, what, args...))*time.Second
}

type generator struct {
	dice
	options Options
	base    string // the story that gets more faults, if there is one
}

// topology is small, and rich enough for most faults: two of whatever may be
// lost.
func (g generator) topology() story.Topology {
	names := []string{"us-east", "eu-west"}[:1+g.below(2, "regions")]
	t := story.Topology{
		VPS: []string{"fremont", "london", "singapore"}, Admins: []story.Admin{{Name: "ana"}}, SMS: []string{"twilio"},
		DNS:     story.DNS{Providers: []string{"linode", "digitalocean"}, TTL: time.Minute},
		Monitor: story.Monitor{Probe: 10 * time.Second, OpenAfter: 3, CloseAfter: 3, HoldDown: time.Minute},
	}
	if g.oneIn(2, "second gateway") {
		t.SMS = append(t.SMS, "sns")
	}
	for _, name := range names {
		r := story.Region{Name: name, Zones: 2, Proxy: 2 + g.below(2, "proxies of %s", name), Live: 2 + g.below(2, "live nodes of %s", name)}
		if !g.oneIn(4, "fixed table of %s", name) {
			r.Seed, r.Understudy = 1, 1
		}
		if g.oneIn(3, "scaling of %s", name) {
			r.Scaling = story.Scaling{Min: r.Proxy, Max: r.Proxy + 1}
		}
		t.Regions = append(t.Regions, r)
	}
	return t
}

func (g generator) workload(t story.Topology) []story.Group {
	var all []story.Group
	for _, h := range story.LiveHosts {
		if _, ok := t.Region(h.Region); !ok {
			continue
		}
		short, _, _ := strings.Cut(h.Region, "-")
		all = append(all, story.Group{ID: short + "-browsers", Browsers: 2 + g.below(4, "browsers of %s", h.Region), Home: h.Host, Do: []story.Action{
			{Verb: story.Load, Every: 20 * time.Second},
			{Verb: story.Subscribe, Channels: 1 + g.below(2, "channels of %s", h.Region)},
		}})
	}
	size := 0
	if g.below(4, "size") == 0 {
		size = 48 // kilobytes, more than a proxy keeps
	}
	return append(all, story.Group{ID: "publishers", Publishers: len(t.Regions) * (2 + g.below(2, "publishers")), Do: []story.Action{
		{Verb: story.Publish, Size: size, Every: time.Duration(1+g.below(3, "pace")) * time.Second},
	}})
}

// finish adds faults, the time that it takes to get over them, and what has to
// hold. What it gives has been read back from its own file.
func (g generator) finish(name string, s *story.Story) (*story.Story, error) {
	s.Name, s.Found = name, nil
	s.Timeline = append(slices.Clone(s.Timeline), g.faults(s)...)
	g.expect(s)
	g.describe(s)
	text := story.Format(s)
	made, err := story.Parse(name+".yaml", text)
	if err != nil {
		return nil, fmt.Errorf("the story of seed %d is not valid: %w\n%s", g.seed, err, text)
	}
	return made, nil
}

// expect asks for safety in the chaos, and for life after it.
func (g generator) expect(s *story.Story) {
	machines := s.Machines()
	always := []string{"live-streams", "dns-points-somewhere"}
	if slices.ContainsFunc(s.Topology.Regions, func(r story.Region) bool { return r.Seed > 0 }) {
		always = append(always, "one-leader")
	}
	for _, name := range always {
		if !slices.ContainsFunc(s.Expect.Always, func(x story.Expectation) bool { return x.Oracle == name }) {
			s.Expect.Always = append(s.Expect.Always, story.Expectation{Oracle: name})
		}
	}
	over, last, heals := s.Over()
	if !heals {
		s.Lasts = max(s.Lasts, quiet+chaos+dull)
		return
	}
	over = max(over, quiet)
	if g.options.Beyond {
		s.Lasts = max(s.Lasts, over+dull)
		return
	}
	loud, moves := Declared.loud(s, machines)
	within := settle
	if moves {
		within += s.Topology.Monitor.HoldDown + homeward
	}
	baseline := within
	if strayed(s, machines) {
		baseline += renewal
	}
	for _, e := range s.Timeline {
		if _, ok := e.Heals(); ok && e.ID == last && e.At >= quiet {
			s.Expect.After = []story.Aftermath{{Event: last, Heals: true, Expect: []story.Expectation{
				{Oracle: "baseline", Params: story.Values{{Name: "within", Duration: baseline}}},
			}}}
		}
	}
	s.Lasts = max(s.Lasts, over+max(within, baseline))
	s.Expect.Throughout = []story.Expectation{{Oracle: "converges", Params: story.Values{{Name: "within", Duration: within}}}}
	switch {
	case len(s.Topology.VPS) == 0 || len(s.Topology.SMS) == 0 || len(s.Topology.Admins) == 0:
	case loud == 0:
		s.Expect.Throughout = append(s.Expect.Throughout, story.Expectation{Oracle: "nobody-paged"})
	default:
		healing := slices.DeleteFunc(slices.Clone(s.Timeline), func(e story.Event) bool { return e.For == 0 })
		if len(healing) == 0 {
			return
		}
		first := slices.MinFunc(healing, func(a, b story.Event) int { return cmp.Compare(a.At, b.At) })
		// Each may be an incident, of which nobody hears more than twice.
		upTo := story.Range{Min: 0, Max: 2 * loud}
		s.Expect.After = append(s.Expect.After, story.Aftermath{Event: first.ID, Expect: []story.Expectation{
			{Oracle: "pages", Params: story.Values{{Name: "each-admin", Counts: upTo}, {Name: "all-clear", Counts: upTo}}},
		}})
	}
}

// strayed tells whether connections may be elsewhere than before, for somebody on
// their way was struck, or are still kept by balancers whose clients know nothing of
// them any more.
func strayed(s *story.Story, machines []story.Machine) bool {
	return slices.ContainsFunc(s.Timeline, func(e story.Event) bool {
		return !mild(e) && (onTheWay(e, machines) || e.Fault == "half-open")
	})
}

// onTheWay tells whether a fault strikes machines through which clients are served.
func onTheWay(e story.Event, machines []story.Machine) bool {
	on := e.On.Match(machines)
	return slices.ContainsFunc(machines, func(m story.Machine) bool {
		return slices.Contains(tiers, m.Role) && slices.Contains(on, m.Name)
	})
}

// loud counts the faults of which somebody may be paged: while they last, a
// region, a DNS provider or the domain is struck, or clients wait for somebody who answers badly.
// If it is a region, names may move.
func (b Budget) loud(s *story.Story, machines []story.Machine) (n int, moves bool) {
	var all []impairment
	for _, e := range s.Timeline {
		all = append(all, impairments(e, machines, s.Lasts)...)
	}
	for _, e := range s.Timeline {
		if e.Fault == "domain-expired" {
			n++
		}
		for _, i := range impairments(e, machines, s.Lasts) {
			left := b.assess(machines, impairedAt(all, i.from))
			moves = moves || len(left.whole) > 0
			badly := gray(e) && onTheWay(e, machines)
			moves = moves || badly
			if len(left.whole) > 0 || len(left.providers) > 0 || badly {
				n++
				break
			}
		}
	}
	return n, moves
}

// describe gives the story its title and its prose.
func (g generator) describe(s *story.Story) {
	var names []string
	for _, e := range s.Timeline {
		if !slices.Contains(names, e.Fault) {
			names = append(names, e.Fault)
		}
	}
	what := "nothing"
	if n := len(names); n > 0 {
		what = strings.Join(names, ", ")
		if n > 3 {
			what = fmt.Sprintf("%s and %d more kinds", strings.Join(names[:2], ", "), n-2)
		}
	}
	s.Title = fmt.Sprintf("%s goes wrong, as seed %d has it", what, g.seed)
	from := "Made up"
	if g.base != "" {
		from = "The story " + g.base + ", with faults on top that are made up"
	}
	s.Text = fmt.Sprintf("%s from seed %d. While faults strike nothing unsafe may happen.\n", from, g.seed)
	if g.options.Beyond {
		s.Text += "They are more than the platform declares to survive, so no more than that is asked for."
	} else {
		s.Text += "All of them heal, and in the end everything has to be as it was."
	}
}
