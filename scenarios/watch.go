package scenarios

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/espra/protoplex/monitor/home"
	monitorsms "github.com/espra/protoplex/monitor/sms"
	"github.com/espra/protoplex/nodes/placement"
	"github.com/espra/protoplex/nodes/seed"
	"github.com/espra/protoplex/scenarios/oracle"
	"github.com/espra/protoplex/scenarios/story"
	"github.com/espra/protoplex/sim"
)

// Line is one moment of the story as it went.
type Line struct {
	At   time.Duration
	Who  string // clients, monitor, sms, dns, live, FAULT, HEAL
	Text string
}

// watcher turns the events of a world into what oracles judge and people read.
type watcher struct {
	p       *platform
	verbose bool
	told    []Line
	seen    map[string]bool // what has been told, as several vantages tell it
	watches []oracle.Watch
	notices []oracle.Notice
	texts   []oracle.Text
	acks    []oracle.Ack
	served  []oracle.Served
	faults  []oracle.Fault
	leaders []oracle.Led
	tables  []oracle.Heard
	acts    []oracle.Act
	started []oracle.Started
	orders  []oracle.Ordered
	epochs  map[string]uint64 // the greatest that a process has heard of
	targets []oracle.Judged
	visits  []oracle.Visit
}

func newWatcher(p *platform, verbose bool) *watcher {
	return &watcher{p: p, verbose: verbose, seen: map[string]bool{}, epochs: map[string]uint64{}}
}

// bootTime is how long what machines first tell counts as the state at 0.
const bootTime = time.Second

