package decide_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/monitor/decide"
)

var (
	start  = time.Date(2026, 3, 2, 14, 5, 2, 0, time.UTC)
	params = decide.Params{
		Vantages: 3, OpenAfter: 3, CloseAfter: 3, Fresh: 30 * time.Second,
		Reopen: 20 * time.Minute, Quiet: 10 * time.Minute, FoldWait: 30 * time.Second, BlindAfter: 10 * time.Minute, Settle: 30 * time.Second,
		Targets: []decide.Target{{Name: "us-east-proxy", Region: "us-east"}, {Name: "us-east-live", Region: "us-east"}, {Name: "apex"}},
	}
)

// report says one thing about all targets.
func report(rank int, ok bool, streak int) decide.Report {
	r := decide.Report{Vantage: fmt.Sprint("v", rank), Rank: rank, Results: map[string]decide.Result{}}
	for _, t := range params.Targets {
		r.Results[t.Name] = decide.Result{OK: ok, Streak: streak, Since: start.Add(time.Duration(rank) * time.Second)}
	}
	return r
}

func abstains(r decide.Report) decide.Report { r.Abstains = true; return r }
func stale(r decide.Report) decide.Report    { r.Age = params.Fresh + 1; return r }
func claims(r decide.Report, subject, id string) decide.Report {
	r.Claims = map[string]decide.Claim{subject: {Incident: decide.Incident{ID: id, Since: start}}}
	return r
}

func at(d time.Duration) decide.Now { return decide.Now{Elapsed: d, Wall: start.Add(d)} }

func TestVerdicts(t *testing.T) {
	down := func(rank int) decide.Report { return report(rank, false, 3) }
	up := func(rank int) decide.Report { return report(rank, true, 3) }
	tests := []struct {
		name    string
		reports []decide.Report
		want    decide.Status
	}{
		{"nobody", nil, decide.Up},
		{"all down", []decide.Report{down(1), down(2), down(3)}, decide.Down},
		{"two of three", []decide.Report{down(1), down(2), up(3)}, decide.Down},
		{"two of three, the third silent", []decide.Report{down(1), down(2)}, decide.Down},
		{"one of three", []decide.Report{down(1), up(2), up(3)}, decide.Up},
		{"one of one that speaks", []decide.Report{down(1)}, decide.Up},
		{"two, one abstaining", []decide.Report{down(1), abstains(down(2)), abstains(down(3))}, decide.Up},
		{"two, one stale", []decide.Report{down(1), stale(down(2)), up(3)}, decide.Up},
		{"too short", []decide.Report{report(1, false, 2), report(2, false, 2), report(3, false, 2)}, decide.Up},
		{"a region with one target down", func() []decide.Report {
			one := []decide.Report{up(1), up(2), up(3)}
			for _, r := range one {
				r.Results["us-east-live"] = decide.Result{Streak: 3, Since: start}
			}
			return one
		}(), decide.Down},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, _ := decide.Decide(params, decide.State{}, []decide.Report{up(1), up(2), up(3)}, at(0))
			require.Equal(t, decide.Up, s.Subjects["us-east"].Status)
			s, _ = decide.Decide(params, s, tt.reports, at(time.Minute))
			require.Equal(t, tt.want, s.Subjects["us-east"].Status)
		})
	}
}

// A verdict that a majority no longer shares stands, and is doubted as long.
func TestDoubt(t *testing.T) {
	down := func(rank int) decide.Report { return report(rank, false, 3) }
	for _, tt := range []struct {
		name    string
		reports []decide.Report
		doubted bool
	}{
		{"all agree", []decide.Report{down(1), down(2), down(3)}, false},
		{"two agree", []decide.Report{down(1), down(2), report(3, true, 1)}, false},
		{"two agree, the third is silent", []decide.Report{down(1), down(2), stale(down(3))}, false},
		{"one is left", []decide.Report{down(1), report(2, true, 1), report(3, true, 1)}, true},
		{"one is left, the others silent", []decide.Report{down(1), stale(down(2)), stale(down(3))}, true},
		{"one does not know by now", []decide.Report{down(1), stale(down(2)), report(3, false, 1)}, true},
		{"whoever decided abstains by now", []decide.Report{abstains(down(1)), abstains(down(2)), down(3)}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, _ := decide.Decide(params, decide.State{}, []decide.Report{down(1), down(2), down(3)}, at(0))
			require.Equal(t, decide.Down, s.Subjects["us-east"].Status)
			require.False(t, s.Subjects["us-east"].Doubted)
			s, events := decide.Decide(params, s, tt.reports, at(time.Minute))
			require.Equal(t, decide.Down, s.Subjects["us-east"].Status)
			require.Equal(t, tt.doubted, s.Subjects["us-east"].Doubted)
			for _, e := range events {
				require.NotEqual(t, "us-east", e.Subject)
			}
			s, _ = decide.Decide(params, s, []decide.Report{down(1), down(2), report(3, true, 9)}, at(2*time.Minute))
			require.False(t, s.Subjects["us-east"].Doubted, "they agree again")
			s, _ = decide.Decide(params, s, []decide.Report{report(1, true, 3), report(2, true, 3), down(3)}, at(3*time.Minute))
			require.Equal(t, decide.Up, s.Subjects["us-east"].Status)
			require.False(t, s.Subjects["us-east"].Doubted)
		})
	}
}

