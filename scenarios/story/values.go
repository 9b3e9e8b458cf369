package story

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const (
	maxLasts = 30 * 24 * time.Hour
	maxName  = 64
)

var nameShape = regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)

// isName reports whether s may name a machine, group, event or admin: it may
// become part of a host name, so it follows the rules of one.
func isName(s string) bool { return len(s) < maxName && nameShape.MatchString(s) }

// BasisPoints is a share in hundredths of a percent: 10000 is all. Decisions
// use it because floating point differs between machines.
type BasisPoints int

// String gives a percentage: "99.9%".
func (b BasisPoints) String() string {
	s := fmt.Sprintf("%d.%02d", b/100, b%100)
	return strings.TrimSuffix(strings.TrimRight(s, "0"), ".") + "%"
}

// Factor is a multiple in hundredths of a percent: 10000 is once.
type Factor int

// String gives "3x" or "1.5x".
func (f Factor) String() string {
	return strings.TrimSuffix(fmt.Sprintf("%d.%d", f/10000, f%10000/1000), ".0") + "x"
}

// Rate is in kilobytes a second, of 1000 bytes.
type Rate int

// String gives "64KB/s" or "1MB/s".
func (r Rate) String() string {
	if r%1000 == 0 {
		return fmt.Sprintf("%dMB/s", r/1000)
	}
	return fmt.Sprintf("%dKB/s", int(r))
}

// Bytes is the rate in bytes a second.
func (r Rate) Bytes() int64 { return int64(r) * 1000 }

// Range is a count that may be anything from Min to Max.
type Range struct{ Min, Max int }

// String gives "1" or "1-2".
func (r Range) String() string {
	if r.Min == r.Max {
		return strconv.Itoa(r.Min)
	}
	return fmt.Sprintf("%d-%d", r.Min, r.Max)
}

// Contains reports whether n lies within the range.
func (r Range) Contains(n int) bool { return r.Min <= n && n <= r.Max }

// parseDuration reads "90s", "1h30m", "250ms" or "2d", with a sign if signed.
func parseDuration(s string, signed bool) (time.Duration, error) {
	errShape := fmt.Errorf("want a duration such as 90s or 1h30m, not %q", clip(s))
	if len(s) > maxName {
		return 0, errShape
	}
	var total time.Duration
	rest := s
	if days, after, ok := strings.Cut(s, "d"); ok {
		n, err := strconv.Atoi(days)
		if err != nil || n < -365 || n > 365 {
			return 0, errShape
		}
		total, rest = time.Duration(n)*24*time.Hour, after
	}
	if rest != "" || total == 0 {
		d, err := time.ParseDuration(rest)
		if err != nil || total != 0 && d < 0 {
			return 0, errShape
		}
		if total < 0 {
			d = -d
		}
		total += d
	}
	switch {
	case total == 0:
		return 0, errors.New("want more than 0")
	case total < 0 && !signed:
		return 0, fmt.Errorf("want more than 0, not %s", s)
	case total.Abs() > maxLasts:
		return 0, fmt.Errorf("%s is more than 30 days", s)
	}
	return total, nil
}

// parseDurations reads "2m", or "2m-2m30s" for anything in between.
func parseDurations(s string, signed bool) (least, most time.Duration, err error) {
	return parseBetween(s, func(s string) (time.Duration, error) { return parseDuration(s, signed) })
}

// parseBetween reads one value, or two with a dash between them, the smaller
// first. A dash at the beginning is the sign of the first.
func parseBetween[T cmp.Ordered](s string, parse func(string) (T, error)) (least, most T, err error) {
	at := strings.Index(strings.TrimPrefix(s, "-"), "-")
	if at < 0 {
		least, err = parse(s)
		return least, least, err
	}
	at += len(s) - len(strings.TrimPrefix(s, "-"))
	var none T
	if least, err = parse(s[:at]); err != nil {
		return none, none, err
	}
	if most, err = parse(s[at+1:]); err != nil {
		return none, none, err
	}
	if most <= least {
		return none, none, fmt.Errorf("want a range, the smaller before the dash and the larger after it, not %q", clip(s))
	}
	return least, most, nil
}

