package search

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/espra/protoplex/scenarios/oracle"
	"github.com/espra/protoplex/scenarios/story"
	"github.com/espra/protoplex/scenarios/swarm"
	"github.com/espra/protoplex/sim"
	"github.com/espra/protoplex/sim/shrink"
)

// ErrHolds says that there is nothing to shrink.
var ErrHolds = errors.New("nothing fails")

// Shrinker makes a story that fails smaller, as long as the same is found: fewer
// faults and shorter ones, a smaller platform, fewer clients, an earlier end. Where
// the faults were no more than the platform declares to survive they stay so, and
// what broke after a while does not break from the start: else a platform would do
// that is too small to work.
type Shrinker struct {
	// Command starts the run of a story's file, like that of an [Explorer].
	Command func(ctx context.Context, file string, seed uint64) *exec.Cmd
	// Jobs is how many run side by side; 1 if zero.
	Jobs int
	// Limit, if not zero, is how long one run may take, in real time.
	Limit time.Duration
	// Progress, if not nil, is told after each run how many there were, and the
	// smallest story so far.
	Progress func(runs int, best *story.Story)
}

// attempt is a story that is played, and what was found.
type attempt struct {
	story   *story.Story
	finding Finding
}

// atOnce tells whether an expectation was broken from the start, or nobody knows
// since when.
func (f Finding) atOnce() bool { return f.Kind == Broken && f.At == 0 }

// Shrink gives the smallest story that it comes to, as a reproducer that can be
// saved, and what it shows. With a story that is a reproducer this is what that
// shows; else the worst that is found with the seed, and [ErrHolds] if nothing
// is. If ctx ends, what it has so far comes with the context's error.
func (s *Shrinker) Shrink(ctx context.Context, from *story.Story, seed uint64) (*story.Story, Finding, error) {
	dir, err := os.MkdirTemp("", "protoplex-shrink-")
	if err != nil {
		return nil, Finding{}, fmt.Errorf("make directory for stories: %w", err)
	}
	defer os.RemoveAll(dir)
	var files atomic.Uint64
	play := func(ctx context.Context, st *story.Story) ([]Finding, error) {
		file := filepath.Join(dir, strconv.FormatUint(files.Add(1), 10)+".yaml")
		if err := Save(file, st); err != nil {
			return nil, err
		}
		defer os.Remove(file)
		r, err := playOne(ctx, s.Limit, func(ctx context.Context) *exec.Cmd { return s.Command(ctx, file, seed) })
		return r.Findings, err
	}

	// Every time that the seed would choose is written down, so that it can change.
	start := from.Timed(func(id, what string) uint64 { return sim.Choose(seed, what+" of "+id, 0) })
	found, err := play(ctx, start)
	if err != nil {
		return nil, Finding{}, err
	}
	target, err := wanted(from, found)
	if err != nil {
		return nil, Finding{}, err
	}
	runs := 1
	best := &attempt{start, target}
	survivable, late := swarm.Declared.Exceeds(start) == "", !target.atOnce()
	search := &shrink.Search[*attempt]{
		Jobs: s.Jobs,
		Key:  func(a *attempt) string { return string(story.Format(a.story)) },
		Fails: func(ctx context.Context, a *attempt) (bool, error) {
			if survivable && swarm.Declared.Exceeds(a.story) != "" {
				return false, nil
			}
			found, err := play(ctx, a.story)
			if err != nil {
				return false, err
			}
			i := slices.IndexFunc(found, target.Same)
			if i < 0 || late && found[i].atOnce() {
				return false, nil
			}
			a.finding = found[i]
			return true, nil
		},
		Judged: func(a *attempt, smaller bool) {
			runs++
			if smaller {
				best = a
			}
			if s.Progress != nil {
				s.Progress(runs, best.story)
			}
		},
	}
	// What touched nothing is most likely not needed.
	var without []*attempt
	if c, ok := valid(withFaults(start, busy(start, found))); ok && len(c.story.Timeline) < len(start.Timeline) {
		without = append(without, c)
	}
	if c, ok, err := search.First(ctx, without); err != nil {
		return shrunk(best, from, seed), best.finding, err
	} else if ok {
		best = c
	}
	best, err = descend(ctx, search, best)
	return shrunk(best, from, seed), best.finding, err
}

