// Package shrink makes something that fails smaller, as long as it fails: the
// fewest elements of a list, by delta debugging, and step by step whatever else
// can be smaller. It knows nothing of what that is, nor of the simulator beside
// it.
//
// A candidate that takes long to judge is judged beside others, yet what comes out
// does not hang on how many are judged at a time: of several that fail the first
// wins. Nothing is judged twice. If the context ends, what is there is what was
// found so far. Start reading at Search.
package shrink

import (
	"context"
	"slices"
	"sync"
)

// Search looks for something small that fails. It is for one goroutine.
type Search[T any] struct {
	// Fails judges a candidate. It is called by Jobs goroutines, and once for each
	// key. An error ends the search, unless the context has ended.
	Fails func(ctx context.Context, candidate T) (bool, error)
	// Key tells candidates apart.
	Key func(candidate T) string
	// Jobs is how many are judged at a time; 1 if zero.
	Jobs int
	// Judged, if not nil, is told after each judgement whether the candidate failed
	// and is smaller than all before. Calls come one at a time.
	Judged func(candidate T, smaller bool)

	held map[string]bool // by key: judged, and did not fail
}

// First gives the first candidate that fails.
func (s *Search[T]) First(ctx context.Context, candidates []T) (found T, ok bool, err error) {
	if s.held == nil {
		s.held = map[string]bool{}
	}
	var fresh []T
	seen := map[string]bool{}
	for _, c := range candidates {
		if key := s.Key(c); !s.held[key] && !seen[key] {
			seen[key] = true
			fresh = append(fresh, c)
		}
	}
	var (
		mu     sync.Mutex
		next   int
		best   = len(fresh) // the first that is known to fail
		failed error
		stops  = make([]context.CancelFunc, len(fresh))
	)
	take := func() (i int, own context.Context, ok bool) {
		mu.Lock()
		defer mu.Unlock()
		if ctx.Err() != nil || failed != nil || next >= best {
			return 0, nil, false
		}
		i, next = next, next+1
		own, stops[i] = context.WithCancel(ctx)
		return i, own, true
	}
	var wg sync.WaitGroup
	for range max(s.Jobs, 1) {
		wg.Go(func() {
			for i, own, ok := take(); ok; i, own, ok = take() {
				fails, err := s.Fails(own, fresh[i])
				mu.Lock()
				switch {
				case own.Err() != nil: // an earlier one fails, or the search has ended
				case err != nil && failed == nil:
					failed = err
				case err == nil && fails && i < best:
					best = i
					for _, stop := range stops[i+1 : next] {
						stop()
					}
				case err == nil && !fails:
					s.held[s.Key(fresh[i])] = true
					if s.Judged != nil {
						s.Judged(fresh[i], false)
					}
				}
				stops[i]()
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if failed == nil {
		failed = ctx.Err()
	}
	if best == len(fresh) {
		return found, false, failed
	}
	if s.Judged != nil {
		s.Judged(fresh[best], true)
	}
	return fresh[best], true, failed
}

// Descend goes from start, which fails, to the first of the smaller ones that
// fails, and on from there until none does. One that is start itself is not smaller.
// What it returns fails, also with an error.
func (s *Search[T]) Descend(ctx context.Context, start T, smaller func(T) []T) (T, error) {
	for {
		key := s.Key(start)
		candidates := slices.DeleteFunc(smaller(start), func(c T) bool { return s.Key(c) == key })
		next, ok, err := s.First(ctx, candidates)
		if ok {
			start = next
		}
		if err != nil || !ok {
			return start, err
		}
	}
}

// Subset finds few of n elements with which it still fails: none could be left
// out alone. Start has all of them and fails; keep makes a candidate with some, in
// order, and reports false where there is none. This is delta debugging: A.
// Zeller, R. Hildebrandt, Simplifying and Isolating Failure-Inducing Input, 2002.
func (s *Search[T]) Subset(ctx context.Context, start T, n int, keep func(indices []int) (T, bool)) (T, error) {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	parts := 1 // at first: without any
	for n > 0 {
		var candidates []T
		var kept [][]int
		try := func(indices []int) {
			if c, ok := keep(indices); ok {
				candidates, kept = append(candidates, c), append(kept, indices)
			}
		}
		if parts == 1 {
			try(nil)
		}
		chunks := split(all, parts)
		if parts > 1 {
			for _, c := range chunks {
				try(c)
			}
		}
		if parts > 2 {
			for i := range chunks {
				try(without(chunks, i))
			}
		}
		before := map[string][]int{}
		for i, c := range candidates {
			if _, there := before[s.Key(c)]; !there {
				before[s.Key(c)] = kept[i]
			}
		}
		next, ok, err := s.First(ctx, candidates)
		if ok {
			start, all = next, before[s.Key(next)]
		}
		switch {
		case err != nil || len(all) == 0 || !ok && parts >= len(all):
			return start, err
		case !ok:
			parts = min(max(2*parts, 2), len(all))
		case len(all) == 1:
			return start, nil
		default:
			parts = min(max(parts-1, 2), len(all))
		}
	}
	return start, nil
}

// split cuts a list into so many parts, as equal as can be.
func split(all []int, parts int) [][]int {
	var chunks [][]int
	for i := range parts {
		chunks = append(chunks, all[i*len(all)/parts:(i+1)*len(all)/parts])
	}
	return chunks
}

func without(chunks [][]int, i int) []int {
	rest := []int{}
	for j, c := range chunks {
		if j != i {
			rest = append(rest, c...)
		}
	}
	return rest
}
