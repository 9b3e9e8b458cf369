package story

// The faults of what lies between machines.

var networkFaults = []Fault{
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
}
