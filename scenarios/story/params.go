package story

import (
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// Type is the type of a parameter of a fault or an expectation.
type Type string

// The types of parameters, as `sim faults` prints them.
const (
	TypeDuration  Type = "duration"  // 90s, 1h30m; more than 0
	TypeOffset    Type = "offset"    // a duration, or a negative one: -5s
	TypeShare     Type = "share"     // 99.9%
	TypeFactor    Type = "factor"    // 3x, 1.5x; at least 1
	TypeCounts    Type = "counts"    // 1, or 1-2
	TypeHosts     Type = "hosts"     // one host or a list; .espra.com may be left out
	TypeProviders Type = "providers" // all providers, one of them, or a list
	TypeAdmins    Type = "admins"    // one admin or a list
	TypeSelector  Type = "selector"  // clients us-browsers
	TypeCount     Type = "count"     // 2; at least 1
	TypeChoice    Type = "choice"    // one word of a few
	TypeRate      Type = "rate"      // 64KB/s, 1MB/s
)

// Param describes one parameter.
type Param struct {
	Name     string
	Type     Type
	Required bool
	Drawn    bool          // a range may be given, out of which each seed draws a value
	Most     time.Duration // of a duration or an offset, either way; 0 is no bound
	Among    []string      // of a choice: the words
	About    string        // one line
}

// Value is one parameter as a file gives it. Which field holds it depends on
// the parameter's type.
type Value struct {
	Pos      Pos
	Name     string
	Duration time.Duration // TypeDuration, TypeOffset
	Longest  time.Duration // of a range whose least is Duration; else 0
	Share    BasisPoints   // TypeShare
	Largest  BasisPoints   // of a range whose least is Share; else 0
	Factor   Factor        // TypeFactor
	Counts   Range         // TypeCounts
	Names    []string      // TypeHosts: full names; TypeProviders, TypeAdmins
	Selector *Selector     // TypeSelector
	Count    int           // TypeCount
	Choice   string        // TypeChoice
	Rate     Rate          // TypeRate
}

// Values are the parameters of one fault or expectation, in the order of the
// table that describes them.
type Values []Value

// Get finds a parameter; it reports false for one that the file leaves out.
func (vs Values) Get(name string) (Value, bool) {
	i := slices.IndexFunc(vs, func(v Value) bool { return v.Name == name })
	if i < 0 {
		return Value{}, false
	}
	return vs[i], true
}

// Duration gives a parameter of TypeDuration or TypeOffset, 0 if left out.
func (vs Values) Duration(name string) time.Duration { v, _ := vs.Get(name); return v.Duration }

// Share gives a parameter of TypeShare, 0 if left out.
func (vs Values) Share(name string) BasisPoints { v, _ := vs.Get(name); return v.Share }

// Factor gives a parameter of TypeFactor, 0 if left out.
func (vs Values) Factor(name string) Factor { v, _ := vs.Get(name); return v.Factor }

// Names gives a parameter of TypeHosts, TypeProviders or TypeAdmins, nil if left out.
func (vs Values) Names(name string) []string { v, _ := vs.Get(name); return v.Names }

// Selector gives a parameter of TypeSelector, nil if left out.
func (vs Values) Selector(name string) *Selector { v, _ := vs.Get(name); return v.Selector }

// Count gives a parameter of TypeCount, 0 if left out.
func (vs Values) Count(name string) int { v, _ := vs.Get(name); return v.Count }

// Choice gives a parameter of TypeChoice, "" if left out.
func (vs Values) Choice(name string) string { v, _ := vs.Get(name); return v.Choice }

// Rate gives a parameter of TypeRate, 0 if left out.
func (vs Values) Rate(name string) Rate { v, _ := vs.Get(name); return v.Rate }

// Counts gives a parameter of TypeCounts; false if left out.
func (vs Values) Counts(name string) (Range, bool) { v, ok := vs.Get(name); return v.Counts, ok }

// values reads those of the fields that params describes.
func (r *reader) values(f fields, params []Param, s *Story, machines []Machine) Values {
	var all Values
	for _, p := range params {
		v := f[p.Name]
		if !v.given() {
			continue
		}
		out := Value{Pos: v.pos, Name: p.Name}
		switch p.Type {
		case TypeDuration, TypeOffset:
			out.Duration, out.Longest = r.lengths(v, p)
		case TypeShare:
			out.Share, out.Largest = r.shares(v, p)
		case TypeFactor:
			out.Factor = r.factor(v)
		case TypeCounts:
			before := len(r.errs)
			if out.Counts = r.span(v); p.Drawn && out.Counts.Min < 1 && len(r.errs) == before {
				r.failf(v.pos, "%s: want at least 1", v.key)
			}
		case TypeHosts:
			out.Names = r.hosts(v)
		case TypeProviders:
			out.Names = r.someProviders(v, s.Topology.DNS.Providers)
		case TypeAdmins:
			out.Names = r.someAdmins(v, s.Topology.AdminNames())
		case TypeSelector:
			out.Selector = r.selector(v, machines)
		case TypeCount:
			out.Count = r.count(v, 1, maxMachines)
		case TypeChoice:
			out.Choice = r.choice(v, p.Among)
		case TypeRate:
			out.Rate = r.rate(v)
		}
		all = append(all, out)
	}
	return all
}

// lengths reads a duration or an offset, or a range of them.
func (r *reader) lengths(v value, p Param) (least, most time.Duration) {
	if signed := p.Type == TypeOffset; p.Drawn {
		least, most = r.durations(v, signed)
	} else {
		least = r.duration(v, signed)
	}
	if p.Most > 0 && max(least.Abs(), most.Abs()) > p.Most {
		r.failf(v.pos, "%s: want at most %v, either way", v.key, short(p.Most))
	}
	if most == least {
		most = 0
	}
	return least, most
}

// shares reads a percentage, or a range of them.
func (r *reader) shares(v value, p Param) (least, most BasisPoints) {
	if !p.Drawn {
		return r.share(v), 0
	}
	if s, ok := r.scalar(v, "a percentage such as 5%, or a range such as 1%-5%"); ok {
		var err error
		if least, most, err = parseBetween(s, parseShare); err != nil {
			r.failf(v.pos, "%s: %v", v.key, err)
		}
	}
	if most == least {
		most = 0
	}
	return least, most
}

// drawn gives the values with one in the place of each range.
func (vs Values) drawn(choose func(name string) uint64) Values {
	all := slices.Clone(vs)
	for i := range all {
		v := &all[i]
		if v.Longest != 0 {
			// In steps that people can read, while there are enough of them.
			width, step := v.Longest-v.Duration, time.Millisecond
			for width/step < 1000 && step > 1 {
				step /= 1000
			}
			v.Duration += step * time.Duration(choose(v.Name)%uint64(width/step+1))
		}
		if v.Largest != 0 {
			v.Share += BasisPoints(choose(v.Name) % uint64(v.Largest-v.Share+1))
		}
		if v.Counts.Max > v.Counts.Min {
			v.Counts.Min += int(choose(v.Name) % uint64(v.Counts.Max-v.Counts.Min+1))
		}
		v.Longest, v.Largest, v.Counts.Max = 0, 0, v.Counts.Min
	}
	return all
}

func paramNames(params []Param) []string {
	var names []string
	for _, p := range params {
		if p.Required {
			names = append(names, p.Name+"!")
		} else {
			names = append(names, p.Name)
		}
	}
	return names
}

// choice reads one of a few words, or numbers.
func (r *reader) choice(v value, among []string) string {
	s, ok := r.scalar(v, "one of "+strings.Join(among, ", "))
	if ok && !slices.Contains(among, s) {
		r.failf(v.pos, "%s: want one of %s, not %q", v.key, strings.Join(among, ", "), clip(s))
	}
	return s
}

// oneOrMore gives the elements of a list, or v itself if it is no list.
func (r *reader) oneOrMore(v value) []value {
	if _, list := v.node.(*ast.SequenceNode); !list {
		return []value{v}
	}
	all := r.list(v, maxNames)
	if len(all) == 0 {
		r.failf(v.pos, "%s: the list is empty", v.key)
	}
	return all
}

// host reads one host of the platform and gives its full name.
func (r *reader) host(v value) string {
	p, ok := r.phrase(v)
	if !ok {
		return ""
	}
	known := append([]string{Apex}, moving()...)
	for _, h := range known {
		if p.text == h || h != Apex && p.text+"."+Apex == h {
			return h
		}
	}
	for _, h := range moving() {
		known = append(known, strings.TrimSuffix(h, "."+Apex))
	}
	r.failf(p.pos, "%s: unknown host %q%s", v.key, clip(p.text), r.suggest(p.text, known))
	return ""
}

func (r *reader) hosts(v value) []string {
	var all []string
	for _, e := range r.oneOrMore(v) {
		switch h := r.host(e); {
		case h == "":
		case slices.Contains(all, h):
			r.failf(e.pos, "%s: %s comes twice", v.key, h)
		default:
			all = append(all, h)
		}
	}
	return all
}

const allProviders = "all providers"

func (r *reader) someProviders(v value, known []string) []string {
	var all []string
	for _, e := range r.oneOrMore(v) {
		p, ok := r.phrase(e)
		switch {
		case !ok:
		case p.text == allProviders:
			return slices.Clone(known)
		case !slices.Contains(known, p.text):
			r.failf(p.pos, "%s: unknown provider %q%s", v.key, clip(p.text),
				r.suggest(p.text, append([]string{allProviders}, known...)))
		case slices.Contains(all, p.text):
			r.failf(p.pos, "%s: %s comes twice", v.key, p.text)
		default:
			all = append(all, p.text)
		}
	}
	return all
}

// String gives the parameters as a file would have them.
func (vs Values) String() string {
	parts := make([]string, len(vs))
	for i, v := range vs {
		parts[i] = v.Name + ": " + v.yaml()
	}
	return strings.Join(parts, ", ")
}
