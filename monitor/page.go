package monitor

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptrace"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/espra/protoplex/monitor/observe"
	"github.com/espra/protoplex/monitor/sms"
	"github.com/espra/protoplex/nodes"
)

// maxCopies is how many copies of a message may reach a person: one page twice
// is better than none, and three are worse than two.
const maxCopies = 2

// lateAfter is how long a provider may take to deliver before the next is asked.
func (c *Config) lateAfter() time.Duration { return 18 * c.Probe }

// pager is what the paging goroutine remembers between its turns.
type pager struct {
	seen  map[string]time.Duration // by message: since when it is due, and wanted
	tries map[string]int           // by message: attempts of this run
	next  map[string]time.Duration // by message: no attempt before
	asked map[observe.Text]delivery
}

// delivery is how asking after a text goes on.
type delivery struct {
	since, next time.Duration
	asked       int
}

// texter is one SMS provider.
type texter struct {
	sms.Texter
	region string // that it stands in
}

// page sends what is due and not done, if it is this vantage's turn.
func (v *vantage) page(ctx context.Context) {
	if v.pager.seen == nil {
		v.pager = pager{map[string]time.Duration{}, map[string]int{}, map[string]time.Duration{}, map[observe.Text]delivery{}}
	}
	news := v.learn()
	// Whoever has just started asks around first what was sent.
	if now := v.m.Elapsed(); len(v.texters) > 0 && (len(v.cfg.Peers) == 0 || now-v.started >= v.params.Fresh) {
		due := v.pending(now)
		if len(due) > 0 {
			v.sendTexts(ctx, due)
			news = true
		}
		if v.askDeliveries(ctx) {
			news = true
		}
	}
	if news {
		v.publish(ctx, "page") // the others are waiting to hear of it
	}
}

// attempt is one message on its way through one provider.
type attempt struct {
	message
	texter  texter
	record  observe.Text
	outcome sms.Outcome
	err     error
}

// pending gives the attempts that should be made now.
func (v *vantage) pending(now time.Duration) []attempt {
	due := v.due(now)
	live := map[string]bool{}
	var attempts []attempt
	for _, m := range due {
		key := m.key()
		live[key] = true
		v.mu.Lock()
		tries := v.incident(m).tries(m.kind, m.admin.Name)
		v.mu.Unlock()
		// One that is wanted again, as its copies were lost, is a new matter: first
		// is the first vantage again, and not all at once.
		if _, ok := v.pager.seen[key]; !ok || !wanted(tries) {
			v.pager.seen[key] = now
		}
		if !wanted(tries) || now < v.pager.next[key] || !v.turn(v.pager.seen[key]) {
			continue
		}
		attempts = append(attempts, attempt{message: m, texter: v.after(tries, m.region)})
	}
	for key := range v.pager.seen {
		if !live[key] {
			delete(v.pager.seen, key)
			delete(v.pager.tries, key)
			delete(v.pager.next, key)
		}
	}
	return attempts
}

// wanted says whether a message needs one more attempt after these.
func wanted(tries []observe.Text) bool {
	copies := 0
	for _, t := range tries {
		switch t.State {
		case observe.Accepted, observe.Delivered:
			return false
		case observe.Begun, observe.Unclear, observe.Late:
			copies++
		}
	}
	return copies < maxCopies
}

// after gives the provider to ask after these attempts, oldest first.
func (v *vantage) after(tries []observe.Text, lost string) texter {
	order := v.order(lost)
	if len(tries) == 0 {
		return order[0]
	}
	last := slices.IndexFunc(order, func(t texter) bool { return t.Name() == tries[len(tries)-1].Provider })
	return order[(last+1)%len(order)]
}

// order gives the providers in the order in which to ask them: as configured,
// but those that stand in the lost region last.
func (v *vantage) order(lost string) []texter {
	order := slices.Clone(v.texters)
	slices.SortStableFunc(order, func(a, b texter) int {
		in := func(t texter) int {
			if lost != "" && (t.region == lost || strings.HasPrefix(t.region, lost+"-")) {
				return 1
			}
			return 0
		}
		return in(a) - in(b)
	})
	return order
}

// incident is what keeps the attempts at a message. The caller holds mu.
func (v *vantage) incident(m message) *Incident {
	if m.kind == kindAlive {
		return v.alive
	}
	if i := v.incidents[m.subject]; i != nil && i.ID == m.incident {
		return i
	}
	return &Incident{ID: m.incident} // it went while we were busy
}

