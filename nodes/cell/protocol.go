package cell

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/espra/protoplex/nodes/placement"
)

// A process and its Seed speak in frames on one stream. The process registers,
// and is welcomed or refused; from then on it beats, and each beat is answered.
// In between come tables, changes and orders.
//
// A frame carries the epoch of the leader who sent it. Revision is that of the
// table for tables, changes and beats, and counts an epoch's orders for orders.

// The types of frames from a process to the Seed.
const (
	TypeRegister = "register" // Registration; the first frame, once
	TypeAlive    = "alive"    // Beat
	TypeReport   = "report"   // Report, when it was asked for
	TypeLeaving  = "leaving"  // Leaving; the last frame
)

// The types of frames from the Seed to a process.
const (
	TypeWelcome  = "welcome"  // Welcome
	TypeRefused  = "refused"  // Refused; the last frame
	TypeSnapshot = "snapshot" // Report: a whole table
	TypeChange   = "change"   // placement.Change: the next one
	TypeAnswer   = "answer"   // Answer to a beat, after all that came before it
	TypeWanted   = "wanted"   // no body: report the table that you hold
	TypeOrder    = "order"    // Order
)

// Heartbeat is the time between the beats of a process. One that has not been
// heard for Silence is dead; one that has not heard its Seed for somewhat less
// looks for another, so that it is not taken for dead while it waits.
const (
	Heartbeat = 10 * time.Second
	Silence   = 3 * Heartbeat
	patience  = 25 * time.Second
)

// The roles of nodes that the Seed knows. Only Live nodes own keys.
const (
	RoleLive  = "live"
	RoleProxy = "proxy"
)

// Bounds of what is said of one process; a whole table fits one frame.
const (
	MaxName  = 63  // bytes of a name, of a zone, and of an address
	MaxTable = 200 // Live nodes in a cell
)

// Registration is what a process tells about itself.
type Registration struct {
	Name        string `json:"name"`           // of the node, as its certificate has it
	Proc        string `json:"proc,omitempty"` // of a process that only watches; empty is the node itself
	Role        string `json:"role"`
	Zone        string `json:"zone,omitempty"`
	Addr        string `json:"addr"`        // host:port where it serves, or its host's address
	Incarnation uint64 `json:"incarnation"` // greater than those of all earlier processes of this host
	Version     string `json:"version,omitempty"`
	Draining    bool   `json:"draining,omitempty"` // it is on its way out already

	Held placement.Position `json:"held"` // of its table
}

// ID tells processes apart. Two that run have one only by mistake.
func (r Registration) ID() string {
	if r.Proc == "" {
		return r.Name
	}
	return r.Name + "/" + r.Proc
}

// Node is the place in a table that a Live node asks for.
func (r Registration) Node() placement.Node {
	return placement.Node{Name: r.Name, Zone: r.Zone, Addr: r.Addr, Incarnation: r.Incarnation}
}

// Check says what is wrong with a registration.
func (r Registration) Check() error {
	name := placement.ValidName
	switch {
	case !name(r.Name) || len(r.Name) > MaxName:
		return fmt.Errorf("cell: %q is not a name of a node", clip(r.Name))
	case len(r.Proc) > MaxName || r.Proc != "" && !name(strings.ReplaceAll(r.Proc, "/", "-")):
		return fmt.Errorf("cell: %q is not a name of a process", clip(r.Proc))
	case !name(r.Role) || len(r.Role) > MaxName:
		return fmt.Errorf("cell: %q is not a role", clip(r.Role))
	case r.Zone != "" && !name(r.Zone) || len(r.Zone) > MaxName:
		return fmt.Errorf("cell: %q is not a zone", clip(r.Zone))
	case len(r.Version) > MaxName:
		return fmt.Errorf("cell: the version is longer than %d bytes", MaxName)
	case r.Incarnation == 0:
		return errors.New("cell: an incarnation is above zero")
	case r.Role == RoleLive && r.Proc == "":
		if host, port, err := net.SplitHostPort(r.Addr); err != nil || host == "" || port == "" || len(r.Addr) > MaxName {
			return fmt.Errorf("cell: %q is not host:port", clip(r.Addr))
		}
	default:
		if _, err := netip.ParseAddr(r.Addr); err != nil {
			return fmt.Errorf("cell: %q is not an address", clip(r.Addr))
		}
	}
	return nil
}

