package monitor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/espra/protoplex/monitor/decide"
	"github.com/espra/protoplex/monitor/home"
	"github.com/espra/protoplex/monitor/zone"
	"github.com/espra/protoplex/nodes"
)

// maxPlanAge is how old a plan may get before it is dropped: whoever was paused
// for that long must read again before it changes anything.
const maxPlanAge = 30 * time.Second

// The actor's pace follows that of the probes.
func (c *Config) readBack() time.Duration   { return 2 * c.Probe }        // one act waits so long for the name servers
func (c *Config) lookPause() time.Duration  { return c.Probe / 5 }        // between two looks at them
func (c *Config) retryPause() time.Duration { return c.Probe }            // between two acts that left something to do
func (c *Config) stuckAfter() time.Duration { return 3 * c.ActorDelay }   // others may fare better than this vantage
func (c *Config) slowAfter() time.Duration  { return 9 * c.stuckAfter() } // what may pass is told of then, and not before
func (c *Config) glance() time.Duration     { return 6 * c.Probe }        // the same, while names are down
func (c *Config) reconcile() time.Duration  { return 30 * c.Probe }       // between two looks at zones that were right

// actor is what the acting goroutine remembers.
type actor struct {
	due      string                   // fingerprint of the homes that are to be
	since    time.Duration            // when they became so
	next     time.Duration            // not before
	looked   time.Duration            // when all was last found to be right
	glanced  time.Duration            // when it was last looked at because something is wrong with names
	planned  string                   // last plan logged
	told     map[string]home.Home     // plans logged, by host, until all servers show them
	refused  map[string]string        // what was last logged of each provider that refuses
	halves   map[string]string        // and of each that takes a part
	changed  map[string]bool          // hosts whose records this vantage changed to get there
	shown    map[string]bool          // providers whose servers show it
	behind   map[string]time.Duration // the others, since when
	attempts uint64                   // counts DNS questions
}

// fingerprint is equal for equal homes.
func fingerprint(homes map[string]home.Home) string {
	var b strings.Builder
	for _, host := range slices.Sorted(maps.Keys(homes)) {
		fmt.Fprintf(&b, "%s %s;", host, homes[host])
	}
	return b.String()
}

// begin forgets what belongs to another plan.
func (a *actor) begin(goal string) {
	a.planned, a.changed, a.shown, a.behind = goal, map[string]bool{}, map[string]bool{}, map[string]time.Duration{}
	a.told, a.refused, a.halves = map[string]home.Home{}, map[string]string{}, map[string]string{}
}

// view is what one provider holds.
type view struct {
	provider
	records []zone.Record
	err     error // of the API; records are then those that its servers show
}

// act makes the zones say where the hosts should live. It may be stopped and
// repeated at any point: all it knows it reads, and a half-made move is
// completed by whoever comes next.
func (v *vantage) act(ctx context.Context) {
	if len(v.zones) == 0 || len(v.hosts) == 0 {
		return
	}
	a, now := &v.actor, v.m.Elapsed()
	v.mu.Lock()
	want := home.Want(v.hosts, v.homes, v.regions(now), v.cfg.HoldDown)
	settled := v.settled
	known := len(v.homes) > 0
	v.mu.Unlock()

	due := fingerprint(want)
	if known && due == settled && now-a.looked < v.cfg.reconcile() {
		if now-a.glanced < v.cfg.glance() || !v.namesDown() {
			return
		}
		a.glanced = now
	}
	if known && due == settled && v.ahead() > 0 && now-a.looked < v.cfg.SilentAfter && !v.isClosed() {
		return // looking after a quiet zone is the first vantage's work; the others try their keys
	}
	if a.due != due || a.shown == nil {
		a.due, a.since, a.next = due, now, now
		if a.shown == nil {
			a.begin("")
		}
		v.mu.Lock()
		v.stuck, v.stuckAt = "", now // what blocked the last move need not block this one
		v.mu.Unlock()
	}
	if now < a.next || !v.turn(a.since) {
		return
	}
	v.bring(ctx)
	a.next = v.m.Elapsed() + v.cfg.retryPause()
}

