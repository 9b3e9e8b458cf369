package story

import "slices"

// The faults of machines, and of what runs on them.

// supervised are the roles whose processes are started again: all but those of
// clients, for a browser that is killed is gone, and nobody opens another.
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
		Name:    "paused",
		Family:  Process,
		About:   "a machine stands still: nothing arrives, nothing leaves, its clocks jump when it wakes up",
		Promise: "who wakes up as a superseded owner learns it and sends its clients away",
		On:      []Kind{ByMachine, ByRole, ByZone, ByVPS}, For: Required,
	},
	{
		Name:    "hung",
		Family:  Process,
		About:   "the processes of a machine stand still while its host goes on: it takes connections and answers nothing",
		Promise: "whoever waits gives up in time, as with a lost machine; who goes on as a superseded owner learns it",
		On:      []Kind{ByMachine, ByRole, ByVPS}, For: Required,
	},
	{
		Name:    "crash-loop",
		Family:  Process,
		About:   "each process that starts on a machine dies again after so long; of a parent only its children do",
		Promise: "parents wait ever longer before they try again; the others go on",
		On:      []Kind{ByMachine, ByRole, ByVPS}, Roles: supervised, For: Required,
		Params: []Param{{Name: "lives", Type: TypeDuration, Required: true, Drawn: true, About: "from its start on"}},
	},
	{
		Name:    "slow-start",
		Family:  Process,
		About:   "the processes of a machine start again, and each takes so long until it begins to work",
		Promise: "nobody is sent there before it serves; the others go on",
		On:      []Kind{ByMachine, ByRole, ByVPS}, Roles: supervised, For: Required,
		Params: []Param{{Name: "takes", Type: TypeDuration, Required: true, Drawn: true, About: "each process, also a child"}},
	},
	{
		Name:    "no-sockets",
		Family:  Process,
		About:   "machines are out of descriptors: what is open works, and nothing more can be opened or accepted",
		Promise: "no process ends of it; who cannot get in goes elsewhere, and all is well as soon as it is over",
		On:      []Kind{ByMachine, ByRole, ByVPS}, Roles: []string{RoleProxy, RoleLive, RoleSeed, RoleUnderstudy, RoleVPS}, For: Required,
	},
	{
		Name:    "zombie",
		Family:  Process,
		About:   "a copy of a node that nobody knows of, with its name and its keys, runs beside it",
		Promise: "its cell keeps to the one that it knows, and takes the other only when that has been silent",
		On:      []Kind{ByMachine, ByRole}, Roles: []string{RoleProxy, RoleLive, RoleSeed, RoleUnderstudy}, For: Required,
	},
	{
		Name:    "machines-lost",
		Family:  ZoneAndRegion,
		About:   "a share of the machines of a zone or region loses power at once; they boot again at the end",
		Promise: "the others go on, while one of each role is left, as after the loss of a zone",
		On:      []Kind{ByZone, ByRegion}, For: Optional,
		Params: []Param{{Name: "share", Type: TypeShare, Required: true, Drawn: true, About: "of the machines that are on, and at least one"}},
	},
}