// clip keeps what a stranger sent out of logs and answers, beyond its start.
func clip(s string) string {
	if len(s) > MaxName {
		return s[:MaxName] + "..."
	}
	return s
}

// Beat says that a process lives, and how far its table is.
type Beat struct {
	N    uint64             `json:"n"` // counts the beats of a stream; the answer repeats it
	Held placement.Position `json:"held"`
}

// Report is a whole table, and how long ago it was last known to be the newest.
type Report struct {
	Table  placement.Table `json:"table"`
	Age    time.Duration   `json:"age,omitempty"`
	Reason string          `json:"reason,omitempty"`
}

// maxAge of a table that was reported is ten years.
const maxAge = 10 * 365 * 24 * time.Hour

// Check says what is wrong with a report, whoever sent it.
func (r Report) Check() error {
	if len(r.Table.Nodes) > MaxTable {
		return fmt.Errorf("cell: a table of %d nodes, of at most %d", len(r.Table.Nodes), MaxTable)
	}
	seen := make(map[string]bool)
	for _, n := range r.Table.Nodes {
		r := Registration{Name: n.Name, Role: RoleLive, Zone: n.Zone, Addr: n.Addr, Incarnation: n.Incarnation}
		if err := r.Check(); err != nil {
			return err
		}
		if seen[n.Name] {
			return fmt.Errorf("cell: %s is in the table twice", n.Name)
		}
		seen[n.Name] = true
	}
	switch {
	case r.Age < 0:
		return errors.New("cell: a table from the future")
	case r.Age > maxAge: // sums of ages stay far from an overflow
		return errors.New("cell: a table older than any process")
	}
	return nil
}

// Leaving says that a process goes, so that nobody waits for its silence.
type Leaving struct {
	Reason string `json:"reason"`
}

// Welcome says that a process is known now, and by whom.
type Welcome struct {
	Leader string `json:"leader"`
	Cell   string `json:"cell"`
	State
}

// Words for the states of a Seed that leads.
const (
	Settling = "settling" // it finds out who is there
	Leading  = "leading"
	Frozen   = "frozen" // it may do so again: its lease is not renewed
)

// State is what a leader may do. One that is frozen may no longer be the leader:
// it says nothing new. One that is settling has yet to make its first table.
type State struct {
	Frozen   bool `json:"frozen,omitempty"`
	Settling bool `json:"settling,omitempty"`
}

// Refused says why a process is not known here, and who else to ask.
type Refused struct {
	Reason string `json:"reason"`
	Ask    string `json:"ask,omitempty"` // name of the leader, as far as is known
	// Exceed is the incarnation that was here last at this process's address, if
	// it is greater. A process that has just started takes a greater one and asks
	// again: the wall clock was set back. Others have been replaced.
	Exceed uint64 `json:"exceed,omitempty"`
}

// NotLeader is the reason that an understudy has for refusing everybody.
const NotLeader = "not the leader"

// Answer confirms that a table is the newest still, unless the State says that
// this cannot be known.
type Answer struct {
	N uint64 `json:"n"`
	State
}

// Order is something to do, once. The frame's epoch and revision tell whether it
// is an order still, and a new one.
type Order struct {
	Do   string          `json:"do"`
	By   string          `json:"by"`             // who asked for it
	Body json.RawMessage `json:"body,omitempty"` // what else belongs to it
}

// What the Seed orders.
const (
	Drain      = "drain"      // leave: the table is without this node already
	Invalidate = "invalidate" // let go of what the body names
)
