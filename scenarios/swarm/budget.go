package swarm

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/espra/protoplex/scenarios/story"
)

// Budget is what may be impaired at one time, in any way, so that the platform
// has to survive it: clients are served again when it is over, and until then
// nothing is said twice, lost silently, or paged without a reason.
type Budget struct {
	Regions   int // struck in more than one zone, out of several; the others are then whole
	Zones     int // of each region, and each tier has a machine outside
	Vantages  int // a majority of all is left
	Providers int // of DNS, and only if there is another
	Gateways  int // of texts, and only if there is another
	Leaders   int // Seeds of a region, and only if there is another, and its lease store is whole
	Controls  int
	CloudDNS  int // name servers of the cloud
}

// Declared is the budget of the platform. DNS above its zone is never part of it.
var Declared = Budget{Regions: 1, Zones: 1, Vantages: 1, Providers: 1, Gateways: 1, Leaders: 1, Controls: 1, CloudDNS: 1}

// recovery is how long after its end a fault still counts: what was struck has
// to be found well again, and to get back its share.
const recovery = time.Minute

// replacement is how long the group of a region with scaling may be without a
// proxy that was found unwell, for it then ends it: until a machine is free for
// another one, that one has booted and is in service.
const replacement = 8 * time.Minute

// impairment is a time in which machines do not do what they should.
type impairment struct {
	from, until time.Duration
	machines    []string
}

// mild says of faults of which the platform promises that clients feel them, if at
// all, as slowness, wherever they strike.
func mild(e story.Event) bool {
	switch e.Fault {
	case "clock-step", "clock-drift", "clock-frozen", "duplication", "reordering":
		return true
	case "domain-expired": // told of, and not felt for the hour that resolvers keep the delegation
		return true
	case "latency":
		return e.Params.Duration("add") <= 300*time.Millisecond
	case "jitter":
		return e.Params.Duration("up-to") <= 300*time.Millisecond
	case "bandwidth":
		return e.Params.Rate("rate") >= 256
	case "loss":
		return e.Params.Share("percent") <= 500
	case "burst-loss":
		return e.Params.Share("percent") <= 500 && e.Params.Duration("run") <= 300*time.Millisecond
	}
	return false
}

// gray says of faults that leave a machine to be reached and of little use: nobody
// turns to another one, as from a machine that is silent.
func gray(e story.Event) bool {
	switch e.Fault {
	case "latency", "jitter", "bandwidth", "loss", "burst-loss", "corruption", "mtu-drop":
		return !mild(e)
	case "hung", "no-sockets": // the host takes connections all the same
		return true
	}
	return false
}

// unnoticed is how long after its end a fault may impair: a silent connection is given
// up after a minute, or after two where nobody sends, and a zone's change that came
// last is on its way.
func unnoticed(e story.Event) time.Duration {
	switch e.Fault {
	case "half-open":
		return 2 * time.Minute
	case "zone-spreads-slowly":
		return e.Params.Duration("takes")
	case "drain-ordered":
		return e.Params.Duration("thinks")
	}
	return 0
}

// impairments gives what a fault of a story impairs, and when.
func impairments(e story.Event, machines []story.Machine, lasts time.Duration) []impairment {
	if mild(e) {
		return nil
	}
	on := e.On
	if on.Kind == story.ByLink {
		on = on.From
	}
	spec, known := story.FindFault(e.Fault)
	if spec.Family == story.Disk { // others hardly use theirs
		machines = slices.DeleteFunc(slices.Clone(machines), func(m story.Machine) bool { return !slices.Contains(spec.Roles, m.Role) })
	}
	struck := on.Match(machines)
	if e.Fault == "restarted" { // one after another
		var all []impairment
		for i, name := range struck {
			at := e.At + time.Duration(i)*e.Params.Duration("every")
			all = append(all, recovering(at, at, []string{name}, machines)...)
		}
		return all
	}
	var all []impairment
	for n := range e.Times {
		at := e.Strike(n)
		if known && spec.For != story.Never && e.For == 0 {
			all = append(all, impairment{at, lasts, struck})
			continue
		}
		all = append(all, recovering(at, at+e.For+unnoticed(e), struck, machines)...)
	}
	return all
}

// recovering is the impairment of a fault, and what it takes to get over it.
func recovering(from, until time.Duration, struck []string, machines []story.Machine) []impairment {
	all := []impairment{{from, until + recovery, struck}}
	var ended []string // and replaced
	for _, m := range machines {
		scaled := m.Role == story.RoleProxy && slices.ContainsFunc(machines, func(o story.Machine) bool { return o.Standby && o.Region == m.Region })
		if scaled && slices.Contains(struck, m.Name) {
			ended = append(ended, m.Name)
		}
	}
	if len(ended) > 0 {
		all = append(all, impairment{from, until + replacement, ended})
	}
	return all
}

// Exceeds says what of the budget the faults of a story exceed at any time, and ""
// if they stay within.
func (b Budget) Exceeds(s *story.Story) string {
	machines := s.Machines()
	var all []impairment
	for _, e := range s.Timeline {
		all = append(all, impairments(e, machines, s.Lasts)...)
	}
	return b.exceeds(s.Topology, all)
}

