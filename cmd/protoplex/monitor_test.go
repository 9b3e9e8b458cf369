package main

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/monitor"
)

// What an admin reads at night, and when what is over was.
func TestPrintStatus(t *testing.T) {
	at := time.Date(2026, 3, 7, 2, 0, 0, 0, time.UTC)
	var b strings.Builder
	printStatus(&b, monitor.Status{
		Vantage: "fremont", Now: at.Add(time.Hour),
		Subjects: map[string]monitor.SubjectStatus{
			"eu-west":     {Status: "down", Seconds: 61, Votes: 3, Incident: "7K2"},
			"www":         {Status: "unknown", Seconds: 5},
			"zone-linode": {Status: "down", Seconds: 5, Votes: 3, Incident: "4QD"},
		},
		Incidents: []monitor.IncidentStatus{
			{ID: "7K2", Subject: "eu-west", State: "down", Since: at, Acknowledged: "ana"},
			{ID: "JMD", Subject: "us-east", State: "over", Since: at, Ended: at.Add(4 * time.Minute),
				Timeline: []monitor.Moment{{At: at, What: "opened", Text: "3/3 vantages"}}},
		},
	})
	require.Equal(t, `as fremont knows it at 2026-03-07T03:00:00Z

eu-west                  down     for 1m1s, 3 votes  incident 7K2
www                      unknown  for 5s, 0 votes
zone-linode              down     for 5s, 3 votes  incident 4QD



incident 7K2: eu-west down since 2026-03-07T02:00:00Z; ana looks after it

incident JMD: us-east over, from 2026-03-07T02:00:00Z to 2026-03-07T02:04:00Z
  02:00:00  opened        3/3 vantages
`, b.String())
}
