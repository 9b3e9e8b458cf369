package search

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/scenarios"
	"github.com/espra/protoplex/scenarios/story"
	"github.com/espra/protoplex/scenarios/swarm"
)

// TestShrunkProgram plays the run of a story for TestShrink: it fails if two of
// its faults are there, one of them for at least 20 s, while two browsers look on.
func TestShrunkProgram(t *testing.T) {
	file := os.Getenv("SCENARIOS_SHRUNK")
	if file == "" {
		return // only a part of TestShrink
	}
	data, err := os.ReadFile(file)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(4)
	}
	s, err := story.Parse(file, data)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(4)
	}
	_, one := s.Event("one")
	two, both := s.Event("two")
	if both = one && both && two.For >= 20*time.Second && len(s.Workload) > 0 && s.Workload[0].Browsers >= 2; both && s.Lasts >= 3*time.Minute {
		fmt.Println(`{"verdicts":[{"name":"quiet","ok":false,"first":"three","at":170000000000}]}`)
		os.Exit(1)
	}
	// With one vantage anybody is paged for what it loses, and without any the
	// names of the apex are missing from the start.
	if _, cut := s.Event("cut"); cut && len(s.Topology.VPS) > 0 {
		fmt.Println(`{"verdicts":[{"name":"paged","ok":false,"first":"cut","at":170000000000}]}`)
		os.Exit(1)
	} else if len(s.Topology.VPS) == 0 {
		fmt.Println(`{"verdicts":[{"name":"paged","ok":false,"first":"none"}]}`)
		os.Exit(1)
	}
	fmt.Println(`{"held":true}`)
	os.Exit(0)
}

func shrinker(jobs int) *Shrinker {
	return &Shrinker{Jobs: jobs, Command: func(ctx context.Context, file string, _ uint64) *exec.Cmd {
		cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestShrunkProgram$")
		cmd.Env = append(os.Environ(), "SCENARIOS_SHRUNK="+file)
		return cmd
	}}
}

const large = `format: 1
title: much goes wrong
story: Much goes wrong.
starts: 2026-03-02T14:00:00Z
lasts: 30m
topology:
  regions:
    us-east: {zones: 2, proxy: 3, live: 3, seed: 1, understudy: 1}
    eu-west: {zones: 2, proxy: 2, live: 2}
workload:
  - {id: people, browsers: 9, home: us-1.live, do: [load the apex page every 20s, subscribe to 2 channels]}
  - {id: others, browsers: 4, home: eu-1.live, do: [load the apex page every 20s]}
  - {id: publishers, publishers: 3, do: [publish every 1s]}
timeline:
  - {id: zero, at: 1m, for: 30s, fault: machine-lost, on: machine us-east-live-1}
  - {id: one, at: 1m-2m, for: 30s, fault: zone-lost, on: zone us-east-a}
  - {id: some, at: 2m, for: 30s, fault: paused, on: vps london}
  - {id: two, at: 2m, for: 40s, fault: isolated, on: zone us-east-b}
  - {id: more, at: 3m, for: 30s, fault: region-lost, on: region eu-west}
expect:
  always: [live-streams, dns-points-somewhere]
  after more: {detected: {within: 1m}}
  throughout: {nobody-paged: true}
`

func TestShrink(t *testing.T) {
	from, err := story.Parse("large.yaml", []byte(large))
	require.NoError(t, err)
	var texts []string
	for _, jobs := range []int{1, 3} {
		s, f, err := shrinker(jobs).Shrink(t.Context(), from, 5)
		require.NoError(t, err)
		require.Equal(t, Finding{Kind: Broken, Cause: "quiet", Detail: ", budget ; first: three", At: 170 * time.Second}, f)
		require.Len(t, s.Timeline, 2)
		require.Equal(t, []string{"one", "two"}, []string{s.Timeline[0].ID, s.Timeline[1].ID})
		require.Equal(t, "machine-lost", s.Timeline[0].Fault)
		require.LessOrEqual(t, s.Timeline[0].For, time.Second)
		require.GreaterOrEqual(t, s.Timeline[1].For, 20*time.Second)
		require.Less(t, s.Timeline[1].For, 40*time.Second)
		require.Equal(t, 3*time.Minute, s.Lasts)
		require.Len(t, s.Topology.Regions, 1)
		require.Equal(t, 1, s.Topology.Regions[0].Live)
		require.Zero(t, s.Topology.Regions[0].Seed)
		require.Len(t, s.Workload, 2, "live-streams wants somebody to publish")
		require.Equal(t, 2, s.Workload[0].Browsers)
		require.Equal(t, 1, s.Workload[1].Publishers)
		require.Equal(t, &story.Found{Seed: 5, Kind: "expectation", Cause: "quiet", By: Version()}, s.Found)
		require.Contains(t, s.Text, "Shrunk from large.")
		texts = append(texts, string(story.Format(s)))

		// It is a whole story, which shows the same, and gets no smaller.
		again, err := story.Parse("small.yaml", []byte(texts[0]))
		require.NoError(t, err)
		same, _, err := shrinker(2).Shrink(t.Context(), again, 5)
		require.NoError(t, err)
		require.Equal(t, again.Timeline, same.Timeline)
	}
	require.Equal(t, texts[0], texts[1], "what comes out hangs on how many are played at a time")
}

