package config

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNearest(t *testing.T) {
	known := []string{"us-east", "eu-west", "www"}
	for word, want := range map[string]string{
		"us-eats": "us-east", "us-aest": "us-east", "useast": "us-east", "us-wast": "us-east", "eu-wets": "eu-west",
		"ww": "www", "w": "", "moon": "", "us-east": "", "": "",
		"WWW": "www", "US-Eats": "us-east",
	} {
		require.Equal(t, want, Nearest(word, known), word)
	}
	require.Equal(t, 1, distance("ab", "ba"))
	require.Equal(t, 3, distance("kitten", "sitting"))
	require.Equal(t, 2, distance("naïve", "nave!"))
}
