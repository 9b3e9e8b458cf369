package dns

import (
	"sync"
	"time"

	"github.com/espra/protoplex/nodes"
)

// limiter allows so many requests per window, which opens with the first of
// them. Providers limit by token, and a fake has one.
type limiter struct {
	m      nodes.Machine
	limit  int
	window time.Duration

	mu    sync.Mutex
	used  int
	start time.Duration
}

// allow counts a request. It gives how many more the window allows, when it
// ends, and whether this one was among them.
func (l *limiter) allow() (remaining int, left time.Duration, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.m.Elapsed()
	if l.used == 0 || now-l.start >= l.window {
		l.used, l.start = 0, now
	}
	left = l.window - (now - l.start)
	if l.used >= l.limit {
		return 0, left, false
	}
	l.used++
	return l.limit - l.used, left, true
}

// seconds rounds up, so that a client that waits for as long is not early.
func seconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }
