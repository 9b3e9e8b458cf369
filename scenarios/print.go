package scenarios

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/espra/protoplex/scenarios/oracle"
	"github.com/espra/protoplex/scenarios/story"
)

// A run is told on a terminal in at most maxLines lines of at most maxColumns
// columns, the last line excepted.
const (
	maxLines   = 45
	maxColumns = 100
)

// Style says how a report is printed.
type Style struct {
	Color bool   // with the terminal's colours
	All   bool   // every line, and lines in full
	Page  string // the file with the page that has been written, or ""
}

// Print writes the report for people to read. It ends with one line for
// programs.
func (r *Report) Print(out io.Writer, style Style) error {
	b := &printer{style: style}
	b.line("", "%s", r.Story.Title)
	b.line("", "%s, seed %d", size(r.Story), r.Seed)
	b.line("", "")
	// Title, windows, expectations and their headings, and the trace line.
	rest := 3 + 2 + len(r.Seen) + 5 + len(r.Verdicts) + len(r.Idle)
	for _, v := range r.Verdicts {
		if !v.OK {
			rest++
		}
	}
	r.printStory(b, max(maxLines-rest, 12))
	if len(r.Seen) > 0 {
		b.line("", "")
		b.line("", "%-20s %10s %9s %9s   %s", "what clients saw", "requests", "ok", "p99", "live streams")
		for _, row := range r.Seen {
			b.line("", "%7s - %7s    %10s %9s %9s   %s", oracle.Offset(row.From), oracle.Offset(row.Until),
				thousands(row.Requests), oracle.Percent(row.OK), oracle.Span(row.P99), row.Streams)
		}
	}
	b.line("", "")
	if r.Until > 0 {
		b.line("", "stopped at %s of %s: expectations are judged on whole runs only", oracle.Offset(r.Until), oracle.Offset(r.Story.Lasts))
		printState(b, r.Until, r.State)
	} else {
		r.printVerdicts(b)
	}
	page := style.Page
	if page == "" {
		page = r.replayCommand() + " --report out.html"
	}
	b.line("", "A timeline to look at: %s", page)
	if style.All {
		b.line("", "%s deliveries, %s events, %s deliveries to one process at one nanosecond (ties)",
			thousands(int(r.Result.Stats.Deliveries)), thousands(int(r.Result.Stats.Events)), thousands(int(r.Result.Stats.Ties)))
	}
	_, err := io.WriteString(out, b.text.String())
	return err
}

// TraceLine is the line that scripts read.
func (r *Report) TraceLine() string {
	s := r.Result.Stats
	return fmt.Sprintf("trace %s seed %d events %d simulated %s wall %s",
		r.Result.Trace, r.Seed, s.Events+s.Deliveries, r.Result.Simulated.Round(time.Second), r.Result.Wall.Round(time.Millisecond))
}

// printStory tells what happened in at most room lines.
func (r *Report) printStory(b *printer, room int) {
	type row struct{ colour, text string }
	var rows []row
	for _, l := range r.Lines {
		colour := ""
		switch l.Who {
		case "FAULT", "exit":
			colour = red
		case "HEAL":
			colour = green
		}
		head := fmt.Sprintf("%7s  %-8s  ", oracle.Offset(l.At), l.Who)
		if b.style.All {
			rows = append(rows, row{colour, head + l.Text})
			continue
		}
		for _, part := range wrap(l.Text, maxColumns-utf8.RuneCountInString(head)) {
			rows = append(rows, row{colour, head + part})
			head = strings.Repeat(" ", utf8.RuneCountInString(head))
		}
	}
	cut := 0
	if !b.style.All && len(rows) > room {
		cut = len(rows) - room + 1
		rows = rows[:room-1]
	}
	for _, row := range rows {
		b.line(row.colour, "%s", row.text)
	}
	if cut > 0 {
		b.line("", "         ... and %d more lines; -v tells all", cut)
	}
}

