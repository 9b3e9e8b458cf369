package story

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A fault that strikes again is over after the last time.
func TestOverRepeated(t *testing.T) {
	s := Story{Timeline: []Event{
		{ID: "flap", At: 3 * time.Minute, Latest: 3 * time.Minute, For: 30 * time.Second, Longest: time.Minute, Times: 4, Every: 4 * time.Minute, Fault: "region-lost"},
		{ID: "other", At: 5 * time.Minute, Latest: 5 * time.Minute, For: time.Minute, Longest: time.Minute, Times: 1, Fault: "region-lost"},
	}}
	at, id, ok := s.Over()
	require.True(t, ok)
	require.Equal(t, "flap", id)
	require.Equal(t, 16*time.Minute, at)
}
