package monitor

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/espra/protoplex/monitor/decide"
	"github.com/espra/protoplex/monitor/home"
)

// decide brings verdicts and incidents up to date.
func (v *vantage) decide(context.Context) {
	now := decide.Now{Elapsed: v.m.Elapsed(), Wall: v.m.Now().UTC()}
	reports := v.reports(now.Elapsed)
	var lines []func()
	v.mu.Lock()
	var events []decide.Event
	v.verdicts, events = decide.Decide(v.params, v.verdicts, reports, now)
	for _, e := range events {
		lines = append(lines, v.follow(e, now))
	}
	v.adopt()
	for _, subject := range v.subjects() {
		v.finish(subject, now)
	}
	v.mu.Unlock()
	for _, line := range lines {
		line()
	}
}

// subjects with an incident, sorted. The caller holds mu.
func (v *vantage) subjects() []string {
	var names []string
	for name := range v.incidents {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// follow keeps the incident of an event and gives what to log once the mutex
// is free. The caller holds mu.
func (v *vantage) follow(e decide.Event, now decide.Now) func() {
	region := ""
	if e.Region {
		region = e.Subject
	}
	i := v.incidents[e.Subject]
	switch {
	case e.Status == decide.Down && (i == nil || i.ID != e.Incident.ID):
		v.incidents[e.Subject] = &incident{
			ID: e.Incident.ID, Since: e.Incident.Since, Open: true, Region: e.Region, opened: now.Elapsed,
		}
		v.changed()
	case e.Status == decide.Down:
		i.Open, i.Over, i.Ended, i.Flaps, i.opened = true, false, time.Time{}, e.Flaps, now.Elapsed
		v.changed()
	case i != nil:
		i.Open, i.Ended = false, now.Wall
		v.changed()
	}
	state := e.Status.String()
	if e.Subject == decide.Blind && e.Status == decide.Down {
		state = "blind"
	}
	attrs := []any{
		"target", e.Subject, "region", region, "state", state, "votes", e.Votes, "voters", e.Voters, "incident", e.Incident.ID,
	}
	if e.Flaps > 0 {
		attrs = append(attrs, "flaps", e.Flaps)
	}
	return func() {
		if e.First {
			v.log.Info("first verdict", attrs...)
			return
		}
		v.log.Info("verdict", attrs...)
		if e.Region && e.Status == decide.Up {
			v.log.Info("hold-down started", "region", e.Subject, "until", now.Wall.Add(v.cfg.HoldDown).Format(time.RFC3339), "incident", e.Incident.ID)
		}
	}
}

// adopt takes over the names that the vantages agreed on, also in what was
// done under an older name. The caller holds mu.
func (v *vantage) adopt() {
	for name, i := range v.incidents {
		agreed := v.verdicts.Subjects[name].Incident
		if agreed.ID == "" || agreed.ID == i.ID {
			continue
		}
		for k, key := range i.Done {
			i.Done[k] = strings.Replace(key, " "+i.ID+" ", " "+agreed.ID+" ", 1)
		}
		slices.Sort(i.Done)
		i.ID, i.Since = agreed.ID, agreed.Since
		v.changed()
	}
}

// finish decides whether an incident is over: its subject is up and, of a
// region, traffic is home; one that flapped must have stayed up as well. The
// caller holds mu.
func (v *vantage) finish(name string, now decide.Now) {
	i, s := v.incidents[name], v.verdicts.Subjects[name]
	switch {
	case i.Region && v.displaced(name):
		if !i.Moved {
			i.Moved = true
			v.changed()
		}
	case i.Open || s.Status != decide.Up:
	case i.Over:
		if now.Elapsed-i.closed >= v.params.Reopen {
			delete(v.incidents, name)
			v.changed()
		}
	case s.Flapping() && now.Elapsed-s.Changed < v.cfg.HoldDown:
	case i.Moved && (v.settled != fingerprint(v.homes) || now.Elapsed-v.settledAt < v.patience(name)):
		// Resolvers may send people elsewhere until what they keep has expired.
	default:
		if i.Moved {
			i.Ended = now.Wall
		}
		i.Over, i.closed = true, now.Elapsed
		v.changed()
	}
}

// displaced says that a host which prefers the region lives elsewhere, as far
// as known. The caller holds mu.
func (v *vantage) displaced(region string) bool {
	for _, h := range v.hosts {
		cur := v.homes[h.Name].Region
		at, there := slices.Index(h.Regions, cur), slices.Index(h.Regions, region)
		if there >= 0 && at > there {
			return true
		}
	}
	return false
}

// patience is the longest that a resolver keeps an old address of a host that
// prefers the region.
func (v *vantage) patience(region string) time.Duration {
	var longest time.Duration
	for _, h := range v.hosts {
		if slices.Contains(h.Regions, region) {
			longest = max(longest, h.TTL)
		}
	}
	return longest
}

// regions gives the verdicts in the planner's words. The caller holds mu.
func (v *vantage) regions(now time.Duration) map[string]home.Region {
	regions := map[string]home.Region{}
	for _, t := range v.params.Targets {
		if t.Region == "" {
			continue
		}
		s := v.verdicts.Subjects[t.Region]
		regions[t.Region] = home.Region{Up: s.Status == decide.Up, Down: s.Status == decide.Down, UpFor: now - s.Changed}
	}
	return regions
}
