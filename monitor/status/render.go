package status

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"slices"
	"strings"
	"time"
)

//go:embed page.html style.css
var files embed.FS

var pages = template.Must(template.New("").Funcs(template.FuncMap{
	"strip": newStrip, "curve": newCurve, "short": short, "long": long, "symbol": symbol,
	"args": func(v view, item any) pair { return pair{v, item} },
}).ParseFS(files, "page.html"))

// view is what the templates see.
type view struct {
	Page
	Style   template.CSS
	Root    string    // path of the status page, relative to this one
	Refresh bool      // the page asks for itself again
	One     *Incident // the page of one incident
	Missing string    // the id of an incident that is not known
	Form    *Form     // on the page of one incident, to take it up
}

// pair is what a template about one thing of the page sees.
type pair struct {
	Page view
	Item any
}

func style() string {
	text, err := files.ReadFile("style.css")
	if err != nil {
		panic(fmt.Sprintf("status: %v", err)) // it is part of the program
	}
	return string(text)
}

func render(v view) ([]byte, error) {
	v.Style = template.CSS(style())
	var b bytes.Buffer
	if err := pages.ExecuteTemplate(&b, "page", v); err != nil {
		return nil, fmt.Errorf("render status: %w", err)
	}
	return b.Bytes(), nil
}

// HTML renders the page.
func (p Page) HTML() ([]byte, error) { return render(view{Page: p, Root: "."}) }

// JSON renders the same for programs.
func (p Page) JSON() ([]byte, error) {
	// Lists are lists, also those without anything in them.
	p.Subjects, p.Incidents = append([]Subject{}, p.Subjects...), append([]Incident{}, p.Incidents...)
	p.Maintenance, p.Vantages = append([]Period{}, p.Maintenance...), append([]Vantage{}, p.Vantages...)
	text, err := json.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("encode status: %w", err)
	}
	return append(text, '\n'), nil
}

// incident finds one by its id, which people type in any case.
func (p Page) incident(id string) *Incident {
	i := slices.IndexFunc(p.Incidents, func(i Incident) bool { return strings.EqualFold(i.ID, id) })
	if i < 0 {
		return nil
	}
	return &p.Incidents[i]
}

// OpenIncidents are those that are not over.
func (p Page) OpenIncidents() []Incident { return p.incidents(true) }

// PastIncidents are those that are.
func (p Page) PastIncidents() []Incident { return p.incidents(false) }

func (p Page) incidents(open bool) []Incident {
	var some []Incident
	for _, i := range p.Incidents {
		if i.Open == open {
			some = append(some, i)
		}
	}
	return some
}

// Worst is the state to put above all others, and in how many subjects it is.
func (p Page) Worst() (worst struct {
	State State
	Names []string
}) {
	worst.State = Up
	for _, state := range []State{Down, Flapping, Unknown} {
		for _, s := range p.Subjects {
			if s.State == state {
				worst.Names = append(worst.Names, s.Name)
			}
		}
		if worst.Names != nil {
			worst.State = state
			break
		}
	}
	return worst
}

// Current are the periods that are not over.
func (p Page) Current() []Period {
	return slices.DeleteFunc(slices.Clone(p.Maintenance), func(m Period) bool { return p.Now.After(m.Until) })
}

// Ago is how long before now an instant was.
func (p Page) Ago(t time.Time) time.Duration { return p.Now.Sub(t) }

// Old says that what was seen at an instant is marked.
func (p Page) Old(t time.Time) bool { return p.Now.Sub(t) > p.Stale }

// Late says that a vantage has not been heard for too long.
func (p Page) Late(v Vantage) bool { return !v.Heard || v.Age > p.Stale }

// Clock is an instant for people: with its date, unless that is today's.
func (p Page) Clock(t time.Time) string {
	t, now := t.UTC(), p.Now.UTC()
	if t.Year() == now.Year() && t.YearDay() == now.YearDay() {
		return t.Format("15:04:05")
	}
	if t.Year() == now.Year() {
		return t.Format("2 Jan 15:04:05")
	}
	return t.Format("2 Jan 2006 15:04:05")
}

// Length is how long an incident lasted, or has lasted so far.
func (p Page) Length(i Incident) string {
	end := i.Ended
	if end.IsZero() {
		end = p.Now
	}
	return long(end.Sub(i.Since))
}

// symbol stands before a state, so that it is told by its shape as well.
func symbol(s State) string {
	switch s {
	case Up:
		return "●"
	case Down:
		return "▼"
	case Flapping:
		return "◆"
	case Maintenance:
		return "■"
	}
	return "○"
}
