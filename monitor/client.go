package monitor

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/espra/protoplex/monitor/sms"
	"github.com/espra/protoplex/nodes"
)

// Client speaks to a running vantage as one of its admins does. It may be used
// concurrently.
type Client struct {
	m      nodes.Machine
	cfg    Config
	url    string // of the vantage, no final slash
	secret secret // nil without one
	http   *http.Client
}

// NewClient makes a client with the configuration of a vantage. The url is that
// of the vantage to speak to; if it is empty, that is the one which runs with
// this configuration on this machine, whose certificate must then be the one in
// its file: for the minute after a renewal it may not be.
func NewClient(m nodes.Machine, cfg Config, url string) (*Client, error) {
	read := func(what, name string) ([]byte, error) {
		text, err := nodes.ReadFile(m.Disk(), name, maxConfig)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", what, err)
		}
		return text, nil
	}
	c := &Client{m: m, cfg: cfg, url: strings.TrimSuffix(url, "/")}
	if cfg.Secret != "" {
		text, err := read("secret", cfg.Secret)
		if err != nil {
			return nil, err
		}
		if c.secret, err = parseSecret(text); err != nil {
			return nil, fmt.Errorf("secret %s: %w", cfg.Secret, err)
		}
	}
	var roots *x509.CertPool
	if cfg.Roots != "" {
		text, err := read("roots", cfg.Roots)
		if err != nil {
			return nil, err
		}
		if roots, err = parseRoots(text); err != nil {
			return nil, fmt.Errorf("roots %s: %w", cfg.Roots, err)
		}
	}
	c.http = httpClient(m, trusting(m, roots), 0)
	if url != "" {
		return c, nil
	}
	host, port, err := net.SplitHostPort(cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen %q: %w", cfg.Listen, err)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	c.url = "http://" + net.JoinHostPort(host, port)
	if cfg.Cert != "" {
		text, err := read("certificate", cfg.Cert)
		if err != nil {
			return nil, err
		}
		pair, err := tls.X509KeyPair(text, text)
		if err != nil {
			return nil, fmt.Errorf("certificate %s: %w", cfg.Cert, err)
		}
		c.url = "https" + strings.TrimPrefix(c.url, "http")
		c.http = httpClient(m, &tls.Config{
			Time: m.Now, MinVersion: tls.VersionTLS12,
			// Its names are not those by which this machine calls itself, so the
			// certificate itself is compared.
			InsecureSkipVerify: true,
			VerifyConnection: func(s tls.ConnectionState) error {
				if !bytes.Equal(s.PeerCertificates[0].Raw, pair.Certificate[0]) {
					return errors.New("not the certificate of this configuration")
				}
				return nil
			},
		}, 0)
	}
	return c, nil
}

// Do gives a command and returns what the vantage says. At is set here.
func (c *Client) Do(ctx context.Context, command Command) (string, error) {
	if c.secret == nil {
		return "", errors.New("the configuration names no secret, so no vantage takes commands")
	}
	command.At = c.m.Now().UTC()
	body, err := json.Marshal(command)
	if err != nil {
		return "", fmt.Errorf("encode command: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+"/commands", bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set(commandHeader, c.secret.sign(body))
	said, err := c.ask(req)
	return strings.TrimSpace(string(said)), err
}

// Status asks what the vantage believes. Without the secret in the configuration it
// names nobody.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var s Status
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url+"/status", nil)
	if err != nil {
		return s, err
	}
	if c.secret != nil {
		req.Header.Set(commandHeader, c.secret.sign([]byte(statusQuestion)))
	}
	text, err := c.ask(req)
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(text, &s); err != nil {
		return s, fmt.Errorf("%s: read status: %w", c.url, err)
	}
	return s, nil
}

func (c *Client) ask(req *http.Request) ([]byte, error) {
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("%s: read answer: %w", c.url, err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", c.url, strings.TrimSpace(string(text[:min(len(text), 1000)])))
	}
	return text, nil
}

// TestText is what became of a text that tries a provider.
type TestText struct {
	Admin, Provider string
	Receipt         sms.Receipt
	Delivery        sms.Delivery
	Err             error
}

// TestPage sends one text to each of the admins through each provider of the
// configuration, from this machine, and waits until it knows what became of
// them or ctx ends. It tells each result once, in the order of admins and
// providers.
func TestPage(ctx context.Context, m nodes.Machine, cfg Config, admins []Admin, tell func(TestText)) error {
	client, err := NewClient(m, cfg, "http://unused")
	if err != nil {
		return err
	}
	var texters []sms.Texter
	for _, p := range cfg.SMS {
		t, err := sms.New(m, client.http, p)
		if err != nil {
			return fmt.Errorf("sms: %w", err)
		}
		texters = append(texters, t)
	}
	for _, admin := range admins {
		for _, t := range texters {
			tell(testOne(ctx, m, cfg.Name, admin, t))
		}
	}
	return nil
}

// testPause is how long a delivery is given between two questions.
const testPause = 2 * apiLimit / 10

func testOne(ctx context.Context, m nodes.Machine, from string, admin Admin, t sms.Texter) TestText {
	result := TestText{Admin: admin.Name, Provider: t.Name()}
	limited := func(what string, f func(context.Context)) {
		ctx, cancel := nodes.Timeout(ctx, m, what, apiLimit)
		defer cancel()
		f(ctx)
	}
	limited("test text", func(ctx context.Context) {
		result.Receipt, result.Err = t.Text(ctx, admin.Phone, sms.Test(m.Now(), from, t.Name()))
	})
	for result.Receipt.Outcome == sms.Accepted && result.Receipt.ID != "" {
		limited("test delivery", func(ctx context.Context) { result.Delivery, result.Err = t.Delivery(ctx, result.Receipt.ID) })
		if result.Delivery != sms.Underway || nodes.Sleep(ctx, m, "test delivery", testPause) != nil {
			break
		}
	}
	return result
}