// busy are the indices of the faults that touched something.
func busy(s *story.Story, found []Finding) []int {
	var all []int
	for i, e := range s.Timeline {
		if !slices.ContainsFunc(found, func(f Finding) bool { return f.Kind == Idle && f.Cause == e.ID }) {
			all = append(all, i)
		}
	}
	return all
}

// wanted is what a smaller story has to show too.
func wanted(s *story.Story, found []Finding) (Finding, error) {
	if s.Found != nil {
		i := slices.IndexFunc(found, func(f Finding) bool {
			return string(f.Kind) == s.Found.Kind && short(f.Cause, maxCause) == s.Found.Cause
		})
		if i < 0 {
			return Finding{}, fmt.Errorf("%w of what %s says: %s %q; it shows %s", ErrHolds, s.File, s.Found.Kind, s.Found.Cause, causes(found))
		}
		return found[i], nil
	}
	if len(found) == 0 {
		return Finding{}, ErrHolds
	}
	return slices.MinFunc(found, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(rank(b.Kind), rank(a.Kind)), cmp.Compare(a.At, b.At))
	}), nil
}

// descend tries what saves most first, and begins again as long as anything
// helps: a smaller story often allows what a larger one did not.
func descend(ctx context.Context, search *shrink.Search[*attempt], best *attempt) (*attempt, error) {
	steps := func(smaller func(*attempt) []*story.Story) func(context.Context, *attempt) (*attempt, error) {
		return func(ctx context.Context, a *attempt) (*attempt, error) {
			return search.Descend(ctx, a, func(a *attempt) []*attempt {
				var all []*attempt
				for _, s := range smaller(a) {
					if c, ok := valid(s); ok {
						all = append(all, c)
					}
				}
				return all
			})
		}
	}
	faults := func(ctx context.Context, a *attempt) (*attempt, error) {
		return search.Subset(ctx, a, len(a.story.Timeline), func(indices []int) (*attempt, bool) {
			return valid(withFaults(a.story, indices))
		})
	}
	ofStory := func(smaller func(*story.Story) []*story.Story) func(*attempt) []*story.Story {
		return func(a *attempt) []*story.Story { return smaller(a.story) }
	}
	for {
		before := search.Key(best)
		for _, pass := range []func(context.Context, *attempt) (*attempt, error){
			steps(oneExpectation), steps(sooner),
			// What comes later takes less the sooner a run ends, and the fewer machines it has.
			steps(ofStory(muchSmaller)), faults, steps(sooner), steps(ofStory(muchSmaller)), steps(ofStory(earlier)), steps(sooner),
			steps(ofStory(smallerWorkload)), steps(ofStory(smallerTopology)), // clients cost most
			steps(ofStory(weakerFaults)), steps(ofStory(earlier)), steps(sooner),
		} {
			var err error
			if best, err = pass(ctx, best); err != nil {
				return best, err
			}
		}
		if search.Key(best) == before {
			return best, nil
		}
	}
}

// valid gives a story as its file reads; false if it would be no valid one.
func valid(s *story.Story) (*attempt, bool) {
	if s == nil {
		return nil, false
	}
	read, err := story.Parse(s.File, story.Format(s))
	if err != nil {
		return nil, false
	}
	return &attempt{story: read}, true
}

// shrunk gives the story the words that a person wants to read.
func shrunk(a *attempt, from *story.Story, seed uint64) *story.Story {
	s := Reproducer(a.story, seed, a.finding)
	var struck []string
	var text strings.Builder
	fmt.Fprintf(&text, "Shrunk from %s. With seed %d it shows:\n%s: %s\n", from.Name, seed, a.finding.Kind, a.finding.Cause)
	first, _, _ := strings.Cut(a.finding.Detail, "\n")
	fmt.Fprintf(&text, "(%s)\n", strings.TrimSpace(first))
	for _, e := range a.story.Timeline {
		struck = append(struck, fmt.Sprintf("%s on %v", e.Fault, e.On))
		fmt.Fprintf(&text, "At %s %s strikes %v.\n", oracle.Offset(e.At), e.Fault, e.On)
	}
	s.Text = short(strings.TrimSpace(text.String()), 4000)
	what := strings.Join(struck, ", ")
	if what == "" {
		what = "no fault at all"
	}
	s.Title = short(fmt.Sprintf("%s, after %s", strings.Join(strings.Fields(a.finding.Cause), " "), what), 100)
	s.Sources, s.Facts, s.Assumed = nil, nil, nil // it is no longer what really happened
	return s
}
