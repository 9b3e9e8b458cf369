package oracle

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// blocked is for how long a client has to be in trouble to count as one that is
// not served: tunnels are renewed now and then, and stand again in a moment.
const blocked = 30 * time.Second

// Converged judges that, a time after the last fault was over, everything is as
// it should be, with one verdict for each condition that can block it: clients
// are served, the watched names are in the regions that homes gives them, and
// nobody is on a superseded owner. Cells says that processes have tables, which
// then agree. It counts clients, pairs of authority and name, subscriptions, and
// processes.
func Converged(h History, over, within time.Duration, n Names, homes map[string]string, cells bool) []Verdict {
	f := Fault{From: over, Until: over}
	all := []Verdict{served(h, over+within)}
	if len(homes) > 0 {
		all = append(all, atHome(h, over+within, n, homes))
	}
	all = append(all, SupersededOwners(h, f, within))
	if cells {
		all = append(all, TablesAgree(h, f, within))
	}
	return all
}

// served judges that no client has been in trouble for long at a moment.
func served(h History, deadline time.Duration) Verdict {
	var d docket
	troubles := troubles(h)
	seen := map[string]bool{}
	for _, p := range h.Pages {
		seen[p.Client] = true
	}
	for _, s := range h.Streams {
		seen[s.Client] = true
	}
	for _, p := range h.Publishes {
		seen[p.Client] = true
	}
	for _, client := range slices.Sorted(maps.Keys(seen)) {
		d.judged++
		for _, t := range troubles[client] {
			if t.from <= deadline-blocked && t.until > deadline {
				d.broke(deadline, "%s at %s, since %s: %s", client, Offset(deadline), Offset(t.from), t.why(deadline))
			}
		}
	}
	return d.verdict("clients not served in the end", fmt.Sprint(d.broken), "0")
}

// atHome judges that at a moment every authority has the names in their homes.
func atHome(h History, deadline time.Duration, n Names, homes map[string]string) Verdict {
	var d docket
	served, order := sights(h, n.Watched)
	for _, key := range order {
		d.judged++
		s, ok := at(served[key], deadline)
		home := homes[key.name]
		if !ok || s.Home != home || slices.ContainsFunc(s.Targets, func(t string) bool { return n.Targets[t] != home }) {
			d.broke(deadline, "%s at %s, %s has %s in %q, not in %s", key.provider, Offset(deadline), key.authority, key.name, s.Home, home)
		}
	}
	return d.verdict("names not at home in the end", fmt.Sprint(d.broken), "0")
}
