package monitor

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/espra/protoplex/monitor/decide"
	"github.com/espra/protoplex/monitor/home"
	"github.com/espra/protoplex/monitor/sms"
)

// message is what one admin should be told of one incident. Kind, incident and
// admin name it for all vantages.
type message struct {
	kind     string
	incident string
	subject  string
	admin    Admin
	region   string // that is lost, if any
	alert    sms.Alert
	words    func(sms.Alert) string // tells the alert
	sharing  string                 // messages to one admin that have the same word here may share a text; "" for one that goes alone
}

func (m message) key() string { return messageKey(m.kind, m.incident, m.admin.Name) }

func messageKey(kind, incident, admin string) string { return kind + " " + incident + " " + admin }

// The kinds of messages. An incident that comes back after its all-clear is
// told again, so kinds carry the number of all-clears before them.
const (
	kindOpen  = "open"
	kindFlap  = "flap"
	kindStuck = "stuck"
	kindClear = "clear"
	kindAlive = "alive"
)

func nth(kind string, n int) string { return kind + "-" + strconv.Itoa(n) }

// spoken is a numbered kind as people read it.
func spoken(kind string) string {
	kind, n, _ := strings.Cut(kind, "-")
	again := ""
	if n != "0" {
		again = " again"
	}
	switch kind {
	case kindOpen:
		return "down" + again
	case kindClear:
		return "all clear" + again
	case kindFlap:
		return "flapping"
	}
	return kind
}

// due lists what people should know by now, sorted by subject and level. It
// includes what they know: see pending.
func (v *vantage) due(now time.Duration) []message {
	v.mu.Lock()
	defer v.mu.Unlock()
	wall := v.m.Now()
	due := v.aliveDue(wall)
	for _, subject := range v.subjects() {
		i := v.incidents[subject]
		s := v.verdicts.Subjects[subject]
		// Doubt comes too late for those whom a text is on its way to.
		pageable := i.Open && !s.Folded && !v.silenced(subject, wall) && !(s.Doubted && !i.told())
		i.pageFrom(pageable, now, wall)
		alert := v.alert(i, now)
		var before []string // admins of lower levels who were told
		for _, level := range v.cfg.levels() {
			for _, name := range level.Admins {
				due = append(due, v.dueTo(v.cfg.admin(name), level.After, before, i, alert, pageable, now)...)
			}
			before = append(before, level.Admins...)
			if pageable && v.lowUrgency(subject) {
				break // nobody more is woken for it
			}
		}
	}
	return due
}

// pageFrom keeps since when people should be told of the incident.
func (i *Incident) pageFrom(pageable bool, now time.Duration, wall time.Time) {
	if pageable && !i.isPaging {
		i.paging = now
		// After a restart the texts tell; clocks may be off, but not by levels.
		for _, t := range i.Texts {
			n := i.phase(t.Admin)
			if age := wall.Sub(t.At); (t.Kind == nth(kindOpen, n) || t.Kind == nth(kindFlap, n)) && age > now-i.paging {
				i.paging = now - age
			}
		}
	}
	i.isPaging = pageable
}

// phase counts the all-clears that an admin had of the incident.
func (i *Incident) phase(admin string) int {
	n := 0
	for i.reached(nth(kindClear, n), admin) {
		n++
	}
	return n
}

// dueTo lists what one admin should be told of an incident. The caller holds mu.
func (v *vantage) dueTo(admin Admin, after time.Duration, before []string, i *Incident, alert sms.Alert, pageable bool, now time.Duration) []message {
	var due []message
	n := i.phase(admin.Name)
	open, flap := nth(kindOpen, n), nth(kindFlap, n)
	add := func(kind, sharing string, words func(sms.Alert) string) {
		m := message{kind: kind, incident: i.ID, subject: i.Subject, admin: admin, alert: alert, words: words, sharing: sharing}
		if i.Region {
			m.region = i.Subject
		}
		if i.Region || i.Subject == decide.Blind {
			m.sharing = "" // the greater losses
		}
		due = append(due, m)
	}
	moved, ended, stuck := i.Moved, i.Ended, v.stuck
	ok := func(a sms.Alert) string { return a.OK(moved, ended) }
	told := i.reached(open, admin.Name) || i.reached(flap, admin.Name)
	switch {
	case pageable && (told || now-i.paging >= after && (after == 0 || i.acknowledged() == "")):
		if after > 0 {
			alert.Unanswered = before
		}
		if !i.Flapping || len(i.tries(open, admin.Name)) > 0 {
			sharing, words := v.opening(i.Subject)
			add(open, sharing, words)
		}
		if i.Flapping {
			add(flap, kindFlap, sms.Alert.Flapping)
		}
		if i.Region && told && v.blocked(now) {
			add(nth(kindStuck, n), "", func(a sms.Alert) string { return a.Stuck(stuck) })
		}
	case i.Over && told:
		add(nth(kindClear, n), kindClear, ok)
	case i.Over && n > 0:
		// One that may have reached somebody began the next phase, and is due until
		// a provider is known to have taken it.
		add(nth(kindClear, n-1), kindClear, ok)
	}
	return due
}

