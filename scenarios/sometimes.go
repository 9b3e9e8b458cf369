package scenarios

import (
	"fmt"
	"slices"
	"strings"

	"github.com/espra/protoplex/sim"
)

// Mark is a branch of the platform's code that is seldom taken, known by a line
// that it logs: it costs nothing in production, and those who run the platform see
// it too.
//
// A search proves nothing about branches that it never takes, and no finding says
// so. A mark that is never reached does.
type Mark struct {
	Package string // which logs it
	Text    string // the line's message
	Key     string // of an attribute that the line must have, if not "",
	Value   string // and how its value begins
}

// String is the mark's name, which no other has.
func (m Mark) String() string {
	name := m.Package + ": " + m.Text
	if m.Key != "" {
		name += strings.TrimRight(" "+m.Key+"="+m.Value, "= ")
	}
	return name
}

// Sometimes are all marks: whatever the platform warns of that a story could
// bring about, and more. The table is read-only.
var Sometimes = []Mark{
	{"nodes", "child ended", "", ""},
	{"nodes", "child keeps ending", "", ""},
	{"nodes", "hard stop", "children", ""},
	{"nodes", "certificate not reloaded", "", ""},
	{"nodes", "certificate should be renewed", "", ""},
	{"nodes", "certificate has expired", "", ""},

	{"nodes/lease", "lease taken over", "", ""},
	{"nodes/lease", "lease write came through", "", ""},
	{"nodes/lease", "lease object deleted", "", ""},
	{"nodes/lease", "lease epoch went back", "", ""},

	{"nodes/seed", "frozen", "", ""},
	{"nodes/seed", "leader no longer", "", ""},
	{"nodes/seed", "lease not released", "", ""},
	{"nodes/seed", "slow node cut", "", ""},

	{"nodes/cell", "clock set back", "", ""},
	{"nodes/cell", "seed lost", "", ""},
	{"nodes/cell", "seed refuses", "", ""},
	{"nodes/cell", "no seed", "", ""},
	{"nodes/cell", "stale leader refused", "", ""},

	{"nodes/live", "gap told", "why", "another incarnation"},
	{"nodes/live", "gap told", "why", "not kept"},
	{"nodes/live", "tunnel closed", "reason", "too slow, resume"},
	{"nodes/live", "tunnel closed", "reason", "silent, resume"},
	{"nodes/live", "tunnel closed", "reason", "moved, resume"},
	{"nodes/live", "tunnel closed", "reason", "restart, resume"},
	{"nodes/live", "home moved", "", ""},
	{"nodes/live", "home here again", "", ""},
	{"nodes/live", "home unreadable", "", ""},

	{"nodes/proxy", "node silent", "", ""},
	{"nodes/proxy", "node retried", "", ""},
	{"nodes/proxy", "node unreachable", "", ""},
	{"nodes/proxy", "request repeated", "", ""},
	{"nodes/proxy", "owner changed", "", ""},
	{"nodes/proxy", "table not refreshed", "", ""},
	{"nodes/proxy", "tunnel closed", "reason", "drain"},

	{"monitor", "controls", "abstains", "true"},
	{"monitor", "peer does not take observations", "", ""},
	{"monitor", "observation refused", "error", "observe: old sequence number"},
	{"monitor", "verdict", "flapping", "true"},
	{"monitor", "verdict", "state", "blind"},
	{"monitor", "verdict", "state", "silent"},
	{"monitor", "hold-down started", "", ""},
	{"monitor", "provider half changed", "", ""},
	{"monitor", "provider not readable", "", ""},
	{"monitor", "plan refused", "", ""},
	{"monitor", "homes are stuck", "", ""},
	{"monitor", "sms not accepted", "outcome", "refused"},
	{"monitor", "sms not accepted", "outcome", "unknown"},
	{"monitor", "sms looked up", "", ""},
	{"monitor", "sms not delivered", "", ""},
	{"monitor", "state not saved", "", ""},
	{"monitor", "state file not usable, starting without it", "", ""},

	{"monitor/record", "record not written", "", ""},
	{"monitor/record", "record written again", "", ""},
	{"monitor/record", "record damaged", "", ""},
}

// is tells whether an event is the mark's line, if it has the message.
func (m Mark) is(e sim.Event) bool {
	return m.Key == "" || slices.ContainsFunc(e.Fields, func(f sim.Field) bool {
		return f.Key == m.Key && strings.HasPrefix(f.Value, m.Value)
	})
}

// marks notes which were reached in a run.
type marks struct {
	by      map[string][]Mark // by the kind of the event
	reached map[Mark]bool
}

func newMarks() *marks {
	by := map[string][]Mark{}
	for _, m := range Sometimes {
		by[logEvent+m.Text] = append(by[logEvent+m.Text], m)
	}
	return &marks{by, map[Mark]bool{}}
}

func (r *marks) hear(e sim.Event) {
	for _, m := range r.by[e.Kind] {
		if m.is(e) {
			r.reached[m] = true
		}
	}
}

// names gives those that were reached, in the order of the table.
func (r *marks) names() []string {
	var all []string
	for _, m := range Sometimes {
		if r.reached[m] {
			all = append(all, m.String())
		}
	}
	return all
}

// Reached adds up the marks that many runs reached. Its zero value is ready to use.
type Reached struct{ names map[string]bool }

// Add adds those of a run, as its outcome names them.
func (r *Reached) Add(names []string) {
	if r.names == nil {
		r.names = map[string]bool{}
	}
	for _, name := range names {
		r.names[name] = true
	}
}

// Lines tells how many marks were reached, and names by package those that never
// were.
func (r *Reached) Lines() []string {
	const columns = 100
	var lines []string
	never, line, in := 0, "", ""
	for _, m := range Sometimes {
		if r.names[m.String()] {
			continue
		}
		never++
		name := strings.TrimPrefix(m.String(), m.Package+": ")
		switch {
		case m.Package != in:
			line, in = fmt.Sprintf("  %-14s  %s", m.Package, name), m.Package
		case len(line)+len("; "+name) > columns:
			lines[len(lines)-1] += ";"
			line = strings.Repeat(" ", 18) + name
		default:
			lines, line = lines[:len(lines)-1], line+"; "+name
		}
		lines = append(lines, line)
	}
	sum := fmt.Sprintf("sometimes: %d of %d rare branches reached", len(Sometimes)-never, len(Sometimes))
	if never > 0 {
		sum += "; never:"
	}
	return append([]string{sum}, lines...)
}
