package scenarios

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/espra/protoplex/scenarios/oracle"
	"github.com/espra/protoplex/scenarios/story"
	"github.com/espra/protoplex/sim"
)

// MachineState is what a machine was in the middle of when a run was stopped.
type MachineState struct {
	Machine story.Machine
	sim.State
	Said []Said
}

// Said is the last that a process of a machine said on a subject: who leads, which
// table it heard, where home is, what it holds a target to be.
type Said struct {
	At   time.Duration
	Proc string
	Text string
}

// subjects are the log lines that tell a state, and by which field their subjects
// differ. What is said on a subject replaces what was said before.
var subjects = map[string]struct{ about, by string }{
	"leader": {"lease", "cell"}, "leader no longer": {"lease", "cell"},
	"frozen": {"placement", "cell"}, "thawed": {"placement", "cell"},
	"table changed": {"table", "cell"}, "table heard": {"table", ""},
	"seed found": {"seed", ""}, "seed lost": {"seed", ""},
	"home here": {"home", "host"}, "home here again": {"home", "host"}, "home elsewhere": {"home", "host"}, "home moved": {"home", "host"}, "home unreadable": {"home", "host"},
	"first verdict": {"verdict", "target"}, "verdict": {"verdict", "target"},
	"plan": {"plan", ""}, "provider read back": {"provider", "provider"}, "provider half changed": {"provider", "provider"},
	"zone served":    {"zone", "zone"},
	"target healthy": {"target", "target"}, "target unhealthy": {"target", "target"}, "target draining": {"target", "target"},
	"address withdrawn": {"address", "addr"}, "address returned": {"address", "addr"},
	"draining": {"drain", ""}, "accepting stops": {"drain", ""}, "finishing": {"drain", ""},
}

// memory keeps what processes said last.
type memory map[[4]string]Said // by machine, process, what it is about, and subject

func (m memory) hear(e sim.Event) {
	kind, ok := strings.CutPrefix(e.Kind, logEvent)
	switch {
	case e.Kind == "exit":
		for key := range m {
			if key[0] == e.Machine && key[1] == e.Proc {
				delete(m, key)
			}
		}
		return
	case !ok:
		return
	}
	s, ok := subjects[kind]
	if !ok {
		return
	}
	var text strings.Builder
	text.WriteString(kind)
	for _, f := range e.Fields {
		if f.Value != "" {
			fmt.Fprintf(&text, " %s=%s", f.Key, f.Value)
		}
	}
	m[[4]string{e.Machine, e.Proc, s.about, e.Get(s.by)}] = Said{e.At, e.Proc, text.String()}
}

// stop has the state of all machines taken at an offset. The function waits for
// it.
func (p *platform) stop(at time.Duration, said memory) func() []MachineState {
	taken := make(chan []MachineState, 1)
	p.world.At(at, func() {
		var all []MachineState
		for _, m := range p.machines {
			s := MachineState{Machine: m, State: p.hosts[m.Name].State()}
			for _, key := range slices.SortedFunc(maps.Keys(said), func(a, b [4]string) int { return slices.Compare(a[:], b[:]) }) {
				if key[0] == m.Name {
					s.Said = append(s.Said, said[key])
				}
			}
			all = append(all, s)
		}
		taken <- all
	})
	return func() []MachineState { return <-taken }
}

// printState tells what machines were in the middle of; clients only with all.
func printState(b *printer, at time.Duration, all []MachineState) {
	b.line("", "")
	b.line("", "state at %s", oracle.Offset(at))
	clients := 0
	for _, m := range all {
		if m.Machine.Group != "" && !b.style.All {
			clients++
			continue
		}
		b.line("", "  %s", m.head())
		for _, p := range m.Processes {
			said := slices.DeleteFunc(slices.Clone(m.Said), func(s Said) bool { return s.Proc != p.Name })
			if p.Name == "console" && len(p.Listens)+len(p.Connections) == 0 {
				continue
			}
			b.line("", "    %s", processLine(p))
			for _, s := range said {
				b.line("", "      %7s  %s", oracle.Offset(s.At), s.Text)
			}
		}
	}
	if clients > 0 {
		b.line("", "  %d machines of clients; -v tells all", clients)
	}
}

func (m MachineState) head() string {
	text := m.Machine.Name
	switch {
	case !m.On:
		text += ": off"
	case m.Paused:
		text += ": paused"
	case m.Hung:
		text += ": hangs"
	}
	if m.Clock != 0 {
		text += fmt.Sprintf(", its clock off by %s", m.Clock)
	}
	if m.Files > 0 {
		text += fmt.Sprintf(", %d files, %s bytes", m.Files, thousands(int(m.Bytes)))
	}
	return text
}

func processLine(p sim.ProcessState) string {
	peers := map[string]int{}
	unread, unheard, stuck := 0, 0, 0
	for _, c := range p.Connections {
		peers[c.Peer]++
		unread += c.Unread
		unheard += c.Unheard
		if c.Stuck {
			stuck++
		}
	}
	var parts []string
	for _, q := range []struct {
		n    int
		what string
	}{{p.Waiting, "waiting"}, {unread, "bytes unread"}, {unheard, "bytes unheard"}, {stuck, "stuck"}, {len(p.Connections), "connections"}} {
		if q.n > 0 {
			parts = append(parts, thousands(q.n)+" "+q.what)
		}
	}
	var with []string
	for _, name := range slices.Sorted(maps.Keys(peers)) {
		with = append(with, fmt.Sprintf("%s %d", name, peers[name]))
	}
	text := p.Name
	if len(parts) > 0 {
		text += ": " + strings.Join(parts, ", ")
	}
	if len(with) > 0 {
		text += " (" + strings.Join(with, ", ") + ")"
	}
	if len(p.Listens) > 0 {
		text += "; listens " + strings.Join(slices.Compact(p.Listens), ", ")
	}
	return text
}
