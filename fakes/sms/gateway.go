package sms

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/espra/protoplex/fakes/internal/serve"
	"github.com/espra/protoplex/nodes"
)

const (
	version     = "2010-04-01"
	maxBody     = 1600            // characters of one message
	maxForm     = 64 << 10        // bytes of a request
	maxMessages = 5000            // kept; the oldest are forgotten first
	maxMoving   = 1000            // accepted and not yet delivered
	sendAfter   = time.Second     // from queued to sent
	arriveAfter = 2 * time.Second // from sent to delivered
	dateFormat  = time.RFC1123Z   // as RFC 2822 wants it
	defaultPage = 50              // messages listed
	maxPage     = 1000            // messages listed
)

// Options configure a Gateway.
type Options struct {
	Account string   // SID of the one account
	Token   string   // its password
	From    []string // numbers it may send from; empty allows any
}

// Gateway is Twilio's messages resource of one account. Its messages move on
// until the context it was made with ends. It may be used concurrently.
type Gateway struct {
	ctx     context.Context
	m       nodes.Machine
	options Options
	mux     *http.ServeMux

	mu       sync.Mutex
	messages []*message // oldest first
	accepted uint64     // ever
	moving   int
}

// message is guarded by the Gateway's mutex.
type message struct {
	sid, from, to, body    string
	status                 string
	created, updated, sent time.Time
}

// NewGateway makes a gateway whose deliveries end with ctx.
func NewGateway(ctx context.Context, m nodes.Machine, o Options) *Gateway {
	g := &Gateway{ctx: ctx, m: m, options: o, mux: http.NewServeMux()}
	base := "/" + version + "/Accounts/{account}/"
	g.mux.HandleFunc("POST "+base+"Messages.json", g.create)
	g.mux.HandleFunc("GET "+base+"Messages.json", g.list)
	g.mux.HandleFunc("GET "+base+"Messages/{file}", g.fetch)
	g.mux.HandleFunc("/", notFound)
	return g
}

// ServeHTTP implements http.Handler.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	user, password, ok := r.BasicAuth()
	if !ok || g.options.Token == "" || user != g.options.Account || password != g.options.Token {
		w.Header().Set("WWW-Authenticate", `Basic realm="Twilio API"`)
		fail(w, http.StatusUnauthorized, 20003, "Authenticate")
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		fail(w, http.StatusBadRequest, 20001, "The request could not be read")
		return
	}
	g.mux.ServeHTTP(w, r)
}

func (g *Gateway) create(w http.ResponseWriter, r *http.Request) {
	if r.PathValue("account") != g.options.Account {
		notFound(w, r)
		return
	}
	form := r.PostForm
	msg := &message{from: form.Get("From"), to: form.Get("To"), body: form.Get("Body"), status: "queued"}
	if code, text := g.refuse(msg); code != 0 {
		fail(w, http.StatusBadRequest, code, text)
		return
	}
	out, err := g.accept(msg)
	if err != nil {
		fail(w, http.StatusTooManyRequests, 20429, "Too Many Requests")
		return
	}
	serve.WriteJSON(w, http.StatusCreated, out)
}

// refuse gives Twilio's error code and text for a message that it would not
// take, or 0.
func (g *Gateway) refuse(m *message) (int, string) {
	switch {
	case m.to == "":
		return 21604, "A 'To' phone number is required."
	case m.from == "":
		return 21603, "A 'From' phone number is required."
	case !validNumber(m.to):
		return 21211, "Invalid 'To' Phone Number: " + m.to
	case !validNumber(m.from):
		return 21212, "Invalid From Number (caller ID): " + m.from
	case len(g.options.From) > 0 && !slices.Contains(g.options.From, m.from):
		return 21606, "The 'From' phone number provided (" + m.from + ") is not a valid message-capable Twilio phone number for this destination/account"
	case m.body == "":
		return 21602, "Message body is required."
	case utf8.RuneCountInString(m.body) > maxBody:
		return 21617, "The concatenated message body exceeds the " + strconv.Itoa(maxBody) + " character limit"
	}
	return 0, ""
}

