package oracle

import (
	"fmt"
	"time"
)

// Verdict is what an oracle found.
type Verdict struct {
	Name     string        `json:"name"` // of the expectation, for people
	Measured string        `json:"measured"`
	Budget   string        `json:"budget"` // what was allowed
	Judged   int           `json:"judged"` // observations looked at; with none, OK is false
	OK       bool          `json:"ok"`
	First    string        `json:"first,omitempty"` // the first broken moment, empty when OK
	At       time.Duration `json:"at,omitempty"`    // of First, in nanoseconds
	Blind    bool          `json:"blind,omitempty"` // it is not OK for no other reason than that too little was observed

	Oracle string `json:"oracle,omitempty"` // the story's word for the expectation, from whoever asks
}

// nothing is the First of a verdict that had nothing to judge.
const nothing = "nothing was observed that this expectation could judge"

// docket collects what an oracle finds on its way.
type docket struct {
	judged int
	broken int
	unseen int           // of broken
	at     time.Duration // of the first broken moment
	first  string
}

// broke notes a broken moment. Of several, the earliest is told.
func (d *docket) broke(at time.Duration, format string, args ...any) {
	if d.broken == 0 || at < d.at {
		d.at, d.first = at, fmt.Sprintf(format, args...)
	}
	d.broken++
}

// missed notes that what there should be was not observed. It breaks a verdict, but
// says nothing of what the verdict is about.
func (d *docket) missed(at time.Duration, format string, args ...any) {
	d.broke(at, format, args...)
	d.unseen++
}

func (d *docket) verdict(name, measured, budget string) Verdict {
	v := Verdict{Name: name, Measured: measured, Budget: budget, Judged: d.judged, OK: d.judged > 0 && d.broken == 0, First: d.first, At: d.at}
	v.Blind = !v.OK && d.broken == d.unseen
	if d.judged == 0 && d.broken == 0 {
		v.First = nothing
	}
	return v
}

// Offset writes a moment of a run as 5:32, or 1:05:32.
func Offset(at time.Duration) string {
	sign, s := "", int64(at/time.Second)
	if s < 0 {
		sign, s = "-", -s
	}
	if s >= 3600 {
		return fmt.Sprintf("%s%d:%02d:%02d", sign, s/3600, s/60%60, s%60)
	}
	return fmt.Sprintf("%s%d:%02d", sign, s/60, s%60)
}

// Span writes a length of time in the two units that matter: 92 ms, 3.2 s,
// 32 s, 1m49s, 5m, 1h05m.
func Span(d time.Duration) string {
	switch {
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 10*time.Second && d%time.Second >= 100*time.Millisecond:
		return fmt.Sprintf("%d.%d s", d/time.Second, d%time.Second/(100*time.Millisecond))
	case d < time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < time.Hour && d%time.Minute < time.Second:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", d/time.Minute, d%time.Minute/time.Second)
	default:
		return fmt.Sprintf("%dh%02dm", d/time.Hour, d%time.Hour/time.Minute)
	}
}

// Percent writes basis points as 99.97 %, and whole percents as 99 %.
func Percent(basisPoints int) string {
	if basisPoints%100 == 0 {
		return fmt.Sprintf("%d %%", basisPoints/100)
	}
	return fmt.Sprintf("%d.%02d %%", basisPoints/100, basisPoints%100)
}

// Range is an inclusive range of counts.
type Range struct{ Min, Max int }

// Has tells whether n is in the range.
func (r Range) Has(n int) bool { return r.Min <= n && n <= r.Max }

// String gives 1-2, or 1 where there is no choice.
func (r Range) String() string {
	if r.Min == r.Max {
		return fmt.Sprint(r.Min)
	}
	return fmt.Sprintf("%d-%d", r.Min, r.Max)
}
