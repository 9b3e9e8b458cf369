package live

import (
	"container/list"
	"slices"
	"time"
)

// A channel counts as its maker's, which is the client that used it first; or
// once something was said in it, the client that said the first. Who has more
// than a share of all channels or bytes is a hog. When there is no room the
// greatest hog makes it, and without any the channel that has been idle for
// longest, whose ever it is. So a client that makes channels without end, or
// fills them, pays for it with its own, and others keep theirs. All of this is
// the hub's, and guarded by its lock.

// hogPart of what the node may keep is the most that one client has before it is
// a hog.
const hogPart = 16

// theCell is the client that the nodes of the cell count as. Its new channels
// are not bounded.
const theCell = ""

// maker is a client with channels. One without any is forgotten.
type maker struct {
	client     string
	channels   int
	idle, busy list.List // its channels without and with subscribers, longest unused first
	bytes      int       // of their histories
	due        time.Duration
	hog        bool
}

// mayMake reports whether a client may make one more channel now: so many in a
// minute, however they are spread over it.
func (h *hub) mayMake(client string) bool {
	m := h.makers[client]
	return m == nil || client == theCell || m.due <= h.elapsed()+time.Minute-h.pace()
}

// pace is the time between two new channels of a client that makes as many as it
// may.
func (h *hub) pace() time.Duration { return time.Minute / time.Duration(h.limits.perClient) }

// makes gives a client one more channel, a new one.
func (h *hub) makes(client string) *maker {
	m := h.maker(client)
	m.channels++
	m.due = max(m.due, h.elapsed()) + h.pace()
	return m
}

func (h *hub) maker(client string) *maker {
	m := h.makers[client]
	if m == nil {
		m = &maker{client: client}
		h.makers[client] = m
	}
	return m
}

// take takes a channel, which is in no list and weighs nothing, from its maker.
func (h *hub) take(m *maker) {
	m.channels--
	if m.channels == 0 {
		delete(h.makers, m.client)
	}
}

// give has a channel count as another client's. It may be in no list until it is
// touched.
func (h *hub) give(c *channel, client string) {
	if c.maker.client == client {
		return
	}
	h.unlist(c)
	h.take(c.maker)
	c.maker = h.maker(client)
	c.maker.channels++
}

// judge looks whether a maker is a hog, after what it has has changed.
func (h *hub) judge(m *maker) {
	hog := m.idle.Len() > h.limits.channels/hogPart || m.bytes > h.limits.allBytes/hogPart
	switch {
	case hog && !m.hog:
		h.hogs = append(h.hogs, m)
	case !hog && m.hog:
		h.hogs = slices.DeleteFunc(h.hogs, func(other *maker) bool { return other == m })
	}
	m.hog = hog
}

// greatest gives who has most of something, if that is more than a share of all.
func (h *hub) greatest(all int, has func(*maker) int) *maker {
	var greatest *maker
	for _, m := range h.hogs {
		if n := has(m); n > all/hogPart && (greatest == nil || n > has(greatest)) {
			greatest = m
		}
	}
	return greatest
}

// makeRoom drops an idle channel, if there is one.
func (h *hub) makeRoom() bool {
	if m := h.greatest(h.limits.channels, func(m *maker) int { return m.idle.Len() }); m != nil {
		return h.evict(&m.idle)
	}
	return h.evict(&h.idle)
}

// makeRoomIn drops an idle channel of a key, if there is one.
func (h *hub) makeRoomIn(k *keySpace) bool {
	if len(h.hogs) > 0 {
		for e := k.idle.Front(); e != nil; e = e.Next() {
			if c := e.Value.(*channel); c.maker.hog {
				h.drop(c)
				return true
			}
		}
	}
	return h.evict(&k.idle)
}

// makeBytes drops an idle channel. If a hog has none, it loses the oldest message
// of one with subscribers, which who is there has heard. The last to pay is the
// channel that the bytes are needed for, which is in no list.
func (h *hub) makeBytes(needy *channel) {
	m := h.greatest(h.limits.allBytes, func(m *maker) int { return m.bytes })
	if m == nil {
		if !h.evict(&h.idle) {
			h.trim(needy)
		}
		return
	}
	if h.evict(&m.idle) {
		return
	}
	for e := m.busy.Front(); e != nil; e = e.Next() {
		if c := e.Value.(*channel); len(c.history) > 0 {
			h.trim(c)
			return
		}
	}
	h.trim(needy)
}
