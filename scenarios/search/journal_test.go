package search

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/stretchr/testify/require"
)

var (
	ofDark   = Search{Story: "dark", Text: "0123456789", By: "protoplex 1", First: 7}
	darkRuns = []Run{
		{Seed: 7, Trace: "aa", Sometimes: []string{"nodes/seed: frozen"}},
		{Seed: 9, Findings: []Finding{{Kind: Crash, Cause: "panic: oh", Detail: "panic: oh\n\ngoroutine 7"}}},
		{Seed: 8, Trace: "bb", Idle: []string{"dark"}, Findings: []Finding{{Kind: Broken, Cause: "gaps", Detail: "2", At: time.Minute}}},
	}
)

func openJournal(t *testing.T, dir string, s Search) *Journal {
	t.Helper()
	j, err := OpenJournal(dir, s)
	require.NoError(t, err)
	return j
}

func addAll(t *testing.T, j *Journal, runs []Run) {
	t.Helper()
	for _, r := range runs {
		require.NoError(t, j.Add(r))
	}
	require.NoError(t, j.Close())
}

func TestJournal(t *testing.T) {
	dir := t.TempDir()
	addAll(t, openJournal(t, dir, ofDark), darkRuns[:2])
	later := ofDark
	later.First = 100
	j := openJournal(t, dir, later)
	require.Empty(t, cmp.Diff(darkRuns[:2], j.Runs))
	require.Equal(t, uint64(7), j.Search.First, "where it was begun")
	addAll(t, j, darkRuns[2:])
	j = openJournal(t, dir, ofDark)
	require.Empty(t, cmp.Diff(darkRuns, j.Runs))

	_, err := OpenJournal(dir, ofDark)
	require.ErrorContains(t, err, "another search goes on there")
	require.NoError(t, j.Close())
}

// A process that ends while it writes leaves a part of a line, and nothing is lost
// but that run.
func TestJournalCutOff(t *testing.T) {
	dir := t.TempDir()
	addAll(t, openJournal(t, dir, ofDark), darkRuns)
	file := filepath.Join(dir, JournalName)
	whole, err := os.ReadFile(file)
	require.NoError(t, err)
	for size := range whole {
		require.NoError(t, os.WriteFile(file, whole[:size], 0o644))
		j := openJournal(t, dir, ofDark)
		n := max(strings.Count(string(whole[:size]), "\n")-1, 0)
		require.Empty(t, cmp.Diff(darkRuns[:n], j.Runs, cmpopts.EquateEmpty()))
		addAll(t, j, darkRuns[n:])
		again, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Equal(t, string(whole), string(again))
	}
}

func TestJournalRefuses(t *testing.T) {
	other, newer := ofDark, ofDark
	other.Story, newer.By = "bright", "protoplex 2"
	for _, c := range []struct {
		name  string
		lines string // instead of what was written
		with  Search
		want  string
	}{
		{"another story", "", other, "it is of dark (text 01234567), played by protoplex 1, in format 1; this is bright (text 01234567), played by protoplex 1, in format 1: choose another folder"},
		{"another program", "", newer, "this is dark (text 01234567), played by protoplex 2"},
		{"another format", `{"format":2,"story":"dark"}` + "\n", ofDark, "in format 2; this is"},
		{"no journal", "title: dark\n", ofDark, ":1: invalid character"},
		{"a damaged line", `{"format":1,"story":"dark","text":"0123456789","by":"protoplex 1","first":7}` + "\n{\"seed\":7}\n{]\n{}\n", ofDark, ":3: invalid character"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, JournalName)
			addAll(t, openJournal(t, dir, ofDark), darkRuns)
			if c.lines != "" {
				require.NoError(t, os.WriteFile(file, []byte(c.lines), 0o644))
			}
			before, err := os.ReadFile(file)
			require.NoError(t, err)
			_, err = OpenJournal(dir, c.with)
			require.ErrorContains(t, err, c.want)
			require.ErrorContains(t, err, file)
			after, err := os.ReadFile(file)
			require.NoError(t, err)
			require.Equal(t, string(before), string(after))
		})
	}
}

// A run that does not fit is no part of the journal, and all before it is.
func TestJournalDiskFull(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("no /dev/full here")
	}
	dir := t.TempDir()
	j := openJournal(t, dir, ofDark)
	require.NoError(t, j.Add(darkRuns[0]))
	kept := j.file
	j.file = full
	require.ErrorContains(t, j.Add(darkRuns[1]), "no space left on device")
	j.file = kept
	require.NoError(t, full.Close())
	require.NoError(t, j.Close())
	j = openJournal(t, dir, ofDark)
	require.Empty(t, cmp.Diff(darkRuns[:1], j.Runs))
	require.NoError(t, j.Close())
}

// Seeds that are known are not played again, and count.
func TestExploreGoesOn(t *testing.T) {
	var played []uint64
	e := Explorer{
		Command: explored,
		Known: []Run{
			{Seed: 13, Trace: "aa"},
			{Seed: 14, Findings: []Finding{{Kind: Broken, Cause: "gaps", Detail: "before"}}},
			{Seed: 99, Findings: []Finding{{Kind: Crash, Cause: "elsewhere"}}},
		},
		Played: func(r Run) error {
			played = append(played, r.Seed)
			return nil
		},
		Found: func(seed uint64, f Finding) error { return os.ErrInvalid }, // only for what is new
	}
	x, err := e.Explore(t.Context(), 12, 3)
	require.NoError(t, err)
	require.Equal(t, []uint64{12}, played)
	require.Empty(t, cmp.Diff(Exploration{First: 12, Seeds: 3, Played: 3, Known: 2, Next: 15, Groups: []Group{
		{Finding{Kind: Broken, Cause: "gaps", Detail: "2, budget 0; first: ana at 1:02"}, []uint64{12, 14}},
	}}, x))
}
