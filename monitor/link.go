package monitor

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/espra/protoplex/monitor/status"
	"github.com/espra/protoplex/nodes"
)

// The page behind the link of a text. To look at it changes nothing, for phones
// fetch links by themselves; the form does, and needs the token of the link. People
// are named only to those who have it: wrong ones are counted.

// link is what a text has at its end.
func (c *Config) link(id, token string) string {
	link := strings.TrimSuffix(c.Status, "/") + "/" + id
	if token != "" {
		link += "-" + token
	}
	return link
}

// look serves GET /i/ID-TOKEN.
func (v *vantage) look(w http.ResponseWriter, r *http.Request) {
	id, token, _ := strings.Cut(r.PathValue("link"), "-")
	id = strings.ToUpper(id)
	from := nodes.Source(r.RemoteAddr)
	knows := !v.guesses.exhausted(from, v.m.Elapsed())
	if knows && !v.secret.allows(id, token) {
		v.guesses.wrong(from)
		knows = false
	}
	if name := v.nameOf(id); knows && name != id {
		http.Redirect(w, r, name+"-"+v.secret.token(name), http.StatusSeeOther)
		return
	}
	v.show(w, r, http.StatusOK, knows, id, token, "")
}

// nameOf is what an incident is called by now: vantages that heard of one another late
// may have given it two names, and a text has the one of its sender.
func (v *vantage) nameOf(id string) string {
	v.mu.Lock()
	defer v.mu.Unlock()
	if all := v.together(id); len(all) > 0 && v.byID(id) == nil && !slices.ContainsFunc(v.past, func(i *Incident) bool { return i.ID == id }) {
		return all[0].ID
	}
	return id
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
	token, by, from := r.PostForm.Get("token"), r.PostForm.Get("by"), nodes.Source(r.RemoteAddr)
	switch {
	case v.guesses.exhausted(from, v.m.Elapsed()):
		http.Error(w, "too many wrong codes; wait a minute", http.StatusTooManyRequests)
		return
	case !v.secret.allows(id, token):
		v.guesses.wrong(from)
		v.show(w, r, http.StatusForbidden, false, id, "", "The code is not that of this incident. It is at the end of the link that you were sent.")
		return
	case !slices.Contains(v.cfg.adminNames(), by):
		v.show(w, r, http.StatusBadRequest, true, id, token, "Choose who you are.")
		return
	}
	switch _, err := v.acknowledge(id, by); {
	case errors.Is(err, errOver):
		v.show(w, r, http.StatusConflict, true, id, "", "It is over; there is nothing to look after.")
	case err != nil:
		http.Error(w, err.Error(), http.StatusNotFound)
	default:
		http.Redirect(w, r, id+"-"+token, http.StatusSeeOther)
	}
}

// show writes the page with the form, if there is one to fill in, for somebody who
// knows the token or for a stranger.
func (v *vantage) show(w http.ResponseWriter, r *http.Request, code int, knows bool, id, token, note string) {
	form := status.Form{Token: token, Note: note, Others: v.unanswered(id)}
	if knows {
		form.People = v.cfg.adminNames()
	}
	v.pages.Ask(w, r, code, v.shownNow(knows), id, form)
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