// validNumber tells whether s is a phone number as E.164 writes it.
func validNumber(s string) bool {
	if len(s) < 8 || len(s) > 16 || s[0] != '+' || s[1] == '0' {
		return false
	}
	for _, c := range []byte(s[1:]) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

var errBusy = errors.New("too many messages are on their way")

// accept stores a message, sends it on its way, and gives it as it is now.
func (g *Gateway) accept(msg *message) (resource, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.moving >= maxMoving {
		return resource{}, errBusy
	}
	g.moving++
	g.accepted++
	msg.sid = newSID(g.m, g.accepted)
	msg.created = g.m.Now()
	msg.updated = msg.created
	if g.messages = append(g.messages, msg); len(g.messages) > maxMessages {
		g.messages = slices.Delete(g.messages, 0, len(g.messages)-maxMessages)
	}
	g.m.Log().Info("sms accepted", "to", msg.to, "from", msg.from, "body", msg.body, "sid", msg.sid)
	go g.deliver(msg)
	return g.resource(msg), nil
}

// newSID makes the n-th message id.
func newSID(m nodes.Machine, n uint64) string {
	hash := sha256.Sum256(binary.BigEndian.AppendUint64(nil, m.Rand("sms sid", n)))
	return "SM" + hex.EncodeToString(hash[:16])
}

// deliver moves a message on. The texts and ids in it never change, so they are
// read without the mutex.
func (g *Gateway) deliver(msg *message) {
	defer g.landed()
	if nodes.Sleep(g.ctx, g.m, "send "+msg.sid, sendAfter) != nil {
		return
	}
	g.move(msg, "sent")
	if nodes.Sleep(g.ctx, g.m, "deliver "+msg.sid, arriveAfter) != nil {
		return
	}
	g.move(msg, "delivered")
	g.m.Log().Info("sms delivered", "to", msg.to, "sid", msg.sid)
}

func (g *Gateway) landed() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.moving--
}

func (g *Gateway) move(msg *message, status string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	msg.status, msg.updated = status, g.m.Now()
	if status == "sent" {
		msg.sent = msg.updated
	}
}

func (g *Gateway) fetch(w http.ResponseWriter, r *http.Request) {
	out, ok := g.find(r.PathValue("file"))
	if !ok || r.PathValue("account") != g.options.Account {
		notFound(w, r)
		return
	}
	serve.WriteJSON(w, http.StatusOK, out)
}

func (g *Gateway) find(file string) (resource, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, msg := range g.messages {
		if file == msg.sid+".json" {
			return g.resource(msg), true
		}
	}
	return resource{}, false
}

// list gives a page of messages, newest first, to or from a number if asked.
func (g *Gateway) list(w http.ResponseWriter, r *http.Request) {
	if r.PathValue("account") != g.options.Account {
		notFound(w, r)
		return
	}
	size, page := defaultPage, 0
	if n, err := strconv.Atoi(r.Form.Get("PageSize")); err == nil && n > 0 {
		size = min(n, maxPage)
	}
	if n, err := strconv.Atoi(r.Form.Get("Page")); err == nil && n > 0 {
		page = min(n, maxMessages)
	}
	all := g.matching(r.Form.Get("To"), r.Form.Get("From"))
	from := min(page*size, len(all))
	to := min(from+size, len(all))

	link := func(n int) *string {
		q := url.Values{}
		for _, k := range []string{"To", "From"} {
			if v := r.Form.Get(k); v != "" {
				q.Set(k, v)
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

func (g *Gateway) matching(to, from string) []resource {
	g.mu.Lock()
	defer g.mu.Unlock()
	var out []resource
	for _, msg := range slices.Backward(g.messages) {
		if (to == "" || to == msg.to) && (from == "" || from == msg.from) {
			out = append(out, g.resource(msg))
		}
	}
	return out
}
