package story

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Format writes the story as a scenario file, which Parse reads back as an equal
// one. It leaves nothing to defaults but what a topology without VPS cannot have,
// and knows no comments.
func Format(s *Story) []byte {
	w := &writer{}
	w.line(0, "format: 1")
	w.line(0, "title: %s", scalar(s.Title))
	w.text("story", s.Text)
	w.texts("source", s.Sources)
	w.texts("facts", s.Facts)
	w.texts("assumed", s.Assumed)
	if f := s.Found; f != nil {
		w.line(0, "found:")
		w.line(1, "seed: %d", f.Seed)
		w.line(1, "kind: %s", scalar(f.Kind))
		w.line(1, "cause: %s", scalar(f.Cause))
		w.line(1, "by: %s", scalar(f.By))
	}
	w.line(0, "starts: %s", s.Starts.Format(time.RFC3339))
	w.line(0, "lasts: %s", short(s.Lasts))
	w.topology(s.Topology)
	w.workload(s.Workload)
	w.timeline(s.Timeline)
	w.expect(s.Expect)
	return w.b.Bytes()
}

type writer struct{ b bytes.Buffer }

func (w *writer) line(depth int, format string, args ...any) {
	w.b.WriteString(strings.Repeat("  ", depth))
	fmt.Fprintf(&w.b, format+"\n", args...)
}

// adminsYAML gives each admin as a list would have them.
func adminsYAML(admins []Admin) []string {
	var all []string
	for _, a := range admins {
		text := scalar(a.Name)
		if a.After > 0 || a.Acknowledges > 0 {
			text = "{name: " + text
			if a.After > 0 {
				text += ", after: " + short(a.After)
			}
			if a.Acknowledges > 0 {
				text += ", acknowledges: " + short(a.Acknowledges)
			}
			text += "}"
		}
		all = append(all, text)
	}
	return all
}

// block is what may stand in a literal block as it is.
var block = regexp.MustCompile(`^[^\s#][^\pC\p{Zl}\p{Zp}\t]*(\n+[^\s][^\pC\p{Zl}\p{Zp}\t]*)*$`)

func (w *writer) text(key, s string) {
	if !block.MatchString(s) {
		w.line(0, "%s: %s", key, scalar(s))
		return
	}
	w.line(0, "%s: |", key)
	for line := range strings.SplitSeq(s, "\n") {
		if line == "" {
			w.line(0, "")
			continue
		}
		w.line(1, "%s", line)
	}
}

func (w *writer) texts(key string, all []string) {
	if len(all) == 0 {
		return
	}
	w.line(0, "%s:", key)
	for _, s := range all {
		w.line(1, "- %s", scalar(s))
	}
}

func (w *writer) topology(t Topology) {
	w.line(0, "topology:")
	w.line(1, "regions:")
	for _, r := range t.Regions {
		extra := ""
		if r.Seed > 0 {
			extra += fmt.Sprintf(", seed: %d", r.Seed)
		}
		if r.Understudy > 0 {
			extra += fmt.Sprintf(", understudy: %d", r.Understudy)
		}
		if r.Scaling.Max > 0 {
			extra += fmt.Sprintf(", scaling: {min: %d, max: %d}", r.Scaling.Min, r.Scaling.Max)
		}
		w.line(2, "%s: {zones: %d, proxy: %d, live: %d%s}", r.Name, r.Zones, r.Proxy, r.Live, extra)
	}
	w.line(1, "vps: %s", list(t.VPS))
	w.line(1, "dns: {providers: %s, ttl: %s}", list(t.DNS.Providers), short(t.DNS.TTL))
	w.line(1, "sms: %s", list(t.SMS))
	w.line(1, "admins: [%s]", strings.Join(adminsYAML(t.Admins), ", "))
	if m := t.Monitor; len(t.VPS) > 0 {
		extra := ""
		if m.Certificates > 0 {
			extra = fmt.Sprintf(", certificates: %s", short(m.Certificates))
		}
		w.line(1, "monitor: {probe: %s, open-after: %d, close-after: %d, hold-down: %s%s}",
			short(m.Probe), m.OpenAfter, m.CloseAfter, short(m.HoldDown), extra)
	}
}

func (w *writer) workload(groups []Group) {
	if len(groups) == 0 {
		return
	}
	w.line(0, "workload:")
	for _, g := range groups {
		w.line(1, "- id: %s", scalar(g.ID))
		if g.Publishers > 0 {
			w.line(2, "publishers: %d", g.Publishers)
		} else {
			w.line(2, "browsers: %d", g.Browsers)
		}
		if g.Home != "" {
			w.line(2, "home: %s", g.Home)
		}
		var do []string
		for _, a := range g.Do {
			do = append(do, a.String())
		}
		w.line(2, "do: %s", list(do))
	}
}

