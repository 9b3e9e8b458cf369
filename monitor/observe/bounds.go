package observe

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"

	"github.com/espra/protoplex/monitor/decide"
)

// Bounds of one message. They are far above what an honest vantage sends.
const (
	maxSubjects = 1 << 10 // results, claims and silences, of each
	maxNews     = 1 << 14 // texts and acks, of each
	maxText     = 200     // bytes of a name
)

// MaxBytes bounds the message of a vantage that watches so many subjects for so
// many admins: all are down, all admins were texted of each by themselves and
// look after it, names have 40 letters. The silences and the attempts that
// failed share what is there for any configuration.
func MaxBytes(subjects, admins int) int {
	const base, subject, admin = 256 << 10, 320, 400
	return base + subjects*(subject+admins*admin)
}

// Fit gives an observation that Seal takes, and how many items it lacks. Results
// and claims, on which verdicts depend, always fit and stay. Then come, while
// there is room: acks, silences, texts that may have reached somebody, and other
// texts; of each the first in their order.
func (o Observation) Fit(maxBytes int) (fitting Observation, left int) {
	fitting = o
	fitting.Acks, fitting.Silences, fitting.Texts = nil, nil, nil
	room := maxBytes - size(fitting)
	fitting.Acks = fit(o.Acks, maxNews, Ack.bounded, &room)
	fitting.Silences = fit(o.Silences, maxSubjects, boundedSilence, &room)
	texts := slices.Clone(o.Texts)
	slices.SortStableFunc(texts, func(a, b Text) int { return a.State.nowhere() - b.State.nowhere() })
	fitting.Texts = fit(texts, maxNews, Text.bounded, &room)
	return fitting, len(o.Acks) + len(o.Silences) + len(o.Texts) - len(fitting.Acks) - len(fitting.Silences) - len(fitting.Texts)
}

// nowhere is 1 if a text certainly reached nobody.
func (s State) nowhere() int {
	if s == Refused || s == Lost {
		return 1
	}
	return 0
}

// fit gives the first items that are within bounds and have room.
func fit[T any](items []T, most int, bounded func(T) error, room *int) []T {
	var taken []T
	for _, item := range items {
		if bounded(item) != nil {
			continue
		}
		n := size(item) + len(",")
		if n > *room || len(taken) == most {
			break
		}
		taken = append(taken, item)
		*room -= n
	}
	return taken
}

// size is that of the JSON text.
func size(v any) int {
	text, err := json.Marshal(v)
	if err != nil {
		return 1 << 30 // it cannot be sent at all; Seal tells
	}
	return len(text)
}

func (o Observation) bounded() error {
	if max(len(o.Results), len(o.Claims), len(o.Silences)) > maxSubjects || max(len(o.Texts), len(o.Acks)) > maxNews {
		return fmt.Errorf("%w: too many items", ErrMalformed)
	}
	if err := short(o.Vantage); err != nil {
		return err
	}
	for _, r := range o.Results {
		if err := r.bounded(); err != nil {
			return err
		}
	}
	for _, c := range o.Claims {
		if err := c.bounded(); err != nil {
			return err
		}
	}
	for _, t := range o.Texts {
		if err := t.bounded(); err != nil {
			return err
		}
	}
	for _, a := range o.Acks {
		if err := a.bounded(); err != nil {
			return err
		}
	}
	for _, s := range o.Silences {
		if err := boundedSilence(s); err != nil {
			return err
		}
	}
	return nil
}

func (r Result) bounded() error {
	if r.Streak < 0 {
		return fmt.Errorf("%w: negative streak", ErrMalformed)
	}
	return short(r.Target)
}

func (c Claim) bounded() error {
	if err := named(c.Incident); err != nil {
		return err
	}
	return short(c.Subject)
}

func (t Text) bounded() error {
	if t.State < 0 || t.State >= states || t.N < 0 {
		return fmt.Errorf("%w: text %d in state %d", ErrMalformed, t.N, int(t.State))
	}
	if err := named(t.Incident); err != nil {
		return err
	}
	if t.Lead != "" {
		if err := named(t.Lead); err != nil {
			return err
		}
	}
	return short(t.Kind, t.Admin, t.By, t.Provider, t.Receipt)
}

func (a Ack) bounded() error {
	if a.Phase < 0 {
		return fmt.Errorf("%w: phase %d", ErrMalformed, a.Phase)
	}
	if err := named(a.Incident); err != nil {
		return err
	}
	return short(a.By)
}

func boundedSilence(s Silence) error {
	if s.ID == "" || s.Until.Sub(s.From) > decide.MaxSilence {
		return fmt.Errorf("%w: silence %.20q from %s until %s", ErrMalformed, s.ID, s.From, s.Until)
	}
	return short(s.ID, s.Subject, s.Why, s.By)
}

// incident is what the short name of one looks like.
var incident = regexp.MustCompile(`^[A-Z0-9]{1,16}$`)

func named(id string) error {
	if !incident.MatchString(id) {
		return fmt.Errorf("%w: incident %.20q", ErrMalformed, id)
	}
	return nil
}

func short(texts ...string) error {
	for _, t := range texts {
		if len(t) > maxText {
			return fmt.Errorf("%w: a text of %d bytes", ErrMalformed, len(t))
		}
	}
	return nil
}
