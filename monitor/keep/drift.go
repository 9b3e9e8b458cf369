package keep

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/espra/protoplex/monitor/query"
	"github.com/espra/protoplex/monitor/zone"
	"github.com/espra/protoplex/nodes"
)

// Difference is something that a name server shows otherwise than it should.
type Difference struct {
	Provider, Server string
	Name, Type       string // empty if it is about the server
	Want, Have       string
}

// String is the difference in a line.
func (d Difference) String() string {
	if d.Name == "" {
		return fmt.Sprintf("%s %s: %s", d.Provider, d.Server, d.Have)
	}
	return fmt.Sprintf("%s %s: %s %s: shows %s, wanted %s", d.Provider, d.Server, d.Name, d.Type, d.Have, d.Want)
}

// Sight is what was seen at one name server.
type Sight struct {
	Provider, Server string
	Serial           uint32 // of its SOA; 0 if it does not answer
	Sets             int    // that were compared
}

// Drift is how the world differs from the file.
type Drift struct {
	Proposal    *Proposal // what the providers' APIs lack
	Err         error     // what could not be read or planned
	Sights      []Sight
	Differences []Difference // at the name servers
}

// None tells whether there is no difference anywhere.
func (d *Drift) None() bool {
	return d.Err == nil && d.Proposal.Changes() == 0 && len(d.Differences) == 0
}

// Drift compares the file, what each provider holds, and what each of its name
// servers shows.
func (k *Keeper) Drift(ctx context.Context, permits Permits) *Drift {
	var d Drift
	d.Proposal, d.Err = k.Propose(ctx, permits)
	var servers []server
	for i, plan := range d.Proposal.Plans {
		wanted := plan.wanted
		if plan.Unknown { // its name servers may still answer
			for _, r := range k.file.Records {
				if fit, err := k.providers[i].zone.Fit(r); err == nil {
					wanted = append(wanted, fit)
				}
			}
		}
		servers = append(servers, k.servers(i, sets(wanted, nil))...)
	}
	nodes.FanOut(ctx, k.m, "look", places(len(servers)), func(ctx context.Context, i int) { k.look(ctx, &servers[i]) })
	for _, s := range servers {
		d.Sights = append(d.Sights, Sight{s.provider, s.address, s.serial, len(s.sets)})
		d.Differences = append(d.Differences, s.behind...)
	}
	return &d
}

// set is all records of one name and type, as they are to be; none is also one.
type set struct {
	name, kind string
	records    []zone.Record
}

// sets gives the sets of records, sorted; only the named ones, if names are
// given, and then also those that are to be empty.
func sets(records []zone.Record, only map[string]bool) []set {
	byKey := map[string]*set{}
	var all []*set
	get := func(name, kind string) *set {
		key := name + " " + kind
		if byKey[key] == nil {
			byKey[key] = &set{name: name, kind: kind}
			all = append(all, byKey[key])
		}
		return byKey[key]
	}
	for key := range only {
		name, kind, _ := strings.Cut(key, " ")
		get(name, kind)
	}
	for _, r := range records {
		if only == nil || only[r.Name+" "+r.Type] {
			s := get(r.Name, r.Type)
			s.records = append(s.records, r)
		}
	}
	slices.SortFunc(all, func(a, b *set) int { return strings.Compare(a.name+" "+a.kind, b.name+" "+b.kind) })
	out := make([]set, len(all))
	for i, s := range all {
		out[i] = *s
	}
	return out
}

// server is a name server to ask, with what it should show.
type server struct {
	place             int // of its provider
	provider, address string
	sets              []set
	serial            uint32
	behind            []Difference
}

func (k *Keeper) servers(place int, sets []set) []server {
	var all []server
	for _, a := range k.providers[place].Authorities {
		all = append(all, server{place: place, provider: k.providers[place].Name, address: a, sets: sets})
	}
	return all
}

// look sees whether a server answers for the zone at all, that the zone's NS
// records cover every provider, and what it shows of the sets.
func (k *Keeper) look(ctx context.Context, s *server) {
	fail := func(format string, args ...any) {
		s.behind = append(s.behind, Difference{Provider: s.provider, Server: s.address, Have: fmt.Sprintf(format, args...)})
	}
	answer, err := query.Ask(ctx, k.m, query.Question{
		Server: s.address, Name: k.config.Zone, Type: dns.TypeSOA, Timeout: askLimit, N: k.questions.Add(1),
	})
	if err != nil {
		fail("does not answer: %v", err)
		return
	}
	for _, rr := range answer.Answer {
		if soa, ok := rr.(*dns.SOA); ok {
			s.serial = soa.Serial
		}
	}
	if s.serial == 0 || !answer.Authoritative {
		fail("does not speak for %s: %s", k.config.Zone, dns.RcodeToString[answer.Rcode])
		return
	}
	s.behind = k.compare(ctx, s)
	records, err := zone.Served(ctx, k.m, s.address, k.config.Zone, "NS", askLimit, k.questions.Add(1))
	if err != nil {
		fail("does not answer: %v", err)
		return
	}
	var names []string
	for _, r := range records {
		names = append(names, r.Value)
	}
	if missing := k.config.uncovered(names); len(missing) > 0 {
		fail("the NS records of %s name no server of %s: add them there, and at the registrar", k.config.Zone, strings.Join(missing, ", "))
	}
}

// compare gives what a server does not show as wanted. One that stops answering
// is asked no further.
func (k *Keeper) compare(ctx context.Context, s *server) []Difference {
	var behind []Difference
	for _, set := range s.sets {
		have, err := zone.Served(ctx, k.m, s.address, set.name, set.kind, askLimit, k.questions.Add(1))
		if err != nil {
			return append(behind, Difference{Provider: s.provider, Server: s.address, Have: fmt.Sprintf("does not answer: %v", err)})
		}
		if !equal(have, set.records) {
			behind = append(behind, Difference{s.provider, s.address, set.name, set.kind, values(set.records), values(have)})
		}
	}
	return behind
}
