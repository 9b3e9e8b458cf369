package live

import (
	"context"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/espra/protoplex/nodes"
)

// heartbeat is queued to be written as a comment, which clients pass over. No
// frame is empty.
const heartbeat = ""

// stream is one subscription as server-sent events: "subscribed" first, then a
// "message" for each, and "close" before the end. Ids are positions. The
// handler's goroutine writes; a client that does not take what is written
// overflows its queue, or is cut when nothing has moved for deadAfter.
type stream struct {
	visit
	s      *server
	queue  *queue
	at     Position // of the last event written
	moved  atomic.Int64
	ending atomic.Pointer[ending]
}

func (s *server) openStream(w http.ResponseWriter, r *http.Request, v visit, channel string, pos *Position) {
	st := &stream{visit: v, s: s}
	out := http.NewResponseController(w)
	// A stream outlives the time-out of ordinary answers.
	if out.SetWriteDeadline(time.Time{}) != nil {
		return // the client is gone
	}
	refused := s.admit(st, func() {
		st.queue = newQueue(s.o.queue, func() { st.end(ending{code: CloseResume, text: "too slow, resume"}) })
	})
	if refused != nil {
		turnAway(w, *refused)
		return
	}
	defer s.dismiss(st)
	if s.refuse(w, v.host, v.key) {
		return
	}
	sub, err := s.hub.subscribe(v.client, v.key, channel, pos, st.queue)
	if err != nil {
		turnAway(w, noChannel(err))
		return
	}
	defer s.hub.unsubscribe(sub)
	s.tellGap(sub.recovered, v.key, channel, pos, sub.at)
	log := s.m.Log().With("stream", st.id, "host", v.host, "key", v.key)
	log.Debug("stream opened")

	ctx, cancel := context.WithCancel(r.Context())
	beating := make(chan struct{})
	go func() {
		defer close(beating)
		nodes.Every(ctx, s.m, "live/heartbeat/"+st.name, pingEvery, st.beat)
	}()
	defer func() { cancel(); <-beating }()
	defer context.AfterFunc(ctx, st.lose)()

	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Accel-Buffering", "no")
	w.Header().Set("Connection", "close")
	st.at = sub.at
	st.write(w, out)
	end := st.ending.Load()
	log.Debug("stream closed", "code", end.code, "reason", end.text)
}

// write writes events until there are none to come. It leaves the ending set.
func (st *stream) write(w http.ResponseWriter, out *http.ResponseController) {
	kind := "subscribed"
	var b []byte
	for {
		st.moved.Store(int64(st.s.m.Elapsed()))
		frame, ok := st.queue.next()
		switch {
		case !ok:
			if e := st.ending.Load(); e.code != connectionLost.code {
				_, _ = w.Write(appendClose(b[:0], *e)) // the last word; nothing is done about its loss
				_ = out.Flush()
			}
			return
		case len(frame) == 0:
			b = append(b[:0], ":\n\n"...)
		default:
			if kind == "message" {
				st.at.Offset++ // a subscriber gets each message once and in order
			}
			b = appendEvent(b[:0], kind, st.at, frame)
			kind = "message"
		}
		_, err := w.Write(b)
		if err == nil {
			err = out.Flush()
		}
		if err != nil {
			st.lose()
			return
		}
	}
}

func appendEvent(b []byte, kind string, at Position, frame []byte) []byte {
	b = append(b, "event: "...)
	b = append(b, kind...)
	b = append(b, "\nid: "...)
	b = append(b, at.Incarnation...)
	b = append(b, ':')
	b = strconv.AppendUint(b, at.Offset, 10)
	b = append(b, "\ndata: "...)
	b = append(b, frame...) // one line: encode escapes what would end it
	return append(b, "\n\n"...)
}

// appendClose says why, and has an EventSource come back when it should.
func appendClose(b []byte, e ending) []byte {
	if e.retry > 0 {
		b = append(b, "retry: "...)
		b = strconv.AppendInt(b, e.retry.Milliseconds(), 10)
		b = append(b, '\n')
	}
	b = append(b, "event: close\ndata: "...)
	b = append(b, encode(closeData{Code: e.code, Text: e.text, RetryAfter: e.retry.Milliseconds()})...)
	return append(b, "\n\n"...)
}

type closeData struct {
	Code       int    `json:"code"`
	Text       string `json:"text"`
	RetryAfter int64  `json:"retry-after-ms,omitempty"`
}

// beat keeps a stream alive on its way through others, and ends one that takes
// nothing.
func (st *stream) beat(context.Context) {
	if st.s.m.Elapsed()-time.Duration(st.moved.Load()) >= deadAfter {
		st.ask(ending{code: CloseResume, text: "silent, resume"})
		return
	}
	st.queue.push([]byte(heartbeat))
}

// ask lets what is queued be written first, if that does not take too long.
func (st *stream) ask(e ending) bool {
	ended := st.end(e)
	st.queue.stop(false)
	return ended
}

// lose ends a stream whose client is gone.
func (st *stream) lose() {
	st.end(connectionLost)
	st.queue.stop(true)
}

// end decides that the stream ends. It is called under the queue's lock.
func (st *stream) end(e ending) bool {
	if !st.ending.CompareAndSwap(nil, &e) {
		return false
	}
	if st.raw != nil {
		_ = st.raw.SetWriteDeadline(nodes.Deadline(st.s.m, "live/flush/"+st.name, stopTime))
	}
	return true
}
