package live

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// Subprotocol is the WebSocket subprotocol that tunnels speak: text frames, each
// one JSON object.
const Subprotocol = "live.espra.1"

// The codes that a tunnel is closed with. Those below 4000 are of RFC 6455; the
// text of 1002 and 1009 says in English what was wrong with the frame. A frame that
// is not masked ends the connection without a code, as section 5.1 of it allows.
// Streams of events name 4000, 4001 and 1012 in their last event; to polls 4001
// is status 421 and 1012 is 503.
const (
	CloseProtocol   = 1002 // a frame that is not of RFC 6455
	ClosePolicy     = 1008 // subscribed twice, or too many channels, new channels or tunnels of one tunnel or client
	CloseTooBig     = 1009 // a frame of more than 64 KiB, in one piece or many
	CloseRestart    = 1012 // the node stops: connect again with your positions
	CloseFull       = 1013 // too many channels or tunnels on this node
	CloseResume     = 4000 // a slow or silent reader: connect again with your positions
	CloseMoved      = 4001 // the key or its host lives elsewhere now: connect again with your positions
	CloseBadRequest = 4004 // a frame that is not of the protocol, or never complete
)

// What a subscriber learns about the messages that it may have missed.
const (
	RecoveredFresh   = "fresh"          // no position was given
	RecoveredNothing = "nothing-missed" // the position is the end
	RecoveredReplay  = "replay"         // the missed messages follow
	RecoveredGap     = "gap"            // they are gone: load the state again
)

// Bounds of what a stranger may send.
const (
	maxName           = 128      // bytes of a key, channel or publish id
	maxFrame          = 64 << 10 // bytes of a frame, or of a published body
	maxTunnelChannels = 100
)

// Position is a place in a channel: after the message with this offset.
type Position struct {
	Incarnation string `json:"incarnation"`
	Offset      uint64 `json:"offset"`
}

// ValidName reports whether s can name a key or a channel: 1 to 128 letters,
// digits, dots, underscores and hyphens.
func ValidName(s string) bool {
	if s == "" || len(s) > maxName {
		return false
	}
	for _, c := range []byte(s) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}

type clientFrame struct {
	Op       string    `json:"op"`
	Channel  string    `json:"channel"`
	Position *Position `json:"position"`
	ID       string    `json:"id"`
	Data     string    `json:"data"`
}

// parseFrame reads what a client sent; every frame that it accepts can be acted on.
func parseFrame(b []byte) (clientFrame, error) {
	var f clientFrame
	if !utf8.Valid(b) {
		return f, errors.New("frame is not UTF-8")
	}
	if err := json.Unmarshal(b, &f); err != nil {
		return f, errors.New("frame is not a JSON object of the protocol")
	}
	switch f.Op {
	case "subscribe", "unsubscribe", "publish":
	default:
		return f, errors.New("unknown op")
	}
	if !ValidName(f.Channel) {
		return f, errors.New("invalid channel")
	}
	if len(f.ID) > maxName {
		return f, fmt.Errorf("id is longer than %d bytes", maxName)
	}
	return f, nil
}

type serverFrame struct {
	Op        string    `json:"op"`
	Channel   string    `json:"channel,omitempty"`
	ID        string    `json:"id,omitempty"`
	Position  *Position `json:"position,omitempty"`
	Recovered string    `json:"recovered,omitempty"`
	Code      string    `json:"code,omitempty"`
	Text      string    `json:"text,omitempty"`

	RetryAfter int64 `json:"retry-after-ms,omitempty"` // when to connect again, at the soonest
}

// encode gives the JSON of v on one line. The types of this package cannot
// fail to encode.
func encode(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// messageFrame puts a message together from data that is JSON already, so that
// the offset can be filled in under a lock at the price of a copy.
func messageFrame(channel string, offset uint64, data []byte) []byte {
	b := make([]byte, 0, len(data)+len(channel)+64)
	b = append(b, `{"op":"message","channel":"`...)
	b = append(b, channel...)
	b = append(b, `","offset":`...)
	b = strconv.AppendUint(b, offset, 10)
	b = append(b, `,"data":`...)
	b = append(b, data...)
	return append(b, '}')
}
