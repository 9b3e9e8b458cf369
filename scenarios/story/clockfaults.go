package story

import "time"

// The faults of clocks, and of what ends at a time.

var clockFaults = []Fault{
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
	{
		Name:    "clock-frozen",
		Family:  Clock,
		About:   "the wall clock of a machine stands still, and time goes on; it is set right at the end",
		Promise: "no wait and no lease depends on it",
		On:      hosts, For: Required,
	},
	{
		Name:    "certificate-ends",
		Family:  Clock,
		About:   "the certificates of machines have so long left, and nobody renews them before the end",
		Promise: "somebody is told in time, and once; after the renewal nothing has to be started again",
		On:      []Kind{ByMachine, ByRole, ByRegion, ByVPS}, For: Required,
		Params: []Param{{Name: "in", Type: TypeDuration, Required: true, About: "from the fault's start"}},
	},
}
