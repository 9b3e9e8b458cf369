package report

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/sim"
)

// write gives the page of what a recorder kept.
func write(t *testing.T, p Page, r *Recorder) string {
	t.Helper()
	var page strings.Builder
	require.NoError(t, Write(&page, p, r))
	return page.String()
}

// chat has a client ask a server so many times, one second apart, and tells of it.
func chat(t *testing.T, w *sim.World, questions int) {
	client, server := w.NewMachine("client", sim.In("eu", "eu-a")), w.NewMachine("server", sim.In("us", ""))
	l, err := server.Listen("tcp", ":7")
	require.NoError(t, err)
	go func() {
		c, err := l.Accept()
		if err == nil {
			_, _ = io.Copy(c, c)
		}
	}()
	c, err := client.DialContext(context.Background(), "tcp", "server:7")
	require.NoError(t, err)
	for i := range questions {
		time.Sleep(time.Second)
		_, err := io.WriteString(c, "what?")
		require.NoError(t, err)
		_, err = c.Read(make([]byte, 10))
		require.NoError(t, err)
		w.Emit("answered", sim.Field{Key: "n", Value: fmt.Sprint(i + 1)})
	}
	time.Sleep(1)
}

// A page carries what the world did, to the nanosecond.
func TestPageCarriesTheRun(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		var events, messages []string
		w.Observe(func(e sim.Event) {
			line := fmt.Sprintf("%s world/ %s", e.At, e.Kind)
			for _, f := range e.Fields {
				line += " " + f.Key + "=" + f.Value
			}
			events = append(events, line)
		})
		w.ObserveDeliveries(func(d sim.Delivery) {
			messages = append(messages, fmt.Sprintf("%s-%s %s %s %s>%s %d", d.Sent, d.At, d.Kind, d.Conn, d.From, d.To, d.Size))
		})
		r := Record(w)
		chat(t, w, 5)
		r.Stop()
		w.Emit("too late")
		time.Sleep(time.Second)
		w.Stats() // waits for the world, which tells from its own goroutine

		d := decode(t, write(t, Page{}, r))
		require.Len(t, d.events, 5)
		require.Equal(t, events[:5], d.events)
		require.Len(t, d.messages, 12) // a handshake, and five times there and back
		require.Equal(t, messages, d.messages)
		require.Equal(t, totals{Events: 5, Messages: 12}, d.head.Total)
		require.Equal(t, []machine{{"client", "eu", "eu-a"}, {"server", "us", ""}}, d.head.Machines[:2])
		require.Equal(t, []group{{"eu", []int32{0}, false}, {"us", []int32{1}, false}}, d.head.Groups)
		total := uint64(0)
		for _, row := range d.counts {
			for _, n := range row {
				total += n
			}
		}
		require.EqualValues(t, 12, total)
	})
}

// Of a run that is too long a page keeps the beginning, the end, and what is near
// to what matters; it counts the rest, and says so.
func TestPageOfALongRun(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		r := record(w, limits{messages: 20, events: 10, words: maxWords})
		chat(t, w, 100)
		r.Stop()
		require.Less(t, len(r.messages), 40)
		require.Less(t, len(r.events), 20)
		page := write(t, Page{Checks: []Check{{First: "here", At: 99 * time.Second}}}, r)
		d := decode(t, page)
		require.LessOrEqual(t, len(d.messages), 20)
		require.GreaterOrEqual(t, len(d.messages), 18)
		require.LessOrEqual(t, len(d.events), 10)
		require.Equal(t, totals{Events: 100, Messages: 202}, d.head.Total)
		require.NotEmpty(t, d.head.Lost[0])
		require.NotEmpty(t, d.head.Lost[1])
		require.Contains(t, page, fmt.Sprintf("%d of 202 messages, those nearest to what happened; all are counted", len(d.messages)))
		total := uint64(0)
		for _, row := range d.counts {
			for _, n := range row {
				total += n
			}
		}
		require.EqualValues(t, 202, total)
	})
}

// However much is said, little is kept.
func TestRecorderBoundsWords(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		r := record(w, limits{messages: 100, events: 1000, words: 100_000})
		for i := range 200 {
			w.Emit("word", sim.Field{Key: "n", Value: fmt.Sprint(i, strings.Repeat("é", 10_000))})
			time.Sleep(time.Second)
		}
		r.Stop()
		require.Less(t, r.texts.size, 100_000+2*maxText)
		d := decode(t, write(t, Page{}, r))
		require.Equal(t, 200, d.head.Total.Events)
		require.NotEmpty(t, d.events)
		for _, e := range d.events {
			require.Less(t, len(e), maxText+100)
			require.True(t, strings.HasSuffix(e, "é…"))
		}
	})
}

func TestThin(t *testing.T) {
	// One thing a second, from 0 to 99.
	at := func(i int) time.Duration { return time.Duration(i)*time.Second + 1 }
	for _, c := range []struct {
		limit   int
		moments []time.Duration
		want    spans
	}{
		{100, nil, nil},
		{10, nil, spans{{10, 100}}}, // nothing but the beginning matters
		{10, []time.Duration{50 * time.Second}, spans{{4, 47}, {53, 100}}},
		{4, []time.Duration{90*time.Second + 7, 20*time.Second + 7}, spans{{1, 19}, {21, 90}, {91, 100}}},
		{0, nil, spans{{0, 100}}},
	} {
		gone := thin(100, at, c.limit, c.moments)
		require.Equal(t, c.want, gone)
		for i := range 100 {
			second := int64(i)
			require.Equal(t, slices.ContainsFunc(c.want, func(s span) bool { return s.from <= second && second < s.until }), gone.has(at(i)), i)
		}
	}
}

func TestSpansJoin(t *testing.T) {
	require.Equal(t, spans{{1, 4}, {6, 9}}, spans{{6, 8}, {1, 2}}.join(spans{{2, 4}, {7, 9}}))
}

func TestCountsNeverLoseAny(t *testing.T) {
	c := newCounts()
	for i := range 100_000 {
		c.add(time.Duration(i)*100*time.Millisecond, int32(i%3))
	}
	require.Equal(t, 4*time.Second, c.step)
	total := uint32(0)
	for _, row := range c.machines {
		require.LessOrEqual(t, len(row), maxSteps)
		for _, n := range row {
			total += n
		}
	}
	require.EqualValues(t, 100_000, total)
}

func TestSplitName(t *testing.T) {
	for name, want := range map[string]struct {
		text   string
		number uint64
	}{
		"a>b:80#12": {"a>b:80#", 12}, "a>b:80": {"a>b:80", 0}, "a#b": {"a#b", 0}, "": {"", 0}, "x#99999999999999999999": {"x#99999999999999999999", 0},
	} {
		text, number := splitName(name)
		require.Equal(t, want.text, text)
		require.Equal(t, want.number, number)
	}
}
