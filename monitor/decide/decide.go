// Package decide turns what the vantages saw into verdicts and incidents.
//
// It promises to be a pure function: the same state, reports and time give the
// same result on every vantage, and nothing here waits, reads or writes. A
// verdict needs a majority of all configured vantages; one that is silent,
// stale or cannot reach its controls has no vote, so it can neither open nor
// close anything. Nothing may fail. Start at Decide.
package decide

import (
	"cmp"
	"crypto/sha256"
	"encoding/base32"
	"slices"
	"strings"
	"time"
)

// Params are the thresholds.
type Params struct {
	Vantages   int           // configured, all of them
	Targets    []Target      // what is watched
	OpenAfter  int           // failed rounds in a row before a vantage votes down
	CloseAfter int           // good rounds in a row before it votes up
	Fresh      time.Duration // an older report has no vote
	Reopen     time.Duration // an incident that closed this recently is reopened, not replaced
	BlindAfter time.Duration // too few voters for so long is an incident
	Settle     time.Duration // enough voters for so long ends it
}

// Target is one watched thing. Targets with a region speak for that region;
// any other is a subject of its own.
type Target struct {
	Name   string
	Region string
}

// Subject names what a target speaks for.
func (t Target) Subject() string {
	if t.Region != "" {
		return t.Region
	}
	return t.Name
}

// Blind is the subject of the incident that the vantages cannot judge.
const Blind = "monitoring"

// Report is what one vantage last said.
type Report struct {
	Vantage  string
	Rank     int
	Age      time.Duration // since it arrived, by this machine's monotonic clock
	Abstains bool
	Results  map[string]Result // by target
	Claims   map[string]Incident
}

// Result is one target as one vantage sees it.
type Result struct {
	OK     bool
	Streak int
	Since  time.Time
}

// Incident is an outage with the name that all vantages use for it.
type Incident struct {
	ID    string
	Since time.Time // first failed probe
}

// Status is what is known of a subject.
type Status int

// The statuses. A subject starts Unknown: not checked is not up.
const (
	Unknown Status = iota
	Up
	Down
)

func (s Status) String() string { return [...]string{"unknown", "up", "down"}[s] }

// State is what Decide remembers. The zero value is a fresh start. Callers
// must not change one that they have passed to or got from Decide.
type State struct {
	Subjects map[string]Subject
	// few is when voters first were too few, enough when they first sufficed
	// again; the flags tell whether the times mean anything.
	few, enough     time.Duration
	isFew, isEnough bool
}

// Subject is the state of one subject.
type Subject struct {
	Status   Status
	Changed  time.Duration // when Status became so, on the deciding machine's monotonic clock
	Incident Incident      // open, or closed within Reopen; zero without one
	Flaps    int           // how often it was reopened
	Votes    int           // that agreed at the last verdict or, while down, now
}

// Flapping says that the subject came back and went again.
func (s Subject) Flapping() bool { return s.Flaps > 0 }

// Open says that the incident is under way.
func (s Subject) Open() bool { return s.Status == Down && s.Incident.ID != "" }

// Event is a change of a verdict.
type Event struct {
	Subject  string
	Region   bool // the subject is a region
	Status   Status
	First    bool // the first verdict since a fresh start: news to nobody
	Incident Incident
	Flaps    int
	Votes    int
	Voters   int
}

// Restore gives a state in which the given subjects have the given incidents.
// An open one counts as down until the vantages say otherwise.
func Restore(now time.Duration, subjects map[string]Subject) State {
	s := State{Subjects: map[string]Subject{}}
	for name, subject := range subjects {
		subject.Changed = now
		s.Subjects[name] = subject
	}
	return s
}

// Now is the time on the deciding machine.
type Now struct {
	Elapsed time.Duration // monotonic: all durations are measured by it
	Wall    time.Time     // only ever shown to people
}

// Decide takes the latest report of each vantage, its own included, and the
// time. It gives the next state and what changed: subjects sorted by name,
// then Blind.
func Decide(p Params, s State, reports []Report, at Now) (State, []Event) {
	now := at.Elapsed
	reports = slices.Clone(reports)
	slices.SortFunc(reports, func(x, y Report) int {
		return cmp.Or(cmp.Compare(x.Rank, y.Rank), cmp.Compare(x.Vantage, y.Vantage))
	})
	voters := slices.DeleteFunc(slices.Clone(reports), func(r Report) bool { return r.Abstains || r.Age > p.Fresh })
	next := s
	next.Subjects = map[string]Subject{}
	for name, subject := range s.Subjects {
		next.Subjects[name] = subject
	}

	var events []Event
	groups := map[string][]Target{}
	var names []string
	for _, t := range p.Targets {
		if _, ok := groups[t.Subject()]; !ok {
			names = append(names, t.Subject())
		}
		groups[t.Subject()] = append(groups[t.Subject()], t)
	}
	slices.Sort(names)
	for _, name := range names {
		b := count(p, groups[name], voters)
		subject := next.Subjects[name]
		became := subject.Status
		switch {
		case b.down >= majority(p.Vantages):
			became = Down
		case b.up >= majority(p.Vantages):
			became = Up
		}
		subject, event, changed := step(p, name, subject, became, b, reports, now)
		if changed {
			event.Region, event.Voters = groups[name][0].Region != "", len(voters)
			events = append(events, event)
		}
		next.Subjects[name] = subject
	}
	if event, changed := blind(p, &next, voters, reports, at); changed {
		events = append(events, event)
	}
	return next, events
}

