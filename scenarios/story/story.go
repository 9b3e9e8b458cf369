package story

import (
	"fmt"
	"math"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"
)

// Story is one scenario, parsed and checked. Readers share it; nobody changes
// it.
type Story struct {
	File  string // as given to Parse
	Name  string // the file's base name without .yaml
	Title string // one line
	Text  string // the story, in prose

	Sources []string // of a real outage: where it is documented
	Facts   []string // what those sources say
	Assumed []string // what we made up to fill the holes

	Starts   time.Time     // in UTC
	Lasts    time.Duration // of simulated time
	Topology Topology
	Workload []Group
	Timeline []Event // in file order, which need not be the order of time
	Expect   Expect
	Found    *Found // of a reproducer; else nil

	silent bool // expects nobody-paged
}

// Found is what a reproducer shows, and where it comes from.
type Found struct {
	Seed  uint64 // with which it shows it
	Kind  string
	Cause string
	By    string // the program that wrote it, with its version
}

// Where gives "file:line:column" for messages at run time.
func (s *Story) Where(p Pos) string { return fmt.Sprintf("%s:%v", s.File, p) }

// Event finds an event of the timeline by its ID.
func (s *Story) Event(id string) (Event, bool) {
	for _, e := range s.Timeline {
		if e.ID == id {
			return e, true
		}
	}
	return Event{}, false
}

// Struck gives the one region in which a fault strikes; false if there is none,
// or if there are several.
func (s *Story) Struck(e Event) (region string, ok bool) {
	if e.On == nil {
		return "", false
	}
	for _, m := range s.Machines() {
		if !e.On.matches(&m) {
			continue
		}
		if m.Region == "" || region != "" && m.Region != region {
			return "", false
		}
		region = m.Region
	}
	return region, region != ""
}

const (
	maxTitle = 100
	maxText  = 5000
	maxFact  = 1000
)

// Parse reads the scenario file of the given name. The error is of type Errors
// and holds everything that is wrong; only where the YAML itself is broken is
// the first error the only one. The story is nil if there is an error.
func Parse(name string, data []byte) (*Story, error) {
	r := &reader{file: name, broken: map[string]bool{}}
	s := &Story{File: name, Name: strings.TrimSuffix(strings.TrimSuffix(path.Base(name), ".yaml"), ".yml")}
	if root, ok := r.document(data); ok {
		r.story(root, s)
	}
	if len(r.errs) > 0 {
		return nil, r.errs.Sorted()
	}
	return s, nil
}

func (r *reader) story(root value, s *Story) {
	if !r.format(root) {
		return
	}
	f := r.fields(root, "format!", "title!", "story!", "source", "facts", "assumed",
		"found", "starts!", "lasts!", "topology!", "workload", "timeline", "expect!")
	s.Title = r.text(f["title"], maxTitle)
	if strings.Contains(s.Title, "\n") {
		r.failf(f["title"].pos, "title: want one line")
	}
	s.Text = r.text(f["story"], maxText)
	r.outage(f, s)
	s.Found = r.found(f["found"])
	if text, ok := r.scalar(f["starts"], "an instant such as 2026-03-02T14:00:00Z"); ok {
		t, err := parseStart(text)
		if err != nil {
			r.failf(f["starts"].pos, "starts: %v", err)
		}
		s.Starts = t
	}
	s.Lasts = r.duration(f["lasts"], false)
	before := len(r.errs)
	s.Topology = r.topology(f["topology"])
	r.loose = len(r.errs) > before
	s.Workload = r.workload(f["workload"], s.Topology)
	if len(r.errs) == before {
		r.checkMachines(s, f["topology"].pos)
	}
	r.loose = len(r.errs) > before
	machines := s.Machines()
	s.silent = r.silentStory(f["expect"])
	s.Timeline = r.timeline(f["timeline"], s, machines)
	s.Expect = r.expect(f["expect"], s, machines)
}

// format checks the version before anything else, because nothing else means
// anything in another one.
func (r *reader) format(root value) bool {
	if !isMap(root.node) {
		r.wrongType(root, "a mapping")
		return false
	}
	for _, e := range r.entriesQuietly(root) {
		if e.key != "format" {
			continue
		}
		n, ok := r.scalar(e.value, "the number 1")
		if ok && n != "1" {
			r.failf(e.value.pos, "format: this program reads format 1, not %s", clip(n))
		}
		return ok && n == "1"
	}
	return true // fields reports that it is missing
}

// entriesQuietly is entries without its reports, for looking ahead.
func (r *reader) entriesQuietly(v value) []entry {
	if !v.given() || !isMap(v.node) {
		return nil
	}
	return (&reader{}).entries(v)
}

// outage reads what a replayed outage adds.
func (r *reader) outage(f fields, s *Story) {
	for _, v := range r.list(f["source"], 20) {
		text := r.text(v, maxFact)
		if u, err := url.Parse(text); text != "" && (err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http") {
			r.failf(v.pos, "source: want the address of a page, not %q", clip(text))
		}
		s.Sources = append(s.Sources, text)
	}
	s.Facts = r.texts(f["facts"], maxFact)
	s.Assumed = r.texts(f["assumed"], maxFact)
	switch {
	case f["source"].given() && !f["facts"].given():
		r.failf(f["source"].pos, `source: the key "facts" is missing; what does the source say?`)
	case f["facts"].given() && !f["source"].given():
		r.failf(f["facts"].pos, `facts: the key "source" is missing; who says so?`)
	case f["assumed"].given() && !f["source"].given():
		r.failf(f["assumed"].pos, `assumed: only the replay of a real outage assumes; the key "source" is missing`)
	}
}

func (r *reader) found(v value) *Found {
	if !v.given() {
		return nil
	}
	f := r.fields(v, "seed!", "kind!", "cause!", "by!")
	found := &Found{Kind: r.text(f["kind"], maxTitle), Cause: r.text(f["cause"], maxText), By: r.text(f["by"], maxTitle)}
	if n, ok := r.scalar(f["seed"], "a number"); ok {
		seed, err := strconv.ParseUint(n, 10, 64)
		if err != nil {
			r.failf(f["seed"].pos, "seed: want a number from 0 to %d, not %s", uint64(math.MaxUint64), clip(n))
		}
		found.Seed = seed
	}
	return found
}
