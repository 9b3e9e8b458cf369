package sms

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Twilio sends through Twilio's Programmable Messaging API, version 2010-04-01,
// the resource Message.
type Twilio struct {
	HTTP    *http.Client // through which all requests go
	URL     string       // https://api.twilio.com
	Account string       // account SID
	Token   string       // auth token
	From    string       // number or sender
}

var _ Texter = (*Twilio)(nil)

// twilioMessage is what of an answer matters: a message, or an error.
type twilioMessage struct {
	SID          string `json:"sid"`
	Status       string `json:"status"`
	ErrorCode    int    `json:"error_code"`
	ErrorMessage string `json:"error_message"`
}

type twilioError struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

// Name implements Texter.
func (t *Twilio) Name() string { return "twilio" }

// Text implements Texter.
func (t *Twilio) Text(ctx context.Context, to, body string) (Receipt, error) {
	form := url.Values{"To": {to}, "From": {t.From}, "Body": {body}}.Encode()
	status, answer, err := t.call(ctx, http.MethodPost, "Messages.json", form)
	if err != nil {
		return Receipt{Outcome: Unknown}, fmt.Errorf("twilio: send: %w", err)
	}
	switch {
	case status == http.StatusRequestTimeout || status >= 500:
		return Receipt{Outcome: Unknown}, refusal(status, answer)
	case status >= 300:
		return Receipt{Outcome: Refused}, refusal(status, answer)
	}
	var m twilioMessage
	if err := json.Unmarshal(answer, &m); err != nil {
		return Receipt{Outcome: Unknown}, fmt.Errorf("twilio: read answer: %w", err)
	}
	if m.SID == "" {
		return Receipt{Outcome: Unknown}, fmt.Errorf("twilio: answer without a message id")
	}
	if d, err := m.delivery(); d == Failed {
		return Receipt{Outcome: Refused}, err
	}
	return Receipt{Outcome: Accepted, ID: m.SID}, nil
}

// Delivery implements Texter. Where a network gives no receipts, what arrived
// stays Underway.
func (t *Twilio) Delivery(ctx context.Context, id string) (Delivery, error) {
	status, answer, err := t.call(ctx, http.MethodGet, "Messages/"+url.PathEscape(id)+".json", "")
	if err != nil {
		return Unknown, fmt.Errorf("twilio: look up %s: %w", id, err)
	}
	if status != http.StatusOK {
		return Unknown, refusal(status, answer)
	}
	var m twilioMessage
	if err := json.Unmarshal(answer, &m); err != nil {
		return Unknown, fmt.Errorf("twilio: read answer: %w", err)
	}
	return m.delivery()
}

const (
	findPage = 100             // messages looked at
	findSlop = 5 * time.Minute // between the clocks of Twilio and of this machine
)

// Find implements Texter. Twilio lists the newest messages first; one that it
// took may have words of Twilio's before its own, as on a trial account.
func (t *Twilio) Find(ctx context.Context, to, body string, at time.Time) (Receipt, error) {
	query := url.Values{"To": {to}, "PageSize": {strconv.Itoa(findPage)}}.Encode()
	status, answer, err := t.call(ctx, http.MethodGet, "Messages.json?"+query, "")
	if err != nil {
		return Receipt{Outcome: Unknown}, fmt.Errorf("twilio: list messages: %w", err)
	}
	if status != http.StatusOK {
		return Receipt{Outcome: Unknown}, refusal(status, answer)
	}
	var list struct {
		Messages *[]struct {
			twilioMessage
			Body    string `json:"body"`
			Created string `json:"date_created"`
		} `json:"messages"`
	}
	if err := json.Unmarshal(answer, &list); err != nil || list.Messages == nil {
		return Receipt{Outcome: Unknown}, fmt.Errorf("twilio: list messages: %w", cmp.Or(err, errors.New("there is no list")))
	}
	for _, m := range *list.Messages {
		created, err := time.Parse(time.RFC1123Z, m.Created)
		if err != nil {
			return Receipt{Outcome: Unknown}, fmt.Errorf("twilio: list messages: %w", err)
		}
		if created.Before(at.Add(-findSlop)) {
			return Receipt{Outcome: Refused}, nil
		}
		if m.SID != "" && strings.HasSuffix(m.Body, body) {
			return Receipt{Outcome: Accepted, ID: m.SID}, nil
		}
	}
	if len(*list.Messages) >= findPage {
		return Receipt{Outcome: Unknown}, fmt.Errorf("twilio: list messages: more than %d since then", findPage)
	}
	return Receipt{Outcome: Refused}, nil
}

// delivery reads a status. What is not known here is Unknown.
func (m *twilioMessage) delivery() (Delivery, error) {
	switch m.Status {
	case "accepted", "scheduled", "queued", "sending", "sent":
		return Underway, nil
	case "delivered", "read":
		return Delivered, nil
	case "undelivered", "failed", "canceled":
		reason := ""
		if m.ErrorCode != 0 {
			reason = strings.TrimSuffix(fmt.Sprintf(", code %d: %s", m.ErrorCode, m.ErrorMessage), ": ")
		}
		return Failed, fmt.Errorf("twilio: message is %s%s", m.Status, reason)
	}
	return Unknown, fmt.Errorf("twilio: message has the status %.40q", m.Status)
}

func refusal(status int, answer []byte) error {
	var e twilioError
	if json.Unmarshal(answer, &e) != nil || e.Code == 0 {
		return fmt.Errorf("twilio: status %d", status)
	}
	return fmt.Errorf("twilio: status %d, code %d: %s", status, e.Code, e.Message)
}

// call makes one request of the account's. The error is of the network; an
// answer that is cut short is given as far as it goes.
func (t *Twilio) call(ctx context.Context, method, path, form string) (status int, answer []byte, err error) {
	endpoint := strings.TrimSuffix(t.URL, "/") + "/2010-04-01/Accounts/" + url.PathEscape(t.Account) + "/" + path
	req, err := http.NewRequestWithContext(ctx, method, endpoint, strings.NewReader(form))
	if err != nil {
		return 0, nil, err
	}
	req.SetBasicAuth(t.Account, t.Token)
	req.Header.Set("Accept", "application/json")
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := t.HTTP.Do(req)
	if failed := (*url.Error)(nil); errors.As(err, &failed) {
		err = failed.Err // without the address, which names the account
	}
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil && resp.StatusCode < 300 {
		return 0, nil, fmt.Errorf("read answer: %w", err)
	}
	return resp.StatusCode, answer, nil
}
