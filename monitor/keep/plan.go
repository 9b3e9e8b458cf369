package keep

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/espra/protoplex/monitor/zone"
	"github.com/espra/protoplex/nodes/config"
)

// Permits are what an operator allows beyond the ordinary, each by name.
type Permits struct {
	Percent int      // of the kept records to change or delete; 0 for the guard of the configuration
	Adopt   []string // names whose foreign records become ours where they are in the way
	Gap     []string // names that may be empty for a moment
}

// Check refuses names that the file does not have: somebody meant another.
func (p Permits) Check(f *File) error {
	var known []string
	for _, r := range f.Records {
		known = append(known, r.Name)
	}
	check := func(flag string, names []string) (errs error) {
		for _, name := range names {
			if !slices.Contains(known, name) {
				errs = errors.Join(errs, fmt.Errorf("%s %q: no such name in %s%s", flag, config.Clip(name), f.name, config.Suggest(name, known)))
			}
		}
		return errs
	}
	return errors.Join(check("--adopt", p.Adopt), check("--gap", p.Gap))
}

// Why a plan is refused, beside zone.ErrGuard and zone.ErrUnfit.
var (
	ErrForeign = errors.New("in the way is what somebody else wrote")
	ErrHome    = errors.New("the monitors keep this name")
	ErrGap     = errors.New("the name would be empty for a moment")
)

// view is what one provider holds.
type view struct {
	provider string
	records  []zone.Record
	fit      func(zone.Record) (zone.Record, error)
	retypes  bool
}

// Plan is what to change at one provider.
type Plan struct {
	Provider string
	Unknown  bool          // it could not be read
	Changes  []zone.Change // in the order in which to make them
	Same     int           // records that are as wanted
	Adopted  []zone.Record // foreign until now
	Foreign  []zone.Record // kept as they are
	Homes    int           // records of the monitors

	wanted []zone.Record // as the provider will keep them
}

// markTTL: marks are read through the providers' APIs, hardly ever in DNS.
const markTTL = time.Hour

// planner makes one plan.
type planner struct {
	view
	owner   string
	permits Permits
	plan    Plan
	errs    []error

	marks  map[string][]zone.Record            // ours, by the name that they mark
	have   map[string]map[string][]zone.Record // by name and type
	want   map[string]map[string][]zone.Record
	kept   int // records that are ours
	before []zone.Change
	puts   []zone.Change
	swaps  []zone.Change
	cuts   []zone.Change
	after  []zone.Change
}

