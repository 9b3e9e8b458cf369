package workload

import (
	"sync"
	"time"

	"github.com/espra/protoplex/scenarios/oracle"
)

// Recorder learns what happens to clients. Clients leave the fields At and Seq
// empty. Calls come from the clients' goroutines, so they must neither block
// nor call back.
type Recorder interface {
	// PageLoad tells how loading a page ended.
	PageLoad(oracle.Page)
	// Stream tells what happened to a live tunnel. Calls for one tunnel come
	// in order.
	Stream(oracle.Stream)
	// Published tells how an attempt to publish ended.
	Published(oracle.Publish)
}

var _ Recorder = (*Log)(nil)

// Log is a Recorder that keeps all it is told. It may be used concurrently;
// what it gives does not depend on the order in which clients that act at one
// instant happened to be heard.
type Log struct {
	clock func() time.Duration

	mu        sync.Mutex
	pages     []oracle.Page
	streams   []oracle.Stream
	publishes []oracle.Publish
	seq       map[who]uint64
}

// who is one source of records that come in order.
type who struct{ kind, client, host, key string }

// NewLog makes an empty Log. Clock gives the moment of a record as an offset
// from the start of the scenario; it must not block.
func NewLog(clock func() time.Duration) *Log {
	return &Log{clock: clock, seq: map[who]uint64{}}
}

// next counts the records of one source. The caller holds the lock.
func (l *Log) next(w who) uint64 {
	l.seq[w]++
	return l.seq[w]
}

// PageLoad implements [Recorder].
func (l *Log) PageLoad(p oracle.Page) {
	p.At = l.clock()
	l.mu.Lock()
	defer l.mu.Unlock()
	p.Seq = l.next(who{kind: "page", client: p.Client})
	l.pages = append(l.pages, p)
}

// Stream implements [Recorder].
func (l *Log) Stream(e oracle.Stream) {
	e.At = l.clock()
	l.mu.Lock()
	defer l.mu.Unlock()
	e.Seq = l.next(who{"stream", e.Client, e.Host, e.Key})
	l.streams = append(l.streams, e)
}

// Gone tells that a client is no more, as when its machine has lost its power: it
// can not say so itself. Whoever comes after it under its name remembers nothing.
func (l *Log) Gone(client string) {
	l.mu.Lock()
	var tunnels []who
	for w := range l.seq {
		if w.kind == "stream" && w.client == client {
			tunnels = append(tunnels, w)
		}
	}
	l.mu.Unlock()
	for _, w := range tunnels {
		l.Stream(oracle.Stream{Client: client, Host: w.host, Key: w.key, Kind: oracle.Disconnected, Why: oracle.Stopped})
	}
}

// Published implements [Recorder].
func (l *Log) Published(p oracle.Publish) {
	p.At = l.clock()
	l.mu.Lock()
	defer l.mu.Unlock()
	p.Seq = l.next(who{kind: "publish", client: p.Client})
	l.publishes = append(l.publishes, p)
}

// History gives what was recorded until now, sorted, in slices of its own. The
// world's observations are for the caller to add.
func (l *Log) History() oracle.History {
	h := oracle.History{Lasts: l.clock()}
	l.mu.Lock()
	h.Pages = append(h.Pages, l.pages...)
	h.Streams = append(h.Streams, l.streams...)
	h.Publishes = append(h.Publishes, l.publishes...)
	l.mu.Unlock()
	h.Sort()
	return h
}
