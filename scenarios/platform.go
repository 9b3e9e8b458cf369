package scenarios

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/espra/protoplex/fakes/dns"
	"github.com/espra/protoplex/fakes/lb"
	"github.com/espra/protoplex/fakes/s3"
	"github.com/espra/protoplex/fakes/sms"
	"github.com/espra/protoplex/monitor"
	"github.com/espra/protoplex/monitor/probe"
	"github.com/espra/protoplex/monitor/redirect"
	"github.com/espra/protoplex/nodes"
	"github.com/espra/protoplex/nodes/cell"
	"github.com/espra/protoplex/nodes/live"
	"github.com/espra/protoplex/nodes/meta/ca"
	"github.com/espra/protoplex/nodes/placement"
	"github.com/espra/protoplex/nodes/proxy"
	"github.com/espra/protoplex/nodes/seed"
	"github.com/espra/protoplex/scenarios/pki"
	"github.com/espra/protoplex/scenarios/story"
	"github.com/espra/protoplex/sim"
	"github.com/espra/protoplex/sim/names"
)

// Where the roles find their files, and what they keep secret from one another.
const (
	certFile  = "/etc/protoplex/tls.pem"
	rootsFile = "/etc/protoplex/roots.pem"
	keyFile   = "/etc/protoplex/vantage.pem"
	confFile  = "/etc/protoplex/monitor.yaml"
	stateFile = "/var/lib/protoplex/monitor.json"
	recordDir = "/var/lib/protoplex/record"

	dnsToken  = "the provider's token"
	cloudZone = "elb.amazonaws.com"
)

// platform is everything that a story's topology names, booted in a world.
type platform struct {
	story    *story.Story
	world    *sim.World
	machines []story.Machine
	hosts    map[string]*sim.Machine
	jobs     map[string][]job // what init runs, by machine
	roles    nodes.Roles
	ca       *pki.CA
	cells    map[string]*ca.Authority // of the regions that have Seeds
	usage    *meter
	answers  *answers
	births   *births
	overlaps *overlaps
	fleets   map[string]*fleet // of the regions that scale
	naming   nameFaults
	lies     []*lie   // that load balancers may be told
	looks    contacts // of the controls
	phones   phones
	writes   contacts // of the lease stores, by those who write
}

// rolesOf are the programs that machines run: the platform's own as production
// runs them, and the fakes of what is around it.
func (p *platform) platformRoles() nodes.Roles {
	faults := p.faults()
	late := sms.Lateness(faults.Lag)
	roles := nodes.Roles{
		"proxy": proxy.Run, "live": live.Run, "monitor": monitor.Run, "redirect": redirect.Run,
		"lb": lb.Believing(p.believe), "authority": faults.Authority, "linode": dns.RunLinode, "digitalocean": dns.RunDigitalOcean,
		"cloud": faults.Cloud, "twilio": late.Twilio, "sns": late.SNS, "s3": s3.Run, "seed": seed.Run,
		"control": p.runControl, "phone": p.runPhone, "aws": p.runAWS, "impostor": runImpostor,
		"resolver": func(ctx context.Context, m nodes.Machine, args []string) error {
			// A resolver whose wall clock is set back would keep what it has for as much longer.
			o := names.Options{Roots: p.roots(), Now: func() time.Time { return p.story.Starts.Add(m.Elapsed()) }}
			if k := p.naming.keeps[m.Host().Name]; k != nil {
				o.Overstay = k.overstay
			}
			return names.Serve(ctx, m, o)
		},
	}
	for _, api := range []string{"linode", "digitalocean", "twilio", "sns", "s3", "aws"} {
		roles[api] = p.answers.exposed(roles[api])
	}
	for name, run := range roles {
		roles[name] = p.births.exposed(run)
	}
	return roles
}

