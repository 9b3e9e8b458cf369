package live

import "sync"

// queue holds the frames on their way to one reader, bounded by bytes. Pushing
// never blocks: a reader that is too far behind overflows, once, and loses the
// rest. Frames that the reader itself asked for (a replay) do not count
// against the bound; instead nothing more is read from a tunnel that has not
// yet taken them, see waitRoom.
type queue struct {
	limit    int
	overflow func() // called with the lock held; must not block or push

	mu      sync.Mutex
	frames  []queued
	head    int    // of the frames not yet taken
	taken   queued // the frame that is being written; it still counts
	live    int    // bytes that count
	replay  int    // bytes that do not
	stopped bool

	wake chan struct{} // for the writer: something to take, or stopped
	room chan struct{} // for the reader: less to take, or stopped
}

type queued struct {
	frame  []byte
	replay bool
}

var _ sink = (*queue)(nil)

func newQueue(limit int, overflow func()) *queue {
	return &queue{
		limit:    limit,
		overflow: overflow,
		wake:     make(chan struct{}, 1),
		room:     make(chan struct{}, 1),
	}
}

// push takes any one frame when nothing else counts, however large it is.
func (q *queue) push(frame []byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.stopped {
		return
	}
	if q.live > 0 && q.live+len(frame) > q.limit {
		q.halt(true)
		q.overflow()
		return
	}
	q.live += len(frame)
	q.add(queued{frame: frame})
}

func (q *queue) pushReplay(frame []byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.stopped {
		return
	}
	q.replay += len(frame)
	q.add(queued{frame: frame, replay: true})
}

func (q *queue) add(f queued) {
	q.frames = append(q.frames, f)
	signal(q.wake)
}

// next gives the oldest frame, once the last one given has been written. It
// waits for one, and gives false when the queue was stopped and is empty.
func (q *queue) next() ([]byte, bool) {
	for {
		q.mu.Lock()
		q.release()
		if q.head < len(q.frames) {
			q.taken = q.frames[q.head]
			q.frames[q.head] = queued{}
			q.head++
			if q.head == len(q.frames) {
				q.frames, q.head = q.frames[:0], 0
			} else if q.head > 64 && q.head > len(q.frames)/2 {
				q.frames = append(q.frames[:0], q.frames[q.head:]...)
				q.head = 0
			}
			q.mu.Unlock()
			return q.taken.frame, true
		}
		stopped := q.stopped
		q.mu.Unlock()
		if stopped {
			return nil, false
		}
		<-q.wake
	}
}

func (q *queue) release() {
	if q.taken.replay {
		q.replay -= len(q.taken.frame)
	} else {
		q.live -= len(q.taken.frame)
	}
	q.taken = queued{}
	if q.replay <= q.limit {
		signal(q.room)
	}
}

// waitRoom waits until little enough of what the reader asked for is left, and
// gives false when the queue was stopped.
func (q *queue) waitRoom() bool {
	for {
		q.mu.Lock()
		stopped, full := q.stopped, q.replay > q.limit
		q.mu.Unlock()
		if stopped || !full {
			return !stopped
		}
		<-q.room
	}
}

// stop lets nothing more in, and discards what is left if it is told to.
func (q *queue) stop(discard bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.halt(discard)
}

func (q *queue) halt(discard bool) {
	q.stopped = true
	if discard {
		q.frames, q.head = nil, 0
		q.live, q.replay = 0, 0
		if q.taken.replay {
			q.replay = len(q.taken.frame)
		} else {
			q.live = len(q.taken.frame)
		}
	}
	signal(q.wake)
	signal(q.room)
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
