package oracle_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/scenarios/oracle"
)

// What a person does by hand at a provider is not judged, until it is over; then
// what is left of it is.
func TestMeddling(t *testing.T) {
	meddled := dns
	meddled.Meddled = []oracle.Meddling{{Provider: "l", From: sec(400), Until: sec(500)}}
	for _, c := range []struct {
		name           string
		emptied, again int
		at             string
		holds          bool
	}{
		{"put back in time", 410, 490, "linode-1", true},
		{"put back later", 410, 510, "linode-1", false},
		{"before that time", 390, 490, "linode-1", false},
		{"elsewhere", 410, 490, "ocean-1", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := failover()
			h.Served = append(h.Served, served(c.emptied, c.at, usHost, ""), served(c.again, c.at, usHost, "eu-west", euLB))
			h.Sort()
			require.Equal(t, c.holds, oracle.DNSPointsSomewhere(h, meddled).OK)
			require.False(t, oracle.DNSPointsSomewhere(h, dns).OK)
		})
	}
}

// A provider that is slow may add a target so much longer after its region was
// found to be down.
func TestSlowProvider(t *testing.T) {
	h := failover()
	h.Served = append(h.Served, served(600, "linode-1", usHost, "us-east", usLB))
	h.Sort()
	require.False(t, oracle.DNSPointsSomewhere(h, dns).OK)
	slow := dns
	slow.Slow = map[string]time.Duration{"l": sec(600)}
	require.True(t, oracle.DNSPointsSomewhere(h, slow).OK)
	slow.Slow = map[string]time.Duration{"o": sec(600)}
	require.False(t, oracle.DNSPointsSomewhere(h, slow).OK)
}
