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
	tries map[string]int           // by message: attempts of this run that came to nothing
	next  map[string]time.Duration // by message: no attempt before
	asked map[observe.Text]delivery
}

// delivery is how asking after a text goes on.
type delivery struct {
	since, next time.Duration
	asked       int
}

// question asks a provider after one text, whatever it told of.
type question struct {
	records []observe.Text
	texter  sms.Texter
	age     time.Duration
	words   string // while it is unclear
	state   observe.State
	receipt string
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

// attempt is one text on its way to an admin through one provider.
type attempt struct {
	messages []message // that it tells; the first is the one that it names
	admin    Admin
	texter   texter
	text     string
	records  []observe.Text // one for each message
	outcome  sms.Outcome
	receipt  string
	err      error
}

func (a *attempt) lead() message { return a.messages[0] }

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
		attempts = append(attempts, attempt{messages: []message{m}, admin: m.admin, texter: v.after(tries, m.region)})
	}
	for key := range v.pager.seen {
		if !live[key] {
			delete(v.pager.seen, key)
			delete(v.pager.tries, key)
			delete(v.pager.next, key)
		}
	}
	return gather(attempts)
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
		for _, m := range a.messages {
			i := v.incident(m)
			n := 1
			for _, t := range i.tries(m.kind, m.admin.Name) {
				if t.By == v.cfg.Name {
					n = max(n, t.N+1)
				}
			}
			record := observe.Text{Incident: m.incident, Kind: m.kind, Admin: m.admin.Name, By: v.cfg.Name, N: n,
				Provider: a.texter.Name(), State: observe.Begun, At: wall}
			if len(a.messages) > 1 {
				record.Lead = a.lead().incident
			}
			i.take(record)
			i.keep(record, a.text)
			a.records = append(a.records, record)
		}
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
		ctx, cancel := nodes.Timeout(ctx, v.m, "sms "+a.lead().key(), apiLimit)
		defer cancel()
		var connected atomic.Bool
		ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected.Store(true) }})
		receipt, err := a.texter.Text(ctx, a.admin.Phone, a.text)
		a.outcome, a.err, a.receipt = receipt.Outcome, err, receipt.ID
		if a.outcome == sms.Unknown && !connected.Load() {
			a.outcome = sms.Refused // it never left this machine
		}
	})
	now := v.m.Elapsed()
	v.mu.Lock()
	for k := range attempts {
		a := &attempts[k]
		for n, record := range a.records {
			record.Receipt = a.receipt
			switch a.outcome {
			case sms.Accepted:
				record.State = observe.Accepted
			case sms.Refused:
				record.State = observe.Refused
			default:
				record.State = observe.Unclear
				v.pager.asked[record] = delivery{since: now, next: now + v.cfg.Probe}
			}
			i := v.incident(a.messages[n])
			i.take(record)
			i.keep(record, a.text)
			if a.outcome != sms.Accepted {
				v.pace(a.messages[n].key(), now)
			}
		}
	}
	v.mu.Unlock()
	v.changed()
	v.save(ctx, "page")
	v.logSent(attempts)
}

// pace says when a message that was not accepted, or was lost, is tried again: at
// once while there is another provider to ask, then ever more slowly.
func (v *vantage) pace(key string, now time.Duration) {
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
			v.log.Warn("sms not accepted", "admin", a.admin.Name, "incident", a.lead().incident, "provider", a.texter.Name(),
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
		v.log.Info(message, "admins", strings.Join(admins, ", "), "text", v.withoutToken(a.text, a.lead().incident), "incident", a.lead().incident,
			"provider", a.texter.Name())
	}
}