// majority of all configured vantages, reachable or not.
func majority(vantages int) int { return vantages/2 + 1 }

// ballot is how the voters see one subject.
type ballot struct {
	up, down int
	since    []time.Time // first failures, one of each that votes down
}

func count(p Params, targets []Target, voters []Report) ballot {
	var b ballot
	for _, r := range voters {
		switch status, since := vote(p, targets, r); status {
		case Up:
			b.up++
		case Down:
			b.down++
			b.since = append(b.since, since)
		}
	}
	return b
}

// vote is one vantage's: down if any of the targets is, up if all are.
func vote(p Params, targets []Target, r Report) (Status, time.Time) {
	status, since := Up, time.Time{}
	for _, t := range targets {
		result, ok := r.Results[t.Name]
		switch {
		case ok && !result.OK && result.Streak >= p.OpenAfter:
			if status != Down || result.Since.Before(since) {
				since = result.Since
			}
			status = Down
		case status == Down:
		case !ok || !result.OK || result.Streak < p.CloseAfter:
			status = Unknown
		}
	}
	return status, since
}

// step moves one subject to its new status.
func step(p Params, name string, s Subject, became Status, b ballot, reports []Report, now time.Duration) (Subject, Event, bool) {
	// An incident that stayed closed so long is history.
	if s.Status == Up && s.Incident.ID != "" && now-s.Changed >= p.Reopen {
		s.Incident, s.Flaps = Incident{}, 0
	}
	if became == s.Status {
		if s.Status == Down {
			s.Incident = agreed(name, s.Incident, reports, p)
			s.Votes = b.down
		}
		return s, Event{}, false
	}
	first := s.Status == Unknown && became == Up && s.Incident.ID == ""
	was := s.Status
	s.Status, s.Changed = became, now
	s.Votes = b.up
	if became == Down {
		s.Votes = b.down
		if s.Incident.ID == "" {
			since := median(b.since)
			s.Incident = agreed(name, Incident{shortID(name, since), since}, reports, p)
		} else if was == Up {
			s.Flaps++
		}
	}
	return s, Event{Subject: name, Status: became, First: first, Incident: s.Incident, Flaps: s.Flaps, Votes: s.Votes}, true
}

// agreed lets all vantages call an incident by one name: that of the
// lowest-ranked fresh vantage that has it open. Names differ at first only if
// two vantages opened it before they heard of one another. Reports are sorted
// by rank, and a vantage's own report is among them.
func agreed(subject string, own Incident, reports []Report, p Params) Incident {
	for _, r := range reports {
		if claim, ok := r.Claims[subject]; ok && r.Age <= p.Fresh && claim.ID != "" {
			return claim
		}
	}
	return own
}

// median of the vantages' first failures, so that one wrong clock does not
// date the incident.
func median(times []time.Time) time.Time {
	if len(times) == 0 {
		return time.Time{}
	}
	times = slices.Clone(times)
	slices.SortFunc(times, time.Time.Compare)
	return times[(len(times)-1)/2]
}

// shortID is three letters or digits, for reading aloud at night. The minute is
// enough to tell incidents apart, and most clocks agree on it.
func shortID(subject string, since time.Time) string {
	sum := sha256.Sum256([]byte(subject + "\n" + since.UTC().Truncate(time.Minute).Format(time.RFC3339)))
	return strings.ToUpper(base32.StdEncoding.EncodeToString(sum[:])[:3])
}

// blind judges the judges.
func blind(p Params, s *State, voters, reports []Report, at Now) (Event, bool) {
	now := at.Elapsed
	subject := s.Subjects[Blind]
	became := subject.Status
	if len(voters) < majority(p.Vantages) {
		if !s.isFew {
			s.isFew, s.few = true, now
		}
		s.isEnough = false
		if now-s.few >= p.BlindAfter {
			became = Down
		}
	} else {
		if !s.isEnough {
			s.isEnough, s.enough = true, now
		}
		s.isFew = false
		if subject.Status != Down || now-s.enough >= p.Settle {
			became = Up
		}
	}
	b := ballot{up: len(voters), down: len(voters), since: []time.Time{at.Wall.Add(s.few - now)}}
	subject, event, changed := step(p, Blind, subject, became, b, reports, now)
	event.Voters = len(voters)
	s.Subjects[Blind] = subject
	return event, changed
}
