package live

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestParseQuestion(t *testing.T) {
	at := func(offset uint64) *Position { return &Position{"us-1-a", offset} }
	for _, tc := range []struct {
		query, accept, last string
		want                question
	}{
		{"", "", "", question{}},
		{"", "*/*", "", question{}},
		{"", "text/html, Text/Event-Stream;q=0.9", "", question{events: true}},
		{"as=sse", "", "", question{events: true}},
		{"as=poll", "text/event-stream", "", question{}},
		{"position=us-1-a:7", "", "", question{position: at(7)}},
		{"position=us-1-a:7", "", "us-1-a:9", question{position: at(9)}},
		{"position=us-1-a%3A18446744073709551615&wait=1.5s", "", "", question{position: at(1<<64 - 1), wait: 1500 * time.Millisecond}},
		{"wait=9h&later=x", "", "", question{wait: longestWait}},
	} {
		got, err := parseQuestion(tc.query, http.Header{"Accept": {tc.accept}, "Last-Event-Id": {tc.last}})
		require.NoError(t, err, tc.query)
		require.Equal(t, tc.want, got, tc.query)
	}
	for _, query := range []string{
		"%zz", "a;b", "as=ws", "as=sse&as=sse", "wait=5", "wait=-1s", "wait=1s&wait=1s",
		"position=a", "position=:1", "position=a:", "position=a:-1", "position=a:+1", "position=a:01", "position=a:1:1",
		"position=a/b:1", "position=a:18446744073709551616", "position=a:1&position=a:1", "position=%ff:1", "position=a:1%0A",
	} {
		_, err := parseQuestion(query, nil)
		require.Error(t, err, query)
	}
	for _, last := range [][]string{{"nonsense"}, {"a:1", "a:2"}} {
		_, err := parseQuestion("", http.Header{"Last-Event-Id": last})
		require.Error(t, err, last)
	}
}

func FuzzParseQuestion(f *testing.F) {
	f.Add("as=sse&position=us-east-1-0123456789abcdef:7", "", "")
	f.Add("position=a%3a1&wait=25s", "text/event-stream;q=1", "a:2")
	f.Fuzz(func(t *testing.T, query, accept, last string) {
		q, err := parseQuestion(query, http.Header{"Accept": {accept}, "Last-Event-Id": {last}})
		if err != nil {
			return
		}
		require.GreaterOrEqual(t, q.wait, time.Duration(0))
		require.LessOrEqual(t, q.wait, longestWait)
		if q.position == nil {
			return
		}
		// Whatever is accepted is safe in an event, and comes back as it was.
		require.True(t, ValidName(q.position.Incarnation))
		again, err := parseQuestion("position="+url.QueryEscape(q.position.String()), nil)
		require.NoError(t, err)
		require.Equal(t, q.position, again.position)
	})
}
