package report

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"time"
)

// How a page holds a recording. A head in JSON is followed by columns, each of
// which is a row of varints. Head and columns are parts, with their lengths before
// them; together they are compressed with gzip and written in base64. Moments are
// nanoseconds, as the difference to the one before. data.js reads it.

// head is the JSON part.
type head struct {
	From     time.Duration   `json:"from"`
	Until    time.Duration   `json:"until"`
	Machines []machine       `json:"machines"`
	Texts    []string        `json:"texts"`
	Groups   []group         `json:"groups"`
	Faults   []fault         `json:"faults"`
	Claims   []claim         `json:"claims"`
	Lines    []line          `json:"lines"`
	Broken   []broken        `json:"broken"`
	Charts   []Chart         `json:"charts"`
	Step     time.Duration   `json:"step"` // of the counts
	Lost     [2][][2]float64 `json:"lost"` // seconds without events, and without messages
	Total    totals          `json:"total"`
	Against  *against        `json:"against,omitempty"`
}

type group struct {
	Name     string  `json:"name"`
	Machines []int32 `json:"machines"`
	Folded   bool    `json:"folded"`
}

type fault struct {
	Name     string        `json:"name"`
	Text     string        `json:"text"`
	From     time.Duration `json:"from"`
	Until    time.Duration `json:"until"`
	Machines []int32       `json:"machines"`
}

type claim struct {
	Machine int32         `json:"machine"`
	Text    string        `json:"text"`
	From    time.Duration `json:"from"`
	Until   time.Duration `json:"until"`
}

type line struct {
	At   time.Duration `json:"at"`
	Who  string        `json:"who"`
	Text string        `json:"text"`
	Tone Tone          `json:"tone"`
}

type broken struct {
	At   time.Duration `json:"at"`
	Name string        `json:"name"`
}

type against struct {
	Name      string      `json:"name"`
	First     *difference `json:"first,omitempty"`
	OnlyHere  int         `json:"onlyHere"`
	OnlyThere int         `json:"onlyThere"`
}

// packed is a recording, made ready.
type packed struct {
	head     head
	kept     int // of the events of this run
	events   []event
	marks    []mark // nil without another run
	messages []message
	counts   [][]uint32
}

// prepare puts together what the caller knows and what was recorded.
func (r *Recorder) prepare(p Page) (*packed, error) {
	moments := append(slices.Clone(r.moments), r.until)
	for _, f := range p.Faults {
		moments = append(moments, f.From, f.Until)
	}
	for _, l := range p.Lines {
		moments = append(moments, l.At)
	}
	in := &packed{head: head{Faults: []fault{}, Claims: []claim{}, Lines: []line{}, Broken: []broken{}, Charts: []Chart{}}}
	for _, c := range p.Checks {
		if !c.OK && c.First != "" {
			moments = append(moments, c.At)
			in.head.Broken = append(in.head.Broken, broken{c.At, c.Name})
		}
	}
	if len(r.events) > r.limits.events {
		r.thinEvents(r.limits.events, moments)
	}
	if len(r.messages) > r.limits.messages {
		r.thinMessages(moments)
	}
	in.kept, in.events, in.messages = len(r.events), r.events, r.messages
	if p.Against != nil {
		first, err := p.Against.finish()
		if err != nil {
			return nil, err
		}
		in.events, in.marks = r.compare(p.Against)
		a := &against{Name: p.Against.name, First: first}
		for _, m := range in.marks {
			switch m.where {
			case onlyHere:
				a.OnlyHere++
			case onlyThere:
				a.OnlyThere++
			}
		}
		in.head.Against = a
	}
	h := &in.head
	h.From, h.Until, h.Total, h.Step = r.from, r.until, r.total, r.counts.step
	h.Charts = append(h.Charts, p.Charts...)
	for i, lost := range r.lost {
		h.Lost[i] = [][2]float64{}
		for _, s := range lost {
			h.Lost[i] = append(h.Lost[i], [2]float64{float64(s.from), float64(s.until)})
		}
	}
	for _, f := range p.Faults {
		h.Faults = append(h.Faults, fault{f.Name, f.Text, f.From, f.Until, r.known(f.Machines)})
	}
	for _, c := range p.Claims {
		for _, m := range r.known([]string{c.Machine}) {
			h.Claims = append(h.Claims, claim{m, c.Text, c.From, c.Until})
		}
	}
	for _, l := range p.Lines {
		h.Lines = append(h.Lines, line(l))
	}
	h.Groups = r.groups(p.Groups)
	h.Machines, h.Texts = r.machines, r.texts.all
	in.counts = make([][]uint32, len(r.machines))
	copy(in.counts, r.counts.machines)
	return in, nil
}

// known gives the places of machines that were in the world.
func (r *Recorder) known(names []string) []int32 {
	all := []int32{}
	for _, n := range names {
		if i, ok := r.index[n]; ok {
			all = append(all, i)
		}
	}
	return all
}

