package oracle_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/scenarios/oracle"
)

// A client that was stopped comes back without a memory, so that it has to know
// nothing of what came before; one that only lost its tunnel has.
func TestLiveStreamsForget(t *testing.T) {
	at := func(n uint64) oracle.Position { return oracle.Position{Incarnation: "us-east-1-a", Offset: n} }
	for why, held := range map[string]bool{oracle.Stopped: true, "silent": false} {
		h := oracle.History{Lasts: time.Minute, Streams: []oracle.Stream{
			{At: 1, Client: "c", Host: "h", Key: "k", Kind: oracle.Subscribed, Channel: "x", Recovered: oracle.Fresh, Position: at(4)},
			{At: 2, Client: "c", Host: "h", Key: "k", Kind: oracle.Disconnected, Why: why},
			{At: 3, Client: "c", Host: "h", Key: "k", Kind: oracle.Subscribed, Channel: "x", Recovered: oracle.Fresh, Position: at(9)},
		}}
		v := oracle.LiveStreams(h)
		require.Equal(t, held, v.OK, "%s: %s", why, v.First)
	}
}

// Each condition that blocks is named, and what is well is counted.
func TestConverged(t *testing.T) {
	names := oracle.Names{Watched: []string{"www"}, Targets: map[string]string{"lb-us": "us-east", "lb-eu": "eu-west"}}
	homes := map[string]string{"www": "us-east"}
	const over, within = time.Minute, time.Minute
	base := func() oracle.History {
		return oracle.History{
			Lasts: 3 * time.Minute,
			Pages: []oracle.Page{{At: 10 * time.Second, Client: "ana", Host: "www", Outcome: oracle.OK}},
			Streams: []oracle.Stream{{At: 11 * time.Second, Client: "raj", Host: "us-1", Key: "k", Kind: oracle.Subscribed, Channel: "x",
				Recovered: oracle.Fresh, Position: oracle.Position{Incarnation: "us-east-1-a"}}},
			Served: []oracle.Served{{Provider: "linode", Authority: "ns1", Name: "www", Targets: []string{"lb-us"}, Home: "us-east"}},
			Tables: []oracle.Heard{{At: 1, Region: "us-east", Process: "p", Epoch: 1}, {At: 1, Region: "us-east", Process: "q", Epoch: 1}},
		}
	}
	for _, c := range []struct {
		name   string
		change func(*oracle.History)
		broken string
		first  string
	}{
		{"all is well", func(*oracle.History) {}, "", ""},
		{"a client fails to the end", func(h *oracle.History) {
			h.Pages = append(h.Pages, oracle.Page{At: 50 * time.Second, Client: "ana", Host: "www", Outcome: oracle.Failed, Error: "dial timeout"})
		}, "clients not served in the end", "ana at 2:00, since 0:50: dial timeout"},
		{"a client that has only just lost something", func(h *oracle.History) {
			h.Pages = append(h.Pages, oracle.Page{At: 119 * time.Second, Client: "ana", Host: "www", Outcome: oracle.Failed, Error: "dial timeout"})
		}, "", ""},
		{"a name that is away", func(h *oracle.History) {
			h.Served = append(h.Served, oracle.Served{At: time.Minute, Provider: "linode", Authority: "ns1", Name: "www", Targets: []string{"lb-eu"}, Home: "eu-west"})
		}, "names not at home in the end", `linode at 2:00, ns1 has www in "eu-west", not in us-east`},
		{"an older table", func(h *oracle.History) {
			h.Tables = append(h.Tables, oracle.Heard{At: time.Minute, Region: "us-east", Process: "p", Epoch: 2})
		}, "on an older table, 1m on", "q at 2:00 holds table 1.0 of us-east, p holds 2.0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := base()
			c.change(&h)
			var broken, first string
			for _, v := range oracle.Converged(h, over, within, names, homes, true) {
				require.Positive(t, v.Judged, v.Name)
				if !v.OK {
					broken, first = v.Name, v.First
				}
			}
			require.Equal(t, c.broken, broken)
			require.Equal(t, c.first, first)
		})
	}
}
