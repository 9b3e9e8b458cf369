package story

// The faults of people, who mean well.

var humanFaults = []Fault{
	{
		Name:    "restarted",
		Family:  Human,
		About:   "nodes are asked to leave, one machine after another, and start again at once",
		Promise: "each drains first: no request is lost, and tunnels are resumed",
		On:      []Kind{ByMachine, ByRole, ByZone, ByRegion}, For: Never,
		Params: []Param{{Name: "every", Type: TypeDuration, Required: true, About: "from one machine to the next"}},
	},
	{
		Name:    "drain-ordered",
		Family:  Human,
		About:   "an operator at the machine of a Seed reads the status of nodes, and orders them to drain in the epoch it tells",
		Promise: "as restarted; an order that arrives in a later epoch is refused",
		On:      []Kind{ByMachine, ByRole}, Roles: []string{RoleProxy, RoleLive}, InCell: true, For: Never,
		Params: []Param{{Name: "thinks", Type: TypeDuration, About: "from reading to ordering; left out: not at all"}},
	},
	{
		Name:    "capacity-removed",
		Family:  Human,
		About:   "somebody terminates all machines of a role but so many; at the end those are back that nobody replaced",
		Promise: "what is left serves on; a scaling group replaces what it lost",
		On:      []Kind{ByRole}, Roles: []string{RoleProxy, RoleLive}, For: Optional,
		Params: []Param{{Name: "leaves", Type: TypeCount, Required: true, About: "how many are left, of those that are on"}},
	},
	{
		Name:    "records-deleted",
		Family:  Human,
		About:   "somebody deletes the platform's names at a DNS provider's console, and at the end puts back what is missing",
		Promise: "within minutes the monitors tell, and write again what they know to be theirs",
		On:      []Kind{ByProvider}, Providers: providerNames(false), For: Required,
		Params: []Param{{Name: "only", Type: TypeChoice, Among: []string{"homes", "addresses"}, About: "left out: both"}},
	},
	{
		Name:    "bad-push",
		Family:  Human,
		About:   "somebody pushes a broken file to off-site machines, which start again with it if it is the configuration",
		Promise: "who runs keeps to the old one, who starts says what is wrong with it; the other vantages go on",
		On:      []Kind{ByVPS}, For: Required,
		Params: []Param{{Name: "file", Type: TypeChoice, Required: true, Among: []string{"config", "certificate"}, About: "of the monitor"}},
	},
	{
		Name:    "domain-expired",
		Family:  Human,
		About:   "nobody has paid for the domain: com no longer knows it",
		Promise: "open connections go on, no name moves, and the monitors tell",
		On:      []Kind{ByRole}, Roles: []string{RoleCom}, For: Required,
	},
}