// exceeds says what of the budget all impairments together exceed at any time,
// and "" if they stay within.
func (b Budget) exceeds(t story.Topology, all []impairment) string {
	machines := t.Machines()
	for _, i := range all { // the set grows only where one begins
		if why := b.exceededBy(t, machines, impairedAt(all, i.from)); why != "" {
			return why
		}
	}
	return ""
}

func impairedAt(all []impairment, at time.Duration) map[string]bool {
	set := map[string]bool{}
	for _, i := range all {
		if i.from <= at && at < i.until {
			for _, m := range i.machines {
				set[m] = true
			}
		}
	}
	return set
}

// tiers are the roles of which each region needs one machine outside of the zone
// that is struck.
var tiers = []string{story.RoleProxy, story.RoleLive, story.RoleBalancer}

// state is what a set of impaired machines leaves of the platform.
type state struct {
	whole     []string // regions that are struck as a whole
	touched   []string // regions of which something is struck
	providers []string // of DNS, that are struck
}

func (b Budget) assess(machines []story.Machine, impaired map[string]bool) state {
	var s state
	zones := map[string][]string{} // struck, by region
	left := map[[2]string]bool{}   // region and tier that has a machine
	struck := map[[2]string]bool{} // region and tier that has lost one
	note := func(list *[]string, name string) {
		if !slices.Contains(*list, name) {
			*list = append(*list, name)
		}
	}
	for _, m := range machines {
		if m.Standby {
			continue
		}
		tier := [2]string{m.Region, m.Role}
		left[tier] = left[tier] || !impaired[m.Name]
		if !impaired[m.Name] {
			continue
		}
		struck[tier] = true
		if m.Region != "" {
			note(&s.touched, m.Region)
		}
		if m.Zone != "" && slices.Contains(tiers, m.Role) {
			z := zones[m.Region]
			note(&z, m.Zone)
			zones[m.Region] = z
		}
		if m.Role == story.RoleNameServer || m.Role == story.RoleAPI && !isGateway(m.Provider) {
			note(&s.providers, m.Provider)
		}
	}
	for _, region := range s.touched {
		whole := len(zones[region]) > b.Zones
		for _, tier := range tiers {
			key := [2]string{region, tier}
			whole = whole || struck[key] && !left[key]
		}
		if whole {
			s.whole = append(s.whole, region)
		}
	}
	return s
}

func isGateway(provider string) bool { return provider == "twilio" || provider == "sns" }

func (b Budget) exceededBy(t story.Topology, machines []story.Machine, impaired map[string]bool) string {
	s := b.assess(machines, impaired)
	count := func(match func(story.Machine) bool) (struck, of int) {
		for _, m := range machines {
			if match(m) {
				of++
				if impaired[m.Name] {
					struck++
				}
			}
		}
		return struck, of
	}
	role := func(roles ...string) func(story.Machine) bool {
		return func(m story.Machine) bool { return slices.Contains(roles, m.Role) }
	}
	if n := len(s.whole); n > 0 && (n > b.Regions || len(t.Regions) < 2 || len(s.touched) > n) {
		return fmt.Sprintf("%s struck as a whole, and no region is unhurt", strings.Join(s.whole, ", "))
	}
	if n, of := count(role(story.RoleVPS)); n > b.Vantages || n > 0 && 2*(of-n) <= of {
		return fmt.Sprintf("%d of %d vantages", n, of)
	}
	if n := len(s.providers); n > b.Providers || n > 0 && n == len(t.DNS.Providers) {
		return fmt.Sprintf("%d of %d DNS providers", n, len(t.DNS.Providers))
	}
	gateways := map[string]bool{}
	for _, m := range machines {
		if m.Role == story.RoleAPI && isGateway(m.Provider) && impaired[m.Name] {
			gateways[m.Provider] = true
		}
	}
	if n := len(gateways); n > b.Gateways || n > 0 && n == len(t.SMS) {
		return fmt.Sprintf("%d of %d SMS gateways", n, len(t.SMS))
	}
	for _, r := range t.Regions {
		if slices.Contains(s.whole, r.Name) {
			continue
		}
		here := func(roles ...string) func(story.Machine) bool {
			return func(m story.Machine) bool { return m.Region == r.Name && role(roles...)(m) }
		}
		seeds, of := count(here(story.RoleSeed, story.RoleUnderstudy))
		stores, _ := count(here(story.RoleStore))
		if seeds > b.Leaders || seeds > 0 && seeds == of || seeds > 0 && stores > 0 {
			return fmt.Sprintf("%d of %d Seeds and %d lease stores of %s", seeds, of, stores, r.Name)
		}
	}
	if n, _ := count(role(story.RoleControl)); n > b.Controls {
		return fmt.Sprintf("%d controls", n)
	}
	if n, of := count(role(story.RoleCloudDNS)); n > b.CloudDNS || n > 0 && n == of {
		return fmt.Sprintf("%d of %d name servers of the cloud", n, of)
	}
	if n, _ := count(role(story.RoleRoot, story.RoleCom)); n > 0 {
		return "DNS above the zone"
	}
	return ""
}
