package story

import (
	"fmt"
	"slices"
	"strings"
)

// Kind says what a selector selects by.
type Kind string

// The kinds of selectors; each is the first word of its text.
const (
	ByRegion   Kind = "region"
	ByZone     Kind = "zone"
	ByMachine  Kind = "machine"
	ByRole     Kind = "role"
	ByVPS      Kind = "vps"
	ByProvider Kind = "provider"
	ByClients  Kind = "clients"
	ByLink     Kind = "link"
)

var kinds = []Kind{ByRegion, ByZone, ByMachine, ByRole, ByVPS, ByProvider, ByClients, ByLink}

// Selector names machines, or the link between two sets of machines.
type Selector struct {
	Pos    Pos
	Kind   Kind
	Name   string    // of the region, zone, machine, role, VPS, provider or group
	In     string    // for a role: the region or zone that it is limited to, or ""
	From   *Selector // for a link: its two ends
	To     *Selector
	OneWay bool // for a link: only what travels from From to To
}

// String gives the selector as a file would have it.
func (s Selector) String() string {
	switch {
	case s.Kind == ByLink && s.OneWay:
		return fmt.Sprintf("link %v -> %v", s.From, s.To)
	case s.Kind == ByLink:
		return fmt.Sprintf("link %v <-> %v", s.From, s.To)
	case s.In != "":
		return fmt.Sprintf("%s %s in %s", s.Kind, s.Name, s.In)
	}
	return fmt.Sprintf("%s %s", s.Kind, s.Name)
}

// Match gives the names of the machines that s selects, in the order given. A
// link selects both of its ends; use From and To to tell them apart.
func (s Selector) Match(machines []Machine) []string {
	var names []string
	for i := range machines {
		if s.matches(&machines[i]) {
			names = append(names, machines[i].Name)
		}
	}
	return names
}

func (s Selector) matchesAny(machines []Machine) bool {
	for i := range machines {
		if s.matches(&machines[i]) {
			return true
		}
	}
	return false
}

func (s *Selector) matches(m *Machine) bool {
	switch s.Kind {
	case ByRegion:
		return m.Region == s.Name
	case ByZone:
		return m.Zone == s.Name
	case ByMachine:
		return m.Name == s.Name
	case ByRole:
		return m.Role == s.Name && (s.In == "" || s.In == m.Region || s.In == m.Zone)
	case ByVPS:
		return m.Role == RoleVPS && m.Name == s.Name
	case ByProvider:
		return m.Provider == s.Name
	case ByClients:
		return m.Group == s.Name
	case ByLink:
		return s.From.matches(m) || s.To.matches(m)
	}
	return false
}

// word is one word of a phrase.
type word struct {
	text string
	at   Pos
}

func (p phrase) words() []word {
	var all []word
	for i, rest := 0, p.text; ; {
		trimmed := strings.TrimLeft(rest, " \t\n")
		i += len(rest) - len(trimmed)
		end := strings.IndexAny(trimmed, " \t\n")
		if trimmed == "" {
			return all
		}
		if end < 0 {
			end = len(trimmed)
		}
		all = append(all, word{trimmed[:end], p.at(i)})
		i, rest = i+end, trimmed[end:]
	}
}

// selector reads a selector and checks that it matches a machine.
func (r *reader) selector(v value, machines []Machine) *Selector {
	p, ok := r.phrase(v)
	if !ok {
		return nil
	}
	words := p.words()
	if len(words) > 20 {
		r.failf(p.pos, "%s: too many words for a selector", v.key)
		return nil
	}
	s, ok := r.anySelector(v.key, words, machines)
	if !ok {
		return nil
	}
	return s
}

func (r *reader) anySelector(key string, words []word, machines []Machine) (*Selector, bool) {
	if words[0].text != string(ByLink) {
		return r.plainSelector(key, words, machines)
	}
	i := slices.IndexFunc(words, func(w word) bool { return w.text == "->" || w.text == "<->" })
	if i < 2 || i == len(words)-1 {
		r.failf(words[0].at, "%s: want link A -> B or link A <-> B, where A and B are selectors", key)
		return nil, false
	}
	from, okFrom := r.plainSelector(key, words[1:i], machines)
	to, okTo := r.plainSelector(key, words[i+1:], machines)
	if !okFrom || !okTo {
		return nil, false
	}
	for i := range machines {
		if from.matches(&machines[i]) && to.matches(&machines[i]) {
			r.failf(words[0].at, "%s: %s is at both ends of the link", key, machines[i].Name)
			return nil, false
		}
	}
	return &Selector{Pos: words[0].at, Kind: ByLink, From: from, To: to, OneWay: words[i].text == "->"}, true
}

func (r *reader) plainSelector(key string, words []word, machines []Machine) (*Selector, bool) {
	first := words[0]
	kind := Kind(first.text)
	if !slices.Contains(kinds, kind) || kind == ByLink {
		// A bare name tells which kind was meant.
		for _, k := range kinds[:len(kinds)-1] {
			if (Selector{Kind: k, Name: first.text}).matchesAny(machines) {
				r.failf(first.at, "%s: want a selector, not a bare name; did you mean %s %s?", key, k, first.text)
				return nil, false
			}
		}
		names := make([]string, len(kinds))
		for i, k := range kinds {
			names[i] = string(k)
		}
		r.failf(first.at, "%s: unknown selector %q; one of %s%s",
			key, clip(first.text), strings.Join(names, ", "), r.suggest(first.text, names))
		return nil, false
	}
	s := &Selector{Pos: first.at, Kind: kind}
	switch {
	case len(words) == 2:
	case kind == ByRole && len(words) == 4 && words[2].text == "in":
		s.In = words[3].text
	case kind == ByRole:
		r.failf(first.at, "%s: want role NAME, or role NAME in REGION", key)
		return nil, false
	default:
		r.failf(first.at, "%s: want %s and one name", key, kind)
		return nil, false
	}
	s.Name = words[1].text
	if r.loose || s.matchesAny(machines) {
		return s, true
	}
	if len(r.errs) >= maxErrors {
		r.failf(words[1].at, "%s: matches nothing", key) // nobody will see it
		return nil, false
	}
	wrong, known := words[1], candidates(kind, machines)
	if s.In != "" && slices.Contains(known, s.Name) {
		places := append(candidates(ByRegion, machines), candidates(ByZone, machines)...)
		wrong, known = words[3], places
		if slices.Contains(places, s.In) {
			r.failf(wrong.at, "%s: no machine of role %s in %s", key, s.Name, s.In)
			return nil, false
		}
	}
	r.failf(wrong.at, "%s: %q matches nothing%s", key, clip(wrong.text), r.suggest(wrong.text, known))
	return nil, false
}

// candidates gives the names that a selector of the kind could have.
func candidates(kind Kind, machines []Machine) []string {
	var names []string
	seen := map[string]bool{"": true}
	for _, m := range machines {
		name := ""
		switch kind {
		case ByRegion:
			name = m.Region
		case ByZone:
			name = m.Zone
		case ByMachine:
			name = m.Name
		case ByRole:
			name = m.Role
		case ByVPS:
			if m.Role == RoleVPS {
				name = m.Name
			}
		case ByProvider:
			name = m.Provider
		case ByClients:
			name = m.Group
		}
		if !seen[name] {
			seen[name] = true
			names = append(names, name)
		}
	}
	return names
}
