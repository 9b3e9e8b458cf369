// Package decide turns what the vantages saw into verdicts and incidents.
//
// It promises to be a pure function: the same state, reports and time give the
// same result on every vantage, and nothing here waits, reads or writes. A
// verdict needs a majority of all configured vantages; one that is silent,
// stale or cannot reach its controls has no vote, so it can neither open nor
// close anything. A subject that goes again before it is forgotten is flapping,
// until it has been quiet for long enough. What a greater loss explains is
// folded into it, and a verdict that too few share by now is doubted. Nothing may
// fail. Start at Decide; Silenced is beside it.
package decide

import (
	"cmp"
	"crypto/sha256"
	"encoding/base32"
	"slices"
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
	Quiet      time.Duration // a flapping subject that stayed up for so long flaps no more; less than Reopen
	FoldWait   time.Duration // the verdict on a parent may fall so much later than on its child
	BlindAfter time.Duration // too few voters for so long is an incident
	Settle     time.Duration // enough voters for so long ends it
}

// Target is one watched thing. Targets with a region speak for that region;
// any other is a subject of its own.
type Target struct {
	Name      string
	Region    string
	OpenAfter int      // instead of that of Params, if not 0
	Parents   []string // subjects of which an incident explains this one's
	Home      string   // of the parents, in order of preference, where it lives now; "" where that says nothing
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
	Claims   map[string]Claim  // by subject
}

// Claim is an incident that a vantage does not hold to be over.
type Claim struct {
	Incident
	Flapping bool
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
	Incident Incident      // open, or closed a short while ago; zero without one
	Flapping bool          // it came back and went again, and has not been quiet since
	Folded   bool          // while down: a parent's incident explains it, or may yet
	Sure     time.Duration // since when a majority has seen it so without a break
	Votes    int           // that see it so now
	Doubted  bool          // less than a majority sees it so now
}

// Open says that the incident is under way.
func (s Subject) Open() bool { return s.Status == Down && s.Incident.ID != "" }

// Event is a change of a verdict.
type Event struct {
	Subject  string
	Region   bool // the subject is a region
	Status   Status
	First    bool // the first verdict since a fresh start: news to nobody
	Incident Incident
	Flapping bool
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
	var known map[string]bool
	taken := func() map[string]bool {
		if known == nil {
			known = next.names()
		}
		return known
	}
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
		subject, event, changed := step(p, name, subject, became, b, taken, reports, now)
		if changed {
			event.Region, event.Voters = groups[name][0].Region != "", len(voters)
			events = append(events, event)
		}
		next.Subjects[name] = subject
		if known != nil {
			known[subject.Incident.ID] = true
		}
	}
	if event, changed := blind(p, &next, voters, reports, at, taken); changed {
		events = append(events, event)
	}
	for _, name := range names {
		if subject := next.Subjects[name]; subject.Status == Down {
			subject.Folded = folded(p, next, groups[name], subject, reports, now)
			next.Subjects[name] = subject
		}
	}
	return next, events
}

// folded says that a subject that is down is part of a greater loss: a parent
// has an incident, or its verdict may be a round or two behind.
func folded(p Params, s State, targets []Target, subject Subject, reports []Report, now time.Duration) bool {
	for _, t := range targets {
		home := slices.Index(t.Parents, t.Home)
		for k, name := range t.Parents {
			parent := s.Subjects[name]
			if now-subject.Changed < p.FoldWait {
				return true
			}
			// It may have lived there when both went, but what goes later does so by itself.
			if home >= 0 && k > home && (subject.Changed-parent.Changed).Abs() > 2*p.FoldWait {
				continue
			}
			if parent.Open() || parent.Incident.ID != "" && claimed(p, name, parent.Incident.ID, reports) {
				return true
			}
		}
	}
	return false
}

