package swarm

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/scenarios/story"
)

// What may be impaired at one time, and what may not.
func TestBudget(t *testing.T) {
	region := story.Region{Zones: 2, Proxy: 2, Live: 2, Seed: 1, Understudy: 1}
	east, west := region, region
	east.Name, west.Name = "us-east", "eu-west"
	two := story.Topology{
		Regions: []story.Region{east, west}, VPS: []string{"fremont", "london", "singapore"},
		DNS: story.DNS{Providers: []string{"linode", "digitalocean"}}, SMS: []string{"twilio", "sns"},
	}
	one := two
	one.Regions = two.Regions[:1]
	one.SMS = []string{"twilio"}
	for _, c := range []struct {
		name     string
		topology story.Topology
		on       []story.Selector
		want     string
	}{
		{"nothing", two, nil, ""},
		{"a region of two", two, []story.Selector{{Kind: story.ByRegion, Name: "us-east"}}, ""},
		{"the only region", one, []story.Selector{{Kind: story.ByRegion, Name: "us-east"}}, "us-east struck as a whole, and no region is unhurt"},
		{"a region, and a machine of the other", two, []story.Selector{
			{Kind: story.ByRegion, Name: "us-east"}, {Kind: story.ByMachine, Name: "eu-west-live-1"},
		}, "us-east struck as a whole, and no region is unhurt"},
		{"a zone of each region", two, []story.Selector{{Kind: story.ByZone, Name: "us-east-a"}, {Kind: story.ByZone, Name: "eu-west-b"}}, ""},
		{"both zones of the only region", one, []story.Selector{
			{Kind: story.ByZone, Name: "us-east-a"}, {Kind: story.ByMachine, Name: "us-east-lb-b"},
		}, "us-east struck as a whole, and no region is unhurt"},
		{"all of a tier", one, []story.Selector{{Kind: story.ByRole, Name: "live"}}, "us-east struck as a whole, and no region is unhurt"},
		{"a vantage", one, []story.Selector{{Kind: story.ByVPS, Name: "london"}}, ""},
		{"two vantages", one, []story.Selector{{Kind: story.ByVPS, Name: "london"}, {Kind: story.ByVPS, Name: "fremont"}}, "2 of 3 vantages"},
		{"a DNS provider", one, []story.Selector{{Kind: story.ByProvider, Name: "linode"}}, ""},
		{"both DNS providers", one, []story.Selector{
			{Kind: story.ByProvider, Name: "linode"}, {Kind: story.ByMachine, Name: "digitalocean-ns2"},
		}, "2 of 2 DNS providers"},
		{"the only gateway", one, []story.Selector{{Kind: story.ByProvider, Name: "twilio"}}, "1 of 1 SMS gateways"},
		{"one of two gateways", two, []story.Selector{{Kind: story.ByProvider, Name: "twilio"}}, ""},
		{"a Seed", one, []story.Selector{{Kind: story.ByMachine, Name: "us-east-seed-1"}}, ""},
		{"both Seeds", one, []story.Selector{{Kind: story.ByRole, Name: "seed"}, {Kind: story.ByRole, Name: "understudy"}}, "2 of 2 Seeds and 0 lease stores of us-east"},
		{"a Seed and the lease store", one, []story.Selector{{Kind: story.ByRole, Name: "seed"}, {Kind: story.ByRole, Name: "s3"}}, "1 of 2 Seeds and 1 lease stores of us-east"},
		{"the lease store", one, []story.Selector{{Kind: story.ByRole, Name: "s3"}}, ""},
		{"two controls", one, []story.Selector{{Kind: story.ByRole, Name: "control"}}, "3 controls"},
		{"the cloud's names", one, []story.Selector{{Kind: story.ByRole, Name: "cloud-dns"}}, "2 of 2 name servers of the cloud"},
		{"the root", one, []story.Selector{{Kind: story.ByRole, Name: "root"}}, "DNS above the zone"},
	} {
		t.Run(c.name, func(t *testing.T) {
			machines := c.topology.Machines()
			var all []impairment
			for _, on := range c.on {
				names := on.Match(machines)
				require.NotEmpty(t, names, "%v", on)
				all = append(all, impairment{0, 1, names})
			}
			require.Equal(t, c.want, Declared.exceeds(c.topology, all))
		})
	}
}

