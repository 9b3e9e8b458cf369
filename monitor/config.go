package monitor

import (
	"cmp"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/espra/protoplex/monitor/decide"
	"github.com/espra/protoplex/monitor/home"
	"github.com/espra/protoplex/monitor/observe"
	"github.com/espra/protoplex/monitor/probe"
	"github.com/espra/protoplex/monitor/sms"
	"github.com/espra/protoplex/nodes/config"
)

// Config is one vantage's configuration file. All vantages of a platform must
// agree on everything but name, rank, listen, files and peers. The file
// testdata/monitor.yaml shows every key.
type Config struct {
	Name   string `yaml:"name"`             // of this vantage, unique
	Rank   int    `yaml:"rank"`             // unique; the lowest acts first
	Listen string `yaml:"listen"`           // host:port for observations and status
	Cert   string `yaml:"cert,omitempty"`   // PEM file with certificate and key, read again once a minute; without it plain HTTP
	Key    string `yaml:"key"`              // PEM file with the Ed25519 key that signs observations (PKCS #8)
	Roots  string `yaml:"roots,omitempty"`  // PEM file of trusted roots; without it the system's
	State  string `yaml:"state"`            // file that keeps incidents and pages across restarts
	Secret string `yaml:"secret,omitempty"` // file with at least 16 letters, the same everywhere; without it nobody can acknowledge
	Peers  []Peer `yaml:"peers,omitempty"`
	Status string `yaml:"status,omitempty"` // link put into messages, before the incident's id

	// Record is the directory of the results and their history, see package
	// record. Without it they last as long as the process.
	Record string `yaml:"record,omitempty"`

	Controls []Control `yaml:"controls"` // sites of others: who cannot reach half of them abstains
	Targets  []Target  `yaml:"targets"`

	Probe       time.Duration `yaml:"probe,omitempty"`       // one round
	Limit       time.Duration `yaml:"limit,omitempty"`       // of each phase of a probe
	OpenAfter   int           `yaml:"open-after,omitempty"`  // failed rounds
	CloseAfter  int           `yaml:"close-after,omitempty"` // good rounds
	HoldDown    time.Duration `yaml:"hold-down,omitempty"`
	BlindAfter  time.Duration `yaml:"blind-after,omitempty"`
	SilentAfter time.Duration `yaml:"silent-after,omitempty"` // a vantage that the others do not hear, or a zone that only a person can open again, for so long is an incident
	ActorDelay  time.Duration `yaml:"actor-delay,omitempty"`

	Homes     []HomeConfig `yaml:"homes,omitempty"`
	Providers []Provider   `yaml:"dns,omitempty"`
	Guard     int          `yaml:"guard,omitempty"` // percent of a zone that one plan may change or delete without a verdict that explains it

	SMS      []sms.Provider  `yaml:"sms,omitempty"` // in the order in which to ask them
	Admins   []Admin         `yaml:"admins,omitempty"`
	Escalate []Level         `yaml:"escalate,omitempty"` // all admins at once when left out
	Alive    *AliveConfig    `yaml:"alive,omitempty"`    // no weekly text when left out
	Silences []SilenceConfig `yaml:"silences,omitempty"`
}

// Peer is another vantage.
type Peer struct {
	Name      string `yaml:"name"`
	Rank      int    `yaml:"rank"`
	URL       string `yaml:"url"`        // of its listener, no path
	PublicKey string `yaml:"public-key"` // base64 of its 32 bytes
}

// Control is a site of somebody else that is practically always there.
type Control struct {
	Name   string `yaml:"name"`
	URL    string `yaml:"url"`              // http or https; any answer will do that has the status
	Status int    `yaml:"status,omitempty"` // 200 when left out
}

// Target is one thing to watch: what to look at, and whom it speaks for. A DNS
// target that names no server asks every authority of every provider of the
// zone.
type Target struct {
	probe.Target `yaml:",inline"`
	Region       string `yaml:"region,omitempty"` // the target speaks for this region
	Home         string `yaml:"home,omitempty"`   // host on whose home it depends: folds into that region's incident
}

// HomeConfig is a host whose home the monitors keep.
type HomeConfig struct {
	Host    string            `yaml:"host"`
	Regions []string          `yaml:"regions"` // in order of preference
	LB      map[string]string `yaml:"lb"`      // load balancer by region
	TTL     time.Duration     `yaml:"ttl"`
}

// Provider is one provider of the zone.
type Provider struct {
	Name        string   `yaml:"name"` // linode or digitalocean
	URL         string   `yaml:"url"`
	Token       string   `yaml:"token"` // file, read at start
	Zone        string   `yaml:"zone"`
	Authorities []string `yaml:"authorities"` // host:port of each of its name servers
}

// Bounds of what the vantages tell one another, which grows with each of these.
const (
	maxTargets = 600
	maxAdmins  = 16
	maxPeers   = 8
)

