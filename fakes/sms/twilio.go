package sms

import (
	"context"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/espra/protoplex/fakes/internal/serve"
	"github.com/espra/protoplex/nodes"
)

const (
	version     = "2010-04-01"
	maxBody     = 1600     // characters of one message, with either provider
	maxForm     = 64 << 10 // bytes of a request
	defaultPage = 50       // messages listed
	maxPage     = 1000     // messages listed
)

// TwilioOptions configure a Twilio.
type TwilioOptions struct {
	Account string   // SID of the one account
	Token   string   // its password
	From    []string // numbers it may send from; empty allows any
	Network
}

// Twilio is the messages resource of one account, as in Twilio's API 2010-04-01.
// Its messages move on until the context it was made with ends. It may be used
// concurrently.
type Twilio struct {
	options TwilioOptions
	network *network
	mux     *http.ServeMux
}

// NewTwilio makes a gateway whose deliveries end with ctx.
func NewTwilio(ctx context.Context, m nodes.Machine, o TwilioOptions) *Twilio {
	t := &Twilio{options: o, mux: http.NewServeMux(), network: &network{Network: o.Network, ctx: ctx, m: m, provider: "twilio"}}
	base := "/" + version + "/Accounts/{account}/"
	t.mux.HandleFunc("POST "+base+"Messages.json", t.create)
	t.mux.HandleFunc("GET "+base+"Messages.json", t.list)
	t.mux.HandleFunc("GET "+base+"Messages/{file}", t.fetch)
	t.mux.HandleFunc("/", notFound)
	return t
}

// ServeHTTP implements http.Handler.
func (t *Twilio) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	user, password, ok := r.BasicAuth()
	if !ok || t.options.Token == "" || !same(user, t.options.Account) || !same(password, t.options.Token) {
		t.Refuse(w, r, http.StatusUnauthorized)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		fail(w, http.StatusBadRequest, 20001, "The request could not be read")
		return
	}
	t.mux.ServeHTTP(w, r)
}

