package story

import (
	"slices"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// Admin is somebody who is paged.
type Admin struct {
	Name string
	// After is for how long an incident must have gone unacknowledged before they are
	// told of it; 0 is at once.
	After time.Duration
	// Acknowledges is how long after a page they follow its link, on a machine of
	// their own, and say that they look after the incident; 0 is never.
	Acknowledges time.Duration
}

// Phone is the name of the admin's machine, if they have one.
func (a Admin) Phone() string { return a.Name + "-phone" }

// AdminNames gives the names of the admins, in file order.
func (t Topology) AdminNames() []string {
	var names []string
	for _, a := range t.Admins {
		names = append(names, a.Name)
	}
	return names
}

// Escalates says that not all admins are told at once.
func (t Topology) Escalates() bool {
	return slices.ContainsFunc(t.Admins, func(a Admin) bool { return a.After > 0 })
}

// Acknowledged says that somebody acknowledges pages.
func (t Topology) Acknowledged() bool {
	return slices.ContainsFunc(t.Admins, func(a Admin) bool { return a.Acknowledges > 0 })
}

// admins reads a list of names, or of mappings with a name.
func (r *reader) admins(v value) []Admin {
	var all []Admin
	before := len(r.errs)
	for _, e := range r.list(v, maxNames) {
		var a Admin
		at := e
		if _, named := e.node.(ast.MapNode); named {
			f := r.fields(e, "name!", "after", "acknowledges")
			at = f["name"]
			a.After, a.Acknowledges = r.duration(f["after"], false), r.duration(f["acknowledges"], false)
		}
		a.Name = r.name(at)
		switch {
		case a.Name == "":
		case slices.ContainsFunc(all, func(o Admin) bool { return o.Name == a.Name }):
			r.failf(at.pos, "%s: %q comes twice", v.key, a.Name)
		default:
			all = append(all, a)
		}
	}
	if len(all) > 0 && len(r.errs) == before && !slices.ContainsFunc(all, func(a Admin) bool { return a.After == 0 }) {
		r.failf(v.pos, "%s: nobody is told at once: leave out \"after\" for somebody", v.key)
	}
	return all
}

// someAdmins reads one of the known admins, or a list of some.
func (r *reader) someAdmins(v value, known []string) []string {
	var all []string
	for _, e := range r.oneOrMore(v) {
		p, ok := r.phrase(e)
		switch {
		case !ok:
		case !slices.Contains(known, p.text):
			if !r.loose {
				r.failf(p.pos, "%s: unknown admin %q%s", v.key, clip(p.text), r.suggest(p.text, known))
			}
		case slices.Contains(all, p.text):
			r.failf(p.pos, "%s: %s comes twice", v.key, p.text)
		default:
			all = append(all, p.text)
		}
	}
	return all
}