// boot makes all machines and starts what runs on them.
func boot(w *sim.World, s *story.Story) (_ *platform, err error) {
	p := &platform{story: s, world: w, machines: s.Machines(), hosts: map[string]*sim.Machine{}}
	p.births, p.overlaps, p.jobs = &births{p: p}, newOverlaps(), map[string][]job{}
	p.answers = &answers{p: p, troubles: map[string][]*trouble{}}
	p.roles = p.platformRoles()
	p.naming.keeps = p.keepings()
	p.phones = p.newPhones()
	if p.ca, err = pki.New(p.validity()); err != nil {
		return nil, err
	}
	if p.cells, err = p.authorities(); err != nil {
		return nil, err
	}
	p.fleets = map[string]*fleet{}
	p.distances()
	for _, m := range p.machines {
		p.hosts[m.Name] = w.NewMachine(m.Name, sim.In(p.place(m)), sim.WithResolvers(p.resolvers(m)...))
		if m.Standby {
			p.hosts[m.Name].PowerOff()
		}
	}
	keys := p.vantageKeys()
	for _, m := range p.machines {
		var err error
		switch m.Role {
		case story.RoleProxy:
			err = p.proxy(m)
		case story.RoleLive:
			err = p.live(m)
		case story.RoleSeed, story.RoleUnderstudy:
			err = p.seed(m)
		case story.RoleStore:
			p.run(m.Name, "s3", "--listen", ":80", "--bucket", leaseBucket(m.Region), "--key", leaseAccount, "--dir", storeDir)
		case story.RoleAWS:
			err = p.controlPlane(m)
		case story.RoleBalancer:
			p.balancer(m)
		case story.RoleVPS:
			err = p.vps(m, keys)
		case story.RoleAPI:
			err = p.api(m)
		case story.RoleNameServer:
			err = p.nameServer(m)
		case story.RoleRoot, story.RoleCom:
			err = p.tld(m)
		case story.RoleCloudDNS:
			p.cloudDNS(m)
		case story.RoleControl:
			p.run(m.Name, "control")
		case story.RolePhone:
			p.run(m.Name, "resolver")
			p.run(m.Name, "phone")
		}
		if err != nil {
			return nil, fmt.Errorf("set up %s: %w", m.Name, err)
		}
	}
	return p, nil
}

// resolvers are those that a machine asks: its own, if it has one.
func (p *platform) resolvers(m story.Machine) []netip.AddrPort {
	switch m.Role {
	case story.RoleLive, story.RoleVPS, story.RolePhone, story.RoleBrowser, story.RolePublisher:
		return []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:53")}
	}
	return nil
}

// job is a role that init runs.
type job struct {
	role string
	args []string
}

// run has a role started at every boot of a machine.
func (p *platform) run(machine, role string, args ...string) {
	p.hosts[machine].OnBoot(func(m *sim.Machine) { p.supervise(m, role, args) })
	p.jobs[machine] = append(p.jobs[machine], job{role, args})
}

// runLater is run for those who let others go first.
func (p *platform) runLater(machine, role string, args ...string) {
	p.hosts[machine].OnBoot(func(m *sim.Machine) {
		p.world.After(3*time.Second, func() { p.supervise(m, role, args) })
	})
	p.jobs[machine] = append(p.jobs[machine], job{role, args})
}

// restartDelay is that of the machines' init.
const restartDelay = time.Second

// supervise starts a role, and again whenever it ends, as init does.
func (p *platform) supervise(m *sim.Machine, role string, args []string) {
	proc := startRole(m, role, p.roles, args)
	console := m.Console()
	go func() {
		select {
		case <-proc.Done():
		case <-console.Done():
			return
		}
		p.world.After(restartDelay, func() {
			if console.Alive() {
				p.supervise(m, role, args)
			}
		})
	}()
}

// place is where a machine stands for the network: those outside the regions are
// each somewhere of their own, and clients live near the region of their host.
func (p *platform) place(m story.Machine) (region, zone string) {
	switch m.Role {
	case story.RoleBrowser, story.RolePublisher:
		return p.isp(m.Group), m.Name
	case story.RoleVPS, story.RoleControl, story.RolePhone, story.RoleRoot, story.RoleCom:
		return m.Name, ""
	case story.RoleAPI, story.RoleNameServer:
		if m.Region != "" {
			return m.Region, m.Zone
		}
		return m.Provider, m.Name
	case story.RoleCloudDNS:
		return "cloud", m.Name
	}
	return m.Region, m.Zone
}

// isp is the access network of a group of clients.
func (p *platform) isp(group string) string {
	for _, g := range p.story.Workload {
		if g.ID != group {
			continue
		}
		if home, ok := p.story.Topology.Home(g.Home); ok {
			return "homes near " + home
		}
	}
	return "homes"
}

