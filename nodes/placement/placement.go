// Package placement decides which node owns a key.
//
// A Table lists the nodes of a cell; Owner picks one of them for a key by
// rendezvous hashing: every node gets a score for the key, and the highest score
// owns it. The choice is a pure function of the key and the node names, so all
// holders of equal tables agree without talking, and when a node comes or goes
// only the keys that it wins or loses move.
//
// Roles hold a Watched, which is the current table, its age, and a way to ask
// again. Nothing here fails but Parse, on input that is no table.
//
// Start reading at Table.Owner.
package placement

import (
	"fmt"
	"hash/fnv"
	"net"
	"strconv"
	"strings"
)

// Node is one place that keys can live.
type Node struct {
	Name string `json:"name"`           // unique in its table
	Zone string `json:"zone,omitempty"` // empty where zones make no sense
	Addr string `json:"addr"`           // host:port
	// Incarnation tells the processes apart that have run under the name; those
	// that came later have greater ones. Zero means whichever runs.
	Incarnation uint64 `json:"incarnation,omitempty"`
}

// Table is the set of nodes that share the keys of a cell. A table is never
// changed once it is in use; a new one at a later position replaces it.
type Table struct {
	Epoch    uint64 `json:"epoch"`    // of the leader who made it
	Revision uint64 `json:"revision"` // counted from 1 in each epoch
	// After is the table of an earlier leader that the first one of an epoch came
	// after, for all that this leader was told.
	After Position `json:"after,omitzero"`
	Nodes []Node   `json:"nodes"`
}

// Owner gives the node that owns key, and false if the table is empty. The
// order of nodes in the table makes no difference, and neither do their zones:
// each zone has the share of its nodes, and the keys of a zone that is lost are
// shared by all that remain.
func (t Table) Owner(key string) (Node, bool) {
	var (
		best      Node
		bestScore uint64
		found     bool
	)
	for _, n := range t.Nodes {
		s := score(n.Name, key)
		if !found || s > bestScore || s == bestScore && n.Name < best.Name {
			best, bestScore, found = n, s, true
		}
	}
	return best, found
}

// score hashes a node and a key together. FNV alone leaves the last bytes'
// influence in the low bits; the finisher of splitmix64 spreads it over all of
// them, without which neighbouring keys would gather on one node.
func score(node, key string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(node))
	h.Write([]byte{0})
	h.Write([]byte(key))
	x := h.Sum64()
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// Parse reads the form that flags use: name=host:port[@zone], separated by
// commas. An empty string is an empty table.
func Parse(s string) (Table, error) {
	var t Table
	if s == "" {
		return t, nil
	}
	seen := make(map[string]bool)
	for i, entry := range strings.Split(s, ",") {
		n, err := parseNode(entry)
		if err == nil && seen[n.Name] {
			err = fmt.Errorf("name %q is there twice", n.Name)
		}
		if err != nil {
			return Table{}, fmt.Errorf("placement: entry %d, %q: %w", i+1, entry, err)
		}
		seen[n.Name] = true
		t.Nodes = append(t.Nodes, n)
	}
	return t, nil
}

func parseNode(entry string) (Node, error) {
	name, rest, ok := strings.Cut(entry, "=")
	if !ok {
		return Node{}, fmt.Errorf("want name=host:port[@zone]")
	}
	addr, zone, hasZone := strings.Cut(rest, "@")
	if !ValidName(name) {
		return Node{}, fmt.Errorf("%q is not a name (letters, digits, '.', '_', '-')", name)
	}
	if hasZone && !ValidName(zone) {
		return Node{}, fmt.Errorf("%q is not a zone (letters, digits, '.', '_', '-')", zone)
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil || host == "" {
		return Node{}, fmt.Errorf("%q is not host:port", addr)
	}
	if p, err := strconv.ParseUint(port, 10, 16); err != nil || p == 0 {
		return Node{}, fmt.Errorf("%q is not a port from 1 to 65535", port)
	}
	return Node{Name: name, Zone: zone, Addr: addr}, nil
}

// ValidName reports whether s can name a node or a zone: letters, digits, dots,
// underscores and hyphens.
func ValidName(s string) bool {
	for _, c := range []byte(s) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_', c == '-':
		default:
			return false
		}
	}
	return s != ""
}

// String gives the form that Parse reads; the epoch is not part of it.
func (t Table) String() string {
	var b strings.Builder
	for i, n := range t.Nodes {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(n.Name + "=" + n.Addr)
		if n.Zone != "" {
			b.WriteString("@" + n.Zone)
		}
	}
	return b.String()
}
