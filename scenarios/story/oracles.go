package story

import "slices"

// Scope says when an expectation is judged.
type Scope string

// The scopes of expectations.
const (
	Always     Scope = "always"      // after every event
	After      Scope = "after"       // counted from the start of a fault
	AfterHeals Scope = "after heals" // counted from the end of a fault
	Throughout Scope = "throughout"  // over the whole run
)

// Oracle describes one expectation that a scenario can have.
type Oracle struct {
	Name   string
	About  string // one line: what has to hold
	Scopes []Scope
	Params []Param

	// check reports why a story could never judge the expectation.
	check func(*judge)
}

// Oracles is the table of expectations; it is never changed.
var Oracles = []Oracle{
	{
		Name:   "live-streams",
		About:  "no subscriber hears a message twice, or misses one without being told of a gap",
		Scopes: []Scope{Always},
		check:  func(j *judge) { j.needSubscribers(); j.needPublishers() },
	},
	{
		Name:   "dns-points-somewhere",
		About:  "every name leads to a known target at every authority",
		Scopes: []Scope{Always},
	},
	{
		Name:   "impostor-refused",
		About:  "nobody whom false routes lead to an impostor takes anything from it",
		Scopes: []Scope{Always},
		check:  func(j *judge) { j.needHijack() },
	},
	{
		Name:   "one-leader",
		About:  "the epochs of a cell's leaders grow, and nobody goes back to an older table",
		Scopes: []Scope{Always},
		check:  func(j *judge) { j.needSeeds() },
	},
	{
		Name:   "stale-orders",
		About:  "no node carries out an order of an epoch that is over, and some such order comes",
		Scopes: []Scope{Always},
		check:  func(j *judge) { j.needOrders() },
	},
	{
		Name:   "lease-covers",
		About:  "no Seed makes a table, or takes itself for the leader, after its lease is over at the store",
		Scopes: []Scope{Always},
		check:  func(j *judge) { j.needSeeds(); j.needAwake() },
	},
	{
		Name:   "leader-stays",
		About:  "who leads a cell at first leads it to the end",
		Scopes: []Scope{Throughout},
		check:  func(j *judge) { j.needSeeds() },
	},
	{
		Name:   "taken-over",
		About:  "a region's cell has a new leader",
		Scopes: []Scope{After, AfterHeals},
		Params: []Param{{Name: "within", Type: TypeDuration, Required: true, About: "of the fault's start, or of its end"}},
		check:  func(j *judge) { j.needSeeds(); j.needOneRegion() },
	},
	{
		Name:   "tables-agree",
		About:  "all nodes of a cell hold the same table",
		Scopes: []Scope{AfterHeals},
		Params: []Param{{Name: "within", Type: TypeDuration, Required: true, About: "of the fault's end"}},
		check:  func(j *judge) { j.needSeeds() },
	},
	{
		Name:   "detected",
		About:  "the monitors open an incident for the lost region",
		Scopes: []Scope{After},
		Params: []Param{{Name: "within", Type: TypeDuration, Required: true, About: "of the fault's start"}},
		check:  func(j *judge) { j.needVPS(); j.needLostRegion() },
	},
	{
		Name:   "dns-moved",
		About:  "the names of the lost region lead to another region, read back at every authority",
		Scopes: []Scope{After},
		Params: []Param{
			{Name: "within", Type: TypeDuration, Required: true, About: "of the fault's start"},
			{Name: "names", Type: TypeHosts, About: "left out: every host whose home is lost"},
			{Name: "at", Type: TypeProviders, About: "left out: all providers"},
		},
		check: func(j *judge) { j.needVPS(); j.needLostRegion(); j.needOtherRegion(); j.fillNames() },
	},
	{
		Name:   "clients-recovered",
		About:  "the clients that the fault struck are served again",
		Scopes: []Scope{After, AfterHeals},
		Params: []Param{
			{Name: "share", Type: TypeShare, Required: true, About: "of the clients that were struck"},
			{Name: "within", Type: TypeDuration, Required: true, About: "of the fault's start, or of its end"},
			{Name: "of", Type: TypeSelector, About: "only these clients; left out: all"},
		},
		check: func(j *judge) { j.needBrowsers(); j.needClients("of") },
	},
	{
		Name:   "capacity-restored",
		About:  "each load balancer node that lost targets has as many healthy ones as before",
		Scopes: []Scope{After},
		Params: []Param{{Name: "within", Type: TypeDuration, Required: true, About: "of the fault's start"}},
		check:  func(j *judge) { j.needScaling() },
	},
	{
		Name:   "restarts",
		About:  "parents wait before they start a child again that keeps ending",
		Scopes: []Scope{After},
		Params: []Param{{Name: "at-most", Type: TypeCount, Required: true, About: "starts in the place of each child, while the fault lasts"}},
		check:  func(j *judge) { j.needChildren() },
	},
	{
		Name:   "pages",
		About:  "each admin gets a text for the incident, and one when it is over",
		Scopes: []Scope{After},
		Params: []Param{
			{Name: "each-admin", Type: TypeCounts, Required: true, About: "texts to each admin when the incident opens"},
			{Name: "all-clear", Type: TypeCounts, About: "texts to each admin when it closes"},
			{Name: "to", Type: TypeAdmins, About: "only these admins; left out: all"},
		},
		check: func(j *judge) { j.needPaging(); j.needHealing("all-clear"); j.needNoContradiction() },
	},
	{
		Name:   "acknowledged",
		About:  "an admin who follows the link of a page is shown as who looks after the incident",
		Scopes: []Scope{After},
		Params: []Param{{Name: "within", Type: TypeDuration, Required: true, About: "of the fault's start"}},
		check:  func(j *judge) { j.needPaging(); j.needAcknowledging() },
	},
	{
		Name:   "tunnels-kept",
		About:  "of the tunnels that are open at that moment, a share stays open",
		Scopes: []Scope{After, AfterHeals},
		Params: []Param{
			{Name: "share", Type: TypeShare, Required: true, About: "of the tunnels"},
			{Name: "for", Type: TypeDuration, Required: true, About: "from the fault's start, or from its end"},
		},
		check: func(j *judge) { j.needSubscribers() },
	},
	{
		Name:   "reconnects-spread",
		About:  "those whose tunnels are cut do not all come back in the same moment",
		Scopes: []Scope{After},
		Params: []Param{
			{Name: "at-most", Type: TypeShare, Required: true, About: "of the tunnels that were open, tried again in one window"},
			{Name: "window", Type: TypeDuration, Required: true, About: "any, from the fault's start on"},
		},
		check: func(j *judge) { j.needSubscribers(); j.needWindow() },
	},
	{
		Name:   "superseded-owners",
		About:  "nobody keeps a tunnel to an owner whose host has, or has had since, its home elsewhere",
		Scopes: []Scope{AfterHeals},
		Params: []Param{{Name: "none-after", Type: TypeDuration, Required: true, About: "of the fault's end"}},
		check:  func(j *judge) { j.needSubscribers() },
	},
	{
		Name:   "home",
		About:  "the names lead to their preferred region again, and the clients are there",
		Scopes: []Scope{AfterHeals},
		Params: []Param{
			{Name: "within", Type: TypeDuration, Required: true, About: "of the fault's end"},
			{Name: "not-before", Type: TypeDuration, About: "as long after the fault's end no name has returned"},
		},
		check: func(j *judge) { j.needVPS(); j.needLostRegion(); j.needOtherRegion(); j.needOrder() },
	},
	{
		Name:   "moves",
		About:  "each name moves from one region to another so many times and no more; 0 means that it stays",
		Scopes: []Scope{Throughout},
		Params: []Param{{Name: "each-name", Type: TypeCounts, Required: true, About: "moves, there and back being two"}},
		check:  func(j *judge) { j.needVPS(); j.needOtherRegion() },
	},
	{
		Name:   "reconnected",
		About:  "every tunnel that is cut is open again soon, whatever cut it",
		Scopes: []Scope{Throughout},
		Params: []Param{{Name: "within", Type: TypeDuration, Required: true, About: "of each cut"}},
		check:  func(j *judge) { j.needSubscribers() },
	},
	{
		Name:   "sent-away",
		About:  "each tunnel is told so many times that what it carries lives elsewhere; a move of its host is one reason",
		Scopes: []Scope{Throughout},
		Params: []Param{{Name: "each-tunnel", Type: TypeCounts, Required: true, About: "closings that say \"moved, resume\""}},
		check:  func(j *judge) { j.needSubscribers() },
	},
	{
		Name:   "availability",
		About:  "of what clients asked of a host, a share succeeded in every window",
		Scopes: []Scope{Throughout},
		Params: []Param{
			{Name: "of", Type: TypeHosts, Required: true, About: "each host is judged apart"},
			{Name: "at-least", Type: TypeShare, Required: true, About: "in every window"},
			{Name: "window", Type: TypeDuration, Required: true, About: "from the start of the run"},
		},
		check: func(j *judge) { j.needTraffic(); j.needWindow() },
	},
	{
		Name:   "answered-in-time",
		About:  "nobody who asks, and asks again, waits long for an answer, be it a refusal",
		Scopes: []Scope{Throughout},
		Params: []Param{
			{Name: "of", Type: TypeHosts, Required: true, About: "each host is judged apart"},
			{Name: "within", Type: TypeDuration, Required: true, About: "of the first request, also where others follow"},
		},
		check: func(j *judge) { j.needTraffic() },
	},
	{
		Name:   "load",
		About:  "no part of the platform has to bear many times its usual load, as it would if retries fed on themselves",
		Scopes: []Scope{Throughout},
		Params: []Param{{Name: "at-most", Type: TypeFactor, Required: true, About: "of the busiest minute before the first fault"}},
		check:  func(j *judge) { j.needQuiet() },
	},
	{
		Name:   "baseline",
		About:  "connections, goroutines and disks are what they were before the first fault",
		Scopes: []Scope{AfterHeals},
		Params: []Param{{Name: "within", Type: TypeDuration, Required: true, About: "of the fault's end"}},
		check:  func(j *judge) { j.needQuiet() },
	},
	{
		Name:   "converges",
		About:  "once all faults are over clients are served, names at home, tables equal, and nobody is on a superseded owner",
		Scopes: []Scope{Throughout},
		Params: []Param{{Name: "within", Type: TypeDuration, Required: true, About: "of the end of the last fault"}},
		check:  func(j *judge) { j.needSubscribers(); j.needEnd() },
	},
	{
		Name:   "nobody-paged",
		About:  "no admin gets a text, though every vantage judges every region, and watches to the end",
		Scopes: []Scope{Throughout},
		check:  func(j *judge) { j.needPaging(); j.needVerdicts() },
	},
	{
		Name:   "apex-answers",
		About:  "of the clients' loads of the apex, a share was redirected",
		Scopes: []Scope{Throughout},
		Params: []Param{{Name: "at-least", Type: TypeShare, Required: true, About: "over the whole run"}},
		check:  func(j *judge) { j.needVPS(); j.needLoads() },
	},
}

// FindOracle finds an expectation by name.
func FindOracle(name string) (Oracle, bool) {
	i := slices.IndexFunc(Oracles, func(o Oracle) bool { return o.Name == name })
	if i < 0 {
		return Oracle{}, false
	}
	return Oracles[i], true
}

// oracleNames gives the expectations of a scope.
func oracleNames(scope Scope) []string {
	var names []string
	for _, o := range Oracles {
		if slices.Contains(o.Scopes, scope) {
			names = append(names, o.Name)
		}
	}
	return names
}