// tryZones adds, in the way of a probe, what was wrong with a zone when this vantage
// last tried: a key that is denied is nobody's loss until a region is lost, and then
// it is too late. Of a zone with which nothing was ever wrong nothing is said. But who
// starts again with another key must say that all is well, or the incident would never end.
func (v *vantage) tryZones(next *round, last round, at time.Time) {
	if !next.controls {
		return
	}
	claimed := map[string]bool{}
	for _, e := range v.board.Latest() {
		for _, c := range e.Claims {
			claimed[c.Subject] = true
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, p := range v.zones {
		name := zonePrefix + p.name
		why, tried := v.closed[p.name]
		was, told := last.results[name]
		if why == "" && !told && !(tried && claimed[name]) {
			continue
		}
		was.Target = name
		next.results[name] = was.Then(why == "", at)
		if why != "" {
			next.saw[name] = p.name + " " + why
		}
	}
}

// isClosed says that some vantage cannot open a zone, so that all should try.
func (v *vantage) isClosed() bool {
	for _, e := range v.board.Latest() {
		for _, r := range e.Results {
			if v.cfg.isZone(r.Target) && !r.OK {
				return true
			}
		}
	}
	return false
}

// namesDown says whether any target of DNS is down by verdict: somebody may have
// changed what is kept there.
func (v *vantage) namesDown() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.ContainsFunc(v.cfg.Targets, func(t Target) bool {
		return t.Kind == "dns" && v.verdicts.Subjects[t.Name].Status == decide.Down
	})
}

// bring reads, plans, changes and reads back, once.
func (v *vantage) bring(ctx context.Context) {
	a := &v.actor
	readAt := v.m.Elapsed()
	views := v.read(ctx)
	if ctx.Err() != nil {
		return
	}
	var zones [][]zone.Record
	for _, s := range views {
		zones = append(zones, s.records)
	}
	v.mu.Lock()
	regions := v.regions(readAt)
	current := home.Current(v.hosts, v.homes, zones...)
	want := home.Want(v.hosts, current, regions, v.cfg.HoldDown)
	v.mu.Unlock()
	served := home.Current(v.hosts, nil, zones...)

	goal := fingerprint(want)
	if a.planned != goal {
		a.begin(goal)
	}
	if len(want) == 0 {
		return // nothing is known yet
	}
	plans := map[string][]home.Change{}
	errs := make([]error, len(views)) // what keeps each provider from showing the homes
	for i, s := range views {
		if errs[i] = s.err; s.err != nil {
			v.once(s.name, s.err, "provider not readable")
			continue
		}
		changes, err := home.Plan(v.hosts, want, served, regions, s.records, v.cfg.Guard)
		v.once(s.name, err, "plan refused")
		errs[i] = err
		if len(changes) > 0 {
			plans[s.name] = changes
			a.shown[s.name] = false
		}
	}
	v.remember(current)
	if len(plans) > 0 {
		v.logPlan(want, plans, views)
	}
	mades := make([]int, len(views))
	shown := make([]bool, len(views))
	halves := make([]string, len(views))
	places := make([]int, len(views))
	for i := range places {
		places[i] = i
	}
	nodes.FanOut(ctx, v.m, "providers", places, func(ctx context.Context, i int) {
		s := views[i]
		made, err := v.apply(ctx, s, plans[s.name], readAt)
		mades[i] = made
		if made > 0 {
			// The decision is in the world now, and so is its epoch.
			v.remember(home.Current(v.hosts, current, asRecords(plans[s.name][:made])))
		}
		if err != nil {
			errs[i], halves[i] = err, fmt.Sprintf("%s: %d of %d: %v", s.name, made, len(plans[s.name]), err)
			if halves[i] == a.halves[s.name] {
				return
			}
			v.log.Warn("provider half changed", "provider", s.name, "incident", v.incidentOf(want), "made", made, "of", len(plans[s.name]), "error", err)
			v.note(want, "half changed", halves[i])
			return
		}
		if made > 0 {
			v.log.Info("provider changed", "provider", s.name, "incident", v.incidentOf(want), "changes", made)
			v.note(want, "changed", fmt.Sprintf("%s: %d records", s.name, made))
		}
		// Only what was just changed is worth waiting for.
		shown[i] = v.await(ctx, s, want, made > 0)
	})
	for i, s := range views {
		a.halves[s.name] = halves[i]
		for _, c := range plans[s.name][:mades[i]] {
			a.changed[c.Host] = true
		}
	}
	all := true
	for i, s := range views {
		if shown[i] && !a.shown[s.name] {
			a.shown[s.name] = true
			if len(a.changed) > 0 {
				v.log.Info("provider read back", "provider", s.name, "authorities", len(s.authorities), "incident", v.incidentOf(want))
				v.note(want, "read back", fmt.Sprintf("%s: %d name servers", s.name, len(s.authorities)))
			}
		}
		all = all && shown[i]
	}
	v.stick(want, views, errs, shown)
	if all {
		v.settle(want)
		clear(a.told)
	}
}

// settle records that all name servers show these homes.
func (v *vantage) settle(want map[string]home.Home) {
	v.remember(want)
	now, goal := v.m.Elapsed(), fingerprint(want)
	v.mu.Lock()
	news := v.settled != goal
	complete := len(want) == len(v.hosts)
	if news {
		v.settled, v.settledAt = goal, now
	}
	v.mu.Unlock()
	v.actor.looked = now
	if !news {
		return
	}
	// What others moved is confirmed; what this vantage moved is set.
	message, moved := "home confirmed", want
	if len(v.actor.changed) > 0 {
		message, moved = "home set", map[string]home.Home{}
		for host := range v.actor.changed {
			moved[host] = want[host]
		}
	}
	for _, g := range groups(moved) {
		v.log.Info(message, "hosts", g.hosts, "region", g.Region, "epoch", g.Epoch, "incident", v.incidentOf(moved), "complete", complete)
		v.note(moved, message, fmt.Sprintf("%s: %s, epoch %d", g.hosts, g.Region, g.Epoch))
	}
}

// stick keeps what no retry will help with, or has helped with for long: whoever was
// paged for the region must hear that its names do not move.
func (v *vantage) stick(want map[string]home.Home, views []view, errs []error, shown []bool) {
	var reasons []string
	now := v.m.Elapsed()
	v.mu.Lock()
	quiet := v.settled == fingerprint(want) // then nobody waits for a provider
	v.mu.Unlock()
	for i, s := range views {
		since, ok := v.actor.behind[s.name]
		switch {
		case shown[i]:
			delete(v.actor.behind, s.name)
		case !ok:
			v.actor.behind[s.name], since = now, now
		}
		why := needsPerson(errs[i])
		v.mu.Lock()
		v.closed[s.name] = why
		v.mu.Unlock()
		switch {
		case why != "" || quiet || shown[i] || now-since < v.cfg.slowAfter():
		case errs[i] != nil:
			why = "takes no change"
		default:
			why = "does not serve the change"
		}
		if why != "" {
			reasons = append(reasons, s.name+" "+why)
		}
	}
	stuck := strings.Join(reasons, ", ")
	v.mu.Lock()
	news := stuck != v.stuck
	if v.stuck == "" {
		v.stuckAt = now
	}
	v.stuck = stuck
	v.mu.Unlock()
	if news && stuck != "" {
		v.log.Error("homes are stuck", "incident", v.incidentOf(want), "why", stuck)
		v.note(want, "stuck", stuck)
	}
}

// needsPerson says in a few words why only a person can help, or "".
func needsPerson(err error) string {
	switch {
	case errors.Is(err, zone.ErrDenied):
		return "denies our key"
	case errors.Is(err, zone.ErrNotFound):
		return "has no such zone"
	case errors.Is(err, zone.ErrMalformed):
		return "answers nonsense"
	case errors.Is(err, zone.ErrConflict):
		return "refuses the change"
	case errors.Is(err, zone.ErrGuard):
		return "would change too much"
	case errors.Is(err, home.ErrForeign):
		return "has records of others there"
	}
	return ""
}

// note adds to the story of the incident that a move belongs to, if any.
func (v *vantage) note(want map[string]home.Home, what, text string) {
	id, at := v.incidentOf(want), v.m.Now()
	v.mu.Lock()
	defer v.mu.Unlock()
	if i := v.byID(id); i != nil {
		i.note(at, what, text)
		v.changed()
	}
}

// remember keeps the homes if they are news. Epochs never go back.
func (v *vantage) remember(homes map[string]home.Home) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for host, h := range homes {
		if was := v.homes[host]; h.Epoch > was.Epoch || h.Epoch == was.Epoch && h.Region != was.Region {
			v.homes[host] = h
			v.changed()
		}
	}
}

