package story_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/scenarios/story"
)

const world = `format: 1
title: a world
story: Machines, and nothing happens to them.
starts: 2026-03-02T14:00:00Z
lasts: 30m
topology:
  regions:
    us-east: {zones: 2, proxy: 3, live: 2}
    eu-west: {zones: 1, proxy: 1, live: 1}
  vps: [fremont]
  dns: {providers: [digitalocean]}
  sms: [twilio, sns]
workload:
  - {id: people, browsers: 2, home: us-1.live, do: [subscribe to 1 channel]}
  - {id: writers, publishers: 100, do: [publish every 1m]}
timeline:
  - {id: x, at: 1m, fault: isolated, on: vps fremont}
expect:
  always: [live-streams]
`

func parse(t *testing.T, text string) *story.Story {
	t.Helper()
	s, err := story.Parse("world.yaml", []byte(text))
	require.NoError(t, err)
	return s
}

func TestMachines(t *testing.T) {
	s := parse(t, world)
	var got []string
	for _, m := range s.Topology.Machines() {
		got = append(got, strings.TrimRight(fmt.Sprintf("%s %s %s %s %s", m.Name, m.Role, m.Region, m.Zone, m.Provider), " "))
	}
	want := []string{
		"us-east-proxy-1 proxy us-east us-east-a",
		"us-east-proxy-2 proxy us-east us-east-b",
		"us-east-proxy-3 proxy us-east us-east-a",
		"us-east-live-1 live us-east us-east-a",
		"us-east-live-2 live us-east us-east-b",
		"us-east-lb-a lb us-east us-east-a",
		"us-east-lb-b lb us-east us-east-b",
		"eu-west-proxy-1 proxy eu-west eu-west-a",
		"eu-west-live-1 live eu-west eu-west-a",
		"eu-west-lb-a lb eu-west eu-west-a",
		"fremont vps",
		"digitalocean-api api   digitalocean",
		"digitalocean-ns1 nameserver   digitalocean",
		"digitalocean-ns2 nameserver   digitalocean",
		"digitalocean-ns3 nameserver   digitalocean",
		"twilio-api api   twilio",
		"us-east-sns-1 api us-east  sns",
		"eu-west-sns-1 api eu-west  sns",
		"root-1 root",
		"com-1 com",
		"cloud-dns-1 cloud-dns",
		"cloud-dns-2 cloud-dns",
		"control-1 control",
		"control-2 control",
		"control-3 control",
	}
	require.Empty(t, cmp.Diff(want, got))

	all := s.Machines()
	clients := all[len(want):]
	require.Len(t, clients, 102)
	require.Equal(t, story.Machine{Name: "people-01", Role: "browser", Group: "people"}, clients[0])
	require.Equal(t, story.Machine{Name: "writers-001", Role: "publisher", Group: "writers"}, clients[2])
	require.Equal(t, "writers-100", clients[101].Name)
	for _, m := range all {
		require.Contains(t, story.Roles, m.Role)
	}
}

func TestScaling(t *testing.T) {
	s := parse(t, strings.Replace(world, "proxy: 3, live: 2", "proxy: 3, live: 2, scaling: {min: 2, max: 5}", 1))
	r, ok := s.Topology.Region("us-east")
	require.True(t, ok)
	require.Equal(t, story.Scaling{Min: 2, Max: 5}, r.Scaling)
	var proxies, planes []string
	for _, m := range s.Topology.Machines() {
		switch m.Role {
		case story.RoleProxy:
			proxies = append(proxies, fmt.Sprint(m.Name, " ", m.Zone, " ", m.Standby))
		case story.RoleAWS:
			planes = append(planes, m.Name)
		}
	}
	require.Equal(t, []string{
		"us-east-proxy-1 us-east-a false", "us-east-proxy-2 us-east-b false", "us-east-proxy-3 us-east-a false",
		"us-east-proxy-4 us-east-b true", "us-east-proxy-5 us-east-a true", "eu-west-proxy-1 eu-west-a false",
	}, proxies)
	require.Equal(t, []string{"us-east-aws-1"}, planes)

	for scaling, want := range map[string]string{
		"{min: 2, max: 2}":         "scaling: 3 proxies are not between min 2 and max 2",
		"{min: 4, max: 5}":         "scaling: 3 proxies are not between min 4 and max 5",
		"{min: 2}":                 "max",
		"{min: 2, max: 5, mox: 1}": `"mox"`,
	} {
		_, err := story.Parse("world.yaml", []byte(strings.Replace(world, "proxy: 3, live: 2", "proxy: 3, live: 2, scaling: "+scaling, 1)))
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, err, "world.yaml:8:", scaling)
	}
	_, err := story.Parse("world.yaml", []byte(world+"  after x:\n    capacity-restored: {within: 1m}\n"))
	require.ErrorContains(t, err, "no region has scaling")
}

