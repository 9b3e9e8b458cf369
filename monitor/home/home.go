// Package home decides which region each host calls home, and what to change in
// a zone so that the zone says so.
//
// It promises to be pure, never to point a host at a region that is not up by
// verdict, never to leave a name empty, to touch only what is marked as the
// monitors' own, and to change no large part of a zone without a verdict that
// explains it. What may fail is a plan: ErrForeign and zone.ErrGuard want a person,
// ErrStale a fresh reading. Start at Want and Plan.
//
// The home of a host is a TXT record at _home.<host>, such as
//
//	v=home1 region=us-east epoch=1
//
// and, beside it, a CNAME from the host to the region's load balancer. Nobody
// but the monitors writes such a text, so it is their ownership mark too: a
// host with an address and no home is somebody else's.
package home

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/espra/protoplex/monitor/zone"
)

// Host is a name whose home is kept.
type Host struct {
	Name      string
	Regions   []string          // in order of preference
	Balancers map[string]string // by region
	TTL       time.Duration
}

// markTTL is how long a home may be remembered. Only the cells read it, every few
// seconds, and an owner that was superseded must hear of it well within a minute.
const markTTL = 30 * time.Second

// Mark is where the home of a host is written.
func (h Host) Mark() string { return "_home." + h.Name }

// Home is where a host lives. The epoch grows with every move, so that a
// region that was away can tell that its own idea is old.
type Home struct {
	Region string
	Epoch  uint64
}

const version = "v=home1"

// String is the text of the TXT record.
func (h Home) String() string {
	return fmt.Sprintf("%s region=%s epoch=%d", version, h.Region, h.Epoch)
}

// ErrNotHome is returned for a text that is no home record.
var ErrNotHome = errors.New("home: not a home record")

// Parse reads the text of a TXT record. Unknown words pass, so that the format
// can grow.
func Parse(text string) (Home, error) {
	words := strings.Fields(text)
	if len(words) == 0 || words[0] != version {
		return Home{}, ErrNotHome
	}
	var h Home
	for _, word := range words[1:] {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "region":
			h.Region = value
		case "epoch":
			epoch, err := strconv.ParseUint(value, 10, 63)
			if err != nil {
				return Home{}, fmt.Errorf("%w: epoch %q", ErrNotHome, value)
			}
			h.Epoch = epoch
		}
	}
	if h.Region == "" || h.Epoch == 0 {
		return Home{}, fmt.Errorf("%w: needs region and epoch", ErrNotHome)
	}
	return h, nil
}

// Current is the home of each host by what the providers hold: the one with the
// highest epoch. The floor is what was known before; an epoch never goes back,
// though a provider may. Two regions with one epoch are nobody's home: the
// region is then empty, and the next move settles it.
func Current(hosts []Host, floor map[string]Home, zones ...[]zone.Record) map[string]Home {
	current := map[string]Home{}
	for _, host := range hosts {
		best := floor[host.Name]
		for _, records := range zones {
			for _, r := range records {
				if r.Type != "TXT" || r.Name != host.Mark() {
					continue
				}
				h, err := Parse(r.Value)
				switch {
				case err != nil:
				case h.Epoch > best.Epoch:
					best = h
				case h.Epoch == best.Epoch && h.Region != best.Region:
					best.Region = ""
				}
			}
		}
		if best.Epoch > 0 {
			current[host.Name] = best
		}
	}
	return current
}

// Region is what the monitors know of a region.
type Region struct {
	Up    bool          // by verdict; a region that was not checked is not up
	Down  bool          // by verdict
	UpFor time.Duration // since it came up; meaningful while it is
}

// Want is where each host should live. A host leaves a region that is down for
// the first one that is up, and returns to one that it prefers once that has
// been up for the hold-down. With nowhere to go it stays.
func Want(hosts []Host, current map[string]Home, regions map[string]Region, holdDown time.Duration) map[string]Home {
	want := map[string]Home{}
	for _, host := range hosts {
		if h, ok := wantOne(host, current[host.Name], regions, holdDown); ok {
			want[host.Name] = h
		}
	}
	return want
}

func wantOne(host Host, cur Home, regions map[string]Region, holdDown time.Duration) (Home, bool) {
	settled := cur.Region != "" && !regions[cur.Region].Down
	for _, name := range host.Regions {
		if settled && name == cur.Region {
			break
		}
		r := regions[name]
		if name != cur.Region && r.Up && (!settled || r.UpFor >= holdDown) {
			return Home{name, cur.Epoch + 1}, true
		}
	}
	return cur, cur.Region != ""
}

// Change is one step of a plan.
type Change struct {
	Host string
	zone.Change
}

// Why a plan was refused.
var (
	ErrForeign   = errors.New("home: not ours to change")
	ErrUnchecked = errors.New("home: region is not up by verdict")
	ErrStale     = errors.New("home: the zone is ahead of the plan")
)

