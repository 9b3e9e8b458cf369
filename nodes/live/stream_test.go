package live

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/nodes"
)

// get asks for a path under /live/, and closes the answer when the test ends.
func (n *node) get(t testing.TB, host, path string, h http.Header) *http.Response {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+host+"/live/"+path, nil)
	require.NoError(t, err)
	r.Header = h
	res, err := n.far().Do(r)
	require.NoError(t, err)
	t.Cleanup(func() { _ = res.Body.Close() })
	return res
}

// events reads a stream of events from its far end.
type events struct {
	t testing.TB
	r *bufio.Reader
}

func (n *node) stream(t testing.TB, path, last string) *events {
	t.Helper()
	h := http.Header{"Accept": {"text/event-stream"}}
	if last != "" {
		h.Set("Last-Event-ID", last)
	}
	res := n.get(t, testHost, path, h)
	require.Equal(t, 200, res.StatusCode)
	require.Equal(t, "text/event-stream", res.Header.Get("Content-Type"))
	require.Equal(t, "no", res.Header.Get("X-Accel-Buffering"))
	require.Equal(t, "no-store", res.Header.Get("Cache-Control"))
	require.Equal(t, "*", res.Header.Get("Access-Control-Allow-Origin"))
	return &events{t, bufio.NewReaderSize(res.Body, 1<<10)}
}

// next gives an event's lines but the blank one, or io.EOF after the last.
func (e *events) read() (string, error) {
	var b strings.Builder
	for {
		line, err := e.r.ReadString('\n')
		if err != nil {
			return b.String(), err
		}
		if line == "\n" {
			return strings.TrimSuffix(b.String(), "\n"), nil
		}
		b.WriteString(line)
	}
}

func (e *events) want(lines ...string) {
	e.t.Helper()
	got, err := e.read()
	require.NoError(e.t, err)
	require.Empty(e.t, cmp.Diff(strings.Join(lines, "\n"), got))
}

func (e *events) wantSubscribed(at Position, recovered string) {
	e.t.Helper()
	e.want("event: subscribed", "id: "+at.String(), fmt.Sprintf(
		`data: {"op":"subscribed","channel":"c","position":{"incarnation":%q,"offset":%d},"recovered":%q}`,
		at.Incarnation, at.Offset, recovered))
}

func (e *events) wantMessage(at Position, data string) {
	e.t.Helper()
	e.want("event: message", "id: "+at.String(), fmt.Sprintf(
		`data: {"op":"message","channel":"c","offset":%d,"data":%s}`, at.Offset, encode(data)))
}

func TestStream(t *testing.T) {
	n := start(t, "--history", "3")
	at := n.publish(t, "k/c", "before")
	e := n.stream(t, "k/c", "")
	e.wantSubscribed(at, "fresh")
	for _, data := range []string{"two", "line\nand \r\n line", "four", "five"} {
		at = n.publish(t, "k/c", data)
		e.wantMessage(at, data)
	}

	e = n.stream(t, "k/c", Position{at.Incarnation, 3}.String())
	e.wantSubscribed(Position{at.Incarnation, 3}, "replay")
	e.wantMessage(Position{at.Incarnation, 4}, "four")
	e.wantMessage(at, "five")
	at = n.publish(t, "k/c", "six")
	e.wantMessage(at, "six")

	n.stream(t, "k/c", at.String()).wantSubscribed(at, "nothing-missed")
	n.stream(t, "k/c?position="+at.String(), Position{at.Incarnation, 1}.String()).wantSubscribed(at, "gap")
	n.stream(t, "k/c?as=sse&position="+at.String(), "").wantSubscribed(at, "nothing-missed")
	for name, strange := range map[string]Position{
		"nowhere":         {"x", 1},
		"the future":      {at.Incarnation, at.Offset + 1},
		"another channel": n.publish(t, "k/d", "x"),
		"another key":     n.publish(t, "j/c", "x"),
	} {
		t.Run(name, func(t *testing.T) { n.stream(t, "k/c", strange.String()).wantSubscribed(at, "gap") })
	}
}

