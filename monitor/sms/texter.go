// Package sms sends short messages to people and words them.
//
// It promises to tell apart a message that the provider accepted, one that it
// refused, and one of which nobody knows: the last may have been sent, and the
// caller decides whether to send it again. A text fits one GSM segment. Start
// at Texter.
package sms

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// Outcome is what is known of a message after sending it.
type Outcome string

// The outcomes.
const (
	Accepted Outcome = "accepted" // the provider will deliver it or knows why not
	Refused  Outcome = "refused"  // it was not sent
)

// Unknown is an Outcome, of a message that may have been sent, and a Delivery,
// of one of which the provider does not tell.
const Unknown = "unknown"

// Receipt is what a provider gave for a message.
type Receipt struct {
	Outcome Outcome
	ID      string // the provider's name for it, for Delivery; empty without one
}

// Delivery is what a provider knows of a message after it accepted it.
type Delivery string

// The deliveries.
const (
	Delivered Delivery = "delivered" // the phone has it
	Underway  Delivery = "underway"
	Failed    Delivery = "failed" // it will not arrive
)

// Texter sends one message to one number in international form (+15551234567).
// The error explains any outcome but Accepted. Calls may overlap.
type Texter interface {
	// Name is that of the provider.
	Name() string
	Text(ctx context.Context, to, body string) (Receipt, error)
	// Delivery asks after a message by the ID of its receipt.
	Delivery(ctx context.Context, id string) (Delivery, error)
}

// Twilio sends through Twilio's Programmable Messaging API, version 2010-04-01.
type Twilio struct {
	HTTP    *http.Client // through which all requests go
	URL     string       // https://api.twilio.com
	Account string       // account SID
	Token   string       // auth token
	From    string       // number or sender
}

var _ Texter = (*Twilio)(nil)

// Name implements Texter.
func (t *Twilio) Name() string { return "twilio" }

// Delivery implements Texter.
func (t *Twilio) Delivery(context.Context, string) (Delivery, error) { return Unknown, nil }

// Text implements Texter.
func (t *Twilio) Text(ctx context.Context, to, body string) (Receipt, error) {
	endpoint := strings.TrimSuffix(t.URL, "/") + "/2010-04-01/Accounts/" + url.PathEscape(t.Account) + "/Messages.json"
	form := url.Values{"To": {to}, "From": {t.From}, "Body": {body}}.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(form))
	if err != nil {
		return Receipt{Outcome: Refused}, fmt.Errorf("twilio: %w", err)
	}
	req.SetBasicAuth(t.Account, t.Token)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	resp, err := t.HTTP.Do(req)
	if err != nil {
		return Receipt{Outcome: Unknown}, fmt.Errorf("twilio: send: %w", err)
	}
	defer resp.Body.Close()
	var answer struct {
		SID     string `json:"sid"`
		Status  string `json:"status"`
		Code    int    `json:"code"`
		Message string `json:"message"`
	}
	decodeErr := json.NewDecoder(io.LimitReader(resp.Body, 64<<10)).Decode(&answer)
	switch {
	case resp.StatusCode == http.StatusRequestTimeout || resp.StatusCode >= 500:
		return Receipt{Outcome: Unknown}, fmt.Errorf("twilio: status %d", resp.StatusCode)
	case resp.StatusCode >= 300:
		return Receipt{Outcome: Refused}, fmt.Errorf("twilio: status %d, code %d: %s", resp.StatusCode, answer.Code, answer.Message)
	case decodeErr != nil:
		return Receipt{Outcome: Unknown}, fmt.Errorf("twilio: read answer: %w", decodeErr)
	case answer.SID == "":
		return Receipt{Outcome: Unknown}, fmt.Errorf("twilio: answer without a message id")
	case answer.Status == "failed" || answer.Status == "undelivered" || answer.Status == "canceled":
		return Receipt{Outcome: Refused}, fmt.Errorf("twilio: message is %s", answer.Status)
	}
	return Receipt{Accepted, answer.SID}, nil
}