// Plan gives the fewest changes that make the zone say what is wanted, in the
// order in which to make them. Shown are the homes that any provider shows. Hosts
// that must not be changed are left out and reported in the error, beside the
// changes for the others.
//
// To move every host of a region that is lost is what plans are for, however small
// the zone. So the guard, in percent of the zone's records, is for what nothing
// explains, such as homes that only a damaged memory knows, and for deletions:
// beyond it all of these are left out, with zone.ErrGuard.
//
// The home is written before the address. A move that stops between the two
// has then recorded its epoch, so that whoever comes next completes this move
// instead of starting another; and the old region gives the host up before the
// new one is sent its clients, so that no two serve it at once.
func Plan(hosts []Host, want, shown map[string]Home, regions map[string]Region, records []zone.Record, guard int) ([]Change, error) {
	var changes, deletions, explained []Change
	var counted []zone.Change
	var errs error
	for _, host := range hosts {
		h, ok := want[host.Name]
		if !ok {
			continue
		}
		puts, cuts, err := planOne(host, h, records)
		if err == nil && len(puts) > 0 && !regions[h.Region].Up {
			err = fmt.Errorf("%w: %s for %s", ErrUnchecked, h.Region, host.Name)
		}
		if err != nil {
			errs = errors.Join(errs, err)
			continue
		}
		changes = append(changes, puts...)
		deletions = append(deletions, cuts...)
		if host.explained(puts, h, shown[host.Name], regions) {
			explained = append(explained, puts...)
		} else {
			counted = append(counted, steps(puts)...)
		}
		counted = append(counted, steps(cuts)...)
	}
	size := 0 // the same at all providers: some list their own SOA and NS records
	for _, r := range records {
		if r.Type != "SOA" && r.Type != "NS" {
			size++
		}
	}
	if err := zone.Guard(counted, size, guard); err != nil {
		return explained, errors.Join(errs, err)
	}
	return append(changes, deletions...), errs
}

// explained says that there is a reason for each change: the region that the record
// names is lost, or one that the host prefers less, or a provider shows already what
// is wanted.
func (h Host) explained(puts []Change, want, shown Home, regions map[string]Region) bool {
	for _, c := range puts {
		at := slices.Index(h.Regions, h.says(c.Was))
		home := slices.Index(h.Regions, want.Region)
		switch {
		case c.Op == zone.Create:
		case at < 0:
			return false
		case shown != want && home > at && !regions[h.Regions[at]].Down:
			return false
		}
	}
	return true
}

// says gives the region that a record names, or "".
func (h Host) says(r zone.Record) string {
	if r.Type == "TXT" {
		home, _ := Parse(r.Value)
		return home.Region
	}
	for _, region := range h.Regions {
		if h.Balancers[region] == r.Value {
			return region
		}
	}
	return ""
}

func steps(changes []Change) []zone.Change {
	var steps []zone.Change
	for _, c := range changes {
		steps = append(steps, c.Change)
	}
	return steps
}

// planOne gives what to put and what to take away afterwards for one host.
func planOne(host Host, want Home, records []zone.Record) (puts, cuts []Change, err error) {
	balancer, ok := host.Balancers[want.Region]
	if !ok {
		return nil, nil, fmt.Errorf("home: %s has no load balancer in %s", host.Name, want.Region)
	}
	var homes, addresses []zone.Record
	foreign := false
	for _, r := range records {
		switch {
		case r.Name == host.Mark() && r.Type == "TXT":
			if _, err := Parse(r.Value); err == nil {
				homes = append(homes, r)
			}
		case r.Name == host.Name && r.Type == "CNAME":
			addresses = append(addresses, r)
		case r.Name == host.Name:
			foreign = true
		}
	}
	if foreign || len(addresses) > 0 && len(homes) == 0 {
		return nil, nil, fmt.Errorf("%w: %s has records without a home beside them", ErrForeign, host.Name)
	}
	// The highest epoch first: should two writers have created a home each,
	// that one is kept.
	slices.SortStableFunc(homes, func(a, b zone.Record) int {
		x, _ := Parse(a.Value)
		y, _ := Parse(b.Value)
		switch {
		case x.Epoch > y.Epoch:
			return -1
		case x.Epoch < y.Epoch:
			return 1
		}
		return 0
	})
	if len(homes) > 0 {
		if h, _ := Parse(homes[0].Value); h.Epoch > want.Epoch {
			return nil, nil, fmt.Errorf("%w: %s is at epoch %d, wanted %d", ErrStale, host.Name, h.Epoch, want.Epoch)
		}
	}
	wanted := [...]struct {
		have []zone.Record
		put  zone.Record
	}{
		{homes, zone.Record{Name: host.Mark(), Type: "TXT", Value: want.String(), TTL: min(host.TTL, markTTL)}},
		{addresses, zone.Record{Name: host.Name, Type: "CNAME", Value: balancer, TTL: host.TTL}},
	}
	for _, w := range wanted {
		// A TTL that a provider rounded is no reason for a change.
		same := func(have, want zone.Record) bool { return have.Value == want.Value }
		put, cut := zone.Replace(w.have, []zone.Record{w.put}, same)
		puts, cuts = append(puts, of(host, put)...), append(cuts, of(host, cut)...)
	}
	return puts, cuts, nil
}

func of(host Host, steps []zone.Change) []Change {
	var changes []Change
	for _, c := range steps {
		changes = append(changes, Change{host.Name, c})
	}
	return changes
}