// event is called for every event of the world, in order.
func (w *watcher) event(e sim.Event) {
	if w.verbose {
		w.tellRaw(e)
	}
	switch e.Kind {
	case "FAULT":
		w.fault(e)
	case "HEAL":
		if ev, ok := w.p.story.Event(e.Get("id")); ok {
			w.tell(e.At, "HEAL", "%s: %s is well again", ev.ID, ev.On)
		}
	case "crash":
		w.tell(e.At, "crash", "%s, %s: %s, right after %s", e.Machine, e.Proc, e.Get("error"), e.Get("after"))
	case logEvent + "zone served":
		w.zone(e)
	case logEvent + "verdict":
		w.verdict(e)
	case logEvent + "first verdict":
		if region := e.Get("region"); region != "" {
			w.watches = append(w.watches, oracle.Watch{At: e.At, Vantage: e.Machine, Region: region})
		}
	case logEvent + "sms accepted":
		w.sms(e)
	case logEvent + "sms delivered late":
		late := e.Get("late")
		if d, err := time.ParseDuration(late); err == nil {
			late = oracle.Span(d)
		}
		w.tellTogether(e.At, "sms", "", w.admin(e.Get("to")), fmt.Sprintf("  gets only now, %s late: %q", late, e.Get("body")))
	case logEvent + "sms not accepted":
		outcome := e.Get("outcome")
		if outcome == monitorsms.Unknown {
			outcome = "perhaps sent"
		}
		w.tellTogether(e.At, "sms", "", e.Get("admin"), fmt.Sprintf("  %s: %s", outcome, e.Get("error")))
	case logEvent + "sms looked up":
		has := "does not have it"
		if e.Get("outcome") == string(monitorsms.Accepted) {
			has = "has it"
		}
		w.tellTogether(e.At, "sms", "", e.Get("admin"), fmt.Sprintf("  looked up: %s %s", e.Get("provider"), has))
	case logEvent + "page acknowledged":
		w.acks = append(w.acks, oracle.Ack{At: e.At, By: e.Get("by"), Incident: e.Get("incident")})
		w.tell(e.At, "people", "%s looks after %s", e.Get("by"), e.Get("incident"))
	case logEvent + "page not acknowledged":
		w.tell(e.At, "people", "%s cannot acknowledge %s: %s", e.Get("by"), e.Get("incident"), e.Get("error"))
	case logEvent + "plan":
		text := fmt.Sprintf("plan: home of %s -> %s epoch %s (%s of %s records)",
			shortHosts(e.Get("hosts")), e.Get("region"), e.Get("epoch"), e.Get("changes"), e.Get("records"))
		if w.first(fmt.Sprint(text, e.At/time.Minute)) { // several vantages may have it
			w.tell(e.At, "dns", "%s", text)
		}
	case logEvent + "provider not readable":
		if text := fmt.Sprintf("%s cannot be read: %s", e.Get("provider"), e.Get("error")); w.first(text) {
			w.tell(e.At, "dns", "%s", text)
		}
	case logEvent + "provider half changed":
		text := fmt.Sprintf("%s half changed (%s of %s): %s", e.Get("provider"), e.Get("made"), e.Get("of"), e.Get("error"))
		if w.first(fmt.Sprint(text, e.At/time.Minute)) {
			w.tell(e.At, "dns", "%s", text)
		}
	case logEvent + "provider read back":
		w.tellTogether(e.At, "dns", "changed, and read back at all authorities: ",
			fmt.Sprintf("%s (%s)", e.Get("provider"), e.Get("authorities")), "")
	case logEvent + "home here", logEvent + "home here again":
		region := w.p.hosts[e.Machine].Region()
		if e.At > bootTime && e.Get("epoch") != "1" && w.first("home here "+region+e.Get("host")+e.Get("epoch")) {
			w.tell(e.At, "live", "%s serves %s as home epoch %s", region, shortHost(e.Get("host")), e.Get("epoch"))
		}
	case logEvent + "home moved":
		region := w.p.hosts[e.Machine].Region()
		if w.first("home moved " + region + e.Get("host") + e.Get("epoch")) {
			w.tell(e.At, "live", "%s reads that %s lives in %s, epoch %s: says \"moved, resume\"",
				region, shortHost(e.Get("host")), e.Get("region"), e.Get("epoch"))
		}
	case logEvent + "leader":
		epoch, _ := strconv.ParseUint(e.Get("epoch"), 10, 64)
		w.leaders = append(w.leaders, oracle.Led{At: e.At, Region: e.Get("cell"), Name: e.Machine, Epoch: epoch})
		if e.At > bootTime {
			w.tell(e.At, "seed", "%s leads %s, epoch %d", e.Machine, e.Get("cell"), epoch)
		}
	case logEvent + "meta port open":
		w.leads(e.Machine, e.At) // begun anew
		delete(w.epochs, e.Machine+"/"+e.Proc)
	case logEvent + "seed found":
		w.hears(e)
	case logEvent + "order applied", logEvent + "order refused":
		w.order(e)
	case logEvent + "leader no longer":
		w.leads(e.Machine, e.At)
		w.tell(e.At, "seed", "%s leads %s no longer: %s", e.Machine, e.Get("cell"), e.Get("why"))
	case logEvent + "table":
		w.acts = append(w.acts, oracle.Act{At: e.At, Name: e.Machine, Did: fmt.Sprintf("made table %s.%s", e.Get("epoch"), e.Get("revision"))})
	case logEvent + "frozen", logEvent + "thawed":
		if e.Kind == logEvent+"frozen" {
			w.acts = append(w.acts, oracle.Act{At: e.At, Name: e.Machine, Did: "led"})
		}
		w.tell(e.At, "seed", "%s: %s is %s", e.Machine, e.Get("cell"), strings.TrimPrefix(e.Kind, logEvent))
	case logEvent + "node left":
		if e.Get("role") == story.RoleLive && e.Get("state") != seed.Frozen { // who is decides nothing
			w.tell(e.At, "seed", "%s takes the keys of %s away: %s", e.Machine, e.Get("node"), e.Get("reason"))
		}
	case logEvent + "node joined":
		if e.Get("role") == story.RoleLive && e.Get("state") != seed.Frozen && e.At > w.p.clientsStart() {
			w.tell(e.At, "seed", "%s gives %s its share of the keys: %s", e.Machine, e.Get("node"), e.Get("reason"))
		}
	case logEvent + "table heard":
		t := oracle.Heard{At: e.At, Region: w.p.hosts[e.Machine].Region(), Process: e.Machine + "/" + e.Proc}
		t.Epoch, _ = strconv.ParseUint(e.Get("epoch"), 10, 64)
		t.Revision, _ = strconv.ParseUint(e.Get("revision"), 10, 64)
		if e.Get("after") == (placement.Position{}).String() { // the process of that name before it is gone
			w.tables = slices.DeleteFunc(w.tables, func(of oracle.Heard) bool { return of.Process == t.Process && of.At < t.At })
		}
		w.tables = append(w.tables, t)
		w.hears(e)
	case logEvent + "child started":
		w.started = append(w.started, oracle.Started{At: e.At, Machine: e.Machine, Place: e.Get("slot")})
	case logEvent + "target healthy", logEvent + "target unhealthy", logEvent + "target draining":
		w.targets = append(w.targets, oracle.Judged{
			At: e.At, Node: e.Machine, Target: e.Get("target"), Healthy: e.Kind == logEvent+"target healthy",
		})
	case logEvent + "state not saved":
		if w.first("unsaved " + e.Machine) { // what is to be saved is tried every second
			w.tell(e.At, "monitor", "%s cannot save its state: %s", e.Machine, lastCause(e.Get("error")))
		}
	case logEvent + "state file not usable, starting without it":
		why, _, _ := strings.Cut(strings.TrimPrefix(e.Get("error"), "read state: "), ", ")
		w.tellTogether(e.At, "monitor", "state dropped ("+why+"): ", e.Machine, "")
	case logEvent + "instance unhealthy":
		w.tell(e.At, "scaling", "%s finds %s unwell", e.Get("group"), e.Get("host"))
	case logEvent + "instance launching":
		w.tell(e.At, "scaling", "%s launches %s in %s", e.Get("group"), e.Get("host"), e.Get("zone"))
	case logEvent + "instance in service":
		w.tell(e.At, "scaling", "%s has %s in service", e.Get("group"), e.Get("host"))
	case logEvent + "launch failed":
		// It is tried every minute; that it works again shows by itself.
		if w.first("launch failed " + e.Get("group") + e.Get("zone") + e.Get("error")) {
			w.tellTogether(e.At, "scaling", fmt.Sprintf("%s cannot launch, for %s in ", e.Get("group"), e.Get("error")), e.Get("zone"), "")
		}
	case logEvent + "address withdrawn":
		if w.first(fmt.Sprint("withdrawn ", e.Get("addr"), e.At/time.Minute)) {
			w.tellTogether(e.At, "lb", e.Get("lb")+" no longer points at ", e.Get("zone"), "")
		}
	case logEvent + "address returned":
		if w.first(fmt.Sprint("returned ", e.Get("addr"), e.At/time.Minute)) {
			w.tellTogether(e.At, "lb", e.Get("lb")+" points again at ", e.Get("zone"), "")
		}
	case logEvent + "impostor refused", logEvent + "impostor believed":
		w.visit(e)
	case "exit":
		if e.Proc != "" && e.Get("error") != "" && !strings.HasPrefix(e.Proc, "client ") {
			// What cannot start is tried every second.
			if text := fmt.Sprintf("%s on %s: %s", e.Proc, e.Machine, e.Get("error")); w.first(text) {
				w.tell(e.At, "exit", "%s", text)
			}
		}
	}
}

