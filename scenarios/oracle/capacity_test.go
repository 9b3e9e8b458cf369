package oracle_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/scenarios/oracle"
)

func TestCapacityRestored(t *testing.T) {
	const s = time.Second
	f := oracle.Fault{ID: "x", From: 10 * s}
	well := func(at time.Duration, node, target string) oracle.Judged {
		return oracle.Judged{At: at, Node: node, Target: target, Healthy: true}
	}
	unwell := func(at time.Duration, node, target string) oracle.Judged {
		return oracle.Judged{At: at, Node: node, Target: target}
	}
	two := []oracle.Judged{well(s, "lb-a", "p1"), well(s, "lb-a", "p2"), well(s, "lb-b", "p1"), well(s, "lb-b", "p2")}
	for name, tt := range map[string]struct {
		then     []oracle.Judged
		judged   int
		measured string
		first    string // empty if it holds
	}{
		"replaced":     {[]oracle.Judged{unwell(20*s, "lb-a", "p1"), unwell(21*s, "lb-b", "p1"), well(40*s, "lb-a", "p3"), well(41*s, "lb-b", "p3")}, 2, "31 s", ""},
		"for one only": {[]oracle.Judged{unwell(20*s, "lb-a", "p1"), unwell(21*s, "lb-b", "p1"), well(41*s, "lb-b", "p3")}, 2, "never", "lb-a at 1:10 had 1 healthy targets, and 2 before"},
		"too late":     {[]oracle.Judged{unwell(20*s, "lb-a", "p1"), well(71*s, "lb-a", "p3")}, 1, "never", "lb-a at 1:10 had 1 healthy targets, and 2 before"},
		"back itself":  {[]oracle.Judged{unwell(20*s, "lb-a", "p1"), well(30*s, "lb-a", "p1")}, 1, "20 s", ""},
		"lost again":   {[]oracle.Judged{unwell(20*s, "lb-a", "p1"), well(30*s, "lb-a", "p1"), unwell(60*s, "lb-a", "p2")}, 1, "never", "lb-a at 1:10 had 1 healthy targets, and 2 before"},
		"never lost":   {nil, 0, "0 ms", ""},
	} {
		t.Run(name, func(t *testing.T) {
			v := oracle.CapacityRestored(oracle.History{Targets: append(two[:4:4], tt.then...)}, f, time.Minute)
			require.Equal(t, tt.judged, v.Judged)
			require.Equal(t, tt.measured, v.Measured)
			require.Equal(t, tt.first == "" && tt.judged > 0, v.OK)
			if tt.judged > 0 {
				require.Equal(t, tt.first, v.First)
			}
		})
	}
}
