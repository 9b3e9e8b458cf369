package observe

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// history is how many observations of each vantage are kept.
const history = 8

// Board keeps the latest observations of each vantage and when they arrived,
// by this machine's monotonic clock: senders' clocks are not believed. It may
// be used from several goroutines and never blocks.
type Board struct {
	mu     sync.Mutex
	latest map[string][]Entry // oldest first
	floors map[string]uint64
}

// Entry is an observation with the time of its arrival.
type Entry struct {
	Observation
	Arrived time.Duration
}

// NewBoard makes a board. A vantage's messages count only above its floor, the
// last sequence number that was seen before a restart.
func NewBoard(floors map[string]uint64) *Board {
	b := &Board{latest: map[string][]Entry{}, floors: map[string]uint64{}}
	for name, floor := range floors {
		b.floors[name] = floor
	}
	return b
}

// Put adds an opened observation, or refuses it with ErrOld.
func (b *Board) Put(o Observation, now time.Duration) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if o.Sequence <= b.floors[o.Vantage] {
		return ErrOld
	}
	b.floors[o.Vantage] = o.Sequence
	entries := append(b.latest[o.Vantage], Entry{o, now})
	b.latest[o.Vantage] = slices.Clone(entries[max(0, len(entries)-history):])
	return nil
}

// Latest gives the newest observation of each vantage, sorted by vantage.
func (b *Board) Latest() []Entry {
	b.mu.Lock()
	defer b.mu.Unlock()
	var latest []Entry
	for _, entries := range b.latest {
		latest = append(latest, entries[len(entries)-1])
	}
	slices.SortFunc(latest, func(x, y Entry) int { return cmp.Compare(x.Vantage, y.Vantage) })
	return latest
}

// History gives the kept observations of one vantage, oldest first.
func (b *Board) History(vantage string) []Entry {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.latest[vantage])
}

// Floors gives the last sequence number seen of each vantage, for NewBoard
// after a restart.
func (b *Board) Floors() map[string]uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	floors := map[string]uint64{}
	for name, floor := range b.floors {
		floors[name] = floor
	}
	return floors
}
