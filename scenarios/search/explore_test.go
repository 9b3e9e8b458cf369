package search

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/scenarios"
	"github.com/espra/protoplex/scenarios/oracle"
)

// TestExploredProgram plays the run of a seed for TestExplore.
func TestExploredProgram(t *testing.T) {
	seed := os.Getenv("SCENARIOS_EXPLORED")
	say := func(outcome string, code int) {
		fmt.Println(outcome)
		os.Exit(code)
	}
	shout := func(text string, code int) {
		fmt.Fprintln(os.Stderr, text)
		os.Exit(code)
	}
	bad := func(name, first string) string {
		return `{"verdicts":[{"name":"quiet","ok":true},{"name":"` + name + `","measured":"2","budget":"0","first":"` + first + `"}]}`
	}
	switch seed {
	case "":
		return // only a part of TestExplore
	case "12":
		say(bad("gaps", "ana at 1:02"), 1)
	case "14":
		say(bad("gaps", "raj at 3:04"), 1)
	case "15":
		say(`{"idle":["dark"]}`, 1)
	case "16":
		shout("panic: oh\n\ngoroutine 7 [running]:\nmain.main()\ngithub.com/espra/protoplex/nodes/live.(*hub).publish(0x1)", 2)
	case "17":
		shout("sim: virtual time has stood still for 30s of real time; all goroutines:", 4)
	case "18":
		shout("protoplex: 1 goroutines survived their machines; the first:\ngithub.com/espra/protoplex/nodes/seed.Run(0x1)", 4)
	case "19":
		shout("protoplex: disk full", 4)
	case "20":
		select {} // for ever
	case "1021":
		say(`{"verdicts":[{"name":"gaps","first":"ana"},{"name":"gaps","first":"raj"}]}`, 1)
	default:
		say(`{"held":true}`, 0)
	}
}

func explored(ctx context.Context, seed uint64, cores int) *exec.Cmd {
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestExploredProgram$")
	cmd.Env = append(os.Environ(), "SCENARIOS_EXPLORED="+strconv.FormatUint(seed, 10), "GOMAXPROCS="+strconv.Itoa(cores))
	return cmd
}

func TestExplore(t *testing.T) {
	var told atomic.Uint64
	e := Explorer{Command: explored, Jobs: 3, Progress: func(played, found uint64) { told.Store(played*100 + found) }}
	x, err := e.Explore(t.Context(), 11, 9)
	require.NoError(t, err)
	require.Equal(t, uint64(907), told.Load())
	require.Empty(t, cmp.Diff(Exploration{First: 11, Seeds: 9, Played: 9, Next: 20, Groups: []Group{
		{Finding{Kind: Crash, Cause: "panic: oh in github.com/espra/protoplex/nodes/live.(*hub).publish", Detail: "panic: oh\n\ngoroutine 7 [running]:\nmain.main()\ngithub.com/espra/protoplex/nodes/live.(*hub).publish(0x1)"}, []uint64{16}},
		{Finding{Kind: Stuck, Cause: "virtual time stood still", Detail: "sim: virtual time has stood still for 30s of real time; all goroutines:"}, []uint64{17}},
		{Finding{Kind: Leak, Cause: "code outlived its machine in github.com/espra/protoplex/nodes/seed.Run", Detail: "protoplex: 1 goroutines survived their machines; the first:\ngithub.com/espra/protoplex/nodes/seed.Run(0x1)"}, []uint64{18}},
		{Finding{Kind: Other, Cause: "exit status 4", Detail: "protoplex: disk full"}, []uint64{19}},
		{Finding{Kind: Broken, Cause: "gaps", Detail: "2, budget 0; first: ana at 1:02"}, []uint64{12, 14}},
		{Finding{Kind: Idle, Cause: "dark", Detail: "it touched nothing"}, []uint64{15}},
	}}, x))
}

