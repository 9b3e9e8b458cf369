package oracle

import (
	"fmt"
	"time"
)

// Started is a process that the parent on a machine has started in one of its
// places.
type Started struct {
	At      time.Duration
	Machine string
	Place   string
}

// Restarts judges that while the fault lasts no place of a parent is filled more
// often than that. It counts the processes that were started.
func Restarts(h History, f Fault, atMost int) Verdict {
	type place struct{ machine, name string }
	var d docket
	starts := map[place]int{}
	most := 0
	for _, s := range h.Started {
		if s.At < f.From || s.At > f.Until {
			continue
		}
		d.judged++
		p := place{s.Machine, s.Place}
		starts[p]++
		most = max(most, starts[p])
		if starts[p] > atMost {
			d.broke(s.At, "%s by %s had started child %s %d times since %s", s.Machine, Offset(s.At), s.Place, starts[p], Offset(f.From))
		}
	}
	return d.verdict("starts of one child while it lasts", fmt.Sprint(most), fmt.Sprint(atMost))
}