// distances sets the latencies that matter; the rest follows from the seed.
func (p *platform) distances() {
	for i, r := range p.story.Topology.Regions {
		p.world.SetDistance(r.Name, "homes near "+r.Name, 8*time.Millisecond)
		for _, other := range p.story.Topology.Regions[i+1:] {
			p.world.SetDistance(r.Name, other.Name, 38*time.Millisecond)
			p.world.SetDistance(r.Name, "homes near "+other.Name, 45*time.Millisecond)
			p.world.SetDistance("homes near "+r.Name, other.Name, 45*time.Millisecond)
		}
	}
}

func (p *platform) addr(machine string) netip.Addr { return p.hosts[machine].Addr() }

// with lists the machines of a role.
func (p *platform) with(role string, match func(story.Machine) bool) []story.Machine {
	var all []story.Machine
	for _, m := range p.machines {
		if m.Role == role && (match == nil || match(m)) {
			all = append(all, m)
		}
	}
	return all
}

func (p *platform) inRegion(role, region string) []story.Machine {
	return p.with(role, func(m story.Machine) bool { return m.Region == region })
}

func (p *platform) roots() []netip.AddrPort {
	var roots []netip.AddrPort
	for _, m := range p.with(story.RoleRoot, nil) {
		roots = append(roots, netip.AddrPortFrom(p.addr(m.Name), 53))
	}
	return roots
}

// files puts files on a machine's disk.
func (p *platform) files(machine string, files map[string][]byte) error {
	for name, data := range files {
		if err := p.hosts[machine].Disk().WriteFile(name, data); err != nil {
			return err
		}
	}
	return nil
}

// hostNames are the hosts of the platform that have a home.
func (p *platform) hostNames() []string {
	hosts := []string{story.WWW}
	for _, h := range story.LiveHosts {
		if _, ok := p.story.Topology.Home(h.Host); ok {
			hosts = append(hosts, h.Host)
		}
	}
	return hosts
}

// table is the static placement of a region.
func (p *platform) table(region string) string {
	var t placement.Table
	for _, m := range p.inRegion(story.RoleLive, region) {
		t.Nodes = append(t.Nodes, placement.Node{Name: m.Name, Zone: m.Zone, Addr: p.addr(m.Name).String() + ":8080"})
	}
	return t.String()
}

func (p *platform) proxy(m story.Machine) error {
	cert, err := p.ca.Leaf(p.hostNames()...)
	if err != nil {
		return err
	}
	if err := p.files(m.Name, map[string][]byte{certFile: cert}); err != nil {
		return err
	}
	args := []string{"--http", ":8080", "--https", ":8443", "--cert", certFile, "--www", story.WWW, "--children", "2"}
	joins, err := p.joins(m, cell.RoleProxy)
	if err != nil {
		return err
	}
	args = append(args, joins...)
	for _, host := range p.hostNames() {
		args = append(args, "--host", host)
	}
	p.run(m.Name, "proxy", args...)
	return nil
}

func (p *platform) live(m story.Machine) error {
	p.run(m.Name, "resolver")
	args := []string{"--listen", ":8080", "--name", m.Name, "--region", m.Region}
	joins, err := p.joins(m, cell.RoleLive)
	if err != nil {
		return err
	}
	args = append(args, joins...)
	for _, h := range p.hostNames() {
		if h != story.WWW {
			args = append(args, "--home", h)
		}
	}
	p.run(m.Name, "live", args...)
	return nil
}

func (p *platform) balancer(m story.Machine) {
	args := []string{"--forward", "80=8080", "--forward", "443=8443", "--zone", m.Zone}
	if planes := p.inRegion(story.RoleAWS, m.Region); len(planes) > 0 {
		args = append(args, "--control-plane", "http://"+p.addr(planes[0].Name).String()+":8600", "--target-group", proxyGroup(m.Region))
	} else {
		for _, t := range p.inRegion(story.RoleProxy, m.Region) {
			args = append(args, "--target", fmt.Sprintf("%s@%s=%s", t.Name, t.Zone, p.addr(t.Name)))
		}
	}
	p.run(m.Name, "lb", args...)
}

