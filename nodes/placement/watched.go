package placement

import (
	"context"
	"fmt"
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
	heard   time.Duration
	changed chan struct{}
}

// Watch starts with table t. Elapsed is the machine's monotonic clock, by which
// age is measured; it must not block. Ask fetches a newer table on demand; nil
// means that there is nobody to ask.
func Watch(t Table, elapsed func() time.Duration, ask func(context.Context) (Table, error)) *Watched {
	return &Watched{
		elapsed: elapsed,
		ask:     ask,
		table:   t,
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