// claimed says that some vantage does not hold the incident to be over.
func claimed(p Params, subject, id string, reports []Report) bool {
	return slices.ContainsFunc(reports, func(r Report) bool {
		return r.Age <= p.Fresh && id != "" && r.Claims[subject].ID == id
	})
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
		case ok && !result.OK && result.Streak >= cmp.Or(t.OpenAfter, p.OpenAfter):
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

// step moves one subject to its new status. It asks which names are taken only
// when an incident needs one: to gather them costs a look at all subjects.
func step(p Params, name string, s Subject, became Status, b ballot, taken func() map[string]bool, reports []Report, now time.Duration) (Subject, Event, bool) {
	// An incident that is over everywhere, and stayed so, is history.
	keep := p.Reopen
	if s.Flapping {
		keep = p.Quiet
	}
	if s.Status == Up && now-s.Changed >= keep && !claimed(p, name, s.Incident.ID, reports) {
		s.Incident, s.Flapping = Incident{}, false
	}
	if became == s.Status {
		// The verdict stands until a majority finds otherwise. But a vantage may have come
		// to it in an instant in which the reports of others were old, or be alone with
		// it since, and what it does about it is everybody's concern: that waits for the
		// doubt to go.
		switch s.Status {
		case Up:
			s.Votes = b.up
		case Down:
			s = agreed(p, name, s, reports)
			s.Votes = b.down
		}
		if s.Doubted = name != Blind && s.Votes < majority(p.Vantages); s.Doubted {
			s.Sure = now
		}
		return s, Event{}, false
	}
	first := s.Status == Unknown && became == Up && s.Incident.ID == ""
	was := s.Status
	s.Status, s.Changed, s.Sure, s.Folded, s.Doubted = became, now, now, false, false
	s.Votes = b.up
	if became == Down {
		s.Votes = b.down
		if s.Incident.ID == "" {
			since := median(b.since)
			s.Incident = Incident{shortID(name, since, taken()), since}
		} else if was == Up {
			s.Flapping = true
		}
		s = agreed(p, name, s, reports)
	}
	return s, Event{Subject: name, Status: became, First: first, Incident: s.Incident, Flapping: s.Flapping, Votes: s.Votes}, true
}

// agreed lets all vantages call an incident by one name: that of the
// lowest-ranked fresh vantage that claims one. Names differ at first only if
// two vantages opened it before they heard of one another. Reports are sorted
// by rank, and a vantage's own report is among them.
func agreed(p Params, name string, s Subject, reports []Report) Subject {
	for _, r := range reports {
		if claim, ok := r.Claims[name]; ok && r.Age <= p.Fresh && claim.ID != "" {
			s.Incident = claim.Incident
			break
		}
	}
	for _, r := range reports {
		if claim := r.Claims[name]; r.Age <= p.Fresh && claim.ID == s.Incident.ID && claim.Flapping {
			s.Flapping = true
		}
	}
	return s
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
// enough to tell incidents apart, and most clocks agree on it; a name that
// another incident has is passed over.
func shortID(subject string, since time.Time, taken map[string]bool) string {
	text := subject + "\n" + since.UTC().Truncate(time.Minute).Format(time.RFC3339)
	for {
		sum := sha256.Sum256([]byte(text))
		id := base32.StdEncoding.EncodeToString(sum[:])[:3]
		if !taken[id] {
			return id
		}
		text += "\n"
	}
}

// names of the incidents that are known.
func (s State) names() map[string]bool {
	taken := map[string]bool{}
	for _, subject := range s.Subjects {
		if subject.Incident.ID != "" {
			taken[subject.Incident.ID] = true
		}
	}
	return taken
}

// blind judges the judges.
func blind(p Params, s *State, voters, reports []Report, at Now, taken func() map[string]bool) (Event, bool) {
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
	subject, event, changed := step(p, Blind, subject, became, b, taken, reports, now)
	event.Voters = len(voters)
	s.Subjects[Blind] = subject
	return event, changed
}