// A run that never ends is a finding, and not the end of the search.
func TestExploreLimit(t *testing.T) {
	e := Explorer{Command: explored, Limit: time.Second}
	x, err := e.Explore(t.Context(), 20, 1)
	require.NoError(t, err)
	require.Equal(t, []Group{{Finding{Kind: Stuck, Cause: "the run took too long", Detail: "stopped after 1s of real time"}, []uint64{20}}}, x.Groups)
}

// A run that is out of time once and not the other time, as on a machine that was
// asleep, does not say that its seed does not replay.
func TestExploreLateOnce(t *testing.T) {
	for late := 1; late <= 2; late++ {
		t.Run(fmt.Sprint("the ", late, ". time"), func(t *testing.T) {
			t.Parallel()
			plays := 0
			e := Explorer{Limit: 5 * time.Second, Twice: 1, Command: func(ctx context.Context, seed uint64, cores int) *exec.Cmd {
				if plays++; plays == late {
					seed = 20 // for ever
				}
				return explored(ctx, seed, cores)
			}}
			x, err := e.Explore(t.Context(), 11, 1)
			require.NoError(t, err)
			require.Equal(t, 2, plays)
			require.Empty(t, x.Groups)
		})
	}
}

// Who stops the search keeps what it has found, and is told where to go on.
func TestExploreStopped(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	e := Explorer{Command: explored, Jobs: 2, Progress: func(played, _ uint64) {
		if played == 2 {
			cancel() // seed 20 runs for ever
		}
	}}
	x, err := e.Explore(ctx, 19, 100)
	require.NoError(t, err)
	require.Equal(t, uint64(2), x.Played)
	require.Equal(t, uint64(20), x.Next)
	require.Len(t, x.Groups, 1)
	require.Equal(t, []uint64{19}, x.Groups[0].Seeds)
}

// A story may ask for the same twice, after two of its faults.
func TestExploreTwoOfACause(t *testing.T) {
	e := Explorer{Command: explored}
	x, err := e.Explore(t.Context(), 1021, 1)
	require.NoError(t, err)
	require.Len(t, x.Groups, 1)
	require.Equal(t, []uint64{1021}, x.Groups[0].Seeds)
	require.Contains(t, x.Groups[0].Detail, "ana")
}

// A run that could not be written down is told, and played again by who goes on.
func TestExploreNotWrittenDown(t *testing.T) {
	full := errors.New("disk full")
	e := Explorer{Command: explored, Played: func(r Run) error {
		if r.Seed == 12 {
			return full
		}
		return nil
	}}
	x, err := e.Explore(t.Context(), 11, 9)
	require.ErrorIs(t, err, full)
	require.Len(t, x.Groups, 1)
	require.Equal(t, uint64(12), x.Next)
}

// What was not observed is another finding than what was observed to be wrong, so
// that a story is not made smaller until nobody can see anything.
func TestBlindFinding(t *testing.T) {
	o := scenarios.Outcome{Verdicts: []oracle.Verdict{
		oracle.NobodyPaged(oracle.History{Lasts: time.Minute}, oracle.Peace{Admins: []string{"ana"}, Vantages: []string{"london"}, Regions: []string{"us-east"}}),
		oracle.NobodyPaged(oracle.History{Lasts: time.Minute, Texts: []oracle.Text{{To: "ana", Body: "DOWN"}}},
			oracle.Peace{Admins: []string{"ana"}, Vantages: []string{"london"}, Regions: []string{"us-east"}}),
		oracle.NobodyPaged(oracle.History{}, oracle.Peace{Admins: []string{"ana"}}),
		oracle.NobodyPaged(oracle.History{Lasts: time.Minute}, oracle.Peace{Admins: []string{"ana"}}),
	}}
	var causes []string
	for _, f := range findingsOf(o) {
		causes = append(causes, f.Cause)
	}
	require.Equal(t, []string{"texts to anybody, not observed", "texts to anybody", "texts to anybody, not observed"}, causes)
}
