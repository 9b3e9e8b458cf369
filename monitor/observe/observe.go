// Package observe is how the vantages tell one another what they saw: one
// signed message a round, and a board that keeps the latest of each.
//
// It promises that a message on the board was made by the vantage that it
// names and is newer than the one it replaced. What may fail is all in Open
// and Board.Put: a forgery, a replay, a stranger, a message without bounds.
// Start at Observation.
package observe

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"time"
)

// Bounds of one message. They are far above what an honest vantage sends.
const (
	MaxBytes = 64 << 10
	maxItems = 512
	maxText  = 200
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
	Done     []string  `json:"done"`     // sorted keys of actions that were accepted
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

// Claim is the name that a vantage gave to an open incident.
type Claim struct {
	Subject  string    `json:"subject"`
	Incident string    `json:"incident"`
	Since    time.Time `json:"since"`
}

// Why a message was refused.
var (
	ErrMalformed = errors.New("observe: malformed message")
	ErrUnknown   = errors.New("observe: unknown vantage")
	ErrForged    = errors.New("observe: wrong signature")
	ErrOld       = errors.New("observe: old sequence number")
)

// incident is what the short name of one looks like.
var incident = regexp.MustCompile(`^[A-Z2-7]{1,16}$`)

// domain keeps a signature made for anything else from being taken for ours.
const domain = "protoplex observation 1\n"

// Seal gives the message to send: the JSON text, and the signature over these
// very bytes, so that nobody needs to agree on a canonical form.
func Seal(o Observation, key ed25519.PrivateKey) (body []byte, signature string, err error) {
	body, err = json.Marshal(o)
	if err != nil {
		return nil, "", fmt.Errorf("observe: encode: %w", err)
	}
	return body, base64.StdEncoding.EncodeToString(ed25519.Sign(key, signed(body))), nil
}

// Open checks a message against the keys of the known vantages and decodes it.
// Unknown fields pass, so that vantages can be upgraded one by one.
func Open(body []byte, signature string, keys map[string]ed25519.PublicKey) (Observation, error) {
	var o Observation
	if len(body) > MaxBytes {
		return o, fmt.Errorf("%w: %d bytes", ErrMalformed, len(body))
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

func (o Observation) bounded() error {
	if len(o.Results) > maxItems || len(o.Claims) > maxItems || len(o.Done) > maxItems {
		return fmt.Errorf("%w: too many items", ErrMalformed)
	}
	texts := append([]string{o.Vantage}, o.Done...)
	for _, r := range o.Results {
		if r.Streak < 0 {
			return fmt.Errorf("%w: negative streak", ErrMalformed)
		}
		texts = append(texts, r.Target)
	}
	for _, c := range o.Claims {
		texts = append(texts, c.Subject)
		if !incident.MatchString(c.Incident) {
			return fmt.Errorf("%w: incident %.20q", ErrMalformed, c.Incident)
		}
	}
	for _, t := range texts {
		if len(t) > maxText {
			return fmt.Errorf("%w: a text of %d bytes", ErrMalformed, len(t))
		}
	}
	return nil
}
