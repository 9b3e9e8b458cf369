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

const (
	// MaxLink is how long a link may be to be in every text of an incident whole,
	// with the state, the longest name and the time before it.
	MaxLink = 60
	maxLast = 40 // letters of what stands before the link
)

// shorten joins the parts and keeps the segment's bound. What is being done is cut
// to the room that is left, then the end of the head: the link stays, as it is how
// somebody acknowledges.
func shorten(head, doing, id, link string) string {
	last := plain(id)
	last = " " + last[:min(len(last), maxLast)]
	if link = plain(link); link != "" && len(link) <= MaxLink {
		last += " " + link
	}
	head = plain(head)
	head = head[:min(len(head), MaxSegment-len(last))]
	return head + cut(plain(doing), MaxSegment-len(last)-len(head)-1) + last
}

// cut gives as much of a sentence as there is room for, behind a space; none of it
// if that is but one word.
func cut(s string, room int) string {
	const dots = "..."
	if s == "" {
		return ""
	}
	if len(s) > room {
		s = s[:max(0, room-len(dots)+1)] // a word may end at the bound
		s = s[:max(0, strings.LastIndexByte(s, ' '))]
		if !strings.Contains(s, " ") {
			return ""
		}
		s += dots
	}
	return " " + s
}
