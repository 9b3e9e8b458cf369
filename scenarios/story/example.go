package story

import (
	"fmt"
	"slices"
	"strings"
)

// Example gives the fault as an entry of a timeline, with all its parameters, on
// one of the kinds of things that it strikes.
func (f Fault) Example() string {
	on := f.On[0].example()
	switch {
	case f.On[0] == ByProvider && f.Providers != nil:
		on = "provider " + f.Providers[0]
	case slices.Contains(f.On, ByProvider) && slices.Contains(f.Roles, RoleAPI):
		on = ByProvider.example()
	case slices.Contains(f.On, ByVPS) && slices.Contains(f.Roles, RoleVPS):
		on = ByVPS.example()
	case slices.Contains(f.Roles, RoleCom):
		on = "role com"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "- id: %s-once\n  at: 2m\n  fault: %s\n  on: %s\n", f.Name, f.Name, on)
	if f.For != Never {
		b.WriteString("  for: 3m\n")
	}
	for _, p := range f.Params {
		fmt.Fprintf(&b, "  %s: %s\n", p.Name, p.example())
	}
	return b.String()
}

func (k Kind) example() string {
	switch k {
	case ByRegion:
		return "region us-east"
	case ByZone:
		return "zone us-east-a"
	case ByMachine:
		return "machine us-east-live-1"
	case ByRole:
		return "role live in us-east"
	case ByVPS:
		return "vps fremont"
	case ByProvider:
		return "provider linode"
	case ByClients:
		return "clients us-browsers"
	}
	return "link region us-east <-> region eu-west"
}

func (p Param) example() string {
	switch p.Type {
	case TypeDuration:
		return "500ms"
	case TypeOffset:
		if p.Most > 0 {
			return short(-p.Most / 100)
		}
		return "-5s"
	case TypeShare:
		return "20%"
	case TypeFactor:
		return "3x"
	case TypeCounts:
		return "1-2"
	case TypeRate:
		return "64KB/s"
	case TypeHosts:
		return "www"
	case TypeProviders:
		return "linode"
	case TypeCount:
		return "2"
	case TypeChoice:
		return p.Among[0]
	}
	return "clients us-browsers"
}
