package monitor

import (
	"fmt"
	"slices"

	"github.com/espra/protoplex/monitor/observe"
)

// When much goes at once, an admin is woken once: openings, or all-clears, that
// are due at one moment share a text, which names the incident that began first.
// Each of them keeps its own record of the text, so that whoever completes or
// repeats it, after a crash too, still judges them one by one. Who answers the
// text looks after all of them.

// maxAlone is how many messages of one kind an admin gets one by one at a moment.
const maxAlone = 3

// gather lets the attempts that may share a text do so where they are many, and
// words them all. A text stands where the first of its messages stood.
func gather(attempts []attempt) []attempt {
	type share struct{ admin, sharing, provider string }
	of := func(a attempt) share { return share{a.admin.Name, a.lead().sharing, a.texter.Name()} }
	sharing := map[share][]message{}
	for _, a := range attempts {
		if of(a).sharing != "" {
			sharing[of(a)] = append(sharing[of(a)], a.lead())
		}
	}
	var gathered []attempt
	for _, a := range attempts {
		if all := sharing[of(a)]; len(all) > maxAlone {
			if all[0].key() != a.lead().key() {
				continue // it is told by the first
			}
			a.messages = slices.Clone(all)
			slices.SortStableFunc(a.messages, func(x, y message) int { return x.alert.Since.Compare(y.alert.Since) })
		}
		a.text = inOne(a.messages)
		gathered = append(gathered, a)
	}
	return gathered
}

// inOne words messages that share a text.
func inOne(messages []message) string {
	lead := messages[0]
	if len(messages) > 1 {
		lead.alert.What = fmt.Sprintf("%d targets, first %s", len(messages), lead.alert.What)
		lead.alert.Doing = "" // that was of the first alone
	}
	return lead.words(lead.alert)
}

// answers says that whoever answers a text that named the incident answers this
// one: it is the same, or the text told of it, and no all-clear did since.
func (i *Incident) answers(id string) bool {
	return i.ID == id || slices.ContainsFunc(i.Texts, func(t observe.Text) bool {
		n := i.phase(t.Admin)
		return t.Lead == id && (t.Kind == nth(kindOpen, n) || t.Kind == nth(kindFlap, n))
	})
}

// together gives the incidents, not over, that an answer to this one is for. The
// caller holds mu.
func (v *vantage) together(id string) []*Incident {
	var all []*Incident
	for _, subject := range v.subjects() {
		if i := v.incidents[subject]; !i.Over && i.answers(id) {
			all = append(all, i)
		}
	}
	return all
}

// unanswered names the incidents that nobody looks after and that an answer to this
// one is for too.
func (v *vantage) unanswered(id string) []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	var names []string
	for _, i := range v.together(id) {
		if i.ID != id && i.acknowledged() == "" {
			names = append(names, i.Subject)
		}
	}
	return names
}

// logAcks writes one line for all that one answer was for.
func (v *vantage) logAcks(acks []observe.Ack, told string) {
	for k, a := range acks {
		same := func(b observe.Ack) bool { return a.By == b.By && a.At.Equal(b.At) }
		if slices.ContainsFunc(acks[:k], same) {
			continue
		}
		attrs := []any{"incident", a.Incident, "by", a.By, "told", told}
		rest := slices.DeleteFunc(slices.Clone(acks[k+1:]), func(b observe.Ack) bool { return !same(b) })
		if len(rest) > 0 {
			attrs = append(attrs, "others", len(rest))
		}
		v.log.Info("acknowledged", attrs...)
	}
}
