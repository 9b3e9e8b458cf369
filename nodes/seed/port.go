package seed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"time"

	"github.com/espra/protoplex/nodes"
	"github.com/espra/protoplex/nodes/cell"
	"github.com/espra/protoplex/nodes/meta"
	"github.com/espra/protoplex/nodes/placement"
)

// What a Seed can be doing.
const (
	Understudy = "understudy" // it waits for the lease
	Settling   = cell.Settling
	Leading    = cell.Leading
	Frozen     = cell.Frozen
)

// Fact is what a Seed says of itself, as the fact "seed" of its status. Only a
// leader, frozen or not, has members, and a table that is as old as it says.
type Fact struct {
	State   string          `json:"state"`
	Epoch   uint64          `json:"epoch"` // that it last led
	Leader  string          `json:"leader,omitempty"`
	Doubt   string          `json:"doubt,omitempty"` // why nothing was heard of the lease
	Members int             `json:"members"`
	Streams int             `json:"streams"`
	Table   placement.Table `json:"table"`
	Age     float64         `json:"table_age_seconds"`
}

func (c *core) fact(now time.Duration) Fact {
	f := Fact{State: c.word(), Epoch: c.epoch, Leader: c.leader, Doubt: c.doubt,
		Members: len(c.members), Streams: len(c.streams), Table: c.table}
	if c.leads {
		f.Leader, f.Age = c.name, c.age(now).Seconds()
	}
	return f
}

// word names what the Seed is doing.
func (c *core) word() string {
	switch {
	case !c.leads:
		return Understudy
	case c.frozen:
		return Frozen
	case !c.settled:
		return Settling
	default:
		return Leading
	}
}

func (s *seed) last() Fact {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fact
}

// metaOptions adds what a Seed has on its meta port.
func (s *seed) metaOptions() meta.Options {
	o := s.c.Meta
	o.Facts = withAll(o.Facts, map[string]func() any{"seed": func() any { return s.last() }})
	o.Gauges = withAll(o.Gauges, map[string]meta.Gauge{
		"protoplex_seed_leading": {Help: "1 while it leads its cell.", Read: func() float64 {
			if s.last().State == Leading {
				return 1
			}
			return 0
		}},
		"protoplex_seed_epoch":             {Help: "Epoch of the lease that it holds or last held.", Read: func() float64 { return float64(s.last().Epoch) }},
		"protoplex_seed_members":           {Help: "Processes that it takes to be there.", Read: func() float64 { return float64(s.last().Members) }},
		"protoplex_seed_table_revision":    {Help: "Revision of its table, within the epoch.", Read: func() float64 { return float64(s.last().Table.Revision) }},
		"protoplex_seed_table_nodes":       {Help: "Nodes that its table names.", Read: func() float64 { return float64(len(s.last().Table.Nodes)) }},
		"protoplex_seed_table_age_seconds": {Help: "Time since its table was last known to be the newest.", Read: func() float64 { return s.last().Age }},
	})
	o.Routes = append(slices.Clone(o.Routes),
		// As many streams as members, and those that are about to be refused.
		meta.Route{Pattern: "GET " + cell.Path, Concurrency: 2 * s.c.Members, Stream: s.stream},
		meta.Route{Pattern: "GET " + RosterPath, Roles: []string{meta.RoleAdmin}, Body: 1, Concurrency: 4, Handler: http.HandlerFunc(s.serveRoster)},
		meta.Route{Pattern: "POST " + cell.Path + "/drain", Roles: []string{meta.RoleAdmin}, Handler: http.HandlerFunc(s.drain)},
		meta.Route{Pattern: "POST " + cell.Path + "/invalidate", Roles: []string{meta.RoleAdmin}, Body: 32 << 10, Handler: http.HandlerFunc(s.invalidate)},
	)
	return o
}

func withAll[V any](a, b map[string]V) map[string]V {
	all := make(map[string]V, len(a)+len(b))
	maps.Copy(all, a)
	maps.Copy(all, b)
	return all
}

var errIdentity = errors.New("seed: the registration does not agree with the certificate")

// stream serves the stream of one process. What is sent goes through a queue, so
// that nobody waits for it.
func (s *seed) stream(ctx context.Context, st *meta.Stream) error {
	r, err := s.registration(ctx, st)
	if err != nil {
		return err
	}
	q := newQueue()
	s.mu.Lock()
	s.opened++
	id := s.opened
	s.streams[id] = q
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.streams, id)
		s.mu.Unlock()
	}()
	written := make(chan struct{})
	go func() {
		defer close(written)
		s.write(st, q)
	}()
	s.post(registered{id, r})
	err = s.read(id, st)
	s.post(gone{id})
	st.Close(err.Error()) // which ends the writer, too
	<-written
	return err
}