// Refuse implements faulty.API. Twilio's codes for what concerns no message in
// particular are 20000 and the status, but for who it does not know.
func (t *Twilio) Refuse(w http.ResponseWriter, _ *http.Request, status int) {
	if status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Basic realm="Twilio API"`)
		fail(w, status, 20003, "Authenticate")
		return
	}
	fail(w, status, 20000+status, http.StatusText(status))
}

func (t *Twilio) create(w http.ResponseWriter, r *http.Request) {
	if r.PathValue("account") != t.options.Account {
		notFound(w, r)
		return
	}
	form := r.PostForm
	msg := &message{from: form.Get("From"), to: form.Get("To"), body: form.Get("Body")}
	if code, text := t.refuse(msg); code != 0 {
		fail(w, http.StatusBadRequest, code, text)
		return
	}
	if slices.Contains(t.options.Unreachable, msg.to) {
		msg.fate = failure{30003, "Unreachable destination handset"}
	}
	name := func(b [16]byte) string { return "SM" + hex.EncodeToString(b[:]) }
	var out resource
	if err := t.network.accept(msg, name, func() { out = t.resource(msg) }); err != nil {
		t.Refuse(w, r, http.StatusTooManyRequests)
		return
	}
	serve.WriteJSON(w, http.StatusCreated, out)
}

// refuse gives Twilio's error code and text for a message that it would not
// take, or 0.
func (t *Twilio) refuse(m *message) (int, string) {
	switch {
	case m.to == "":
		return 21604, "A 'To' phone number is required."
	case m.from == "":
		return 21603, "A 'From' phone number is required."
	case !validNumber(m.to):
		return 21211, "Invalid 'To' Phone Number: " + m.to
	case !validNumber(m.from):
		return 21212, "Invalid From Number (caller ID): " + m.from
	case len(t.options.From) > 0 && !slices.Contains(t.options.From, m.from):
		return 21606, "The 'From' phone number provided (" + m.from + ") is not a valid message-capable Twilio phone number for this destination/account"
	case m.body == "":
		return 21602, "Message body is required."
	case utf8.RuneCountInString(m.body) > maxBody:
		return 21617, "The concatenated message body exceeds the " + strconv.Itoa(maxBody) + " character limit"
	case slices.Contains(t.options.OptedOut, m.to):
		return 21610, "Attempt to send to unsubscribed recipient"
	}
	return 0, ""
}

func (t *Twilio) fetch(w http.ResponseWriter, r *http.Request) {
	var out *resource
	t.network.newest(func(msg *message) bool {
		if r.PathValue("file") == msg.id+".json" {
			found := t.resource(msg)
			out = &found
		}
		return out == nil
	})
	if out == nil || r.PathValue("account") != t.options.Account {
		notFound(w, r)
		return
	}
	serve.WriteJSON(w, http.StatusOK, out)
}

// list gives a page of messages, newest first, of those asked for.
func (t *Twilio) list(w http.ResponseWriter, r *http.Request) {
	if r.PathValue("account") != t.options.Account {
		notFound(w, r)
		return
	}
	wanted, err := newFilter(r.Form)
	if err != nil {
		fail(w, http.StatusBadRequest, 20001, err.Error())
		return
	}
	size, page := defaultPage, 0
	if n, err := strconv.Atoi(r.Form.Get("PageSize")); err == nil && n > 0 {
		size = min(n, maxPage)
	}
	if n, err := strconv.Atoi(r.Form.Get("Page")); err == nil && n > 0 {
		page = min(n, maxMessages)
	}
	var all []resource
	t.network.newest(func(msg *message) bool {
		if wanted.has(msg) {
			all = append(all, t.resource(msg))
		}
		return true
	})
	from := min(page*size, len(all))
	to := min(from+size, len(all))

	link := func(n int) *string {
		q := url.Values{}
		for _, key := range filters {
			if v := r.Form.Get(key); v != "" {
				q.Set(key, v)
			}
		}
		q.Set("PageSize", strconv.Itoa(size))
		q.Set("Page", strconv.Itoa(n))
		s := r.URL.Path + "?" + q.Encode()
		return &s
	}
	out := listing{
		Messages: append([]resource{}, all[from:to]...), Page: page, PageSize: size, Start: from, End: max(to-1, from),
		URI: *link(page), FirstPage: *link(0),
	}
	if to < len(all) {
		out.NextPage = link(page + 1)
	}
	if page > 0 {
		out.PreviousPage = link(page - 1)
	}
	serve.WriteJSON(w, http.StatusOK, out)
}

// filters is read-only: what a list can be narrowed by.
var filters = []string{"To", "From", "DateSent", "DateSent<", "DateSent>"}

// filter tells which messages are wanted. What is zero does not matter.
type filter struct {
	to, from    string
	since, till time.Time
}

func newFilter(form url.Values) (filter, error) {
	f := filter{to: form.Get("To"), from: form.Get("From")}
	for _, key := range filters[2:] {
		text := form.Get(key)
		if text == "" {
			continue
		}
		at, span, err := instant(text)
		if err != nil {
			return filter{}, err
		}
		switch key {
		case "DateSent":
			f.since = at.UTC().Truncate(24 * time.Hour)
			f.till = f.since.Add(24 * time.Hour)
		case "DateSent<":
			f.till = at.Add(span)
		case "DateSent>":
			f.since = at
		}
	}
	return f, nil
}

// instant reads a time, or a whole day, and how long that lasts.
func instant(s string) (time.Time, time.Duration, error) {
	if t, err := time.Parse(time.DateOnly, s); err == nil {
		return t, 24 * time.Hour, nil
	}
	t, err := time.Parse(time.RFC3339, s)
	return t, time.Second, err
}

// has needs the network's mutex.
func (f filter) has(m *message) bool {
	switch {
	case f.to != "" && f.to != m.to, f.from != "" && f.from != m.from:
		return false
	case !f.since.IsZero() && (m.sent.IsZero() || m.sent.Before(f.since)):
		return false
	}
	return f.till.IsZero() || !m.sent.IsZero() && m.sent.Before(f.till)
}