// A platform is not made too small to survive what it should.
func TestShrinkWithinTheBudget(t *testing.T) {
	text, _, _ := strings.Cut(large, "timeline:")
	from, err := story.Parse("cut.yaml", []byte(text+`timeline:
  - {id: cut, at: 2m, for: 1m, fault: partition, on: link vps fremont -> region us-east}
expect:
  always: [live-streams, dns-points-somewhere]
`))
	require.NoError(t, err)
	s, f, err := shrinker(2).Shrink(t.Context(), from, 5)
	require.NoError(t, err)
	require.Equal(t, "paged", f.Cause)
	require.Equal(t, 170*time.Second, f.At)
	require.Len(t, s.Timeline, 1)
	require.Len(t, s.Topology.VPS, 3)
	require.Len(t, s.Topology.Regions, 1)

	// What breaks without any vantage does so from the start.
	dead := *from
	dead.Timeline = []story.Event{{ID: "cut", At: 2 * time.Minute, Latest: 2 * time.Minute, Times: 1, For: time.Minute, Longest: time.Minute,
		Fault: "machine-lost", On: &story.Selector{Kind: story.ByMachine, Name: "us-east-live-1"}}}
	s, f, err = shrinker(2).Shrink(t.Context(), &dead, 5)
	require.NoError(t, err)
	require.Equal(t, 170*time.Second, f.At)
	require.NotEmpty(t, s.Topology.VPS)

	// Who breaks more may lose more.
	from.Timeline = append(from.Timeline, from.Timeline[0])
	from.Timeline[1].ID = "other"
	from.Timeline[1].On = &story.Selector{Kind: story.ByVPS, Name: "london"}
	from.Timeline[1].Fault = "isolated"
	require.NotEmpty(t, swarm.Declared.Exceeds(from))
	s, _, err = shrinker(2).Shrink(t.Context(), from, 5)
	require.NoError(t, err)
	require.Less(t, len(s.Topology.VPS), 3)
}

// What does not fail, or does not show what its file says, is not shrunk.
func TestShrinkHolds(t *testing.T) {
	from, err := story.Parse("large.yaml", []byte(large))
	require.NoError(t, err)
	calm := *from
	calm.Lasts = 2*time.Minute + 50*time.Second
	calm.Timeline, calm.Expect.After = nil, nil
	_, _, err = shrinker(1).Shrink(t.Context(), &calm, 1)
	require.ErrorIs(t, err, ErrHolds)

	other := Reproducer(from, 1, Finding{Kind: Crash, Cause: "panic: oh"})
	_, _, err = shrinker(1).Shrink(t.Context(), other, 1)
	require.EqualError(t, err, `nothing fails of what large.yaml says: crash "panic: oh"; it shows expectation "quiet"`)
}

// Who stops the search has the smallest story so far.
func TestShrinkStopped(t *testing.T) {
	from, err := story.Parse("large.yaml", []byte(large))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	s := shrinker(1)
	s.Progress = func(_ int, best *story.Story) {
		if len(best.Timeline) < 5 {
			cancel()
		}
	}
	small, f, err := s.Shrink(ctx, from, 5)
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, "quiet", f.Cause)
	require.Less(t, len(small.Timeline), 5)
}

// A file is written whole or not at all, and what was there before stays.
func TestSave(t *testing.T) {
	s, err := story.Parse("large.yaml", []byte(large))
	require.NoError(t, err)
	r := Reproducer(s, 12, Finding{Kind: Broken, Cause: "99 % of clients recovered, 2m on (again)"})
	require.Equal(t, "99-of-clients-recovered-2m-on-again-12.yaml", FileName(r))
	dir := t.TempDir()
	file := filepath.Join(dir, FileName(r))
	require.NoError(t, Save(file, r))
	read, err := scenarios.Load(file)
	require.NoError(t, err)
	require.Equal(t, r.Found, read.Found)

	err = Save(filepath.Join(dir, "none", "x.yaml"), r)
	require.ErrorIs(t, err, os.ErrNotExist)
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 1)
	require.Error(t, Save(dir, r)) // it is there, and no file
	entries, err = os.ReadDir(filepath.Dir(dir))
	require.NoError(t, err)
	require.Len(t, entries, 1)
}

func TestBusy(t *testing.T) {
	s := &story.Story{Timeline: []story.Event{{ID: "a"}, {ID: "b"}, {ID: "c"}}}
	require.Equal(t, []int{0, 2}, busy(s, []Finding{{Kind: Broken, Cause: "a"}, {Kind: Idle, Cause: "b"}}))
}

// What saves most comes first: the expectation that is known to be broken alone, in a
// run that ends right after, and much less of a platform.
func TestSavesMostFirst(t *testing.T) {
	s, err := story.Parse("large.yaml", []byte(large))
	require.NoError(t, err)
	all := oneExpectation(&attempt{story: s, finding: Finding{Kind: Broken, Cause: "quiet", At: 170*time.Second + 1, Oracle: "dns-points-somewhere"}})
	require.Len(t, all, 5)
	require.Equal(t, 171*time.Second, all[0].Lasts)
	require.Equal(t, s.Lasts, all[1].Lasts)
	for _, c := range all[:2] {
		require.Len(t, c.Expect.Always, 1)
		require.Equal(t, "dns-points-somewhere", c.Expect.Always[0].Oracle)
		require.Empty(t, c.Expect.Throughout)
	}

	c := muchSmaller(s)[0] // us-east is gone
	require.Len(t, c.Topology.Regions, 1)
	require.Len(t, c.Workload, 2)
	require.Len(t, c.Timeline, 2)
	require.Equal(t, []string{"some", "more"}, []string{c.Timeline[0].ID, c.Timeline[1].ID})
}
