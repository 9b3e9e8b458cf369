package story

import (
	"fmt"
	"strconv"
)

// Roles of machines, as selectors name them.
const (
	RoleProxy      = "proxy"
	RoleLive       = "live"
	RoleSeed       = "seed"
	RoleUnderstudy = "understudy" // a seed that waits for the lease
	RoleStore      = "s3"         // a cell's lease store, in no zone
	RoleAWS        = "aws"        // a region's control plane: balancers and scaling; in no zone
	RoleBalancer   = "lb"         // one node of a region's load balancer
	RoleVPS        = "vps"        // off-site: monitor and apex redirect
	RoleAPI        = "api"        // the API of a DNS provider or SMS gateway
	RoleNameServer = "nameserver" // authoritative server of a DNS provider
	RoleRoot       = "root"       // DNS root
	RoleCom        = "com"        // DNS .com
	RoleCloudDNS   = "cloud-dns"  // the cloud's own zone, for load balancer names
	RoleControl    = "control"    // what monitors probe to know that they are online
	RolePhone      = "phone"      // of an admin who acknowledges pages
	RoleBrowser    = "browser"
	RolePublisher  = "publisher"
)

// Roles is the table of all roles; it is never changed.
var Roles = []string{
	RoleProxy, RoleLive, RoleSeed, RoleUnderstudy, RoleStore, RoleAWS, RoleBalancer, RoleVPS, RoleAPI, RoleNameServer,
	RoleRoot, RoleCom, RoleCloudDNS, RoleControl, RolePhone, RoleBrowser, RolePublisher,
}

// Machine is one machine of a scenario. Fields that make no sense for its role
// are empty.
type Machine struct {
	Name     string
	Role     string
	Region   string
	Zone     string
	Provider string // linode, digitalocean, twilio, sns
	Group    string // of clients
	Standby  bool   // off until its group launches it
}

// Machines gives every machine except the clients, by the naming convention of
// the package comment, always in the same order.
func (t Topology) Machines() []Machine {
	var all []Machine
	for _, r := range t.Regions {
		all = append(all, r.machines()...)
	}
	for _, name := range t.VPS {
		all = append(all, Machine{Name: name, Role: RoleVPS})
	}
	for _, p := range providers {
		using := t.DNS.Providers
		if p.sms {
			using = t.SMS
		}
		for _, name := range using {
			if name != p.name {
				continue
			}
			all = append(all, t.apis(p)...)
			for i := range p.servers {
				all = append(all, Machine{Name: name + "-ns" + strconv.Itoa(i+1), Role: RoleNameServer, Provider: name})
			}
		}
	}
	all = append(all, numbered(RoleRoot, 1)...)
	all = append(all, numbered(RoleCom, 1)...)
	all = append(all, numbered(RoleCloudDNS, 2)...)
	if len(t.VPS) > 0 {
		all = append(all, numbered(RoleControl, 3)...)
	}
	for _, a := range t.Admins {
		if a.Acknowledges > 0 {
			all = append(all, Machine{Name: a.Phone(), Role: RolePhone})
		}
	}
	return all
}

// apis gives the machines with a provider's API.
func (t Topology) apis(p provider) []Machine {
	if !p.regional {
		return []Machine{{Name: p.name + "-api", Role: RoleAPI, Provider: p.name}}
	}
	var all []Machine
	for _, r := range t.Regions {
		all = append(all, Machine{Name: r.Name + "-" + p.name + "-1", Role: RoleAPI, Region: r.Name, Provider: p.name})
	}
	return all
}

func numbered(role string, n int) []Machine {
	all := make([]Machine, n)
	for i := range all {
		all[i] = Machine{Name: fmt.Sprintf("%s-%d", role, i+1), Role: role}
	}
	return all
}

func (r Region) machines() []Machine {
	var all []Machine
	zones := r.ZoneNames()
	add := func(role string, n, firstZone int) {
		for i := range n {
			all = append(all, Machine{
				Name:   fmt.Sprintf("%s-%s-%d", r.Name, role, i+1),
				Role:   role,
				Region: r.Name,
				Zone:   zones[(firstZone+i)%len(zones)],
			})
		}
	}
	add(RoleProxy, max(r.Proxy, r.Scaling.Max), 0)
	for i := r.Proxy; i < r.Scaling.Max; i++ {
		all[i].Standby = true
	}
	add(RoleLive, r.Live, 0)
	add(RoleSeed, r.Seed, 0)
	add(RoleUnderstudy, r.Understudy, r.Seed) // in another zone than the seed
	if r.Seed > 0 {
		all = append(all, Machine{Name: r.Name + "-s3-1", Role: RoleStore, Region: r.Name})
	}
	if r.Scaling.Max > 0 {
		all = append(all, Machine{Name: r.Name + "-aws-1", Role: RoleAWS, Region: r.Name})
	}
	for i, zone := range zones {
		all = append(all, Machine{
			Name: fmt.Sprintf("%s-lb-%s", r.Name, letter(i)), Role: RoleBalancer, Region: r.Name, Zone: zone,
		})
	}
	return all
}

// Machines gives every machine of the story: those of the topology, then the
// clients group by group.
func (s *Story) Machines() []Machine {
	all := s.Topology.Machines()
	for _, g := range s.Workload {
		all = append(all, g.Machines()...)
	}
	return all
}

// Machines gives the clients of the group: ana-01, ana-02, with as many digits
// as the last one needs and at least two.
func (g Group) Machines() []Machine {
	role := RoleBrowser
	if g.Publishers > 0 {
		role = RolePublisher
	}
	n := g.Browsers + g.Publishers
	width := max(2, len(strconv.Itoa(n)))
	all := make([]Machine, n)
	for i := range all {
		all[i] = Machine{Name: fmt.Sprintf("%s-%0*d", g.ID, width, i+1), Role: role, Group: g.ID}
	}
	return all
}