// makePlan gives the changes that make a provider hold what the file says, and
// what is wrong with that, all at once. Steps come in this order: marks of what
// is about to be ours, what is new, what changes, names that turn into an alias
// or stop being one, what goes, and marks of what is no longer. So a plan that
// stopped anywhere leaves no name empty and nothing unmarked, and the next plan
// goes on from there.
func makePlan(f *File, c *Config, v view, held map[string]bool, permits Permits) (Plan, error) {
	p := &planner{
		view: v, owner: c.Owner, permits: permits, plan: Plan{Provider: v.provider},
		marks: map[string][]zone.Record{}, have: map[string]map[string][]zone.Record{}, want: map[string]map[string][]zone.Record{},
	}
	for _, r := range f.Records {
		fit, err := v.fit(r)
		switch {
		case held[r.Name]:
			p.failf("%s: %s %s: %w: take it out of the file", f.where(r), r.Name, r.Type, ErrHome)
		case err != nil:
			p.failf("%s: %s %s: %w", f.where(r), r.Name, r.Type, err)
		default:
			add(p.want, fit)
			p.plan.wanted = append(p.plan.wanted, fit)
		}
	}
	for _, r := range v.records {
		mark, isMark := ParseMark(r.Value)
		name, beside := markedName(r.Name)
		switch {
		case monitors(r, held):
			p.plan.Homes++
		case r.Type == "SOA" || r.Type == "NS" && r.Name == c.Zone: // the provider's
		case r.Type == "TXT" && isMark && beside && mark.Owner == c.Owner:
			p.marks[name] = append(p.marks[name], r)
		default:
			add(p.have, r)
		}
	}
	names := map[string]bool{}
	for _, m := range []map[string]map[string][]zone.Record{p.have, p.want} {
		for name := range m {
			names[name] = true
		}
	}
	for name := range p.marks {
		names[name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		p.name(name)
	}
	p.order()
	p.guard(c)
	return p.plan, errors.Join(p.errs...)
}

func add(sets map[string]map[string][]zone.Record, r zone.Record) {
	if sets[r.Name] == nil {
		sets[r.Name] = map[string][]zone.Record{}
	}
	sets[r.Name][r.Type] = append(sets[r.Name][r.Type], r)
}

func (p *planner) failf(format string, args ...any) {
	p.errs = append(p.errs, fmt.Errorf(p.provider+": "+format, args...))
}

// name plans one name.
func (p *planner) name(name string) {
	want, ours := p.want[name], map[string][]zone.Record{}
	var owned []string
	for _, r := range p.marks[name] {
		mark, _ := ParseMark(r.Value)
		owned = append(owned, mark.Types...)
	}
	for _, kind := range slices.Sorted(maps.Keys(p.have[name])) {
		records := p.have[name][kind]
		switch {
		case slices.Contains(owned, kind):
			ours[kind] = records
		case want[kind] == nil && (len(want) == 0 || want["CNAME"] == nil && kind != "CNAME"):
			p.plan.Foreign = append(p.plan.Foreign, records...)
		case equal(records, want[kind]) || slices.Contains(p.permits.Adopt, name):
			ours[kind] = records
			p.plan.Adopted = append(p.plan.Adopted, records...)
		default:
			p.failf("%s %s %s: %w; --adopt %s takes it over", name, kind, values(records), ErrForeign, name)
			return
		}
	}
	for _, records := range ours {
		p.kept += len(records)
	}
	p.mark(name, want)
	if len(want) > 0 && len(ours) > 0 && (want["CNAME"] != nil) != (ours["CNAME"] != nil) {
		p.swap(name, flat(ours), flat(want))
		return
	}
	for _, kind := range zone.Types() {
		puts, cuts := zone.Replace(ours[kind], want[kind], same)
		p.puts, p.cuts = append(p.puts, puts...), append(p.cuts, cuts...)
		p.plan.Same += len(want[kind]) - len(puts)
	}
}

// same compares records as a provider keeps them.
func same(have, want zone.Record) bool { return have.Value == want.Value && have.TTL == want.TTL }

func equal(have, want []zone.Record) bool {
	puts, cuts := zone.Replace(have, want, same)
	return len(puts)+len(cuts) == 0
}

// swap turns a name into an alias, or back. As nothing may stand beside a CNAME,
// the last record that is left becomes the first that is wanted, in place; a
// provider that cannot do that must leave the name empty for a moment.
func (p *planner) swap(name string, have, want []zone.Record) {
	cut := func(records []zone.Record) {
		for _, r := range records {
			p.swaps = append(p.swaps, zone.Change{Op: zone.Delete, Record: r})
		}
	}
	rest := want
	switch {
	case p.retypes:
		first := want[0]
		first.ID, rest = have[0].ID, want[1:]
		cut(have[1:])
		p.swaps = append(p.swaps, zone.Change{Op: zone.Update, Record: first, Was: have[0]})
	case slices.Contains(p.permits.Gap, name):
		cut(have)
	default:
		p.failf("%s: %s cannot become %s in place here: %w; --gap %s permits it", name, kinds(have), kinds(want), ErrGap, name)
		return
	}
	for _, r := range rest {
		p.swaps = append(p.swaps, zone.Change{Op: zone.Create, Record: r})
	}
}

// mark plans the mark of a name. While types come and go it has both.
func (p *planner) mark(name string, want map[string][]zone.Record) {
	have := p.marks[name]
	put := func(steps *[]zone.Change, types []string) {
		r := zone.Record{Name: markOf(name), Type: "TXT", Value: Mark{p.owner, types}.String(), TTL: markTTL}
		change := zone.Change{Op: zone.Create, Record: r}
		if len(have) > 0 {
			if have[0].Value == r.Value {
				return
			}
			change.Op, change.Was, change.Record.ID = zone.Update, have[0], have[0].ID
		}
		*steps = append(*steps, change)
		if len(have) > 0 {
			have[0] = change.Record
		}
	}
	types := slices.Sorted(maps.Keys(want))
	var owned []string
	for _, r := range have {
		m, _ := ParseMark(r.Value)
		owned = append(owned, m.Types...)
	}
	both := slices.Compact(slices.Sorted(slices.Values(append(slices.Clone(types), owned...))))
	if len(types) > 0 {
		put(&p.before, both)
		if len(have) > 0 {
			put(&p.after, types)
			have = have[1:]
		}
	}
	for _, r := range have {
		p.after = append(p.after, zone.Change{Op: zone.Delete, Record: r})
	}
}

// order puts the steps together: of what is put, what is new comes first, so that
// whatever points at it finds it.
func (p *planner) order() {
	slices.SortStableFunc(p.puts, func(a, b zone.Change) int {
		return len(a.Op) - len(b.Op) + strings.Compare(string(a.Op), string(b.Op))
	})
	p.plan.Changes = slices.Concat(p.before, p.puts, p.swaps, p.cuts, p.after)
}

// guard judges what happens to records that are ours already. Marks do not
// count. That all go is permitted by nothing but a word for this once, however few
// they are: it is what the file of another zone would do.
func (p *planner) guard(c *Config) {
	percent := c.Guard
	if p.permits.Percent > 0 {
		percent = p.permits.Percent
	}
	changes := slices.Concat(p.puts, p.swaps, p.cuts)
	if err := zone.Guard(changes, p.kept, percent); err != nil {
		p.failf("%w; --percent N permits up to N %% this once", err)
	} else if len(p.cuts) > 0 && len(p.cuts) == p.kept && p.permits.Percent < 100 {
		p.failf("%w: all that is kept would go; --percent 100 permits it this once", zone.ErrGuard)
	}
}

// flat gives the records of sets, sorted.
func flat(sets map[string][]zone.Record) []zone.Record {
	var all []zone.Record
	for _, records := range sets {
		all = append(all, records...)
	}
	return zone.Sort(all)
}

func kinds(records []zone.Record) string {
	var all []string
	for _, r := range records {
		all = append(all, r.Type)
	}
	return strings.Join(slices.Compact(all), ", ")
}

func values(records []zone.Record) string {
	if len(records) == 0 {
		return "nothing"
	}
	var all []string
	for _, r := range records {
		all = append(all, show(r))
	}
	return strings.Join(all, ", ")
}
