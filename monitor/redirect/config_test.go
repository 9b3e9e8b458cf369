package redirect

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestExample(t *testing.T) {
	text, err := os.ReadFile("testdata/redirect.yaml")
	require.NoError(t, err)
	c, err := parseConfig("redirect.yaml", text)
	require.NoError(t, err)
	require.Equal(t, []Host{{"espra.com", "www.espra.com"}, {"espfile.com", "www.espfile.com"}}, c.Hosts)
	require.Equal(t, ":443", c.HTTPS)
}

// All that is wrong is said at once.
func TestBadConfig(t *testing.T) {
	for text, want := range map[string]string{
		"https: \"\"\nhosts: []":                             "r:2:8: hosts: at least one is needed",
		"hosts: [{from: a.example, to: b.example}]":          "r:1:1: certificates: https needs at least one",
		"http: \"\"\nhttps: \"\"\nhosts: [{from: a, to: b}]": "r:1:1: neither http nor https",
		"https: \"\"\nhost: [{from: a, to: b}]":              "r:2:1: unknown key \"host\"; did you mean hosts?",
		"https: \"\"\nhosts:\n- {from: a.example, to: evil.example/x}\n- {from: A.example., to: u@b}\n- {from: c d, to: 192.0.2.1}": "r:3:25: hosts[0].to: \"evil.example/x\" is no host name\n" +
			"r:4:10: hosts[1].from: A.example. comes twice\nr:4:26: hosts[1].to: \"u@b\" is no host name\n" +
			"r:5:10: hosts[2].from: \"c d\" is no host name\nr:5:19: hosts[2].to: \"192.0.2.1\" is no host name",
		"https: \"\"\nhosts:\n- {from: a, to: b}\n- {from: b, to: a}":  "r:3:17: hosts[0].to: b is redirected itself\nr:4:17: hosts[1].to: a is redirected itself",
		"https: 443\ncertificates: [x.pem]\nhosts: [{from: a, to: b}]": "r:1:8: https: \"443\" is not host:port\nr:2:16: certificates[0]: \"x.pem\" is not an absolute file name",
	} {
		_, err := parseConfig("r", []byte(text))
		require.EqualError(t, err, want, text)
	}
}
