package story

import (
	"slices"
	"strings"
	"time"
)

// Event is one entry of the timeline: a fault. Everything random about it is
// keyed by its ID.
type Event struct {
	Pos     Pos
	ID      string
	At      time.Duration // from the start of the run; the earliest, until Timed has chosen
	Latest  time.Duration // the latest; At, if the file gives one instant
	Fault   string        // the name of one of Faults
	On      *Selector
	For     time.Duration // how long until it heals, 0 meaning never; the shortest, until Timed has chosen
	Longest time.Duration // For, if the file gives one duration
	Times   int           // how often it strikes
	Every   time.Duration // from one strike to the next, if there are several
	Params  Values
}

// Heals gives the instant at which a fault has ended for good; false if it never
// does.
func (e Event) Heals() (time.Duration, bool) { return e.Strike(e.Times-1) + e.For, e.For > 0 }

// Strike gives the instant of the n-th strike, counted from 0.
func (e Event) Strike(n int) time.Duration { return e.At + time.Duration(n)*e.Every }

// strikes reports whether the fault strikes a machine of one of the roles. One of a
// link strikes none.
func (e Event) strikes(machines []Machine, roles ...string) bool {
	if e.On == nil {
		return false
	}
	struck := e.On.Match(machines)
	return slices.ContainsFunc(machines, func(m Machine) bool {
		return slices.Contains(roles, m.Role) && slices.Contains(struck, m.Name)
	})
}

// LostRegions gives the regions that nobody can reach while the fault lasts, or
// nobody new.
func (e Event) LostRegions() []string {
	if e.On == nil || e.On.Kind != ByRegion {
		return nil
	}
	switch e.Fault {
	case "region-lost", "isolated", "balancer-state-lost", "dns-servfail", "dns-nxdomain", "dns-empty-answer":
		return []string{e.On.Name}
	}
	return nil
}

// Silences reports whether a machine may hear nothing of some others, or say
// nothing to them, while the fault lasts.
func (e Event) Silences(machine string, machines []Machine) bool {
	silent := []string{"machine-lost", "lost-after", "paused", "hung", "crash-loop", "slow-start", "bad-push", "no-sockets", "slow-machine", "partition", "isolated"}
	if e.On == nil || !slices.Contains(silent, e.Fault) {
		return false
	}
	for _, s := range []*Selector{e.On, e.On.From, e.On.To} {
		if s != nil && slices.Contains(s.Match(machines), machine) {
			return true
		}
	}
	return false
}

// Timed gives the story with one start, one duration and one value of each
// parameter for each event of which the file gives a range. Choices hang on what
// choose gives for the event's ID and "at", "for" or the parameter's name, and on
// nothing else.
func (s *Story) Timed(choose func(id, what string) uint64) *Story {
	timed := *s
	timed.Timeline = slices.Clone(s.Timeline)
	for i := range timed.Timeline {
		e := &timed.Timeline[i]
		if e.Latest > e.At {
			e.At += time.Duration(choose(e.ID, "at") % uint64(e.Latest-e.At+1))
		}
		if e.Longest > e.For {
			e.For += time.Duration(choose(e.ID, "for") % uint64(e.Longest-e.For+1))
		}
		e.Latest, e.Longest = e.At, e.For
		e.Params = e.Params.drawn(func(name string) uint64 { return choose(e.ID, name) })
	}
	return &timed
}

// Over gives the latest instant at which the last fault is over, and its ID. It
// reports false for one that never heals.
func (s *Story) Over() (at time.Duration, id string, ok bool) {
	for _, e := range s.Timeline {
		end := e.Latest + time.Duration(max(e.Times-1, 0))*e.Every + e.Longest
		if e.For == 0 {
			spec, known := FindFault(e.Fault)
			if known && spec.For != Never {
				return 0, e.ID, false
			}
			if e.On != nil { // one machine after another
				end += e.Params.Duration("every")*time.Duration(len(e.On.Match(s.Machines()))) + e.Params.Duration("thinks")
			}
		}
		if end >= at {
			at, id = end, e.ID
		}
	}
	return at, id, true
}

const maxEvents = 1000

func (r *reader) timeline(v value, s *Story, machines []Machine) []Event {
	var all []Event
	seen := map[string]Pos{}
	for _, item := range r.list(v, maxEvents) {
		before := len(r.errs)
		e := r.event(item, s, machines)
		if len(r.errs) > before {
			r.broken[e.ID] = true
		}
		if first, twice := seen[e.ID]; twice && e.ID != "" {
			r.failf(e.Pos, "id: %q comes twice; first at %v", e.ID, first)
		}
		seen[e.ID] = e.Pos
		all = append(all, e)
	}
	return all
}

