package story_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/scenarios/story"
)

// Every fault belongs to a family, says what it is and what is promised under
// it, and has an example that can be played.
func TestFaults(t *testing.T) {
	for _, f := range story.Faults {
		t.Run(f.Name, func(t *testing.T) {
			require.Contains(t, story.Families, f.Family)
			require.NotEmpty(t, f.About)
			require.NotEmpty(t, f.Promise)
			require.NotEmpty(t, f.On)
			text := strings.NewReplacer("lasts: 1m", "lasts: 10m",
				"{eu-west: {}}", "{us-east: {seed: 1, understudy: 1, scaling: {min: 1, max: 3}}, eu-west: {}}, sms: [twilio, sns]").Replace(small) +
				"workload: [{id: us-browsers, browsers: 2, home: us-1.live, do: [subscribe to 1 channel]}]\n" +
				"timeline:\n" + f.Example()
			s, err := story.Parse("example.yaml", []byte(text))
			require.NoError(t, err, text)
			require.Equal(t, f.Name, s.Timeline[0].Fault)
			require.Len(t, s.Timeline[0].Params, len(f.Params))
		})
	}
}
