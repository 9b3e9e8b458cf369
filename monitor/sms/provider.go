package sms

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/espra/protoplex/nodes"
)

// KindTwilio is a kind of provider.
const KindTwilio = "twilio"

// maxSecret bounds a file with a secret, in bytes.
const maxSecret = 4 << 10

// Provider configures a Texter, as one entry of a list in a YAML file.
type Provider struct {
	Kind    string `yaml:"kind"` // twilio
	URL     string `yaml:"url,omitempty"`
	From    string `yaml:"from,omitempty"`
	Account string `yaml:"account,omitempty"`
	Token   string `yaml:"token,omitempty"`  // file
	Region  string `yaml:"region,omitempty"` // that it stands in, such as eu-west-1
}

// Name is what the Texter of this provider is called.
func (p Provider) Name() string { return p.Kind }

// Check gives all that is wrong with the entry, without reading its files.
func (p Provider) Check() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if p.Kind != KindTwilio {
		bad("kind: %q is not %s", p.Kind, KindTwilio)
	}
	if u, err := url.Parse(p.URL); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		bad("url: %q is no http or https URL", p.URL)
	}
	if !strings.HasPrefix(p.Token, "/") {
		bad("token: %q is not an absolute file name", p.Token)
	}
	return errors.Join(errs...)
}

// New makes the Texter of a provider that has passed Check, with the secrets in
// its files, on m's disk. All its requests go through client.
func New(m nodes.Machine, client *http.Client, p Provider) (Texter, error) {
	token, err := nodes.ReadFile(m.Disk(), p.Token, maxSecret)
	if err != nil {
		return nil, fmt.Errorf("%s: token: %w", p.Name(), err)
	}
	return &Twilio{HTTP: client, URL: p.URL, Account: p.Account, Token: strings.TrimSpace(string(token)), From: p.From}, nil
}