// groups adds to those of the caller one for each region, and one for the rest.
func (r *Recorder) groups(given []Group) []group {
	all := []group{}
	grouped := map[int32]bool{}
	for _, g := range given {
		members := slices.DeleteFunc(r.known(g.Machines), func(i int32) bool { return grouped[i] })
		for _, i := range members {
			grouped[i] = true
		}
		if len(members) > 0 {
			all = append(all, group{g.Name, members, g.Folded})
		}
	}
	rest := map[string][]int32{}
	var regions []string
	for i, m := range r.machines {
		if grouped[int32(i)] {
			continue
		}
		if rest[m.Region] == nil {
			regions = append(regions, m.Region)
		}
		rest[m.Region] = append(rest[m.Region], int32(i))
	}
	slices.Sort(regions)
	for _, name := range regions {
		members := rest[name]
		slices.SortFunc(members, func(a, b int32) int { return cmp.Compare(r.machines[a].Name, r.machines[b].Name) })
		if name == "" {
			name = "elsewhere"
		}
		all = append(all, group{Name: name, Machines: members})
	}
	return all
}

// columns in the order in which data.js asks for them.
func (in *packed) columns() [][]byte {
	var c columns
	in.eventColumns(&c)
	in.messageColumns(&c)
	for _, row := range in.counts {
		counts := c.column()
		for _, n := range row {
			counts.add(uint64(n))
		}
	}
	parts := make([][]byte, len(c.all))
	for i, x := range c.all {
		parts[i] = x.bytes
	}
	return parts
}

func (in *packed) eventColumns(c *columns) {
	at, machines, processes, kinds, sizes, fields, marks := c.column(), c.column(), c.column(), c.column(), c.column(), c.column(), c.column()
	last := time.Duration(0)
	for i, e := range in.events {
		at.add(uint64(e.at - last))
		last = e.at
		machines.add(uint64(e.machine + 1))
		processes.add(uint64(e.process))
		kinds.add(uint64(e.kind))
		sizes.add(uint64(len(e.fields) / 2))
		for _, f := range e.fields {
			fields.add(uint64(f))
		}
		if in.marks != nil {
			marks.add(in.marks[i].code())
		}
	}

}

func (in *packed) messageColumns(c *columns) {
	type connection struct {
		name   int32
		number uint64
		from   int32
		to     int32
	}
	names, numbers, froms, tos := c.column(), c.column(), c.column(), c.column()
	place := map[connection]uint64{}
	conn := func(m *message) uint64 {
		k := connection{m.conn, m.number, m.from, m.to}
		n, ok := place[k]
		if !ok {
			n = uint64(len(place))
			place[k] = n
			names.add(uint64(k.name))
			numbers.add(k.number)
			froms.add(uint64(k.from))
			tos.add(uint64(k.to))
		}
		return n
	}
	when, conns, what, bytes, causes, took := c.column(), c.column(), c.column(), c.column(), c.column(), c.column()
	last := time.Duration(0)
	arrivals := make([][]int, len(in.head.Machines)) // of messages, in order
	for i := range in.messages {
		m := &in.messages[i]
		when.add(uint64(m.at - last))
		last = m.at
		conns.add(conn(m))
		what.add(uint64(m.kind))
		bytes.add(uint64(m.size + 1))
		// Mostly it was sent when another message arrived, not long before.
		before := arrivals[m.from]
		n, found := slices.BinarySearchFunc(before, m.sent, func(j int, at time.Duration) int { return cmp.Compare(in.messages[j].at, at) })
		if found {
			causes.add(uint64(i - before[n]))
		} else {
			causes.add(0)
			took.add(uint64(m.at - m.sent))
		}
		arrivals[m.to] = append(arrivals[m.to], i)
	}

}

// code is 0 for an event of this run alone, 1 for one of the other alone, and else
// how much later it came there, in a zigzag, from 2 on.
func (m mark) code() uint64 {
	switch m.where {
	case onlyHere:
		return 0
	case onlyThere:
		return 1
	}
	return 2 + uint64(m.moved<<1^m.moved>>63)
}

// columns are rows of varints.
type columns struct{ all []*column }

type column struct{ bytes []byte }

func (c *columns) column() *column {
	x := &column{}
	c.all = append(c.all, x)
	return x
}

func (c *column) add(v uint64) { c.bytes = binary.AppendUvarint(c.bytes, v) }

// appendPart appends a part with its length before it.
func appendPart(b, part []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(part))), part...)
}

// keptText says in words what the page carries.
type keptText struct{ Events, Messages string }

func (in *packed) keptText() keptText {
	tell := func(kept, total int, lost [][2]float64, what string) string {
		if len(lost) == 0 {
			return fmt.Sprintf("all %s %s", thousands(total), what)
		}
		return fmt.Sprintf("%s of %s %s, those nearest to what happened; all are counted", thousands(kept), thousands(total), what)
	}
	return keptText{
		Events:   tell(in.kept, in.head.Total.Events, in.head.Lost[0], "events"),
		Messages: tell(len(in.messages), in.head.Total.Messages, in.head.Lost[1], "messages"),
	}
}

func thousands(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
