package oracle

import (
	"fmt"
	"time"
)

// Ordered is an order that has reached a process of a cell. Newest is the greatest
// epoch that the process had heard of by then.
type Ordered struct {
	At      time.Duration
	Process string
	By      string
	Epoch   uint64 // that the order was given in
	Newest  uint64
	Done    bool // it was carried out; else it was refused
}

// StaleOrders judges that no process carries out an order of an epoch that is over,
// as far as it has heard. It counts the orders that came too late for that.
func StaleOrders(h History) Verdict {
	var d docket
	for _, o := range h.Orders {
		if o.Epoch >= o.Newest {
			continue
		}
		d.judged++
		if o.Done {
			d.broke(o.At, "%s at %s carried out what %s ordered in epoch %d, and had heard of %d", o.Process, Offset(o.At), o.By, o.Epoch, o.Newest)
		}
	}
	return d.verdict("orders of the past carried out", fmt.Sprint(d.broken), "0")
}