// wrap breaks text at spaces into lines of at most so many columns.
func wrap(text string, columns int) []string {
	var lines []string
	for utf8.RuneCountInString(text) > columns {
		runes := []rune(text)
		at := columns
		for at > columns/2 && runes[at] != ' ' {
			at--
		}
		lines = append(lines, strings.TrimRight(string(runes[:at]), " "))
		text = strings.TrimLeft(string(runes[at:]), " ")
	}
	return append(lines, text)
}

func (r *Report) printVerdicts(b *printer) {
	b.line("", "%-56s %14s %12s %9s", "expectations", "measured", "budget", "judged")
	for _, v := range r.Verdicts {
		mark, colour := "ok  ", ""
		if !v.OK {
			mark, colour = "FAIL", red
		}
		b.line(colour, "  %s %-49s %14s %12s %9s", mark, v.Name, v.Measured, v.Budget, thousands(v.Judged))
		if !v.OK && v.First != "" {
			b.line("", "       first: %s", v.First)
		}
	}
	for _, e := range r.Idle {
		b.line(red, "  FAIL fault %s touched nothing; a fault without effect proves nothing (%s)", e.ID, r.Story.Where(e.Pos))
	}
	b.line("", "%s.", r.summary())
	if !r.Held() {
		b.line("", "replay it: %s", r.replayCommand())
	}
}

// summary says in one line how many expectations held.
func (r *Report) summary() string {
	if r.Until > 0 {
		return fmt.Sprintf("stopped at %s of %s", oracle.Offset(r.Until), oracle.Offset(r.Story.Lasts))
	}
	held := 0
	for _, v := range r.Verdicts {
		if v.OK {
			held++
		}
	}
	text := fmt.Sprintf("%d of %d held", held, len(r.Verdicts))
	if len(r.Idle) > 0 {
		text += ", but " + count(len(r.Idle), "fault") + " touched nothing"
	}
	return text
}

// replayCommand is the command line that plays this run again.
func (r *Report) replayCommand() string {
	return fmt.Sprintf("protoplex sim run %s --seed %d", r.replayName(), r.Seed)
}

// replayName is what to give to `sim run` for this story.
func (r *Report) replayName() string {
	if r.Story.File == r.Story.Name+".yaml" {
		return r.Story.Name
	}
	return r.Story.File
}

const (
	red   = "\x1b[31m"
	green = "\x1b[32m"
	plain = "\x1b[0m"
)

type printer struct {
	text  strings.Builder
	style Style
}

func (p *printer) line(colour, format string, args ...any) {
	s := strings.TrimRight(fmt.Sprintf(format, args...), " ")
	if !p.style.All {
		s = clip(s, maxColumns)
	}
	if colour != "" && p.style.Color {
		s = colour + s + plain
	}
	p.text.WriteString(s + "\n")
}

func clip(s string, columns int) string {
	if utf8.RuneCountInString(s) <= columns {
		return s
	}
	return string([]rune(s)[:columns-1]) + "…"
}

func thousands(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func size(s *story.Story) string {
	var inRegions, balancers, clients int
	for _, m := range s.Machines() {
		switch m.Role {
		case story.RoleProxy, story.RoleLive:
			if !m.Standby {
				inRegions++
			}
		case story.RoleBalancer:
			balancers++
		case story.RoleBrowser, story.RolePublisher:
			clients++
		}
	}
	t := s.Topology
	return fmt.Sprintf("%s, %s, %s, %s, %s, %s, %s",
		count(len(t.Regions), "region"), count(inRegions, "node"), count(balancers, "load balancer node"),
		count(len(t.VPS), "VPS"), count(len(t.DNS.Providers), "DNS provider"), count(clients, "client"), oracle.Span(s.Lasts))
}

func count(n int, what string) string {
	if n != 1 && !strings.HasSuffix(what, "S") {
		what += "s"
	} else if n != 1 {
		what += "es"
	}
	return fmt.Sprintf("%s %s", thousands(n), what)
}