// blocked says that homes should move, and have not for so long that somebody
// must help. The caller holds mu.
func (v *vantage) blocked(now time.Duration) bool {
	want := home.Want(v.hosts, v.homes, v.regions(now), v.cfg.HoldDown)
	return v.stuck != "" && now-v.stuckAt >= v.cfg.stuckAfter() && fingerprint(want) != v.settled
}

// opening gives the words of the first message of an incident, and which others it
// may share a text with.
func (v *vantage) opening(subject string) (sharing string, words func(sms.Alert) string) {
	switch {
	case subject == decide.Blind:
		return "", sms.Alert.Blind
	case v.cfg.isVantage(subject):
		return "", sms.Alert.Silent
	case v.isCertificate(subject):
		return kindOpen + " certificate", sms.Alert.Certificate
	}
	return kindOpen, sms.Alert.Down
}

// lowUrgency says that an incident can wait for the morning: nothing is lost to
// anybody yet.
func (v *vantage) lowUrgency(subject string) bool {
	return v.cfg.isVantage(subject) || v.cfg.isZone(subject) || v.isCertificate(subject)
}

// isCertificate says that a subject is a target of that kind.
func (v *vantage) isCertificate(subject string) bool { return v.kinds[subject] == "certificate" }

// alert words an incident. The caller holds mu.
func (v *vantage) alert(i *Incident, now time.Duration) sms.Alert {
	a := sms.Alert{
		What: i.Subject, Since: i.Since, Votes: v.verdicts.Subjects[i.Subject].Votes, Vantages: v.params.Vantages, Incident: i.ID,
	}
	if v.cfg.Status != "" {
		token := ""
		if v.secret != nil {
			token = v.secret.token(i.ID)
		}
		a.Link = v.cfg.link(i.ID, token)
	}
	if i.Region {
		a.Doing = v.doing(i.Subject, now)
	} else if saw := v.seen.saw[i.Subject]; saw != "" {
		a.Doing = "Saw: " + saw + "."
	}
	return a
}

// doing says what happens to the homes in a region. The caller holds mu.
func (v *vantage) doing(region string, now time.Duration) string {
	want := home.Want(v.hosts, v.homes, v.regions(now), v.cfg.HoldDown)
	for _, h := range v.hosts {
		cur, next := v.homes[h.Name], want[h.Name]
		at, there := slices.Index(h.Regions, cur.Region), slices.Index(h.Regions, region)
		switch {
		case there < 0:
		case cur.Region == region && next.Region == region:
			return "No region to move to."
		case cur.Region == region && next.Region != "":
			return "Moving DNS to " + next.Region + "."
		case at > there && v.settled == fingerprint(v.homes):
			return "DNS moved to " + cur.Region + "."
		case at > there:
			return "Moving DNS to " + cur.Region + "."
		}
	}
	return ""
}

// aliveFor is how long after its hour the weekly text may still be sent.
const aliveFor = time.Hour

// aliveDue lists the weekly texts. The caller holds mu.
func (v *vantage) aliveDue(wall time.Time) []message {
	if v.cfg.Alive == nil {
		return nil
	}
	at := v.cfg.Alive.last(wall)
	if wall.Sub(at) >= aliveFor {
		return nil
	}
	year, week := at.ISOWeek()
	id := fmt.Sprintf("%04dW%02d", year, week)
	if v.alive.ID != id {
		v.alive = &Incident{ID: id, Subject: kindAlive, Since: at}
		// A vantage whose clock is ahead may have sent it.
		for _, e := range v.board.Latest() {
			for _, t := range e.Texts {
				if t.Incident == id {
					v.alive.take(t)
				}
			}
		}
	}
	open, votes := 0, 0
	for _, i := range v.incidents {
		if !i.Over {
			open++
		}
	}
	for _, e := range v.board.Latest() {
		if v.m.Elapsed()-e.Arrived <= v.params.Fresh && e.Controls {
			votes++
		}
	}
	var due []message
	for _, admin := range v.cfg.Admins {
		due = append(due, message{kind: kindAlive, incident: id, subject: kindAlive, admin: admin,
			words: func(sms.Alert) string { return sms.Alive(at, votes, v.params.Vantages, open) }})
	}
	return due
}