// parseShare reads a percentage with at most two decimals, more than 0 and at
// most 100.
func parseShare(s string) (BasisPoints, error) {
	errShape := fmt.Errorf("want a percentage such as 99.9%%, not %q", clip(s))
	digits, ok := strings.CutSuffix(s, "%")
	if !ok {
		return 0, errShape
	}
	whole, part, dot := strings.Cut(digits, ".")
	if dot && (part == "" || len(part) > 2) {
		return 0, errShape
	}
	for len(part) < 2 {
		part += "0"
	}
	if strings.Trim(whole+part, "0123456789") != "" || whole == "" || len(whole) > 3 {
		return 0, errShape
	}
	n, err := strconv.Atoi(whole + part)
	if err != nil {
		return 0, errShape
	}
	if n == 0 || n > 10000 {
		return 0, fmt.Errorf("want more than 0%% and at most 100%%, not %s", s)
	}
	return BasisPoints(n), nil
}

// parseFactor reads "3x" or "1.5x", from 1x to 100x.
func parseFactor(s string) (Factor, error) {
	digits, ok := strings.CutSuffix(s, "x")
	whole, part, dot := strings.Cut(digits, ".")
	n, err := parseCount(whole)
	if !ok || err != nil || dot && (len(part) != 1 || part < "0" || part > "9") {
		return 0, fmt.Errorf("want a factor such as 3x or 1.5x, not %q", clip(s))
	}
	f := Factor(n) * 10000
	if dot {
		f += Factor(part[0]-'0') * 1000
	}
	if n < 1 || f > 1000000 {
		return 0, fmt.Errorf("want a factor from 1x to 100x, not %s", s)
	}
	return f, nil
}

// parseRate reads "64KB/s" or "1MB/s", from 1KB/s to 1000MB/s.
func parseRate(s string) (Rate, error) {
	digits, ok := strings.CutSuffix(s, "KB/s")
	unit := 1
	if !ok {
		digits, ok = strings.CutSuffix(s, "MB/s")
		unit = 1000
	}
	n, err := parseCount(digits)
	if !ok || err != nil {
		return 0, fmt.Errorf("want a rate such as 64KB/s or 1MB/s, not %q", clip(s))
	}
	if n < 1 || n > 1_000_000/unit {
		return 0, fmt.Errorf("want a rate from 1KB/s to 1000MB/s, not %s", s)
	}
	return Rate(n * unit), nil
}

// parseSize reads the kilobytes of "32KB", from 1KB to 60KB.
func parseSize(s string) (int, error) {
	digits, ok := strings.CutSuffix(s, "KB")
	n, err := parseCount(digits)
	if !ok || err != nil {
		return 0, fmt.Errorf("want a size such as 32KB, not %q", clip(s))
	}
	if n < 1 || n > maxSize {
		return 0, fmt.Errorf("want a size from 1KB to %dKB, not %s", maxSize, s)
	}
	return n, nil
}

// parseRange reads "1" or "1-2".
func parseRange(s string) (Range, error) {
	low, high, two := strings.Cut(s, "-")
	if !two {
		high = low
	}
	a, errA := parseCount(low)
	b, errB := parseCount(high)
	if errA != nil || errB != nil || a > b {
		return Range{}, fmt.Errorf("want a count such as 1, or a range such as 1-2, not %q", clip(s))
	}
	return Range{a, b}, nil
}

// parseCount reads a plain decimal number that is not negative.
func parseCount(s string) (int, error) {
	if s == "" || len(s) > 9 || strings.Trim(s, "0123456789") != "" {
		return 0, fmt.Errorf("want a count, not %q", clip(s))
	}
	return strconv.Atoi(s)
}

// parseStart reads an instant in UTC, with whole seconds.
func parseStart(s string) (time.Time, error) {
	t, err := time.Parse("2006-01-02T15:04:05Z", s)
	if err != nil {
		return time.Time{}, fmt.Errorf("want an instant such as 2026-03-02T14:00:00Z, not %q", clip(s))
	}
	// The simulated world begins with the year 2000 and sleeps until the start.
	if t.Year() < 2001 || t.Year() > 2099 {
		return time.Time{}, fmt.Errorf("want a year from 2001 to 2099, not %d", t.Year())
	}
	return t, nil
}

// short gives a duration without the parts that are 0: 30m, not 30m0s.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
