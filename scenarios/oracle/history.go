package oracle

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// History is what was observed of one run. Every moment in it is an offset from
// the start of the scenario. Each slice is in order of time; [History.Sort]
// brings it there. Oracles only read it.
type History struct {
	Lasts time.Duration // how long was observed

	// From the clients.
	Pages     []Page
	Streams   []Stream
	Publishes []Publish

	// From the world.
	Faults  []Fault
	Watches []Watch
	Looks   []Look
	Notices []Notice
	Texts   []Text
	Acks    []Ack
	Served  []Served
	Leaders []Led
	Tables  []Heard
	Renewed []Renewed
	Acts    []Act
	Started []Started
	Orders  []Ordered
	Usage   []Usage
	Running []Running
	Targets []Judged
	Visits  []Visit
}

// Outcome is how an operation ended for the client that asked.
type Outcome string

// The three ends of an operation. One that is Unknown may or may not have
// happened, so it counts as both: for the client it was not answered, and what
// it asked for may show up. One that ended only because its client was
// [Stopped] says nothing about the platform.
const (
	OK      Outcome = "ok"
	Failed  Outcome = "failed"
	Unknown Outcome = "unknown"
)

// Page is one loading of a page, redirects included.
type Page struct {
	At       time.Duration // when it ended
	Client   string
	Seq      uint64 // orders what one client did at one instant
	Host     string // of the first request
	Outcome  Outcome
	Latency  time.Duration
	Answered bool   // the first host answered, whatever came after
	Error    string // class of the failure: "dial timeout", "status 503"
}

// Kind says what a [Stream] event is.
type Kind string

// What happens to a live tunnel.
const (
	Connected    Kind = "connected"    // the tunnel stands
	Refused      Kind = "refused"      // an attempt to open it came to nothing
	Disconnected Kind = "disconnected" // it is gone
	Subscribed   Kind = "subscribed"   // the server answered a subscription
	Message      Kind = "message"      // a message was heard
)

// Position is a place in a channel. Offsets of one incarnation start at 1.
type Position struct {
	Incarnation string
	Offset      uint64
}

// How a subscription went on from where the client had been.
const (
	Fresh         = "fresh"          // there was no position to go on from
	NothingMissed = "nothing-missed" // the position is still the end
	Replay        = "replay"         // what was missed follows
	Gap           = "gap"            // what was missed cannot be told
)

// Stopped is the Why of a tunnel, and the Error of an operation, that ended
// only because its client was stopped.
const Stopped = "stopped"

// Stream is something that happened on one client's tunnel for Key at Host.
type Stream struct {
	At      time.Duration
	Client  string
	Seq     uint64 // orders what one tunnel did at one instant
	Host    string
	Key     string
	Kind    Kind
	Channel string // Subscribed, Message

	Recovered string   // Subscribed: Fresh, NothingMissed, Replay or Gap
	Position  Position // Subscribed: where it goes on; Message: its own
	Data      string   // Message

	Latency time.Duration // Connected, Refused: how long the attempt took
	Code    int           // Disconnected: WebSocket close code, 0 without one
	Why     string        // Refused, Disconnected: class of the cause
}

// Publish is one attempt to publish a message. Data is unique to it.
type Publish struct {
	At       time.Duration // when it ended
	Client   string
	Seq      uint64
	Host     string
	Key      string
	Channel  string
	Data     string
	Outcome  Outcome
	Position Position // when OK
	Latency  time.Duration
	Error    string
}

// Fault is an interval in which something of the world was broken.
type Fault struct {
	ID     string
	Region string // that it struck, empty where no region as such was struck
	From   time.Duration
	Until  time.Duration // when it healed
}

// Watch is a vantage that judged a region for the first time, whatever it found.
type Watch struct {
	At      time.Duration
	Vantage string
	Region  string
}

// Look is a vantage asking a control, which it does in every round of its probes,
// as the control saw it.
type Look struct {
	At      time.Duration
	Vantage string
}

// Notice is the monitors' decision that a region is down, or up again. Several
// vantages may each say so.
type Notice struct {
	At     time.Duration
	Region string
	Up     bool
	By     string
}

// Text is one SMS that a provider accepted.
type Text struct {
	At       time.Duration
	Provider string
	To       string // name of the admin
	Body     string
}

// AllClear tells whether the text says that all is well again. Every other text
// is a page.
func (t Text) AllClear() bool { return strings.HasPrefix(t.Body, "ESPRA OK") }

