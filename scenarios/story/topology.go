package story

import (
	"fmt"
	"slices"
	"time"
)

// Topology is what a scenario boots.
type Topology struct {
	Regions  []Region // in file order; the first is the home of www
	VPS      []string // the off-site machines, by name
	DNS      DNS
	SMS      []string // gateways: "twilio", "sns"
	Admins   []Admin
	Monitor  Monitor
	vpsPlace []Pos
}

// Region is one region of the cloud and how many machines of each role it has.
type Region struct {
	Pos   Pos
	Name  string
	Zones int // availability zones, at least 1
	Proxy int
	Live  int
	// Seeds make a cell of the region, with a lease store of its own. Without
	// them keys are placed by a table that never changes.
	Seed       int
	Understudy int
	Scaling    Scaling // of the proxies
}

// Scaling are the bounds of a group of machines that the cloud keeps at its size,
// replacing what is lost. With a Max of 0 nobody does.
type Scaling struct{ Min, Max int }

// DNS says who serves the zone espra.com.
type DNS struct {
	Providers []string      // "linode", "digitalocean"
	TTL       time.Duration // of the records that move
}

// Monitor is the configuration of the off-site monitors.
type Monitor struct {
	Probe      time.Duration // from one round of probes to the next
	OpenAfter  int           // failures in a row that open an incident
	CloseAfter int           // successes in a row that close it
	HoldDown   time.Duration // a region must be up this long before names return
	// Certificates must have whole days like that left; with 0 nobody looks at
	// them, but whoever connects.
	Certificates time.Duration
}

// The hosts of the platform that are not live hosts.
const (
	Apex = "espra.com"
	WWW  = "www.espra.com"
)

// LiveHost is a host for tunnels and the region that it prefers as its home.
type LiveHost struct{ Host, Region string }

// LiveHosts is the table of live hosts; it is never changed.
var LiveHosts = []LiveHost{
	{"us-1.live.espra.com", "us-east"},
	{"eu-1.live.espra.com", "eu-west"},
}

// provider is a service of somebody else, outside the regions or in each.
type provider struct {
	name     string
	servers  int // authoritative name servers
	sms      bool
	regional bool // has an API in each region, which is lost with it
}

var providers = []provider{
	{name: "linode", servers: 5},
	{name: "digitalocean", servers: 3},
	{name: "twilio", sms: true},
	{name: "sns", sms: true, regional: true},
}

// providerNames gives the DNS providers, or the SMS gateways.
func providerNames(sms bool) []string {
	var names []string
	for _, p := range providers {
		if p.sms == sms {
			names = append(names, p.name)
		}
	}
	return names
}

// What a topology gets that leaves things out.
var (
	defaultRegion  = Region{Zones: 2, Proxy: 2, Live: 2}
	defaultVPS     = []string{"fremont", "london", "singapore"}
	defaultSMS     = []string{"twilio"}
	defaultAdmins  = []Admin{{Name: "ana"}, {Name: "raj"}}
	defaultTTL     = 60 * time.Second
	defaultMonitor = Monitor{Probe: 10 * time.Second, OpenAfter: 3, CloseAfter: 3, HoldDown: 10 * time.Minute}
)

const (
	maxMachines = 2000
	maxZones    = 26 // one letter each
	maxNames    = 100
	maxSeeds    = 9
)

// Home gives the region that host prefers as its home: of www the first region,
// of a live host its own. It reports false for other hosts and if the topology
// lacks that region.
func (t Topology) Home(host string) (region string, ok bool) {
	if host == WWW && len(t.Regions) > 0 {
		return t.Regions[0].Name, true
	}
	for _, h := range LiveHosts {
		if h.Host == host {
			_, ok := t.Region(h.Region)
			return h.Region, ok
		}
	}
	return "", false
}

// Region finds a region by name.
func (t Topology) Region(name string) (Region, bool) {
	i := slices.IndexFunc(t.Regions, func(r Region) bool { return r.Name == name })
	if i < 0 {
		return Region{}, false
	}
	return t.Regions[i], true
}

// homes gives the hosts with a home in one of the regions.
func (t Topology) homes(regions []string) []string {
	var hosts []string
	for _, h := range moving() {
		if home, ok := t.Home(h); ok && slices.Contains(regions, home) {
			hosts = append(hosts, h)
		}
	}
	return hosts
}

// moving gives the hosts that have a home record.
func moving() []string {
	hosts := []string{WWW}
	for _, h := range LiveHosts {
		hosts = append(hosts, h.Host)
	}
	return hosts
}

