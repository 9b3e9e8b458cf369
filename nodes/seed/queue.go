package seed

import (
	"sync"

	"github.com/espra/protoplex/nodes/meta"
)

// queue is what is to be sent on one stream. A stream that takes too little is
// ended: its node comes back and gets what it has missed.
type queue struct {
	mu     sync.Mutex
	frames []meta.Frame
	ready  chan struct{} // has one when there is something to see
	ended  bool
	reason string
}

func newQueue() *queue { return &queue{ready: make(chan struct{}, 1)} }

// push takes a frame, and gives false if that ends the queue.
func (q *queue) push(f meta.Frame) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	defer q.wake()
	if q.ended {
		return true
	}
	if len(q.frames) >= maxQueue {
		q.frames, q.ended, q.reason = nil, true, "too slow"
		return false
	}
	q.frames = append(q.frames, f)
	return true
}

// end says that nothing follows what is queued.
func (q *queue) end(reason string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	defer q.wake()
	if !q.ended {
		q.ended, q.reason = true, reason
	}
}

func (q *queue) wake() {
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

// next waits for frames. Without any the queue has ended, for a reason.
func (q *queue) next(done <-chan struct{}) ([]meta.Frame, string) {
	for {
		q.mu.Lock()
		frames, ended, reason := q.frames, q.ended, q.reason
		q.frames = nil
		q.mu.Unlock()
		if len(frames) > 0 || ended {
			return frames, reason
		}
		select {
		case <-q.ready:
		case <-done:
			return nil, "done"
		}
	}
}
