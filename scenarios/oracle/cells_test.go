package oracle_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/scenarios/oracle"
)

func led(at time.Duration, name string, epoch uint64) oracle.Led {
	return oracle.Led{At: at, Region: "us-east", Name: name, Epoch: epoch}
}

func heard(at time.Duration, process string, epoch, revision uint64) oracle.Heard {
	return oracle.Heard{At: at, Region: "us-east", Process: process, Epoch: epoch, Revision: revision}
}

func TestOneLeader(t *testing.T) {
	const s = time.Second
	for name, tt := range map[string]struct {
		h     oracle.History
		first string // empty if it holds
	}{
		"grows":          {oracle.History{Leaders: []oracle.Led{led(s, "a", 1), led(9*s, "b", 2)}, Tables: []oracle.Heard{heard(2*s, "p", 1, 1), heard(3*s, "p", 1, 2), heard(9*s, "p", 2, 1)}}, ""},
		"same epoch":     {oracle.History{Leaders: []oracle.Led{led(s, "a", 1), led(9*s, "b", 1)}}, "b at 0:09 leads us-east in epoch 1, as a did since 0:01"},
		"table of old":   {oracle.History{Tables: []oracle.Heard{heard(s, "p", 2, 1), heard(2*s, "p", 1, 9)}}, "p at 0:02 took table 1.9 after 2.1"},
		"older revision": {oracle.History{Tables: []oracle.Heard{heard(s, "p", 2, 3), heard(2*s, "p", 2, 2)}}, "p at 0:02 took table 2.2 after 2.3"},
	} {
		t.Run(name, func(t *testing.T) {
			v := oracle.OneLeader(tt.h)
			require.Equal(t, tt.first == "", v.OK)
			require.Equal(t, tt.first, v.First)
		})
	}
	require.False(t, oracle.OneLeader(oracle.History{}).OK, "nothing was judged")
}

func TestLeaderStays(t *testing.T) {
	h := oracle.History{Leaders: []oracle.Led{led(time.Second, "a", 1), {At: 2 * time.Second, Region: "eu-west", Name: "c", Epoch: 1}}}
	v := oracle.LeaderStays(h)
	require.True(t, v.OK)
	require.Equal(t, 2, v.Judged)
	h.Leaders = append(h.Leaders, led(9*time.Second, "b", 2))
	require.Equal(t, "b at 0:09 leads us-east in epoch 2, as a did in epoch 1 since 0:01", oracle.LeaderStays(h).First)
	require.False(t, oracle.LeaderStays(oracle.History{}).OK, "nothing was judged")
}

// What one process says at one instant is sorted by its text, where 1.10 is before 1.9.
func TestTablesOfOneInstantHaveNoOrder(t *testing.T) {
	h := oracle.History{Tables: []oracle.Heard{heard(time.Second, "p", 1, 10), heard(time.Second, "p", 1, 9)}}
	h.Sort()
	require.True(t, oracle.OneLeader(h).OK)
}

func TestTakenOver(t *testing.T) {
	f := oracle.Fault{ID: "x", From: 10 * time.Second, Until: time.Minute}
	h := oracle.History{Lasts: time.Hour, Leaders: []oracle.Led{led(time.Second, "a", 1), led(28*time.Second, "b", 2)}}
	v := oracle.TakenOver(h, f, "us-east", 20*time.Second)
	require.True(t, v.OK)
	require.Equal(t, "18 s", v.Measured)
	v = oracle.TakenOver(h, f, "us-east", 17*time.Second)
	require.False(t, v.OK)
	require.Equal(t, "nobody at 0:27 led us-east; b did at 0:28", v.First)
	require.Equal(t, "never", oracle.TakenOver(h, f, "eu-west", time.Minute).Measured)
}

func TestTablesAgree(t *testing.T) {
	f := oracle.Fault{ID: "x", From: 10 * time.Second, Until: 20 * time.Second}
	h := oracle.History{Tables: []oracle.Heard{
		heard(time.Second, "p", 1, 1), heard(time.Second, "q", 1, 1), heard(21*time.Second, "p", 2, 1), heard(40*time.Second, "q", 2, 1),
	}}
	v := oracle.TablesAgree(h, f, 30*time.Second)
	require.True(t, v.OK)
	require.Equal(t, 2, v.Judged)
	v = oracle.TablesAgree(h, f, 10*time.Second)
	require.False(t, v.OK)
	require.Equal(t, "q at 0:30 holds table 1.1 of us-east, p holds 2.1", v.First)
	require.False(t, oracle.TablesAgree(oracle.History{}, f, time.Second).OK)

	h.Leaders = []oracle.Led{led(time.Second, "a", 1), led(12*time.Second, "b", 3), led(25*time.Second, "c", 4)}
	v = oracle.TablesAgree(h, f, 30*time.Second)
	require.False(t, v.OK, "they agree on a table of nobody who leads")
	require.Equal(t, "p at 0:50 holds table 2.1 of us-east, which b leads in epoch 3 since 0:12", v.First)
}
