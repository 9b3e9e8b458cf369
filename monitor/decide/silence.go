package decide

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// Everything is the subject of a silence over all subjects.
const Everything = "all"

// MaxSilence is the longest that a silence may last: one that nobody remembers
// must not outlive the week.
const MaxSilence = 7 * 24 * time.Hour

// Silence keeps pages of one subject away from people for a time, as during
// planned work. Verdicts still fall, and homes still move unless Keep is set.
// It always ends, and what is still down then is paged.
type Silence struct {
	ID      string    `json:"id"`
	Subject string    `json:"subject"` // or Everything
	From    time.Time `json:"from"`
	Until   time.Time `json:"until"`
	Why     string    `json:"why"`
	By      string    `json:"by"`
	Keep    bool      `json:"keep,omitempty"` // no home moves because of the subject
}

// On says whether the silence holds for the subject at that time.
func (s Silence) On(subject string, at time.Time) bool {
	return (s.Subject == subject || s.Subject == Everything) && !at.Before(s.From) && at.Before(s.Until)
}

// Silenced gives the silence that holds for the subject at that time, if any:
// of several one that keeps homes, then the one that lasts longest.
func Silenced(silences []Silence, subject string, at time.Time) (found Silence, ok bool) {
	for _, s := range silences {
		if !s.On(subject, at) {
			continue
		}
		if !ok || s.Keep && !found.Keep || s.Keep == found.Keep && s.Until.After(found.Until) {
			found, ok = s, true
		}
	}
	return found, ok
}

// Merge brings together what vantages know of silences, sorted by ID. Whoever
// lifts a silence makes it end sooner, so the earlier end of two is the later
// news. One that ended a MaxSilence ago is forgotten: nobody can bring it back,
// for it would have ended.
func Merge(at time.Time, lists ...[]Silence) []Silence {
	byID := map[string]Silence{}
	for _, s := range slices.Concat(lists...) {
		known, ok := byID[s.ID]
		switch {
		case !ok:
			byID[s.ID] = s
		case s.Until.Before(known.Until):
			known.Until = s.Until
			byID[s.ID] = known
		}
	}
	maps.DeleteFunc(byID, func(_ string, s Silence) bool { return at.Sub(s.Until) >= MaxSilence })
	return slices.SortedFunc(maps.Values(byID), func(a, b Silence) int { return cmp.Compare(a.ID, b.ID) })
}
