package story_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/scenarios/story"
	"github.com/espra/protoplex/testdata"
)

// Every scenario that ships is valid, and says what its name says.
func TestShippedScenarios(t *testing.T) {
	files, err := fs.Glob(testdata.Scenarios, "scenarios/*.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := testdata.Scenarios.ReadFile(file)
			require.NoError(t, err)
			s, err := story.Parse(file, data)
			require.NoError(t, err)
			require.Equal(t, strings.TrimSuffix(filepath.Base(file), ".yaml"), s.Name)
			for i, line := range strings.Split(string(data), "\n") {
				require.LessOrEqual(t, len([]rune(line)), 100, "line %d", i+1)
			}
			again, err := story.Parse(file, data)
			require.NoError(t, err)
			require.Empty(t, cmp.Diff(s, again, unexported))
		})
	}
}

var unexported = cmpopts.IgnoreUnexported(story.Story{}, story.Topology{})

func TestParse(t *testing.T) {
	data, err := testdata.Scenarios.ReadFile("scenarios/region-failover.yaml")
	require.NoError(t, err)
	got, err := story.Parse("scenarios/region-failover.yaml", data)
	require.NoError(t, err)

	region := story.Region{Zones: 2, Proxy: 2, Live: 2}
	east, west := region, region
	east.Name, west.Name = "us-east", "eu-west"
	browse := []story.Action{{Verb: story.Load, Every: 20 * time.Second}, {Verb: story.Subscribe, Channels: 2}}
	want := &story.Story{
		File:  "scenarios/region-failover.yaml",
		Name:  "region-failover",
		Title: "us-east is lost for 15 minutes; traffic moves to eu-west and comes home",
		Text: "As in a power loss, us-east goes silent: no resets, no goodbyes. The monitors\n" +
			"must notice, page, and move the names. When us-east is back it must not act on\n" +
			"what it remembers, and traffic returns only after a hold-down.",
		Starts: time.Date(2026, 3, 2, 14, 0, 0, 0, time.UTC),
		Lasts:  40 * time.Minute,
		Topology: story.Topology{
			Regions: []story.Region{east, west},
			VPS:     []string{"fremont", "london", "singapore"},
			DNS:     story.DNS{Providers: []string{"linode", "digitalocean"}, TTL: time.Minute},
			SMS:     []string{"twilio"},
			Admins:  []story.Admin{{Name: "ana"}, {Name: "raj"}},
			Monitor: story.Monitor{Probe: 10 * time.Second, OpenAfter: 3, CloseAfter: 3, HoldDown: 10 * time.Minute},
		},
		Workload: []story.Group{
			{ID: "us-browsers", Browsers: 60, Home: "us-1.live.espra.com", Do: browse},
			{ID: "eu-browsers", Browsers: 40, Home: "eu-1.live.espra.com", Do: browse},
			{ID: "publishers", Publishers: 5, Do: []story.Action{{Verb: story.Publish, Every: time.Second}}},
		},
		Timeline: []story.Event{
			{
				ID: "us-east-lost", At: 5 * time.Minute, Latest: 5 * time.Minute, Fault: "region-lost",
				On: &story.Selector{Kind: story.ByRegion, Name: "us-east"}, For: 15 * time.Minute, Longest: 15 * time.Minute, Times: 1,
			},
		},
		Expect: story.Expect{
			Always: []story.Expectation{{Oracle: "live-streams"}, {Oracle: "dns-points-somewhere"}},
			After: []story.Aftermath{
				{Event: "us-east-lost", Expect: []story.Expectation{
					{Oracle: "detected", Params: story.Values{{Name: "within", Duration: time.Minute}}},
					{Oracle: "dns-moved", Params: story.Values{
						{Name: "within", Duration: 2 * time.Minute},
						{Name: "names", Names: []string{"www.espra.com", "us-1.live.espra.com"}},
						{Name: "at", Names: []string{"linode", "digitalocean"}},
					}},
					{Oracle: "clients-recovered", Params: story.Values{
						{Name: "share", Share: 9900}, {Name: "within", Duration: 5 * time.Minute},
					}},
					{Oracle: "pages", Params: story.Values{
						{Name: "each-admin", Counts: story.Range{Min: 1, Max: 1}},
						{Name: "all-clear", Counts: story.Range{Min: 1, Max: 1}},
					}},
				}},
				{Event: "us-east-lost", Heals: true, Expect: []story.Expectation{
					{Oracle: "baseline", Params: story.Values{{Name: "within", Duration: 20 * time.Minute}}},
					{Oracle: "superseded-owners", Params: story.Values{{Name: "none-after", Duration: time.Minute}}},
					{Oracle: "home", Params: story.Values{{Name: "within", Duration: 15 * time.Minute}}},
					{Oracle: "clients-recovered", Params: story.Values{
						{Name: "share", Share: 10000}, {Name: "within", Duration: 13*time.Minute + 30*time.Second},
					}},
				}},
			},
			Throughout: []story.Expectation{
				{Oracle: "load", Params: story.Values{{Name: "at-most", Factor: 50000}}},
				{Oracle: "apex-answers", Params: story.Values{{Name: "at-least", Share: 9990}}},
				{Oracle: "availability", Params: story.Values{
					{Name: "of", Names: []string{"eu-1.live.espra.com"}},
					{Name: "at-least", Share: 9990},
					{Name: "window", Duration: time.Minute},
				}},
				{Oracle: "availability", Params: story.Values{
					{Name: "of", Names: []string{"us-1.live.espra.com"}},
					{Name: "at-least", Share: 9200},
					{Name: "window", Duration: 35 * time.Minute},
				}},
			},
		},
	}
	require.Empty(t, cmp.Diff(want, got, unexported, cmpopts.IgnoreTypes(story.Pos{})))

	// Places lead a person to the line.
	for what, p := range map[string]story.Pos{
		"us-east: {":     got.Topology.Regions[0].Pos,
		"us-browsers":    got.Workload[0].Pos,
		"subscribe to 2": got.Workload[0].Do[1].Pos,
		"us-east-lost":   got.Timeline[0].Pos,
		"region us-east": got.Timeline[0].On.Pos,
		"live-streams":   got.Expect.Always[0].Pos,
		"detected: {":    got.Expect.After[0].Expect[0].Pos,
		"60s}":           got.Expect.After[0].Expect[0].Params[0].Pos,
		"{of: eu-1.live": got.Expect.Throughout[2].Pos,
	} {
		line := strings.Split(string(data), "\n")[p.Line-1]
		require.True(t, strings.HasPrefix(line[p.Column-1:], what), "%v is %q, not %q", p, line[p.Column-1:], what)
	}
	require.Equal(t, "scenarios/region-failover.yaml:3:9", got.Where(story.Pos{Line: 3, Column: 9}))
}

