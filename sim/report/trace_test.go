package report

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/sim"
)

func readTrace(text string) (*Trace, error) { return ReadTrace("a.jsonl", strings.NewReader(text)) }

func TestReadTrace(t *testing.T) {
	tr, err := readTrace(`{"t":0,"event":"FAULT","id":"x"}
{"t":5,"seg":"a>b:80#1","to":"s","n":12}
{"t":5,"syn":"a>b:80#2"}
{"t":7,"at":"m-1/proc/child","event":"log: t","t":"1","at":"\"2\"","n":"\u0007é"}
`)
	require.NoError(t, err)
	require.Equal(t, 4, tr.lines)
	require.Equal(t, []traceEvent{
		{at: 0, kind: "FAULT", fields: []string{"id", "x"}},
		{at: 7, machine: "m-1", process: "proc/child", kind: "log: t", fields: []string{"t", "1", "at", `"2"`, "n", "\aé"}},
	}, tr.events)
}

func TestReadTraceFindings(t *testing.T) {
	const good = `{"t":5,"syn":"a>b:80#2"}` + "\n"
	for text, want := range map[string]string{
		"":                                      "a.jsonl is empty; want a trace, as --trace writes it",
		good + "\n":                             `a.jsonl:2: no line of a trace: want {"t": at ""`,
		good + `{"t":5,"syn":"a>b:80#2"`:        "a.jsonl:2: the last line is cut off",
		good + `{"t":6,"syn":"a` + "\n":         `a.jsonl:2: no line of a trace: want the end of a text at "\"a"`,
		good + `{"t":4,"syn":"a"}` + "\n":       "a.jsonl:2: 4 comes after 5; a trace is in order of time",
		`{"t":-1,"syn":"a"}` + "\n":             `a.jsonl:1: no line of a trace: want a number at "-1,\"syn\":\"a\"}"`,
		`{"t":99999999999999999999}` + "\n":     `a.jsonl:1: no line of a trace: want a number at "99999999999999999999}"`,
		`{"t":5,"syn":7}` + "\n":                `a.jsonl:1: no line of a trace: want a text at "7}"`,
		`{"t":5,"seg":"a","to":"x"}` + "\n":     `a.jsonl:1: no line of a trace: want "c" or "s" at "}"`,
		`{"t":5,"event":"a","b":7}` + "\n":      `a.jsonl:1: no line of a trace: want a text at "7}"`,
		`{"t":5,"at":"m/p","bevent":""}` + "\n": `a.jsonl:1: no line of a trace: want ,"event": at ",\"bevent\":\"\"}"`,
		`{"t":5,"syn":"\x"}` + "\n":             `a.jsonl:1: no line of a trace: want a text at "\"\\x\"}"`,
		`{"t":5,"syn":"a"}}` + "\n":             `a.jsonl:1: no line of a trace: want the end of the line at "}"`,
		"<html>\n":                              `a.jsonl:1: no line of a trace: want {"t": at "<html>"`,
		strings.Repeat("x", maxLine+2<<20):      fmt.Sprintf("a.jsonl:1: the line is longer than %d bytes", maxLine),
	} {
		_, err := readTrace(text)
		require.EqualError(t, err, want)
	}
	_, err := ReadTrace("a.jsonl", brokenDisk{})
	require.EqualError(t, err, "a.jsonl:1: input/output error")
}

type brokenDisk struct{}

func (brokenDisk) Read([]byte) (int, error)       { return 0, errors.New("input/output error") }
func (brokenDisk) Seek(int64, int) (int64, error) { return 0, errors.New("input/output error") }

// A trace that package sim writes can be read, with all of its events.
func TestReadTraceOfAWorld(t *testing.T) {
	name := shared(t, "trace.jsonl")
	file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	require.NoError(t, err)
	defer file.Close()
	sim.TestWith(t, sim.Options{Trace: file}, func(t *testing.T, w *sim.World) {
		chat(t, w, 3)
		evilRun(t, w)
	})
	if inWorld() {
		return
	}
	tr, err := ReadTrace(name, file)
	require.NoError(t, err)
	require.Len(t, tr.events, 5) // three answers, what the process told, and its exit
	require.Equal(t, []string{"key " + evil, "value " + evil, "error", "boom"}, tr.events[3].fields)
}

