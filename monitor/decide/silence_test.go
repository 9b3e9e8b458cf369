package decide_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/monitor/decide"
)

func silence(id, subject string, from, until time.Duration) decide.Silence {
	return decide.Silence{ID: id, Subject: subject, From: start.Add(from), Until: start.Add(until)}
}

func TestSilenced(t *testing.T) {
	keeps := silence("K", "us-east", 0, time.Minute)
	keeps.Keep = true
	list := []decide.Silence{
		silence("A", "us-east", time.Hour, 2*time.Hour), silence("B", "us-east", 90*time.Minute, 3*time.Hour),
		silence("C", decide.Everything, 5*time.Hour, 6*time.Hour), silence("D", "us-east", 0, 10*time.Minute), keeps,
	}
	for _, c := range []struct {
		subject string
		after   time.Duration
		want    string
	}{
		{"us-east", -1, ""},
		{"us-east", 0, "K"},
		{"us-east", time.Minute, "D"},
		{"us-east", time.Hour - 1, ""},
		{"us-east", time.Hour, "A"},
		{"us-east", 100 * time.Minute, "B"},
		{"us-east", 3 * time.Hour, ""},
		{"eu-west", time.Hour, ""},
		{"eu-west", 5 * time.Hour, "C"},
		{decide.Blind, 6*time.Hour - 1, "C"},
	} {
		got, ok := decide.Silenced(list, c.subject, start.Add(c.after))
		require.Equal(t, c.want, got.ID, "%s after %s", c.subject, c.after)
		require.Equal(t, c.want != "", ok)
	}
}

// Merging is the same in any order and any number of times, so vantages end up
// with one list however it spreads.
func TestMerge(t *testing.T) {
	long, lifted := silence("A", "us-east", 0, 5*time.Hour), silence("A", "us-east", 0, time.Hour)
	other := silence("B", "apex", 0, 2*time.Hour)
	now := start.Add(2 * time.Hour)
	want := []decide.Silence{lifted, other}
	a, b := []decide.Silence{long, other}, []decide.Silence{lifted}
	require.Equal(t, want, decide.Merge(now, a, b))
	require.Equal(t, want, decide.Merge(now, b, a))
	require.Equal(t, want, decide.Merge(now, decide.Merge(now, a, b), a))
	require.Equal(t, []decide.Silence{other}, decide.Merge(start.Add(time.Hour+decide.MaxSilence), a, b), "what is long over is forgotten")
	require.False(t, long.On("us-east", start.Add(decide.MaxSilence)), "and could not come back")
}