// String gives the action as a file would have it.
func (a Action) String() string {
	switch {
	case a.Verb == Load:
		return "load the apex page every " + short(a.Every)
	case a.Verb == Publish && a.Size > 0:
		return fmt.Sprintf("publish %dKB every %s", a.Size, short(a.Every))
	case a.Verb == Publish:
		return "publish every " + short(a.Every)
	case a.Channels == 1:
		return "subscribe to 1 channel"
	}
	return fmt.Sprintf("subscribe to %d channels", a.Channels)
}

func (w *writer) timeline(events []Event) {
	if len(events) == 0 {
		return
	}
	w.line(0, "timeline:")
	for _, e := range events {
		w.line(1, "- id: %s", scalar(e.ID))
		w.line(2, "at: %s", durations(e.At, e.Latest))
		w.line(2, "fault: %s", e.Fault)
		w.line(2, "on: %v", e.On)
		if e.For > 0 {
			w.line(2, "for: %s", durations(e.For, e.Longest))
		}
		if e.Times > 1 {
			w.line(2, "repeat: {times: %d, every: %s}", e.Times, short(e.Every))
		}
		for _, v := range e.Params {
			w.line(2, "%s: %s", v.Name, v.yaml())
		}
	}
}

func (w *writer) expect(x Expect) {
	w.line(0, "expect:")
	if len(x.Always) > 0 {
		var names []string
		for _, e := range x.Always {
			names = append(names, e.Oracle)
		}
		w.line(1, "always: %s", list(names))
	}
	for _, a := range x.After {
		heals := ""
		if a.Heals {
			heals = " heals"
		}
		w.line(1, "after %s%s:", a.Event, heals)
		w.expectations(a.Expect)
	}
	if len(x.Throughout) > 0 {
		w.line(1, "throughout:")
		w.expectations(x.Throughout)
	}
}

func (w *writer) expectations(all []Expectation) {
	for i := 0; i < len(all); {
		same := slices.IndexFunc(all[i:], func(x Expectation) bool { return x.Oracle != all[i].Oracle })
		if same < 0 {
			same = len(all) - i
		}
		switch {
		case all[i].Params == nil:
			w.line(2, "%s: true", all[i].Oracle)
		case same == 1:
			w.line(2, "%s: %s", all[i].Oracle, all[i].Params.yaml())
		default:
			w.line(2, "%s:", all[i].Oracle)
			for _, x := range all[i : i+same] {
				w.line(3, "- %s", x.Params.yaml())
			}
		}
		i += same
	}
}

// yaml gives the parameters as a mapping on one line.
func (vs Values) yaml() string { return "{" + vs.String() + "}" }

// yaml gives the value as a file would have it.
func (v Value) yaml() string {
	switch {
	case v.Selector != nil:
		return v.Selector.String()
	case len(v.Names) == 1:
		return v.Names[0]
	case v.Names != nil:
		return list(v.Names)
	case v.Largest != 0:
		return v.Share.String() + "-" + v.Largest.String()
	case v.Share != 0:
		return v.Share.String()
	case v.Factor != 0:
		return v.Factor.String()
	case v.Longest != 0:
		return short(v.Duration) + "-" + short(v.Longest)
	case v.Duration != 0:
		return short(v.Duration)
	case v.Count != 0:
		return strconv.Itoa(v.Count)
	case v.Choice != "":
		return v.Choice
	case v.Rate != 0:
		return v.Rate.String()
	}
	return v.Counts.String()
}

func durations(least, most time.Duration) string {
	if most > least {
		return short(least) + "-" + short(most)
	}
	return short(least)
}

func list(all []string) string {
	quoted := make([]string, len(all))
	for i, s := range all {
		quoted[i] = scalar(s)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

var (
	plainText = regexp.MustCompile(`^[A-Za-z]([A-Za-z0-9 .;/()%+_<>-]*[A-Za-z0-9.)%])?$`)
	keyword   = regexp.MustCompile(`(?i)^(y|yes|n|no|on|off|true|false|null|nan|inf)$`)
)

// scalar writes a text, in quotes where it could be taken for anything else.
func scalar(s string) string {
	if plainText.MatchString(s) && !keyword.MatchString(s) {
		return s
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a text can always be written
	return strings.TrimSuffix(b.String(), "\n")
}
