package live

import (
	"container/list"
	"errors"
	"slices"
	"sync"
	"time"
)

// Why a channel cannot be made.
var (
	errNoRoom  = errors.New("live: too many channels") // all have subscribers
	errTooMany = errors.New("live: too many new channels of one client")
	errNotOurs = errors.New("live: another node serves the key")
)

type limits struct {
	history      int // messages kept in a channel
	historyBytes int // bytes of frames kept in a channel; one message always is
	allBytes     int // bytes of frames kept in all channels
	channels     int // channels on this node
	perKey       int // channels of one key
	perClient    int // channels that one client makes in a minute
}

// hub is the channels of a node: a data structure without goroutines or network,
// whose clock, keys and ids are given. One mutex guards it all. Offsets are given out,
// kept and handed to subscribers in one critical section, and so is a subscription
// and what it replays; that is why there is no hole and no duplicate between the
// two.
type hub struct {
	limits      limits
	serves      func(key string) bool // whether this node does; must not block
	incarnation func() string         // a new id at each call; must not block
	elapsed     func() time.Duration

	mu     sync.Mutex
	keys   map[string]*keySpace
	makers map[string]*maker // by client
	hogs   []*maker          // those that have more than their share
	count  int
	bytes  int       // of all histories
	idle   list.List // of *channel without subscribers, longest idle first
}

type keySpace struct {
	channels map[string]*channel
	idle     list.List // as in hub
}

type channel struct {
	key, name   string
	maker       *maker
	incarnation string
	end         uint64   // offset of the newest message
	history     [][]byte // the newest messages as frames, oldest first
	bytes       int      // of history
	subscribers list.List
	places      [3]place // in the lists of its maker and, if it is idle, of the hub and its key
}

// place is one in a list.
type place struct {
	list    *list.List
	element *list.Element
}

// sink takes frames for one subscriber. Its methods are called under the hub's
// lock and must not block. The frames are shared and must not be changed.
type sink interface {
	push(frame []byte)
	pushReplay(frame []byte) // one that the subscriber asked for
}

type subscription struct {
	channel   *channel
	at        Position // where it began
	recovered string   // what the subscriber was told of what it missed
	sink      sink
	element   *list.Element
}

func newHub(l limits, serves func(key string) bool, incarnation func() string, elapsed func() time.Duration) *hub {
	return &hub{limits: l, serves: serves, incarnation: incarnation, elapsed: elapsed,
		keys: make(map[string]*keySpace), makers: make(map[string]*maker)}
}

// subscribe adds a subscriber and tells it, through its sink, where it stands
// and what it missed since pos; nil is a first subscription.
func (h *hub) subscribe(client, key, name string, pos *Position, to sink) (*subscription, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c, err := h.channel(client, key, name)
	if err != nil {
		return nil, err
	}
	offset, recovered, missed := c.recover(pos)
	at := Position{Incarnation: c.incarnation, Offset: offset}
	to.push(encode(serverFrame{
		Op:        "subscribed",
		Channel:   name,
		Position:  &at,
		Recovered: recovered,
	}))
	for _, frame := range missed {
		to.pushReplay(frame)
	}
	return h.add(c, at, recovered, to), nil
}

func (h *hub) add(c *channel, at Position, recovered string, to sink) *subscription {
	s := &subscription{channel: c, at: at, recovered: recovered, sink: to}
	s.element = c.subscribers.PushBack(s)
	h.touch(c)
	return s
}

// told is what somebody who asks once learns.
type told struct {
	recovered string
	end       Position // after what was missed
	missed    [][]byte
}

// read tells what a subscriber at pos would be told. If that is nothing, the
// next is handed to a subscriber when there is one.
func (h *hub) read(client, key, name string, pos *Position, next sink) (told, *subscription, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c, err := h.channel(client, key, name)
	if err != nil {
		return told{}, nil, err
	}
	_, recovered, missed := c.recover(pos)
	t := told{recovered, Position{c.incarnation, c.end}, slices.Clone(missed)} // the history moves on
	if recovered == RecoveredNothing && next != nil {
		return t, h.add(c, t.end, recovered, next), nil
	}
	h.touch(c)
	return t, nil, nil
}

// recover decides what a subscriber at pos is told, and what it is sent again.
func (c *channel) recover(pos *Position) (at uint64, recovered string, missed [][]byte) {
	oldest := c.end - uint64(len(c.history)) // offset before the first one kept
	switch {
	case pos == nil:
		return c.end, RecoveredFresh, nil
	case pos.Incarnation != c.incarnation, pos.Offset > c.end, pos.Offset < oldest:
		return c.end, RecoveredGap, nil
	case pos.Offset == c.end:
		return c.end, RecoveredNothing, nil
	default:
		return pos.Offset, RecoveredReplay, c.history[pos.Offset-oldest:]
	}
}

