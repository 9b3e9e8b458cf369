package story_test

import (
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/scenarios/story"
	"github.com/espra/protoplex/testdata"
)

// requireRewritten writes a story and reads it back.
func requireRewritten(t *testing.T, s *story.Story) {
	t.Helper()
	text := story.Format(s)
	again, err := story.Parse(s.File, text)
	require.NoError(t, err, "%s", text)
	require.Empty(t, cmp.Diff(s, again, unexported, cmpopts.IgnoreTypes(story.Pos{})), "%s", text)
	require.Equal(t, string(text), string(story.Format(again)))
}

// What is written is read back as an equal story.
func TestFormat(t *testing.T) {
	files, err := fs.Glob(testdata.Scenarios, "scenarios/*.yaml")
	require.NoError(t, err)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := testdata.Scenarios.ReadFile(file)
			require.NoError(t, err)
			s, err := story.Parse(file, data)
			require.NoError(t, err)
			requireRewritten(t, s)

			odd := *s
			odd.Found = &story.Found{Seed: math.MaxUint64, Kind: "crash", Cause: "panic: \"a\\b\" [re-panicked]", By: "protoplex 1"}
			for _, text := range []string{"true", "12:30", "# no comment", "a: b", "{x}", "naïve, 'quoted' \"twice\"", "~", "-1", "a \U0001f4a3"} {
				odd.Title, odd.Text = text, text+"\n\n  indented\n"+text
				requireRewritten(t, &odd)
			}
		})
	}
}

func FuzzFormat(f *testing.F) {
	files, err := filepath.Glob("../../testdata/scenarios/*.yaml")
	require.NoError(f, err)
	for _, file := range files {
		data, err := os.ReadFile(file)
		require.NoError(f, err)
		f.Add(data)
	}
	f.Add([]byte(small + "found: {seed: 3, kind: leak, cause: code outlived its machine, by: protoplex 1}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if s, err := story.Parse("fuzz.yaml", data); err == nil {
			requireRewritten(t, s)
		}
	})
}
