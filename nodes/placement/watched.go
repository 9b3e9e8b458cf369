package placement

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Watched is the newest table that a role has heard of. Its methods may be
// called from several goroutines at once; none of them blocks but Refresh.
type Watched struct {
	elapsed func() time.Duration
	ask     func(context.Context) (Table, error)

	mu      sync.Mutex
	table   Table
	recent  []Table // the last few, the current one last
	heard   time.Duration
	changed chan struct{}
}

// keepTables is how many tables Since knows, more than often come at once.
const keepTables = 64

// Watch starts with table t. Elapsed is the machine's monotonic clock, by which
// age is measured; it must not block. Ask fetches a newer table on demand; nil
// means that there is nobody to ask.
func Watch(t Table, elapsed func() time.Duration, ask func(context.Context) (Table, error)) *Watched {
	return &Watched{
		elapsed: elapsed,
		ask:     ask,
		table:   t,
		recent:  []Table{t},
		heard:   elapsed(),
		changed: make(chan struct{}),
	}
}

// Current gives the newest table. The caller must not change its nodes.
func (w *Watched) Current() Table {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.table
}

// Since gives the tables that came after the one at p, oldest first. It gives
// false if there were others in between that were never heard, or are not known
// any more: what a key's owner was meanwhile, nobody here can say.
func (w *Watched) Since(p Position) (tables []Table, all bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := slices.IndexFunc(w.recent, func(t Table) bool { return t.Position().Compare(p) > 0 })
	if i < 0 {
		return nil, true
	}
	all = true
	for _, t := range w.recent[i:] {
		all = all && t.follows(p)
		p = t.Position()
	}
	return slices.Clone(w.recent[i:]), all
}

// follows reports whether there was no table between the one at p and this one.
func (t Table) follows(p Position) bool {
	if t.Epoch > p.Epoch {
		return t.Revision == 1 && t.After == p
	}
	return t.Revision == p.Revision+1
}

// Age is the time since the table was last heard or confirmed.
func (w *Watched) Age() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.elapsed() - w.heard
}

// Changed gives a channel that is closed when the next table arrives.
func (w *Watched) Changed() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.changed
}

// Set takes a table that was heard, and keeps it if its position is later than
// that of the current one. An equal position confirms the current table; an older
// one is refused, for its sender has been superseded.
func (w *Watched) Set(t Table) error { return w.SetAged(t, 0) }

// SetAged is Set for a table that was heard at second hand, some time after it
// was last known to be the newest.
func (w *Watched) SetAged(t Table, age time.Duration) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.set(t, age)
}

// Apply takes the next change of the current table.
func (w *Watched) Apply(c Change) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	t, err := w.table.Apply(c)
	if err != nil {
		return err
	}
	return w.set(t, 0)
}

// Confirm notes that the current table is the newest one still, as whoever makes
// the tables says. It is refused if that is another table.
func (w *Watched) Confirm(p Position) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if p != w.table.Position() {
		return fmt.Errorf("placement: the table at %s is not the one at %s", w.table.Position(), p)
	}
	w.heard = w.elapsed()
	return nil
}

// set is called with the lock held.
func (w *Watched) set(t Table, age time.Duration) error {
	order := t.Position().Compare(w.table.Position())
	if order < 0 {
		return fmt.Errorf("placement: the table at %s is older than the one at %s", t.Position(), w.table.Position())
	}
	heard := w.elapsed() - age
	if order > 0 || heard > w.heard {
		w.heard = heard
	}
	if order > 0 {
		w.table = t
		w.recent = append(w.recent, t)
		if over := len(w.recent) - keepTables; over > 0 {
			w.recent = slices.Delete(w.recent, 0, over)
		}
		close(w.changed)
		w.changed = make(chan struct{})
	}
	return nil
}

// Refresh asks for a newer table and gives the current one afterwards, which on
// an error is the old one.
func (w *Watched) Refresh(ctx context.Context) (Table, error) {
	if w.ask == nil {
		return w.Current(), nil
	}
	t, err := w.ask(ctx)
	if err == nil {
		err = w.Set(t)
	}
	if err != nil {
		return w.Current(), fmt.Errorf("placement: refresh table: %w", err)
	}
	return w.Current(), nil
}