func (p *platform) cloudDNS(m story.Machine) {
	args := []string{"--zone", cloudZone, "--ns", m.Name + "." + cloudZone}
	for _, b := range p.with(story.RoleBalancer, nil) {
		args = append(args, "--lb", fmt.Sprintf("%s=%s@%s", b.Region, p.addr(b.Name), b.Zone))
	}
	p.run(m.Name, "cloud", args...)
}

// balancerName is the name of a region's load balancer in the cloud's zone.
func balancerName(region string) string { return region + "." + cloudZone }

func providerDomain(provider string) string { return provider + ".com" }

func (p *platform) api(m story.Machine) error {
	host := "api." + providerDomain(m.Provider)
	files := map[string][]byte{}
	args := []string{"--cert", certFile}
	switch m.Provider {
	case "twilio":
		args = append(args, twilioArgs()...)
	case "sns":
		host = "sns." + awsDomain(m.Region)
		args = append(args, snsArgs(m.Region)...)
	default:
		files["/zone"] = []byte(p.zone())
		args = append(args, "--token", dnsToken, "--zonefile", "/zone")
	}
	cert, err := p.ca.Leaf(host)
	if err != nil {
		return err
	}
	files[certFile] = cert
	if err := p.files(m.Name, files); err != nil {
		return err
	}
	p.run(m.Name, m.Provider, args...)
	return nil
}

func (p *platform) nameServer(m story.Machine) error {
	err := p.files(m.Name, map[string][]byte{"/own": []byte(p.providerZone(m.Provider)), "/zone": []byte(p.zone())})
	if err != nil {
		return err
	}
	p.run(m.Name, "authority", "--zonefile", "/own", "--zonefile", "/zone",
		"--pull", fmt.Sprintf("http://%s:8600/zones", p.addr(m.Provider+"-api")))
	return nil
}

func (p *platform) tld(m story.Machine) error {
	zone := p.rootZone()
	if m.Role == story.RoleCom {
		zone = p.comZone()
	}
	files := map[string][]byte{"/zone": []byte(zone)}
	args := []string{"--zonefile", "/zone"}
	if m.Role == story.RoleCom {
		files["/sites"] = []byte(p.sitesZone())
		files["/twilio"] = []byte(p.twilioZone())
		args = append(args, "--zonefile", "/sites", "--zonefile", "/twilio")
		for _, r := range p.story.Topology.Regions {
			zone, ok := p.awsZone(r.Name)
			if !ok {
				continue
			}
			name := "/" + awsRegion(r.Name)
			files[name] = []byte(zone)
			args = append(args, "--zonefile", name)
		}
	}
	if err := p.files(m.Name, files); err != nil {
		return err
	}
	p.run(m.Name, "authority", args...)
	return nil
}

// vantageKeys are the keys with which the vantages sign what they saw. They are
// the same in every run, as what depends on them must be.
func (p *platform) vantageKeys() map[string]ed25519.PrivateKey {
	keys := map[string]ed25519.PrivateKey{}
	for i, m := range p.with(story.RoleVPS, nil) {
		seed := make([]byte, ed25519.SeedSize)
		copy(seed, m.Name)
		seed[ed25519.SeedSize-1] = byte(i)
		keys[m.Name] = ed25519.NewKeyFromSeed(seed)
	}
	return keys
}

func (p *platform) vps(m story.Machine, keys map[string]ed25519.PrivateKey) error {
	cert, err := p.ca.Leaf(story.Apex, m.Name)
	if err != nil {
		return err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(keys[m.Name])
	if err != nil {
		return err
	}
	conf, err := yaml.Marshal(p.monitorConfig(m, keys))
	if err != nil {
		return err
	}
	err = p.files(m.Name, map[string][]byte{
		certFile: cert, rootsFile: p.ca.RootsPEM(), confFile: conf,
		keyFile:    pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}),
		"/etc/dns": []byte(dnsToken + "\n"),
		twilioFile: []byte(twilioToken + "\n"),
		snsFile:    []byte(snsAccount + "\n"),
	})
	if err != nil {
		return err
	}
	if p.involved() {
		if err := p.files(m.Name, map[string][]byte{secretFile: []byte(secret + "\n")}); err != nil {
			return err
		}
	}
	if err := p.hosts[m.Name].Disk().MkdirAll("/var/lib/protoplex"); err != nil {
		return err
	}
	p.run(m.Name, "resolver")
	p.run(m.Name, "redirect", "--http", ":80", "--https", ":443", "--cert", certFile, "--from", story.Apex, "--to", story.WWW)
	p.run(m.Name, "monitor", "--config", confFile)
	return nil
}

