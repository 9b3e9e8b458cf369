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
	Unknown  Outcome = "unknown"  // it may have been sent
)

// Texter sends one message to one number in international form (+15551234567).
// The error explains any outcome but Accepted. Calls may overlap.
type Texter interface {
	Text(ctx context.Context, to, body string) (Outcome, error)
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

// Text implements Texter.
func (t *Twilio) Text(ctx context.Context, to, body string) (Outcome, error) {
	endpoint := strings.TrimSuffix(t.URL, "/") + "/2010-04-01/Accounts/" + url.PathEscape(t.Account) + "/Messages.json"
	form := url.Values{"To": {to}, "From": {t.From}, "Body": {body}}.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(form))
	if err != nil {
		return Refused, fmt.Errorf("twilio: %w", err)
	}
	req.SetBasicAuth(t.Account, t.Token)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	resp, err := t.HTTP.Do(req)
	if err != nil {
		return Unknown, fmt.Errorf("twilio: send: %w", err)
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
		return Unknown, fmt.Errorf("twilio: status %d", resp.StatusCode)
	case resp.StatusCode >= 300:
		return Refused, fmt.Errorf("twilio: status %d, code %d: %s", resp.StatusCode, answer.Code, answer.Message)
	case decodeErr != nil:
		return Unknown, fmt.Errorf("twilio: read answer: %w", decodeErr)
	case answer.SID == "":
		return Unknown, fmt.Errorf("twilio: answer without a message id")
	case answer.Status == "failed" || answer.Status == "undelivered" || answer.Status == "canceled":
		return Refused, fmt.Errorf("twilio: message is %s", answer.Status)
	}
	return Accepted, nil
}