// sendTexts makes the attempts. Each is on disk before it goes out: whoever starts
// again after a crash must know that it may have been sent.
func (v *vantage) sendTexts(ctx context.Context, attempts []attempt) {
	wall := v.m.Now().UTC()
	v.mu.Lock()
	for k := range attempts {
		a := &attempts[k]
		i := v.incident(a.message)
		n := 1
		for _, t := range i.tries(a.kind, a.admin.Name) {
			if t.By == v.cfg.Name {
				n = max(n, t.N+1)
			}
		}
		a.record = observe.Text{Incident: a.incident, Kind: a.kind, Admin: a.admin.Name, By: v.cfg.Name, N: n,
			Provider: a.texter.Name(), State: observe.Begun, At: wall}
		i.take(a.record)
		i.keep(a.record, a.text)
	}
	v.mu.Unlock()
	v.changed()
	v.save(ctx, "page") // a disk that fails or hangs is no reason to let people sleep

	places := make([]int, len(attempts))
	for k := range places {
		places[k] = k
	}
	nodes.FanOut(ctx, v.m, "page", places, func(ctx context.Context, k int) {
		a := &attempts[k]
		ctx, cancel := nodes.Timeout(ctx, v.m, "sms "+a.key(), apiLimit)
		defer cancel()
		var connected atomic.Bool
		ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected.Store(true) }})
		receipt, err := a.texter.Text(ctx, a.admin.Phone, a.text)
		a.outcome, a.err, a.record.Receipt = receipt.Outcome, err, receipt.ID
		if a.outcome == sms.Unknown && !connected.Load() {
			a.outcome = sms.Refused // it never left this machine
		}
	})
	now := v.m.Elapsed()
	v.mu.Lock()
	for k := range attempts {
		a := &attempts[k]
		switch a.outcome {
		case sms.Accepted:
			a.record.State = observe.Accepted
		case sms.Refused:
			a.record.State = observe.Refused
		default:
			a.record.State = observe.Unclear
			v.pager.asked[a.record] = delivery{since: now, next: now + v.cfg.Probe}
		}
		i := v.incident(a.message)
		i.take(a.record)
		i.keep(a.record, a.text)
		v.pace(a, now)
	}
	v.mu.Unlock()
	v.changed()
	v.save(ctx, "page")
	v.logSent(attempts)
}

// pace says when a message that was not accepted is tried again: at once while
// there is another provider to ask, then ever more slowly.
func (v *vantage) pace(a *attempt, now time.Duration) {
	key := a.key()
	if a.outcome == sms.Accepted {
		delete(v.pager.tries, key)
		return
	}
	v.pager.tries[key]++
	rounds, rest := v.pager.tries[key]/len(v.texters), v.pager.tries[key]%len(v.texters)
	if rest == 0 {
		v.pager.next[key] = now + 3*v.cfg.Probe<<min(rounds-1, 5)
	}
}

// logSent writes one line for each text and outcome, and one for each failure.
func (v *vantage) logSent(attempts []attempt) {
	logged := map[string]bool{}
	for k, a := range attempts {
		if a.err != nil {
			v.log.Warn("sms not accepted", "admin", a.admin.Name, "incident", a.incident, "provider", a.texter.Name(),
				"outcome", string(a.outcome), "error", a.err)
		}
		same := a.text + "\n" + string(a.outcome) + "\n" + a.texter.Name()
		if logged[same] {
			continue
		}
		logged[same] = true
		var admins []string
		for _, b := range attempts[k:] {
			if b.text == a.text && b.outcome == a.outcome && b.texter.Name() == a.texter.Name() {
				admins = append(admins, b.admin.Name)
			}
		}
		message := "sms sent"
		switch a.outcome {
		case sms.Refused:
			message = "sms refused"
		case sms.Unknown:
			message = "sms perhaps sent"
		}
		v.log.Info(message, "admins", strings.Join(admins, ", "), "text", v.withoutToken(a.text, a.incident), "incident", a.incident,
			"provider", a.texter.Name())
	}
}

