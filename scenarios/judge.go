package scenarios

import (
	"fmt"
	"slices"
	"time"

	"github.com/espra/protoplex/scenarios/oracle"
	"github.com/espra/protoplex/scenarios/story"
)

// propagation is how long a provider's name servers may take to serve a change:
// they look every 5 s and wait for 10 s, and one that comes right after another may
// have to wait for the next look but one.
const propagation = 21 * time.Second

// judge asks the oracles for every expectation of the story, in file order.
func (p *platform) judge(h oracle.History) []oracle.Verdict {
	var all []oracle.Verdict
	add := func(x story.Expectation, verdicts ...oracle.Verdict) {
		for _, v := range verdicts {
			v.Oracle = x.Oracle
			all = append(all, v)
		}
	}
	for _, x := range p.story.Expect.Always {
		add(x, p.ask(h, x, oracle.Fault{}))
	}
	for _, a := range p.story.Expect.After {
		fault, ok := findFault(h, a.Event)
		for _, x := range a.Expect {
			if !ok {
				add(x, oracle.Verdict{Name: x.Oracle, First: fmt.Sprintf("fault %s never struck", a.Event)})
				continue
			}
			f := fault
			if a.Heals && slices.Contains([]string{"clients-recovered", "taken-over", "tunnels-kept"}, x.Oracle) {
				f.From = f.Until // counted from there
			}
			add(x, p.ask(h, x, f))
		}
	}
	for _, x := range p.story.Expect.Throughout {
		switch x.Oracle {
		case "availability":
			for _, host := range x.Params.Names("of") {
				add(x, oracle.Availability(h, p.asked(host), int(x.Params.Share("at-least")), x.Params.Duration("window")))
			}
		case "answered-in-time":
			for _, host := range x.Params.Names("of") {
				add(x, oracle.AnsweredInTime(h, p.asked(host), x.Params.Duration("within")))
			}
		case "converges":
			add(x, p.converged(h, x.Params.Duration("within"))...)
		default:
			add(x, p.ask(h, x, oracle.Fault{}))
		}
	}
	return all
}

func (p *platform) converged(h oracle.History, within time.Duration) []oracle.Verdict {
	over, _, _ := p.story.Over()
	homes := map[string]string{}
	if len(p.story.Topology.VPS) > 0 {
		for _, host := range p.hostNames() {
			homes[host], _ = p.story.Topology.Home(host)
		}
	}
	return oracle.Converged(h, over, within, p.names(p.hostNames()), homes, len(p.cells) > 0)
}

func findFault(h oracle.History, id string) (oracle.Fault, bool) {
	i := slices.IndexFunc(h.Faults, func(f oracle.Fault) bool { return f.ID == id })
	if i < 0 {
		return oracle.Fault{}, false
	}
	return h.Faults[i], true
}

// asked is the host that clients ask for what host serves: www is asked for by
// way of the apex.
func (p *platform) asked(host string) string {
	if host == story.WWW {
		return story.Apex
	}
	return host
}

