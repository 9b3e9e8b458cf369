package sms_test

import (
	"net/netip"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/monitor/sms"
	"github.com/espra/protoplex/nodes"
)

func TestProvider(t *testing.T) {
	const text = `
- kind: twilio
  account: AC00000000000000000000000000000001
  token: /etc/protoplex/twilio.token
  from: "+15550000000"
- kind: sns
  region: eu-west-1
  credentials: /etc/protoplex/sns.key
`
	var all []sms.Provider
	require.NoError(t, yaml.UnmarshalWithOptions([]byte(text), &all, yaml.Strict()))
	twilio, sns := all[0], all[1]
	require.Empty(t, twilio.Check())
	require.Empty(t, sns.Check())
	require.Equal(t, "twilio", twilio.Name())
	require.Equal(t, "sns-eu-west-1", sns.Name())

	for want, spoil := range map[string]func() sms.Provider{
		`kind: "snss" is neither twilio nor sns`:          func() sms.Provider { p := sns; p.Kind = "snss"; return p },
		`kind: "" is neither`:                             func() sms.Provider { return sms.Provider{} },
		`url: "sns" is no http or https URL`:              func() sms.Provider { p := sns; p.URL = "sns"; return p },
		`region: "eu-west" is not like eu-west-1`:         func() sms.Provider { p := sns; p.Region = "eu-west"; return p },
		`credentials: "key" is not an absolute file name`: func() sms.Provider { p := sns; p.Credentials = "key"; return p },
		`account: not for sns`:                            func() sms.Provider { p := sns; p.Account = "AC1"; return p },
		`token: not for sns`:                              func() sms.Provider { p := sns; p.Token = "/token"; return p },
		`from: "E S P R A" is neither a number`:           func() sms.Provider { p := sns; p.From = "E S P R A"; return p },
		`account: is needed`:                              func() sms.Provider { p := twilio; p.Account = ""; return p },
		`from: is needed`:                                 func() sms.Provider { p := twilio; p.From = ""; return p },
		`token: "" is not an absolute file name`:          func() sms.Provider { p := twilio; p.Token = ""; return p },
		`region: not for twilio`:                          func() sms.Provider { p := twilio; p.Region = "eu-west-1"; return p },
		`credentials: not for twilio`:                     func() sms.Provider { p := twilio; p.Credentials = "/key"; return p },
	} {
		found := spoil().Check()
		require.NotEmpty(t, found, want)
		require.Contains(t, found[0].Key+": "+found[0].Text, want)
	}
}

func TestNewRefuses(t *testing.T) {
	m, err := nodes.NewOS(nodes.OSOptions{Host: nodes.Host{Addr: netip.MustParseAddr("127.0.0.1")}, Root: t.TempDir()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	for name, text := range map[string]string{"/empty": "\n", "/two": "a:b\nc:d\n", "/half": "AKID\n"} {
		f, err := m.Disk().Create(name)
		require.NoError(t, err)
		_, err = f.WriteAt([]byte(text), 0)
		require.NoError(t, err)
		require.NoError(t, f.Close())
	}
	for want, p := range map[string]sms.Provider{
		"twilio: token: ":                            {Kind: "twilio", Token: "/none"},
		"twilio: token: /empty: want one line":       {Kind: "twilio", Token: "/empty"},
		"sns-eu-west-1: credentials: /two: want one": {Kind: "sns", Region: "eu-west-1", Credentials: "/two"},
		"credentials: want ID:SECRET in /half":       {Kind: "sns", Region: "eu-west-1", Credentials: "/half"},
		`kind "" is neither`:                         {},
	} {
		_, err := sms.New(m, nil, p)
		require.ErrorContains(t, err, want)
	}
}