// once logs a refusal when it is new, as it will come again with every retry.
func (v *vantage) once(provider string, err error, message string) {
	text := ""
	if err != nil {
		text = message + ": " + err.Error()
	}
	if v.actor.refused[provider] == text {
		return
	}
	v.actor.refused[provider] = text
	if err != nil {
		v.log.Warn(message, "provider", provider, "error", err)
	}
}

// read asks every provider for its records and, where the API fails, the name
// servers for the homes, which is enough to know how far epochs have come.
func (v *vantage) read(ctx context.Context) []view {
	views := make([]view, len(v.zones))
	places := make([]int, len(v.zones))
	for i := range places {
		places[i] = i
	}
	v.actor.attempts++
	n := v.actor.attempts
	nodes.FanOut(ctx, v.m, "read zones", places, func(ctx context.Context, i int) {
		p := v.zones[i]
		views[i] = view{provider: p}
		views[i].records, views[i].err = func() ([]zone.Record, error) {
			ctx, cancel := nodes.Timeout(ctx, v.m, "read "+p.name, apiLimit)
			defer cancel()
			return p.zone.Records(ctx)
		}()
		if views[i].err == nil {
			return
		}
		views[i].records = nil
		for _, h := range v.hosts {
			for _, server := range p.authorities {
				texts, err := zone.Serves(ctx, v.m, server, h.Mark(), "TXT", v.cfg.Limit, n)
				if err != nil {
					continue
				}
				for _, text := range texts {
					views[i].records = append(views[i].records, zone.Record{Name: h.Mark(), Type: "TXT", Value: text})
				}
				break
			}
		}
	})
	return views
}

