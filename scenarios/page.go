package scenarios

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/espra/protoplex/scenarios/oracle"
	"github.com/espra/protoplex/scenarios/story"
	"github.com/espra/protoplex/sim/report"
)

// WritePage writes the run as one HTML page; the run must have been recorded. The
// trace of another run, if given, is compared with: the trace of this one must
// have been written to it.
func (r *Report) WritePage(out io.Writer, against *report.Trace) error {
	if r.recorded == nil {
		return errors.New("the run was not recorded")
	}
	p := report.Page{
		Title:   r.Story.Title,
		Summary: fmt.Sprintf("%s, seed %d", size(r.Story), r.Seed),
		Verdict: r.summary(),
		Failed:  r.Until == 0 && !r.Held(),
		Story:   paragraphs(r.Story.Text),
		Groups:  lanes(r.Story),
		Charts:  charts(oracle.CourseOf(r.History)),
		Replay:  []string{r.replayCommand()},
		Against: against,
	}
	fact := func(name, format string, args ...any) {
		p.Facts = append(p.Facts, report.Fact{Name: name, Value: fmt.Sprintf(format, args...)})
	}
	for _, s := range r.Story.Sources {
		fact("source", "%s", s)
	}
	for _, f := range r.Story.Facts {
		fact("fact", "%s", f)
	}
	for _, a := range r.Story.Assumed {
		fact("assumed", "%s", a)
	}
	fact("begins", "%s", r.Story.Starts.Format(time.RFC3339))
	fact("trace", "%s, %s events", r.Result.Trace, thousands(int(r.Result.Stats.Events+r.Result.Stats.Deliveries)))
	fact("simulated", "%s in %s", r.Result.Simulated.Round(time.Second), r.Result.Wall.Round(time.Millisecond))

	machines := r.Story.Machines()
	lasts := r.History.Lasts
	for _, e := range r.Story.Timeline {
		if e.At >= lasts {
			continue
		}
		f := report.Fault{Name: e.ID, Text: faultText(e), From: e.At, Until: lasts}
		if at, heals := e.Heals(); heals {
			f.Until = min(at, lasts)
		}
		if e.On != nil {
			f.Machines = e.On.Match(machines)
		}
		p.Faults = append(p.Faults, f)
	}
	p.Claims = claims(r.History, r.Story)
	for _, l := range r.Lines {
		line := report.Line{At: l.At, Who: l.Who, Text: l.Text}
		switch l.Who {
		case "FAULT", "exit":
			line.Tone = report.Bad
		case "HEAL":
			line.Tone = report.Good
		}
		p.Lines = append(p.Lines, line)
	}
	for _, v := range r.Verdicts {
		c := report.Check{Name: v.Name, Measured: v.Measured, Budget: v.Budget, Judged: thousands(v.Judged), OK: v.OK}
		if !v.OK {
			c.First, c.At = v.First, v.At
		}
		p.Checks = append(p.Checks, c)
	}
	for _, e := range r.Idle {
		p.Checks = append(p.Checks, report.Check{Name: "fault " + e.ID + " does something", Measured: "touched nothing", Budget: "something", Judged: "1",
			First: "a fault without effect proves nothing", At: e.At})
	}
	p.Measure = report.Table{Title: "What clients saw", Columns: []string{"Between", "Requests", "ok", "p99", "Live streams"}}
	for _, row := range r.Seen {
		p.Measure.Rows = append(p.Measure.Rows, []string{oracle.Offset(row.From) + " - " + oracle.Offset(row.Until),
			thousands(row.Requests), oracle.Percent(row.OK), oracle.Span(row.P99), row.Streams})
	}
	return report.Write(out, p, r.recorded)
}

// claims are the times for which Seeds led. A loss of power ends one without a word.
func claims(h oracle.History, s *story.Story) []report.Claim {
	machines := s.Machines()
	var all []report.Claim
	for _, l := range h.Leaders {
		c := report.Claim{Machine: l.Name, Text: fmt.Sprintf("leads %s, epoch %d", l.Region, l.Epoch), From: l.At, Until: l.Until}
		if c.Until == 0 {
			c.Until = h.Lasts
		}
		for _, e := range s.Timeline {
			off := e.Fault == "machine-lost" || e.Fault == "zone-lost" || e.Fault == "region-lost"
			for n := 0; off && n < e.Times; n++ {
				if at := e.Strike(n); at > c.From && at < c.Until && slices.Contains(e.On.Match(machines), l.Name) {
					c.Until = at
				}
			}
		}
		all = append(all, c)
	}
	return all
}

func paragraphs(text string) []string {
	var all []string
	for _, p := range strings.Split(text, "\n\n") {
		if p = strings.Join(strings.Fields(p), " "); p != "" {
			all = append(all, p)
		}
	}
	return all
}

// lanes puts the machines together: clients by group, nodes by region, what is
// outside by its provider or its purpose. Clients and what seldom matters are folded.
func lanes(s *story.Story) []report.Group {
	var all []report.Group
	add := func(name, machine string, folded bool) {
		i := slices.IndexFunc(all, func(g report.Group) bool { return g.Name == name })
		if i < 0 {
			i = len(all)
			all = append(all, report.Group{Name: name, Folded: folded})
		}
		all[i].Machines = append(all[i].Machines, machine)
	}
	machines := s.Machines()
	for _, m := range machines {
		if m.Group != "" {
			add(m.Group, m.Name, true)
		}
	}
	for _, m := range machines {
		switch {
		case m.Group != "":
		case m.Region != "":
			add(m.Region, m.Name, false)
		case m.Role == story.RoleVPS:
			add("off-site", m.Name, false)
		case m.Provider != "":
			add(m.Provider, m.Name, true)
		case m.Role == story.RolePhone:
			add("people", m.Name, false)
		case m.Role == story.RoleControl:
			add("sites of others", m.Name, true)
		default:
			add("root, com, cloud", m.Name, true)
		}
	}
	return all
}

// charts are the curves of what clients saw.
func charts(c oracle.Course) []report.Chart {
	counts := func(values []int) []int64 {
		all := make([]int64, len(values))
		for i, v := range values {
			all[i] = int64(v)
		}
		return all
	}
	micros := func(values []time.Duration) []int64 {
		all := make([]int64, len(values))
		for i, v := range values {
			if all[i] = v.Microseconds(); v < 0 {
				all[i] = -1
			}
		}
		return all
	}
	all := []report.Chart{
		{Title: "requests, each " + oracle.Span(c.Step), Unit: report.Count, Bars: true, Step: c.Step, Curves: []report.Curve{
			{Name: "failed", Tone: report.Bad, Values: counts(c.Failed)}, {Name: "ok", Tone: report.Good, Values: counts(c.OK)}}},
		{Title: "latency", Unit: report.Microseconds, Step: c.Step, Curves: []report.Curve{
			{Name: "p50", Values: micros(c.P50)}, {Name: "p99", Values: micros(c.P99)}}},
	}
	if slices.Max(append(c.Live, 0)) > 0 {
		all = append(all, report.Chart{Title: "live tunnels", Unit: report.Count, Step: c.Step, Curves: []report.Curve{{Name: "connected", Values: counts(c.Live)}}})
	}
	return all
}