// A group that is scaled ends the proxies that drain, and has no machine for
// others at once.
func TestRestartsUnderScaling(t *testing.T) {
	topology := story.Topology{Regions: []story.Region{{Name: "us-east", Zones: 2, Proxy: 3, Live: 2}}}
	restarted := story.Event{Fault: "restarted", On: &story.Selector{Kind: story.ByRole, Name: story.RoleProxy, In: "us-east"},
		Params: story.Values{{Name: "every", Duration: time.Minute}}}
	exceeds := func() string {
		return Declared.exceeds(topology, impairments(restarted, topology.Machines(), 20*time.Minute))
	}
	require.Empty(t, exceeds())
	topology.Regions[0].Scaling = story.Scaling{Min: 3, Max: 4}
	require.Equal(t, "us-east struck as a whole, and no region is unhurt", exceeds())
}

func TestActsOn(t *testing.T) {
	for name, roles := range actsOn {
		_, ok := story.FindFault(name)
		require.True(t, ok, name)
		require.Subset(t, story.Roles, roles, name)
	}
}

// What a fault impairs, and for how long.
func TestImpairments(t *testing.T) {
	topology := story.Topology{
		Regions: []story.Region{{Name: "us-east", Zones: 1, Proxy: 2, Live: 1}}, VPS: []string{"fremont"},
		DNS: story.DNS{Providers: []string{"linode", "digitalocean"}}, SMS: []string{"twilio", "sns"},
	}
	machines := topology.Machines()
	linode := (&story.Selector{Kind: story.ByProvider, Name: "linode"}).Match(machines)
	for _, c := range []struct {
		fault  string
		on     story.Selector
		params story.Values
		until  time.Duration // 0 if nothing is impaired
		names  []string
	}{
		{fault: "hung", on: story.Selector{Kind: story.ByVPS, Name: "fremont"}, until: 3 * time.Minute, names: []string{"fremont"}},
		{fault: "records-deleted", on: story.Selector{Kind: story.ByProvider, Name: "linode"}, until: 3 * time.Minute, names: linode},
		{
			fault: "zone-spreads-slowly", on: story.Selector{Kind: story.ByProvider, Name: "linode"}, until: 4 * time.Minute, names: linode,
			params: story.Values{{Name: "takes", Duration: time.Minute}},
		},
		{fault: "texts-delayed", on: story.Selector{Kind: story.ByProvider, Name: "twilio"}, until: 3 * time.Minute, names: []string{"twilio-api"}},
		{fault: "clock-frozen", on: story.Selector{Kind: story.ByRegion, Name: "us-east"}},
		{fault: "domain-expired", on: story.Selector{Kind: story.ByRole, Name: "com"}},
	} {
		t.Run(c.fault, func(t *testing.T) {
			e := story.Event{Fault: c.fault, On: &c.on, At: time.Minute, For: time.Minute, Times: 1, Params: c.params}
			all := impairments(e, machines, time.Hour)
			if c.until == 0 {
				require.Empty(t, all)
				return
			}
			require.Equal(t, []impairment{{time.Minute, c.until, c.names}}, all)
		})
	}
}

// Somebody may be paged of what nobody gets around, as of a balancer that takes
// connections and answers nothing, and of one that is silent nobody is.
func TestLoud(t *testing.T) {
	topology := story.Topology{
		Regions: []story.Region{{Name: "us-east", Zones: 2, Proxy: 2, Live: 2, Seed: 1, Understudy: 1}}, VPS: []string{"fremont"},
	}
	machines := topology.Machines()
	balancer := story.Selector{Kind: story.ByMachine, Name: "us-east-lb-a"}
	for _, c := range []struct {
		fault string
		on    story.Selector
		loud  int
		moves bool
	}{
		{"domain-expired", story.Selector{Kind: story.ByRole, Name: "com"}, 1, false},
		{"machine-lost", balancer, 0, false},
		{"hung", balancer, 1, true},
		{"hung", story.Selector{Kind: story.ByMachine, Name: "us-east-s3-1"}, 0, false},
	} {
		e := story.Event{Fault: c.fault, On: &c.on, At: time.Minute, For: time.Minute, Times: 1}
		loud, moves := Declared.loud(&story.Story{Topology: topology, Timeline: []story.Event{e}, Lasts: time.Hour}, machines)
		require.Equal(t, c.loud, loud, "%s on %s", c.fault, c.on)
		require.Equal(t, c.moves, moves, "%s on %s", c.fault, c.on)
	}
}
