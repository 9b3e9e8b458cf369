package scenarios

import (
	"fmt"
	"strings"
	"time"

	"github.com/espra/protoplex/monitor/home"
	"github.com/espra/protoplex/scenarios/story"
)

// The zone files of the simulated internet: the root and com as far as the
// platform's names need them, the providers' own zones, and the zone espra.com
// as both providers hold it when a story starts.

type zoneText struct{ b strings.Builder }

func newZone(origin, primary string) *zoneText {
	z := &zoneText{}
	fmt.Fprintf(&z.b, "$ORIGIN %s.\n$TTL 3600\n", strings.TrimSuffix(origin, "."))
	if origin == "." {
		z.b.Reset()
		z.b.WriteString("$ORIGIN .\n$TTL 86400\n")
	}
	z.add("@", 3600, "SOA", fmt.Sprintf("%s. hostmaster.%s 1 3600 600 604800 30", primary, primary+"."))
	return z
}

func (z *zoneText) add(name string, ttl int, kind, data string) {
	fmt.Fprintf(&z.b, "%s %d IN %s %s\n", name, ttl, kind, data)
}

func (z *zoneText) String() string { return z.b.String() }

// servers lists the name servers of a provider with their addresses.
func (p *platform) servers(provider string) (hosts, addrs []string) {
	for _, m := range p.with(story.RoleNameServer, func(m story.Machine) bool { return m.Provider == provider }) {
		hosts = append(hosts, strings.TrimPrefix(m.Name, provider+"-")+"."+providerDomain(provider)+".")
		addrs = append(addrs, p.addr(m.Name).String())
	}
	return hosts, addrs
}

func (p *platform) rootZone() string {
	z := newZone(".", "root-1")
	z.add("@", 86400, "NS", "root-1.")
	z.add("root-1.", 86400, "A", p.addr("root-1").String())
	z.add("com.", 86400, "NS", "com-1.")
	z.add("com-1.", 86400, "A", p.addr("com-1").String())
	return z.String()
}

func (p *platform) comZone() string {
	z := newZone("com", "com-1")
	z.add("@", 86400, "NS", "com-1.")
	for _, provider := range p.story.Topology.DNS.Providers {
		hosts, addrs := p.servers(provider)
		for i, host := range hosts {
			z.add(story.Apex+".", 3600, "NS", host)
			z.add(providerDomain(provider)+".", 3600, "NS", host)
			z.add(host, 3600, "A", addrs[i])
		}
	}
	for _, m := range p.with(story.RoleCloudDNS, nil) {
		host := m.Name + "." + cloudZone + "."
		z.add(cloudZone+".", 3600, "NS", host)
		z.add(host, 3600, "A", p.addr(m.Name).String())
	}
	return z.String()
}

// sitesZone holds the sites that the monitors take for the rest of the world.
func (p *platform) sitesZone() string {
	z := newZone("example.com", "com-1")
	z.add("@", 3600, "NS", "com-1.")
	for _, m := range p.with(story.RoleControl, nil) {
		z.add(m.Name, 300, "A", p.addr(m.Name).String())
	}
	return z.String()
}

// awsZone holds the endpoints of Amazon's services in a region; false if it has
// none.
func (p *platform) awsZone(region string) (zone string, ok bool) {
	z := newZone(awsDomain(region), "com-1")
	z.add("@", 3600, "NS", "com-1.")
	for _, m := range p.machines {
		if m.Region != region {
			continue
		}
		switch {
		case m.Role == story.RoleAWS:
			z.add("elasticloadbalancing", 60, "A", p.addr(m.Name).String())
			z.add("autoscaling", 60, "A", p.addr(m.Name).String())
			ok = true
		case m.Role == story.RoleAPI && m.Provider == "sns":
			z.add("sns", 300, "A", p.addr(m.Name).String())
			ok = true
		}
	}
	return z.String(), ok
}

// providerZone is the provider's own domain, with its API in it.
func (p *platform) providerZone(provider string) string {
	hosts, addrs := p.servers(provider)
	z := newZone(providerDomain(provider), strings.TrimSuffix(hosts[0], "."))
	for i, host := range hosts {
		z.add("@", 3600, "NS", host)
		z.add(host, 3600, "A", addrs[i])
	}
	z.add("api", 300, "A", p.addr(provider+"-api").String())
	return z.String()
}

// zone is espra.com: what the monitors keep, and what is none of their business.
func (p *platform) zone() string {
	t := p.story.Topology
	first, _ := p.servers(t.DNS.Providers[0])
	z := newZone(story.Apex, strings.TrimSuffix(first[0], "."))
	for _, provider := range t.DNS.Providers {
		hosts, _ := p.servers(provider)
		for _, host := range hosts {
			z.add("@", 3600, "NS", host)
		}
	}
	ttl := int(t.DNS.TTL / time.Second)
	for _, m := range p.with(story.RoleVPS, nil) {
		z.add("@", ttl, "A", p.addr(m.Name).String())
	}
	for _, host := range p.hostNames() {
		region, _ := t.Home(host)
		z.add(host+".", ttl, "CNAME", balancerName(region)+".")
		z.add("_home."+host+".", min(ttl, 30), "TXT", fmt.Sprintf("%q", home.Home{Region: region, Epoch: 1}.String()))
	}
	z.add("@", 3600, "MX", "10 mail.espra.com.")
	z.add("@", 3600, "TXT", `"v=spf1 include:amazonses.com -all"`)
	z.add("_dmarc", 3600, "TXT", `"v=DMARC1; p=reject"`)
	z.add("mail", 3600, "A", "192.0.2.25")
	z.add("status", 3600, "A", "192.0.2.80")
	z.add("_acme-challenge", 3600, "TXT", `"left by a person"`)
	return z.String()
}
