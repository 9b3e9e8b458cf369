package story

// The faults of names.

// answering are those whose name servers a fault may make answer wrongly: a
// provider's, or the cloud's for the name of a region's load balancer.
var answering = []Kind{ByProvider, ByRegion}

var nameFaults = []Fault{
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
		Name:    "dns-servfail",
		Family:  NameService,
		About:   "the authorities of a DNS provider, or of a region's load balancer name, answer SERVFAIL",
		Promise: "resolvers turn to the other provider; a region without a name counts as lost",
		On:      answering, Providers: providerNames(false), For: Required,
	},
	{
		Name:    "dns-nxdomain",
		Family:  NameService,
		About:   "the authorities of a DNS provider, or of a region's load balancer name, say that there is no such name",
		Promise: "a region without a name counts as lost; a provider that denies names is told of within minutes",
		On:      answering, Providers: providerNames(false), For: Required,
	},
	{
		Name:    "dns-empty-answer",
		Family:  NameService,
		About:   "the authorities of a DNS provider, or of a region's load balancer name, know the name and no records of it",
		Promise: "open connections go on; a region without addresses counts as lost, and its names move",
		On:      answering, Providers: providerNames(false), For: Required,
	},
	{
		Name:    "dns-lame",
		Family:  NameService,
		About:   "the authorities of a DNS provider refuse to speak for our zone, as after a lapsed account",
		Promise: "resolvers turn to the other provider; the monitors tell",
		On:      []Kind{ByProvider}, Providers: providerNames(false), For: Required,
	},
	{
		Name:    "dns-hijack",
		Family:  NameService,
		About:   "false routes lead queries for a DNS provider's authorities, and whom they deceive, to an impostor",
		Promise: "nobody takes a page from the impostor, no name moves to it, and the monitors it deceives tell",
		On:      []Kind{ByProvider}, Providers: providerNames(false), For: Required,
		Params: []Param{{Name: "from", Type: TypeSelector, Required: true, About: "who believes the false routes"}},
	},
	{
		Name:    "zone-spreads-slowly",
		Family:  NameService,
		About:   "a DNS provider's authorities serve a change so much later than its API took it",
		Promise: "a move is done when all authorities show it; until then its clients wait, and nobody is sent astray",
		On:      []Kind{ByProvider}, Providers: providerNames(false), For: Required,
		Params: []Param{{Name: "takes", Type: TypeDuration, Required: true, Drawn: true, About: "longer than the usual 10 s"}},
	},
	{
		Name:    "stale-resolver",
		Family:  NameService,
		About:   "resolvers keep answers for far longer than their times to live say",
		Promise: "who uses them comes back when what they keep has run out; nobody else waits for it",
		On:      []Kind{ByMachine, ByRole, ByVPS, ByClients}, For: Required,
		Params: []Param{{Name: "keeps", Type: TypeDuration, Required: true, About: "from when a server gave an answer"}},
	},
}