// askDeliveries asks providers after what this vantage sent, and says whether
// there is news: what was lost, or not taken, goes to the next provider.
func (v *vantage) askDeliveries(ctx context.Context) (news bool) {
	now := v.m.Elapsed()
	type question struct {
		observe.Text
		texter sms.Texter
		age    time.Duration
		words  string // while it is unclear
		state  observe.State
	}
	var own []question
	v.mu.Lock()
	add := func(i *Incident) {
		for _, t := range i.Texts {
			at := slices.IndexFunc(v.texters, func(p texter) bool { return p.Name() == t.Provider })
			if t.By == v.cfg.Name && at >= 0 {
				own = append(own, question{Text: t, texter: v.texters[at], words: i.Words[wordsKey(t)]})
			}
		}
	}
	for _, subject := range v.subjects() {
		add(v.incidents[subject])
	}
	add(v.alive)
	v.mu.Unlock()
	asked := map[observe.Text]delivery{}
	var questions []*question
	for _, q := range own {
		key := q.Text
		if q.State == observe.Late {
			key.State = observe.Accepted
		}
		d, ok := v.pager.asked[key]
		if !ok {
			d = delivery{since: now, next: now + v.cfg.Probe}
		}
		q.age, q.state = now-d.since, q.State
		switch {
		case key.State == observe.Unclear && q.words != "":
			if now >= d.next {
				d.next = now + v.cfg.Probe<<min(d.asked, 3)
				d.asked++
				questions = append(questions, &q)
			}
		case key.State == observe.Accepted && q.Receipt != "":
			if now >= d.next && now-d.since < 2*v.cfg.lateAfter() {
				d.next = now + v.cfg.Probe
				questions = append(questions, &q)
			}
		default:
			continue
		}
		asked[key] = d
	}
	v.pager.asked = asked
	nodes.FanOut(ctx, v.m, "deliveries", questions, func(ctx context.Context, q *question) {
		ctx, cancel := nodes.Timeout(ctx, v.m, fmt.Sprint("delivery ", q.Kind, " ", q.Incident, " ", q.Admin, " ", q.N), apiLimit)
		defer cancel()
		if q.State == observe.Unclear {
			r, err := q.texter.Find(ctx, v.cfg.admin(q.Admin).Phone, q.words, q.At)
			switch r.Outcome {
			case sms.Accepted:
				q.state, q.Receipt = observe.Accepted, r.ID
			case sms.Refused:
				q.state = observe.Refused
			default:
				v.log.Debug("sms still unclear", "admin", q.Admin, "incident", q.Incident, "provider", q.Provider, "error", err)
				return
			}
			v.log.Info("sms looked up", "admin", q.Admin, "incident", q.Incident, "provider", q.Provider, "outcome", string(r.Outcome))
			return
		}
		state, err := q.texter.Delivery(ctx, q.Receipt)
		switch {
		case state == sms.Delivered:
			q.state = observe.Delivered
		case state == sms.Failed:
			q.state = observe.Lost
		case state == sms.Underway && q.age >= v.cfg.lateAfter():
			q.state = observe.Late
		}
		if q.state != q.State && q.state != observe.Delivered {
			v.log.Warn("sms not delivered", "admin", q.Admin, "incident", q.Incident, "provider", q.Provider, "state", q.state.String(), "error", errors.Join(err))
		}
	})
	v.mu.Lock()
	for _, q := range questions {
		if q.state == q.State {
			continue
		}
		q.State = q.state
		i := v.alive
		if q.Kind != kindAlive {
			i = v.byID(q.Incident)
		}
		if i != nil && i.take(q.Text) {
			i.keep(q.Text, q.words)
			news = true
		}
	}
	v.mu.Unlock()
	if news {
		v.changed()
	}
	return news
}

// learn takes over what other vantages sent and were told, so that it stays
// known when they are gone, and says whether this vantage has news for them.
func (v *vantage) learn() (news bool) {
	latest := v.board.Latest()
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, e := range latest {
		if e.Vantage == v.cfg.Name {
			continue
		}
		for _, t := range e.Texts {
			i := v.byID(t.Incident)
			if t.Incident == v.alive.ID {
				i = v.alive
			}
			if i != nil && i.take(t) {
				v.changed()
			}
		}
		for _, a := range e.Acks {
			if i := v.byID(a.Incident); i != nil && i.acknowledge(a) {
				v.log.Info("acknowledged", "incident", i.ID, "by", a.By, "told", e.Vantage)
				v.changed()
			}
		}
		v.hush(e.Silences)
	}
	news, v.news = v.news, false
	return news
}

// byID finds an incident that is not history. The caller holds mu.
func (v *vantage) byID(id string) *Incident {
	for _, i := range v.incidents {
		if i.ID == id {
			return i
		}
	}
	return nil
}
