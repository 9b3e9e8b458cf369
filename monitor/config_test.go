package monitor_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/monitor"
)

func example(t *testing.T) string {
	text, err := os.ReadFile("testdata/monitor.yaml")
	require.NoError(t, err)
	return string(text)
}

func TestExampleConfig(t *testing.T) {
	c, err := monitor.ParseConfig("monitor.yaml", []byte(example(t)))
	require.NoError(t, err)
	require.Equal(t, 10*time.Second, c.Probe)
	require.Equal(t, []string{"us-east", "eu-west"}, c.Homes[0].Regions)
	dns := slices.IndexFunc(c.Targets, func(t monitor.Target) bool { return t.Name == "dns" })
	require.Equal(t, slices.Concat(c.Providers[0].Authorities, c.Providers[1].Authorities), c.Targets[dns].Servers)

	// What a program writes reads back as the same.
	text, err := yaml.Marshal(c)
	require.NoError(t, err)
	again, err := monitor.ParseConfig("written", text)
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(c, again))
}

func TestConfigErrors(t *testing.T) {
	tests := []struct{ old, new, want string }{
		{"hold-down: 10m", "hold-dwon: 10m", `monitor.yaml:34:1: unknown key "hold-dwon"; did you mean hold-down?`},
		{"probe: 10s", "probe: often", `monitor.yaml:30:8: probe: "often" is no duration such as 90s or 1h30m`},
		{"rank: 2", "rank: 1", `peers[0].rank: another rank is "1"`},
		{"name: london", "name: fremont", `peers[0].name: another vantage is "fremont"`},
		{"11qY", "11q", "public-key"},
		{"kind: dns", "kind: dsn", `monitor.yaml:62:11: targets[4].kind: "dsn" is none of certificate, delegation, dns, http, s3, smtp, tcp; did you mean dns?`},
		{"zone: espra.com", "server: ns1.linode.com", `monitor.yaml:63:13: targets[4].server: "ns1.linode.com" is not host:port`},
		{"    days: 14\n", "    banner: x\n", "targets[6].banner: not for a target of kind certificate, which has server, host, days, starttls"},
		{"region: eu-west", "region: eu-north", `no target speaks for region "eu-west"`},
		{"home: www.espra.com", "home: ww.espra.com", `targets[2].home: "ww.espra.com" is not among the homes; did you mean www.espra.com?`},
		{"connect: us-east.elb.amazonaws.com:443", "connect: us-east", "is not host:port"},
		{`"+15550000001"`, `"5550000001"`, `admins[0].phone: "5550000001" is no number in international form`},
		{"guard: 30", "guard: 0", "guard: 0 is no percentage from 1 to 100"},
		{"close-after: 3", "close-after: 0", "must be at least 1"},
		{"- name: linode\n", "- name: slicehost\n", `dns[0].name: "slicehost" is neither linode nor digitalocean`},
		{"zone: espra.com\n    authorities", "zone: espra.cmo\n    authorities", `dns[0].zone: the home www.espra.com is not in "espra.cmo"`},
		{"key: /etc", "key: etc", "not an absolute file name"},
		{"name: apex", "name: us-east", `targets[3].name: another subject is "us-east"`},
		{"name: apex", "name: Apex!", "must be 1 to 40"},
		{"name: apex", "name: vantage-london", `targets[3].name: another subject is "vantage-london"`},
		{"{after: 10m", "{after: 0s", "escalate[1].after: 0s is not later than the level before"},
		{"admins: [lee]", "admins: [ana]", `escalate[1].admins[0]: "ana" is told already`},
		{"day: monday", "day: mondy", `alive.day: "mondy" is no day; did you mean monday?`},
		{"hour: 9", "hour: 24", "alive.hour: 24 is not 0 to 23"},
		{"until: 2026-03-07", "until: 2026-04-07", "silences[0]: it lasts 746h0m0s; at most 168h0m0s"},
		{"until: 2026-03-07T04:00:00Z", "until: noon", `monitor.yaml:158:12: silences[0].until: "noon" is no instant such as 2026-03-07T02:00:00Z`},
		{"subject: eu-west", "subject: eu-wset", `silences[0]: nothing is called "eu-wset"; did you mean eu-west?`},
		{"secret: /etc/protoplex/monitor.secret ", "", "escalate: without a secret nobody can acknowledge"},
		{"https://status.espra.com/i/", "https://status.of-the-platform.example.com/incidents/", `status: "https://status.of-the-platform.example.com/incidents/" is 5 letters too long to be in a text`},
		{"https://status.espra.com/i/", "https://status.espra.com/~i/", "has letters that a text does not carry"},
		{"https://api.linode.com", "http://api.linode.com", "dns[0].url: want https: a secret would be read on the way"},
		{"kind: twilio", "kind: twillio", `sms[0].kind: "twillio" is neither twilio nor sns; did you mean twilio?`},
	}
	for _, tt := range tests {
		t.Run(tt.new, func(t *testing.T) {
			text := strings.Replace(example(t), tt.old, tt.new, 1)
			require.NotEqual(t, example(t), text)
			_, err := monitor.ParseConfig("monitor.yaml", []byte(text))
			require.ErrorContains(t, err, tt.want)
		})
	}
	t.Run("places", func(t *testing.T) {
		text := strings.NewReplacer("rank: 3", "rnak: 3", "regions: [eu-west, us-east]", "regions: [eu-west, us-eats]", "probe: 10s", "probe: often",
			"admins: [lee]", "admins: [leo]").Replace(example(t))
		_, err := monitor.ParseConfig("monitor.yaml", []byte(text))
		require.EqualError(t, err, strings.Join([]string{
			`monitor.yaml:20:5: unknown key "rnak"; did you mean rank?`,
			`monitor.yaml:30:8: probe: "often" is no duration such as 90s or 1h30m`,
			`monitor.yaml:115:24: homes[2].regions[1]: no target speaks for region "us-eats"; did you mean us-east?`,
			`monitor.yaml:116:9: homes[2].lb.us-eats: no load balancer for region "us-eats"`,
			`monitor.yaml:150:27: escalate[1].admins[0]: no admin is called "leo"; did you mean lee?`,
		}, "\n"))
	})
	t.Run("all at once", func(t *testing.T) {
		text := strings.NewReplacer("guard: 30", "guard: 0", "rank: 2", "rank: 1").Replace(example(t))
		_, err := monitor.ParseConfig("monitor.yaml", []byte(text))
		require.ErrorContains(t, err, "guard")
		require.ErrorContains(t, err, "rank")
	})
	t.Run("more than vantages can tell one another of", func(t *testing.T) {
		var peers, targets, admins strings.Builder
		for n := range 600 {
			fmt.Fprintf(&targets, "  - {name: shop-%d, kind: http, url: https://shop-%d.example}\n", n, n)
		}
		for n := range 14 {
			fmt.Fprintf(&admins, "  - {name: admin-%d, phone: \"+15551%06d\"}\n", n, n)
		}
		for n := range 7 {
			fmt.Fprintf(&peers, "  - {name: peer-%d, rank: 1%d, url: http://peer-%d, public-key: 11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=}\n", n, n, n)
		}
		text := strings.NewReplacer("\ntargets:\n", "\ntargets:\n"+targets.String(), "\nadmins:\n", "\nadmins:\n"+admins.String(),
			"\npeers:\n", "\npeers:\n"+peers.String()).Replace(example(t))
		_, err := monitor.ParseConfig("monitor.yaml", []byte(text))
		for _, want := range []string{"peers: 9 are more than 8", "targets: 613 are more than 600, which is what vantages", "admins: 17 are more than 16"} {
			require.ErrorContains(t, err, want)
		}
		_, err = monitor.ParseConfig("monitor.yaml", []byte(strings.Replace(example(t), "\ntargets:\n", "\ntargets:\n"+
			targets.String()[:strings.Index(targets.String(), "  - {name: shop-587,")], 1)))
		require.NoError(t, err, "600 are none too many")
	})
	t.Run("no YAML", func(t *testing.T) {
		_, err := monitor.ParseConfig("monitor.yaml", []byte("name: [\n"))
		require.ErrorContains(t, err, "not valid YAML")
		require.NotContains(t, err.Error(), "\n", "and nothing that follows from it")
	})
}

// What is seldom wanted is warned of, and the example is as one wants it.
func TestDoubts(t *testing.T) {
	c, err := monitor.ParseConfig("monitor.yaml", []byte(example(t)))
	require.NoError(t, err)
	require.Empty(t, c.Doubts())
	c.Peers, c.SMS = c.Peers[:1], c.SMS[:1]
	require.Equal(t, []string{
		"two vantages decide nothing while one is away; three are the least that go on without one",
		"one SMS provider: nobody is told of anything while it is away",
	}, c.Doubts())
	c.Peers, c.SMS = nil, nil
	require.Len(t, c.Doubts(), 2)
	require.Equal(t, "no SMS providers: nobody is told of anything", c.Doubts()[1])
	c.Admins = nil
	require.Equal(t, "no admins: nobody is told of anything", c.Doubts()[1])
}
