package monitor

import (
	"cmp"
	"slices"
	"time"

	"github.com/espra/protoplex/monitor/decide"
	"github.com/espra/protoplex/monitor/status"
)

// shown is what this vantage has to show to people.
func (v *vantage) shown() status.Page {
	now, wall := v.m.Elapsed(), v.m.Now().UTC()
	p := status.Page{Title: "Espra", Vantage: v.cfg.Name, Now: wall, Stale: v.params.Fresh, Vantages: v.others(now)}
	v.mu.Lock()
	p.Seen, p.Unsaved = v.seen.at, v.unkept
	p.Subjects = v.shownSubjects(now, wall)
	p.Incidents = v.shownIncidents(now, false)
	p.Maintenance = v.shownSilences(wall)
	v.mu.Unlock()
	for i := range p.Subjects {
		for k := range p.Subjects[i].Targets {
			v.history(&p.Subjects[i].Targets[k], wall)
		}
	}
	return p
}

// shownNow is as much of it as the page of one incident needs, with the names of
// people or without.
func (v *vantage) shownNow(named bool) status.Page {
	p := status.Page{Title: "Espra", Vantage: v.cfg.Name, Now: v.m.Now().UTC(), Stale: v.params.Fresh}
	now := v.m.Elapsed()
	v.mu.Lock()
	defer v.mu.Unlock()
	p.Seen, p.Incidents = v.seen.at, v.shownIncidents(now, named)
	return p
}

// others are all vantages, this one among them, by rank.
func (v *vantage) others(now time.Duration) []status.Vantage {
	var all []status.Vantage
	latest := v.board.Latest()
	for name, rank := range v.ranks {
		o := status.Vantage{Name: name, Rank: rank}
		for _, e := range latest {
			if e.Vantage == name {
				o.Heard, o.Age, o.Abstains = true, now-e.Arrived, !e.Controls
			}
		}
		all = append(all, o)
	}
	slices.SortFunc(all, func(a, b status.Vantage) int { return cmp.Compare(a.Rank, b.Rank) })
	return all
}

// shownSubjects are those of the targets, in the order of the configuration,
// and monitoring itself. The caller holds mu.
func (v *vantage) shownSubjects(now time.Duration, wall time.Time) []status.Subject {
	var all []status.Subject
	add := func(name string) *status.Subject {
		s := v.verdicts.Subjects[name]
		shown := status.Subject{Name: name, State: status.State(s.Status.String()), Votes: s.Votes}
		if s.Status != decide.Unknown {
			shown.Since = wall.Add(s.Changed - now)
		}
		if i := v.incidents[name]; i != nil {
			shown.Incident = i.ID
			if s.Flapping && s.Status == decide.Up && !i.Over {
				shown.State = status.Flapping
			}
		}
		all = append(all, shown)
		return &all[len(all)-1]
	}
	places := map[string]int{}
	for i, t := range v.params.Targets {
		if v.neverWrong(t.Name) {
			continue
		}
		place, ok := places[t.Subject()]
		if !ok {
			place = len(all)
			places[t.Subject()] = place
			add(t.Subject())
		}
		target := status.Target{Name: t.Name, Kind: v.kind(i), State: status.Unknown}
		if result, ok := v.seen.results[t.Name]; ok && result.OK {
			target.State = status.Up
		} else if ok {
			target.State = status.Down
		}
		all[place].Targets = append(all[place].Targets, target)
	}
	add(decide.Blind)
	return all
}

// neverWrong says that a subject is a zone with which nothing was ever wrong. Nobody
// need be told of it: it has no verdict before something is. The caller holds mu.
func (v *vantage) neverWrong(name string) bool {
	_, tried := v.seen.results[name]
	return !tried && v.cfg.isZone(name) && v.verdicts.Subjects[name].Status == decide.Unknown
}

// kind is that of the n-th of the decider's targets: behind those of the
// configuration come the vantages themselves, and the zones.
func (v *vantage) kind(n int) string {
	if n < len(v.cfg.Targets) {
		return v.cfg.Targets[n].Kind
	}
	if v.cfg.isZone(v.params.Targets[n].Name) {
		return "zone"
	}
	return "vantage"
}

// shownSilences are the planned works that are not over. The caller holds mu.
func (v *vantage) shownSilences(wall time.Time) []status.Period {
	var all []status.Period
	for _, s := range v.silences {
		if s.Until.After(wall) {
			all = append(all, status.Period{What: s.Subject, Why: s.Why, From: s.From, Until: s.Until})
		}
	}
	return all
}

// shownIncidents are those that this vantage remembers, newest first, with as
// much as it knows of what happened. The caller holds mu.
func (v *vantage) shownIncidents(now time.Duration, named bool) []status.Incident {
	known := slices.Clone(v.past)
	for _, subject := range v.subjects() {
		known = append(known, v.incidents[subject])
	}
	var all []status.Incident
	for _, i := range known {
		shown := status.Incident{
			ID: i.ID, Subject: i.Subject, Open: !i.Over, Since: i.Since,
			Vantages: v.params.Vantages, AcknowledgedBy: someone(i.acknowledged(), named),
			Timeline: []status.Moment{{At: i.Since, What: "first failed probe"}},
		}
		if i.Open {
			shown.Votes = v.verdicts.Subjects[i.Subject].Votes
			shown.Folded = v.verdicts.Subjects[i.Subject].Folded
		}
		if i.Region && !i.Over {
			shown.Doing = v.doing(i.Subject, now)
		}
		for _, m := range i.Timeline(named) {
			what := m.What
			if m.Text != "" {
				what += ": " + m.Text
			}
			shown.Timeline = append(shown.Timeline, status.Moment{At: m.At, What: what})
		}
		if i.Over {
			shown.Ended = i.Ended
		}
		all = append(all, shown)
	}
	slices.SortStableFunc(all, func(a, b status.Incident) int { return b.Since.Compare(a.Since) })
	return all
}

// history adds what the record has of a target.
func (v *vantage) history(t *status.Target, wall time.Time) {
	const quarter, day = 15 * time.Minute, 24 * time.Hour
	t.Day = status.Bins(v.recorder.Window(t.Name, wall.Truncate(quarter).Add(-95*quarter), quarter, 96))
	t.Days = status.Bins(v.recorder.Window(t.Name, wall.Truncate(day).Add(-89*day), day, 90))
	if last, ok := v.recorder.Last(t.Name); ok {
		t.At, t.Took, t.Text = last.At, last.Took(), last.Text
	}
}
