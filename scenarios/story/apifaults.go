package story

// The faults of the cloud and of those who serve an API.

// Those who serve an API of a cloud or of another provider.
var (
	apis     = []Kind{ByMachine, ByRole, ByRegion, ByProvider}
	apiRoles = []string{RoleAPI, RoleStore, RoleAWS}
)

// requests are the parameters that say which requests to an API are struck.
func requests(more ...Param) []Param {
	return append(more,
		Param{Name: "share", Type: TypeShare, About: "of the requests; left out: all"},
		Param{Name: "only", Type: TypeChoice, Among: []string{"reads", "writes"}, About: "left out: both"},
		Param{Name: "after", Type: TypeCount, About: "so many requests of each asker pass before"},
	)
}

var apiFaults = []Fault{
	{
		Name:    "api-errors",
		Family:  CloudAPI,
		About:   "APIs answer requests with an error in the provider's words, and do not carry them out",
		Promise: "what can wait is tried again and finished; a page goes through another provider",
		On:      apis, Roles: apiRoles, For: Optional,
		Params: requests(Param{Name: "status", Type: TypeChoice, Among: []string{"500", "503", "429", "401", "403"}, About: "left out: 503"}),
	},
	{
		Name:    "api-answer-lost",
		Family:  CloudAPI,
		About:   "APIs carry requests out, and the connection ends without an answer",
		Promise: "what may have been done is looked up or done again: a page comes twice rather than never",
		On:      apis, Roles: apiRoles, For: Optional,
		Params: requests(),
	},
	{
		Name:    "api-hangs",
		Family:  CloudAPI,
		About:   "APIs take requests, do not carry them out, and never answer",
		Promise: "nobody waits longer than 10 s; then it is as if the answer were lost",
		On:      apis, Roles: apiRoles, For: Optional,
		Params: requests(),
	},
	{
		Name:    "no-capacity",
		Family:  CloudAPI,
		About:   "the cloud launches no machine in a region",
		Promise: "what is left serves on, and what was lost is replaced afterwards",
		On:      []Kind{ByRegion}, Roles: []string{RoleAWS}, For: Optional,
	},
	{
		Name:    "balancer-state-lost",
		Family:  CloudAPI,
		About:   "a region's control plane forgets what its load balancer is: edits fail, and after any change it has no targets",
		Promise: "a region whose load balancer sends nobody on counts as lost, and is home again after the repair",
		On:      []Kind{ByRegion}, Roles: []string{RoleAWS}, For: Required,
	},
	{
		Name:    "throttled",
		Family:  CloudAPI,
		About:   "APIs refuse, in the provider's words for that, what goes beyond so many requests a minute of an asker",
		Promise: "who is refused waits and asks again; what was begun is finished",
		On:      apis, Roles: apiRoles, For: Optional,
		Params: []Param{
			{Name: "requests", Type: TypeCount, Required: true, About: "of each asker in a minute, that are carried out"},
			{Name: "only", Type: TypeChoice, Among: []string{"reads", "writes"}, About: "left out: both count"},
		},
	},
	{
		Name:    "stale-describes",
		Family:  CloudAPI,
		About:   "APIs answer a question again as they did before, for so long, whatever was written meanwhile",
		Promise: "nothing is done twice or undone because of it; what was begun is finished",
		On:      apis, Roles: []string{RoleAPI, RoleAWS}, For: Optional,
		Params: []Param{{Name: "keeps", Type: TypeDuration, Required: true, Drawn: true, About: "how long one answer is given"}},
	},
	{
		Name:    "launches-stuck",
		Family:  CloudAPI,
		About:   "what the cloud launches in a region stays pending; it boots at the end",
		Promise: "as with no capacity; nothing is launched twice",
		On:      []Kind{ByRegion}, Roles: []string{RoleAWS}, For: Optional,
	},
	{
		Name:    "boots-slow",
		Family:  CloudAPI,
		About:   "what the cloud launches in a region takes so many times longer to boot",
		Promise: "what is left serves on, and what was lost is replaced, later",
		On:      []Kind{ByRegion}, Roles: []string{RoleAWS}, For: Optional,
		Params: []Param{{Name: "times", Type: TypeFactor, Required: true, About: "longer than the usual 45 to 90 s"}},
	},
}
