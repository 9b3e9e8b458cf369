package sim

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// State is what a machine is in the middle of.
type State struct {
	On, Paused bool
	Hung       bool          // its processes
	Clock      time.Duration // how far its wall clock is ahead of the world's time
	Files      int           // on its disk, directories left out
	Bytes      int64         // in these files
	Processes  []ProcessState
}

// ProcessState is what a process holds. The pipe between parent and child is left
// out.
type ProcessState struct {
	Name        string
	Listens     []string     // "tcp :8080", sorted
	Waiting     int          // connections that it has not accepted, and datagrams that it has not read
	Connections []Connection // sorted by name
}

// Connection is one end of a stream.
type Connection struct {
	Name    string // client>server:port#n
	Peer    string // the machine at the other end
	Dialled bool   // by this process, else accepted
	Unread  int    // bytes that have arrived and wait to be read
	Unheard int    // bytes that were written and that the peer has not read
	Stuck   bool   // it waits for a way, or for an answer from a peer that is silent
}

// State looks at the machine as it is now, processes in the order of their names.
// Called from a function given to [World.At] it sees a quiet world, and so gives
// the same in every run.
func (m *Machine) State() State {
	w := m.w
	wall := m.clock.now()
	w.mu.Lock()
	s := State{On: m.on, Paused: m.paused, Hung: m.hung, Clock: wall.Sub(w.start.Add(time.Duration(w.now())))}
	if m.on {
		for _, p := range m.sortedProcesses() {
			s.Processes = append(s.Processes, p.state())
		}
	}
	w.mu.Unlock()
	s.Files, s.Bytes = m.disk.usage()
	return s
}

func (p *Process) state() ProcessState {
	s := ProcessState{Name: p.name}
	for l := range p.listeners {
		s.Listens = append(s.Listens, l.sock.key.String())
		s.Waiting += len(l.queue)
		if l.sock.listeners[0] == l { // what nobody was given yet is counted once
			s.Waiting += len(l.sock.backlog)
		}
	}
	for c := range p.sockets {
		if !c.remote.IsValid() {
			s.Listens = append(s.Listens, c.sock.key.String())
		}
		s.Waiting += len(c.queue)
	}
	slices.Sort(s.Listens)
	for e := range p.ends {
		if e == p.control || e.peer.proc != nil && e == e.peer.proc.parentEnd || e.closed || e.failure != nil {
			continue
		}
		c := Connection{
			Name: e.pair.name, Peer: e.peer.m.name, Dialled: e.side == 'c',
			Unread: -e.offset, Unheard: len(e.pending) + max(e.inflight-e.peer.consumed, 0), Stuck: e.stuck,
		}
		for _, chunk := range e.chunks {
			c.Unread += len(chunk)
		}
		s.Connections = append(s.Connections, c)
	}
	side := func(c Connection) int { // a process may have both ends of a stream
		if c.Dialled {
			return 0
		}
		return 1
	}
	slices.SortFunc(s.Connections, func(a, b Connection) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Peer, b.Peer), cmp.Compare(side(a), side(b)))
	})
	return s
}

func (k portKey) String() string {
	host := ""
	if k.addr.IsValid() {
		host = k.addr.String()
	}
	return k.network + " " + host + ":" + itoa(int(k.port))
}