// Ack is an admin who has followed the link of a page and is shown as who looks after
// the incident.
type Ack struct {
	At       time.Duration
	By       string // name of the admin
	Incident string
}

// Served is what one authoritative server of the platform's zone gives for a
// name from a moment on, until the next Served of the same server and name. The
// state at the start is a Served at 0. Servers of other zones do not belong here.
type Served struct {
	At        time.Duration
	Provider  string
	Authority string
	Name      string   // host, such as us-1.live.espra.com
	Targets   []string // addresses, or the one canonical name, as served
	Home      string   // region in the home record beside the name, if any
	Epoch     uint64   // in that record
}

// Of gives the history without what other clients saw.
func (h History) Of(clients []string) History {
	strange := func(client string) bool { return !slices.Contains(clients, client) }
	h.Pages = slices.DeleteFunc(slices.Clone(h.Pages), func(p Page) bool { return strange(p.Client) })
	h.Streams = slices.DeleteFunc(slices.Clone(h.Streams), func(s Stream) bool { return strange(s.Client) })
	h.Publishes = slices.DeleteFunc(slices.Clone(h.Publishes), func(p Publish) bool { return strange(p.Client) })
	return h
}

// Sort brings every slice into order of time; what one client did at one
// instant keeps the order in which it did it.
func (h *History) Sort() {
	slices.SortStableFunc(h.Pages, func(a, b Page) int {
		return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.Client, b.Client), cmp.Compare(a.Seq, b.Seq))
	})
	slices.SortStableFunc(h.Streams, func(a, b Stream) int {
		return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.Client, b.Client),
			cmp.Compare(a.Host, b.Host), cmp.Compare(a.Key, b.Key), cmp.Compare(a.Seq, b.Seq))
	})
	slices.SortStableFunc(h.Publishes, func(a, b Publish) int {
		return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.Client, b.Client), cmp.Compare(a.Seq, b.Seq))
	})
	slices.SortStableFunc(h.Faults, func(a, b Fault) int {
		return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.ID, b.ID))
	})
	slices.SortStableFunc(h.Watches, func(a, b Watch) int {
		return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.Vantage, b.Vantage), cmp.Compare(a.Region, b.Region))
	})
	slices.SortStableFunc(h.Looks, func(a, b Look) int {
		return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.Vantage, b.Vantage))
	})
	slices.SortStableFunc(h.Notices, func(a, b Notice) int {
		return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.Region, b.Region), cmp.Compare(a.By, b.By))
	})
	slices.SortStableFunc(h.Texts, func(a, b Text) int {
		return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.To, b.To), cmp.Compare(a.Provider, b.Provider))
	})
	slices.SortStableFunc(h.Acks, func(a, b Ack) int {
		return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.By, b.By), cmp.Compare(a.Incident, b.Incident))
	})
	slices.SortStableFunc(h.Served, func(a, b Served) int {
		return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.Provider, b.Provider),
			cmp.Compare(a.Authority, b.Authority), cmp.Compare(a.Name, b.Name))
	})
	slices.SortStableFunc(h.Leaders, func(a, b Led) int {
		return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.Region, b.Region), cmp.Compare(a.Name, b.Name))
	})
	slices.SortStableFunc(h.Renewed, func(a, b Renewed) int {
		return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.Name, b.Name))
	})
	slices.SortStableFunc(h.Acts, func(a, b Act) int {
		return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Did, b.Did))
	})
	slices.SortStableFunc(h.Orders, func(a, b Ordered) int {
		return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.Process, b.Process), cmp.Compare(a.By, b.By))
	})
	slices.SortStableFunc(h.Started, func(a, b Started) int {
		return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.Machine, b.Machine), cmp.Compare(a.Place, b.Place))
	})
	slices.SortStableFunc(h.Usage, func(a, b Usage) int {
		return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.Group, b.Group))
	})
	slices.SortStableFunc(h.Targets, func(a, b Judged) int {
		return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.Node, b.Node), cmp.Compare(a.Target, b.Target))
	})
	slices.SortStableFunc(h.Visits, func(a, b Visit) int {
		return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.From, b.From))
	})
	slices.SortStableFunc(h.Tables, func(a, b Heard) int {
		// What a process says at one instant is in no order of its own.
		return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.Process, b.Process), cmp.Compare(a.Epoch, b.Epoch), cmp.Compare(a.Revision, b.Revision))
	})
}
