package scenarios

import (
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/scenarios/oracle"
	"github.com/espra/protoplex/sim/report"
)

// Every machine has a lane, and what a reader looks for first is unfolded.
func TestLanes(t *testing.T) {
	s, err := Load("region-failover")
	require.NoError(t, err)
	groups := map[string]string{}
	var names []string
	for _, g := range lanes(s) {
		name := g.Name
		if g.Folded {
			name = "(" + name + ")"
		}
		names = append(names, name)
		for _, m := range g.Machines {
			require.NotContains(t, groups, m)
			groups[m] = g.Name
		}
	}
	require.Equal(t, []string{"(us-browsers)", "(eu-browsers)", "(publishers)", "us-east", "eu-west", "off-site",
		"(linode)", "(digitalocean)", "(twilio)", "(root, com, cloud)", "(sites of others)"}, names)
	for _, m := range s.Machines() {
		require.Contains(t, groups, m.Name)
	}
	require.Len(t, groups, len(s.Machines()))
	require.Equal(t, "us-east", groups["us-east-proxy-1"])
	require.Equal(t, "linode", groups["linode-ns1"])
}

func TestCharts(t *testing.T) {
	c := oracle.Course{Step: 10 * time.Second, OK: []int{5, 0}, Failed: []int{1, 0},
		P50: []time.Duration{20 * time.Millisecond, -1}, P99: []time.Duration{3 * time.Second, -1}, Live: []int{0, 0}}
	all := charts(c)
	require.Len(t, all, 2) // nobody ever had a tunnel
	require.Equal(t, report.Chart{Title: "latency", Unit: report.Microseconds, Step: 10 * time.Second, Curves: []report.Curve{
		{Name: "p50", Values: []int64{20_000, -1}}, {Name: "p99", Values: []int64{3_000_000, -1}}}}, all[1])
	c.Live[1] = 7
	require.Equal(t, []int64{0, 7}, charts(c)[2].Curves[0].Values)
}

func TestPageWantsARecording(t *testing.T) {
	s, err := Load("steady")
	require.NoError(t, err)
	require.EqualError(t, (&Report{Story: s}).WritePage(io.Discard, nil), "the run was not recorded")
}

func TestParagraphs(t *testing.T) {
	require.Equal(t, []string{"a b", "c"}, paragraphs(" a\nb\n\n\n c\n"))
}

// A leader that is stopped goes on to believe that it leads; one without power does
// not.
func TestClaims(t *testing.T) {
	led := []oracle.Led{{At: time.Second, Region: "us-east", Name: "us-east-seed-1", Epoch: 1}, {At: 3 * time.Minute, Until: 4 * time.Minute, Region: "us-east", Name: "us-east-understudy-1", Epoch: 2}}
	for name, until := range map[string]time.Duration{"stale-leader": 6 * time.Minute, "seed-takeover": 2 * time.Minute} {
		s, err := Load(name)
		require.NoError(t, err)
		s.Timeline[0].At = 2 * time.Minute
		require.Equal(t, []report.Claim{{Machine: "us-east-seed-1", Text: "leads us-east, epoch 1", From: time.Second, Until: until},
			{Machine: "us-east-understudy-1", Text: "leads us-east, epoch 2", From: 3 * time.Minute, Until: 4 * time.Minute}},
			claims(oracle.History{Leaders: led, Lasts: 6 * time.Minute}, s), name)
	}
}
