package sms

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/espra/protoplex/nodes"
)

const (
	maxMessages = 5000 // kept; the oldest are forgotten first
	maxMoving   = 1000 // accepted and not yet delivered

	// How long a message stays in each state.
	queuedFor  = 300 * time.Millisecond
	sendingFor = 700 * time.Millisecond
	sentFor    = 2 * time.Second
)

// Network says what is behind a gateway.
type Network struct {
	OptedOut    []string // numbers whose owners have answered STOP
	Unreachable []string // numbers of phones that are off
	Rate        int      // messages taken in a second; 0 is no limit

	late Lateness // nil for none
}

// network carries the messages of one gateway until its context ends.
type network struct {
	Network
	ctx      context.Context
	m        nodes.Machine
	provider string

	mu       sync.Mutex
	messages []*message // oldest first
	accepted uint64     // ever
	moving   int
	window   time.Duration // when the last second began
	taken    int           // in it
}

// message is guarded by the network's mutex, but for what never changes: its
// id, numbers, body and fate.
type message struct {
	id, from, to, body     string
	fate                   failure
	status                 string
	created, updated, sent time.Time
}

// failure is why a message will not arrive; the zero value is that it will.
type failure struct {
	code   int
	reason string
}

var errBusy = errors.New("too many messages")

// accept puts a message on its way, with an id made from 16 random bytes. Before
// anything else sees the message, it calls prepare.
func (n *network) accept(msg *message, name func([16]byte) string, prepare func()) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if now := n.m.Elapsed(); n.taken == 0 || now-n.window >= time.Second {
		n.window, n.taken = now, 0
	}
	if n.moving >= maxMoving || n.Rate > 0 && n.taken >= n.Rate {
		return errBusy
	}
	n.taken++
	n.moving++
	n.accepted++
	msg.id = name(random(n.m, "sms "+n.provider, n.accepted))
	msg.status = "queued"
	msg.created = n.m.Now()
	msg.updated = msg.created
	prepare()
	if n.messages = append(n.messages, msg); len(n.messages) > maxMessages {
		n.messages = slices.Delete(n.messages, 0, len(n.messages)-maxMessages)
	}
	n.m.Log().Info("sms accepted", "provider", n.provider, "to", msg.to, "from", msg.from, "body", msg.body, "id", msg.id)
	go n.deliver(msg)
	return nil
}

// random gives the n-th 16 bytes of that name.
func random(m nodes.Machine, name string, n uint64) [16]byte {
	hash := sha256.Sum256(binary.BigEndian.AppendUint64(nil, m.Rand(name, n)))
	return [16]byte(hash[:16])
}

// deliver moves a message on.
func (n *network) deliver(msg *message) {
	defer n.landed()
	for _, step := range []struct {
		after time.Duration
		to    string
	}{{queuedFor, "sending"}, {sendingFor, "sent"}} {
		if nodes.Sleep(n.ctx, n.m, step.to+" "+msg.id, step.after) != nil {
			return
		}
		n.move(msg, step.to)
	}
	late := time.Duration(0)
	if n.late != nil {
		late = n.late(n.m.Host().Name)
	}
	if nodes.Sleep(n.ctx, n.m, "delivered "+msg.id, sentFor+late) != nil {
		return
	}
	if msg.fate != (failure{}) {
		n.move(msg, "undelivered")
		n.m.Log().Warn("sms not delivered", "provider", n.provider, "to", msg.to, "id", msg.id, "reason", msg.fate.reason)
		return
	}
	n.move(msg, "delivered")
	if late > 0 {
		n.m.Log().Warn("sms delivered late", "provider", n.provider, "to", msg.to, "id", msg.id, "late", late.String(), "body", msg.body)
		return
	}
	n.m.Log().Info("sms delivered", "provider", n.provider, "to", msg.to, "id", msg.id)
}

func (n *network) landed() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.moving--
}

func (n *network) move(msg *message, status string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	msg.status, msg.updated = status, n.m.Now()
	if status == "sent" {
		msg.sent = msg.updated
	}
}

// newest calls f with each message kept, the newest first, until f reports
// false. Nothing moves meanwhile.
func (n *network) newest(f func(*message) bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, msg := range slices.Backward(n.messages) {
		if !f(msg) {
			return
		}
	}
}

// validNumber tells whether s is a phone number as E.164 writes it.
func validNumber(s string) bool {
	if len(s) < 8 || len(s) > 16 || s[0] != '+' || s[1] == '0' {
		return false
	}
	for _, c := range []byte(s[1:]) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}
