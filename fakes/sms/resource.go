package sms

import (
	"crypto/subtle"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/espra/protoplex/fakes/internal/serve"
)

const dateFormat = time.RFC1123Z // as RFC 2822 wants it

// resource is a message as the API shows it.
type resource struct {
	SID             string            `json:"sid"`
	AccountSID      string            `json:"account_sid"`
	From            string            `json:"from"`
	To              string            `json:"to"`
	Body            string            `json:"body"`
	Status          string            `json:"status"`
	Direction       string            `json:"direction"`
	NumSegments     string            `json:"num_segments"`
	NumMedia        string            `json:"num_media"`
	APIVersion      string            `json:"api_version"`
	DateCreated     string            `json:"date_created"`
	DateUpdated     string            `json:"date_updated"`
	DateSent        *string           `json:"date_sent"`
	ErrorCode       *int              `json:"error_code"`
	ErrorMessage    *string           `json:"error_message"`
	Price           *string           `json:"price"`
	PriceUnit       string            `json:"price_unit"`
	URI             string            `json:"uri"`
	SubresourceURIs map[string]string `json:"subresource_uris"`
}

type listing struct {
	Messages     []resource `json:"messages"`
	Page         int        `json:"page"`
	PageSize     int        `json:"page_size"`
	Start        int        `json:"start"`
	End          int        `json:"end"`
	URI          string     `json:"uri"`
	FirstPage    string     `json:"first_page_uri"`
	NextPage     *string    `json:"next_page_uri"`
	PreviousPage *string    `json:"previous_page_uri"`
}

// resource needs the network's mutex.
func (t *Twilio) resource(m *message) resource {
	date := func(at time.Time) string { return at.UTC().Format(dateFormat) }
	uri := "/" + version + "/Accounts/" + t.options.Account + "/Messages/" + m.id
	out := resource{
		SID: m.id, AccountSID: t.options.Account, From: m.from, To: m.to, Body: m.body, Status: m.status,
		Direction: "outbound-api", NumSegments: strconv.Itoa(Segments(m.body)), NumMedia: "0", APIVersion: version,
		DateCreated: date(m.created), DateUpdated: date(m.updated), PriceUnit: "USD",
		URI: uri + ".json", SubresourceURIs: map[string]string{"media": uri + "/Media.json"},
	}
	if !m.sent.IsZero() {
		sent := date(m.sent)
		out.DateSent = &sent
	}
	if m.status == "undelivered" {
		out.ErrorCode, out.ErrorMessage = &m.fate.code, &m.fate.reason
	}
	return out
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

func fail(w http.ResponseWriter, status, code int, text string) {
	serve.WriteJSON(w, status, map[string]any{
		"code": code, "message": text, "more_info": fmt.Sprintf("https://www.twilio.com/docs/errors/%d", code), "status": status,
	})
}

func notFound(w http.ResponseWriter, r *http.Request) {
	fail(w, http.StatusNotFound, 20404, "The requested resource "+r.URL.Path+" was not found")
}