const small = `format: 1
title: small
story: Nothing to see.
starts: 2026-03-02T14:00:00Z
lasts: 1m
topology: {regions: {eu-west: {}}}
expect: {always: [dns-points-somewhere]}
`

func TestDefaults(t *testing.T) {
	s, err := story.Parse("small.yaml", []byte(small))
	require.NoError(t, err)
	want := story.Topology{
		Regions: []story.Region{{Name: "eu-west", Zones: 2, Proxy: 2, Live: 2}},
		VPS:     []string{"fremont", "london", "singapore"},
		DNS:     story.DNS{Providers: []string{"linode", "digitalocean"}, TTL: time.Minute},
		SMS:     []string{"twilio"},
		Admins:  []story.Admin{{Name: "ana"}, {Name: "raj"}},
		Monitor: story.Monitor{Probe: 10 * time.Second, OpenAfter: 3, CloseAfter: 3, HoldDown: 10 * time.Minute},
	}
	require.Empty(t, cmp.Diff(want, s.Topology, unexported, cmpopts.IgnoreTypes(story.Pos{})))
	home, ok := s.Topology.Home(story.WWW)
	require.True(t, ok)
	require.Equal(t, "eu-west", home)
	_, ok = s.Topology.Home("us-1.live.espra.com")
	require.False(t, ok)
}

// What dns-moved leaves out means every name that is lost, at all providers.
func TestDNSMovedDefaults(t *testing.T) {
	s, err := story.Parse("s.yaml", []byte(strings.NewReplacer(
		"lasts: 1m", "lasts: 1h",
		"{eu-west: {}}", "{eu-west: {}, us-east: {}}",
		"expect: {always: [dns-points-somewhere]}",
		"timeline: [{id: lost, at: 5m, fault: isolated, on: region eu-west}]\nexpect: {after lost: {dns-moved: {within: 2m}}}",
	).Replace(small)))
	require.NoError(t, err)
	x := s.Expect.After[0].Expect[0]
	require.Equal(t, []string{"www.espra.com", "eu-1.live.espra.com"}, x.Params.Names("names"))
	require.Equal(t, []string{"linode", "digitalocean"}, x.Params.Names("at"))
	require.Equal(t, 2*time.Minute, x.Deadline())
}

// Windows line ends and a byte order mark change nothing.
func TestLineEnds(t *testing.T) {
	for _, text := range []string{small, "# note\n" + small + "# end\n", "---\n" + small} {
		want, err := story.Parse("s.yaml", []byte(text))
		require.NoError(t, err)
		got, err := story.Parse("s.yaml", []byte("\ufeff"+strings.ReplaceAll(text, "\n", "\r\n")))
		require.NoError(t, err)
		require.Empty(t, cmp.Diff(want, got, unexported))
	}
}

// Each file in testdata/bad opens with comment lines that give the place and
// the text of all its errors.
func TestBadFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			data, err := os.ReadFile(file)
			require.NoError(t, err)
			var want []string
			for line := range strings.Lines(string(data)) {
				if text, ok := strings.CutPrefix(line, "# want "); ok {
					want = append(want, filepath.Base(file)+":"+strings.TrimSpace(text))
				}
			}
			require.NotEmpty(t, want, "the file does not say what is wrong with it")
			_, err = story.Parse(filepath.Base(file), data)
			var errs story.Errors
			require.ErrorAs(t, err, &errs)
			require.Empty(t, cmp.Diff(want, strings.Split(err.Error(), "\n")))
		})
	}
}

