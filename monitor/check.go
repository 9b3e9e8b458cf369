package monitor

import (
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/espra/protoplex/monitor/decide"
	"github.com/espra/protoplex/monitor/sms"
	"github.com/espra/protoplex/nodes/config"
)

// word is what names may look like: they go into short messages.
var word = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{0,39}$`)

// phone is a number in international form (ITU-T E.164).
var phone = regexp.MustCompile(`^\+[1-9][0-9]{6,14}$`)

// dnsProviders are the kinds of DNS providers; read-only.
var dnsProviders = []string{"linode", "digitalocean"}

// checker reports what is wrong with the values of a configuration file.
type checker struct {
	*config.File
	taken map[string]bool // what must be unique, and its kind
}

func (f *checker) word(path, s string) {
	if !word.MatchString(s) {
		f.Failf(path, "%q must be 1 to 40 of a-z, 0-9, dot and dash", config.Clip(s))
	}
}

func (f *checker) url(path, s string) {
	if u, err := url.Parse(s); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		f.Failf(path, "%q is no http or https URL", config.Clip(s))
	}
}

func (f *checker) address(path, s string) {
	if _, port, err := net.SplitHostPort(s); err != nil || port == "" {
		f.Failf(path, "%q is not host:port", config.Clip(s))
	}
}

func (f *checker) file(path, s string) {
	if !strings.HasPrefix(s, "/") {
		f.Failf(path, "%q is not an absolute file name", config.Clip(s))
	}
}

// unique takes a value that no other of its kind may have.
func (f *checker) unique(path, kind, s string) {
	if f.taken[kind+" "+s] {
		f.Failf(path, "another %s is %q", kind, config.Clip(s))
	}
	f.taken[kind+" "+s] = true
}

func (f *checker) vantages(c *Config) {
	f.word("name", c.Name)
	f.unique("name", "vantage", c.Name)
	f.unique("rank", "rank", strconv.Itoa(c.Rank))
	f.address("listen", c.Listen)
	f.file("key", c.Key)
	f.file("state", c.State)
	if c.Record != "" {
		f.file("record", c.Record)
	}
	if c.Secret != "" {
		f.file("secret", c.Secret)
	}
	if len(c.Peers) > maxPeers {
		f.Failf("peers", "%d are more than %d", len(c.Peers), maxPeers)
	}
	for k, p := range c.Peers {
		path := fmt.Sprintf("peers[%d]", k)
		f.word(path+".name", p.Name)
		f.unique(path+".name", "vantage", p.Name)
		f.unique(path+".rank", "rank", strconv.Itoa(p.Rank))
		f.url(path+".url", p.URL)
		if _, err := p.key(); err != nil {
			f.Failf(path+".public-key", "%v", err)
		}
	}
}

func (f *checker) thresholds(c *Config) {
	for path, d := range map[string]time.Duration{
		"probe": c.Probe, "limit": c.Limit, "hold-down": c.HoldDown, "blind-after": c.BlindAfter,
		"silent-after": c.SilentAfter, "actor-delay": c.ActorDelay,
	} {
		if d <= 0 {
			f.Failf(path, "must be longer than nothing")
		}
	}
	for path, n := range map[string]int{"open-after": c.OpenAfter, "close-after": c.CloseAfter} {
		if n < 1 {
			f.Failf(path, "must be at least 1")
		}
	}
	if c.Guard < 1 || c.Guard > 100 {
		f.Failf("guard", "%d is no percentage from 1 to 100", c.Guard)
	}
}

// watched checks the controls and the targets, which share their subjects' names
// with the regions, the vantages and what the monitors say of themselves.
func (f *checker) watched(c *Config) {
	if len(c.Controls) == 0 {
		f.Failf("controls", "at least one is needed, to tell a lost target from a lost monitor")
	}
	for k, t := range c.Controls {
		path := fmt.Sprintf("controls[%d]", k)
		f.word(path+".name", t.Name)
		f.unique(path+".name", "control", t.Name)
		f.url(path+".url", t.URL)
	}
	for _, name := range c.vantages() {
		f.taken["subject "+vantagePrefix+name] = true
	}
	for _, p := range c.Providers {
		f.taken["subject "+zonePrefix+p.Name] = true
	}
	for _, reserved := range []string{decide.Blind, decide.Everything, kindAlive} {
		f.taken["subject "+reserved] = true
	}
	if len(c.Targets) > maxTargets {
		f.Failf("targets", "%d are more than %d, which is what vantages can tell one another of when all are down", len(c.Targets), maxTargets)
	}
	hosts := c.homeHosts()
	var regions []string
	for k, t := range c.Targets {
		path := fmt.Sprintf("targets[%d]", k)
		f.word(path+".name", t.Name)
		f.unique(path+".name", "subject", t.Name)
		if t.Region != "" && !slices.Contains(regions, t.Region) {
			f.word(path+".region", t.Region)
			f.unique(path+".region", "subject", t.Region)
			regions = append(regions, t.Region)
		}
		if t.Home != "" && !slices.Contains(hosts, t.Home) {
			f.Failf(path+".home", "%q is not among the homes%s", config.Clip(t.Home), config.Suggest(t.Home, hosts))
		}
		for _, p := range t.Check() {
			f.Failf(path+"."+p.Key, "%s", p.Text)
		}
	}
}

func (f *checker) homes(c *Config) {
	var regions []string
	for _, t := range c.Targets {
		if t.Region != "" {
			regions = append(regions, t.Region)
		}
	}
	for k, h := range c.Homes {
		path := fmt.Sprintf("homes[%d]", k)
		f.unique(path+".host", "home", h.Host)
		if _, ok := dns.IsDomainName(h.Host); !ok || h.Host == "" || h.Host != strings.ToLower(strings.TrimSuffix(h.Host, ".")) {
			f.Failf(path+".host", "%q is no lower-case domain name without final dot", config.Clip(h.Host))
		}
		if h.TTL < time.Second {
			f.Failf(path+".ttl", "must be at least 1s")
		}
		if len(h.Regions) == 0 {
			f.Failf(path+".regions", "at least one is needed")
		}
		for n, region := range h.Regions {
			if !slices.Contains(regions, region) && !f.Broken("targets") {
				f.Failf(fmt.Sprintf("%s.regions[%d]", path, n), "no target speaks for region %q%s", config.Clip(region), config.Suggest(region, regions))
			}
			if h.LB[region] == "" {
				f.Failf(path+".lb."+region, "no load balancer for region %q", config.Clip(region))
			}
		}
	}
}

func (f *checker) providers(c *Config) {
	for k, p := range c.Providers {
		path := fmt.Sprintf("dns[%d]", k)
		f.unique(path+".name", "provider", p.Name)
		if !slices.Contains(dnsProviders, p.Name) {
			f.Failf(path+".name", "%q is neither linode nor digitalocean%s", config.Clip(p.Name), config.Suggest(p.Name, dnsProviders))
		}
		if err := config.CheckAPI(p.URL); err != nil {
			f.Failf(path+".url", "%v", err)
		}
		f.file(path+".token", p.Token)
		for _, host := range c.homeHosts() {
			if p.Zone == "" || !dns.IsSubDomain(dns.Fqdn(p.Zone), dns.Fqdn(host)) {
				f.Failf(path+".zone", "the home %s is not in %q", config.Clip(host), config.Clip(p.Zone))
				break
			}
		}
		if len(p.Authorities) == 0 {
			f.Failf(path+".authorities", "at least one is needed, to read back")
		}
		for n, a := range p.Authorities {
			f.address(fmt.Sprintf("%s.authorities[%d]", path, n), a)
		}
	}
}

// people checks who is told what, when and how.
func (f *checker) people(c *Config) {
	if len(c.Admins) > maxAdmins {
		f.Failf("admins", "%d are more than %d", len(c.Admins), maxAdmins)
	}
	for k, a := range c.Admins {
		path := fmt.Sprintf("admins[%d]", k)
		f.word(path+".name", a.Name)
		f.unique(path+".name", "admin", a.Name)
		if !phone.MatchString(a.Phone) {
			f.Failf(path+".phone", "%q is no number in international form, such as +15550000001", config.Clip(a.Phone))
		}
	}
	if len(c.Admins) > 0 && len(c.SMS) == 0 {
		f.Failf("sms", "there are admins, and no provider to text them through")
	}
	for k, p := range c.SMS {
		path := fmt.Sprintf("sms[%d]", k)
		for _, problem := range p.Check() {
			f.Failf(path+"."+problem.Key, "%s", problem.Text)
		}
		f.unique(path+".kind", "SMS provider", p.Name())
	}
	longest := c.link("7K2", secret{}.token("7K2"))
	if n := len(longest) - sms.MaxLink; n > 0 {
		f.Failf("status", "%q is %d letters too long to be in a text with all else", config.Clip(c.Status), n)
	} else if !sms.Fits(longest) {
		f.Failf("status", "%q has letters that a text does not carry", config.Clip(c.Status))
	}
	f.escalation(c)
	if a := c.Alive; a != nil {
		if !slices.Contains(weekdays, a.Day) {
			f.Failf("alive.day", "%q is no day%s", config.Clip(a.Day), config.Suggest(a.Day, weekdays))
		}
		if a.Hour < 0 || a.Hour > 23 {
			f.Failf("alive.hour", "%d is not 0 to 23", a.Hour)
		}
	}
	if len(c.Silences) > maxSilences {
		f.Failf("silences", "%d are more than %d", len(c.Silences), maxSilences)
	}
	for k, s := range c.Silences {
		path := fmt.Sprintf("silences[%d]", k)
		if err := c.checkSilence(s.silence()); err != nil && !f.Broken(path+".from") && !f.Broken(path+".until") {
			f.Failf(path, "%v", err)
		}
	}
}

func (f *checker) escalation(c *Config) {
	names := c.adminNames()
	told := map[string]bool{}
	for k, l := range c.Escalate {
		path := fmt.Sprintf("escalate[%d]", k)
		switch {
		case k == 0 && l.After != 0:
			f.Failf(path+".after", "the first level is told at once: after: 0s")
		case k > 0 && l.After <= c.Escalate[k-1].After:
			f.Failf(path+".after", "%s is not later than the level before", l.After)
		}
		if len(l.Admins) == 0 {
			f.Failf(path+".admins", "nobody is told after %s", l.After)
		}
		for n, name := range l.Admins {
			at := fmt.Sprintf("%s.admins[%d]", path, n)
			switch {
			case f.Broken("admins"):
			case !slices.Contains(names, name):
				f.Failf(at, "no admin is called %q%s", config.Clip(name), config.Suggest(name, names))
			case told[name]:
				f.Failf(at, "%q is told already", name)
			}
			told[name] = true
		}
	}
	if len(c.Escalate) > 1 && c.Secret == "" {
		f.Failf("escalate", "without a secret nobody can acknowledge, so every page would reach the last level")
	}
}

// Doubts are what is allowed, and seldom what somebody wants who trusts the monitors
// with their sleep.
func (c *Config) Doubts() []string {
	var doubts []string
	switch len(c.Peers) {
	case 0:
		doubts = append(doubts, "a vantage that is alone takes trouble of its own for everybody's; three are the least that outvote one")
	case 1:
		doubts = append(doubts, "two vantages decide nothing while one is away; three are the least that go on without one")
	}
	switch {
	case len(c.Admins) == 0:
		doubts = append(doubts, "no admins: nobody is told of anything")
	case len(c.SMS) == 0:
		doubts = append(doubts, "no SMS providers: nobody is told of anything")
	case len(c.SMS) == 1:
		doubts = append(doubts, "one SMS provider: nobody is told of anything while it is away")
	}
	return doubts
}