// apply makes the changes in order and stops at the first that fails.
func (v *vantage) apply(ctx context.Context, s view, changes []home.Change, readAt time.Duration) (made int, err error) {
	for i, c := range changes {
		if v.m.Elapsed()-readAt > maxPlanAge {
			return i, errors.New("plan too old, reading again")
		}
		err := func() error {
			ctx, cancel := nodes.Timeout(ctx, v.m, "change "+s.name, apiLimit)
			defer cancel()
			return c.Make(ctx, s.zone)
		}()
		if err != nil {
			return i, err
		}
	}
	return len(changes), nil
}

// await asks the provider's name servers whether all show the homes: once, or,
// if patient, for a while.
func (v *vantage) await(ctx context.Context, s view, want map[string]home.Home, patient bool) bool {
	start := v.m.Elapsed()
	for n := v.actor.attempts << 16; ; n++ {
		if v.shows(ctx, s, want, n) {
			return true
		}
		if !patient || v.m.Elapsed()-start >= v.cfg.readBack() || nodes.Sleep(ctx, v.m, "read back "+s.name, v.cfg.lookPause()) != nil {
			return false
		}
	}
}

// shows says whether every name server of the provider shows the homes.
func (v *vantage) shows(ctx context.Context, s view, want map[string]home.Home, n uint64) bool {
	var missing atomic.Bool
	nodes.FanOut(ctx, v.m, "read back "+s.name, s.authorities, func(ctx context.Context, server string) {
		for _, h := range v.hosts {
			wanted, ok := want[h.Name]
			if !ok {
				continue
			}
			marks, err := zone.Serves(ctx, v.m, server, h.Mark(), "TXT", v.cfg.Limit, n)
			marks = slices.DeleteFunc(marks, func(text string) bool {
				_, err := home.Parse(text)
				return err != nil // somebody else's text
			})
			if err != nil || !slices.Equal(marks, []string{wanted.String()}) {
				missing.Store(true)
				return
			}
			names, err := zone.Serves(ctx, v.m, server, h.Name, "CNAME", v.cfg.Limit, n)
			if err != nil || !slices.Equal(names, []string{h.Balancers[wanted.Region]}) {
				missing.Store(true)
				return
			}
		}
	})
	return !missing.Load() && ctx.Err() == nil
}

// asRecords gives the homes that changes have written, as Current reads them.
func asRecords(changes []home.Change) []zone.Record {
	var records []zone.Record
	for _, c := range changes {
		if c.Op != zone.Delete {
			records = append(records, c.Record)
		}
	}
	return records
}

// group is hosts with one home.
type group struct {
	home.Home
	hosts string
}

func groups(homes map[string]home.Home) []group {
	byHome := map[home.Home][]string{}
	for _, host := range slices.Sorted(maps.Keys(homes)) {
		byHome[homes[host]] = append(byHome[homes[host]], host)
	}
	var list []group
	for h, hosts := range byHome {
		list = append(list, group{h, strings.Join(hosts, ", ")})
	}
	slices.SortFunc(list, func(a, b group) int { return cmp.Compare(a.hosts, b.hosts) })
	return list
}

// logPlan tells what is about to change, unless it has before: which hosts go where,
// and the largest part of a zone that this touches.
func (v *vantage) logPlan(want map[string]home.Home, plans map[string][]home.Change, views []view) {
	moving := map[string]home.Home{}
	changes, records := 0, 0
	for _, s := range views {
		for _, c := range plans[s.name] {
			if v.actor.told[c.Host] != want[c.Host] {
				moving[c.Host] = want[c.Host]
			}
		}
		if n := len(plans[s.name]); n > changes {
			changes, records = n, len(s.records)
		}
	}
	maps.Copy(v.actor.told, moving)
	for _, g := range groups(moving) {
		v.log.Info("plan", "incident", v.incidentOf(moving), "hosts", g.hosts, "region", g.Region, "epoch", strconv.FormatUint(g.Epoch, 10),
			"changes", changes, "records", records)
		v.note(moving, "plan", fmt.Sprintf("%s to %s, epoch %d", g.hosts, g.Region, g.Epoch))
	}
}

// incidentOf names the region's incident that a move belongs to, if any.
func (v *vantage) incidentOf(want map[string]home.Home) string {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, h := range v.hosts {
		if _, ok := want[h.Name]; !ok {
			continue
		}
		for _, region := range h.Regions {
			if i := v.incidents[region]; i != nil && !i.Over {
				return i.ID
			}
		}
	}
	return ""
}
