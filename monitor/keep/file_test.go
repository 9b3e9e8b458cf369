package keep

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func testConfig(t testing.TB) *Config {
	text, err := os.ReadFile("testdata/dns.yaml")
	require.NoError(t, err)
	c, err := parseConfig("dns.yaml", text)
	require.NoError(t, err)
	return c
}

func TestExample(t *testing.T) {
	c := testConfig(t)
	require.Equal(t, []string{"ns1.linode.com", "ns2.linode.com", "ns3.linode.com", "ns4.linode.com", "ns5.linode.com"}, c.Providers[0].Nameservers)
	text, err := os.ReadFile("testdata/espra.com.zone")
	require.NoError(t, err)
	f, err := parseFile("espra.com.zone", string(text), c)
	require.NoError(t, err)
	require.Empty(t, f.Warnings)
	require.Len(t, f.Records, 15)
	require.Equal(t, "*.dev.espra.com A 192.0.2.30", identity(f.Records[0]))
	require.Equal(t, "espra.com.zone:24:1", f.where(f.Records[0]))
	require.Equal(t, 5*time.Minute, f.Records[3].TTL)
}

func TestBadConfig(t *testing.T) {
	text, err := os.ReadFile("testdata/dns.yaml")
	require.NoError(t, err)
	for _, c := range []struct{ old, new, want string }{
		{"owner: espra ", "ownr: espra ", `dns.yaml:4:1: unknown key "ownr"; did you mean owner?`},
		{"name: linode", "name: linoed", `dns.yaml:10:11: providers[0].name: "linoed" is neither linode nor digitalocean; did you mean linode?`},
		{"zone: espra.com", "zone: Espra.com.", `dns.yaml:2:7: zone: "Espra.com." is no domain name in lower case without final dot`},
		{"guard: 30", "guard: 0", `dns.yaml:5:8: guard: 0 is no percentage from 1 to 100`},
		{"https://api.linode", "http://api.linode", `dns.yaml:11:10: providers[0].url: want https: a secret would be read on the way`},
		{"ns2.linode.com:53", "ns2.linode.com", `dns.yaml:13:38: providers[0].authorities[1]: "ns2.linode.com" is not host:port`},
		{"read-back: 5m", "read-back: 2h", `dns.yaml:7:12: read-back: want more than nothing and at most 1h, not 2h0m0s`},
	} {
		require.Contains(t, string(text), c.old)
		_, err := parseConfig("dns.yaml", []byte(strings.Replace(string(text), c.old, c.new, 1)))
		require.EqualError(t, err, c.want)
	}
}

// Mistakes are told with their place, all at once.
func TestBadFile(t *testing.T) {
	for text, want := range map[string]string{
		"a CNMAE b\nb A 1\nc MX 10 mail\nd AAA ::1\n": `z:1:3: "CNMAE" is neither a record type nor a TTL; did you mean CNAME?` + "\n" +
			`z:2:4: bad A A: "1"` + "\n" + `z:4:3: "AAA" is neither a record type nor a TTL; did you mean AAAA?`,
		"$INCLUDE /etc/passwd\n":                        `z:1:1: $INCLUDE is not allowed`,
		"a A 192.0.2.1\n$GENERATE 1-9 a$ A 192.0.2.1\n": `z:2:1: $GENERATE is not allowed`,
		"a CNAME b\n; c\n\na A 192.0.2.1\n":             `z:4:1: a.espra.com A: stands beside the CNAME at 1:1`,
		"a A 192.0.2.1\na CNAME b\n":                    `z:2:1: a.espra.com CNAME: nothing may stand beside a CNAME, and A at 1:1 does`,
		"a CNAME b\na CNAME c\n":                        `z:2:1: a.espra.com CNAME: a second CNAME; first at 1:1`,
		"a A 192.0.2.1\na A 192.0.2.1\n":                `z:2:1: a.espra.com A: comes twice; first at 1:1`,
		"a A 192.0.2.1\na 30 A 192.0.2.2\n":             `z:2:1: a.espra.com A: has a TTL of 30s, and one of 1h0m0s at 1:1; records of one name and type share it`,
		"@ CNAME b\n":                                   `z:1:1: espra.com CNAME: the zone itself cannot be an alias, as it has SOA and NS records`,
		"a.example. A 192.0.2.1\n":                      `z:1:1: a.example A: is outside of espra.com; is a dot missing, or too much?`,
		"_home.www TXT x\n":                             `z:1:1: _home.www.espra.com TXT: _home names are the monitors'`,
		"_owner.www TXT x\n":                            `z:1:1: _owner.www.espra.com TXT: _owner names are for marks of ownership`,
		"a HINFO a b\n":                                 `z:1:1: a.espra.com HINFO: no provider keeps such records; those that are kept: A AAAA CAA CNAME MX NS PTR SRV TXT`,
		"a NS ns.b\nx.a A 192.0.2.1\n":                  `z:2:1: x.a.espra.com A: hidden, as a.espra.com is delegated to others`,
		"@ MX 1 a\na CNAME b\n":                         `z:1:1: espra.com MX: a.espra.com is an alias, and may not be`,
		"a CH TXT x\n":                                  `z:1:1: a.espra.com TXT: is of class CH, not IN`,
		"a TXT (\n \"x\"\n \"y\" )\na TXT xy":           `z:4:1: a.espra.com TXT: comes twice; first at 1:1`,
	} {
		_, err := parseFile("z", "$TTL 1h\n"+text, testConfig(t))
		require.Error(t, err, text)
		got := regexp.MustCompile(`(z:|at )\d+`).ReplaceAllStringFunc(err.Error(), func(at string) string {
			i := strings.LastIndexAny(at, ": ") + 1
			n, err := strconv.Atoi(at[i:])
			require.NoError(t, err)
			return at[:i] + strconv.Itoa(n-1) // without the line put before
		})
		if strings.HasPrefix(want, "z:") {
			require.Equal(t, want, got, text)
		} else {
			require.ErrorContains(t, err, want, text)
		}
	}
}

