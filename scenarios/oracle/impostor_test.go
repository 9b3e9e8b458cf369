package oracle

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestImpostorRefused(t *testing.T) {
	v := ImpostorRefused(History{Visits: []Visit{{At: time.Second, From: "b"}, {At: time.Minute, From: "a"}}})
	require.True(t, v.OK)
	require.Equal(t, 2, v.Judged)
	v = ImpostorRefused(History{Visits: []Visit{{At: time.Second, From: "b"}, {At: time.Minute, From: "a", Believed: true}}})
	require.False(t, v.OK)
	require.Equal(t, "a at 1:00 took the impostor's word", v.First)
	require.False(t, ImpostorRefused(History{}).OK, "nobody was led astray")
}
