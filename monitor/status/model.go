// Package status shows people what a vantage knows: what is up, what was not,
// and what was done about it.
//
// It is a pure renderer. Whoever runs it fills a Page; the same Page gives the
// page for people, the page of one incident, and JSON for programs. It promises
// that the pages need nothing but themselves, no script and no other host, that
// whatever text comes in is escaped, and that old data is shown with its age.
// Nothing may fail but the connection to the reader.
//
// Start at Page, then Handler.
package status

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/espra/protoplex/monitor/record"
)

// State is how something is, in one word.
type State string

// The states.
const (
	Up          State = "up"
	Down        State = "down"
	Flapping    State = "flapping" // up, but it went down again and again
	Unknown     State = "unknown"  // not seen yet, or not by enough vantages
	Maintenance State = "maintenance"
)

// Page is all that there is to show. Lists are shown in their order.
type Page struct {
	Title       string        `json:"title"`   // whose status it is
	Vantage     string        `json:"vantage"` // who says so
	Now         time.Time     `json:"now"`
	Seen        time.Time     `json:"seen"`              // when the vantage last looked; zero before the first time
	Unsaved     bool          `json:"unsaved,omitempty"` // the vantage cannot save what it knows
	Stale       time.Duration `json:"stale_ns"`          // what is older than this is marked
	Subjects    []Subject     `json:"subjects"`
	Incidents   []Incident    `json:"incidents"` // newest first
	Maintenance []Period      `json:"maintenance"`
	Vantages    []Vantage     `json:"vantages"`
}

// Subject is what verdicts are about: a region, or a target by itself.
type Subject struct {
	Name     string    `json:"name"`
	State    State     `json:"state"`
	Since    time.Time `json:"since"` // in this state; zero if that is not known
	Votes    int       `json:"votes"` // of vantages that agree
	Incident string    `json:"incident,omitempty"`
	Targets  []Target  `json:"targets"` // that speak for it
}

// Target is one thing that is watched, as this vantage sees it.
type Target struct {
	Name  string        `json:"name"`
	Kind  string        `json:"kind"`
	State State         `json:"state"`
	At    time.Time     `json:"at"`             // of the last result; zero without one
	Took  time.Duration `json:"took_ns"`        // by the last result
	Text  string        `json:"text,omitempty"` // error or note of the last result
	Day   []Bin         `json:"day"`            // the last 24 hours, oldest first
	Days  []Bin         `json:"days"`           // the last 90 days, oldest first
}

// Bin is what was seen in one stretch of time.
type Bin struct {
	OK, Failed, Unknown int
	Mean, Max           time.Duration // of those that were OK
}

// MarshalJSON gives [ok, failed, unknown, mean in ms, max in ms]: there are many.
func (b Bin) MarshalJSON() ([]byte, error) {
	return fmt.Appendf(nil, "[%d,%d,%d,%d,%d]", b.OK, b.Failed, b.Unknown, b.Mean.Milliseconds(), b.Max.Milliseconds()), nil
}

var _ json.Marshaler = Bin{}

// Bins are points of a series.
func Bins(points []record.Point) []Bin {
	bins := make([]Bin, len(points))
	for i, p := range points {
		bins[i] = Bin{OK: p.OK(), Failed: p.Failed(), Unknown: p.Unknown(), Mean: p.Mean(), Max: p.Max()}
	}
	return bins
}

// Incident is an outage, with all that happened.
type Incident struct {
	ID             string    `json:"id"` // letters and digits
	Subject        string    `json:"subject"`
	Open           bool      `json:"open"` // not over yet
	Since          time.Time `json:"since"`
	Ended          time.Time `json:"ended,omitzero"`
	Votes          int       `json:"votes"` // of so many vantages; 0 once it is up
	Vantages       int       `json:"vantages"`
	Doing          string    `json:"doing,omitempty"`           // what the system is doing about it
	Folded         bool      `json:"folded,omitempty"`          // a greater incident tells of it, or may yet
	AcknowledgedBy string    `json:"acknowledged_by,omitempty"` // name of a person, or "an admin" for strangers
	Timeline       []Moment  `json:"timeline"`                  // oldest first
}

// Form is what somebody fills in who takes an incident up. It is sent by POST to
// the page of the incident, as "by" and "token".
type Form struct {
	People []string // to choose from; none for whoever has to say it, as a stranger
	Others []string // subjects of other incidents that the answer is for too
	Token  string   // that the reader came with; a secret of theirs
	Note   string   // what was wrong with the form before, "" if nothing was
}

// Moment is one thing that happened in an incident.
type Moment struct {
	At   time.Time `json:"at"` // zero if that is not known
	What string    `json:"what"`
}

// Period is planned maintenance.
type Period struct {
	What  string    `json:"what"` // subjects
	Why   string    `json:"why"`
	From  time.Time `json:"from"`
	Until time.Time `json:"until"`
}

// Vantage is one that watches, as the vantage of the page hears from it.
type Vantage struct {
	Name     string        `json:"name"`
	Rank     int           `json:"rank"`
	Heard    bool          `json:"heard"`    // since the vantage of the page was started
	Age      time.Duration `json:"age_ns"`   // of what was heard
	Abstains bool          `json:"abstains"` // it cannot reach its controls
}
