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

// Set takes a table that was heard, and keeps it if its epoch is above that of
// the current one. Equal epochs confirm the current table; an older one is
// refused, for its sender has been superseded.
func (w *Watched) Set(t Table) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if t.Epoch < w.table.Epoch {
		return fmt.Errorf("placement: table of epoch %d is older than %d", t.Epoch, w.table.Epoch)
	}
	w.heard = w.elapsed()
	if t.Epoch > w.table.Epoch {
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
