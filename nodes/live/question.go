package live

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// longestWait bounds how long a poll waits, below the time for which clients and
// what is between keep a silent connection.
const longestWait = 50 * time.Second

// question is what a GET of a channel asks for.
type question struct {
	events   bool // a stream of events, else one answer
	position *Position
	wait     time.Duration
}

// parseQuestion reads a query and the headers beside it. The id of the last
// event comes before the query's position, for a browser that connects again
// repeats its first query. Parameters that it does not know are left alone.
func parseQuestion(query string, h http.Header) (question, error) {
	var q question
	values, err := url.ParseQuery(query)
	if err != nil {
		return q, errors.New("invalid query")
	}
	for _, name := range [...]string{"as", "position", "wait"} {
		if len(values[name]) > 1 {
			return q, errors.New(name + " is given twice")
		}
	}
	switch values.Get("as") {
	case "sse":
		q.events = true
	case "poll":
	case "":
		q.events = accepts(h.Values("Accept"), "text/event-stream")
	default:
		return q, errors.New(`as is neither "sse" nor "poll"`)
	}
	at := values.Get("position")
	if last := h.Values("Last-Event-ID"); len(last) > 1 {
		return q, errors.New("Last-Event-ID is given twice")
	} else if len(last) == 1 && last[0] != "" {
		at = last[0]
	}
	if at != "" {
		p, ok := parsePosition(at)
		if !ok {
			return q, errors.New("invalid position")
		}
		q.position = &p
	}
	if text := values.Get("wait"); text != "" {
		d, err := time.ParseDuration(text)
		if err != nil || d < 0 {
			return q, errors.New("invalid wait")
		}
		q.wait = min(d, longestWait)
	}
	return q, nil
}

// Wait gives for how long the answer to a GET of a channel may be held back, as
// its query asks.
func Wait(query string) time.Duration {
	q, err := parseQuestion(query, nil)
	if err != nil || q.events {
		return 0 // it is answered at once
	}
	return q.wait
}

// accepts reports whether a kind of content is named in Accept headers.
func accepts(values []string, kind string) bool {
	for _, v := range values {
		for part := range strings.SplitSeq(v, ",") {
			name, _, _ := strings.Cut(part, ";")
			if strings.EqualFold(strings.TrimSpace(name), kind) {
				return true
			}
		}
	}
	return false
}

// String gives the position as one word, incarnation:offset.
func (p Position) String() string {
	return p.Incarnation + ":" + strconv.FormatUint(p.Offset, 10)
}

// parsePosition reads what String gave. Whether there is such a place is for
// the channel to say.
func parsePosition(s string) (Position, bool) {
	incarnation, offset, _ := strings.Cut(s, ":")
	n, err := strconv.ParseUint(offset, 10, 64)
	p := Position{Incarnation: incarnation, Offset: n}
	// One way to write each: no plus sign, no leading zeros.
	return p, err == nil && ValidName(incarnation) && p.String() == s
}
