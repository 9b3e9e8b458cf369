package sim

import (
	"testing/synctest"
	"time"
)

// The pump is the one goroutine that makes things happen. Between two of its
// steps every goroutine of the world is blocked, so what a step finds recorded
// does not depend on how the scheduler ran them.
func (w *World) pump() {
	defer close(w.stopped)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		synctest.Wait()
		w.dog.reached.Store(w.now())
		w.mu.Lock()
		if w.commit() {
			w.mu.Unlock()
			continue
		}
		if w.ended {
			w.mu.Unlock()
			return
		}
		next, ok := w.queue.peek()
		if ok && next.at <= w.now() {
			w.queue.pop()
			if next.kind == call {
				w.mu.Unlock()
				next.call()
				continue
			}
			w.deliver(&next)
			// Dials of one batch cannot be told apart until each has sent something,
			// so they are answered in one step.
			for next.kind == established {
				also, ok := w.queue.peek()
				if !ok || also.at != next.at || also.kind != established || also.dial.batch != next.dial.batch {
					break
				}
				w.queue.pop()
				w.deliver(&also)
			}
			w.mu.Unlock()
			continue
		}
		wait := watchdogPulse
		if ok {
			wait = min(wait, time.Duration(next.at-w.now()))
		}
		// Before the lock is given up: what is recorded or scheduled from now on kicks.
		w.asleep.Store(true)
		w.mu.Unlock()
		timer.Reset(wait)
		select {
		case <-w.kick:
		case <-timer.C:
			if !w.asleep.CompareAndSwap(true, false) {
				<-w.kick // somebody has decided to kick
			}
		}
	}
}

// What an event of the queue does when its time comes.
type eventKind uint8

const (
	call        eventKind = iota
	segment               // bytes arrive at an endpoint
	fin                   // the end of a stream arrives
	reset                 // a reset arrives
	credit                // room in the window arrives at the writer
	syn                   // a dial arrives at a machine
	established           // the answer to a dial arrives
	refused               // a refusal arrives
	datagram              // a datagram arrives at a machine
	unreachable           // a port-unreachable arrives for a datagram
	userTimeout           // unanswered bytes have waited too long
	keepalive             // an idle connection asks whether its peer is there
	dialTimeout           // the kernel gives up on a handshake
)

// event is one thing that will happen. Events of one instant happen in the order
// in which they were scheduled, which is itself reproducible.
type event struct {
	at   int64
	seq  uint64
	sent int64 // what is delivered: when it was sent first
	kind eventKind
	size int
	data []byte
	nth  uint64    // of the bytes and the end of a stream, from 1; 0 for all else
	end  *endpoint // that it arrives at
	dial *dial
	pack *packet
	call func()
}

// packet is how long the longest packet is that carries it, in bytes.
func (e *event) packet() int { return len(e.data) + 40 }

// machine is the one that the event arrives at.
func (e *event) machine() *Machine {
	switch {
	case e.kind == syn:
		return e.dial.to
	case e.dial != nil:
		return e.dial.proc.m
	case e.end != nil:
		return e.end.m
	case e.pack != nil:
		return e.pack.target
	}
	return nil
}

// unheard is what it means to a sender that its packet has reached a machine
// whose kernel stands still: nothing answers, so its time-outs run.
func (e *event) unheard() {
	switch e.kind {
	case syn:
		e.dial.expire()
	case segment, fin:
		e.end.peer.unanswered()
	}
}

func (w *World) schedule(at int64, e event) {
	e.at = at
	w.queue.push(e)
	w.wake() // the pump may sleep past it
}

// deliver lets one event happen, unless its machine is paused: then it waits.
func (w *World) deliver(e *event) {
	m := e.machine()
	if m.paused {
		e.unheard()
		m.heldEvents = append(m.heldEvents, *e)
		return
	}
	if e.kind != keepalive && e.kind != userTimeout && e.kind != dialTimeout {
		w.stats.Deliveries++
		m.arrivals++
		if m.lastDelivery == e.at {
			w.stats.Ties++
		}
		m.lastDelivery = e.at
	}
	switch e.kind {
	case syn, established, refused, dialTimeout:
		e.dial.deliver(e)
	case datagram, unreachable:
		e.pack.deliver(e)
	default:
		e.end.deliver(e)
	}
}

// eventQueue is a binary heap by (at, seq).
type eventQueue struct {
	heap []event
	seq  uint64
}

func (q *eventQueue) before(i, j int) bool {
	a, b := &q.heap[i], &q.heap[j]
	return a.at < b.at || a.at == b.at && a.seq < b.seq
}

func (q *eventQueue) peek() (event, bool) {
	if len(q.heap) == 0 {
		return event{}, false
	}
	return q.heap[0], true
}

func (q *eventQueue) push(e event) {
	q.seq++
	e.seq = q.seq
	q.heap = append(q.heap, e)
	for i := len(q.heap) - 1; i > 0; {
		up := (i - 1) / 2
		if !q.before(i, up) {
			break
		}
		q.heap[i], q.heap[up] = q.heap[up], q.heap[i]
		i = up
	}
}

func (q *eventQueue) pop() {
	last := len(q.heap) - 1
	q.heap[0] = q.heap[last]
	q.heap[last] = event{}
	q.heap = q.heap[:last]
	for i := 0; ; {
		least := i
		for _, j := range [2]int{2*i + 1, 2*i + 2} {
			if j < last && q.before(j, least) {
				least = j
			}
		}
		if least == i {
			return
		}
		q.heap[i], q.heap[least] = q.heap[least], q.heap[i]
		i = least
	}
}
