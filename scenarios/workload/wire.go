package workload

import (
	"encoding/json"
	"errors"

	"github.com/espra/protoplex/scenarios/oracle"
)

// subprotocol is what tunnels speak: text frames, each one JSON object.
const subprotocol = "live.espra.1"

// Bounds of what a server may send.
const (
	maxFrame  = 512 << 10 // bytes: 64 KiB of data, however they are escaped
	maxAnswer = 4 << 10   // bytes of the answer to a publication
)

type position struct {
	Incarnation string `json:"incarnation"`
	Offset      uint64 `json:"offset"`
}

func (p position) observed() oracle.Position { return oracle.Position(p) }

type subscribe struct {
	Op       string    `json:"op"`
	Channel  string    `json:"channel"`
	Position *position `json:"position,omitempty"`
}

// frame is what a server sends. Which fields count depends on Op.
type frame struct {
	Op        string    `json:"op"`
	Channel   string    `json:"channel"`
	Position  *position `json:"position"`
	Recovered string    `json:"recovered"`
	Offset    uint64    `json:"offset"`
	Data      string    `json:"data"`
	Code      string    `json:"code"`

	RetryAfter uint64 `json:"retry-after-ms"` // with code resume
}

// parseFrame reads a frame that a server sent. Ops that it does not know are
// let through: a server may be newer than its clients.
func parseFrame(b []byte) (frame, error) {
	var f frame
	if err := json.Unmarshal(b, &f); err != nil {
		return frame{}, errors.New("workload: frame is not a JSON object of the protocol")
	}
	switch {
	case f.Op == "subscribed" && (f.Position == nil || f.Position.Incarnation == ""):
		return frame{}, errors.New("workload: subscription without a position")
	case f.Op == "message" && f.Offset == 0:
		return frame{}, errors.New("workload: message without an offset")
	}
	return f, nil
}

// parseAnswer reads the position from the answer to a publication.
func parseAnswer(b []byte) (position, error) {
	var a struct {
		Position position `json:"position"`
	}
	if err := json.Unmarshal(b, &a); err != nil || a.Position.Incarnation == "" || a.Position.Offset == 0 {
		return position{}, errors.New("workload: answer without a position")
	}
	return a.Position, nil
}