func (r *reader) topology(v value) Topology {
	f := r.fields(v, "regions!", "vps", "dns", "sms", "admins", "monitor")
	t := Topology{
		VPS:     defaultVPS,
		SMS:     defaultSMS,
		Admins:  defaultAdmins,
		DNS:     DNS{Providers: providerNames(false), TTL: defaultTTL},
		Monitor: defaultMonitor,
	}
	t.Regions = r.regions(f["regions"])
	if v := f["vps"]; v.given() {
		t.VPS, t.vpsPlace = r.names(v, maxNames)
	}
	if v := f["sms"]; v.given() {
		t.SMS = r.chosen(v, providerNames(true))
	}
	if v := f["admins"]; v.given() {
		t.Admins = r.admins(v)
	}
	d := r.fields(f["dns"], "providers", "ttl")
	if v := d["providers"]; v.given() {
		before := len(r.errs)
		t.DNS.Providers = r.chosen(v, providerNames(false))
		if len(t.DNS.Providers) == 0 && len(r.errs) == before {
			r.failf(v.pos, "providers: want at least one of linode, digitalocean")
		}
	}
	if v := d["ttl"]; v.given() {
		t.DNS.TTL = r.duration(v, false)
		if t.DNS.TTL%time.Second != 0 {
			r.failf(v.pos, "ttl: want whole seconds")
		}
	}
	if v := f["monitor"]; v.given() && len(t.VPS) == 0 {
		r.failf(v.pos, "monitor: the topology has no VPS to run it on")
	}
	r.monitor(f["monitor"], &t.Monitor)
	return t
}

func (r *reader) regions(v value) []Region {
	var names []string
	for _, h := range LiveHosts {
		names = append(names, h.Region)
	}
	entries := r.entries(v)
	if len(entries) == 0 && v.given() && isMap(v.node) {
		r.failf(v.pos, "regions: want at least one of us-east, eu-west")
	}
	var all []Region
	for _, e := range entries {
		if !slices.Contains(names, e.key) {
			r.failf(e.keyPos, "unknown region %q%s", clip(e.key), r.suggest(e.key, names))
		}
		all = append(all, r.region(e))
	}
	return all
}

func (r *reader) region(e entry) Region {
	f := r.fields(e.value, "zones", "proxy", "live", "seed", "understudy", "scaling")
	region := defaultRegion
	region.Name, region.Pos = e.key, e.keyPos
	for _, c := range []struct {
		key       string
		low, high int
		to        *int
	}{
		{"zones", 1, maxZones, &region.Zones},
		{"proxy", 1, maxMachines, &region.Proxy},
		{"live", 0, maxMachines, &region.Live},
		{"seed", 0, maxSeeds, &region.Seed},
		{"understudy", 0, maxSeeds, &region.Understudy},
	} {
		if v := f[c.key]; v.given() {
			*c.to = r.count(v, c.low, c.high)
		}
	}
	if v := f["scaling"]; v.given() {
		region.Scaling = r.scaling(v, region.Proxy)
	}
	if v := f["understudy"]; v.given() && region.Understudy > 0 && region.Seed == 0 {
		r.failf(v.pos, "understudy: there is no seed to stand in for")
	}
	return region
}

// scaling reads bounds that a number of machines has to be within.
func (r *reader) scaling(v value, n int) Scaling {
	f := r.fields(v, "min!", "max!")
	if !f["min"].given() || !f["max"].given() {
		return Scaling{}
	}
	s := Scaling{r.count(f["min"], 1, maxMachines), r.count(f["max"], 1, maxMachines)}
	if n < s.Min || n > s.Max {
		r.failf(v.pos, "scaling: %d proxies are not between min %d and max %d", n, s.Min, s.Max)
		return Scaling{}
	}
	return s
}

func (r *reader) monitor(v value, m *Monitor) {
	f := r.fields(v, "probe", "open-after", "close-after", "hold-down", "certificates")
	if v := f["certificates"]; v.given() {
		m.Certificates = r.duration(v, false)
		if m.Certificates%(24*time.Hour) != 0 {
			r.failf(v.pos, "certificates: want whole days, such as 14d")
		}
	}
	for key, to := range map[string]*time.Duration{"probe": &m.Probe, "hold-down": &m.HoldDown} {
		if v := f[key]; v.given() {
			*to = r.duration(v, false)
		}
	}
	for key, to := range map[string]*int{"open-after": &m.OpenAfter, "close-after": &m.CloseAfter} {
		if v := f[key]; v.given() {
			*to = r.count(v, 1, 100)
		}
	}
}

// checkMachines refuses too many machines, and two of one name.
func (r *reader) checkMachines(s *Story, at Pos) {
	machines := s.Machines()
	servers := 0
	seen := map[string]string{}
	for _, m := range machines {
		if m.Group == "" {
			servers++
		}
		if other, twice := seen[m.Name]; twice {
			p := at
			if i := slices.Index(s.Topology.VPS, m.Name); i >= 0 && i < len(s.Topology.vpsPlace) {
				p = s.Topology.vpsPlace[i]
			}
			r.failf(p, "two machines would be named %s: %s and %s", m.Name, other, m.Role)
		}
		seen[m.Name] = m.Role
	}
	if servers > maxMachines {
		r.failf(at, "topology: %d machines; at most %d", servers, maxMachines)
	}
}

func letter(i int) string { return string(rune('a' + i)) }

// ZoneNames gives the region's zones: us-east-a, us-east-b.
func (r Region) ZoneNames() []string {
	names := make([]string, r.Zones)
	for i := range names {
		names[i] = fmt.Sprintf("%s-%s", r.Name, letter(i))
	}
	return names
}