// askDeliveries asks providers after what this vantage sent, and says whether
// there is news: what was lost, or not taken, goes to the next provider.
func (v *vantage) askDeliveries(ctx context.Context) (news bool) {
	now := v.m.Elapsed()
	type sent struct {
		observe.Text
		texter sms.Texter
		words  string // while it is unclear
	}
	var own []sent
	v.mu.Lock()
	add := func(i *Incident) {
		for _, t := range i.Texts {
			at := slices.IndexFunc(v.texters, func(p texter) bool { return p.Name() == t.Provider })
			if t.By == v.cfg.Name && at >= 0 {
				own = append(own, sent{t, v.texters[at], i.Words[wordsKey(t)]})
			}
		}
	}
	for _, subject := range v.subjects() {
		add(v.incidents[subject])
	}
	add(v.alive)
	v.mu.Unlock()
	asked := map[observe.Text]delivery{}
	// One text is asked after once, whatever it told of.
	type same struct {
		admin, provider, receipt, words string
		at                              time.Time
	}
	var questions []*question
	byText := map[same]*question{}
	ask := func(t sent, d delivery) {
		key := same{t.Admin, t.Provider, t.Receipt, t.words, t.At}
		q := byText[key]
		if q == nil {
			q = &question{texter: t.texter, age: now - d.since, words: t.words, state: t.State, receipt: t.Receipt}
			byText[key] = q
			questions = append(questions, q)
		}
		q.records = append(q.records, t.Text)
	}
	for _, t := range own {
		key := t.Text
		if t.State == observe.Late {
			key.State = observe.Accepted
		}
		d, ok := v.pager.asked[key]
		if !ok {
			d = delivery{since: now, next: now + v.cfg.Probe}
		}
		switch {
		case key.State == observe.Unclear && t.words != "":
			if now >= d.next {
				d.next = now + v.cfg.Probe<<min(d.asked, 3)
				d.asked++
				ask(t, d)
			}
		case key.State == observe.Accepted && t.Receipt != "":
			if now >= d.next && now-d.since < 2*v.cfg.lateAfter() {
				d.next = now + v.cfg.Probe
				ask(t, d)
			}
		default:
			continue
		}
		asked[key] = d
	}
	v.pager.asked = asked
	nodes.FanOut(ctx, v.m, "deliveries", questions, v.askDelivery)
	v.mu.Lock()
	known := v.known()
	for _, q := range questions {
		for _, t := range q.records {
			if q.state == t.State {
				continue
			}
			t.State, t.Receipt = q.state, q.receipt
			i := v.alive
			if t.Kind != kindAlive {
				i = known[t.Incident]
			}
			if i != nil && i.take(t) {
				i.keep(t, q.words)
				news = true
				key := messageKey(t.Kind, t.Incident, t.Admin)
				if _, due := v.pager.seen[key]; due && t.State == observe.Lost {
					v.pace(key, now)
				}
			}
		}
	}
	v.mu.Unlock()
	if news {
		v.changed()
	}
	return news
}

// askDelivery asks one provider, and sets what became of the text.
func (v *vantage) askDelivery(ctx context.Context, q *question) {
	t := q.records[0]
	ctx, cancel := nodes.Timeout(ctx, v.m, fmt.Sprint("delivery ", t.Kind, " ", t.Incident, " ", t.Admin, " ", t.N), apiLimit)
	defer cancel()
	if t.State == observe.Unclear {
		r, err := q.texter.Find(ctx, v.cfg.admin(t.Admin).Phone, q.words, t.At)
		switch r.Outcome {
		case sms.Accepted:
			q.state, q.receipt = observe.Accepted, r.ID
		case sms.Refused:
			q.state = observe.Refused
		default:
			v.log.Debug("sms still unclear", "admin", t.Admin, "incident", t.Incident, "provider", t.Provider, "error", err)
			return
		}
		v.log.Info("sms looked up", "admin", t.Admin, "incident", t.Incident, "provider", t.Provider, "outcome", string(r.Outcome))
		return
	}
	state, err := q.texter.Delivery(ctx, t.Receipt)
	switch {
	case state == sms.Delivered:
		q.state = observe.Delivered
	case state == sms.Failed:
		q.state = observe.Lost
	case state == sms.Underway && q.age >= v.cfg.lateAfter():
		q.state = observe.Late
	}
	if q.state != t.State && q.state != observe.Delivered {
		v.log.Warn("sms not delivered", "admin", t.Admin, "incident", t.Incident, "provider", t.Provider, "state", q.state.String(), "error", errors.Join(err))
	}
}

// learn takes over what other vantages sent and were told, so that it stays
// known when they are gone, and says whether this vantage has news for them.
func (v *vantage) learn() (news bool) {
	latest := v.board.Latest()
	v.mu.Lock()
	defer v.mu.Unlock()
	known := v.known()
	for _, e := range latest {
		if e.Vantage == v.cfg.Name {
			continue
		}
		for _, t := range e.Texts {
			i := known[t.Incident]
			if t.Incident == v.alive.ID {
				i = v.alive
			}
			if i != nil && i.take(t) {
				v.changed()
			}
		}
		var acks []observe.Ack
		for _, a := range e.Acks {
			if i := known[a.Incident]; i != nil && i.acknowledge(a) {
				acks = append(acks, a)
				v.changed()
			}
		}
		v.logAcks(acks, e.Vantage)
		v.hush(e.Silences)
	}
	news, v.news = v.news, false
	return news
}

// known are the incidents that are not history, by ID. The caller holds mu.
func (v *vantage) known() map[string]*Incident {
	known := map[string]*Incident{}
	for _, subject := range v.subjects() {
		i := v.incidents[subject]
		known[i.ID] = i
	}
	return known
}

// byID finds an incident that is not history. The caller holds mu.
func (v *vantage) byID(id string) *Incident { return v.known()[id] }
