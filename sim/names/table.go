package names

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// table is a bounded memory of things that end. When it is full it drops what
// has ended and then what ends first, an order that depends on nothing but what
// it holds. The zero value holds nothing; callers lock.
type table[V any] struct {
	max  int
	rows map[string]row[V]
}

type row[V any] struct {
	value V
	ends  time.Time
}

func newTable[V any](max int) table[V] {
	return table[V]{max: max, rows: map[string]row[V]{}}
}

func (t *table[V]) get(key string, now time.Time) (V, bool) {
	r, ok := t.rows[key]
	if !ok || !now.Before(r.ends) {
		var none V
		return none, false
	}
	return r.value, true
}

func (t *table[V]) put(key string, v V, ends, now time.Time) {
	if !now.Before(ends) || t.max <= 0 {
		delete(t.rows, key)
		return
	}
	if _, ok := t.rows[key]; !ok && len(t.rows) >= t.max {
		t.makeRoom(now)
	}
	t.rows[key] = row[V]{v, ends}
}

// makeRoom drops an eighth, so that sorting is paid for by many puts.
func (t *table[V]) makeRoom(now time.Time) {
	maps.DeleteFunc(t.rows, func(_ string, r row[V]) bool { return !now.Before(r.ends) })
	if len(t.rows) < t.max {
		return
	}
	keys := slices.SortedFunc(maps.Keys(t.rows), func(a, b string) int {
		return cmp.Or(t.rows[a].ends.Compare(t.rows[b].ends), cmp.Compare(a, b))
	})
	for _, k := range keys[:max(t.max/8, 1)] {
		delete(t.rows, k)
	}
}

func (t *table[V]) remove(key string) { delete(t.rows, key) }

func (t *table[V]) clear() { clear(t.rows) }
