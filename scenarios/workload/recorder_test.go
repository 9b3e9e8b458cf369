package workload_test

import (
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/scenarios/oracle"
	"github.com/espra/protoplex/scenarios/workload"
)

func TestLogDoesNotDependOnWhoIsHeardFirst(t *testing.T) {
	record := func(clients ...string) oracle.History {
		log := workload.NewLog(func() time.Duration { return 7 * time.Second })
		var wg sync.WaitGroup
		for _, c := range clients {
			wg.Go(func() {
				for _, key := range []string{"k", "l"} {
					log.Stream(oracle.Stream{Client: c, Key: key, Kind: oracle.Connected})
					log.Stream(oracle.Stream{Client: c, Key: key, Kind: oracle.Disconnected})
				}
				log.PageLoad(oracle.Page{Client: c, Outcome: oracle.OK})
				log.PageLoad(oracle.Page{Client: c, Outcome: oracle.Failed})
				log.Published(oracle.Publish{Client: c, Data: "1"})
				log.Published(oracle.Publish{Client: c, Data: "2"})
			})
		}
		wg.Wait()
		return log.History()
	}
	want := record("anna", "ben", "carl")
	require.Len(t, want.Streams, 12)
	require.Equal(t, oracle.Stream{At: 7 * time.Second, Client: "anna", Seq: 1, Key: "k", Kind: oracle.Connected}, want.Streams[0])
	require.Equal(t, oracle.Page{At: 7 * time.Second, Client: "anna", Seq: 2, Outcome: oracle.Failed}, want.Pages[1])
	require.Equal(t, 7*time.Second, want.Lasts)
	require.Empty(t, cmp.Diff(want, record("carl", "anna", "ben")))
}

// A client that is gone leaves no tunnel behind.
func TestGone(t *testing.T) {
	log := workload.NewLog(func() time.Duration { return time.Second })
	for _, c := range []string{"anna", "ben"} {
		for _, key := range []string{"k", "l"} {
			log.Stream(oracle.Stream{Client: c, Host: "h", Key: key, Kind: oracle.Connected})
		}
	}
	log.Gone("anna")
	log.Gone("nobody")
	var gone []string
	for _, e := range log.History().Streams {
		if e.Kind == oracle.Disconnected {
			require.Equal(t, oracle.Stopped, e.Why)
			gone = append(gone, e.Client+e.Host+e.Key)
		}
	}
	require.Equal(t, []string{"annahk", "annahl"}, gone)
}
