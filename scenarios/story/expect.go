package story

import (
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// Expect is what a story promises, in file order.
type Expect struct {
	Always     []Expectation
	After      []Aftermath
	Throughout []Expectation
}

// Aftermath is what has to hold after a fault has struck, or has healed.
type Aftermath struct {
	Pos    Pos
	Event  string // the fault's ID
	Heals  bool   // counted from the fault's end, not from its start
	Expect []Expectation
}

// Expectation is one named oracle with its parameters.
type Expectation struct {
	Pos    Pos
	Oracle string // the name of one of Oracles
	Params Values
}

func (r *reader) expect(v value, s *Story, machines []Machine) Expect {
	var x Expect
	entries := r.entries(v)
	for _, e := range entries {
		words := phrase{text: e.key, pos: e.keyPos, exact: true}.words()
		switch {
		case e.key == string(Always):
			x.Always = r.always(e.value, s)
		case e.key == string(Throughout):
			x.Throughout = r.expectations(e.value, Throughout, Event{}, s, machines)
		case len(words) > 0 && words[0].text == string(After):
			a, ok := r.aftermath(e, words, s, machines)
			if ok && slices.ContainsFunc(x.After, func(o Aftermath) bool { return o.Event == a.Event && o.Heals == a.Heals }) {
				r.failf(e.keyPos, "%q comes twice", clip(e.key))
			} else if ok {
				x.After = append(x.After, a)
			}
		default:
			known := []string{string(Always), string(Throughout)}
			for _, event := range s.Timeline {
				known = append(known, "after "+event.ID, "after "+event.ID+" heals")
			}
			r.failf(e.keyPos, "unknown key %q%s", clip(e.key), r.suggest(e.key, known))
		}
	}
	if v.given() && isMap(v.node) && len(entries) == 0 {
		r.failf(v.pos, "expect: a story that expects nothing cannot fail")
	}
	return x
}

func (r *reader) aftermath(e entry, words []word, s *Story, machines []Machine) (Aftermath, bool) {
	a := Aftermath{Pos: e.keyPos}
	switch {
	case len(words) == 3 && words[2].text == "heals":
		a.Heals = true
	case len(words) != 2:
		r.failf(e.keyPos, "want after FAULT, or after FAULT heals, not %q", clip(e.key))
		return a, false
	}
	a.Event = words[1].text
	var ids []string
	for _, event := range s.Timeline {
		ids = append(ids, event.ID)
	}
	i := slices.IndexFunc(s.Timeline, func(event Event) bool { return event.ID == a.Event })
	if i < 0 {
		r.failf(words[1].at, "after: no fault has the id %q%s", clip(a.Event), r.suggest(a.Event, ids))
		return a, false
	}
	event, scope := s.Timeline[i], After
	if a.Heals {
		scope = AfterHeals
		if _, heals := event.Heals(); !heals && !r.broken[a.Event] {
			r.failf(words[1].at, "after: %s never heals; give it a duration with the key \"for\"", a.Event)
			return a, false
		}
	}
	a.Expect = r.expectations(e.value, scope, event, s, machines)
	return a, true
}

// always reads a list of expectations without parameters.
func (r *reader) always(v value, s *Story) []Expectation {
	var all []Expectation
	for _, e := range r.list(v, len(Oracles)) {
		p, ok := r.phrase(e)
		if !ok {
			continue
		}
		spec, ok := r.oracle(p.text, p.pos, Always)
		if !ok {
			continue
		}
		x := Expectation{Pos: p.pos, Oracle: spec.Name}
		if slices.ContainsFunc(all, func(o Expectation) bool { return o.Oracle == x.Oracle }) {
			r.failf(p.pos, "always: %s comes twice", x.Oracle)
			continue
		}
		r.judge(spec, &x, Always, Event{}, s)
		all = append(all, x)
	}
	return all
}

func (r *reader) oracle(name string, at Pos, scope Scope) (Oracle, bool) {
	spec, ok := FindOracle(name)
	if !ok {
		r.failf(at, "unknown expectation %q%s", clip(name), r.suggest(name, oracleNames(scope)))
		return spec, false
	}
	if !slices.Contains(spec.Scopes, scope) {
		where := make([]string, len(spec.Scopes))
		for i, w := range spec.Scopes {
			where[i] = map[Scope]string{
				Always: `"always"`, Throughout: `"throughout"`, After: `"after FAULT"`, AfterHeals: `"after FAULT heals"`,
			}[w]
		}
		r.failf(at, "%s belongs under %s", name, strings.Join(where, " or "))
		return spec, false
	}
	return spec, true
}

// expectations reads a mapping from oracles to their parameters, or to lists of
// them for an oracle that is used more than once.
func (r *reader) expectations(v value, scope Scope, event Event, s *Story, machines []Machine) []Expectation {
	var all []Expectation
	entries := r.entries(v)
	for _, e := range entries {
		spec, ok := r.oracle(e.key, e.keyPos, scope)
		if !ok {
			continue
		}
		if len(spec.Params) == 0 {
			if b, isBool := e.value.node.(*ast.BoolNode); !isBool || !b.Value {
				r.failf(e.value.pos, "%s: write %s: true, or leave it out", e.key, e.key)
				continue
			}
			x := Expectation{Pos: e.keyPos, Oracle: spec.Name}
			r.judge(spec, &x, scope, event, s)
			all = append(all, x)
			continue
		}
		for _, v := range r.oneOrMore(e.value) {
			f := r.fields(v, paramNames(spec.Params)...)
			x := Expectation{Pos: e.keyPos, Oracle: spec.Name}
			if v.node != e.value.node {
				x.Pos = v.pos
			}
			x.Params = r.values(f, spec.Params, s, machines)
			r.judge(spec, &x, scope, event, s)
			all = append(all, x)
		}
	}
	if v.given() && isMap(v.node) && len(entries) == 0 {
		r.failf(v.pos, "%s: nothing is expected", v.key)
	}
	return all
}

// judge checks that a run of the story can judge an expectation. Its methods
// report at most one error for each expectation.
type judge struct {
	r     *reader
	s     *Story
	x     *Expectation
	scope Scope
	event Event // zero under always and throughout
	done  bool
}

func (r *reader) judge(spec Oracle, x *Expectation, scope Scope, event Event, s *Story) {
	j := &judge{r: r, s: s, x: x, scope: scope, event: event}
	if r.loose || r.broken[event.ID] {
		return
	}
	if len(spec.Params) > 0 {
		j.needTime()
	}
	if spec.check != nil {
		spec.check(j)
	}
}

func (j *judge) failf(p Pos, format string, args ...any) {
	if !j.done {
		j.r.failf(p, "%s can never be judged: "+format, append([]any{j.x.Oracle}, args...)...)
	}
	j.done = true
}

// needTime refuses a deadline after the end of the story.
func (j *judge) needTime() {
	from := j.event.Latest
	if j.scope == AfterHeals {
		from += time.Duration(j.event.Times-1)*j.event.Every + j.event.Longest
	}
	for _, name := range []string{"within", "none-after"} {
		if v, ok := j.x.Params.Get(name); ok && j.s.Lasts > 0 && from+v.Duration > j.s.Lasts {
			j.failf(v.Pos, "its time is up at %v, after the end at %v", short(from+v.Duration), short(j.s.Lasts))
		}
	}
}

// needOrder refuses what would have to be done before it may be.
func (j *judge) needOrder() {
	within := j.x.Params.Duration("within")
	if v, ok := j.x.Params.Get("not-before"); ok && v.Duration >= within {
		j.failf(v.Pos, "not before %v is not within %v", short(v.Duration), short(within))
	}
}

func (j *judge) needWindow() {
	if v, ok := j.x.Params.Get("window"); ok && j.s.Lasts > 0 && v.Duration > j.s.Lasts {
		j.failf(v.Pos, "the window %v is longer than the story", short(v.Duration))
	}
}

func (j *judge) need(ok bool, format string, args ...any) {
	if !ok {
		j.failf(j.x.Pos, format, args...)
	}
}

func (j *judge) groups(match func(Group) bool) bool { return slices.ContainsFunc(j.s.Workload, match) }

func (j *judge) needSubscribers() {
	j.need(j.groups(func(g Group) bool { return g.Does(Subscribe) }), "no client subscribes")
}

func (j *judge) needPublishers() {
	j.need(j.groups(func(g Group) bool { return g.Does(Publish) }), "no client publishes")
}

func (j *judge) needBrowsers() {
	j.need(j.groups(func(g Group) bool { return g.Browsers > 0 && len(g.Do) > 0 }), "the workload has no browsers")
}

func (j *judge) needLoads() {
	j.need(j.groups(func(g Group) bool { return g.Does(Load) }), "no client loads the apex page")
}

// needTraffic wants clients for each host that the expectation names.
func (j *judge) needTraffic() {
	of, _ := j.x.Params.Get("of")
	for _, host := range of.Names {
		switch {
		case host == Apex || host == WWW:
			if !j.groups(func(g Group) bool { return g.Does(Load) }) {
				j.failf(of.Pos, "no client asks anything of %s", host)
			}
		case !j.groups(func(g Group) bool {
			return g.Home == host && (g.Does(Subscribe) || g.Does(Publish)) || g.Home == "" && g.Does(Publish)
		}):
			j.failf(of.Pos, "no client asks anything of %s", host)
		}
	}
}

func (j *judge) needVPS() {
	j.need(len(j.s.Topology.VPS) > 0, "the topology has no VPS")
}

// needVerdicts wants a story in which the monitors come to judge anything.
func (j *judge) needVerdicts() {
	m := j.s.Topology.Monitor
	first := time.Duration(m.CloseAfter) * m.Probe
	j.need(j.s.Lasts == 0 || j.s.Lasts > first, "the monitors first judge after %v, and the story ends at %v", short(first), short(j.s.Lasts))
}

func (j *judge) needPaging() {
	j.needVPS()
	j.need(len(j.s.Topology.SMS) > 0, "the topology has no SMS gateway")
	j.need(len(j.s.Topology.Admins) > 0, "the topology has no admins")
}

func (j *judge) needAcknowledging() {
	j.need(j.s.Topology.Acknowledged(), "no admin acknowledges anything")
}

func (j *judge) needLostRegion() {
	j.need(len(j.event.LostRegions()) > 0, "%s takes no region away", j.event.ID)
}

func (j *judge) needOtherRegion() {
	j.need(len(j.s.Topology.Regions) > 1, "there is no other region")
}

// needClients wants the parameter, if it is given, to select a group of clients.
func (j *judge) needClients(param string) {
	if v, ok := j.x.Params.Get(param); ok && v.Selector != nil && v.Selector.Kind != ByClients {
		j.r.failf(v.Pos, "%s: want clients, not a %s", param, v.Selector.Kind)
	}
}

func (j *judge) needHijack() {
	j.need(slices.ContainsFunc(j.s.Timeline, func(e Event) bool { return e.Fault == "dns-hijack" }), "nothing leads anybody to an impostor")
}

func (j *judge) needSeeds() {
	j.need(slices.ContainsFunc(j.s.Topology.Regions, func(r Region) bool { return r.Seed > 0 }), "no region has a seed")
}

// needAwake wants no Seed ever to stand still: it does nothing then, but does not
// say so, and when it goes on cannot have said anything in time.
func (j *judge) needAwake() {
	machines := j.s.Machines()
	for _, e := range j.s.Timeline {
		still := slices.Contains([]string{"paused", "hung", "slow-machine"}, e.Fault) && !j.r.broken[e.ID]
		j.need(!still || !e.strikes(machines, RoleSeed, RoleUnderstudy), "%s has a Seed stand still", e.ID)
	}
}

func (j *judge) needOrders() {
	j.need(slices.ContainsFunc(j.s.Timeline, func(e Event) bool { return e.Fault == "drain-ordered" }), "nobody orders anything")
}

// needChildren wants the fault to strike machines on which parents run.
func (j *judge) needChildren() {
	j.need(j.event.strikes(j.s.Machines(), RoleProxy), "%s strikes no proxy, and nobody else has children", j.event.ID)
}

// quiet is how long the platform and its clients run, at least, before the first
// fault, where what is usual has to be known: they come, and stay for a while.
const quiet = 90 * time.Second

func (j *judge) needQuiet() {
	j.need(len(j.s.Timeline) > 0, "nothing ever happens")
	for _, e := range j.s.Timeline {
		j.need(e.At >= quiet, "%s strikes at %v, and what is usual is known after %v", e.ID, short(e.At), short(quiet))
	}
}

func (j *judge) needScaling() {
	j.need(slices.ContainsFunc(j.s.Topology.Regions, func(r Region) bool { return r.Scaling.Max > 0 }), "no region has scaling")
}

// needOneRegion wants the fault to strike within one region that has a seed.
func (j *judge) needOneRegion() {
	region, ok := j.s.Struck(j.event)
	r, _ := j.s.Topology.Region(region)
	j.need(ok && r.Seed > 0, "%s does not strike within one region that has a seed", j.event.ID)
}

// needHealing wants the fault to end if the parameter is given.
func (j *judge) needHealing(param string) {
	v, ok := j.x.Params.Get(param)
	if _, heals := j.event.Heals(); ok && v.Counts.Max > 0 && !heals {
		j.failf(v.Pos, "%s never heals", j.event.ID)
	}
}

// needEnd wants all faults to be over in time.
func (j *judge) needEnd() {
	over, last, ok := j.s.Over()
	if !ok {
		j.failf(j.x.Pos, "%s never heals", last)
	}
	if v, _ := j.x.Params.Get("within"); j.s.Lasts > 0 && over+v.Duration > j.s.Lasts {
		j.failf(v.Pos, "its time is up at %v, after the end at %v", short(over+v.Duration), short(j.s.Lasts))
	}
}

// needNoContradiction compares pages with nobody-paged, which comes from the
// same file and cannot hold together with it.
func (j *judge) needNoContradiction() {
	if v, ok := j.x.Params.Get("each-admin"); ok && v.Counts.Min > 0 && j.s.silent {
		j.r.failf(v.Pos, "each-admin: the story also expects nobody-paged")
	}
}

// fillNames gives dns-moved the names and providers that the file leaves out,
// and refuses names whose home the fault does not touch.
func (j *judge) fillNames() {
	lost := j.s.Topology.homes(j.event.LostRegions())
	names, given := j.x.Params.Get("names")
	for _, host := range names.Names {
		if !slices.Contains(lost, host) {
			j.failf(names.Pos, "%s does not take the home of %s away", j.event.ID, host)
		}
	}
	at, somewhere := j.x.Params.Get("at")
	if !given {
		names = Value{Pos: j.x.Pos, Name: "names", Names: lost}
	}
	if !somewhere {
		at = Value{Pos: j.x.Pos, Name: "at", Names: slices.Clone(j.s.Topology.DNS.Providers)}
	}
	within, _ := j.x.Params.Get("within")
	j.x.Params = Values{within, names, at}
}

// silentStory reports whether the file expects that nobody is paged. It looks
// ahead, because keys may come in any order.
func (r *reader) silentStory(v value) bool {
	for _, e := range r.entriesQuietly(v) {
		if e.key == string(Throughout) {
			for _, x := range r.entriesQuietly(e.value) {
				if x.key == "nobody-paged" {
					return true
				}
			}
		}
	}
	return false
}

// Deadline gives how long after its event the expectation is judged at the
// latest, 0 if it has no deadline.
func (x Expectation) Deadline() time.Duration {
	return max(x.Params.Duration("within"), x.Params.Duration("none-after"))
}
