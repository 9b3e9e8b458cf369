package monitor

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/espra/protoplex/monitor/decide"
	"github.com/espra/protoplex/monitor/observe"
	"github.com/espra/protoplex/nodes"
	"github.com/espra/protoplex/nodes/config"
)

// Command is what an admin tells one vantage, which tells the others. It is
// signed with the secret that all vantages share.
type Command struct {
	At time.Time `json:"at"` // by the sender's clock
	By string    `json:"by"` // name of the admin

	Ack     string          `json:"ack,omitempty"`     // id of an incident: By looks after it
	Silence *decide.Silence `json:"silence,omitempty"` // a new one; By is that of the command
	Lift    string          `json:"lift,omitempty"`    // subject whose silences end now
}

const (
	maxCommand    = 4 << 10
	maxCommandAge = 15 * time.Minute // clocks are that far apart at most
	commandHeader = "Command-Signature"
)

// Why a command or an acknowledgement was not followed.
var (
	errNoIncident = errors.New("no such incident is known here; if it is new, try another vantage")
	errOver       = errors.New("the incident is over")
	errNoAdmin    = errors.New("no admin has that name")
)

func parseCommand(body []byte) (Command, error) {
	var c Command
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return c, err
	}
	if _, err := d.Token(); err != io.EOF {
		return c, errors.New("something follows the command")
	}
	given := 0
	for _, is := range []bool{c.Ack != "", c.Silence != nil, c.Lift != ""} {
		if is {
			given++
		}
	}
	if given != 1 {
		return c, errors.New("want one of ack, silence and lift")
	}
	return c, nil
}

// command serves POST /commands.
func (v *vantage) command(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxCommand))
	from := nodes.Source(r.RemoteAddr)
	switch {
	case err != nil:
		http.Error(w, "cannot read the command", http.StatusBadRequest)
		return
	case v.guesses.exhausted(from, v.m.Elapsed()):
		http.Error(w, "too many wrong attempts; wait a minute", http.StatusTooManyRequests)
		return
	case !v.secret.signed(body, r.Header.Get(commandHeader)):
		v.guesses.wrong(from)
		http.Error(w, "not signed with this vantage's secret", http.StatusForbidden)
		return
	}
	c, err := parseCommand(body)
	if err != nil {
		http.Error(w, "malformed command: "+err.Error(), http.StatusBadRequest)
		return
	}
	if age := v.m.Now().Sub(c.At).Abs(); age > maxCommandAge {
		http.Error(w, fmt.Sprintf("the clock of the sender is %s from that of this vantage", age.Round(time.Second)), http.StatusForbidden)
		return
	}
	said, err := v.obey(c)
	switch {
	case errors.Is(err, errNoIncident):
		http.Error(w, err.Error(), http.StatusNotFound)
	case err != nil:
		http.Error(w, err.Error(), http.StatusConflict)
	default:
		io.WriteString(w, said+"\n")
	}
}

// obey does what a command says and tells what was done.
func (v *vantage) obey(c Command) (string, error) {
	if !slices.ContainsFunc(v.cfg.Admins, func(a Admin) bool { return a.Name == c.By }) {
		return "", fmt.Errorf("%w: %q%s", errNoAdmin, c.By, config.Suggest(c.By, v.cfg.adminNames()))
	}
	switch {
	case c.Ack != "":
		n, err := v.acknowledge(strings.ToUpper(c.Ack), c.By)
		switch {
		case err != nil:
			return "", err
		case n > 1:
			return fmt.Sprintf("%s looks after the %d incidents of the text that named %s; nobody else is woken for them", c.By, n, strings.ToUpper(c.Ack)), nil
		}
		return fmt.Sprintf("%s looks after %s; nobody else is woken for it", c.By, strings.ToUpper(c.Ack)), nil
	case c.Silence != nil:
		s := *c.Silence
		s.By = c.By
		if s.ID == "" || len(s.ID) > 16 {
			return "", errors.New("the silence has no id of 1 to 16 letters")
		}
		if err := v.silence(s); err != nil {
			return "", err
		}
		return fmt.Sprintf("%s is silenced until %s", s.Subject, s.Until.UTC().Format(time.RFC3339)), nil
	}
	n := v.lift(c.Lift, c.By)
	if n == 0 {
		return "", fmt.Errorf("%q is not silenced", c.Lift)
	}
	return c.Lift + " is silenced no longer", nil
}

// acknowledge records that an admin looks after an incident, and after those that
// the same text told of, and says how many they are.
func (v *vantage) acknowledge(id, by string) (int, error) {
	at := v.m.Now().UTC()
	v.mu.Lock()
	defer v.mu.Unlock()
	all := v.together(id)
	switch {
	case len(all) > 0:
	case v.byID(id) != nil, slices.ContainsFunc(v.past, func(i *Incident) bool { return i.ID == id }):
		return 0, errOver
	default:
		return 0, errNoIncident
	}
	var acks []observe.Ack
	for _, i := range all {
		a := observe.Ack{Incident: i.ID, By: by, At: at, Phase: i.cleared()}
		switch {
		case !i.acknowledge(a):
		case i.ID == id:
			acks = slices.Insert(acks, 0, a) // the log names it
		default:
			acks = append(acks, a)
		}
	}
	if len(acks) > 0 {
		v.news = true
		v.changed()
		v.logAcks(acks, v.cfg.Name)
	}
	return len(all), nil
}