// A file that was truncated says that nothing is to be kept, and nobody means that.
func TestFileWithoutRecords(t *testing.T) {
	for _, text := range []string{"", "\n; nothing\n", "$TTL 1h\n@ SOA ns1.linode.com. hostmaster 1 1 1 1 1\n@ NS ns1.linode.com.\n"} {
		_, err := parseFile("z", text, testConfig(t))
		require.EqualError(t, err, "z:1:1: no records to keep in it", text)
	}
}

func TestWarnings(t *testing.T) {
	f, err := parseFile("z", "a 10 A 192.0.2.1\nb 2d A 192.0.2.1\n@ 1h NS ns1.linode.com.\n", testConfig(t))
	require.NoError(t, err)
	require.Equal(t, []string{
		"z:1:1: warning: a.espra.com A: a TTL of 10s is not within 30s and 24h0m0s",
		"z:2:1: warning: b.espra.com A: a TTL of 48h0m0s is not within 30s and 24h0m0s",
		"z:3:1: warning: the NS records of espra.com name no server of digitalocean",
	}, f.Warnings)
}

// What is allowed and hardly ever meant.
func TestDoubts(t *testing.T) {
	for text, want := range map[string]string{
		"mail A 192.0.2.1\n@ MX 10 mial\n":       "z:3:1: warning: espra.com MX: mial.espra.com has no address here; did you mean mail.espra.com?",
		"_x._tcp SRV 0 1 2 host\n":               "z:2:1: warning: _x._tcp.espra.com SRV: host.espra.com has no address here",
		"a NS ns.a\n":                            "z:2:1: warning: a.espra.com NS: ns.a.espra.com has no address here",
		"docs.espra.com A 192.0.2.1\n":           "z:2:1: warning: docs.espra.com.espra.com A: ends in espra.com twice; is a final dot missing?",
		"mail AAAA ::1\n@ MX 10 mail\n":          "",
		"*.m A 192.0.2.1\n@ MX 10 a.m\n":         "",
		"@ MX 0 .\n":                             "",
		"@ MX 10 mail.espra.com.example.\n":      "",
		"@ A 192.0.2.1\n@ MX 10 @\n":             "",
		"a NS ns.example.net.\n@ MX 10 mail.a\n": "", // others know
		"m CNAME www\n":                          "", // the monitors may
		"other-espra.com A 192.0.2.1\n":          "",
		"x.espra.com.espra.com. A 192.0.2.1\n":   "z:2:1: warning: x.espra.com.espra.com A: ends in espra.com twice; is a final dot missing?",
		"*.m TXT x\n@ MX 10 a.m\n*.n TXT x\n":    "z:3:1: warning: espra.com MX: a.m.espra.com has no address here",
	} {
		f, err := parseFile("z", "$TTL 1h\n"+text, testConfig(t))
		require.NoError(t, err, text)
		require.Equal(t, want, strings.Join(f.Warnings, "\n"), text)
	}
}

// Whatever a file says, it is read or refused with places, and what is read can
// be marked.
func FuzzFile(f *testing.F) {
	text, err := os.ReadFile("testdata/espra.com.zone")
	require.NoError(f, err)
	f.Add(string(text))
	f.Add("a 60 CNMAE b\n$GENERATE 1-99999999 a$ A 192.0.2.1\n")
	f.Add("a 60 TXT ( \"x\n)\n$TTL x\n")
	f.Add("*.*.a 60 A 192.0.2.1\n\\046 60 A 192.0.2.1")
	c := testConfig(f)
	f.Fuzz(func(t *testing.T, text string) {
		file, err := parseFile("z", text, c)
		if err != nil {
			for _, line := range strings.Split(err.Error(), "\n") {
				require.Regexp(t, `^z:[1-9]\d*:[1-9]\d*: `, line)
			}
			return
		}
		for _, r := range file.Records {
			require.True(t, r.Name == c.Zone || strings.HasSuffix(r.Name, "."+c.Zone), r.Name)
			name, ok := markedName(markOf(r.Name))
			require.True(t, ok)
			require.Equal(t, r.Name, name)
		}
	})
}

func FuzzMark(f *testing.F) {
	f.Add("v=owner1 owner=espra types=A,MX")
	f.Add("v=owner1 types=,, owner=")
	f.Fuzz(func(t *testing.T, text string) {
		m, ok := ParseMark(text)
		if !ok {
			return
		}
		again, ok := ParseMark(m.String())
		require.True(t, ok)
		require.Equal(t, m, again)
	})
}
