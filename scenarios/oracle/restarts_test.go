package oracle_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/scenarios/oracle"
)

func TestRestarts(t *testing.T) {
	const s = time.Second
	f := oracle.Fault{ID: "x", From: 10 * s, Until: 60 * s}
	start := func(at time.Duration, machine, place string) oracle.Started {
		return oracle.Started{At: at, Machine: machine, Place: place}
	}
	before := []oracle.Started{start(s, "p", "0"), start(s, "p", "1"), start(2*s, "p", "0")}
	h := oracle.History{Started: append(before[:3:3],
		start(11*s, "p", "0"), start(11*s, "p", "1"), start(12*s, "q", "0"), start(13*s, "p", "0"), start(14*s, "p", "1"), start(61*s, "p", "1"))}
	v := oracle.Restarts(h, f, 2)
	require.True(t, v.OK)
	require.Equal(t, 5, v.Judged)
	require.Equal(t, "2", v.Measured)

	v = oracle.Restarts(h, f, 1)
	require.False(t, v.OK)
	require.Equal(t, "p by 0:13 had started child 0 2 times since 0:10", v.First)
	require.False(t, oracle.Restarts(oracle.History{Started: before}, f, 2).OK, "nothing was judged")
}