// Who is alone with the verdict that all is well keeps it, and knows that it is alone.
func TestDoubtWhileUp(t *testing.T) {
	up, down := func(rank int) decide.Report { return report(rank, true, 3) }, func(rank int) decide.Report { return report(rank, false, 3) }
	for _, tt := range []struct {
		name    string
		reports []decide.Report
		doubted bool
	}{
		{"all agree", []decide.Report{up(1), up(2), up(3)}, false},
		{"two agree", []decide.Report{up(1), up(2), down(3)}, false},
		{"the others are silent", []decide.Report{up(1), stale(up(2)), stale(up(3))}, true},
		{"alone, and not even sure", []decide.Report{report(1, false, 1), stale(up(2)), stale(up(3))}, true},
		{"others failed once", []decide.Report{up(1), report(2, false, 1), report(3, false, 1)}, true},
		{"others abstain", []decide.Report{up(1), abstains(up(2)), abstains(up(3))}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, _ := decide.Decide(params, decide.State{}, []decide.Report{up(1), up(2), up(3)}, at(0))
			require.False(t, s.Subjects["us-east"].Doubted)
			s, _ = decide.Decide(params, s, tt.reports, at(time.Minute))
			require.Equal(t, decide.Up, s.Subjects["us-east"].Status)
			require.Equal(t, tt.doubted, s.Subjects["us-east"].Doubted)
			s, _ = decide.Decide(params, s, []decide.Report{up(1), up(2), down(3)}, at(2*time.Minute))
			require.False(t, s.Subjects["us-east"].Doubted, "they agree again")
			sure := time.Duration(0)
			if tt.doubted {
				sure = time.Minute
			}
			require.Equal(t, sure, s.Subjects["us-east"].Sure-at(0).Elapsed)
		})
	}
}

func TestUncheckedIsNotUp(t *testing.T) {
	s, events := decide.Decide(params, decide.State{}, []decide.Report{report(1, true, 2), report(2, true, 2), report(3, true, 2)}, at(0))
	require.Equal(t, decide.Unknown, s.Subjects["us-east"].Status)
	require.Len(t, events, 1, "only that enough vantages vote")
}

func TestAnIncidentFromOpenToClose(t *testing.T) {
	all := func(ok bool) []decide.Report {
		return []decide.Report{report(1, ok, 3), report(2, ok, 3), report(3, ok, 3)}
	}
	s, _ := decide.Decide(params, decide.State{}, all(true), at(0))
	s, events := decide.Decide(params, s, all(false), at(time.Minute))
	require.Len(t, events, 2)
	open := events[1]
	require.Regexp(t, `^[A-Z2-7]{3}$`, open.Incident.ID)
	want := decide.Event{Subject: "us-east", Region: true, Status: decide.Down, Votes: 3, Voters: 3,
		Incident: decide.Incident{ID: open.Incident.ID, Since: start.Add(2 * time.Second)}} // the median
	require.Empty(t, cmp.Diff(want, open))

	s, events = decide.Decide(params, s, all(false), at(2*time.Minute))
	require.Empty(t, events, "a verdict is told once")
	s, events = decide.Decide(params, s, all(true), at(3*time.Minute))
	require.Equal(t, decide.Up, events[1].Status)
	require.Equal(t, open.Incident.ID, events[1].Incident.ID)

	// It comes again soon: the same incident flaps. Much later: another one.
	s, events = decide.Decide(params, s, all(false), at(4*time.Minute))
	require.Equal(t, open.Incident.ID, events[1].Incident.ID)
	require.True(t, s.Subjects["us-east"].Flapping)
	s, _ = decide.Decide(params, s, all(true), at(5*time.Minute))
	s, _ = decide.Decide(params, s, all(true), at(15*time.Minute-1))
	require.True(t, s.Subjects["us-east"].Flapping, "until it has been quiet for long enough")
	held := claims(report(2, true, 3), "us-east", open.Incident.ID)
	waiting, _ := decide.Decide(params, s, []decide.Report{report(1, true, 3), held, report(3, true, 3)}, at(15*time.Minute))
	require.True(t, waiting.Subjects["us-east"].Flapping, "while a vantage does not hold it to be over")
	s, _ = decide.Decide(params, s, all(true), at(15*time.Minute))
	require.Empty(t, s.Subjects["us-east"].Incident)
	_, events = decide.Decide(params, s, all(false), at(16*time.Minute))
	require.False(t, events[1].Flapping)
}

