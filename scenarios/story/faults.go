package story

import (
	"slices"
	"time"
)

// Need says whether a fault takes a duration after which it heals.
type Need string

// The needs; a fault with an optional duration lasts to the end without one.
const (
	Required Need = "required"
	Optional Need = "optional"
	Never    Need = "never"
)

// Family is what part of the world a fault breaks.
type Family string

// The families, in the order of `sim faults`.
const (
	Network       Family = "network"
	NameService   Family = "names"
	CloudAPI      Family = "cloud APIs"
	Process       Family = "processes"
	Disk          Family = "disks"
	Clock         Family = "clocks"
	ZoneAndRegion Family = "zones and regions"
	Gray          Family = "gray" // what is not down and does not work
	Human         Family = "people"
)

// Families is the table of all families; it is never changed.
var Families = []Family{Network, NameService, CloudAPI, Process, Disk, Clock, ZoneAndRegion, Gray, Human}

// Fault describes one word of the fault vocabulary.
type Fault struct {
	Name      string
	Family    Family
	About     string   // one line: what happens
	Promise   string   // one line: what the platform promises under it
	On        []Kind   // what it may strike
	Providers []string // for ByProvider: which ones; nil means any
	Roles     []string // what is struck has a machine of one of these; nil means any
	For       Need
	Params    []Param
}

var (
	hosts    = []Kind{ByMachine, ByRole, ByZone, ByRegion, ByVPS, ByClients}
	anything = []Kind{ByMachine, ByRole, ByZone, ByRegion, ByVPS, ByProvider, ByClients}

	// Those who serve an API of a cloud or of another provider.
	apis     = []Kind{ByMachine, ByRole, ByRegion, ByProvider}
	apiRoles = []string{RoleAPI, RoleStore, RoleAWS}
)

// requests are the parameters that say which requests to an API are struck.
func requests(more ...Param) []Param {
	return append(more,
		Param{Name: "share", Type: TypeShare, About: "of the requests; left out: all"},
		Param{Name: "only", Type: TypeChoice, Among: []string{"reads", "writes"}, About: "left out: both"},
		Param{Name: "after", Type: TypeCount, About: "so many requests of each asker pass before"},
	)
}

