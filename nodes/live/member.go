package live

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"github.com/espra/protoplex/nodes/meta"
)

// The nodes of a cell use channels as people do, over the meta port, as Client
// does for them:
//
//	POST /live/HOST/KEY/CHANNEL   publishes {"data"}, and answers its position
//	GET  /live                    is a stream, to subscribe over
//
// The frames of the stream are of type "live". Their bodies are the frames of
// tunnels, subscribe and unsubscribe one way, subscribed, message and error the
// other, each with the "key" of its channel. A subscription whose key is not, or
// no longer, served here ends with the error "moved", or with "unavailable" while
// nobody serves it; the others of the stream go on.

// CellHost is the host of the channels that nodes of a cell have among
// themselves, such as for what is no longer valid. Only they can publish and
// subscribe to these: at the public port every request for the host is answered
// 403. To channels of other hosts they can publish only.
const CellHost = "cell.internal"

const (
	memberPath     = "/live"
	memberFrame    = "live"
	maxMembers     = 256     // streams at once
	maxMemberSubs  = 1000    // of one stream
	maxMemberData  = 8 << 10 // bytes of a message; its frame fits a stream's, however it is escaped
	maxMemberBytes = 64 << 10
)

// memberRoles are those that have something to say or to hear here. The list is
// read-only.
var memberRoles = []string{"admin", "app", "espra", "fileserver", "mail"}

// memberRoutes are the routes on the meta port.
func (s *server) memberRoutes() []meta.Route {
	return []meta.Route{
		{Pattern: "GET " + memberPath, Roles: memberRoles, Concurrency: maxMembers, Stream: s.serveMember},
		{Pattern: "POST " + memberPath + "/{host}/{key}/{channel}", Roles: memberRoles, Body: maxMemberBytes,
			Handler: http.HandlerFunc(s.publishMember)},
	}
}

// member is a node of the cell that subscribes. One goroutine reads what it asks
// for, one writes what is queued.
type member struct {
	s      *server
	id     uint64
	stream *meta.Stream
	queue  *queue
	ending atomic.Pointer[error] // why we end the stream
	closed chan struct{}         // when it has ended

	mu   sync.Mutex
	subs map[string]*subscription // by key and channel
}

// Why a member's stream ends here.
var (
	errMemberSlow    = errors.New("too slow, resume")
	errMemberRestart = errors.New("restart, resume")
)

func (s *server) serveMember(_ context.Context, st *meta.Stream) error {
	mb := &member{s: s, stream: st, closed: make(chan struct{}), subs: make(map[string]*subscription)}
	mb.queue = newQueue(s.o.queue, func() { mb.end(errMemberSlow) })
	if !s.enrol(mb) {
		return errMemberRestart
	}
	defer s.discharge(mb)
	written := make(chan struct{})
	go func() {
		defer close(written)
		mb.write()
	}()
	mb.end(mb.read())
	mb.queue.stop(true)
	<-written
	<-mb.closed
	return *mb.ending.Load()
}

// end ends the stream, and tells the peer why. It never blocks. The first reason
// stands.
func (mb *member) end(why error) {
	if !mb.ending.CompareAndSwap(nil, &why) {
		return
	}
	reason := "done"
	if why != nil {
		reason = why.Error()
	}
	go func() {
		defer close(mb.closed)
		mb.stream.Close(reason)
	}()
}

func (mb *member) write() {
	for {
		frame, ok := mb.queue.next()
		if !ok {
			return
		}
		if mb.stream.Send(meta.Frame{Type: memberFrame, Body: frame}) != nil {
			mb.queue.stop(true) // the reader learns the same and says why
			return
		}
	}
}

// read acts on what the peer sends until the stream ends, and says why it does.
func (mb *member) read() error {
	for mb.queue.waitRoom() {
		f, err := mb.stream.Receive()
		var goodbye *meta.ClosedError
		if errors.As(err, &goodbye) {
			return nil
		}
		if err != nil {
			return err
		}
		if f.Type != memberFrame {
			continue // a later version's
		}
		ask, err := parseMemberFrame(f.Body)
		if err != nil {
			return err
		}
		if err := mb.act(ask); err != nil {
			return err
		}
	}
	return cmp.Or(mb.stream.Err(), errMemberSlow) // or what ended it before
}

// memberAsk is what a member asks for: a frame of a client, and the key.
type memberAsk struct {
	clientFrame
	Key string `json:"key"`
}

// name tells the channels of a stream apart.
func (a memberAsk) name() string { return a.Key + "/" + a.Channel }

// parseMemberFrame reads the body of a frame.
func parseMemberFrame(b []byte) (memberAsk, error) {
	var a memberAsk
	f, err := parseFrame(b)
	if err != nil {
		return a, err
	}
	if err := json.Unmarshal(b, &a); err != nil {
		return a, errors.New("frame is not a JSON object of the protocol")
	}
	a.clientFrame = f
	switch {
	case f.Op == "publish":
		return a, errors.New("publish with POST")
	case !ValidName(a.Key):
		return a, errors.New("invalid key")
	}
	return a, nil
}