func (w *watcher) tell(at time.Duration, who, format string, args ...any) {
	w.told = append(w.told, Line{at, who, fmt.Sprintf(format, args...)})
}

// tellTogether makes one line of lines that differ in one name only and are told
// within seconds of one another.
func (w *watcher) tellTogether(at time.Duration, who, before, name, after string) {
	if n := len(w.told); n > 0 {
		last := &w.told[n-1]
		names, isSame := strings.CutPrefix(last.Text, before)
		names, endsSame := strings.CutSuffix(names, after)
		if last.Who == who && isSame && endsSame && at-last.At < 5*time.Second {
			all := append(strings.Split(names, ", "), name)
			slices.Sort(all)
			last.Text = before + strings.Join(slices.Compact(all), ", ") + after
			return
		}
	}
	w.tell(at, who, "%s%s%s", before, name, after)
}

func (w *watcher) tellRaw(e sim.Event) {
	var b strings.Builder
	b.WriteString(strings.TrimPrefix(e.Kind, logEvent))
	for _, f := range e.Fields {
		fmt.Fprintf(&b, " %s=%q", f.Key, f.Value)
	}
	who := e.Machine
	if e.Proc != "" {
		who += "/" + e.Proc
	}
	w.tell(e.At, who, "%s", b.String())
}