func (p *platform) ask(h oracle.History, x story.Expectation, f oracle.Fault) oracle.Verdict {
	v := x.Params
	switch x.Oracle {
	case "live-streams":
		return oracle.LiveStreams(h)
	case "dns-points-somewhere":
		return oracle.DNSPointsSomewhere(h, p.names(append([]string{story.Apex}, p.hostNames()...)))
	case "impostor-refused":
		return oracle.ImpostorRefused(h)
	case "one-leader":
		return oracle.OneLeader(h)
	case "stale-orders":
		return oracle.StaleOrders(h)
	case "lease-covers":
		return oracle.LeaseCovers(h, longestTerm)
	case "leader-stays":
		return oracle.LeaderStays(h)
	case "taken-over":
		event, _ := p.story.Event(f.ID)
		region, _ := p.story.Struck(event)
		return oracle.TakenOver(h, f, region, v.Duration("within"))
	case "tables-agree":
		return oracle.TablesAgree(h, f, v.Duration("within"))
	case "detected":
		return oracle.Detected(h, f, v.Duration("within"))
	case "dns-moved":
		at := v.Names("at")
		only := h
		only.Served = slices.DeleteFunc(slices.Clone(h.Served), func(s oracle.Served) bool { return !slices.Contains(at, s.Provider) })
		return oracle.DNSMoved(only, f, p.names(v.Names("names")), v.Duration("within"))
	case "clients-recovered":
		if of := v.Selector("of"); of != nil {
			only := oracle.ClientsRecovered(h.Of(of.Match(p.machines)), f, int(v.Share("share")), v.Duration("within"))
			only.Name += " of " + of.Name
			return only
		}
		return oracle.ClientsRecovered(h, f, int(v.Share("share")), v.Duration("within"))
	case "capacity-restored":
		return oracle.CapacityRestored(h, f, v.Duration("within"))
	case "restarts":
		only := h
		e, _ := p.story.Event(f.ID)
		struck := e.On.Match(p.machines)
		only.Started = slices.DeleteFunc(slices.Clone(h.Started), func(s oracle.Started) bool { return !slices.Contains(struck, s.Machine) })
		return oracle.Restarts(only, f, v.Count("at-most"))
	case "pages":
		each, _ := v.Counts("each-admin")
		clear, _ := v.Counts("all-clear")
		paging := oracle.Paging{Admins: p.story.Topology.AdminNames(), From: f.From, Until: h.Lasts,
			Each: oracle.Range(each), AllClear: oracle.Range(clear)}
		if to := v.Names("to"); to != nil {
			paging.Admins, paging.Others = to, paging.Admins
		}
		return oracle.Pages(h, paging)
	case "acknowledged":
		return oracle.Acknowledged(h, f, v.Duration("within"))
	case "tunnels-kept":
		return oracle.TunnelsKept(h, f, int(v.Share("share")), v.Duration("for"))
	case "reconnected":
		return oracle.Reconnected(h, v.Duration("within"))
	case "sent-away":
		each, _ := v.Counts("each-tunnel")
		return oracle.SentAway(h, oracle.Range(each))
	case "reconnects-spread":
		return oracle.ReconnectsSpread(h, f, int(v.Share("at-most")), v.Duration("window"))
	case "superseded-owners":
		return oracle.SupersededOwners(h, f, v.Duration("none-after"))
	case "home":
		var homes []string
		for _, host := range p.hostNames() {
			if region, _ := p.story.Topology.Home(host); region == f.Region {
				homes = append(homes, host)
			}
		}
		return oracle.Home(h, f, p.names(homes), v.Duration("not-before"), v.Duration("within"))
	case "moves":
		each, _ := v.Counts("each-name")
		return oracle.Moves(h, p.names(p.hostNames()), oracle.Range(each))
	case "load":
		return oracle.Load(h, p.clientsStart(), int(v.Factor("at-most")))
	case "baseline":
		return oracle.Baseline(h, f, p.clientsStart(), v.Duration("within"))
	case "nobody-paged":
		return oracle.NobodyPaged(h, p.peace())
	case "apex-answers":
		return oracle.ApexAnswers(h, story.Apex, int(v.Share("at-least")))
	}
	return oracle.Verdict{Name: x.Oracle, First: "the engine has no such oracle"}
}

// peace says who watches over whom.
func (p *platform) peace() oracle.Peace {
	// A round of probes may take as long as the pause to the next one.
	peace := oracle.Peace{Admins: p.story.Topology.AdminNames(), Pause: 3 * p.story.Topology.Monitor.Probe}
	for _, r := range p.story.Topology.Regions {
		peace.Regions = append(peace.Regions, r.Name)
	}
	for _, m := range p.with(story.RoleVPS, nil) {
		peace.Vantages = append(peace.Vantages, m.Name)
		if !slices.ContainsFunc(p.story.Timeline, func(e story.Event) bool {
			at, heals := e.Heals()
			return e.Silences(m.Name, p.machines) && (!heals || at > p.story.Lasts-peace.Pause)
		}) {
			peace.Watching = append(peace.Watching, m.Name)
		}
	}
	return peace
}

// names says where the watched hosts may point.
func (p *platform) names(watched []string) oracle.Names {
	n := oracle.Names{Watched: watched, Targets: map[string]string{}, Propagation: propagation}
	for _, r := range p.story.Topology.Regions {
		n.Targets[balancerName(r.Name)] = r.Name
	}
	for _, m := range p.with(story.RoleVPS, nil) {
		n.Targets[p.addr(m.Name).String()] = ""
	}
	over, _, _ := p.story.Over()
	n.Slow = map[string]time.Duration{}
	for _, e := range p.story.Timeline {
		switch e.Fault {
		case "zone-spreads-slowly":
			n.Slow[e.On.Name] += e.Params.Duration("takes")
		case "records-deleted":
			at, _ := e.Heals()
			for i := range e.Times {
				// An authority that is struck by another fault may hear of it as late as that is over.
				n.Meddled = append(n.Meddled, oracle.Meddling{Provider: e.On.Name, From: e.Strike(i), Until: max(over, at) + propagation})
			}
		}
	}
	return n
}

// windows cuts a run where its faults begin and heal.
func windows(s *story.Story, lasts time.Duration) []oracle.Window {
	cuts := []time.Duration{0, lasts}
	for _, e := range s.Timeline {
		cuts = append(cuts, e.At)
		if at, heals := e.Heals(); heals {
			cuts = append(cuts, at)
		}
	}
	slices.Sort(cuts)
	cuts = slices.Compact(cuts)
	var all []oracle.Window
	for i := 1; i < len(cuts); i++ {
		if cuts[i] <= lasts {
			all = append(all, oracle.Window{From: cuts[i-1], Until: cuts[i]})
		}
	}
	return all
}
