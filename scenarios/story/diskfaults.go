package story

// The faults of what machines keep on disks.

var (
	disks = []Kind{ByMachine, ByRole, ByRegion, ByVPS}
	// keeping are the roles that write to their disks: vantages their state and what
	// they have seen, the lease store its objects.
	keeping = []string{RoleVPS, RoleStore}
	// reading are those that look at theirs now and then: at certificates and keys.
	reading = []string{RoleVPS, RoleStore, RoleProxy, RoleLive, RoleSeed, RoleUnderstudy}
	// forgetful are those that may lose what they have kept. S3 may not: that is what
	// leases rest on, and why it has more than one copy.
	forgetful = []string{RoleVPS}
)

var diskFaults = []Fault{
	{
		Name:    "disk-full",
		Family:  Disk,
		About:   "there is no room for anything new on a disk",
		Promise: "a vantage watches and pages as ever, and says what it could not keep; a lease store refuses",
		On:      disks, Roles: keeping, For: Optional,
	},
	{
		Name:    "disk-read-only",
		Family:  Disk,
		About:   "a file system is remounted: it can be read, and every change fails",
		Promise: "as disk-full",
		On:      disks, Roles: keeping, For: Optional,
	},
	{
		Name:    "disk-errors",
		Family:  Disk,
		About:   "reads, writes and syncs fail with an input/output error",
		Promise: "as disk-full; what cannot be read again stays in use as it was",
		On:      disks, Roles: reading, For: Optional,
		Params: []Param{{Name: "percent", Type: TypeShare, Required: true, Drawn: true, About: "of all reads, writes and syncs"}},
	},
	{
		Name:    "disk-slow",
		Family:  Disk,
		About:   "each read and each sync takes longer",
		Promise: "slower; nobody waits for a disk before people are woken",
		On:      disks, Roles: reading, For: Required,
		Params: []Param{{Name: "add", Type: TypeDuration, Required: true, Drawn: true, About: "to each"}},
	},
	{
		Name:    "disk-stalled",
		Family:  Disk,
		About:   "whatever is asked of a disk hangs until the end",
		Promise: "a vantage pages all the same, perhaps twice; a lease that cannot be renewed ends in time",
		On:      disks, Roles: reading, For: Required,
	},
	{
		Name:    "lost-syncs",
		Family:  Disk,
		About:   "a disk says that it has synced, and has not; at the end the power is lost for 5 s, and all that with it",
		Promise: "who starts with an older memory, or none, asks the others first: a page comes twice at most",
		On:      []Kind{ByVPS, ByMachine, ByRole}, Roles: forgetful, For: Required,
	},
	{
		Name:    "torn-write",
		Family:  Disk,
		About:   "a machine loses power in the middle of its n-th sync, some blocks are old and some new; it boots at the end",
		Promise: "what was half written is told from what is whole, and is not used",
		On:      disks, Roles: keeping, For: Required,
		Params: []Param{{Name: "syncs", Type: TypeCounts, Required: true, Drawn: true, About: "which one it is, counted from the fault's start"}},
	},
	{
		Name:    "bit-rot",
		Family:  Disk,
		About:   "a bit of each file in /var has flipped, and processes start anew from that; a copy is put back at the end",
		Promise: "a vantage drops what was damaged, and starts without it",
		On:      []Kind{ByVPS, ByMachine, ByRole}, Roles: forgetful, For: Required,
	},
}
