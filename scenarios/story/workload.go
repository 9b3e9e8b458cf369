package story

import (
	"strings"
	"time"
)

// Group is a number of clients that behave alike: browsers or publishers.
type Group struct {
	Pos        Pos
	ID         string
	Browsers   int    // 0 for publishers
	Publishers int    // 0 for browsers
	Home       string // the live host, or "" for publishers to all of them
	Do         []Action
}

// Verb is what an action does.
type Verb string

// The verbs of actions.
const (
	Load      Verb = "load"      // the apex page, every Every
	Subscribe Verb = "subscribe" // to Channels channels, once
	Publish   Verb = "publish"   // one message, every Every
)

// Action is one thing that a client keeps doing.
type Action struct {
	Pos      Pos
	Verb     Verb
	Every    time.Duration // Load, Publish
	Channels int           // Subscribe
	Size     int           // Publish: kilobytes of each message; 0 is some ten bytes
}

// Does reports whether the group's clients do the verb.
func (g Group) Does(v Verb) bool {
	for _, a := range g.Do {
		if a.Verb == v {
			return true
		}
	}
	return false
}

const (
	maxClients  = 10000
	maxGroups   = 100
	maxChannels = 100 // in one tunnel
	minEvery    = 10 * time.Millisecond
	maxSize     = 60 // kilobytes of a message, so that a frame can hold it
)

func (r *reader) workload(v value, t Topology) []Group {
	var all []Group
	clients := 0
	seen := map[string]Pos{}
	for _, e := range r.list(v, maxGroups) {
		g := r.group(e, t)
		if first, twice := seen[g.ID]; twice && g.ID != "" {
			r.failf(g.Pos, "id: %q comes twice; first at %v", g.ID, first)
		}
		seen[g.ID] = g.Pos
		clients += g.Browsers + g.Publishers
		all = append(all, g)
	}
	if clients > maxClients {
		r.failf(v.pos, "workload: %d clients; at most %d", clients, maxClients)
		return nil
	}
	return all
}

func (r *reader) group(v value, t Topology) Group {
	v.key = "group"
	f := r.fields(v, "id!", "browsers", "publishers", "home", "do!")
	g := Group{Pos: v.pos, ID: r.name(f["id"])}
	if f["id"].given() {
		g.Pos = f["id"].pos
	}
	browsers, publishers := f["browsers"], f["publishers"]
	switch {
	case browsers.given() && publishers.given():
		r.failf(publishers.pos, "group: either browsers or publishers")
	case browsers.given():
		g.Browsers = r.count(browsers, 1, maxClients)
	case publishers.given():
		g.Publishers = r.count(publishers, 1, maxClients)
	case isMap(v.node):
		r.failf(v.pos, `group: the key "browsers" or "publishers" is missing`)
	}
	if h := f["home"]; h.given() {
		g.Home = r.liveHost(h, t)
	}
	for _, e := range r.list(f["do"], 10) {
		a, ok := r.action(e)
		if !ok {
			continue
		}
		switch {
		case g.Does(a.Verb):
			r.failf(a.Pos, "do: %s comes twice", a.Verb)
		case a.Verb == Publish && g.Browsers > 0:
			r.failf(a.Pos, "do: only publishers publish")
		case a.Verb != Publish && g.Publishers > 0:
			r.failf(a.Pos, "do: publishers only publish")
		case a.Verb == Subscribe && !f["home"].given():
			r.failf(a.Pos, "do: to subscribe, the group needs a home")
		case a.Verb == Publish && !f["home"].given() && !r.loose && !anyLive(t):
			r.failf(a.Pos, "do: no Live node to publish to in the topology")
		default:
			g.Do = append(g.Do, a)
		}
	}
	if do := f["do"]; do.given() && isEmptyList(do) {
		r.failf(do.pos, "do: the list is empty")
	}
	return g
}

func anyLive(t Topology) bool {
	for _, h := range LiveHosts {
		if region, ok := t.Region(h.Region); ok && region.Live > 0 {
			return true
		}
	}
	return false
}

// liveHost reads a live host whose home is in the topology.
func (r *reader) liveHost(v value, t Topology) string {
	host := r.host(v)
	if host == "" {
		return ""
	}
	for _, h := range LiveHosts {
		if h.Host != host {
			continue
		}
		region, ok := t.Region(h.Region)
		switch {
		case r.loose:
		case !ok:
			r.failf(v.pos, "%s: %s has its home in %s, which is not in the topology", v.key, host, h.Region)
		case region.Live == 0:
			r.failf(v.pos, "%s: %s has its home in %s, which has no Live node", v.key, host, h.Region)
		}
		return host
	}
	r.failf(v.pos, "%s: %s is not a live host", v.key, host)
	return ""
}

// action reads one action, such as "load the apex page every 20s".
func (r *reader) action(v value) (Action, bool) {
	p, ok := r.phrase(v)
	if !ok {
		return Action{}, false
	}
	words := p.words()
	verb := words[0]
	verbs := []string{string(Load), string(Subscribe), string(Publish)}
	var rest []word
	for _, w := range words[1:] {
		switch w.text {
		case "the", "page", "to": // for the reader only
		default:
			rest = append(rest, w)
		}
	}
	a := Action{Pos: verb.at, Verb: Verb(verb.text)}
	ok = false
	switch a.Verb {
	case Load:
		if len(rest) == 3 && rest[0].text == "apex" {
			a.Every, ok = r.every(rest[1:])
		}
	case Publish:
		if len(rest) == 3 {
			n, err := parseSize(rest[0].text)
			if err != nil {
				r.failf(rest[0].at, "do: %v", err)
				return Action{}, false
			}
			a.Size, rest = n, rest[1:]
		}
		a.Every, ok = r.every(rest)
	case Subscribe:
		if len(rest) == 2 && strings.TrimSuffix(rest[1].text, "s") == "channel" {
			n, err := parseCount(rest[0].text)
			if err != nil || n < 1 || n > maxChannels {
				r.failf(rest[0].at, "do: want 1 to %d channels, not %s", maxChannels, clip(rest[0].text))
				return Action{}, false
			}
			a.Channels, ok = n, true
		}
	default:
		r.failf(verb.at, "do: unknown action %q%s", clip(verb.text), r.suggest(verb.text, verbs))
		return Action{}, false
	}
	if !ok {
		r.failf(verb.at, "do: want %s, not %q", map[Verb]string{
			Load:      `"load the apex page every 20s"`,
			Subscribe: `"subscribe to 2 channels"`,
			Publish:   `"publish every 1s", or "publish 32KB every 1s"`,
		}[a.Verb], clip(p.text))
		return Action{}, false
	}
	if a.Verb != Subscribe && a.Every < minEvery {
		if a.Every > 0 {
			r.failf(rest[len(rest)-1].at, "do: not more often than every %v", short(minEvery))
		}
		return Action{}, false
	}
	return a, true
}

// every reads "every 20s". It reports true for a well-shaped pair of words,
// with 0 if the duration is wrong and reported.
func (r *reader) every(words []word) (time.Duration, bool) {
	if len(words) != 2 || words[0].text != "every" {
		return 0, false
	}
	d, err := parseDuration(words[1].text, false)
	if err != nil {
		r.failf(words[1].at, "do: %v", err)
	}
	return d, true
}