func TestAllHearThatASubjectFlaps(t *testing.T) {
	flapping := claims(report(2, false, 3), "us-east", "AAA")
	flapping.Claims["us-east"] = decide.Claim{Incident: flapping.Claims["us-east"].Incident, Flapping: true}
	s, _ := decide.Decide(params, decide.State{}, []decide.Report{report(1, false, 3), flapping, report(3, false, 3)}, at(0))
	require.True(t, s.Subjects["us-east"].Flapping, "though this vantage saw it go for the first time")
	require.False(t, s.Subjects["apex"].Flapping)
}

func TestOtherIncidentsHaveOtherNames(t *testing.T) {
	p := params
	p.Targets = nil
	for n := range 400 {
		p.Targets = append(p.Targets, decide.Target{Name: fmt.Sprint("t", n)})
	}
	down := report(1, false, 3)
	for _, t := range p.Targets {
		down.Results[t.Name] = decide.Result{Streak: 3, Since: start}
	}
	s, _ := decide.Decide(p, decide.State{}, []decide.Report{down, down, down}, at(0))
	seen := map[string]bool{}
	for name, subject := range s.Subjects {
		if subject.Open() {
			require.False(t, seen[subject.Incident.ID], name)
			seen[subject.Incident.ID] = true
		}
	}
	require.Len(t, seen, 400)
}

// What a region's loss explains is folded into it, from before the region's
// verdict until its incident is over everywhere.
func TestFolding(t *testing.T) {
	p := params
	p.Targets = append([]decide.Target{{Name: "www", Parents: []string{"us-east"}}}, params.Targets...)
	www := func(r decide.Report, region bool) decide.Report {
		for name := range r.Results {
			r.Results[name] = decide.Result{OK: !region || name == "apex", Streak: 3, Since: start}
		}
		r.Results["www"] = decide.Result{Streak: 3, Since: start}
		return r
	}
	all := func(region bool) []decide.Report {
		return []decide.Report{www(report(1, true, 3), region), www(report(2, true, 3), region), www(report(3, true, 3), region)}
	}
	folded := func(s decide.State) bool { return s.Subjects["www"].Folded }
	s, _ := decide.Decide(p, decide.State{}, all(false), at(0))
	require.True(t, folded(s), "it may yet be part of a region's loss")
	alone, _ := decide.Decide(p, s, all(false), at(p.FoldWait))
	require.False(t, folded(alone))
	s, _ = decide.Decide(p, s, all(true), at(p.FoldWait))
	require.True(t, folded(s))
	s, _ = decide.Decide(p, s, all(true), at(time.Hour))
	require.True(t, folded(s))
	id := s.Subjects["us-east"].Incident.ID
	after := all(false)
	after[1] = claims(after[1], "us-east", id)
	s, _ = decide.Decide(p, s, after, at(61*time.Minute))
	require.True(t, folded(s), "traffic is not home")
	s, _ = decide.Decide(p, s, all(false), at(62*time.Minute))
	require.False(t, folded(s), "it was www alone")
}

// A target may have a threshold of its own, as the silence of a vantage has.
func TestOwnThreshold(t *testing.T) {
	p := params
	p.Targets = append([]decide.Target{{Name: "vantage-v3", OpenAfter: 10, Parents: []string{decide.Blind}}}, params.Targets...)
	silent := func(streak int) []decide.Report {
		var reports []decide.Report
		for rank := 1; rank <= 2; rank++ { // the third says nothing
			r := report(rank, true, 3)
			r.Results["vantage-v3"] = decide.Result{Streak: streak, Since: start}
			reports = append(reports, r)
		}
		return reports
	}
	s, _ := decide.Decide(p, decide.State{}, silent(9), at(0))
	require.Equal(t, decide.Unknown, s.Subjects["vantage-v3"].Status)
	s, _ = decide.Decide(p, s, silent(10), at(time.Second))
	require.True(t, s.Subjects["vantage-v3"].Open())
	s, _ = decide.Decide(p, s, silent(10), at(time.Minute))
	require.False(t, s.Subjects["vantage-v3"].Folded)
	s, _ = decide.Decide(p, s, silent(10)[:1], at(time.Hour))
	s, _ = decide.Decide(p, s, silent(10)[:1], at(2*time.Hour))
	require.True(t, s.Subjects[decide.Blind].Open())
	require.True(t, s.Subjects["vantage-v3"].Folded, "blindness tells of it")
}

