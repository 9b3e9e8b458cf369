package monitor

import (
	"cmp"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/espra/protoplex/monitor/decide"
	"github.com/espra/protoplex/monitor/home"
	"github.com/espra/protoplex/monitor/probe"
	"github.com/espra/protoplex/monitor/sms"
	"github.com/espra/protoplex/monitor/strict"
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
	Peers  []Peer `yaml:"peers"`
	Status string `yaml:"status,omitempty"` // link put into messages, before the incident's id

	// Record is the directory of the results and their history, see package
	// record. Without it they last as long as the process.
	Record string `yaml:"record,omitempty"`

	Controls []Control `yaml:"controls"` // sites of others: who cannot reach half of them abstains
	Targets  []Target  `yaml:"targets"`

	Probe       time.Duration `yaml:"probe"`       // one round
	Limit       time.Duration `yaml:"limit"`       // of each phase of a probe
	OpenAfter   int           `yaml:"open-after"`  // failed rounds
	CloseAfter  int           `yaml:"close-after"` // good rounds
	HoldDown    time.Duration `yaml:"hold-down"`
	BlindAfter  time.Duration `yaml:"blind-after"`
	SilentAfter time.Duration `yaml:"silent-after"` // a vantage that the others do not hear for so long is an incident
	ActorDelay  time.Duration `yaml:"actor-delay"`

	Homes     []HomeConfig `yaml:"homes"`
	Providers []Provider   `yaml:"dns"`
	Guard     int          `yaml:"guard"` // percent of a zone that one plan may change or delete

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
	Token       string   `yaml:"token"` // file
	Zone        string   `yaml:"zone"`
	Authorities []string `yaml:"authorities"` // host:port of each of its name servers
}

// maxConfig bounds the files that are read at start.
const maxConfig = 1 << 20

