package keep

import (
	"fmt"
	"net"
	"net/netip"
	"path"
	"regexp"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/espra/protoplex/nodes"
	"github.com/espra/protoplex/nodes/config"
)

// Config is the file that says which zone is kept where. Files are relative to
// its folder. The file testdata/dns.yaml shows every key.
type Config struct {
	Zone      string        `yaml:"zone"`                // without the final dot
	File      string        `yaml:"file"`                // the zone file
	Owner     string        `yaml:"owner"`               // whose records these are, in the marks
	Guard     int           `yaml:"guard,omitempty"`     // percent of the kept records that one plan may change or delete
	TTL       TTLs          `yaml:"ttl,omitempty"`       // outside of which there is a warning
	ReadBack  time.Duration `yaml:"read-back,omitempty"` // how long name servers are waited for
	Providers []Provider    `yaml:"providers"`

	name string // of the file, for reading
}

// TTLs is a range of TTLs.
type TTLs struct {
	Low  time.Duration `yaml:"low,omitempty"`
	High time.Duration `yaml:"high,omitempty"`
}

// Provider is one provider of the zone.
type Provider struct {
	Name        string   `yaml:"name"` // linode or digitalocean
	URL         string   `yaml:"url"`
	Token       string   `yaml:"token"`       // file
	Authorities []string `yaml:"authorities"` // host:port of each of its name servers
	// Nameservers are their names in NS records: the hosts of the authorities, if
	// left out and those are names.
	Nameservers []string `yaml:"nameservers,omitempty"`
}

// The providers that are known.
const (
	linode       = "linode"
	digitalOcean = "digitalocean"
)

// Bounds of the files.
const (
	maxConfig   = 256 << 10
	maxZoneFile = 1 << 20
)

// Load reads a configuration file and the zone file that it names. All that is
// wrong comes as config.Errors, with the names as shown.
func Load(d nodes.Disk, name, shown string) (*Config, *File, error) {
	text, err := nodes.ReadFile(d, name, maxConfig)
	if err != nil {
		return nil, nil, fmt.Errorf("read configuration: %w", err)
	}
	c, err := parseConfig(shown, text)
	if err != nil {
		return nil, nil, err
	}
	c.name = name
	if text, err = nodes.ReadFile(d, c.path(c.File), maxZoneFile); err != nil {
		return nil, nil, fmt.Errorf("%s: file: %w", shown, err)
	}
	f, err := parseFile(path.Join(path.Dir(shown), c.File), string(text), c)
	if err != nil {
		return nil, nil, err
	}
	return c, f, nil
}

// path is where a file of the configuration is.
func (c *Config) path(name string) string {
	if path.IsAbs(name) {
		return name
	}
	return path.Join(path.Dir(c.name), name)
}

// word is what an owner may look like: it goes into marks.
var word = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,39}$`)

func parseConfig(name string, text []byte) (*Config, error) {
	c := &Config{Guard: 30, TTL: TTLs{30 * time.Second, 24 * time.Hour}, ReadBack: 5 * time.Minute}
	f := config.Read(name, text, c)
	if _, ok := dns.IsDomainName(c.Zone); !ok || c.Zone == "" || c.Zone != strings.ToLower(strings.TrimSuffix(c.Zone, ".")) {
		f.Failf("zone", "%q is no domain name in lower case without final dot", config.Clip(c.Zone))
	}
	if c.File == "" {
		f.Failf("file", "is empty")
	}
	if !word.MatchString(c.Owner) {
		f.Failf("owner", "%q must be 1 to 40 of a-z, 0-9 and dash", config.Clip(c.Owner))
	}
	if c.Guard < 1 || c.Guard > 100 {
		f.Failf("guard", "%d is no percentage from 1 to 100", c.Guard)
	}
	if c.TTL.Low < 0 || c.TTL.High < c.TTL.Low {
		f.Failf("ttl", "low is %v, high %v", c.TTL.Low, c.TTL.High)
	}
	if c.ReadBack <= 0 || c.ReadBack > time.Hour {
		f.Failf("read-back", "want more than nothing and at most 1h, not %v", c.ReadBack)
	}
	if len(c.Providers) == 0 {
		f.Failf("providers", "at least one is needed")
	}
	seen := map[string]bool{}
	for i := range c.Providers {
		p, at := &c.Providers[i], fmt.Sprintf("providers[%d]", i)
		known := []string{linode, digitalOcean}
		switch {
		case p.Name != linode && p.Name != digitalOcean:
			f.Failf(at+".name", "%q is neither linode nor digitalocean%s", config.Clip(p.Name), config.Suggest(p.Name, known))
		case seen[p.Name]:
			f.Failf(at+".name", "%s comes twice", p.Name)
		}
		seen[p.Name] = true
		if err := config.CheckAPI(p.URL); err != nil {
			f.Failf(at+".url", "%v", err)
		}
		if p.Token == "" {
			f.Failf(at+".token", "is empty")
		}
		if len(p.Authorities) == 0 {
			f.Failf(at+".authorities", "at least one is needed, to read back")
		}
		for j, a := range p.Authorities {
			host, port, err := net.SplitHostPort(a)
			if err != nil || host == "" || port == "" {
				f.Failf(fmt.Sprintf("%s.authorities[%d]", at, j), "%q is not host:port", config.Clip(a))
			}
			if _, err := netip.ParseAddr(host); err != nil && host != "" && !f.Given(at+".nameservers") {
				p.Nameservers = append(p.Nameservers, host)
			}
		}
		for j, ns := range p.Nameservers {
			if _, ok := dns.IsDomainName(ns); !ok {
				f.Failf(fmt.Sprintf("%s.nameservers[%d]", at, j), "%q is no host name", config.Clip(ns))
			}
			p.Nameservers[j] = strings.ToLower(strings.TrimSuffix(ns, "."))
		}
	}
	return c, f.Err()
}

// uncovered lists the providers none of whose name servers are among these.
func (c *Config) uncovered(nameservers []string) []string {
	has := map[string]bool{}
	for _, ns := range nameservers {
		has[ns] = true
	}
	var missing []string
	for _, p := range c.Providers {
		covered := len(p.Nameservers) == 0 // nobody can tell
		for _, ns := range p.Nameservers {
			covered = covered || has[ns]
		}
		if !covered {
			missing = append(missing, p.Name)
		}
	}
	return missing
}
