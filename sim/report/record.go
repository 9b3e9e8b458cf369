package report

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/espra/protoplex/sim"
)

// Bounds of what a page carries one by one; see [Recorder].
const (
	maxMessages = 400_000
	maxEvents   = 250_000
	maxWords    = 64 << 20 // bytes of all texts together
	maxText     = 4 << 10  // bytes of one; the rest of a longer one is cut off
)

// Recorder keeps what a world does from [Record] to [Recorder.Stop]. Of more
// messages or events than a page can carry it keeps those nearest to what the
// world itself tells, to now, and to the moments that the page will show.
type Recorder struct {
	limits limits
	world  *sim.World

	mu       sync.Mutex // the world tells from its own goroutine; nothing changes once stopped
	stopped  bool
	from     time.Duration
	until    time.Duration
	machines []machine
	index    map[string]int32 // of a machine
	texts    *texts
	moments  []time.Duration // when the world itself told something
	events   []event
	messages []message
	lost     [2]spans // whole seconds without events, and without messages
	total    totals
	counts   *counts // arrivals by machine
}

type limits struct{ messages, events, words int }

type totals struct{ Events, Messages int }

type machine struct {
	Name   string `json:"name"`
	Region string `json:"region,omitempty"`
	Zone   string `json:"zone,omitempty"`
}

// event is a [sim.Event] with its words in a table.
type event struct {
	at            time.Duration
	machine       int32 // -1 for the world
	process, kind int32
	fields        []int32 // key, value, key, value
}

// message is a [sim.Delivery] with its words in a table.
type message struct {
	at, sent time.Duration
	from, to int32
	conn     int32 // name of the connection without its number
	number   uint64
	kind     int32
	size     int32
}

// Record begins to keep what the world does.
func Record(w *sim.World) *Recorder { return record(w, limits{maxMessages, maxEvents, maxWords}) }

func record(w *sim.World, l limits) *Recorder {
	r := &Recorder{limits: l, world: w, from: w.Elapsed(), index: map[string]int32{}, texts: newTexts(), counts: newCounts()}
	w.Observe(r.event)
	w.ObserveDeliveries(r.delivery)
	return r
}

// Stop ends the recording. It is called in the world, and before a page is written.
func (r *Recorder) Stop() {
	machines := r.world.Machines()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopped = true
	r.until = r.world.Elapsed()
	for _, m := range machines {
		i := r.machine(m.Name())
		r.machines[i].Region, r.machines[i].Zone = m.Region(), m.Zone()
	}
}

func (r *Recorder) machine(name string) int32 {
	i, ok := r.index[name]
	if !ok {
		i = int32(len(r.machines))
		r.index[name] = i
		r.machines = append(r.machines, machine{Name: name})
	}
	return i
}

func (r *Recorder) event(e sim.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped {
		return
	}
	r.total.Events++
	k := event{at: e.At, machine: -1, process: r.texts.add(e.Proc), kind: r.texts.add(e.Kind)}
	if e.Machine != "" {
		k.machine = r.machine(e.Machine)
	} else {
		r.moments = append(r.moments, e.At)
	}
	for _, f := range e.Fields {
		k.fields = append(k.fields, r.texts.add(clip(f.Key)), r.texts.add(clip(f.Value)))
	}
	r.events = append(r.events, k)
	if len(r.events) >= 2*r.limits.events || r.texts.size > r.limits.words {
		r.thinEvents(min(r.limits.events, len(r.events)/2), append(slices.Clone(r.moments), e.At))
	}
}

func (r *Recorder) delivery(d sim.Delivery) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped {
		return
	}
	r.total.Messages++
	m := message{at: d.At, sent: d.Sent, from: r.machine(d.From), to: r.machine(d.To), kind: r.texts.add(d.Kind), size: int32(d.Size)}
	conn, number := splitName(d.Conn)
	m.conn, m.number = r.texts.add(conn), number
	r.counts.add(d.At, m.to)
	r.messages = append(r.messages, m)
	if len(r.messages) >= 2*r.limits.messages {
		r.thinMessages(append(slices.Clone(r.moments), d.At))
	}
}

