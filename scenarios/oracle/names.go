package oracle

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Names says which names an oracle watches and where they may point.
type Names struct {
	// Watched are hosts.
	Watched []string
	// Targets gives the region of every canonical name and address that the
	// monitors check; the region of a target outside all regions is empty.
	Targets map[string]string
	// Propagation is how long a provider takes to serve a change. A target may
	// still appear that long after its region was found to be down.
	Propagation time.Duration
	// Slow has, by provider, how much longer some take for a while.
	Slow map[string]time.Duration
	// Meddled are times in which a person changes names at a provider by hand.
	Meddled []Meddling
}

// Meddling is a time in which the names at a provider are not the monitors' doing.
// What is served only then is not judged; what is still served afterwards is.
type Meddling struct {
	Provider    string
	From, Until time.Duration
}

// meddled tells whether what a provider served from one moment to another was a
// person's doing.
func (n Names) meddled(provider string, from, until time.Duration) bool {
	return slices.ContainsFunc(n.Meddled, func(m Meddling) bool {
		return m.Provider == provider && m.From <= from && until <= m.Until
	})
}

// sight is a name as one authority serves it.
type sight struct{ provider, authority, name string }

// sights gives what each authority served for each watched name, and the keys
// of that in a stable order: all pairs of authority and name, seen or not.
func sights(h History, watched []string) (map[sight][]Served, []sight) {
	served := map[sight][]Served{}
	var order []sight
	known := map[sight]bool{}
	for _, s := range h.Served {
		at := sight{s.Provider, s.Authority, s.Name}
		served[at] = append(served[at], s)
		if a := (sight{s.Provider, s.Authority, ""}); !known[a] {
			known[a] = true
			for _, name := range watched {
				order = append(order, sight{s.Provider, s.Authority, name})
			}
		}
	}
	slices.SortFunc(order, func(a, b sight) int {
		return strings.Compare(a.provider+"\x00"+a.authority+"\x00"+a.name, b.provider+"\x00"+b.authority+"\x00"+b.name)
	})
	return served, order
}

// at gives what was served at a moment.
func at(states []Served, t time.Duration) (Served, bool) {
	for i := len(states) - 1; i >= 0; i-- {
		if states[i].At <= t {
			return states[i], true
		}
	}
	return Served{}, false
}

// DNSPointsSomewhere judges that every authority gives, at every moment, at
// least one target for every watched name, that all targets are among those
// that are checked, and that none is added while its region is known to be
// down. It counts the states judged.
func DNSPointsSomewhere(h History, n Names) Verdict {
	var d docket
	served, order := sights(h, n.Watched)
	for _, key := range order {
		states := served[key]
		if len(states) == 0 || states[0].At > 0 {
			d.broke(0, "%s at 0:00, %s gives nothing for %s", key.provider, key.authority, key.name)
		}
		var before []string
		for i, s := range states {
			d.judged++
			until := h.Lasts
			if i+1 < len(states) {
				until = states[i+1].At
			}
			if n.meddled(key.provider, s.At, until) {
				continue
			}
			if len(s.Targets) == 0 {
				d.broke(s.At, "%s at %s, %s gives nothing for %s", key.provider, Offset(s.At), key.authority, key.name)
			}
			for _, target := range s.Targets {
				region, checked := n.Targets[target]
				switch {
				case !checked:
					d.broke(s.At, "%s at %s, %s points %s at %s, which nobody checks", key.provider, Offset(s.At), key.authority, key.name, target)
				case i > 0 && !slices.Contains(before, target) && knownDown(h, region, s.At-n.Propagation-n.Slow[key.provider], s.At):
					d.broke(s.At, "%s at %s, %s moved %s to %s, known to be down", key.provider, Offset(s.At), key.authority, key.name, target)
				}
			}
			before = s.Targets
		}
	}
	return d.verdict("names that point nowhere", fmt.Sprint(d.broken), "0")
}

// knownDown tells whether the region was held to be down all the time between
// two moments.
func knownDown(h History, region string, from, until time.Duration) bool {
	down := false
	for _, n := range h.Notices {
		if n.Region != region || n.At > until {
			continue
		}
		if n.Up || n.At <= from {
			down = !n.Up
		}
	}
	return down
}

