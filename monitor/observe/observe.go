// Package observe is how the vantages tell one another what they saw: one
// signed message a round, and a board that keeps the latest of each.
//
// It promises that a message on the board was made by the vantage that it
// names and is newer than the one it replaced. What may fail is all in Open
// and Board.Put: a forgery, a replay, a stranger, a message without bounds. Their
// sizes follow from what is watched, see MaxBytes. Start at Observation.
package observe

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/espra/protoplex/monitor/decide"
)

// Observation is what one vantage saw in one round, and what it has done about
// it so far.
type Observation struct {
	Vantage  string    `json:"vantage"`
	Sequence uint64    `json:"sequence"` // grows for ever, across restarts
	At       time.Time `json:"at"`       // by the vantage's own clock; for people
	Controls bool      `json:"controls"` // it could reach its controls, so its results count
	Results  []Result  `json:"results"`  // sorted by target
	Claims   []Claim   `json:"claims"`   // sorted by subject
	Texts    []Text    `json:"texts"`    // all that the vantage knows of, not only its own
	Acks     []Ack     `json:"acks"`     // likewise
	Silences []Silence `json:"silences"` // likewise
}

// Result is the state of one target as one vantage sees it.
type Result struct {
	Target string    `json:"target"`
	OK     bool      `json:"ok"`
	Streak int       `json:"streak"` // how many rounds in a row it was so
	Since  time.Time `json:"since"`  // when the streak began, by the vantage's clock
}

// Then is the result after one more round. A round in which the vantage could
// not reach its controls tells nothing: start again from a zero Result.
func (r Result) Then(ok bool, at time.Time) Result {
	if r.Streak == 0 || r.OK != ok {
		return Result{Target: r.Target, OK: ok, Streak: 1, Since: at}
	}
	r.Streak++
	return r
}

// Claim is the name that a vantage gave to an incident that is not over.
type Claim struct {
	Subject  string    `json:"subject"`
	Incident string    `json:"incident"`
	Since    time.Time `json:"since"`
	Flapping bool      `json:"flapping,omitempty"`
}

// Text is one attempt to send one message: the N-th that the vantage By made of
// the message that Incident, Kind and Admin name.
type Text struct {
	Incident string `json:"incident"`
	Kind     string `json:"kind"` // what it tells, such as "open"
	Admin    string `json:"admin"`
	By       string `json:"by"`
	N        int    `json:"n"`

	Provider string    `json:"provider"`
	State    State     `json:"state"`
	At       time.Time `json:"at"` // when it began, by the vantage's clock
	Receipt  string    `json:"receipt,omitempty"`
	Lead     string    `json:"lead,omitempty"` // the incident that it named, if it told of several at once or that has another name since
}

// Same says that both are news of one attempt.
func (t Text) Same(u Text) bool {
	return t.Incident == u.Incident && t.Kind == u.Kind && t.Admin == u.Admin && t.By == u.By && t.N == u.N
}

// State is how far an attempt is known to have come. A later state is the newer
// news, whoever tells it.
type State int

// The states, in the order in which they may follow one another.
const (
	Begun     State = iota // about to be sent, so perhaps it was
	Unclear                // sent, without a word on whether it was taken
	Refused                // not sent
	Accepted               // the provider has it
	Late                   // accepted, and still not delivered
	Lost                   // accepted, and not delivered
	Delivered              // the phone has it
	states                 // how many there are
)

func (s State) String() string {
	return [...]string{"begun", "unknown", "refused", "accepted", "late", "lost", "delivered"}[s]
}

// Ack is that somebody looks after an incident.
type Ack struct {
	Incident string    `json:"incident"`
	By       string    `json:"by"`              // admin
	At       time.Time `json:"at"`              // by the clock of the vantage that was told
	Phase    int       `json:"phase,omitempty"` // all-clears that had gone out before
}

// Silence is a decide.Silence that a vantage knows of.
type Silence = decide.Silence

// Why a message was refused.
var (
	ErrMalformed = errors.New("observe: malformed message")
	ErrUnknown   = errors.New("observe: unknown vantage")
	ErrForged    = errors.New("observe: wrong signature")
	ErrOld       = errors.New("observe: old sequence number")
)

// domain keeps a signature made for anything else from being taken for ours.
const domain = "protoplex observation 1\n"

// Seal gives the message to send: the JSON text, and the signature over these
// very bytes, so that nobody needs to agree on a canonical form. What Open would
// refuse is refused here with ErrMalformed: see Fit.
func Seal(o Observation, key ed25519.PrivateKey, maxBytes int) (body []byte, signature string, err error) {
	if err := o.bounded(); err != nil {
		return nil, "", err
	}
	body, err = json.Marshal(o)
	if err != nil {
		return nil, "", fmt.Errorf("observe: encode: %w", err)
	}
	if len(body) > maxBytes {
		return nil, "", fmt.Errorf("%w: %d bytes, more than %d", ErrMalformed, len(body), maxBytes)
	}
	return body, base64.StdEncoding.EncodeToString(ed25519.Sign(key, signed(body))), nil
}

// Open checks a message against the keys of the known vantages and decodes it.
// Unknown fields pass, so that vantages can be upgraded one by one.
func Open(body []byte, signature string, keys map[string]ed25519.PublicKey, maxBytes int) (Observation, error) {
	var o Observation
	if len(body) > maxBytes {
		return o, fmt.Errorf("%w: %d bytes, more than %d", ErrMalformed, len(body), maxBytes)
	}
	sig, err := base64.StdEncoding.DecodeString(signature)
	if err != nil || len(sig) != ed25519.SignatureSize {
		return o, fmt.Errorf("%w: signature is not base64 of %d bytes", ErrMalformed, ed25519.SignatureSize)
	}
	// The name must be read to find the key; nothing else is used before the check.
	var who struct {
		Vantage string `json:"vantage"`
	}
	if err := json.Unmarshal(body, &who); err != nil {
		return o, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	key, ok := keys[who.Vantage]
	if !ok {
		return o, ErrUnknown
	}
	if !ed25519.Verify(key, signed(body), sig) {
		return o, ErrForged
	}
	if err := json.Unmarshal(body, &o); err != nil {
		return Observation{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if err := o.bounded(); err != nil {
		return Observation{}, err
	}
	return o, nil
}

func signed(body []byte) []byte { return bytes.Join([][]byte{[]byte(domain), body}, nil) }
