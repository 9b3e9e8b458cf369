package cell

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// One trouble is warned of at once and then once a minute; another is not hidden
// by it.
func TestTroubleIsNotRepeated(t *testing.T) {
	trouble := newTrouble(0)
	warned := map[string][]time.Duration{}
	for now := 10 * time.Second; now <= 3*time.Minute; now += 2 * time.Second {
		for _, seed := range []string{"a", "b"} {
			if seed == "b" && now < time.Minute {
				continue
			}
			if trouble.isNew("refused by "+seed, now) {
				warned[seed] = append(warned[seed], now)
			}
		}
	}
	require.Equal(t, map[string][]time.Duration{
		"a": {10 * time.Second, 70 * time.Second, 130 * time.Second},
		"b": {60 * time.Second, 120 * time.Second, 180 * time.Second},
	}, warned)
}
