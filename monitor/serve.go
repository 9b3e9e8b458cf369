package monitor

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/espra/protoplex/monitor/home"
	"github.com/espra/protoplex/monitor/observe"
	"github.com/espra/protoplex/monitor/status"
)

// keepPeers is how long a peer's connection is kept from one round to the next.
const keepPeers = 30 * time.Second

// server answers peers and people: POST /observations, GET /status, GET /health,
// and the pages of package status.
func (v *vantage) server() *http.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /observations", v.receive)
	mux.HandleFunc("GET /status", v.status)
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok\n") })
	mux.Handle("GET /", status.Handler(v.m, v.shown))
	return &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      10 * time.Second,
		IdleTimeout:       keepPeers,
		MaxHeaderBytes:    16 << 10,
		TLSNextProto:      map[string]func(*http.Server, *tls.Conn, http.Handler){},
		ErrorLog:          slog.NewLogLogger(v.log.Handler(), slog.LevelDebug),
	}
}

func (v *vantage) receive(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, observe.MaxBytes))
	if err != nil {
		http.Error(w, "cannot read observation", http.StatusBadRequest)
		return
	}
	o, err := observe.Open(body, r.Header.Get(signatureHeader), v.keys)
	if err == nil {
		err = v.board.Put(o, v.m.Elapsed())
	}
	switch {
	case err == nil:
		w.WriteHeader(http.StatusNoContent)
		return
	case errors.Is(err, observe.ErrOld):
		http.Error(w, "old observation", http.StatusConflict)
	case errors.Is(err, observe.ErrUnknown), errors.Is(err, observe.ErrForged):
		http.Error(w, "not a known vantage", http.StatusForbidden)
	default:
		http.Error(w, "malformed observation", http.StatusBadRequest)
	}
	v.log.Debug("observation refused", "error", err)
}

// status tells a person or a program what this vantage believes.
func (v *vantage) status(w http.ResponseWriter, _ *http.Request) {
	type subject struct {
		Status   string  `json:"status"`
		Seconds  float64 `json:"seconds"` // in this status
		Votes    int     `json:"votes"`
		Incident string  `json:"incident,omitempty"`
		Flaps    int     `json:"flaps,omitempty"`
	}
	type other struct {
		Rank     int       `json:"rank"`
		Sequence uint64    `json:"sequence"`
		At       time.Time `json:"at"`
		Age      float64   `json:"age"` // seconds since it arrived
		Abstains bool      `json:"abstains"`
	}
	answer := struct {
		Vantage  string               `json:"vantage"`
		Now      time.Time            `json:"now"`
		Subjects map[string]subject   `json:"subjects"`
		Vantages map[string]other     `json:"vantages"`
		Homes    map[string]home.Home `json:"homes"`
		Settled  bool                 `json:"settled"` // every name server shows these homes
	}{v.cfg.Name, v.m.Now().UTC(), map[string]subject{}, map[string]other{}, map[string]home.Home{}, false}
	now := v.m.Elapsed()
	for _, e := range v.board.Latest() {
		answer.Vantages[e.Vantage] = other{v.ranks[e.Vantage], e.Sequence, e.At, (now - e.Arrived).Seconds(), !e.Controls}
	}
	v.mu.Lock()
	for name, s := range v.verdicts.Subjects {
		answer.Subjects[name] = subject{s.Status.String(), (now - s.Changed).Seconds(), s.Votes, s.Incident.ID, s.Flaps}
	}
	for host, h := range v.homes {
		answer.Homes[host] = h
	}
	answer.Settled = v.settled != "" && v.settled == fingerprint(v.homes)
	v.mu.Unlock()
	text, err := json.MarshalIndent(answer, "", "  ")
	if err != nil {
		http.Error(w, "cannot encode status", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(append(text, '\n'))
}

// changed notes that the state file is behind.
func (v *vantage) changed() {
	select {
	case v.unsaved <- struct{}{}:
	default:
	}
}

// save writes the state file if it is behind.
func (v *vantage) save() {
	select {
	case <-v.unsaved:
	default:
		return
	}
	floors := v.board.Floors()
	delete(floors, v.cfg.Name)
	v.mu.Lock()
	text, err := json.MarshalIndent(saved{v.sequence >> 24, floors, v.incidents, v.homes}, "", "  ")
	v.mu.Unlock()
	if err == nil {
		err = storeState(v.m.Disk(), v.cfg.State, text)
	}
	if err != nil {
		v.log.Error("state not saved", "error", err)
		v.changed()
	}
}