// splitName takes the number off the name of a connection, so that there are few
// different names.
func splitName(conn string) (name string, number uint64) {
	i := strings.LastIndexByte(conn, '#')
	if i < 0 {
		return conn, 0
	}
	n, err := strconv.ParseUint(conn[i+1:], 10, 64)
	if err != nil {
		return conn, 0
	}
	return conn[:i+1], n
}

func (r *Recorder) thinEvents(limit int, moments []time.Duration) {
	gone := thin(len(r.events), func(i int) time.Duration { return r.events[i].at }, limit, moments)
	r.events = slices.DeleteFunc(r.events, func(e event) bool { return gone.has(e.at) })
	r.lost[0] = r.lost[0].join(gone)
	// The words of what is gone go too.
	old, kept := r.texts, newTexts()
	for i := range r.events {
		e := &r.events[i]
		e.process, e.kind = kept.add(old.all[e.process]), kept.add(old.all[e.kind])
		for j, f := range e.fields {
			e.fields[j] = kept.add(old.all[f])
		}
	}
	for i := range r.messages {
		m := &r.messages[i]
		m.conn, m.kind = kept.add(old.all[m.conn]), kept.add(old.all[m.kind])
	}
	r.texts = kept
}

func (r *Recorder) thinMessages(moments []time.Duration) {
	gone := thin(len(r.messages), func(i int) time.Duration { return r.messages[i].at }, r.limits.messages, moments)
	r.messages = slices.DeleteFunc(r.messages, func(m message) bool { return gone.has(m.at) })
	r.lost[1] = r.lost[1].join(gone)
}

// thin says which seconds have to go so that at most so many of n things, in order
// of time, remain: those farthest from any of the moments, the later ones first.
// It sorts the moments.
func thin(n int, at func(int) time.Duration, limit int, moments []time.Duration) spans {
	type second struct {
		number int64
		count  int
		far    time.Duration
	}
	slices.Sort(moments)
	var all []second
	for i := range n {
		s := int64(at(i) / time.Second)
		if len(all) == 0 || all[len(all)-1].number != s {
			all = append(all, second{number: s, far: distance(time.Duration(s)*time.Second, moments)})
		}
		all[len(all)-1].count++
	}
	slices.SortFunc(all, func(a, b second) int { return cmp.Or(cmp.Compare(b.far, a.far), cmp.Compare(b.number, a.number)) })
	var gone spans
	for _, s := range all {
		if n <= limit {
			break
		}
		n -= s.count
		gone = append(gone, span{s.number, s.number + 1})
	}
	return gone.join(nil)
}

// distance is how far a second lies from the nearest of the moments, which are in
// order.
func distance(at time.Duration, moments []time.Duration) time.Duration {
	nearest := at // as if something happened at 0
	i, _ := slices.BinarySearch(moments, at)
	if i > 0 {
		nearest = min(nearest, at-moments[i-1])
	}
	if i < len(moments) {
		nearest = min(nearest, max(moments[i]-at-time.Second, 0))
	}
	return nearest
}

// span is a stretch of whole seconds, its end excluded.
type span struct{ from, until int64 }

// spans are in order and apart, once joined.
type spans []span

func (s spans) has(at time.Duration) bool {
	second := int64(at / time.Second)
	i, found := slices.BinarySearchFunc(s, second, func(x span, n int64) int { return cmp.Compare(x.from, n) })
	return found || i > 0 && second < s[i-1].until
}

func (s spans) join(o spans) spans {
	all := append(slices.Clone(s), o...)
	slices.SortFunc(all, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	var joined spans
	for _, x := range all {
		if n := len(joined); n > 0 && x.from <= joined[n-1].until {
			joined[n-1].until = max(joined[n-1].until, x.until)
			continue
		}
		joined = append(joined, x)
	}
	return joined
}

// clip cuts a text that is too long for a page.
func clip(s string) string {
	if len(s) <= maxText {
		return s
	}
	return strings.ToValidUTF8(s[:maxText], "") + "…"
}

// texts is a table in which each text has one place.
type texts struct {
	all   []string
	place map[string]int32
	size  int // bytes
}

func newTexts() *texts { return &texts{place: map[string]int32{}} }

func (t *texts) add(s string) int32 {
	i, ok := t.place[s]
	if !ok {
		i = int32(len(t.all))
		t.place[s] = i
		t.all = append(t.all, s)
		t.size += len(s)
	}
	return i
}
