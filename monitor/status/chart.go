package status

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// Charts are SVG paths in boxes of these units, which stretch to the width that
// there is.
const (
	stripHeight = 24
	lineHeight  = 48
	binWidth    = 4
)

// strip is a row of bars, one a bin. What failed hangs from the top of a bar, so
// that nobody needs to tell red from green.
type strip struct {
	Width           int
	Good, Bad, None string
	Uptime          string // in percent, or "no data"
	Failed          int    // bins in which something did
}

func newStrip(bins []Bin) strip {
	var good, bad, none strings.Builder
	ok, failed := 0, 0
	s := strip{Width: len(bins) * binWidth}
	for i, b := range bins {
		bar := func(to *strings.Builder, top, bottom int) {
			if bottom > top {
				fmt.Fprintf(to, "M%d %dh3v%dh-3z", i*binWidth, top, bottom-top)
			}
		}
		seen := b.OK + b.Failed
		if seen == 0 {
			bar(&none, stripHeight-3, stripHeight)
			continue
		}
		ok, failed = ok+b.OK, failed+b.Failed
		cut := 0
		if b.Failed > 0 {
			s.Failed++
			// One failure in a day must be seen, too.
			cut = max(stripHeight*b.Failed/seen, stripHeight/4)
		}
		bar(&bad, 0, cut)
		bar(&good, cut, stripHeight)
	}
	s.Good, s.Bad, s.None, s.Uptime = good.String(), bad.String(), none.String(), percent(ok, ok+failed)
	return s
}

// percent never calls less than all of it 100 %.
func percent(part, whole int) string {
	switch p := 100 * float64(part) / float64(whole); {
	case whole == 0:
		return "no data"
	case part == whole:
		return "100 %"
	case p >= 99:
		return fmt.Sprintf("%.2f %%", math.Floor(p*100)/100)
	default:
		return fmt.Sprintf("%.1f %%", math.Floor(p*10)/10)
	}
}

// curve is how long good results took.
type curve struct {
	Width     int
	Mean, Max string
	Top       string // what the upper edge means
	Usual     string // mean of all
}

func newCurve(bins []Bin) curve {
	c := curve{Width: len(bins) * binWidth}
	top, sum, seen := time.Millisecond, time.Duration(0), 0
	for _, b := range bins {
		top = max(top, b.Max, b.Mean)
		sum, seen = sum+b.Mean*time.Duration(b.OK), seen+b.OK
	}
	top = nice(top)
	c.Top = short(top)
	if seen > 0 {
		c.Usual = short(sum / time.Duration(seen))
	}
	path := func(value func(Bin) time.Duration) string {
		var p strings.Builder
		drawing := false
		for i, b := range bins {
			if b.OK == 0 {
				drawing = false
				continue
			}
			y := lineHeight - int(value(b)*(lineHeight-2)/top) - 1
			if drawing {
				fmt.Fprintf(&p, "L%d %d", i*binWidth+binWidth/2, y)
			} else { // long enough to be seen if nothing follows
				fmt.Fprintf(&p, "M%d %dh1", i*binWidth+binWidth/2, y)
			}
			drawing = true
		}
		return p.String()
	}
	c.Mean = path(func(b Bin) time.Duration { return b.Mean })
	c.Max = path(func(b Bin) time.Duration { return b.Max })
	return c
}

// nice is the next 1, 2 or 5 with zeros.
func nice(d time.Duration) time.Duration {
	for step := time.Millisecond; ; step *= 10 {
		for _, n := range []time.Duration{1, 2, 5} {
			if d <= n*step {
				return n * step
			}
		}
	}
}

// short is a latency for people.
func short(d time.Duration) string {
	switch {
	case d >= 10*time.Second:
		return fmt.Sprintf("%d s", d.Round(time.Second)/time.Second)
	case d >= time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d >= 10*time.Millisecond:
		return fmt.Sprintf("%d ms", d.Round(time.Millisecond)/time.Millisecond)
	}
	return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
}

// long is an age or a length for people: two units at most.
func long(d time.Duration) string {
	const day = 24 * time.Hour
	d = max(d, 0)
	two := func(unit time.Duration, name string, next time.Duration, part string) string {
		if rest := d % unit / next; rest > 0 && d < 10*unit {
			return fmt.Sprintf("%d %s %d %s", d/unit, name, rest, part)
		}
		return fmt.Sprintf("%d %s", d/unit, name)
	}
	switch {
	case d >= 2*day:
		return two(day, "days", time.Hour, "h")
	case d >= time.Hour:
		return two(time.Hour, "h", time.Minute, "min")
	case d >= time.Minute:
		return two(time.Minute, "min", time.Second, "s")
	}
	return fmt.Sprintf("%d s", d/time.Second)
}
