package placement

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Position is the place of a table among all tables of a cell. The zero value
// comes before every table.
type Position struct {
	Epoch    uint64 `json:"epoch"`
	Revision uint64 `json:"revision"`
}

// Compare is negative if p comes before q, zero if they are the same.
func (p Position) Compare(q Position) int {
	return cmp.Or(cmp.Compare(p.Epoch, q.Epoch), cmp.Compare(p.Revision, q.Revision))
}

// String gives epoch and revision with a dot between them.
func (p Position) String() string { return fmt.Sprintf("%d.%d", p.Epoch, p.Revision) }

// Position gives the table's place among all.
func (t Table) Position() Position { return Position{t.Epoch, t.Revision} }

// Change is the step from one table of an epoch to the next.
type Change struct {
	Epoch    uint64   `json:"epoch"`
	Revision uint64   `json:"revision"` // of the table that it leads to
	Set      []Node   `json:"set,omitempty"`
	Removed  []string `json:"removed,omitempty"` // names
	Reason   string   `json:"reason"`
}

// Apply gives the table that a change leads to. It must be the next of the
// table's own epoch; the table itself stays as it is.
func (t Table) Apply(c Change) (Table, error) {
	if c.Epoch != t.Epoch || c.Revision != t.Revision+1 {
		return Table{}, fmt.Errorf("placement: the change to %d.%d is not the next of the table at %s", c.Epoch, c.Revision, t.Position())
	}
	next := Table{Epoch: c.Epoch, Revision: c.Revision}
	for _, n := range t.Nodes {
		replaced := slices.ContainsFunc(c.Set, func(s Node) bool { return s.Name == n.Name })
		if !replaced && !slices.Contains(c.Removed, n.Name) {
			next.Nodes = append(next.Nodes, n)
		}
	}
	next.Nodes = append(next.Nodes, c.Set...)
	sortNodes(next.Nodes)
	return next, nil
}

// Diff gives the change from t to a table of these nodes, and false if there is
// nothing to change. The nodes are sorted in place.
func (t Table) Diff(nodes []Node, reason string) (Change, bool) {
	sortNodes(nodes)
	c := Change{Epoch: t.Epoch, Revision: t.Revision + 1, Reason: reason}
	for _, n := range nodes {
		if !slices.Contains(t.Nodes, n) {
			c.Set = append(c.Set, n)
		}
	}
	for _, n := range t.Nodes {
		if !slices.ContainsFunc(nodes, func(o Node) bool { return o.Name == n.Name }) {
			c.Removed = append(c.Removed, n.Name)
		}
	}
	return c, len(c.Set)+len(c.Removed) > 0
}

func sortNodes(nodes []Node) {
	slices.SortFunc(nodes, func(a, b Node) int { return strings.Compare(a.Name, b.Name) })
}