func (p *platform) monitorConfig(m story.Machine, keys map[string]ed25519.PrivateKey) monitor.Config {
	t := p.story.Topology
	c := monitor.Config{
		Name: m.Name, Listen: ":8700", Cert: certFile, Key: keyFile, Roots: rootsFile, State: stateFile, Record: recordDir,
		Status: "espra.com/i/",
		Probe:  t.Monitor.Probe, Limit: 4 * time.Second, OpenAfter: t.Monitor.OpenAfter, CloseAfter: t.Monitor.CloseAfter,
		HoldDown: t.Monitor.HoldDown, BlindAfter: 10 * time.Minute, SilentAfter: time.Hour, ActorDelay: 20 * time.Second, Guard: 30,
	}
	for i, v := range p.with(story.RoleVPS, nil) {
		if v.Name == m.Name {
			c.Rank = i
			continue
		}
		public, _ := keys[v.Name].Public().(ed25519.PublicKey)
		c.Peers = append(c.Peers, monitor.Peer{Name: v.Name, Rank: i, URL: "https://" + v.Name + ":8700",
			PublicKey: base64.StdEncoding.EncodeToString(public)})
	}
	for _, v := range p.with(story.RoleControl, nil) {
		c.Controls = append(c.Controls, monitor.Control{Name: v.Name, URL: "http://" + v.Name + ".example.com/"})
	}
	var regions, addresses, delegated []string
	balancers := map[string]string{}
	for _, v := range p.with(story.RoleVPS, nil) {
		addresses = append(addresses, p.addr(v.Name).String())
	}
	for _, r := range t.Regions {
		regions = append(regions, r.Name)
		balancers[r.Name] = balancerName(r.Name)
		c.Targets = append(c.Targets, monitor.Target{Region: r.Name, Target: probe.Target{
			Name: r.Name + "-web", Kind: "http", URL: "https://" + story.WWW + "/", Connect: balancerName(r.Name) + ":443",
		}})
	}
	if days := int(t.Monitor.Certificates / (24 * time.Hour)); days > 0 {
		c.Targets = append(c.Targets, p.certificates(days)...)
	}
	for _, name := range t.DNS.Providers {
		provider := monitor.Provider{Name: name, URL: "https://api." + providerDomain(name), Token: "/etc/dns", Zone: story.Apex}
		for _, ns := range p.with(story.RoleNameServer, func(m story.Machine) bool { return m.Provider == name }) {
			address := strings.TrimPrefix(ns.Name, name+"-") + "." + providerDomain(name) + ":53"
			provider.Authorities = append(provider.Authorities, address)
		}
		// What they answer is looked at, not only that they do.
		c.Targets = append(c.Targets, monitor.Target{Target: probe.Target{
			Name: name + "-dns", Kind: "dns", Servers: provider.Authorities, Zone: story.Apex, Type: "A", Values: addresses,
			Also: []string{story.WWW}, // which speaks for all names that the monitors keep
		}})
		c.Providers = append(c.Providers, provider)
		hosts, _ := p.servers(name)
		delegated = append(delegated, hosts...)
	}
	c.Targets = append(c.Targets, monitor.Target{Target: probe.Target{
		Name: "domain", Kind: "delegation", Server: p.addr("com-1").String() + ":53", Zone: story.Apex, Values: delegated,
	}})
	for _, host := range p.hostNames() {
		home, _ := t.Home(host)
		others := slices.DeleteFunc(slices.Clone(regions), func(r string) bool { return r == home })
		c.Homes = append(c.Homes, monitor.HomeConfig{Host: host, Regions: append([]string{home}, others...), LB: balancers, TTL: t.DNS.TTL})
	}
	c.SMS = p.smsProviders()
	if len(c.SMS) > 0 {
		p.people(&c)
	}
	return c
}