func TestSelectors(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"region eu-west", "eu-west-proxy-1 eu-west-live-1 eu-west-lb-a eu-west-sns-1"},
		{"zone us-east-b", "us-east-proxy-2 us-east-live-2 us-east-lb-b"},
		{"machine us-east-proxy-3", "us-east-proxy-3"},
		{"role live", "us-east-live-1 us-east-live-2 eu-west-live-1"},
		{"role live in us-east", "us-east-live-1 us-east-live-2"},
		{"role live in us-east-b", "us-east-live-2"},
		{"role lb in us-east", "us-east-lb-a us-east-lb-b"},
		{"vps fremont", "fremont"},
		{"provider digitalocean", "digitalocean-api digitalocean-ns1 digitalocean-ns2 digitalocean-ns3"},
		{"provider twilio", "twilio-api"},
		{"provider sns", "us-east-sns-1 eu-west-sns-1"},
		{"clients people", "people-01 people-02"},
		{"link vps fremont -> role live", "us-east-live-1 us-east-live-2 eu-west-live-1 fremont"},
		{"link  role live in eu-west   <-> clients people", "eu-west-live-1 people-01 people-02"},
	} {
		t.Run(c.text, func(t *testing.T) {
			latency := strings.NewReplacer("fault: isolated", "fault: latency, add: 1ms, for: 1m", "vps fremont", c.text)
			s := parse(t, latency.Replace(world))
			on := s.Timeline[0].On
			require.Equal(t, c.want, strings.Join(on.Match(s.Machines()), " "))
			require.Equal(t, strings.Join(strings.Fields(c.text), " "), on.String())
		})
	}
}

func TestLinkEnds(t *testing.T) {
	s := parse(t, strings.NewReplacer("fault: isolated", "fault: partition", "vps fremont", "link vps fremont -> role live in us-east").Replace(world))
	on := s.Timeline[0].On
	require.True(t, on.OneWay)
	require.Equal(t, []string{"fremont"}, on.From.Match(s.Machines()))
	require.Equal(t, []string{"us-east-live-1", "us-east-live-2"}, on.To.Match(s.Machines()))
	_, heals := s.Timeline[0].Heals()
	require.False(t, heals)
}

func TestTables(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range story.Faults {
		require.NotEmpty(t, f.About, f.Name)
		require.NotEmpty(t, f.Promise, f.Name)
		require.NotEmpty(t, f.On, f.Name)
		require.NotEmpty(t, f.For, f.Name)
		found, ok := story.FindFault(f.Name)
		require.True(t, ok && !seen[f.Name])
		require.Equal(t, f.About, found.About)
		seen[f.Name] = true
		for _, p := range f.Params {
			require.NotEmpty(t, p.About, f.Name)
			require.NotContains(t, []string{"id", "at", "fault", "on", "for", "repeat"}, p.Name)
		}
	}
	for _, o := range story.Oracles {
		require.NotEmpty(t, o.About, o.Name)
		require.NotEmpty(t, o.Scopes, o.Name)
		_, ok := story.FindOracle(o.Name)
		require.True(t, ok && !seen[o.Name])
		seen[o.Name] = true
	}
	_, ok := story.FindFault("gremlins")
	require.False(t, ok)
}

func TestAdmins(t *testing.T) {
	given := func(admins string) string {
		return strings.Replace(world, "  vps: [fremont]", "  vps: [fremont]\n  admins: "+admins, 1)
	}
	s := parse(t, given("[ana, {name: raj, after: 5m, acknowledges: 2m}, {name: lee}]"))
	require.Equal(t, []story.Admin{{Name: "ana"}, {Name: "raj", After: 5 * time.Minute, Acknowledges: 2 * time.Minute}, {Name: "lee"}}, s.Topology.Admins)
	var phones []string
	for _, m := range s.Machines() {
		if m.Role == story.RolePhone {
			phones = append(phones, m.Name)
		}
	}
	require.Equal(t, []string{"raj-phone"}, phones)
	require.Contains(t, string(story.Format(s)), "admins: [ana, {name: raj, after: 5m, acknowledges: 2m}, lee]")

	for admins, want := range map[string]string{
		"[ana, ana]":                    `11:17: admins: "ana" comes twice`,
		"[ana, {name: ana, after: 1m}]": `11:24: admins: "ana" comes twice`,
		"[{name: ana, after: 1m}]":      `11:11: admins: nobody is told at once: leave out "after" for somebody`,
		"[{after: 1m}]":                 `the key "name" is missing`,
		"[{name: ana, afer: 1m}]":       `11:24: unknown key "afer"; did you mean after?`,
		"[ana, {name: raj, after: 0s}]": "after: ",
	} {
		_, err := story.Parse("world.yaml", []byte(given(admins)))
		require.ErrorContains(t, err, want, admins)
	}

	const pages = "  after x:\n    pages: {each-admin: 0, to: TO}\n"
	s = parse(t, given("[ana, raj]")+strings.Replace(pages, "TO", "raj", 1))
	require.Equal(t, []string{"raj"}, s.Expect.After[0].Expect[0].Params.Names("to"))
	for text, want := range map[string]string{
		strings.Replace(pages, "TO", "rai", 1):         `unknown admin "rai"; did you mean raj?`,
		strings.Replace(pages, "TO", "[raj, raj]", 1):  "to: raj comes twice",
		"  after x:\n    acknowledged: {within: 1m}\n": "acknowledged can never be judged: no admin acknowledges anything",
	} {
		_, err := story.Parse("world.yaml", []byte(given("[ana, raj]")+text))
		require.ErrorContains(t, err, want)
	}
}
