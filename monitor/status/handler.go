package status

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/espra/protoplex/nodes"
)

// hold is how long an answer serves all who ask: during an outage many do.
const hold = time.Second

// Handler serves GET / and /status.json, and /i/ID for one incident, which is
// where messages lead. "/?refresh" asks for itself again every half minute.
// The page is asked for at most once a second; it must not wait, and not be
// changed afterwards. The handler may be mounted at any path that the caller
// strips.
func Handler(m nodes.Machine, page func() Page) *Pages {
	s := &Pages{m: m, page: page}
	sum := sha256.Sum256([]byte(style()))
	s.policy = "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.index)
	mux.HandleFunc("GET /status.json", s.json)
	mux.HandleFunc("GET /i/{id}", s.incident)
	s.mux = mux
	return s
}

// Pages answers people and their programs. It may be used concurrently.
type Pages struct {
	m      nodes.Machine
	page   func() Page
	policy string
	mux    *http.ServeMux

	mu      sync.Mutex // nothing waits while holding it
	current Page
	at      time.Duration
	known   bool
	answers map[string]answer // to the current page, by path
}

// answer is a body as it is and, unless it is for one reader, compressed.
type answer struct{ plain, packed []byte }

// now gives the current page. The caller holds mu.
func (s *Pages) now() Page {
	if at := s.m.Elapsed(); !s.known || at-s.at >= hold {
		s.current, s.at, s.known, s.answers = s.page(), at, true, map[string]answer{}
	}
	return s.current
}

// answer renders the current page, or gives what was rendered of it.
func (s *Pages) answer(path string, render func(Page) ([]byte, error)) (answer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	page := s.now()
	if a, ok := s.answers[path]; ok {
		return a, nil
	}
	body, err := render(page)
	if err != nil {
		return answer{}, err
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, err = z.Write(body)
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		return answer{}, fmt.Errorf("compress: %w", err)
	}
	a := answer{body, packed.Bytes()}
	s.answers[path] = a
	return a, nil
}

func (s *Pages) index(w http.ResponseWriter, r *http.Request) {
	path, refresh := "/", r.URL.Query().Has("refresh")
	if refresh {
		path = "/?refresh"
	}
	a, err := s.answer(path, func(p Page) ([]byte, error) { return render(view{Page: p, Root: ".", Refresh: refresh}) })
	s.send(w, r, http.StatusOK, "text/html; charset=utf-8", a, err)
}

func (s *Pages) json(w http.ResponseWriter, r *http.Request) {
	a, err := s.answer("/status.json", Page.JSON)
	w.Header().Set("Access-Control-Allow-Origin", "*") // it is for everybody's programs
	s.send(w, r, http.StatusOK, "application/json", a, err)
}

// maxID bounds what may be the id of an incident.
const maxID = 16

func (s *Pages) incident(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	if len(id) > maxID {
		id = "" // none is as long
	}
	s.mu.Lock()
	found := s.now().incident(id)
	s.mu.Unlock()
	status, path := http.StatusOK, "/i/"
	if found == nil {
		// All that are not known get one answer, or strangers would fill the memory.
		status = http.StatusNotFound
	} else {
		path += found.ID
	}
	a, err := s.answer(path, func(p Page) ([]byte, error) {
		v := view{Page: p, Root: "..", Missing: "this"}
		if found != nil {
			v.One = p.incident(found.ID)
			v.Missing = ""
		}
		return render(v)
	})
	s.send(w, r, status, "text/html; charset=utf-8", a, err)
}

// ServeHTTP implements http.Handler.
func (s *Pages) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// Ask answers with the page of one incident of p as it is now, and a form on it
// for whoever takes the incident up. The code is the answer's status.
func (s *Pages) Ask(w http.ResponseWriter, r *http.Request, code int, p Page, id string, form Form) {
	v := view{Page: p, Root: "..", One: p.incident(id), Form: &form}
	if v.One == nil {
		code, v.Missing, v.Form = http.StatusNotFound, "this", nil
	}
	body, err := render(v)
	s.send(w, r, code, "text/html; charset=utf-8", answer{plain: body}, err)
}

func (s *Pages) send(w http.ResponseWriter, r *http.Request, status int, kind string, a answer, err error) {
	if err != nil {
		s.m.Log().Error("status not shown", "error", err)
		http.Error(w, "cannot show status", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", kind)
	h.Set("Content-Security-Policy", s.policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	h.Set("Vary", "Accept-Encoding")
	body := a.plain
	if a.packed != nil && strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		body = a.packed
	}
	w.WriteHeader(status)
	_, _ = w.Write(body) // who does not read it does not want it
}