// lastCause is what an error says behind all that led to it.
func lastCause(text string) string {
	if i := strings.LastIndex(text, ": "); i >= 0 {
		return text[i+len(": "):]
	}
	return text
}

func (w *watcher) first(key string) bool {
	if w.seen[key] {
		return false
	}
	w.seen[key] = true
	return true
}

func (w *watcher) fault(e sim.Event) {
	ev, ok := w.p.story.Event(e.Get("id"))
	if !ok {
		return
	}
	f := oracle.Fault{ID: ev.ID, From: e.At, Until: w.p.story.Lasts}
	if lost := ev.LostRegions(); len(lost) > 0 {
		f.Region = lost[0]
	}
	until := ""
	if at, heals := ev.Heals(); heals {
		f.Until = at
		until = fmt.Sprintf(" (heals by itself at %s)", oracle.Offset(e.At+ev.For))
	}
	if e.At > ev.At { // again
		w.tell(e.At, "FAULT", "%s: again%s", ev.ID, until)
		return
	}
	w.faults = append(w.faults, f)
	w.tell(e.At, "FAULT", "%s: %s%s", ev.ID, faultText(ev), until)
}

// faultText says what a fault does, and to whom.
func faultText(e story.Event) string {
	what := e.Fault
	if params := e.Params.String(); params != "" {
		what += " {" + params + "}"
	}
	return fmt.Sprintf("%s on %s", what, e.On)
}

func (w *watcher) verdict(e sim.Event) {
	state := e.Get("state")
	if region := e.Get("region"); region != "" {
		w.notices = append(w.notices, oracle.Notice{At: e.At, Region: region, Up: state == "up", By: e.Machine})
	}
	if !w.first("verdict " + e.Get("incident") + e.Get("target") + state + e.Get("flaps")) {
		return
	}
	m := w.p.story.Topology.Monitor
	switch state {
	case "blind":
		w.tell(e.At, "monitor", "BLIND: too few of the vantages can judge; incident %s", e.Get("incident"))
	case "down":
		w.tell(e.At, "monitor", "%s DOWN: %s of %d vantages, %d probes each; incident %s",
			e.Get("target"), e.Get("votes"), len(w.p.story.Topology.VPS), m.OpenAfter, e.Get("incident"))
	default:
		hold := ""
		if e.Get("region") != "" {
			hold = "; hold-down " + oracle.Span(m.HoldDown)
		}
		w.tell(e.At, "monitor", "%s %s: %s of %d vantages%s",
			e.Get("target"), strings.ToUpper(state), e.Get("votes"), len(w.p.story.Topology.VPS), hold)
	}
}

// admin is who has a number, or the number.
func (w *watcher) admin(number string) string {
	for _, a := range w.p.story.Topology.AdminNames() {
		if w.p.phone(a) == number {
			return a
		}
	}
	return number
}