func TestVantagesAgreeOnOneName(t *testing.T) {
	reports := []decide.Report{report(1, false, 3), claims(report(2, false, 3), "us-east", "AAA"), claims(report(3, false, 3), "us-east", "BBB")}
	s, _ := decide.Decide(params, decide.State{}, reports, at(0))
	require.Equal(t, "AAA", s.Subjects["us-east"].Incident.ID, "who opens late adopts")
	reports[0] = claims(reports[0], "us-east", "CCC")
	s, _ = decide.Decide(params, s, reports, at(time.Second))
	require.Equal(t, "CCC", s.Subjects["us-east"].Incident.ID, "the lowest rank wins")
	reports[0] = stale(reports[0])
	s, _ = decide.Decide(params, s, reports, at(2*time.Second))
	require.Equal(t, "AAA", s.Subjects["us-east"].Incident.ID, "among those that are there")
}

func TestBlind(t *testing.T) {
	one := []decide.Report{report(1, true, 3), abstains(report(2, true, 3))}
	three := []decide.Report{report(1, true, 3), report(2, true, 3), report(3, true, 3)}
	status := func(s decide.State) decide.Status { return s.Subjects[decide.Blind].Status }

	s, _ := decide.Decide(params, decide.State{}, three, at(0))
	s, _ = decide.Decide(params, s, one, at(time.Minute))
	s, events := decide.Decide(params, s, one, at(11*time.Minute-1))
	require.Empty(t, events)
	blind, events := decide.Decide(params, s, one, at(11*time.Minute))
	require.Equal(t, decide.Down, status(blind))
	require.Equal(t, start.Add(time.Minute), events[0].Incident.Since)
	// A moment of sight does not end it, but starts the count anew.
	moment, _ := decide.Decide(params, blind, three, at(12*time.Minute))
	require.Equal(t, decide.Down, status(moment))
	ended, _ := decide.Decide(params, moment, three, at(12*time.Minute+params.Settle))
	require.Equal(t, decide.Up, status(ended))
	interrupted, _ := decide.Decide(params, s, three, at(9*time.Minute))
	interrupted, _ = decide.Decide(params, interrupted, one, at(10*time.Minute))
	interrupted, _ = decide.Decide(params, interrupted, one, at(15*time.Minute))
	require.Equal(t, decide.Up, status(interrupted))
}

func TestRestoredIncidentStaysOpen(t *testing.T) {
	s := decide.Restore(0, map[string]decide.Subject{"apex": {Status: decide.Down, Incident: decide.Incident{ID: "7K2", Since: start}}})
	s, events := decide.Decide(params, s, []decide.Report{report(1, false, 3), report(2, false, 3)}, at(time.Second))
	require.Equal(t, "7K2", s.Subjects["apex"].Incident.ID)
	for _, e := range events {
		require.NotEqual(t, "apex", e.Subject, "already known")
	}
}

// Whatever the vantages say: abstainers and the stale change nothing, a verdict
// needs a majority of all that are configured, the order of reports does not
// matter, and inputs are left alone.
func TestProperties(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 60 {
		p := params
		p.Vantages = 1 + random.IntN(5)
		state := decide.State{}
		for round := range 30 {
			var reports, voting []decide.Report
			votes := map[decide.Status]int{}
			for rank := 1; rank <= p.Vantages; rank++ {
				r := report(rank, random.IntN(2) == 0, 1+random.IntN(4))
				switch random.IntN(6) {
				case 0:
					r = abstains(r)
				case 1:
					r = stale(r)
				case 2:
					continue
				default:
					voting = append(voting, r)
					if result := r.Results["apex"]; result.Streak >= 3 {
						votes[map[bool]decide.Status{true: decide.Up, false: decide.Down}[result.OK]]++
					}
				}
				reports = append(reports, r)
			}
			now := at(time.Duration(round) * 10 * time.Second)
			before := maps.Clone(state.Subjects)
			next, events := decide.Decide(p, state, reports, now)
			require.Empty(t, cmp.Diff(before, state.Subjects, cmpopts.EquateEmpty()))

			only, onlyEvents := decide.Decide(p, state, voting, now)
			require.Empty(t, cmp.Diff(only.Subjects, next.Subjects))
			require.Empty(t, cmp.Diff(onlyEvents, events))
			random.Shuffle(len(reports), func(i, k int) { reports[i], reports[k] = reports[k], reports[i] })
			shuffled, _ := decide.Decide(p, state, reports, now)
			require.Empty(t, cmp.Diff(shuffled.Subjects, next.Subjects))

			if was, is := state.Subjects["apex"].Status, next.Subjects["apex"].Status; was != is {
				require.Greater(t, 2*votes[is], p.Vantages)
			}
			state = next
		}
	}
}
