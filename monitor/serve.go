package monitor

import (
	"cmp"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/espra/protoplex/monitor/decide"
	"github.com/espra/protoplex/monitor/home"
	"github.com/espra/protoplex/monitor/observe"
)

// keepPeers is how long a peer's connection is kept from one round to the next.
const keepPeers = 30 * time.Second

// server answers peers and people: POST /observations and /commands, GET /status,
// GET /health, the pages of package status, and those behind the links of texts
// under /i/.
func (v *vantage) server() *http.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /observations", v.receive)
	mux.HandleFunc("POST /commands", v.command)
	mux.HandleFunc("GET /status", v.status)
	mux.HandleFunc("GET /i/{link}", func(w http.ResponseWriter, r *http.Request) {
		// A link of a text has a token behind the incident's name.
		if v.secret != nil && strings.Contains(r.PathValue("link"), "-") {
			v.look(w, r)
			return
		}
		v.pages.ServeHTTP(w, r)
	})
	mux.HandleFunc("POST /i/{link}", v.agree)
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok\n") })
	mux.Handle("GET /", v.pages)
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
	most := v.cfg.maxMessage()
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, int64(most)))
	if err != nil {
		http.Error(w, "cannot read observation", http.StatusBadRequest)
		return
	}
	o, err := observe.Open(body, r.Header.Get(signatureHeader), v.keys, most)
	if err == nil {
		err = v.board.Put(o, v.m.Elapsed())
	}
	switch {
	case err == nil:
		w.WriteHeader(http.StatusNoContent)
		return
	case errors.Is(err, observe.ErrOld):
		// A vantage that came back from an old copy of its disk, with a clock to
		// match, must learn how far it was.
		w.Header().Set(sequenceHeader, strconv.FormatUint(v.board.Floors()[o.Vantage], 10))
		http.Error(w, "old observation", http.StatusConflict)
	case errors.Is(err, observe.ErrUnknown), errors.Is(err, observe.ErrForged):
		http.Error(w, "not a known vantage", http.StatusForbidden)
	default:
		http.Error(w, "malformed observation", http.StatusBadRequest)
	}
	v.log.Debug("observation refused", "error", err)
}

// Status is what GET /status tells: what one vantage believes. People are named to
// whoever signs the question with the secret, as [Client] does, and to nobody else.
type Status struct {
	Vantage   string                   `json:"vantage"`
	Now       time.Time                `json:"now"`
	Subjects  map[string]SubjectStatus `json:"subjects"`
	Vantages  map[string]VantageStatus `json:"vantages"`
	Incidents []IncidentStatus         `json:"incidents"` // oldest first, those that are over last
	Silences  []decide.Silence         `json:"silences"`
	Homes     map[string]home.Home     `json:"homes"`
	Settled   bool                     `json:"settled"`         // every name server shows these homes
	Stuck     string                   `json:"stuck,omitempty"` // why homes that should move cannot
}

// SubjectStatus is the verdict on one region, target or vantage.
type SubjectStatus struct {
	Status   string  `json:"status"`
	Seconds  float64 `json:"seconds"` // in this status
	Votes    int     `json:"votes"`
	Incident string  `json:"incident,omitempty"`
	Flapping bool    `json:"flapping,omitempty"`
	Folded   bool    `json:"folded,omitempty"` // a greater incident tells of it, or may yet
}

// VantageStatus is how a vantage was last heard of.
type VantageStatus struct {
	Rank     int       `json:"rank"`
	Sequence uint64    `json:"sequence"`
	At       time.Time `json:"at"`  // by its clock
	Age      float64   `json:"age"` // seconds since it arrived
	Abstains bool      `json:"abstains"`
}

// IncidentStatus is an incident with its story.
type IncidentStatus struct {
	ID           string    `json:"id"`
	Subject      string    `json:"subject"`
	State        string    `json:"state"` // down, flapping, "up, and not over", over
	Since        time.Time `json:"since"`
	Ended        time.Time `json:"ended,omitzero"`
	Acknowledged string    `json:"acknowledged,omitempty"` // by whom; "an admin" for strangers
	Timeline     []Moment  `json:"timeline"`
}

// statusQuestion is what is signed to be shown names.
const statusQuestion = "GET /status"

// status serves GET /status.
func (v *vantage) status(w http.ResponseWriter, r *http.Request) {
	named := v.secret.signed([]byte(statusQuestion), r.Header.Get(commandHeader))
	answer := Status{
		Vantage: v.cfg.Name, Now: v.m.Now().UTC(),
		Subjects: map[string]SubjectStatus{}, Vantages: map[string]VantageStatus{}, Homes: map[string]home.Home{},
		Incidents: []IncidentStatus{}, Silences: []decide.Silence{},
	}
	now := v.m.Elapsed()
	for _, e := range v.board.Latest() {
		answer.Vantages[e.Vantage] = VantageStatus{v.ranks[e.Vantage], e.Sequence, e.At, (now - e.Arrived).Seconds(), !e.Controls}
	}
	v.mu.Lock()
	for name, s := range v.verdicts.Subjects {
		if v.neverWrong(name) {
			continue
		}
		seconds := (now - s.Changed).Seconds()
		if s.Status == decide.Unknown {
			seconds = (now - v.started).Seconds()
		}
		answer.Subjects[name] = SubjectStatus{s.Status.String(), seconds, s.Votes, s.Incident.ID, s.Flapping, s.Folded}
	}
	add := func(i *Incident) {
		answer.Incidents = append(answer.Incidents, IncidentStatus{i.ID, i.Subject, i.state(), i.Since, i.Ended, someone(i.acknowledged(), named), i.Timeline(named)})
	}
	for _, subject := range v.subjects() {
		add(v.incidents[subject])
	}
	for _, i := range v.past {
		add(i)
	}
	for _, s := range v.silences {
		if s.Until.After(answer.Now) {
			answer.Silences = append(answer.Silences, s)
		}
	}
	for host, h := range v.homes {
		answer.Homes[host] = h
	}
	answer.Settled, answer.Stuck = v.settled != "" && v.settled == fingerprint(v.homes), v.stuck
	v.mu.Unlock()
	slices.SortStableFunc(answer.Incidents, func(a, b IncidentStatus) int {
		over := func(i IncidentStatus) int {
			if i.State == "over" {
				return 1
			}
			return 0
		}
		return cmp.Or(over(a)-over(b), a.Since.Compare(b.Since), cmp.Compare(a.ID, b.ID))
	})
	text, err := json.MarshalIndent(answer, "", "  ")
	if err != nil {
		http.Error(w, "cannot encode status", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(append(text, '\n'))
}
