package story

// The faults of what is not down and does not work.

var grayFaults = []Fault{
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
		Name:    "slow-machine",
		Family:  Gray,
		About:   "the processes of a machine get 50 ms of work done and then stand still for so long, again and again",
		Promise: "slower; it passes its health checks and keeps its share, and a second each time reaches no time-out",
		On:      []Kind{ByMachine, ByRole, ByVPS}, For: Required,
		Params: []Param{{Name: "waits", Type: TypeDuration, Required: true, Drawn: true, About: "how long it stands still each time"}},
	},
	{
		Name:    "texts-delayed",
		Family:  Gray,
		About:   "an SMS gateway takes texts as ever, and delivers them so much later",
		Promise: "after 18 rounds of probes the text goes through another gateway; nobody is told more than twice",
		On:      []Kind{ByProvider}, Providers: providerNames(true), For: Required,
		Params: []Param{{Name: "by", Type: TypeDuration, Required: true, Drawn: true, About: "later than usual"}},
	},
}
