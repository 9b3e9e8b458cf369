package seed

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/espra/protoplex/nodes/placement"
)

// Roster is what a Seed answers operators at RosterPath: how it is, and while it
// leads, who is registered.
type Roster struct {
	Seed    Fact     `json:"seed"`
	Members []Member `json:"members"` // by ID
}

// RosterPath is where the meta port of a Seed gives its Roster.
const RosterPath = "/cell/members"

// Member is a process that has registered, or that a table names.
type Member struct {
	ID      string             `json:"id"` // NODE, or NODE/PROCESS for one that only watches
	Role    string             `json:"role"`
	Zone    string             `json:"zone,omitempty"`
	Addr    string             `json:"addr"`
	Held    placement.Position `json:"held"`      // of the table that it last said it has
	Owns    bool               `json:"owns_keys"` // it is in the Seed's table
	Here    bool               `json:"here"`      // it has a stream to this Seed
	Silent  float64            `json:"silent_seconds"`
	Leaving string             `json:"leaving,omitempty"` // who asked for it, or what it said
}

func (c *core) roster(now time.Duration) Roster {
	r := Roster{Seed: c.fact(now), Members: []Member{}}
	for _, id := range slices.Sorted(maps.Keys(c.members)) {
		m := c.members[id]
		leaving := m.drain
		if leaving == "" && m.Draining {
			leaving = "itself"
		}
		owns := slices.ContainsFunc(c.table.Nodes, func(n placement.Node) bool { return n.Name == id })
		r.Members = append(r.Members, Member{ID: id, Role: m.Role, Zone: m.Zone, Addr: m.Addr, Held: m.Held, Owns: owns,
			Here: m.stream != 0, Silent: (now - m.heard).Seconds(), Leaving: leaving})
	}
	return r
}

// looked asks for the roster, which is there once it is answered.
type looked struct{ roster *Roster }

func (in looked) happen(c *core, now time.Duration) {
	*in.roster = c.roster(now)
	c.out = append(c.out, answered{nil})
}

func (s *seed) serveRoster(w http.ResponseWriter, _ *http.Request) {
	var r Roster
	answer := make(chan error, 1)
	if !s.ask(event{looked{&r}, answer}) {
		http.Error(w, "the node is leaving", http.StatusServiceUnavailable)
		return
	}
	<-answer
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(r) // the operator may be gone
}
