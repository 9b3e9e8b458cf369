package oracle

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestCourse(t *testing.T) {
	const s = time.Second
	h := History{Lasts: 4 * s}
	h.Pages = []Page{
		{At: s / 2, Client: "a", Outcome: OK, Latency: 100 * time.Millisecond},
		{At: s / 2, Client: "b", Outcome: Unknown, Latency: 300 * time.Millisecond, Error: "timeout"},
		{At: 3 * s, Client: "a", Outcome: OK, Latency: 2500 * time.Millisecond}, // asked in the first step
		{At: 3 * s, Client: "b", Outcome: Failed, Error: Stopped},               // says nothing
	}
	h.Streams = []Stream{
		{At: s + 1, Client: "a", Kind: Connected, Latency: 1},
		{At: 2*s + 1, Client: "b", Kind: Connected, Latency: 1},
		{At: 3*s + 1, Client: "a", Kind: Disconnected, Why: "reset"},
		{At: 3*s + 2, Client: "a", Kind: Refused, Why: "refused"},
	}
	require.Equal(t, Course{
		Step: s,
		OK:   []int{2, 1, 1, 0}, Failed: []int{1, 0, 0, 1},
		P50:  []time.Duration{300 * time.Millisecond, 1, 1, 0},
		P99:  []time.Duration{2500 * time.Millisecond, 1, 1, 0},
		Live: []int{0, 1, 2, 1},
	}, CourseOf(h))
	require.Equal(t, Course{}.P50, CourseOf(History{}).P50)
}

func TestCourseSteps(t *testing.T) {
	for lasts, step := range map[time.Duration]time.Duration{
		time.Second: time.Second, 4 * time.Minute: time.Second, 5 * time.Minute: 2 * time.Second,
		20 * time.Minute: 5 * time.Second, 40 * time.Minute: 10 * time.Second, time.Hour: 20 * time.Second,
	} {
		c := CourseOf(History{Lasts: lasts})
		require.Equal(t, step, c.Step, lasts)
		require.LessOrEqual(t, len(c.OK), courseSteps)
		require.Equal(t, -1*time.Nanosecond, c.P99[0])
	}
}