func TestTraceDifference(t *testing.T) {
	line := func(at int, text string) string { return fmt.Sprintf("{\"t\":%d,\"event\":\"%s\"}\n", at, text) }
	whole := line(1, "a") + line(2, "b") + line(3, "c")
	cut := func(s string) string { return strings.TrimSuffix(s, "\n") }
	for _, c := range []struct {
		name, here, there string
		want              *difference
	}{
		{"equal", whole, whole, nil},
		{"another", whole, line(1, "a") + line(4, "b"), &difference{2, 4, cut(line(2, "b")), cut(line(4, "b"))}},
		{"shorter", whole, line(1, "a"), &difference{2, 2, cut(line(2, "b")), ""}},
		{"longer", line(1, "a"), whole, &difference{2, 2, "", cut(line(2, "b"))}},
	} {
		for _, piece := range []int{1, 7, 1000} {
			t.Run(fmt.Sprintf("%s in pieces of %d", c.name, piece), func(t *testing.T) {
				tr, err := readTrace(c.there)
				require.NoError(t, err)
				for rest := c.here; rest != ""; {
					n, err := tr.Write([]byte(rest[:min(piece, len(rest))]))
					require.NoError(t, err)
					rest = rest[n:]
				}
				got, err := tr.finish()
				require.NoError(t, err)
				require.Equal(t, c.want, got)
			})
		}
	}
}

// The page of a run beside another marks what only one of them has.
func TestCompare(t *testing.T) {
	sim.Test(t, func(t *testing.T, w *sim.World) {
		tr, err := readTrace(`{"t":0,"event":"same"}
{"t":1000000500,"event":"later"}
{"t":1000000600,"at":"m/p","event":"there","why":"x"}
{"t":1000000700,"event":"twice"}
{"t":1000000800,"event":"twice"}
{"t":9000000000,"event":"after the end of this run"}
`)
		require.NoError(t, err)
		r := Record(w)
		w.Emit("same")
		time.Sleep(time.Second)
		w.Emit("here")
		w.Emit("later")
		w.Emit("twice")
		time.Sleep(time.Second)
		r.Stop()
		page := write(t, Page{Against: tr}, r)
		d := decode(t, page)
		require.Equal(t, []string{"0s world/ same", "1s world/ here", "1s world/ later", "1s world/ twice", "1.0000006s m/p there why=x", "1.0000008s world/ twice"}, d.events)
		require.Equal(t, []uint64{2, 0, 2 + 2*500, 2 + 2*700, 1, 1}, d.marks)
		require.Equal(t, &against{Name: "a.jsonl", First: &difference{1, 0, "", `{"t":0,"event":"same"}`}, OnlyHere: 1, OnlyThere: 2}, d.head.Against)
		require.Contains(t, page, "the two runs part at")
	})
}

func FuzzReadTrace(f *testing.F) {
	f.Add(`{"t":5,"seg":"a>b:80#1","to":"s","n":12}` + "\n")
	f.Add(`{"t":7,"at":"m/p","event":"log: t","t":"1","at":"\"2\""}` + "\n")
	f.Add(`{"t":0,"event":"FAULT","id":"x"}` + "\n" + `{"t":0,"fin":"a","to":"c"}`)
	f.Fuzz(func(t *testing.T, text string) {
		tr, err := readTrace(text)
		if err != nil {
			require.Nil(t, tr)
			require.True(t, strings.HasPrefix(err.Error(), "a.jsonl"), err)
			return
		}
		require.Equal(t, strings.Count(text, "\n"), tr.lines)
		_, _ = tr.Write([]byte(text))
		first, err := tr.finish()
		require.NoError(t, err)
		require.Nil(t, first)
		last := time.Duration(0)
		for _, e := range tr.events {
			require.GreaterOrEqual(t, e.at, last)
			require.Zero(t, len(e.fields)%2)
			last = e.at
		}
	})
}
