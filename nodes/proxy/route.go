package proxy

import (
	"fmt"
	"html"
	"slices"
	"strings"
	"time"

	"github.com/espra/protoplex/nodes/live"
)

// destination is where a request goes: to the owner of a key, or nowhere, and
// then the answer is given here.
type destination struct {
	key   string
	wait  time.Duration // for which the node may hold its answer back
	local *local
}

// local is an answer of the proxy itself.
type local struct {
	status  int
	kind    string // media type; empty is plain text
	body    string
	headers []field
}

func text(status int, body string, headers ...field) *local {
	return &local{status: status, body: body + "\n", headers: headers}
}

// retryAfter is read-only.
var retryAfter = field{"Retry-After", "1"}

// route decides about a request that came over TLS or not.
func (s *server) route(r *request, secure bool) destination {
	isLive := slices.Contains(s.o.hosts, r.host)
	isWWW := s.o.www != "" && r.host == s.o.www
	switch {
	case r.path() == "/health":
		return destination{local: s.health()}
	case !isLive && !isWWW:
		return destination{local: text(421, "this host is not served here")}
	case !secure && !s.o.allowPlain:
		return destination{local: text(308, "use https", field{"Location", "https://" + r.host + r.target})}
	case isWWW:
		return destination{local: s.page(r)}
	}
	rest, ok := strings.CutPrefix(r.path(), "/live/")
	if !ok {
		return destination{local: text(404, "nothing is here")}
	}
	key, channel, hasChannel := strings.Cut(rest, "/")
	if !live.ValidName(key) || hasChannel && !live.ValidName(channel) {
		return destination{local: text(400, "invalid key or channel")}
	}
	d := destination{key: r.host + "/" + key}
	if _, query, _ := strings.Cut(r.target, "?"); hasChannel && r.method == "GET" {
		d.wait = live.Wait(query)
	}
	return d
}

func (s *server) health() *local {
	noStore := field{"Cache-Control", "no-store"}
	if !s.drain.Healthy() {
		return text(503, "draining", noStore)
	}
	if s.o.cell.Joined() && s.table.Current().Epoch == 0 {
		return text(503, "no table yet", noStore) // others may have one
	}
	return text(200, "ok", noStore)
}

// page is all there is of the www host for now.
func (s *server) page(r *request) *local {
	if r.method != "GET" && r.method != "HEAD" {
		return text(405, "only GET and HEAD", field{"Allow", "GET, HEAD"})
	}
	status, line := 200, "Espra is up."
	if path := r.path(); path != "/" && path != "/index.html" {
		status, line = 404, "There is no such page."
	}
	return &local{
		status:  status,
		kind:    "text/html; charset=utf-8",
		headers: []field{{"Cache-Control", "public, max-age=60"}},
		body: fmt.Sprintf("<!doctype html>\n<html lang=en>\n<meta charset=utf-8>\n<title>%s</title>\n<h1>%[1]s</h1>\n<p>%s\n",
			html.EscapeString(s.o.www), line),
	}
}
