package live

import (
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/espra/protoplex/nodes"
)

// poll is a request that waits for a message. It keeps nothing: what there is
// to tell is read from the channel when it answers.
type poll struct {
	visit
	rung   chan struct{} // something was said
	ending atomic.Pointer[ending]
	left   chan struct{} // closed when asked to leave
}

var _ sink = (*poll)(nil)

func (p *poll) push([]byte)       { signal(p.rung) }
func (p *poll) pushReplay([]byte) {}

func (p *poll) ask(e ending) bool {
	if !p.ending.CompareAndSwap(nil, &e) {
		return false
	}
	close(p.left)
	return true
}

func (s *server) openPoll(w http.ResponseWriter, r *http.Request, v visit, channel string, q question) {
	p := &poll{visit: v, rung: make(chan struct{}, 1), left: make(chan struct{})}
	if refused := s.admit(p, func() {}); refused != nil {
		turnAway(w, *refused)
		return
	}
	defer s.dismiss(p)
	defer flush(w)
	if s.refuse(w, v.host, v.key) {
		return
	}
	told, sub, err := s.hub.read(v.client, v.key, channel, q.position, p)
	if err != nil {
		turnAway(w, noChannel(err))
		return
	}
	if sub != nil {
		if q.wait > 0 {
			s.wait(w, r, p, q.wait)
			if p.ending.Load() == nil { // else the channel may be gone, and is not to be made again
				told, _, err = s.hub.read(v.client, v.key, channel, q.position, nil)
			}
		}
		s.hub.unsubscribe(sub)
		if err != nil {
			turnAway(w, noChannel(err))
			return
		}
	}
	// What is asked of a poll, and of its host and key, came before the answer.
	if e := p.ending.Load(); e != nil && e.code != CloseMoved {
		w.Header().Set("Retry-After", strconv.Itoa(max(1, int(e.retry/time.Second))))
		http.Error(w, e.text, http.StatusServiceUnavailable)
		return
	} else if e != nil {
		http.Error(w, e.text, http.StatusMisdirectedRequest)
		return
	}
	if s.refuse(w, v.host, v.key) {
		return
	}
	s.tellGap(told.recovered, v.key, channel, q.position, told.end)
	told.answer(w)
}

// wait waits until there is something to tell, or for d.
func (s *server) wait(w http.ResponseWriter, r *http.Request, p *poll, d time.Duration) {
	s.m.Log().Debug("poll waits", "poll", p.id, "host", p.host, "key", p.key)
	ctx, cancel := nodes.Timeout(r.Context(), s.m, "live/poll/"+p.name, d)
	defer cancel()
	select { // whichever it was, the channel and the ending are looked at anew
	case <-p.rung:
	case <-p.left:
	case <-ctx.Done():
	}
	// The time-out of ordinary answers counts from here on; if it cannot be set,
	// the client is gone.
	_ = http.NewResponseController(w).SetWriteDeadline(nodes.Deadline(s.m, "live/answer/"+p.name, answerTime))
}

// answer writes what a poll is told. The frames are those of tunnels.
func (t told) answer(w http.ResponseWriter) {
	head := append([]byte(`{"recovered":"`), t.recovered...)
	head = append(append(head, `","position":`...), encode(t.end)...)
	head = append(head, `,"messages":[`...)
	length := len(head) + len("]}") + max(0, len(t.missed)-1)
	for _, frame := range t.missed {
		length += len(frame)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Length", strconv.Itoa(length))
	_, err := w.Write(head)
	for i, frame := range t.missed {
		if i > 0 && err == nil {
			_, err = w.Write([]byte(","))
		}
		if err == nil {
			_, err = w.Write(frame)
		}
	}
	if err == nil {
		_, _ = w.Write([]byte("]}")) // the client is gone; it asks again from where it was
	}
}