func (w *watcher) sms(e sim.Event) {
	to := w.admin(e.Get("to"))
	w.texts = append(w.texts, oracle.Text{At: e.At, Provider: e.Get("provider"), To: to, Body: e.Get("body")})
	w.tellTogether(e.At, "sms", "", to, fmt.Sprintf("  %q", e.Get("body")))
}

// zone reads what a name server has begun to serve.
func (w *watcher) zone(e sim.Event) {
	if strings.TrimSuffix(e.Get("zone"), ".") != story.Apex {
		return
	}
	i := slices.IndexFunc(w.p.machines, func(m story.Machine) bool { return m.Name == e.Machine })
	if i < 0 || w.p.machines[i].Role != story.RoleNameServer {
		return
	}
	at := e.At
	if at < bootTime {
		at = 0
	}
	states := map[string]*oracle.Served{}
	for _, host := range append([]string{story.Apex}, w.p.hostNames()...) {
		states[host] = &oracle.Served{At: at, Provider: w.p.machines[i].Provider, Authority: e.Machine, Name: host}
	}
	for _, record := range strings.Split(e.Get("records"), "; ") {
		words := strings.SplitN(record, " ", 3)
		if len(words) < 3 {
			continue
		}
		name, kind, data := words[0], words[1], words[2]
		if s := states[name]; s != nil && (kind == "A" || kind == "CNAME") {
			s.Targets = append(s.Targets, data)
		}
		if s := states[strings.TrimPrefix(name, "_home.")]; s != nil && kind == "TXT" && strings.HasPrefix(name, "_home.") {
			if text, err := strconv.Unquote(data); err == nil {
				if h, err := home.Parse(text); err == nil {
					s.Home, s.Epoch = h.Region, h.Epoch
				}
			}
		}
	}
	for _, host := range append([]string{story.Apex}, w.p.hostNames()...) {
		w.served = append(w.served, *states[host])
	}
}

// leads ends what a machine has led so far.
func (w *watcher) leads(machine string, until time.Duration) {
	for i := range w.leaders {
		if l := &w.leaders[i]; l.Name == machine && l.Until == 0 {
			l.Until = until
		}
	}
}

// hears notes the epoch of which a process tells.
func (w *watcher) hears(e sim.Event) {
	process := e.Machine + "/" + e.Proc
	epoch, _ := strconv.ParseUint(e.Get("epoch"), 10, 64)
	w.epochs[process] = max(w.epochs[process], epoch)
}

// order notes what has become of an order that reached a meta port.
func (w *watcher) order(e sim.Event) {
	o := oracle.Ordered{At: e.At, Process: e.Machine + "/" + e.Proc, By: e.Get("peer"), Done: e.Kind == logEvent+"order applied"}
	o.Epoch, _ = strconv.ParseUint(e.Get("epoch"), 10, 64)
	o.Newest = w.epochs[o.Process]
	w.orders = append(w.orders, o)
	does := "refuses"
	if o.Done {
		does = "carries out"
	}
	w.tell(e.At, "order", "%s %s %q by %s, given in epoch %d; it has heard of %d", e.Machine, does, e.Get("route"), o.By, o.Epoch, o.Newest)
}

// complete adds what the world showed to what the clients saw.
func (w *watcher) complete(h *oracle.History, lasts time.Duration) {
	// The tables of processes that have ended concern nobody. Asking the world first makes
	// all visible here that its goroutine has noted.
	alive := map[string]bool{}
	for _, m := range w.p.world.Machines() {
		for _, proc := range m.Processes() {
			alive[m.Name()+"/"+proc.Name()] = true
		}
	}
	h.Lasts = lasts
	h.Usage, h.Running = w.p.usage.taken, w.p.usage.running
	h.Visits = w.visits
	h.Looks = w.p.seen()
	h.Acks = w.acks
	h.Renewed, h.Acts, h.Started = w.p.renewed(), w.acts, w.started
	h.Orders = w.orders
	h.Watches, h.Notices, h.Texts, h.Served, h.Faults, h.Leaders, h.Targets = w.watches, w.notices, w.texts, w.served, w.faults, w.leaders, w.targets
	h.Tables = slices.DeleteFunc(w.tables, func(t oracle.Heard) bool { return !alive[t.Process] })
	h.Sort()
}

// lines is the whole story in order.
func (w *watcher) lines(h *oracle.History) []Line {
	all := append(slices.Clone(w.told), clientLines(w.p.story, h)...)
	slices.SortStableFunc(all, func(a, b Line) int { return cmp.Compare(a.At, b.At) })
	return all
}

func shortHost(host string) string { return strings.TrimSuffix(host, "."+story.Apex) }

func shortHosts(hosts string) string {
	list := strings.Split(hosts, ", ")
	for i := range list {
		list[i] = shortHost(list[i])
	}
	return strings.Join(list, ", ")
}

// clientLines tells when the subscribers were connected, cut off, and back.
func clientLines(s *story.Story, h *oracle.History) []Line {
	through := map[string]int{}
	total := 0
	var hosts []string
	for _, g := range s.Workload {
		if g.Does(story.Subscribe) {
			if through[g.Home] == 0 {
				hosts = append(hosts, g.Home)
			}
			through[g.Home] += g.Browsers
			total += g.Browsers
		}
	}
	if total == 0 {
		return nil
	}
	var lines []Line
	up := map[string]bool{}
	began := false
	var now *episode // nil while all are connected
	var last *episode
	for _, e := range h.Streams {
		switch {
		case e.Kind == oracle.Connected:
			if now != nil && !up[e.Client] {
				now.back(e)
			}
			up[e.Client] = true
			if len(up) < total {
				continue
			}
			if !began {
				began = true
				var parts []string
				for _, host := range hosts {
					parts = append(parts, fmt.Sprintf("%d through %s", through[host], strings.TrimSuffix(shortHost(host), ".live")))
				}
				lines = append(lines, Line{e.At, "clients", fmt.Sprintf("%d connected: %s", total, strings.Join(parts, ", "))})
			} else if now != nil {
				now.until = e.At
				last, now = now, nil
			}
		case e.Kind == oracle.Disconnected && e.Why != oracle.Stopped && up[e.Client]:
			delete(up, e.Client)
			if !began {
				continue
			}
			if now == nil {
				if last != nil && e.At-last.until < sameEpisode {
					now = last
				} else {
					lines = last.tell(lines, total)
					now = &episode{since: e.At, lost: map[string]time.Duration{}}
				}
				last = nil
			}
			now.lost[e.Client] = e.At
		}
	}
	lines = last.tell(lines, total)
	if now != nil {
		lines = append(lines,
			Line{now.since, "clients", fmt.Sprintf("%d of %d cut off", len(now.lost), total)},
			Line{h.Lasts, "clients", fmt.Sprintf("%d of %d still not connected", total-len(up), total)})
	}
	return lines
}

// episode is a time in which some subscribers were cut off.
type episode struct {
	since, until time.Duration
	lost         map[string]time.Duration // when, for the last time
	longest      time.Duration            // that one of them was away at a time
	slowest      string                   // who that was
}

// back takes note of one who is connected again.
func (e *episode) back(s oracle.Stream) {
	since, ok := e.lost[s.Client]
	if away := s.At - since; ok && away > e.longest {
		e.longest, e.slowest = away, s.Client
	}
}

// sameEpisode is how soon after one episode another belongs to it.
const sameEpisode = time.Minute

// tell adds the lines of an episode that is over; a nil episode has none.
func (e *episode) tell(lines []Line, total int) []Line {
	if e == nil {
		return lines
	}
	return append(lines,
		Line{e.since, "clients", fmt.Sprintf("%d of %d cut off", len(e.lost), total)},
		Line{e.until, "clients", fmt.Sprintf("all %d connected again, each within %s (slowest: %s)", total, oracle.Span(e.longest), e.slowest)})
}