// unsubscribe removes a subscription; it may be called again.
func (h *hub) unsubscribe(s *subscription) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.element == nil {
		return
	}
	s.channel.subscribers.Remove(s.element)
	s.element = nil
	if h.kept(s.channel) {
		h.touch(s.channel)
	}
}

// publish gives data its offset and hands it to the subscribers in the order in
// which they came.
func (h *hub) publish(client, key, name, data string) (Position, error) {
	encoded := encode(data)
	h.mu.Lock()
	defer h.mu.Unlock()
	c, err := h.channel(client, key, name)
	if err != nil {
		return Position{}, err
	}
	if c.end == 0 {
		h.give(c, client)
	}
	c.end++
	frame := messageFrame(name, c.end, encoded)
	h.keep(c, frame)
	for e := c.subscribers.Front(); e != nil; e = e.Next() {
		e.Value.(*subscription).sink.push(frame)
	}
	h.touch(c)
	return Position{Incarnation: c.incarnation, Offset: c.end}, nil
}

// keep adds a frame to a channel's history, for which older ones may have to
// go: its own, and those of others as makeBytes says.
func (h *hub) keep(c *channel, frame []byte) {
	c.history = append(c.history, frame)
	h.weigh(c, len(frame))
	for len(c.history) > 1 && (len(c.history) > h.limits.history || c.bytes > h.limits.historyBytes) {
		h.trim(c)
	}
	h.unlist(c) // this one is in use
	for h.bytes > h.limits.allBytes {
		h.makeBytes(c)
	}
}

// trim drops the oldest message of a channel.
func (h *hub) trim(c *channel) {
	h.weigh(c, -len(c.history[0]))
	c.history[0] = nil
	c.history = c.history[1:]
}

// weigh counts bytes of a channel's history.
func (h *hub) weigh(c *channel, n int) {
	c.bytes += n
	c.maker.bytes += n
	h.bytes += n
	h.judge(c.maker)
}

// size gives how many channels there are, and the bytes of their histories.
func (h *hub) size() (channels, bytes int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.count, h.bytes
}

// forget drops the channels of all keys for which gone holds. Subscriptions to
// them stay valid but hear nothing more: their tunnels are to be closed.
func (h *hub) forget(gone func(key string) bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for key, k := range h.keys {
		if !gone(key) {
			continue
		}
		for _, c := range k.channels {
			h.drop(c)
		}
	}
}

// channel finds or makes a channel, for which an idle one may have to go. It
// makes none whose key has gone: one that was made after forget would still be
// there when the key returns, and say nothing of what was said elsewhere. The
// caller holds the lock.
func (h *hub) channel(client, key, name string) (*channel, error) {
	k := h.keys[key]
	if k != nil && k.channels[name] != nil {
		return k.channels[name], nil
	}
	if !h.serves(key) {
		return nil, errNotOurs
	}
	if !h.mayMake(client) {
		return nil, errTooMany
	}
	if k != nil && len(k.channels) >= h.limits.perKey && !h.makeRoomIn(k) {
		return nil, errNoRoom
	}
	if h.count >= h.limits.channels && !h.makeRoom() {
		return nil, errNoRoom
	}
	if k = h.keys[key]; k == nil {
		k = &keySpace{channels: make(map[string]*channel)}
		h.keys[key] = k
	}
	c := &channel{key: key, name: name, maker: h.makes(client), incarnation: h.incarnation()}
	k.channels[name] = c
	h.count++
	return c, nil
}

// evict drops the longest idle channel of a list.
func (h *hub) evict(idle *list.List) bool {
	e := idle.Front()
	if e != nil {
		h.drop(e.Value.(*channel))
	}
	return e != nil
}

func (h *hub) drop(c *channel) {
	h.unlist(c)
	h.weigh(c, -c.bytes)
	h.take(c.maker)
	k := h.keys[c.key]
	delete(k.channels, c.name)
	if len(k.channels) == 0 {
		delete(h.keys, c.key)
	}
	h.count--
}

func (h *hub) kept(c *channel) bool {
	k := h.keys[c.key]
	return k != nil && k.channels[c.name] == c
}

// touch puts a channel that was used at the end of the lists that it belongs
// into: of the idle ones if nobody subscribes to it.
func (h *hub) touch(c *channel) {
	h.unlist(c)
	if c.subscribers.Len() > 0 {
		c.enlist(&c.maker.busy)
	} else {
		c.enlist(&c.maker.idle, &h.idle, &h.keys[c.key].idle)
	}
	h.judge(c.maker)
}

func (c *channel) enlist(lists ...*list.List) {
	for i, l := range lists {
		c.places[i] = place{l, l.PushBack(c)}
	}
}

func (h *hub) unlist(c *channel) {
	for _, p := range c.places {
		if p.list != nil {
			p.list.Remove(p.element)
		}
	}
	c.places = [3]place{}
	h.judge(c.maker)
}
