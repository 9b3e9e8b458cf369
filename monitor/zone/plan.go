package zone

import (
	"context"
	"errors"
	"fmt"
)

// Op is what a change does.
type Op string

// The changes, in the order in which they are safe.
const (
	Create Op = "create"
	Update Op = "update"
	Delete Op = "delete"
)

// Change is one step of a plan.
type Change struct {
	Op     Op
	Record Record // as it is to be; what to delete
	Was    Record // what an update replaces
}

// Make makes the change. To delete what is gone is no error: somebody was
// faster.
func (c Change) Make(ctx context.Context, z Zone) error {
	var err error
	switch c.Op {
	case Create:
		err = z.Create(ctx, c.Record)
	case Update:
		err = z.Update(ctx, c.Record)
	case Delete:
		if err = z.Delete(ctx, c.Record.ID); errors.Is(err, ErrNotFound) {
			err = nil
		}
	}
	if err != nil {
		return fmt.Errorf("%s %s %s: %w", c.Op, c.Record.Type, c.Record.Name, err)
	}
	return nil
}

// Replace gives the fewest changes that turn one set of records, those of one
// name and type, into another: what to put, and what to take away once all is
// put, so that the name is never empty. Whatever is the same already is left
// alone; else a record with an equal value is changed rather than another, and
// one that comes first in have rather than a later one.
func Replace(have, want []Record, same func(have, want Record) bool) (puts, cuts []Change) {
	taken, met := make([]bool, len(have)), make([]bool, len(want))
	meet := func(fit func(have, want Record) bool, found func(have, want Record)) {
		for j, w := range want {
			for i, h := range have {
				if !met[j] && !taken[i] && fit(h, w) {
					taken[i], met[j] = true, true
					found(h, w)
				}
			}
		}
	}
	change := func(h, w Record) {
		w.ID = h.ID
		puts = append(puts, Change{Update, w, h})
	}
	meet(same, func(Record, Record) {})
	meet(func(h, w Record) bool { return h.Value == w.Value }, change)
	meet(func(Record, Record) bool { return true }, change)
	for j, w := range want {
		if !met[j] {
			puts = append(puts, Change{Op: Create, Record: w})
		}
	}
	for i, h := range have {
		if !taken[i] {
			cuts = append(cuts, Change{Op: Delete, Record: h})
		}
	}
	return puts, cuts
}

// ErrGuard is returned for a plan that is more likely a mistake than a duty.
var ErrGuard = errors.New("zone: too large a part of the zone")

// few is how many records count at least for the guard: of a small zone, one name is
// a large part.
const few = 10

// Guard refuses changes whose updates and deletions pass a percentage of the records
// that there are.
func Guard(changes []Change, have, percent int) error {
	touched, records := 0, max(have, few)
	for _, c := range changes {
		if c.Op != Create {
			touched++
		}
	}
	if touched*100 > percent*records {
		return fmt.Errorf("%w: %d of %d records, guard %d %%", ErrGuard, touched, have, percent)
	}
	return nil
}
