package oracle_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/scenarios/oracle"
)

func TestLeaseCovers(t *testing.T) {
	const s = time.Second
	renewed := []oracle.Renewed{{At: s, Name: "a"}, {At: 4 * s, Name: "a"}, {At: 15 * s, Name: "b"}, {At: 40 * s, Name: "a"}}
	table := func(at time.Duration, name string) oracle.Act {
		return oracle.Act{At: at, Name: name, Did: "made table 1.2"}
	}
	led := func(at time.Duration, name string) oracle.Act { return oracle.Act{At: at, Name: name, Did: "led"} }
	for name, tt := range map[string]struct {
		acts     []oracle.Act
		measured string
		first    string // empty if it holds
	}{
		"in time":          {[]oracle.Act{table(2*s, "a"), led(14*s, "a"), table(16*s, "b"), table(41*s, "a")}, "0", ""},
		"a table too late": {[]oracle.Act{table(14*s+300*time.Millisecond, "a")}, "1, up to 300 ms late", "a at 0:14 made table 1.2, 300 ms after its lease was over: it last reached the store at 0:04"},
		"frozen too late":  {[]oracle.Act{led(16*s, "a"), table(30*s, "b")}, "2, up to 5 s late", "a at 0:16 led, 2 s after its lease was over: it last reached the store at 0:04"},
		"renewed later":    {[]oracle.Act{table(39*s, "a")}, "1, up to 25 s late", "a at 0:39 made table 1.2, 25 s after its lease was over: it last reached the store at 0:04"},
		"never had one":    {[]oracle.Act{table(14*s, "b")}, "1", "b at 0:14 made table 1.2, and never had a lease"},
	} {
		t.Run(name, func(t *testing.T) {
			v := oracle.LeaseCovers(oracle.History{Renewed: renewed, Acts: tt.acts}, 10*s)
			require.Equal(t, tt.first == "", v.OK)
			require.Equal(t, tt.measured, v.Measured)
			require.Equal(t, tt.first, v.First)
			require.Equal(t, len(tt.acts), v.Judged)
		})
	}
	require.False(t, oracle.LeaseCovers(oracle.History{Renewed: renewed}, 10*s).OK, "nothing was judged")
}
