package redirect

import (
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/miekg/dns"

	"github.com/espra/protoplex/nodes"
	"github.com/espra/protoplex/nodes/config"
)

// Config is the file that says what is redirected where. The file
// testdata/redirect.yaml shows every key.
type Config struct {
	HTTP         string   `yaml:"http,omitempty"`         // host:port for plain HTTP, none if empty
	HTTPS        string   `yaml:"https,omitempty"`        // host:port for TLS, none if empty
	Certificates []string `yaml:"certificates,omitempty"` // PEM files with certificate and key, for HTTPS
	Hosts        []Host   `yaml:"hosts"`
}

// Host is a host whose requests are redirected to another, by https.
type Host struct {
	From string `yaml:"from"`
	To   string `yaml:"to"`
}

// maxConfig bounds the configuration file.
const maxConfig = 256 << 10

// Load reads a configuration file. All that is wrong comes as config.Errors,
// with the name as shown.
func Load(d nodes.Disk, name, shown string) (*Config, error) {
	text, err := nodes.ReadFile(d, name, maxConfig)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return parseConfig(shown, text)
}

func parseConfig(name string, text []byte) (*Config, error) {
	c := &Config{HTTP: ":80", HTTPS: ":443"}
	f := config.Read(name, text, c)
	for key, address := range map[string]string{"http": c.HTTP, "https": c.HTTPS} {
		if _, port, err := net.SplitHostPort(address); address != "" && (err != nil || port == "") {
			f.Failf(key, "%q is not host:port", config.Clip(address))
		}
	}
	switch {
	case c.HTTP == "" && c.HTTPS == "":
		f.Failf("", "neither http nor https")
	case c.HTTPS != "" && len(c.Certificates) == 0:
		f.Failf("certificates", "https needs at least one")
	}
	for i, file := range c.Certificates {
		if !strings.HasPrefix(file, "/") {
			f.Failf(fmt.Sprintf("certificates[%d]", i), "%q is not an absolute file name", config.Clip(file))
		}
	}
	if len(c.Hosts) == 0 {
		f.Failf("hosts", "at least one is needed")
	}
	froms := map[string]bool{}
	for i, h := range c.Hosts {
		at := fmt.Sprintf("hosts[%d]", i)
		for key, host := range map[string]string{".from": h.From, ".to": h.To} {
			if !isHost(host) {
				f.Failf(at+key, "%q is no host name", config.Clip(host))
			}
		}
		if froms[canonical(h.From)] {
			f.Failf(at+".from", "%s comes twice", config.Clip(h.From))
		}
		froms[canonical(h.From)] = true
	}
	for i, h := range c.Hosts {
		if froms[canonical(h.To)] {
			f.Failf(fmt.Sprintf("hosts[%d].to", i), "%s is redirected itself", config.Clip(h.To))
		}
	}
	return c, f.Err()
}

// isHost tells whether a text is the name of a host, and nothing that could be
// read otherwise at the front of a URL.
func isHost(host string) bool {
	_, ok := dns.IsDomainName(host)
	if _, err := netip.ParseAddr(host); err == nil || !ok {
		return false
	}
	return host != "" && strings.Trim(strings.ToLower(host), "abcdefghijklmnopqrstuvwxyz0123456789-.") == "" &&
		!strings.HasPrefix(host, ".") && !strings.Contains(host, "..")
}

// canonical is a host as hosts are compared.
func canonical(host string) string { return strings.ToLower(strings.TrimSuffix(host, ".")) }
