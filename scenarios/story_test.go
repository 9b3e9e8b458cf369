package scenarios

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/scenarios/oracle"
	"github.com/espra/protoplex/sim"
)

// Environment variables of TestStory: one seed, or how many from 1 on.
const (
	seedVar  = "PROTOPLEX_SEED"
	seedsVar = "PROTOPLEX_SEEDS"
)

// Every story of the program holds, each in a world and a process of its own.
func TestStory(t *testing.T) {
	names, err := Names()
	require.NoError(t, err)
	require.NotEmpty(t, names)
	seeds := seedsAskedFor(t)
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if len(seeds) == 1 {
				holds(t, name, seeds[0])
				return
			}
			for _, seed := range seeds {
				t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
					t.Parallel()
					holds(t, name, seed)
				})
			}
		})
	}
}

// What was found once, and mended, is not found again.
func TestRegression(t *testing.T) {
	names, err := Regressions()
	require.NoError(t, err)
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := Load(name)
			require.NoError(t, err)
			require.NotNil(t, s.Found, "a reproducer says what it shows")
			holds(t, name, s.Found.Seed)
		})
	}
}

func seedsAskedFor(t *testing.T) []uint64 {
	t.Helper()
	if s := os.Getenv(seedVar); s != "" {
		seed, err := strconv.ParseUint(s, 10, 64)
		require.NoError(t, err, seedVar)
		require.NotZero(t, seed, "%s: seeds count from 1", seedVar)
		return []uint64{seed}
	}
	n := 1
	if s := os.Getenv(seedsVar); s != "" {
		var err error
		n, err = strconv.Atoi(s)
		require.NoError(t, err, seedsVar)
		require.Positive(t, n, seedsVar)
	}
	seeds := make([]uint64, n)
	for i := range seeds {
		seeds[i] = uint64(i + 1)
	}
	return seeds
}

// holds plays a story and fails with the first moment at which anything in it
// was broken.
func holds(t *testing.T, name string, seed uint64) {
	s, err := Load(name)
	require.NoError(t, err)
	sim.TestWith(t, sim.Options{Seed: seed, Start: s.Starts}, func(t *testing.T, w *sim.World) {
		report, err := Play(w, s, Options{})
		require.NoError(t, err)
		var told strings.Builder
		require.NoError(t, report.Print(&told, Style{}))
		t.Logf("\n%s", &told)
		if !report.Held() {
			t.Error(firstBroken(report))
		}
	})
}

// firstBroken says what broke first, and how to see it again.
func firstBroken(r *Report) string {
	var broken []oracle.Verdict
	for _, v := range r.Verdicts {
		if !v.OK {
			broken = append(broken, v)
		}
	}
	slices.SortStableFunc(broken, func(a, b oracle.Verdict) int { return cmp.Compare(a.At, b.At) })
	why := "a fault touched nothing"
	if len(broken) > 0 {
		why = fmt.Sprintf("%s: %s", broken[0].Name, broken[0].First)
	}
	return fmt.Sprintf("first broken: %s\nreplay it: protoplex sim run %s --seed %d", why, r.replayName(), r.Seed)
}