// Errors that a file in testdata could not show well.
func TestBadBytes(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"empty", "", "s.yaml:1:1: the file is empty"},
		{"only a comment", "# nothing\n", "s.yaml:1:1: the file is empty"},
		{"too big", strings.Repeat("# very long\n", 30000), "s.yaml:1:1: the file has more than 262144 bytes"},
		{"not UTF-8", "format: 1\ntitle: caf\xe9\n", "s.yaml:2:11: not valid UTF-8"},
		{"control character", "format: 1\ntitle: a\x07b\n", "s.yaml:2:9: control character U+0007"},
		{"deep lists", "a: " + strings.Repeat("[", 1000), "s.yaml:1:20: nested too deeply"},
		{"deep dashes", strings.Repeat("- ", 1000), "s.yaml:1:101: nested too deeply"},
		{"many words", strings.Repeat("a: b\n", 20000), "s.yaml:13334:2: the file is too long: more than 40000 words and signs"},
		{"text", "once upon a time\n", "s.yaml:1:1: the file: want a mapping, got text"},
		{"a list", "- format: 1\n", "s.yaml:1:1: the file: want a mapping, got a list"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := story.Parse("s.yaml", []byte(c.text))
			require.EqualError(t, err, c.want)
		})
	}
}

func TestCounts(t *testing.T) {
	events := func(n int) string {
		var b strings.Builder
		b.WriteString("timeline:\n")
		for range n {
			b.WriteString("- {}\n")
		}
		return small + b.String()
	}
	for _, c := range []struct{ name, text, want string }{
		{"events", events(1001), "timeline: 1001 entries; at most 1000"},
		{"machines", strings.Replace(small, "{eu-west: {}}", "{eu-west: {proxy: 1000, live: 1000}}", 1), "topology: 2023 machines; at most 2000"},
		{
			"clients", small + "workload: [{id: a, browsers: 6000, do: [load apex every 1s]}, {id: b, browsers: 6000, do: [load apex every 1s]}]",
			"workload: 12000 clients; at most 10000",
		},
		{"duration", strings.Replace(small, "1m", "31d", 1), "lasts: 31d is more than 30 days"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := story.Parse("s.yaml", []byte(c.text))
			require.ErrorContains(t, err, c.want)
		})
	}

	// However much is wrong, the list of errors has an end.
	_, err := story.Parse("s.yaml", []byte(events(1000)))
	var errs story.Errors
	require.ErrorAs(t, err, &errs)
	require.Len(t, errs, 100)
}

// A file that is cut off anywhere is never taken for a whole one that says
// something else without the cut being told, unless what is left is whole.
func TestTruncated(t *testing.T) {
	data, err := testdata.Scenarios.ReadFile("scenarios/region-failover.yaml")
	require.NoError(t, err)
	for n := 0; n < len(data); n += 7 {
		_, err := story.Parse("cut.yaml", data[:n])
		if n < strings.Index(string(data), "\nexpect:") {
			require.Error(t, err, "cut at %d", n)
		}
		requirePlaces(t, "cut.yaml", data[:n], err)
	}
}

func requirePlaces(t *testing.T, file string, data []byte, err error) {
	t.Helper()
	if err == nil {
		return
	}
	var errs story.Errors
	require.ErrorAs(t, err, &errs)
	require.NotEmpty(t, errs)
	lines := strings.Count(string(data), "\n") + 1
	last := story.Pos{}
	for _, e := range errs {
		require.Equal(t, file, e.File)
		require.Positive(t, e.Pos.Line)
		require.Positive(t, e.Pos.Column)
		require.LessOrEqual(t, e.Pos.Line, lines)
		require.NotEmpty(t, e.Message)
		require.NotContains(t, e.Message, "\n")
		require.False(t, e.Pos.Line < last.Line || e.Pos.Line == last.Line && e.Pos.Column < last.Column, "not sorted")
		last = e.Pos
		require.True(t, errors.Is(err, e))
	}
}

func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"../../testdata/scenarios/*.yaml", "testdata/bad/*.yaml"} {
		files, err := filepath.Glob(pattern)
		require.NoError(f, err)
		for _, file := range files {
			data, err := os.ReadFile(file)
			require.NoError(f, err)
			f.Add(data)
		}
	}
	f.Add([]byte(small))
	f.Add([]byte("format: 0\n  0\ntitle: two lines in one value\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := story.Parse("fuzz.yaml", data)
		requirePlaces(t, "fuzz.yaml", data, err)
		if err != nil {
			require.Nil(t, s)
			return
		}
		machines := s.Machines()
		for _, e := range s.Timeline {
			require.Positive(t, e.At)
			require.Less(t, e.At, s.Lasts)
			require.NotEmpty(t, e.Fault)
			require.NotEmpty(t, e.On.Match(machines))
		}
	})
}
