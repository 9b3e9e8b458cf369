package sms

import (
	"fmt"
	"strings"
	"time"
)

// Alert is what a message tells: state, what, since when, how many agree, what
// the system is doing, the incident's id and where to read more.
type Alert struct {
	What     string // region or target
	Since    time.Time
	Votes    int
	Vantages int
	Doing    string // "Moving DNS to eu-west.", or what was seen of what nothing is done about; may be empty
	Incident string
	Link     string // may be empty

	Unanswered []string // who was told before and does not answer
}

// Down words the first message of an incident.
func (a Alert) Down() string { return a.text("DOWN " + a.What + " since " + clock(a.Since)) }

// Flapping words the one message that tells of a subject that came and went.
func (a Alert) Flapping() string { return a.text("FLAPPING " + a.What + " since " + clock(a.Since)) }

// Blind words the incident that too few vantages can judge.
func (a Alert) Blind() string { return a.text("BLIND monitoring since " + clock(a.Since)) }

// Silent words the incident that a vantage is not heard by the others.
func (a Alert) Silent() string { return a.text("SILENT " + a.What + " since " + clock(a.Since)) }

// Certificate words the incident that one ends soon, has ended, or is not valid.
func (a Alert) Certificate() string {
	return a.text("CERTIFICATE " + a.What + " since " + clock(a.Since))
}

// Stuck words that names stay where they are until somebody helps.
func (a Alert) Stuck(why string) string {
	return shorten("ESPRA STUCK "+a.What+" since "+clock(a.Since)+".", "DNS not moved: "+why+".", a.Incident, a.Link)
}

func (a Alert) text(state string) string {
	votes := fmt.Sprintf(", %d/%d vantages.", a.Votes, a.Vantages)
	doing := a.Doing
	if len(a.Unanswered) > 0 {
		doing = "No answer from " + strings.Join(a.Unanswered, ", ") + "."
	}
	return shorten("ESPRA "+state+votes, doing, a.Incident, a.Link)
}

// Alive words the text that comes once a week, so that its absence tells.
func Alive(at time.Time, vantages, of, open int) string {
	incidents := "nothing"
	switch {
	case open == 1:
		incidents = "1 incident"
	case open > 1:
		incidents = fmt.Sprint(open, " incidents")
	}
	return shorten(fmt.Sprintf("ESPRA ALIVE %s, %d/%d vantages, %s open.", minute(at), vantages, of, incidents),
		"", "Next text of this kind in a week.", "")
}

// Test words a text that somebody sent to try a provider.
func Test(at time.Time, vantage, provider string) string {
	return shorten("ESPRA TEST "+minute(at)+" from "+vantage+" through "+provider+".", "", "Nothing is wrong.", "")
}

func minute(t time.Time) string { return t.UTC().Format("2006-01-02 15:04Z") }

// OK words the all-clear: when it was over, and how long it took. Home says
// that traffic had been moved and is back.
func (a Alert) OK(home bool, at time.Time) string {
	since := " since "
	if home {
		since = ", traffic home "
	}
	took := at.Sub(a.Since).Round(time.Minute)
	return shorten("ESPRA OK "+a.What+since+clock(at)+".", "",
		a.Incident+" closed after "+fmt.Sprintf("%dm", max(1, int(took/time.Minute))), a.Link)
}

func clock(t time.Time) string { return t.UTC().Format("15:04:05Z") }

// shorten joins the parts and keeps the segment's bound: first the link goes,
// then what is being done, then the end of the names.
func shorten(head, doing, id, link string) string {
	for _, parts := range [][]string{{head, doing, id, link}, {head, doing, id}, {head, id}} {
		var filled []string
		for _, part := range parts {
			if part != "" {
				filled = append(filled, plain(part))
			}
		}
		if text := strings.Join(filled, " "); len(text) <= MaxSegment {
			return text
		}
	}
	head, id = plain(head), plain(id)
	id = id[:min(len(id), 40)]
	return head[:min(len(head), MaxSegment-len(id)-1)] + " " + id
}
