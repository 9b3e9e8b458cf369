package monitor

import (
	"errors"
	"html/template"
	"net/http"
	"slices"
	"strings"
)

// The page behind the link of a text. To look at it changes nothing, for phones
// fetch links by themselves; the form does, and needs the token of the link.

// incidentPage is read-only.
var incidentPage = template.Must(template.New("incident").Parse(`<!doctype html>
<meta charset="utf-8"><meta name="viewport" content="width=device-width"><meta name="robots" content="noindex">
<meta name="referrer" content="no-referrer">
<title>{{.ID}} {{.Subject}}</title>
<style>body{font:16px/1.5 sans-serif;max-width:40em;margin:1em auto;padding:0 1em}button,select,input{font:inherit;padding:.4em}td{padding:0 .8em 0 0;vertical-align:top}</style>
<h1>{{.Subject}}: {{.State}}</h1>
<p>Incident {{.ID}} since {{.Since.Format "2006-01-02 15:04:05"}} UTC, as {{.Vantage}} knows it.
{{if .By}}<p><b>{{.By}} looks after it.</b>{{end}}
{{if .Note}}<p><b>{{.Note}}</b>{{end}}
{{if .Ask}}<form method="post" action="{{.ID}}">
<label>I am <select name="by"><option value="">-{{range .Admins}}<option>{{.}}{{end}}</select></label>
<label>code <input name="token" value="{{.Token}}" size="9" autocomplete="off"></label>
<button>I look after it</button></form>{{end}}
<table>{{range .Timeline}}<tr><td>{{.At.Format "15:04:05"}}<td>{{.What}}<td>{{.Text}}{{end}}</table>
`))

// incidentView is what the page shows.
type incidentView struct {
	*Incident
	State, Vantage, By, Note, Token string
	Ask                             bool
	Admins                          []string
}

// look serves GET /i/ID-TOKEN. It does not tell a right token from a wrong one.
func (v *vantage) look(w http.ResponseWriter, r *http.Request) {
	id, token, _ := strings.Cut(r.PathValue("link"), "-")
	v.show(w, http.StatusOK, strings.ToUpper(id), token, "")
}

// agree serves POST /i/ID, the form.
func (v *vantage) agree(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxCommand)
	id, _, _ := strings.Cut(r.PathValue("link"), "-")
	id = strings.ToUpper(id)
	if err := r.ParseForm(); err != nil {
		http.Error(w, "cannot read the form", http.StatusBadRequest)
		return
	}
	token, by, from := r.PostForm.Get("token"), r.PostForm.Get("by"), source(r)
	switch {
	case v.guesses.exhausted(from, v.m.Elapsed()):
		http.Error(w, "too many wrong codes; wait a minute", http.StatusTooManyRequests)
		return
	case !v.secret.allows(id, token):
		v.guesses.wrong(from)
		v.show(w, http.StatusForbidden, id, "", "The code is not that of this incident. It is at the end of the link that you were sent.")
		return
	case !slices.Contains(v.cfg.adminNames(), by):
		v.show(w, http.StatusBadRequest, id, token, "Choose who you are.")
		return
	}
	switch err := v.acknowledge(id, by); {
	case errors.Is(err, errOver):
		v.show(w, http.StatusConflict, id, "", "It is over; there is nothing to look after.")
	case err != nil:
		http.Error(w, err.Error(), http.StatusNotFound)
	default:
		http.Redirect(w, r, id+"-"+token, http.StatusSeeOther)
	}
}

// show writes the page.
func (v *vantage) show(w http.ResponseWriter, status int, id, token, note string) {
	view := incidentView{Vantage: v.cfg.Name, Note: note, Token: token, Admins: v.cfg.adminNames()}
	v.mu.Lock()
	i := v.byID(id)
	if k := slices.IndexFunc(v.past, func(i *Incident) bool { return i.ID == id }); i == nil && k >= 0 {
		i = v.past[k]
	}
	if i != nil {
		shown := *i
		shown.Moments = i.Timeline() // a copy
		view.Incident, view.State, view.By = &shown, i.state(), i.acknowledged()
		view.Ask = v.secret != nil && !i.Over
	}
	v.mu.Unlock()
	if view.Incident == nil {
		http.Error(w, errNoIncident.Error(), http.StatusNotFound)
		return
	}
	view.Texts, view.Acks = nil, nil // they are in the story already
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'")
	w.WriteHeader(status)
	if err := incidentPage.Execute(w, view); err != nil {
		v.log.Debug("incident page not written", "error", err)
	}
}

// state is the incident's in one word.
func (i *Incident) state() string {
	switch {
	case i.Over:
		return "over"
	case i.Flapping:
		return "flapping"
	case i.Open:
		return "down"
	}
	return "up, and not over"
}
