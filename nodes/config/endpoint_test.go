package config_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/nodes/config"
)

func TestCheckAPI(t *testing.T) {
	for s, want := range map[string]string{
		"https://api.linode.com":        "",
		"http://localhost:8080/v4":      "",
		"http://127.77.2.20:8080":       "",
		"http://[::1]:8080":             "",
		"http://api.linode.com":         "want https",
		"http://10.0.0.1":               "want https",
		"http://127.0.0.1.example.com":  "want https",
		"api.linode.com":                "no http or https URL",
		"ftp://api.linode.com":          "no http or https URL",
		"https://":                      "no http or https URL",
		"https://ana:pw@api.linode.com": "no http or https URL",
		"":                              "no http or https URL",
	} {
		err := config.CheckAPI(s)
		if want == "" {
			require.NoError(t, err, s)
			continue
		}
		require.ErrorContains(t, err, want, s)
	}
}