// DNSMoved judges that, within a time of the fault, every authority has moved
// every watched name out of the fault's region, home record and target alike.
// It counts pairs of authority and name that pointed into the region before.
func DNSMoved(h History, f Fault, n Names, within time.Duration) Verdict {
	var d docket
	served, order := sights(h, n.Watched)
	away := func(s Served) bool {
		return s.Home != f.Region && !slices.ContainsFunc(s.Targets, func(t string) bool { return n.Targets[t] == f.Region })
	}
	providers := map[string]bool{}
	var slowest time.Duration
	moved := 0
	for _, key := range order {
		states := served[key]
		if s, ok := at(states, f.From); !ok || away(s) {
			continue
		}
		d.judged++
		providers[key.provider] = true
		i := slices.IndexFunc(states, func(s Served) bool { return s.At > f.From && away(s) })
		if i < 0 {
			d.broke(f.From+within, "%s at %s, %s still has %s in %s", key.provider, Offset(f.From+within), key.authority, key.name, f.Region)
			continue
		}
		moved++
		took := states[i].At - f.From
		slowest = max(slowest, took)
		if took > within {
			d.broke(f.From+within, "%s at %s, %s still had %s in %s; it moved at %s",
				key.provider, Offset(f.From+within), key.authority, key.name, f.Region, Offset(states[i].At))
		}
	}
	name := "DNS moved"
	switch len(providers) {
	case 0:
	case 1:
		for provider := range providers {
			name = "DNS moved at " + provider
		}
	case 2:
		name = "DNS moved at both providers"
	default:
		name = fmt.Sprintf("DNS moved at all %d providers", len(providers))
	}
	return d.verdict(name, reached(slowest, moved, d.judged), Span(within))
}

// Moves judges how often each watched name moved from one region to another: by
// the epochs of its home and, at any one authority, by its targets, whichever is
// more. It counts pairs of authority and name.
func Moves(h History, n Names, each Range) Verdict {
	var d docket
	served, order := sights(h, n.Watched)
	epochs := map[string]Range{} // of each name
	moved := map[string]int{}
	for _, key := range order {
		states := served[key]
		if len(states) == 0 {
			d.missed(0, "%s never served %s", key.authority, key.name)
			continue
		}
		d.judged++
		targets := 0
		for i, s := range states {
			e, known := epochs[key.name]
			if epoch := int(s.Epoch); epoch > 0 {
				if !known {
					e = Range{epoch, epoch}
				}
				e = Range{min(e.Min, epoch), max(e.Max, epoch)}
				epochs[key.name] = e
			}
			if i > 0 && !slices.Equal(s.Targets, states[i-1].Targets) {
				targets++
			}
			if moves := max(targets, e.Max-e.Min); moves > moved[key.name] {
				moved[key.name] = moves
				if moves > each.Max {
					d.broke(s.At, "%s at %s, %s has %s in %s, epoch %d", key.provider, Offset(s.At), key.authority, key.name, s.Home, s.Epoch)
				}
			}
		}
	}
	var counts []int
	for _, name := range n.Watched {
		counts = append(counts, moved[name])
		if d.judged > 0 && moved[name] < each.Min {
			d.broke(h.Lasts, "%s by %s has moved %d times", name, Offset(h.Lasts), moved[name])
		}
	}
	return d.verdict("moves of each name", spread(counts).String(), each.String())
}

// reached tells how long it took until all were there.
func reached(slowest time.Duration, there, of int) string {
	if there < of || of == 0 {
		return fmt.Sprintf("never (%d of %d)", there, of)
	}
	return Span(slowest)
}

// tenure is the time in which all authorities agreed on a host's home.
type tenure struct {
	from, until time.Duration
	region      string
}

// tenures gives the agreed homes of a host, in order. While authorities
// differ there is none.
func tenures(h History, host string) []tenure {
	served, order := sights(h, []string{host})
	var moments []time.Duration
	for _, key := range order {
		for _, s := range served[key] {
			moments = append(moments, s.At)
		}
	}
	slices.Sort(moments)
	moments = slices.Compact(moments)
	var all []tenure
	for i, t := range moments {
		region, agreed := "", true
		for j, key := range order {
			s, _ := at(served[key], t)
			agreed = agreed && (j == 0 || s.Home == region)
			region = s.Home
		}
		if !agreed || region == "" {
			continue
		}
		until := h.Lasts
		if i+1 < len(moments) {
			until = moments[i+1]
		}
		if last := len(all) - 1; last >= 0 && all[last].region == region && all[last].until == t {
			all[last].until = until
			continue
		}
		all = append(all, tenure{t, until, region})
	}
	return all
}
