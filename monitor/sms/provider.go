package sms

import (
	"cmp"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"github.com/espra/protoplex/nodes"
	"github.com/espra/protoplex/nodes/config"
)

// The kinds of providers.
const (
	KindTwilio = "twilio"
	KindSNS    = "sns"
)

// Provider configures a Texter, as one entry of a list in a YAML file:
//
//	sms:
//	  - kind: twilio
//	    account: AC00000000000000000000000000000001
//	    token: /etc/protoplex/twilio.token
//	    from: "+15550000000"
//	  - kind: sns
//	    region: eu-west-1
//	    credentials: /etc/protoplex/sns.key
type Provider struct {
	Kind string `yaml:"kind"`           // twilio or sns
	URL  string `yaml:"url,omitempty"`  // of another endpoint than the provider's own
	From string `yaml:"from,omitempty"` // twilio: number or sender; sns: sender id, may be left out

	Account string `yaml:"account,omitempty"` // twilio: account SID
	Token   string `yaml:"token,omitempty"`   // twilio: file with the auth token

	Region      string `yaml:"region,omitempty"`      // sns: Amazon's name of it, such as eu-west-1
	Credentials string `yaml:"credentials,omitempty"` // sns: file with one line, ID:SECRET
}

const (
	twilioURL = "https://api.twilio.com"
	maxSecret = 4 << 10 // bytes of a file with a secret
)

// region is what Amazon's regions are called.
var region = regexp.MustCompile(`^[a-z]{2}(-[a-z]+)+-[0-9]$`)

// sender is a sender id, or a number in international form.
var sender = regexp.MustCompile(`^(\+[1-9][0-9]{6,14}|[A-Za-z0-9-]{1,11})$`)

// Name is what the Texter of this provider is called.
func (p Provider) Name() string {
	if p.Kind == KindSNS {
		return KindSNS + "-" + p.Region
	}
	return p.Kind
}

// Problem is what is wrong with one field of a provider.
type Problem struct {
	Key  string // as in the file
	Text string
}

// Check lists what is wrong with the entry, without reading its files.
func (p Provider) Check() []Problem {
	var found []Problem
	bad := func(key, format string, args ...any) {
		found = append(found, Problem{key, fmt.Sprintf(format, args...)})
	}
	file := func(key, value string) {
		if !strings.HasPrefix(value, "/") {
			bad(key, "%q is not an absolute file name", value)
		}
	}
	strange := func(key, value string) {
		if value != "" {
			bad(key, "not for %s", p.Kind)
		}
	}
	if p.URL != "" {
		if err := config.CheckAPI(p.URL); err != nil {
			bad("url", "%v", err)
		}
	}
	if p.From != "" && !sender.MatchString(p.From) {
		bad("from", "%q is neither a number in international form nor 1 to 11 letters, digits and dashes", p.From)
	}
	switch p.Kind {
	case KindTwilio:
		if p.Account == "" {
			bad("account", "is needed")
		}
		if p.From == "" {
			bad("from", "is needed")
		}
		file("token", p.Token)
		strange("region", p.Region)
		strange("credentials", p.Credentials)
	case KindSNS:
		if !region.MatchString(p.Region) {
			bad("region", "%q is not like eu-west-1", p.Region)
		}
		file("credentials", p.Credentials)
		strange("account", p.Account)
		strange("token", p.Token)
	default:
		bad("kind", "%q is neither %s nor %s%s", p.Kind, KindTwilio, KindSNS, config.Suggest(p.Kind, []string{KindTwilio, KindSNS}))
	}
	return found
}

// New makes the Texter of a provider that has passed Check, with the secrets in
// its files, on m's disk. All its requests go through client.
func New(m nodes.Machine, client *http.Client, p Provider) (Texter, error) {
	switch p.Kind {
	case KindTwilio:
		token, err := secret(m, p.Token)
		if err != nil {
			return nil, fmt.Errorf("%s: token: %w", p.Name(), err)
		}
		return &Twilio{HTTP: client, URL: cmp.Or(p.URL, twilioURL), Account: p.Account, Token: token, From: p.From}, nil
	case KindSNS:
		line, err := secret(m, p.Credentials)
		if err != nil {
			return nil, fmt.Errorf("%s: credentials: %w", p.Name(), err)
		}
		key, secret, _ := strings.Cut(line, ":")
		if key == "" || secret == "" {
			return nil, fmt.Errorf("%s: credentials: want ID:SECRET in %s", p.Name(), p.Credentials)
		}
		return NewSNS(m, client, SNSOptions{URL: p.URL, Region: p.Region, Key: key, Secret: secret, From: p.From}), nil
	}
	return nil, fmt.Errorf("kind %q is neither %s nor %s", p.Kind, KindTwilio, KindSNS)
}

// secret reads the one line of a file.
func secret(m nodes.Machine, name string) (string, error) {
	text, err := nodes.ReadFile(m.Disk(), name, maxSecret)
	if err != nil {
		return "", err
	}
	line := strings.TrimSpace(string(text))
	if line == "" || strings.ContainsAny(line, "\r\n") {
		return "", fmt.Errorf("%s: want one line", name)
	}
	return line, nil
}
