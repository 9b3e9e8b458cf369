package oracle

import (
	"slices"
	"time"
)

// Judged is what a node of a load balancer thinks of a target from a moment on.
type Judged struct {
	At      time.Duration
	Node    string
	Target  string
	Healthy bool
}

// CapacityRestored judges that each load balancer node for which targets fell
// away after the fault's start has as many healthy ones, a time after that start,
// as it had before. It counts those nodes.
func CapacityRestored(h History, f Fault, within time.Duration) Verdict {
	type node struct {
		healthy     map[string]bool
		before, low int           // how many before the fault, and fewest since
		whole       time.Duration // when it last came to have as many again
	}
	nodes := map[string]*node{}
	var names []string
	deadline := f.From + within
	for _, t := range h.Targets {
		if t.At > deadline {
			break
		}
		n := nodes[t.Node]
		if n == nil {
			n = &node{healthy: map[string]bool{}}
			nodes[t.Node] = n
			names = append(names, t.Node)
		}
		if t.Healthy {
			n.healthy[t.Target] = true
		} else {
			delete(n.healthy, t.Target)
		}
		have := len(n.healthy)
		switch {
		case t.At < f.From:
			n.before, n.low = have, have
		case t.Healthy && have == n.before:
			n.whole = t.At
		}
		n.low = min(n.low, have)
	}
	slices.Sort(names)
	var d docket
	measured, slowest := "", time.Duration(0)
	for _, name := range names {
		n := nodes[name]
		if n.low == n.before {
			continue
		}
		d.judged++
		if have := len(n.healthy); have < n.before {
			d.broke(deadline, "%s at %s had %d healthy targets, and %d before", name, Offset(deadline), have, n.before)
			measured = "never"
		}
		slowest = max(slowest, n.whole-f.From)
	}
	if measured == "" {
		measured = Span(slowest)
	}
	return d.verdict("balancers at full capacity again", measured, Span(within))
}