func TestStreamRefused(t *testing.T) {
	n := startWith(t, map[string][]string{"TXT _home." + testHost: {"v=home1 region=us-east epoch=1"}},
		"--home", testHost, "--max-tunnels", "2", "--max-channels", "1")
	sse := http.Header{"Accept": {"text/event-stream"}}
	require.Equal(t, 421, n.get(t, "eu-1.live.espra.com", "k/c", sse).StatusCode)
	require.Equal(t, 400, n.get(t, testHost, "k/c?position=x", sse).StatusCode)
	require.Equal(t, 400, n.get(t, testHost, "k/a%2Fb", sse).StatusCode)
	n.stream(t, "k/c", "")
	res := n.get(t, testHost, "k/other", sse)
	require.Equal(t, 503, res.StatusCode, "all channels have subscribers")
	require.NotEmpty(t, res.Header.Get("Retry-After"))
	n.stream(t, "k/c", "")
	require.Equal(t, 503, n.get(t, testHost, "k/c", sse).StatusCode, "one stream too many")
	require.Equal(t, 503, n.get(t, testHost, "k/c", nil).StatusCode, "polls count too")
	_, res, err := n.dial(testHost, "k")
	require.Error(t, err)
	require.Equal(t, 503, res.StatusCode, "tunnels count too")
}

func TestStreamSaysWhyItEnds(t *testing.T) {
	n := startWith(t, map[string][]string{"TXT _home." + testHost: {"v=home1 region=us-east epoch=1"}},
		"--home", testHost, "--home-check", "20ms")
	e := n.stream(t, "k/c", "")
	_, _ = e.read()
	n.setHome(testHost, "v=home1 region=eu-west epoch=2")
	e.want("event: close", `data: {"code":4001,"text":"moved, resume"}`)
	_, err := e.read()
	require.Equal(t, io.EOF, err)

	n.setHome(testHost, "v=home1 region=us-east epoch=3")
	n.log.await(t, "home here")
	e = n.stream(t, "k/c", "")
	_, _ = e.read()
	n.signals <- nodes.Terminate
	e.want("event: close", `data: {"code":1012,"text":"restart, resume"}`)
	require.NoError(t, <-n.done)
	n.done <- nil
}

// TestStreamGone: a client that leaves gives its place up.
func TestStreamGone(t *testing.T) {
	n := start(t, "--max-tunnels", "1")
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+testHost+"/live/k/c?as=sse", nil)
	require.NoError(t, err)
	res, err := n.far().Do(r)
	require.NoError(t, err)
	defer res.Body.Close()
	cancel()
	n.log.await(t, "stream closed")
	require.Eventually(t, func() bool {
		return n.get(t, testHost, "k/c", nil).StatusCode == 200
	}, 10*time.Second, 10*time.Millisecond)
}

func TestSlowStreamIsCutAndDelaysNobody(t *testing.T) {
	n := start(t, "--queue-bytes", "256KiB", "--history", "10")
	slow := n.stream(t, "k/c", "")
	fast := n.stream(t, "k/c", "")
	_, _ = fast.read()
	// The slow one reads nothing: kernel buffers fill, then its queue.
	data := strings.Repeat("x", 32<<10)
	for range 600 {
		at := n.publish(t, "k/c", data)
		fast.wantMessage(at, data)
	}
	heard := 0
	for {
		event, err := slow.read()
		if err != nil {
			break
		}
		if strings.HasPrefix(event, "event: close\n") {
			require.Contains(t, event, `"code":4000`)
			break
		}
		heard++
	}
	require.Less(t, heard, 600)
}

// TestManyAreSpread: of many who are asked to leave at once, each is told a
// time of its own to come back at; of a few, none.
func TestManyAreSpread(t *testing.T) {
	for _, guests := range []int{fewGuests, 40} {
		n := start(t)
		var tunnels []*client
		var streams []*events
		for range guests / 2 {
			c, e := n.open(t, "k"), n.stream(t, "k/c", "")
			c.subscribe("c", nil)
			_, _ = e.read()
			tunnels, streams = append(tunnels, c), append(streams, e)
		}
		n.signals <- nodes.Terminate
		told := map[int]bool{}
		for _, c := range tunnels {
			v := c.next()
			require.Equal(t, "resume", v["code"], v)
			ms, _ := v["retry-after-ms"].(float64)
			told[int(ms)] = true
			c.wantClose(1012)
		}
		for _, e := range streams {
			event, err := e.read()
			require.NoError(t, err)
			var ms, again int
			if guests > fewGuests {
				_, err = fmt.Sscanf(event, "retry: %d\nevent: close\ndata: {\"code\":1012,\"text\":\"restart, resume\",\"retry-after-ms\":%d}", &ms, &again)
				require.NoError(t, err, event)
			}
			require.Equal(t, ms, again)
			told[ms] = true
		}
		for ms := range told {
			require.GreaterOrEqual(t, ms, 0)
			require.LessOrEqual(t, ms, 5000)
		}
		if guests > fewGuests {
			require.Greater(t, len(told), guests/2)
		} else {
			require.Equal(t, map[int]bool{0: true}, told)
		}
		require.NoError(t, <-n.done)
		n.done <- nil
	}
}
