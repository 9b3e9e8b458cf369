package seed

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/nodes/meta"
)

func TestQueue(t *testing.T) {
	q := newQueue()
	for i := range 3 {
		require.True(t, q.push(meta.Frame{Type: fmt.Sprint(i)}))
	}
	q.end("goodbye")
	q.end("twice")
	require.True(t, q.push(meta.Frame{Type: "late"}))
	frames, _ := q.next(nil)
	require.Equal(t, []meta.Frame{{Type: "0"}, {Type: "1"}, {Type: "2"}}, frames)
	frames, reason := q.next(nil)
	require.Empty(t, frames)
	require.Equal(t, "goodbye", reason)
}

// One who takes nothing is cut, and keeps no memory.
func TestSlowReader(t *testing.T) {
	q := newQueue()
	for range maxQueue {
		require.True(t, q.push(meta.Frame{Type: "x"}))
	}
	require.False(t, q.push(meta.Frame{Type: "x"}))
	require.True(t, q.push(meta.Frame{Type: "x"}), "said once")
	frames, reason := q.next(nil)
	require.Empty(t, frames)
	require.Equal(t, "too slow", reason)
}
