package monitor

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/monitor/zone"
)

// A zone that holds little more than the homes moves as any other, away and home.
func TestSmallZoneMoves(t *testing.T) {
	hosts := []string{"www.espra.com", "us-1.live.espra.com", "us-2.live.espra.com"}
	w := newWorld(t, func(c *Config) {
		for _, host := range hosts[1:] {
			h := c.Homes[0]
			h.Host = host
			c.Homes = append(c.Homes, h)
		}
	})
	w.zone.records = []zone.Record{{ID: "1", Name: "espra.com", Type: "MX"}}
	for _, host := range hosts {
		w.zone.records = append(w.zone.records, zone.Record{ID: "t " + host, Name: "_home." + host, Type: "TXT", Value: "v=home1 region=us-east epoch=1"},
			zone.Record{ID: "c " + host, Name: host, Type: "CNAME", Value: "us-east.elb"})
	}
	live := func(region string, epoch int) {
		for k := range hosts {
			require.Equal(t, fmt.Sprintf("v=home1 region=%s epoch=%d", region, epoch), w.zone.records[1+2*k].Value)
			require.Equal(t, region+".elb", w.zone.records[2+2*k].Value)
		}
	}
	w.run(2 * time.Minute)
	w.lose("us-east")
	w.run(2 * time.Minute)
	live("eu-west", 2)
	w.heal()
	w.run(time.Minute)
	w.lose("eu-west") // before they are home
	w.run(2 * time.Minute)
	live("us-east", 3)
	w.run(10 * time.Minute)
	require.Empty(t, w.gateway.to(ana, "ESPRA STUCK"))
}
