// Package sms sends short messages to people, through Twilio or Amazon SNS, and
// words them.
//
// It promises to tell apart a message that the provider accepted, one that it
// refused, and one of which nobody knows: the last may have been sent, and the
// caller decides whether to send it again, or elsewhere. Nothing is ever sent
// twice on its own account. A text that an Alert words fits one GSM segment.
// Providers may be slow, unreachable or wrong; whatever they answer is bounded.
//
// The suite in package smstest holds every Texter to its contract. Start
// reading at Texter, then New.
package sms

import (
	"context"
	"time"
)

// Outcome is what is known of a message after sending it.
type Outcome string

// The outcomes.
const (
	// Accepted is a message that the provider took upon itself to deliver. It
	// has not arrived yet, and perhaps never will: see Texter.Delivery.
	Accepted Outcome = "accepted"
	// Refused is a message that was not sent and will not be. Another provider
	// may take it at once; the same one only when what the error names has
	// changed, such as a number, a rate or a budget.
	Refused Outcome = "refused"
)

// Delivery is how far a message got that a provider accepted.
type Delivery string

// The deliveries.
const (
	Delivered Delivery = "delivered" // it is on the phone
	Underway  Delivery = "underway"  // ask again
	Failed    Delivery = "failed"    // it is not and will not be on the phone
)

// Unknown is both an Outcome, of a message that may have been sent, and a
// Delivery, of one that may have arrived. Sending it again may make it two; see
// Texter.Find first.
const Unknown = "unknown"

// Receipt is what a provider gives for a message.
type Receipt struct {
	Outcome Outcome
	ID      string // the provider's name for the message; only with Accepted
}

// Texter sends messages through one account at one provider. It may be used
// concurrently, and each call has the time that its context has.
type Texter interface {
	// Name is that of the provider, and for SNS of the region too, as in
	// "sns-eu-west-1".
	Name() string

	// Text sends body to one number in international form (+15551234567). It is
	// not idempotent: called twice, it sends twice, and it never tries a second
	// time by itself. The error explains any outcome but Accepted.
	Text(ctx context.Context, to, body string) (Receipt, error)

	// Delivery asks how far the message got whose Receipt has the id. It changes
	// nothing. The error explains Failed, with the provider's reason, and Unknown;
	// Delivered and Failed are for good.
	Delivery(ctx context.Context, id string) (Delivery, error)

	// Find asks what became of a message that Text left Unknown, when that was
	// called at a time: Accepted, with its id, if the provider took it; Refused if it
	// did not; Unknown, with an error, if that cannot be told. It changes nothing.
	// Providers list what they took with a delay of some seconds.
	Find(ctx context.Context, to, body string, at time.Time) (Receipt, error)
}

// maxAnswer bounds what is read of a provider's answer.
const maxAnswer = 64 << 10
