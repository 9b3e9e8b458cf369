package monitor

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/espra/protoplex/monitor/decide"
	"github.com/espra/protoplex/monitor/home"
)

// decide brings verdicts and incidents up to date.
func (v *vantage) decide(context.Context) {
	now := decide.Now{Elapsed: v.m.Elapsed(), Wall: v.m.Now().UTC()}
	reports := v.reports(now.Elapsed)
	held := map[string]bool{} // incidents that a vantage before this one does not hold to be over
	for _, r := range reports {
		for _, c := range r.Claims {
			held[c.ID] = held[c.ID] || r.Rank < v.cfg.Rank && !r.Abstains && r.Age <= v.params.Fresh
		}
	}
	var lines []func()
	v.mu.Lock()
	var events []decide.Event
	v.verdicts, events = decide.Decide(v.atHome(), v.verdicts, reports, now)
	for _, e := range events {
		lines = append(lines, v.follow(e, now))
	}
	v.adopt(now)
	for _, subject := range v.subjects() {
		v.finish(subject, held, now)
	}
	v.mu.Unlock()
	for _, line := range lines {
		line()
	}
}

// atHome gives the thresholds with the homes as they are: a region that is lost explains
// nothing about a host that lives elsewhere. The caller holds mu.
func (v *vantage) atHome() decide.Params {
	p := v.params
	p.Targets = slices.Clone(p.Targets)
	for k, t := range v.cfg.Targets {
		if p.Targets[k].Parents != nil {
			p.Targets[k].Home = v.homes[t.Home].Region
		}
	}
	return p
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
	if e.Status == decide.Down && i != nil && i.Over && i.ID != e.Incident.ID && v.isAnother(i, e.Incident) {
		v.bury(i) // as it ended
		i = nil
	}
	if e.Status == decide.Down && i == nil {
		i = &Incident{ID: e.Incident.ID, Subject: e.Subject, Since: e.Incident.Since, Region: e.Region}
		v.incidents[e.Subject] = i
	}
	votes := fmt.Sprintf("%d/%d vantages", e.Votes, v.params.Vantages)
	switch {
	case e.Status == decide.Down:
		i.Open, i.Over, i.Ended = true, false, time.Time{}
		i.note(now.Wall, "opened", votes)
		v.changed()
	case i != nil && !i.Over:
		i.Open, i.Ended = false, now.Wall
		i.note(now.Wall, "up", votes)
		v.changed()
	}
	state := e.Status.String()
	switch {
	case e.Status != decide.Down:
	case e.Subject == decide.Blind:
		state = "blind"
	case v.cfg.isVantage(e.Subject):
		state = "silent"
	}
	attrs := []any{
		"target", e.Subject, "region", region, "state", state, "votes", e.Votes, "voters", e.Voters, "incident", e.Incident.ID,
	}
	if e.Flapping {
		attrs = append(attrs, "flapping", true)
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

// adopt takes over what the vantages agreed on: the name of an incident, and
// that it flaps. What was done under another name of the same outage stays
// done; one that began long before or after is another outage. The caller holds
// mu.
func (v *vantage) adopt(now decide.Now) {
	for _, name := range v.subjects() {
		i, s := v.incidents[name], v.verdicts.Subjects[name]
		agreed := s.Incident
		if agreed.ID != "" && agreed.ID != i.ID {
			if !v.isAnother(i, agreed) {
				for k, t := range i.Texts {
					// Who answers a text says the name that is in it.
					i.Texts[k].Incident, i.Texts[k].Lead = agreed.ID, cmp.Or(t.Lead, i.ID)
				}
				for k := range i.Acks {
					i.Acks[k].Incident = agreed.ID
				}
			} else {
				v.bury(i)
				i = &Incident{Subject: name, Open: i.Open, Region: i.Region, Moved: i.Moved}
				v.incidents[name] = i
				i.note(now.Wall, "opened", "as other vantages call it")
			}
			i.ID, i.Since = agreed.ID, agreed.Since
			v.changed()
		}
		if s.Flapping && !i.Flapping && i.Open {
			i.Flapping = true
			i.note(now.Wall, "flapping", "")
			v.changed()
		}
	}
}

// isAnother says that what the vantages call otherwise is another outage.
func (v *vantage) isAnother(i *Incident, agreed decide.Incident) bool {
	return agreed.Since.Sub(i.Since).Abs() >= v.cfg.HoldDown
}

// finish decides whether an incident is over: its subject is up and, of a
// region, traffic is home; one that flapped must have stayed up as well. A
// vantage before this one may know of more, such as homes that it moved. The
// caller holds mu.
func (v *vantage) finish(name string, held map[string]bool, now decide.Now) {
	i, s := v.incidents[name], v.verdicts.Subjects[name]
	switch {
	case i.Region && v.displaced(name):
		if !i.Moved {
			i.Moved = true
			v.changed()
		}
	case i.Open || s.Status != decide.Up || s.Doubted && !i.Over:
	case held[i.ID] && !i.Over:
	case i.Over:
		// Kept while the decider might reopen it, and others may need to hear.
		if s.Incident.ID != i.ID && now.Elapsed-i.closed >= v.params.Reopen {
			v.bury(i)
			delete(v.incidents, name)
			v.changed()
		}
	case s.Flapping && now.Elapsed-s.Changed < v.params.Quiet:
	case i.Moved && (v.settled != fingerprint(v.homes) || now.Elapsed-v.settledAt < v.patience(name)):
		// Resolvers may send people elsewhere until what they keep has expired.
	default:
		if i.Moved {
			i.Ended = now.Wall
		}
		i.Over, i.Flapping, i.closed = true, false, now.Elapsed
		i.note(now.Wall, "over", "")
		v.changed()
	}
}

// bury keeps the story of an incident that is history. The caller holds mu.
func (v *vantage) bury(i *Incident) {
	i.Words = nil // nobody asks any more
	v.past = append(v.past, i)
	v.past = slices.Delete(v.past, 0, max(0, len(v.past)-maxPast))
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
		// A verdict that a vantage keeps while it is alone begins nothing, neither away nor
		// back; a move that was begun is completed by whoever is left.
		r := home.Region{Up: s.Status == decide.Up, Down: s.Status == decide.Down && !s.Doubted, UpFor: now - s.Sure}
		if s.Doubted {
			r.UpFor = -1 // less than any hold-down
		}
		if silence, ok := decide.Silenced(v.silences, t.Region, v.m.Now()); ok && silence.Keep {
			r.Down, r.UpFor = false, 0 // neither away from it nor back
		}
		regions[t.Region] = r
	}
	return regions
}
