package monitor_test

import (
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
		{"hold-down: 10m", "hold-dwon: 10m", `monitor.yaml:34:1: unknown field "hold-dwon"; did you mean "hold-down"?`},
		{"probe: 10s", "probe: often", `invalid duration "often"`},
		{"rank: 2", "rank: 1", `rank: "1" is given twice`},
		{"name: london", "name: fremont", `vantage: "fremont" is given twice`},
		{"11qY", "11q", "public-key"},
		{"kind: dns", "kind: dsn", `monitor.yaml:62:11: target dns: kind: "dsn" is none of certificate, dns, http, s3, smtp, tcp; did you mean "dns"?`},
		{"zone: espra.com", "server: ns1.linode.com", `monitor.yaml:63:13: target dns: server: "ns1.linode.com" is not host:port`},
		{"    days: 14\n", "    banner: x\n", "target cert-www: banner: not for a target of kind certificate, which has server, host, days, starttls"},
		{"region: eu-west", "region: eu-north", `no target speaks for region "eu-west"`},
		{"home: www.espra.com", "home: ww.espra.com", `target www: home: "ww.espra.com" is not among the homes`},
		{"connect: us-east.elb.amazonaws.com:443", "connect: us-east", "is not host:port"},
		{`"+15550000001"`, `"5550000001"`, "admin ana: "},
		{"guard: 30", "guard: 0", "guard: 0 is no percentage"},
		{"close-after: 3", "close-after: 0", "must be at least 1"},
		{"- name: linode\n", "- name: slicehost\n", `dns: "slicehost" is neither linode nor digitalocean`},
		{"key: /etc", "key: etc", "not an absolute file name"},
		{"name: apex", "name: us-east", `subject: "us-east" is given twice`},
		{"name: apex", "name: Apex!", "must be 1 to 40"},
		{"name: apex", "name: vantage-london", `subject: "vantage-london" is given twice`},
		{"{after: 10m", "{after: 0s", "escalate: 0s is not later than the level before"},
		{"admins: [lee]", "admins: [ana]", `escalate: "ana" is told already`},
		{"day: monday", "day: mondy", `alive: "mondy" is no day; did you mean "monday"?`},
		{"hour: 9", "hour: 24", "alive: hour 24 is not 0 to 23"},
		{"until: 2026-03-07", "until: 2026-04-07", "silence: it lasts 746h0m0s; at most 168h0m0s"},
		{"subject: eu-west", "subject: eu-wset", `silence: nothing is called "eu-wset"; did you mean "eu-west"?`},
		{"secret: /etc/protoplex/monitor.secret ", "", "escalate: without a secret nobody can acknowledge"},
		{"kind: twilio", "kind: twillio", `kind: "twillio" is neither twilio nor sns`},
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
			`monitor.yaml:20:5: unknown field "rnak"; did you mean "rank"?`,
			`monitor.yaml:30:8: invalid duration "often"`,
			`monitor.yaml:108:24: home eu-1.live.espra.com: no target speaks for region "us-eats"; did you mean "us-east"?`,
			`monitor.yaml:109:9: home eu-1.live.espra.com: no lb for region "us-eats"`,
			`monitor.yaml:140:27: escalate: no admin is called "leo"; did you mean "lee"?`,
		}, "\n"))
	})
	t.Run("all at once", func(t *testing.T) {
		text := strings.NewReplacer("guard: 30", "guard: 0", "rank: 2", "rank: 1").Replace(example(t))
		_, err := monitor.ParseConfig("monitor.yaml", []byte(text))
		require.ErrorContains(t, err, "guard")
		require.ErrorContains(t, err, "rank")
	})
}
