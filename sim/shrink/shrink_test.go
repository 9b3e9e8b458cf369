package shrink_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/sim/shrink"
)

func numbers(fails func([]int) bool, jobs int, calls *atomic.Int64) *shrink.Search[[]int] {
	return &shrink.Search[[]int]{
		Fails: func(_ context.Context, c []int) (bool, error) {
			calls.Add(1)
			return fails(c), nil
		},
		Key:  func(c []int) string { return fmt.Sprint(c) },
		Jobs: jobs,
	}
}

func subset(t *testing.T, s *shrink.Search[[]int], n int) []int {
	t.Helper()
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	got, err := s.Subset(t.Context(), all, n, func(indices []int) ([]int, bool) { return slices.Clone(indices), true })
	require.NoError(t, err)
	return got
}

// What is left fails, and would not without any of its elements, however many
// candidates are judged at a time.
func TestSubset(t *testing.T) {
	has := func(want ...int) func([]int) bool {
		return func(c []int) bool {
			return !slices.ContainsFunc(want, func(w int) bool { return !slices.Contains(c, w) })
		}
	}
	for _, test := range []struct {
		name  string
		n     int
		fails func([]int) bool
		want  []int
		most  int64 // judgements, one at a time
	}{
		{"always", 64, has(), nil, 1},
		{"one", 64, has(37), []int{37}, 20},
		{"two far apart", 64, has(3, 60), []int{3, 60}, 60},
		{"three", 20, has(0, 9, 19), []int{0, 9, 19}, 60},
		{"all", 4, has(0, 1, 2, 3), []int{0, 1, 2, 3}, 20},
		{"any three", 10, func(c []int) bool { return len(c) >= 3 }, []int{2, 3, 4}, 40},
		{"none there", 0, has(), []int{}, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, jobs := range []int{0, 1, 3} {
				var calls atomic.Int64
				got := subset(t, numbers(test.fails, jobs, &calls), test.n)
				require.ElementsMatch(t, test.want, got, "%d jobs", jobs)
				if jobs == 1 {
					require.LessOrEqual(t, calls.Load(), test.most)
				}
			}
		})
	}
}

// One that comes twice is judged once.
func TestFirstTwice(t *testing.T) {
	var calls atomic.Int64
	s := numbers(func(c []int) bool { return c[0] == 2 }, 1, &calls)
	got, ok, err := s.First(t.Context(), [][]int{{1}, {1}, {2}, {1}})
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, []int{2}, got)
	require.Equal(t, int64(2), calls.Load())
}

func TestDescend(t *testing.T) {
	var calls atomic.Int64
	var steps []int
	s := numbers(func(c []int) bool { return c[0] >= 13 }, 4, &calls)
	s.Judged = func(c []int, smaller bool) {
		if smaller {
			steps = append(steps, c[0])
		}
	}
	got, err := s.Descend(t.Context(), []int{100}, func(c []int) [][]int { return [][]int{{c[0] / 2}, {c[0] - 1}} })
	require.NoError(t, err)
	require.Equal(t, []int{13}, got)
	require.Equal(t, []int{50, 25, 24, 23, 22, 21, 20, 19, 18, 17, 16, 15, 14, 13}, steps)
}

// What is as small as it can be may be offered again.
func TestDescendToItself(t *testing.T) {
	var calls atomic.Int64
	s := numbers(func([]int) bool { return true }, 1, &calls)
	got, err := s.Descend(t.Context(), []int{3}, func(c []int) [][]int { return [][]int{{max(c[0]-1, 1)}} })
	require.NoError(t, err)
	require.Equal(t, []int{1}, got)
	require.Equal(t, int64(2), calls.Load())
}

// Who stops the search has the best so far.
func TestStopped(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var calls atomic.Int64
	s := numbers(func(c []int) bool { return true }, 1, &calls)
	s.Judged = func(c []int, _ bool) {
		if c[0] == 97 {
			cancel()
		}
	}
	got, err := s.Descend(ctx, []int{100}, func(c []int) [][]int { return [][]int{{c[0] - 1}} })
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, []int{97}, got)
}

// One that cannot be judged ends the search.
func TestError(t *testing.T) {
	broken := errors.New("no disk")
	s := &shrink.Search[int]{
		Fails: func(_ context.Context, c int) (bool, error) {
			if c == 7 {
				return false, broken
			}
			return true, nil
		},
		Key: func(c int) string { return fmt.Sprint(c) },
	}
	got, err := s.Descend(t.Context(), 9, func(c int) []int { return []int{c - 1} })
	require.ErrorIs(t, err, broken)
	require.Equal(t, 8, got)
}
