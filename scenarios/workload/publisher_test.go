package workload_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/scenarios/oracle"
	"github.com/espra/protoplex/scenarios/workload"
)

func (w *world) publisher(host string) workload.Publisher {
	return workload.Publisher{ID: "pub-1", Host: host, Key: "room.1", Channels: []string{"a", "b"}, Roots: w.roots, Pace: w.pace, Recorder: w.tape}
}

func TestPublisher(t *testing.T) {
	w := newWorld(t)
	n := 0
	stop := w.start(w.publisher(w.serve("us-1.live.espra.com", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		n++ // one connection, so one goroutine
		body, err := io.ReadAll(r.Body)
		want := fmt.Sprintf("POST /live/room.1/%s pub-1-%d", []string{"b", "a"}[n%2], n)
		if got := fmt.Sprintf("%s %s %s", r.Method, r.URL.Path, body); err != nil || got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		fmt.Fprintf(rw, `{"position":{"incarnation":"%s","offset":%d}}`, us1, n)
	}))))
	for i := range 4 {
		p := next[oracle.Publish](w)
		p.Latency = 0
		require.Empty(t, cmp.Diff(oracle.Publish{
			Client: "pub-1", Host: "us-1.live.espra.com", Key: "room.1", Channel: []string{"a", "b"}[i%2],
			Data: fmt.Sprintf("pub-1-%d", i+1), Outcome: oracle.OK, Position: oracle.Position{Incarnation: us1, Offset: uint64(i + 1)},
		}, p))
	}
	stop()
}

func TestPublisherOfLongMessages(t *testing.T) {
	w := newWorld(t)
	p := w.publisher(w.serve("us-1.live.espra.com", status(503)))
	p.Size = 1000
	stop := w.start(p)
	for i := range 10 { // the tenth name is longer than the first
		data := next[oracle.Publish](w).Data
		require.Len(t, data, 1000)
		require.Equal(t, fmt.Sprintf("pub-1-%d", i+1), strings.TrimRight(data, "."))
	}
	stop()
}

func TestPublisherTellsFailedFromUnknown(t *testing.T) {
	say := func(s string) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { io.WriteString(rw, s) })
	}
	for name, c := range map[string]struct {
		h       http.Handler
		outcome oracle.Outcome
		class   string
	}{
		"no owner":          {status(503), oracle.Failed, "status 503"},
		"not its key":       {status(421), oracle.Failed, "status 421"},
		"moved":             {http.RedirectHandler("/", 302), oracle.Failed, "status 302"},
		"broken on the way": {status(502), oracle.Unknown, "status 502"},
		"not JSON":          {say("fine"), oracle.Unknown, "protocol"},
		"no position":       {say("{}"), oracle.Unknown, "protocol"},
		"hung up":           {http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }), oracle.Unknown, "closed"},
		"no answer":         {hang, oracle.Unknown, "timeout"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.pace.Request = 200 * time.Millisecond
			stop := w.start(w.publisher(w.serve("us-1.live.espra.com", c.h)))
			for range 2 {
				p := next[oracle.Publish](w)
				require.Equal(t, c.outcome, p.Outcome)
				require.Equal(t, c.class, p.Error)
				require.Zero(t, p.Position)
			}
			stop()
		})
	}
	t.Run("never connected", func(t *testing.T) {
		w := newWorld(t)
		w.m.names["us-1.live.espra.com"] = []string{hole}
		w.start(w.publisher("us-1.live.espra.com"))
		p := next[oracle.Publish](w)
		require.Equal(t, oracle.Failed, p.Outcome)
		require.Equal(t, "dial timeout", p.Error)
	})
}
