package record

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/espra/protoplex/monitor/probe"
)

// Result is what is recorded of one probe.
type Result struct {
	At      time.Time
	Target  string // without spaces
	Outcome Outcome
	Phases  []probe.Phase
	Text    string // the error, or a note
}

const (
	stamp   = "2006-01-02T15:04:05.000Z"
	maxText = 300 // bytes of an error in a line
	maxLine = 4 << 10
	self    = "-" // target of a line about the log
)

// append adds the line of a result.
func (r Result) append(b []byte) []byte {
	b = r.At.UTC().AppendFormat(b, stamp)
	b = append(b, ' ')
	b = append(b, r.Target...)
	b = append(b, ' ')
	b = append(b, r.Outcome.String()...)
	b = append(b, ' ')
	b = append(b, brief(r.Took())...)
	for _, p := range r.Phases {
		b = append(b, ' ')
		b = append(b, strings.ReplaceAll(p.Name, " ", "-")...)
		b = append(b, '=')
		b = append(b, brief(p.Took)...)
	}
	if r.Text != "" {
		key := " error="
		if r.Outcome == OK {
			key = " note="
		}
		b = append(b, key...)
		b = strconv.AppendQuoteToASCII(b, clip(r.Text))
	}
	return append(b, '\n')
}

// Took is the sum of the phases.
func (r Result) Took() time.Duration { return probe.Result{Phases: r.Phases}.Took() }

// brief is a duration with three digits or so, in ASCII, as all of a line is.
func brief(d time.Duration) string {
	switch {
	case d >= time.Second:
		d = d.Round(time.Millisecond)
	case d >= time.Millisecond:
		d = d.Round(10 * time.Microsecond)
	default:
		d = d.Round(time.Microsecond)
	}
	return strings.Replace(d.String(), "µ", "u", 1)
}

// read is what counts of a line.
type read struct {
	at      time.Time
	target  []byte // part of the line
	outcome Outcome
	took    time.Duration
}

// parseResult reads a line of the log of results without its end. Phases and
// text are not looked at, but that the line is whole.
func parseResult(line []byte) (read, bool) {
	var r read
	at, rest, ok := parseHead(line)
	if !ok {
		return r, false
	}
	r.at = at
	r.target, rest, _ = bytes.Cut(rest, []byte(" "))
	outcome, rest, _ := bytes.Cut(rest, []byte(" "))
	switch string(outcome) {
	case "ok":
		r.outcome = OK
	case "FAIL":
		r.outcome = Failed
	case "unknown":
		r.outcome = Unknown
	default:
		return r, false
	}
	took, _, _ := bytes.Cut(rest, []byte(" "))
	d, err := time.ParseDuration(string(took))
	r.took = d
	return r, err == nil && len(r.target) > 0 && d >= 0
}

// parseHead reads the time of a line of any kind.
func parseHead(line []byte) (at time.Time, rest []byte, ok bool) {
	if len(line) <= len(stamp) || line[len(stamp)] != ' ' {
		return at, nil, false
	}
	at, err := time.Parse(time.RFC3339, string(line[:len(stamp)]))
	return at, line[len(stamp)+1:], err == nil
}

// whole says whether something may be a line: it has no bytes that none has,
// such as the zeros that a power failure leaves.
func whole(line []byte) bool {
	for _, c := range line {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return 0 < len(line) && len(line) <= maxLine
}

// appendHour adds the line of an hour that is over.
func appendHour(b []byte, s *series, target string, p Point) []byte {
	return fmt.Appendf(b, "%s %s ok=%d failed=%d unknown=%d mean=%s max=%s\n",
		s.time(p).Format(stamp), target, p.ok, p.failed, p.unknown, brief(p.Mean()), p.Max())
}

// parseHour reads a line of the log of hours without its end.
func parseHour(line []byte, s *series) (target []byte, p Point, ok bool) {
	at, rest, ok := parseHead(line)
	if !ok {
		return nil, p, false
	}
	target, rest, _ = bytes.Cut(rest, []byte(" "))
	value := func(key string) (text string) {
		var field []byte
		field, rest, _ = bytes.Cut(rest, []byte(" "))
		text, found := strings.CutPrefix(string(field), key+"=")
		ok = ok && found
		return text
	}
	count := func(key string) uint16 {
		n, err := strconv.ParseUint(value(key), 10, 16)
		ok = ok && err == nil
		return uint16(n)
	}
	duration := func(key string) time.Duration {
		d, err := time.ParseDuration(value(key))
		ok = ok && err == nil && d >= 0
		return d
	}
	p = Point{at: s.number(at), ok: count("ok"), failed: count("failed"), unknown: count("unknown")}
	mean, longest := duration("mean"), duration("max")
	p.sum = uint32(min(min(mean, time.Hour)/unit*time.Duration(p.ok), math.MaxUint32))
	p.max = uint16(min(longest/time.Millisecond, math.MaxUint16))
	return target, p, ok && len(rest) == 0 && len(target) > 0
}

// appendMissing adds a line that says what the log lacks.
func appendMissing(b []byte, at, since time.Time, count int, why string) []byte {
	return fmt.Appendf(b, "%s %s missing up to %d lines since %s error=%s\n",
		at.UTC().Format(stamp), self, count, since.UTC().Format(stamp), strconv.QuoteToASCII(clip(why)))
}

// aboutItself says whether a line tells of the log and not of a target.
func aboutItself(line []byte) bool {
	_, rest, ok := parseHead(line)
	return ok && bytes.HasPrefix(rest, []byte(self+" missing "))
}

func clip(text string) string { return text[:min(len(text), maxText)] }