func (r *reader) event(v value, s *Story, machines []Machine) Event {
	v.key = "event"
	// Which keys are known depends on the fault, so that comes first.
	var fault value
	for _, e := range r.entriesQuietly(v) {
		if e.key == "fault" {
			fault = e.value
		}
	}
	e := Event{Pos: v.pos, Times: 1}
	spec := r.fault(fault, &e)
	known := []string{"id!", "at!", "fault!", "on!", "for", "repeat"}
	if spec.For == Required {
		known[4] = "for!"
	}
	f := r.fields(v, withAnyParam(known, spec)...)
	r.strike(f, spec, s, machines, &e)
	if f["id"].given() {
		e.ID, e.Pos = r.name(f["id"]), f["id"].pos
	}
	if at := f["at"]; at.given() {
		e.At, e.Latest = r.durations(at, false)
		if s.Lasts > 0 && e.Latest >= s.Lasts {
			r.failf(at.pos, "at: %v is not before the end at %v", short(e.Latest), short(s.Lasts))
			return e
		}
	}
	r.repeat(f["repeat"], spec, &e)
	end := e.Latest + time.Duration(e.Times-1)*e.Every
	switch {
	case s.Lasts == 0:
	case e.For > 0 && end+e.Longest > s.Lasts:
		r.failf(f["for"].pos, "for: it would heal at %v, after the end at %v", short(end+e.Longest), short(s.Lasts))
	case e.Times > 1 && end >= s.Lasts:
		r.failf(f["repeat"].pos, "repeat: the last strike at %v is not before the end at %v", short(end), short(s.Lasts))
	}
	return e
}

const maxStrikes = 1000

// repeat reads how often a fault strikes. It has to heal in between.
func (r *reader) repeat(v value, spec Fault, e *Event) {
	f := r.fields(v, "times!", "every!")
	if !f["times"].given() || !f["every"].given() {
		return
	}
	before := len(r.errs)
	times, every := r.count(f["times"], 2, maxStrikes), r.duration(f["every"], false)
	switch {
	case len(r.errs) > before || spec.Name == "":
		return
	case e.For == 0 && spec.For != Never:
		r.failf(v.pos, "repeat: %s lasts to the end; give it a duration with the key \"for\"", spec.Name)
		return
	case every <= e.Longest:
		r.failf(f["every"].pos, "every: the next strike comes after %v, and it heals after %v only", short(every), short(e.Longest))
		return
	}
	e.Times, e.Every = times, every
}

// withAnyParam adds the parameters of the fault to the known keys. For an
// unknown fault it adds those of all faults, to report the one mistake once.
func withAnyParam(known []string, spec Fault) []string {
	if spec.Name != "" {
		return append(known, paramNames(spec.Params)...)
	}
	for _, f := range Faults {
		for _, p := range f.Params {
			known = append(known, p.Name)
		}
	}
	return known
}

func (r *reader) fault(v value, e *Event) Fault {
	p, ok := r.phrase(v)
	if !ok {
		return Fault{}
	}
	spec, ok := FindFault(p.text)
	if !ok {
		r.failf(p.pos, "fault: unknown fault %q%s", clip(p.text), r.suggest(p.text, faultNames()))
	}
	e.Fault = spec.Name
	return spec
}

func (r *reader) strike(f fields, spec Fault, s *Story, machines []Machine, e *Event) {
	if f["on"].given() {
		e.On = r.selector(f["on"], machines)
	}
	if v := f["for"]; v.given() {
		e.For, e.Longest = r.durations(v, false)
		if spec.For == Never {
			r.failf(v.pos, "for: %s happens in an instant", spec.Name)
		}
	}
	e.Params = r.values(f, spec.Params, s, machines)
	if spec.Name == "" || e.On == nil {
		return
	}
	if !slices.Contains(spec.On, e.On.Kind) {
		words := make([]string, len(spec.On))
		for i, k := range spec.On {
			words[i] = string(k)
		}
		r.failf(e.On.Pos, "on: %s strikes a %s, not a %s", spec.Name, strings.Join(words, ", "), e.On.Kind)
		return
	}
	if e.On.Kind == ByProvider && spec.Providers != nil && !slices.Contains(spec.Providers, e.On.Name) {
		r.failf(e.On.Pos, "on: %s strikes the providers %s, not %s", spec.Name, strings.Join(spec.Providers, ", "), e.On.Name)
	}
	struck := func(m Machine) bool { return slices.Contains(spec.Roles, m.Role) && e.On.matches(&m) }
	if spec.Roles != nil && !slices.ContainsFunc(machines, struck) {
		why := ""
		if slices.Contains(spec.Roles, RoleAWS) && e.On.Kind == ByRegion {
			why = ": only a region with scaling has a control plane"
		}
		r.failf(e.On.Pos, "on: %s strikes machines of the roles %s, and %v has none%s", spec.Name, strings.Join(spec.Roles, ", "), e.On, why)
		return
	}
	led := func(m Machine) bool {
		region, _ := s.Topology.Region(m.Region)
		return struck(m) && region.Seed > 0
	}
	if spec.InCell && !slices.ContainsFunc(machines, led) {
		r.failf(e.On.Pos, "on: %s strikes nodes of a region that has a seed, and %v has none", spec.Name, e.On)
	}
}
