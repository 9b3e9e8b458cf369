package story

import "slices"

// The faults of machines, and of what runs on them.

// supervised are the roles whose processes are started again: all but those of
// clients, for a browser that is killed is gone.
var supervised = slices.DeleteFunc(slices.Clone(Roles), func(r string) bool { return r == RoleBrowser || r == RolePublisher })

var processFaults = []Fault{
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
		On:      []Kind{ByMachine, ByRole, ByVPS}, Roles: supervised, For: Never,
	},
	{
		Name:    "killed-after",
		Family:  Process,
		About:   "of a machine the process is killed that has the n-th effect: sends bytes, or syncs a file",
		Promise: "whatever step it was, it is completed; nobody is told more than twice, and nothing is half done",
		On:      []Kind{ByMachine, ByRole, ByVPS}, Roles: supervised, For: Never,
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
}
