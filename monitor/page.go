package monitor

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/espra/protoplex/monitor/decide"
	"github.com/espra/protoplex/monitor/home"
	"github.com/espra/protoplex/monitor/sms"
	"github.com/espra/protoplex/nodes"
)

// maxAttempts bounds how often this vantage sends one message whose outcome is
// not "accepted"; the waits between them double. The others have their own
// attempts.
const maxAttempts = 5

// pager remembers attempts. It belongs to the paging goroutine.
type pager struct {
	attempts map[string]attempt
}

type attempt struct {
	count int
	next  time.Duration
}

// message is one text for one admin.
type message struct {
	key      string // names the action for all vantages: "<kind> <incident> <admin>"
	incident string
	subject  string
	admin    Admin
	text     string
	since    time.Duration // when it became due
}

// page sends what is due and not done, if it is this vantage's turn.
func (v *vantage) page(ctx context.Context) {
	if v.texter == nil {
		return
	}
	if v.pager.attempts == nil {
		v.pager.attempts = map[string]attempt{}
	}
	v.learn()
	now := v.m.Elapsed()
	due := slices.DeleteFunc(v.due(now), func(msg message) bool {
		a := v.pager.attempts[msg.key]
		return !v.turn(msg.since) || a.count >= maxAttempts || now < a.next
	})
	if len(due) == 0 {
		return
	}
	outcomes := make([]sms.Outcome, len(due))
	places := make([]int, len(due))
	for i := range places {
		places[i] = i
	}
	nodes.FanOut(ctx, v.m, "page", places, func(ctx context.Context, i int) {
		ctx, cancel := nodes.Timeout(ctx, v.m, "sms "+due[i].key, apiLimit)
		defer cancel()
		receipt, err := v.texter.Text(ctx, due[i].admin.Phone, due[i].text)
		outcomes[i] = receipt.Outcome
		if err != nil {
			v.log.Warn("sms not accepted", "admin", due[i].admin.Name, "incident", due[i].incident, "outcome", string(outcomes[i]), "error", err)
		}
	})
	now = v.m.Elapsed()
	v.mu.Lock()
	for i, msg := range due {
		if outcomes[i] == sms.Accepted {
			v.done(msg.subject, msg.key)
			delete(v.pager.attempts, msg.key)
			continue
		}
		a := v.pager.attempts[msg.key]
		v.pager.attempts[msg.key] = attempt{a.count + 1, now + 3*v.cfg.Probe<<a.count}
	}
	v.mu.Unlock()
	v.logSent(due, outcomes)
	v.publish(ctx, "page") // the others are waiting to hear of it
}

// logSent writes one line for each text and outcome.
func (v *vantage) logSent(due []message, outcomes []sms.Outcome) {
	logged := map[string]bool{}
	for i, msg := range due {
		same := msg.text + "\n" + string(outcomes[i])
		if logged[same] {
			continue
		}
		logged[same] = true
		var admins []string
		for k := range due {
			if due[k].text == msg.text && outcomes[k] == outcomes[i] {
				admins = append(admins, due[k].admin.Name)
			}
		}
		v.log.Info("sms sent", "admins", strings.Join(admins, ", "), "text", msg.text, "incident", msg.incident, "outcome", string(outcomes[i]))
	}
}

// done records an accepted message. The caller holds mu.
func (v *vantage) done(subject, key string) {
	i := v.incidents[subject]
	if i == nil {
		return
	}
	if at, found := slices.BinarySearch(i.Done, key); !found {
		i.Done = slices.Insert(i.Done, at, key)
		v.changed()
	}
}

// learn takes over what other vantages did, so that it stays known when they
// are gone.
func (v *vantage) learn() {
	latest := v.board.Latest()
	v.mu.Lock()
	defer v.mu.Unlock()
	for subject, i := range v.incidents {
		for _, e := range latest {
			if e.Vantage == v.cfg.Name {
				continue
			}
			for _, key := range e.Done {
				if words := strings.Fields(key); len(words) == 3 && words[1] == i.ID {
					v.done(subject, key)
				}
			}
		}
	}
}

// due lists what should have been sent by now and was not, sorted.
func (v *vantage) due(now time.Duration) []message {
	v.mu.Lock()
	defer v.mu.Unlock()
	var due []message
	for _, subject := range v.subjects() {
		i := v.incidents[subject]
		for _, admin := range v.cfg.Admins {
			add := func(kind, text string, since time.Duration) {
				key := kind + " " + i.ID + " " + admin.Name
				if _, done := slices.BinarySearch(i.Done, key); !done {
					due = append(due, message{key, i.ID, subject, admin, text, since})
				}
			}
			_, paged := slices.BinarySearch(i.Done, "open "+i.ID+" "+admin.Name)
			alert := v.alert(subject, i, now)
			switch {
			case i.Open && v.folded(subject, now-i.opened):
			case i.Open && subject == decide.Blind:
				add("open", alert.Blind(), i.opened)
			case i.Open && paged && i.Flaps > 0:
				add("flap", alert.Flapping(), i.opened)
			case i.Open:
				add("open", alert.Down(), i.opened)
			case i.Over && paged:
				// One for each time that an all-clear was given too early.
				add("clear-"+strconv.Itoa(i.Flaps), alert.OK(i.Moved, i.Ended), i.closed)
			}
		}
	}
	return due
}

// alert words an incident. The caller holds mu.
func (v *vantage) alert(subject string, i *incident, now time.Duration) sms.Alert {
	a := sms.Alert{
		What: subject, Since: i.Since, Votes: v.verdicts.Subjects[subject].Votes, Vantages: v.params.Vantages, Incident: i.ID,
	}
	if v.cfg.Status != "" {
		a.Link = strings.TrimSuffix(v.cfg.Status, "/") + "/" + i.ID
	}
	if i.Region {
		a.Doing = v.doing(subject, now)
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

// folded says that an incident is, or may yet turn out to be, part of a
// region's: its target depends on the home of a host. The caller holds mu.
func (v *vantage) folded(subject string, age time.Duration) bool {
	for _, t := range v.cfg.Targets {
		if t.Name != subject || t.Region != "" || t.Home == "" {
			continue
		}
		// The region's own verdict may be a round or two behind.
		if age < time.Duration(v.cfg.OpenAfter)*v.cfg.Probe {
			return true
		}
		for _, h := range v.hosts {
			if h.Name != t.Home {
				continue
			}
			for _, region := range h.Regions {
				if i := v.incidents[region]; i != nil && !i.Over {
					return true
				}
			}
		}
	}
	return false
}
