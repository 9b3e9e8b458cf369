package story

// The faults of names, certificates, and what they lead to.

// answering are those whose name servers a fault may make answer wrongly: a
// provider's, or the cloud's for the name of a region's load balancer.
var answering = []Kind{ByProvider, ByRegion}

var nameFaults = []Fault{
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
		Name:    "stale-resolver",
		Family:  NameService,
		About:   "resolvers keep answers for far longer than their times to live say",
		Promise: "who uses them comes back when what they keep has run out; nobody else waits for it",
		On:      []Kind{ByMachine, ByRole, ByVPS, ByClients}, For: Required,
		Params: []Param{{Name: "keeps", Type: TypeDuration, Required: true, About: "from when a server gave an answer"}},
	},
	{
		Name:    "certificate-ends",
		Family:  Clock,
		About:   "the certificates of machines have so long left, and nobody renews them before the end",
		Promise: "somebody is told in time, and once; after the renewal nothing has to be started again",
		On:      []Kind{ByMachine, ByRole, ByRegion, ByVPS}, For: Required,
		Params: []Param{{Name: "in", Type: TypeDuration, Required: true, About: "from the fault's start"}},
	},
	{
		Name:    "balancer-state-lost",
		Family:  CloudAPI,
		About:   "a region's control plane forgets what its load balancer is: edits fail, and after any change it has no targets",
		Promise: "a region whose load balancer sends nobody on counts as lost, and is home again after the repair",
		On:      []Kind{ByRegion}, Roles: []string{RoleAWS}, For: Required,
	},
}