// act does what a frame asks for. An error ends the stream.
func (mb *member) act(a memberAsk) error {
	mb.mu.Lock()
	defer mb.mu.Unlock()
	name, key := a.name(), CellHost+"/"+a.Key
	switch subscribed := mb.subs[name] != nil; {
	case a.Op == "unsubscribe":
		if subscribed {
			mb.drop(name)
		}
		return nil
	case subscribed:
		return errors.New("subscribed already")
	case len(mb.subs) >= maxMemberSubs:
		mb.refuse(a, "too-many-channels")
		return nil
	}
	if code := mb.s.refusalCode(key); code != "" {
		mb.refuse(a, code)
		return nil
	}
	if !mb.s.takeMemberSub() {
		mb.refuse(a, "no-room")
		return nil
	}
	sub, err := mb.s.hub.subscribe(theCell, key, a.Channel, a.Position, &memberSink{queue: mb.queue, key: a.Key})
	if err != nil {
		mb.s.memberSubs.Add(-1)
		code := "no-room"
		if errors.Is(err, errNotOurs) {
			code = "moved"
		}
		mb.refuse(a, code)
		return nil
	}
	mb.subs[name] = sub
	mb.s.tellGap(sub.recovered, key, a.Channel, a.Position, sub.at)
	// The table may have changed since; from here on whoever changes it sees this
	// subscription.
	if code := mb.s.refusalCode(key); code != "" {
		mb.drop(name)
		mb.refuse(a, code)
	}
	return nil
}

// drop ends a subscription. The caller holds the lock.
func (mb *member) drop(name string) {
	mb.s.hub.unsubscribe(mb.subs[name])
	mb.s.memberSubs.Add(-1)
	delete(mb.subs, name)
}

// refuse says that there is no such subscription, or that it has ended.
func (mb *member) refuse(a memberAsk, code string) {
	to := memberSink{queue: mb.queue, key: a.Key, answered: true}
	to.push(encode(serverFrame{Op: "error", Channel: a.Channel, Code: code}))
}

// lose ends the subscriptions to the keys that others serve now.
func (mb *member) lose(gone func(key string) bool) {
	mb.mu.Lock()
	defer mb.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(mb.subs)) {
		key, channel, _ := strings.Cut(name, "/")
		if gone(CellHost + "/" + key) {
			mb.drop(name)
			mb.refuse(memberAsk{clientFrame{Channel: channel}, key}, "moved")
		}
	}
}

// memberSink adds the key to the frames of one subscription. The first of them
// answers it, and like a replay does not count against the bound of the queue.
type memberSink struct {
	queue    *queue
	key      string
	answered bool // guarded by the hub's lock
}

var _ sink = (*memberSink)(nil)

func (k *memberSink) push(frame []byte) {
	if !k.answered {
		k.answered = true
		k.pushReplay(frame)
		return
	}
	k.queue.push(k.keyed(frame))
}

func (k *memberSink) pushReplay(frame []byte) { k.queue.pushReplay(k.keyed(frame)) }

func (k *memberSink) keyed(frame []byte) []byte {
	b := make([]byte, 0, len(frame)+len(k.key)+len(`"key":"",`))
	b = append(append(append(b, `{"key":"`...), k.key...), `",`...)
	return append(b, frame[1:]...)
}

// refusalCode says in a word why a key is not served, if it is not.
func (s *server) refusalCode(key string) string {
	switch s.refusal(CellHost, key) {
	case 0:
		return ""
	case http.StatusMisdirectedRequest:
		return "moved"
	default:
		return "unavailable"
	}
}

// takeMemberSub makes room for one more subscription of a member. All of them
// together leave half of the channels to people.
func (s *server) takeMemberSub() bool {
	if s.memberSubs.Add(1) <= int64(s.o.limits.channels/2) {
		return true
	}
	s.memberSubs.Add(-1)
	return false
}

// enrol makes a member known to whoever changes the table or ends the node.
func (s *server) enrol(mb *member) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.opened++
	mb.id = s.opened
	s.members[mb.id] = mb
	return true
}

func (s *server) discharge(mb *member) {
	s.mu.Lock()
	delete(s.members, mb.id)
	s.mu.Unlock()
	mb.mu.Lock()
	defer mb.mu.Unlock()
	// In order, for it decides which idle channel goes first.
	for _, name := range slices.Sorted(maps.Keys(mb.subs)) {
		mb.drop(name)
	}
}

func (s *server) sortedMembers() []*member {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := slices.Collect(maps.Values(s.members))
	slices.SortFunc(all, func(a, b *member) int { return cmp.Compare(a.id, b.id) })
	return all
}

// publishMember publishes to a channel of any host that is served here.
func (s *server) publishMember(w http.ResponseWriter, r *http.Request) {
	host, name, channel := r.PathValue("host"), r.PathValue("key"), r.PathValue("channel")
	if !ValidName(host) || hostName(host) != host || !ValidName(name) || !ValidName(channel) {
		http.Error(w, "invalid host, key or channel", http.StatusBadRequest)
		return
	}
	data, status := parseMemberMessage(r.Body)
	if status != 0 {
		http.Error(w, fmt.Sprintf(`want "data", a text of at most %d bytes`, maxMemberData), status)
		return
	}
	if !s.enter() {
		http.Error(w, "another node serves this", s.farewell())
		return
	}
	defer s.running.Done()
	defer flush(w)
	if key := host + "/" + name; !s.refuse(w, host, key) {
		s.accept(w, theCell, key, channel, data)
	}
}

// parseMemberMessage reads the body of a publish. The status is that of a
// refusal, or zero.
func parseMemberMessage(r io.Reader) (data string, status int) {
	b, err := io.ReadAll(r)
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return "", http.StatusRequestEntityTooLarge
	}
	var message struct {
		Data *string `json:"data"`
	}
	if err != nil || !utf8.Valid(b) || json.Unmarshal(b, &message) != nil || message.Data == nil {
		return "", http.StatusBadRequest
	}
	if len(*message.Data) > maxMemberData {
		return "", http.StatusRequestEntityTooLarge
	}
	return *message.Data, 0
}
