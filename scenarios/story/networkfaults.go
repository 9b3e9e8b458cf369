package story

// The faults of what lies between machines.

var (
	// crossed are those whose traffic a fault may change on the way.
	crossed = append([]Kind{ByLink}, anything...)
	// several are those that may be struck one after another.
	several = []Kind{ByRole, ByZone, ByRegion, ByProvider, ByClients}
)

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
		On:      crossed, For: Required,
		Params: []Param{{Name: "add", Type: TypeDuration, Required: true, Drawn: true, About: "added in each direction"}},
	},
	{
		Name:    "jitter",
		Family:  Network,
		About:   "each packet takes longer, by a time of its own",
		Promise: "as latency; what comes out of order is put right",
		On:      crossed, For: Required,
		Params: []Param{{Name: "up-to", Type: TypeDuration, Required: true, Drawn: true, About: "added in each direction, at most"}},
	},
	{
		Name:    "bandwidth",
		Family:  Network,
		About:   "a route carries so much and no more; the rest queues",
		Promise: "slower; who cannot take what is sent is cut, and told to resume",
		On:      crossed, For: Required,
		Params: []Param{{Name: "rate", Type: TypeRate, Required: true, About: "between two machines, in each direction"}},
	},
	{
		Name:    "loss",
		Family:  Network,
		About:   "packets are lost: datagrams for good, streams until they are sent again",
		Promise: "slower; resolvers and probes try again before anybody is paged",
		On:      crossed, For: Required,
		Params: []Param{{Name: "percent", Type: TypeShare, Required: true, Drawn: true, About: "of all packets, in each direction"}},
	},
	{
		Name:    "burst-loss",
		Family:  Network,
		About:   "routes lose everything for a short time, again and again",
		Promise: "as loss, while a bad time is shorter than it takes to try again three times",
		On:      crossed, For: Required,
		Params: []Param{
			{Name: "percent", Type: TypeShare, Required: true, Drawn: true, About: "of the time, that is bad"},
			{Name: "run", Type: TypeDuration, Required: true, Drawn: true, About: "how long each such time is, at least"},
		},
	},
	{
		Name:    "duplication",
		Family:  Network,
		About:   "datagrams arrive twice; streams drop what they have already",
		Promise: "nothing is asked, answered or done twice for it that matters",
		On:      crossed, For: Required,
		Params: []Param{{Name: "percent", Type: TypeShare, Required: true, Drawn: true, About: "of all datagrams"}},
	},
	{
		Name:    "reordering",
		Family:  Network,
		About:   "datagrams are held back for 10 to 50 ms, so that later ones overtake; streams put that right",
		Promise: "answers are taken for their own questions, and for no others",
		On:      crossed, For: Required,
		Params: []Param{{Name: "percent", Type: TypeShare, Required: true, Drawn: true, About: "of all datagrams"}},
	},
	{
		Name:    "corruption",
		Family:  Network,
		About:   "one byte of a datagram differs; checksums protect streams, where it is loss",
		Promise: "what cannot be read is dropped; nobody believes a server that a damaged answer leads to",
		On:      crossed, For: Required,
		Params: []Param{{Name: "percent", Type: TypeShare, Required: true, Drawn: true, About: "of all packets, in each direction"}},
	},
	{
		Name:    "mtu-drop",
		Family:  Network,
		About:   "packets of more than 1400 bytes are lost without a word: small requests pass, and long ones hang",
		Promise: "whoever waits gives up in time; a vantage that cannot tell the others its long story is told of",
		On:      crossed, For: Required,
	},
	{
		Name:    "held-back",
		Family:  Network,
		About:   "nothing passes a link, or to and from what is selected; at the end all of it arrives at once",
		Promise: "as isolated; what comes late is known to be old, and changes nothing",
		On:      crossed, For: Required,
	},
	{
		Name:    "connections-reset",
		Family:  Network,
		About:   "the connections that cross a link, or the edge of a selection, are reset at both ends; new ones stand",
		Promise: "clients connect again, not all at once, and are told of any gap",
		On:      crossed, For: Never,
	},
	{
		Name:    "half-open",
		Family:  Network,
		About:   "what is in the middle forgets the connections that stand: nothing of them passes, and new ones work",
		Promise: "silent connections are noticed within a minute or two, and made again",
		On:      crossed, For: Never,
		Params: []Param{{Name: "answer", Type: TypeChoice, Among: []string{"silence", "reset"}, About: "to who still sends; left out: silence"}},
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
		Name:    "swizzle-clog",
		Family:  Network,
		About:   "one machine after another is cut off, and in another order each is reached again",
		Promise: "as isolated: no order in which things fail and come back leaves anything behind",
		On:      several, For: Required,
	},
}