// read takes what a process says, until its stream ends.
func (s *seed) read(id uint64, st *meta.Stream) error {
	for {
		f, err := st.Receive()
		if err == nil {
			err = s.hear(id, f)
		}
		if err != nil {
			return err
		}
	}
}

// registration reads the first frame, and holds it against the certificate.
func (s *seed) registration(ctx context.Context, st *meta.Stream) (cell.Registration, error) {
	limit, cancel := nodes.Timeout(ctx, s.m, "seed/register/"+st.Peer().Short(), firstFrame)
	defer cancel()
	late := context.AfterFunc(limit, func() { st.Close("no registration in time") })
	defer late()
	var r cell.Registration
	f, err := st.Receive()
	switch {
	case err != nil:
		return r, err
	case f.Type != cell.TypeRegister:
		return r, fmt.Errorf("seed: a stream begins with %s, not %s", cell.TypeRegister, f.Type)
	}
	if err := f.Decode(&r); err != nil {
		return r, err
	}
	if peer := st.Peer(); r.Name != peer.Name || r.Role != peer.Role {
		s.m.Log().Warn("registration refused", "peer", peer.Short(), "reason", errIdentity)
		return r, errIdentity
	}
	return r, nil
}

// hear takes one frame of a process.
func (s *seed) hear(id uint64, f meta.Frame) error {
	switch f.Type {
	case cell.TypeAlive:
		in := beaten{stream: id}
		if err := f.Decode(&in.Beat); err != nil {
			return err
		}
		s.post(in)
	case cell.TypeReport:
		in := reported{stream: id}
		if err := f.Decode(&in.Report); err != nil {
			return err
		}
		if err := in.Check(); err != nil {
			return err
		}
		s.post(in)
	case cell.TypeLeaving:
		var l cell.Leaving
		if err := f.Decode(&l); err != nil {
			return err
		}
		if len(l.Reason) > 100 {
			l.Reason = "for a long reason"
		}
		s.post(left{id, l.Reason})
	case cell.TypeRegister:
		return errors.New("seed: registered already")
	}
	return nil // a later version's
}

// write sends what is queued, and ends the stream after it.
func (s *seed) write(st *meta.Stream, q *queue) {
	for {
		frames, reason := q.next(st.Done())
		if len(frames) == 0 {
			st.Close(reason)
			return
		}
		for _, f := range frames {
			if st.Send(f) != nil {
				return // the reader learns the same
			}
		}
	}
}

// drain has a node leave: {"node": NAME}.
func (s *seed) drain(w http.ResponseWriter, r *http.Request) {
	var asked struct {
		Node string `json:"node"`
	}
	if err := json.NewDecoder(r.Body).Decode(&asked); err != nil || asked.Node == "" {
		http.Error(w, `want {"node": NAME}`, http.StatusBadRequest)
		return
	}
	s.order(w, wanted{do: cell.Drain, node: asked.Node, by: meta.Peer(r.Context()).Short()})
}

// invalidate has all nodes let go of something, which is JSON that they know.
func (s *seed) invalidate(w http.ResponseWriter, r *http.Request) {
	var body json.RawMessage
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		http.Error(w, "want JSON", http.StatusBadRequest)
		return
	}
	in := wanted{do: cell.Invalidate, by: meta.Peer(r.Context()).Short(), body: body}
	// Some characters take six times their room in a frame.
	if _, err := newFrame(cell.TypeOrder, math.MaxUint64, math.MaxUint64, in.frame()); err != nil {
		http.Error(w, "the order cannot be sent: "+err.Error(), http.StatusBadRequest)
		return
	}
	s.order(w, in)
}

func (s *seed) order(w http.ResponseWriter, in wanted) {
	answer := make(chan error, 1)
	if !s.ask(event{in, answer}) {
		http.Error(w, "the node is leaving", http.StatusServiceUnavailable)
		return
	}
	// The loop is there until nobody is served any more.
	if err := <-answer; err != nil {
		http.Error(w, err.Error(), http.StatusConflict)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write([]byte("{\"ordered\":true}\n")) // the operator may be gone
}