// ParseConfig reads a configuration file strictly: a key that is not known is an
// error, and all that is wrong is reported at once, with its place. The name is
// for messages.
func ParseConfig(name string, text []byte) (Config, error) {
	c := Config{
		Probe: 10 * time.Second, Limit: 4 * time.Second, OpenAfter: 3, CloseAfter: 3, HoldDown: 10 * time.Minute,
		BlindAfter: 10 * time.Minute, SilentAfter: time.Hour, ActorDelay: 20 * time.Second, Guard: 30,
	}
	file, err := strict.Decode(name, text, &c)
	c.askAuthorities()
	errs := append([]error{err}, c.check(file)...)
	errs = append(errs, c.checkTargets(file)...)
	return c, strict.Join(append(errs, c.checkPeople(file)...))
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

// checkTargets lists what is wrong with single targets.
func (c *Config) checkTargets(file *strict.File) []error {
	var errs []error
	for i, t := range c.Targets {
		for _, p := range t.Check() {
			errs = append(errs, file.Errorf(fmt.Sprintf("targets[%d].%s", i, p.Key), "target %s: %s: %s", t.Name, p.Key, p.Text))
		}
	}
	return errs
}

// word is what names may look like: they go into short messages.
var word = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{0,39}$`)

// phone is a number in international form (ITU-T E.164).
var phone = regexp.MustCompile(`^\+[1-9][0-9]{6,14}$`)

// check lists what is wrong with all but people. Every error has the path of
// the value that it is about.
func (c *Config) check(file *strict.File) []error {
	var errs []error
	bad := func(path, format string, args ...any) { errs = append(errs, file.Errorf(path, format, args...)) }
	needWord := func(path, what, s string) {
		if !word.MatchString(s) {
			bad(path, "%s: %q must be 1 to 40 of a-z, 0-9, dot and dash", what, s)
		}
	}
	needURL := func(path, what, s string) {
		if u, err := url.Parse(s); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			bad(path, "%s: %q is no http or https URL", what, s)
		}
	}
	needAddress := func(path, what, s string) {
		if _, port, err := net.SplitHostPort(s); err != nil || port == "" {
			bad(path, "%s: %q is not host:port", what, s)
		}
	}
	needFile := func(path, what, s string) {
		if !strings.HasPrefix(s, "/") {
			bad(path, "%s: %q is not an absolute file name", what, s)
		}
	}
	names := map[string]bool{}
	unique := func(path, what, s string) {
		if names[what+" "+s] {
			bad(path, "%s: %q is given twice", what, s)
		}
		names[what+" "+s] = true
	}

	needWord("name", "name", c.Name)
	unique("name", "vantage", c.Name)
	unique("rank", "rank", fmt.Sprint(c.Rank))
	needAddress("listen", "listen", c.Listen)
	needFile("key", "key", c.Key)
	needFile("state", "state", c.State)
	if c.Record != "" {
		needFile("record", "record", c.Record)
	}
	for k, p := range c.Peers {
		path := fmt.Sprintf("peers[%d]", k)
		needWord(path+".name", "peer", p.Name)
		unique(path+".name", "vantage", p.Name)
		unique(path+".rank", "rank", fmt.Sprint(p.Rank))
		needURL(path+".url", "peer "+p.Name, p.URL)
		if _, err := p.key(); err != nil {
			bad(path+".public-key", "peer %s: public-key: %w", p.Name, err)
		}
	}
	if len(c.Controls) == 0 {
		bad("controls", "controls: at least one is needed, to tell a lost target from a lost monitor")
	}
	for k, t := range c.Controls {
		path := fmt.Sprintf("controls[%d]", k)
		needWord(path+".name", "control", t.Name)
		unique(path+".name", "control", t.Name)
		needURL(path+".url", "control "+t.Name, t.URL)
	}
	var regions, hosts []string
	for _, h := range c.Homes {
		hosts = append(hosts, h.Host)
	}
	for k, t := range c.Targets {
		path := fmt.Sprintf("targets[%d]", k)
		needWord(path+".name", "target", t.Name)
		unique(path+".name", "subject", t.Name)
		if t.Region != "" {
			needWord(path+".region", "target "+t.Name+": region", t.Region)
			if !slices.Contains(regions, t.Region) {
				unique(path+".region", "subject", t.Region)
				regions = append(regions, t.Region)
			}
		}
		if t.Home != "" && !slices.Contains(hosts, t.Home) {
			bad(path+".home", "target %s: home: %q is not among the homes%s", t.Name, t.Home, strict.Suggest(t.Home, hosts))
		}
	}
	for _, name := range c.vantages() {
		unique("targets", "subject", vantagePrefix+name)
	}
	for _, reserved := range []string{decide.Blind, decide.Everything, kindAlive} {
		unique("targets", "subject", reserved)
	}
	for path, d := range map[string]time.Duration{
		"probe": c.Probe, "limit": c.Limit, "hold-down": c.HoldDown, "blind-after": c.BlindAfter,
		"silent-after": c.SilentAfter, "actor-delay": c.ActorDelay,
	} {
		if d <= 0 {
			bad(path, "%s: must be longer than nothing", path)
		}
	}
	if c.OpenAfter < 1 {
		bad("open-after", "open-after: must be at least 1")
	}
	if c.CloseAfter < 1 {
		bad("close-after", "close-after: must be at least 1")
	}
	if c.Guard < 1 || c.Guard > 100 {
		bad("guard", "guard: %d is no percentage", c.Guard)
	}
	for k, h := range c.Homes {
		path := fmt.Sprintf("homes[%d]", k)
		unique(path+".host", "host", h.Host)
		if _, ok := dns.IsDomainName(h.Host); !ok || h.Host != strings.ToLower(strings.TrimSuffix(h.Host, ".")) {
			bad(path+".host", "home: %q is no lower-case domain name without final dot", h.Host)
		}
		if h.TTL < time.Second {
			bad(path+".ttl", "home %s: ttl: must be at least 1s", h.Host)
		}
		if len(h.Regions) == 0 {
			bad(path+".regions", "home %s: regions: at least one is needed", h.Host)
		}
		for n, region := range h.Regions {
			if !slices.Contains(regions, region) {
				bad(fmt.Sprintf("%s.regions[%d]", path, n), "home %s: no target speaks for region %q%s", h.Host, region, strict.Suggest(region, regions))
			}
			if h.LB[region] == "" {
				bad(path+".lb", "home %s: no lb for region %q", h.Host, region)
			}
		}
	}
	for k, p := range c.Providers {
		path := fmt.Sprintf("dns[%d]", k)
		unique(path+".name", "provider", p.Name)
		if p.Name != "linode" && p.Name != "digitalocean" {
			bad(path+".name", "dns: %q is neither linode nor digitalocean", p.Name)
		}
		needURL(path+".url", "dns "+p.Name, p.URL)
		needFile(path+".token", "dns "+p.Name+": token", p.Token)
		if len(p.Authorities) == 0 {
			bad(path+".authorities", "dns %s: authorities: at least one is needed, to read back", p.Name)
		}
		for n, a := range p.Authorities {
			needAddress(fmt.Sprintf("%s.authorities[%d]", path, n), "dns "+p.Name+": authorities", a)
		}
	}
	return errs
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
