package oracle

import (
	"fmt"
	"time"
)

// Renewed is a Seed's write that reached the lease store of its region, whatever
// the Seed heard of that.
type Renewed struct {
	At   time.Duration
	Name string
}

// Act is what a Seed did that takes a lease: it made a table, or took itself for
// the leader until it said that it is frozen.
type Act struct {
	At   time.Duration
	Name string
	Did  string // "made table 1.2", "led"
}

// LeaseCovers judges that all that Seeds did as leaders they did within the term of
// a lease, counted from when the store last heard of it: a Seed that counts from
// later believes in a lease that others may take already. The term is that of the
// slowest clock that leases allow for. It counts what they did.
func LeaseCovers(h History, term time.Duration) Verdict {
	var d docket
	late := time.Duration(0)
	renewed := map[string]time.Duration{}
	next := 0
	for _, a := range h.Acts {
		for ; next < len(h.Renewed) && h.Renewed[next].At <= a.At; next++ {
			renewed[h.Renewed[next].Name] = h.Renewed[next].At
		}
		d.judged++
		last, ok := renewed[a.Name]
		switch over := a.At - last - term; {
		case !ok:
			d.broke(a.At, "%s at %s %s, and never had a lease", a.Name, Offset(a.At), a.Did)
		case over > 0:
			late = max(late, over)
			d.broke(a.At, "%s at %s %s, %s after its lease was over: it last reached the store at %s",
				a.Name, Offset(a.At), a.Did, Span(over), Offset(last))
		}
	}
	measured := fmt.Sprint(d.broken)
	if late > 0 {
		measured = fmt.Sprintf("%d, up to %s late", d.broken, Span(late))
	}
	return d.verdict("led without a lease", measured, "0")
}
