package monitor

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/espra/protoplex/monitor/observe"
)

// Incident is what a vantage keeps of one outage.
type Incident struct {
	ID       string         `json:"id"`
	Subject  string         `json:"subject"`
	Since    time.Time      `json:"since"`
	Open     bool           `json:"open"` // down by verdict
	Region   bool           `json:"region,omitempty"`
	Flapping bool           `json:"flapping,omitempty"`
	Moved    bool           `json:"moved,omitempty"` // homes left the region because of it
	Ended    time.Time      `json:"ended,omitzero"`  // when all was well again, by this vantage's clock
	Over     bool           `json:"over,omitempty"`  // Ended is final: the all-clear may go out
	Texts    []observe.Text `json:"texts,omitempty"` // all attempts that are known of
	Acks     []observe.Ack  `json:"acks,omitempty"`
	Moments  []Moment       `json:"moments,omitempty"`
	// Words are those of this vantage's texts of which it does not know whether they
	// were sent: who asks a provider after one has to say them, also after a crash.
	Words map[string]string `json:"words,omitempty"`

	closed   time.Duration // when Over became true
	paging   time.Duration // since when people should be told, by this machine's monotonic clock
	isPaging bool
}

// Moment is one line of an incident's story as this vantage saw it.
type Moment struct {
	At   time.Time `json:"at"`   // by this vantage's clock
	What string    `json:"what"` // opened, up, flapping, over, text, acknowledged, plan, changed, read back, home set, stuck
	Text string    `json:"text,omitempty"`
}

// maxMoments bounds a story; the middle of a longer one is left out.
const maxMoments = 100

// maxRefused is how many refused attempts at one message are kept: a provider
// may refuse for days.
const maxRefused = 12

// maxPast is how many incidents are remembered after their end.
const maxPast = 20

// note adds a moment to the story.
func (i *Incident) note(at time.Time, what, text string) {
	if len(i.Moments) >= maxMoments {
		i.Moments = slices.Delete(i.Moments, maxMoments/2, maxMoments/2+1)
	}
	i.Moments = append(i.Moments, Moment{at.UTC(), what, text})
}

// Timeline is the whole story: the moments, and what all vantages sent and were
// told, in the order of their clocks. Who is told and who looks after it are named
// for admins only.
func (i *Incident) Timeline(named bool) []Moment {
	line := slices.Clone(i.Moments)
	for _, t := range i.Texts {
		shared := ""
		if t.Lead != "" {
			shared = ", in a text that names " + t.Lead
		}
		to := ""
		if named {
			to = " to " + t.Admin
		}
		line = append(line, Moment{t.At.UTC(), "text", spoken(t.Kind) + to + " by " + t.By + " through " + t.Provider + shared + ": " + t.State.String()})
	}
	for _, a := range i.Acks {
		line = append(line, Moment{a.At.UTC(), "acknowledged", "by " + someone(a.By, named)})
	}
	slices.SortStableFunc(line, func(a, b Moment) int { return a.At.Compare(b.At) })
	return line
}

// someone is an admin's name, or what strangers are shown of it.
func someone(name string, named bool) string {
	if name == "" || named {
		return name
	}
	return "an admin"
}

// tries gives the attempts at one message.
func (i *Incident) tries(kind, admin string) []observe.Text {
	var tries []observe.Text
	for _, t := range i.Texts {
		if t.Kind == kind && t.Admin == admin {
			tries = append(tries, t)
		}
	}
	return tries
}

// reached says that a message may have reached somebody.
func (i *Incident) reached(kind, admin string) bool {
	return slices.ContainsFunc(i.tries(kind, admin), mayReach)
}

// told says that any message may have reached anybody.
func (i *Incident) told() bool { return slices.ContainsFunc(i.Texts, mayReach) }

func mayReach(t observe.Text) bool { return t.State != observe.Refused && t.State != observe.Lost }

// take merges news of an attempt and says whether it was any. A later state
// wins, so vantages may tell it in any order.
func (i *Incident) take(t observe.Text) bool {
	at := slices.IndexFunc(i.Texts, t.Same)
	switch {
	case at < 0 && t.State == observe.Refused && i.refused(t) >= maxRefused:
		return false
	case at < 0:
		i.Texts = append(i.Texts, t)
		slices.SortStableFunc(i.Texts, func(a, b observe.Text) int {
			return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Admin, b.Admin), a.At.Compare(b.At), cmp.Compare(a.By, b.By), cmp.Compare(a.N, b.N))
		})
	case i.Texts[at].State >= t.State:
		return false
	default:
		i.Texts[at] = t
	}
	i.Texts = slices.DeleteFunc(slices.Clone(i.Texts), func(u observe.Text) bool { return u.State == observe.Refused && i.refused(u) >= maxRefused })
	return true
}

// keep remembers the words of an attempt of this vantage while nobody knows whether
// it was sent, and forgets them then.
func (i *Incident) keep(t observe.Text, words string) {
	key := wordsKey(t)
	switch {
	case t.State != observe.Begun && t.State != observe.Unclear:
		delete(i.Words, key)
	case i.Words == nil:
		i.Words = map[string]string{key: words}
	default:
		i.Words[key] = words
	}
}

func wordsKey(t observe.Text) string { return fmt.Sprint(t.Kind, " ", t.Admin, " ", t.N) }

// refused counts the later attempts at the same message that were refused.
func (i *Incident) refused(t observe.Text) int {
	n := 0
	for _, u := range i.Texts {
		if u.State == observe.Refused && u.Kind == t.Kind && u.Admin == t.Admin && (u.At.After(t.At) || u.At.Equal(t.At) && u.N > t.N) {
			n++
		}
	}
	return n
}

// acknowledge records that somebody looks after the incident and says whether
// that is news: who says so again until the next all-clear says nothing more.
func (i *Incident) acknowledge(a observe.Ack) bool {
	if slices.ContainsFunc(i.Acks, func(b observe.Ack) bool { return b.By == a.By && b.Phase == a.Phase }) {
		return false
	}
	i.Acks = append(i.Acks, a)
	slices.SortFunc(i.Acks, func(a, b observe.Ack) int { return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.By, b.By)) })
	return true
}

// acknowledged gives who looks after the incident, "" for nobody. An all-clear
// ends that: what comes back is news again. All-clears are counted, as the clocks of
// vantages differ.
func (i *Incident) acknowledged() string {
	n := i.cleared()
	for _, a := range i.Acks {
		if a.Phase >= n {
			return a.By
		}
	}
	return ""
}

// cleared is how many all-clears of the incident have gone out.
func (i *Incident) cleared() int {
	n := 0
	for _, t := range i.Texts {
		n = max(n, i.phase(t.Admin))
	}
	return n
}