// Faults is the fault vocabulary: what a timeline can do to the world. It is a
// table for the engine and for `sim faults`, and is never changed.
var Faults = append([]Fault{
	{
		Name:    "region-lost",
		Family:  ZoneAndRegion,
		About:   "every machine of a region goes silent: no resets, no goodbyes; they boot again at the end",
		Promise: "detected and paged; names move to the other region; clients recover there and come home later",
		On:      []Kind{ByRegion}, For: Optional,
	},
	{
		Name:    "zone-lost",
		Family:  ZoneAndRegion,
		About:   "every machine of a zone goes silent; they boot again at the end",
		Promise: "the region goes on without the zone; live keys of the lost nodes answer 503 with Retry-After",
		On:      []Kind{ByZone}, For: Optional,
	},
	{
		Name:    "machine-lost",
		Family:  Process,
		About:   "a machine loses power and is silent; it boots again at the end with what it had synced",
		Promise: "the others go on; live keys of a lost Live node answer 503 with Retry-After",
		On:      []Kind{ByMachine, ByRole, ByVPS, ByClients}, For: Optional,
	},
	{
		Name:    "process-killed",
		Family:  Process,
		About:   "the processes of a machine die at once and its host resets their connections",
		Promise: "parents start them again; clients reconnect and are told of any gap",
		On:      []Kind{ByMachine, ByRole, ByVPS}, For: Never,
	},
	{
		Name:    "killed-after",
		Family:  Process,
		About:   "of a machine the process is killed that has the n-th effect: sends bytes, or syncs a file",
		Promise: "whatever step it was, it is completed; nobody is told more than twice, and nothing is half done",
		On:      []Kind{ByMachine, ByRole, ByVPS}, For: Never,
		Params: []Param{{Name: "effects", Type: TypeCounts, Required: true, Drawn: true, About: "which one it is, counted from the fault's start"}},
	},
	{
		Name:    "lost-after",
		Family:  Process,
		About:   "a machine loses power with its n-th effect: bytes sent, or a file synced; it boots again at the end",
		Promise: "as killed-after; what it had synced is there when it boots",
		On:      []Kind{ByMachine, ByRole, ByVPS}, For: Required,
		Params: []Param{{Name: "effects", Type: TypeCounts, Required: true, Drawn: true, About: "which one it is, counted from the fault's start"}},
	},
	{
		Name:    "restarted",
		Family:  Human,
		About:   "nodes are asked to leave, one machine after another, and start again at once",
		Promise: "each drains first: no request is lost, and tunnels are resumed",
		On:      []Kind{ByMachine, ByRole, ByZone, ByRegion}, For: Never,
		Params: []Param{{Name: "every", Type: TypeDuration, Required: true, About: "from one machine to the next"}},
	},
	{
		Name:    "paused",
		Family:  Process,
		About:   "a machine stands still: nothing arrives, nothing leaves, its clocks jump when it wakes up",
		Promise: "who wakes up as a superseded owner learns it and sends its clients away",
		On:      []Kind{ByMachine, ByRole, ByZone, ByVPS}, For: Required,
	},
	{
		Name:    "partition",
		Family:  Network,
		About:   "nothing passes a link, in one direction (->) or in both (<->)",
		Promise: "no vantage that is cut off decides anything; the majority does",
		On:      []Kind{ByLink}, For: Optional,
	},
	{
		Name:    "isolated",
		Family:  Network,
		About:   "what is selected is cut off from everything else, but not from one another",
		Promise: "an isolated region counts as lost; an isolated vantage abstains",
		On:      anything, For: Optional,
	},
	{
		Name:    "latency",
		Family:  Network,
		About:   "everything on a link, or to and from what is selected, takes longer",
		Promise: "slower, and nothing else while time-outs are not reached",
		On:      append([]Kind{ByLink}, anything...), For: Required,
		Params: []Param{{Name: "add", Type: TypeDuration, Required: true, Drawn: true, About: "added in each direction"}},
	},
	{
		Name:    "loss",
		Family:  Network,
		About:   "packets are lost: datagrams for good, streams until they are sent again",
		Promise: "slower; resolvers and probes try again before anybody is paged",
		On:      append([]Kind{ByLink}, anything...), For: Required,
		Params: []Param{{Name: "percent", Type: TypeShare, Required: true, Drawn: true, About: "of all packets, in each direction"}},
	},
	{
		Name:    "links-flicker",
		Family:  Network,
		About:   "one link after another, between what is selected and any server, is cut for a while; chance says which",
		Promise: "single probes fail; no verdict follows from one that failed once",
		On:      hosts, For: Required,
		Params: []Param{
			{Name: "every", Type: TypeDuration, Required: true, Drawn: true, About: "from one link to the next"},
			{Name: "cut", Type: TypeDuration, Required: true, Drawn: true, About: "how long a link is cut"},
		},
	},
	{
		Name:    "checks-all-well",
		Family:  Gray,
		About:   "the load balancer takes whatever it checks for well, also what is dead",
		Promise: "the vantages judge by what clients get, not by health checks",
		On:      []Kind{ByMachine, ByRole, ByZone, ByRegion}, For: Required,
	},
	{
		Name:    "checks-all-unwell",
		Family:  Gray,
		About:   "the load balancer takes whatever it checks for unwell, and nothing is",
		Promise: "without any healthy target it sends to all, so clients go on; nobody is paged and nothing moves",
		On:      []Kind{ByMachine, ByRole, ByZone, ByRegion}, For: Required,
	},
	{
		Name:    "dns-timeout",
		Family:  NameService,
		About:   "the authorities of a DNS provider leave queries without an answer",
		Promise: "resolvers turn to the other provider; nobody is without names",
		On:      []Kind{ByProvider}, Providers: providerNames(false), For: Required,
		Params: []Param{
			{Name: "share", Type: TypeShare, Required: true, Drawn: true, About: "of the queries that are dropped"},
			{Name: "from", Type: TypeSelector, About: "only queries from these machines"},
		},
	},
	{
		Name:    "api-errors",
		Family:  CloudAPI,
		About:   "APIs answer requests with an error in the provider's words, and do not carry them out",
		Promise: "what can wait is tried again and finished; a page goes through another provider",
		On:      apis, Roles: apiRoles, For: Optional,
		Params: requests(Param{Name: "status", Type: TypeChoice, Among: []string{"500", "503", "429", "401", "403"}, About: "left out: 503"}),
	},
	{
		Name:    "api-answer-lost",
		Family:  CloudAPI,
		About:   "APIs carry requests out, and the connection ends without an answer",
		Promise: "what may have been done is looked up or done again: a page comes twice rather than never",
		On:      apis, Roles: apiRoles, For: Optional,
		Params: requests(),
	},
	{
		Name:    "api-hangs",
		Family:  CloudAPI,
		About:   "APIs take requests, do not carry them out, and never answer",
		Promise: "nobody waits longer than 10 s; then it is as if the answer were lost",
		On:      apis, Roles: apiRoles, For: Optional,
		Params: requests(),
	},
	{
		Name:    "no-capacity",
		Family:  CloudAPI,
		About:   "the cloud launches no machine in a region",
		Promise: "what is left serves on, and what was lost is replaced afterwards",
		On:      []Kind{ByRegion}, Roles: []string{RoleAWS}, For: Optional,
	},
	{
		Name:    "clock-step",
		Family:  Clock,
		About:   "the wall clock of a machine jumps; it is set right at the end",
		Promise: "no wait and no lease depends on it",
		On:      hosts, For: Optional,
		Params: []Param{{Name: "by", Type: TypeOffset, Required: true, Drawn: true, About: "forward, or back if negative"}},
	},
	{
		Name:    "clock-drift",
		Family:  Clock,
		About:   "both clocks of a machine run fast or slow; they keep time again from the end on, where they are",
		Promise: "leases allow for 1 ms a second; no wait depends on more",
		On:      hosts, For: Optional,
		Params: []Param{{Name: "gains", Type: TypeOffset, Required: true, Drawn: true, Most: 100 * time.Millisecond, About: "in each second; it loses if negative"}},
	},
}, nameFaults...)

// FindFault finds a fault by name.
func FindFault(name string) (Fault, bool) {
	i := slices.IndexFunc(Faults, func(f Fault) bool { return f.Name == name })
	if i < 0 {
		return Fault{}, false
	}
	return Faults[i], true
}

func faultNames() []string {
	var names []string
	for _, f := range Faults {
		names = append(names, f.Name)
	}
	return names
}