// maxMessage bounds one observation in bytes: all targets, all vantages and the
// monitoring itself may be down at once.
func (c *Config) maxMessage() int {
	return observe.MaxBytes(len(c.Targets)+1+len(c.Peers)+1, len(c.Admins))
}

// maxConfig bounds the files that are read at start.
const maxConfig = 1 << 20

// ParseConfig reads a configuration file strictly. All that is wrong with it comes
// as config.Errors. The name is for messages.
func ParseConfig(name string, text []byte) (Config, error) {
	c := Config{
		Probe: 10 * time.Second, Limit: 4 * time.Second, OpenAfter: 3, CloseAfter: 3, HoldDown: 10 * time.Minute,
		BlindAfter: 10 * time.Minute, SilentAfter: time.Hour, ActorDelay: 20 * time.Second, Guard: 30,
	}
	f := config.Read(name, text, &c)
	c.askAuthorities()
	check := checker{f, map[string]bool{}}
	check.vantages(&c)
	check.thresholds(&c)
	check.watched(&c)
	check.homes(&c)
	check.providers(&c)
	check.people(&c)
	return c, f.Err()
}

// askAuthorities completes the DNS targets that name no server.
func (c *Config) askAuthorities() {
	for i := range c.Targets {
		t := &c.Targets[i]
		if t.Kind != "dns" || t.Server != "" || t.Servers != nil {
			continue
		}
		for _, p := range c.Providers {
			if dns.IsSubDomain(dns.Fqdn(p.Zone), dns.Fqdn(t.Zone)) {
				t.Servers = append(t.Servers, p.Authorities...)
			}
		}
	}
}

// homeHosts are the hosts whose homes are kept, in the order of the file.
func (c *Config) homeHosts() []string {
	var hosts []string
	for _, h := range c.Homes {
		hosts = append(hosts, h.Host)
	}
	return hosts
}

func (p Peer) key() (ed25519.PublicKey, error) {
	key, err := base64.StdEncoding.DecodeString(p.PublicKey)
	if err != nil || len(key) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("%q is not base64 of %d bytes", p.PublicKey, ed25519.PublicKeySize)
	}
	return key, nil
}

// params are the thresholds in the decider's words.
func (c *Config) params() decide.Params {
	p := decide.Params{
		Vantages: 1 + len(c.Peers), OpenAfter: c.OpenAfter, CloseAfter: c.CloseAfter,
		Fresh: 3 * c.Probe, BlindAfter: c.BlindAfter,
		// Traffic comes home a little after the hold-down, and until then the
		// incident is not over.
		Reopen: 2 * c.HoldDown, Quiet: c.HoldDown,
		Settle: time.Duration(c.CloseAfter) * c.Probe,
		// The region's own verdict may be some rounds behind that of a host in it.
		FoldWait: time.Duration(c.OpenAfter) * c.Probe,
	}
	for _, t := range c.Targets {
		next := decide.Target{Name: t.Name, Region: t.Region}
		for _, h := range c.Homes {
			if t.Home == h.Host && t.Region == "" {
				next.Parents = h.Regions
			}
		}
		p.Targets = append(p.Targets, next)
	}
	if len(c.Peers) > 0 {
		for _, name := range c.vantages() {
			p.Targets = append(p.Targets, decide.Target{
				Name: vantagePrefix + name, Parents: []string{decide.Blind}, OpenAfter: max(1, int(c.SilentAfter/c.Probe)),
			})
		}
	}
	for _, provider := range c.Providers {
		p.Targets = append(p.Targets, decide.Target{Name: zonePrefix + provider.Name, OpenAfter: max(1, int(c.SilentAfter/c.Probe))})
	}
	return p
}

// hosts are the homes in the planner's words, sorted.
func (c *Config) hosts() []home.Host {
	var hosts []home.Host
	for _, h := range c.Homes {
		balancers := map[string]string{}
		for region, lb := range h.LB {
			balancers[region] = strings.ToLower(strings.TrimSuffix(lb, "."))
		}
		hosts = append(hosts, home.Host{Name: h.Host, Regions: h.Regions, Balancers: balancers, TTL: h.TTL})
	}
	slices.SortFunc(hosts, func(a, b home.Host) int { return cmp.Compare(a.Name, b.Name) })
	return hosts
}

// parseKey reads an Ed25519 private key in PKCS #8 PEM.
func parseKey(text []byte) (ed25519.PrivateKey, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("no PEM block")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("parse PKCS #8: %w", err)
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("a %T, not an Ed25519 key", parsed)
	}
	return key, nil
}

// parseRoots reads trusted certificates in PEM.
func parseRoots(text []byte) (*x509.CertPool, error) {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, errors.New("no certificate")
	}
	return roots, nil
}
