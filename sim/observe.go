package sim

import "time"

// Delivery is something that arrived over the network, as the trace has it, and
// what the trace leaves out: who sent it, and when.
//
// Code takes no virtual time. What a machine sends at the very nanosecond at
// which something reached it was set off by that; what it sends at an instant at
// which nothing reached it, by a timer.
type Delivery struct {
	At   time.Duration // since the start of the world
	Sent time.Duration // when the sender let it go, however often it had to send it
	// Kind is "seg", "fin" or "rst" on a stream, "late" for any of them that found
	// nobody, "dgram", or "syn", "established" or "refused" of a handshake.
	Kind     string
	Conn     string // name of the connection, or of the datagram
	From, To string // machines
	Size     int    // bytes, or -1 where the trace has none
}

// ObserveDeliveries has f called for every delivery from now on, in order, under
// the rules of [World.Observe]. Calls end with the trace.
func (w *World) ObserveDeliveries(f func(Delivery)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.onDelivery = append(w.onDelivery, f)
}

// delivered records that e arrived. The trace explains side and size.
func (w *World) delivered(e *event, kind, conn string, side byte, size int, from, to *Machine) {
	w.trace.delivery(time.Duration(e.at), kind, conn, side, size)
	if len(w.onDelivery) == 0 || w.trace.ended {
		return
	}
	d := Delivery{At: time.Duration(e.at), Sent: time.Duration(e.sent), Kind: kind, Conn: conn, From: from.name, To: to.name, Size: size}
	for _, f := range w.onDelivery {
		f(d)
	}
}
