package monitor

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/espra/protoplex/monitor/decide"
	"github.com/espra/protoplex/monitor/observe"
	"github.com/espra/protoplex/monitor/probe"
	"github.com/espra/protoplex/monitor/record"
	"github.com/espra/protoplex/nodes"
)

// round is what this vantage saw last.
type round struct {
	number   uint64
	at       time.Time
	controls bool
	results  map[string]observe.Result // by target
	failing  map[string][]string       // by target, those of its parts that failed in every round of its streak
	saw      map[string]string         // what was wrong with a target, or its certificate, in a few words
}

// round looks at everything once.
func (v *vantage) round(ctx context.Context) {
	at := v.m.Now().UTC()
	v.mu.Lock()
	last := v.seen
	v.mu.Unlock()

	results := make([]probe.Result, len(v.probes))
	places := make([]int, len(v.probes))
	for i := range places {
		places[i] = i
	}
	nodes.FanOut(ctx, v.m, "probes", places, func(ctx context.Context, i int) {
		// One that is slow in every phase must not hold up the round of all.
		ctx, cancel := nodes.Timeout(ctx, v.m, "round "+strconv.Itoa(i), v.cfg.Probe)
		defer cancel()
		results[i] = v.probes[i].look(ctx, last.number)
	})
	if ctx.Err() != nil {
		return // stopped half-way: what failed did so because of us
	}

	next := round{number: last.number + 1, at: at, results: map[string]observe.Result{}, failing: map[string][]string{}, saw: map[string]string{}}
	controls, reached := 0, 0
	for i, p := range v.probes {
		if p.control {
			controls++
			if results[i].Err == nil {
				reached++
			}
		}
	}
	next.controls = 2*reached >= controls
	if next.controls != last.controls && last.number > 0 {
		v.log.Info("controls", "reached", reached, "of", controls, "abstains", !next.controls)
	}
	for i, p := range v.probes {
		v.record(p, at, next.controls, results[i])
		if p.control || !next.controls || results[i].Unseen() {
			continue // without controls the round tells nothing
		}
		was, ok := last.results[p.name]
		was.Target = p.name
		now := was.Then(results[i].Err == nil, at)
		now, next.failing[p.name] = together(now, last.failing[p.name], results[i].Parts, at)
		next.results[p.name] = now
		if !now.OK {
			next.saw[p.name] = inWords(results[i])
		}
		if ok && was.OK != now.OK || !ok && !now.OK {
			v.logProbe(p.name, now.OK, results[i])
		}
	}
	v.hear(&next, last, at)
	v.tryZones(&next, last, at)
	v.mu.Lock()
	v.seen = next
	v.mu.Unlock()
}

// together begins a streak of failures anew where no part of the target has failed
// all through it: one server that misses one round after another one missed the last
// is what any network does. It gives those parts that have.
func together(now observe.Result, so, failed []string, at time.Time) (observe.Result, []string) {
	if now.OK || len(failed) == 0 || now.Streak == 1 {
		return now, failed
	}
	still := slices.DeleteFunc(slices.Clone(so), func(part string) bool { return !slices.Contains(failed, part) })
	if len(so) > 0 && len(still) == 0 {
		return observe.Result{Target: now.Target}.Then(false, at), failed
	}
	if len(so) == 0 {
		still = failed
	}
	return now, still
}

// maxSaw bounds what of a failure goes into a text, which has room for little.
const maxSaw = 70

// inWords says what a failed probe saw.
func inWords(r probe.Result) string {
	text := r.Note
	if text == "" && r.Err != nil {
		text = strings.TrimPrefix(r.Err.Error(), probe.Check+": ")
	}
	if len(text) > maxSaw {
		text = text[:maxSaw-2] + ".."
	}
	return text
}

// record keeps a result. What was seen without controls counts neither way.
func (v *vantage) record(p looker, at time.Time, controls bool, seen probe.Result) {
	r := record.Result{At: at, Target: p.name, Phases: seen.Phases, Text: seen.Note}
	if seen.Err != nil {
		r.Outcome, r.Text = record.Failed, seen.Err.Error()
	}
	switch {
	case p.control:
		r.Target = "control/" + p.name
	case !controls || seen.Unseen():
		r.Outcome = record.Unknown
	}
	v.recorder.Add(r)
}

// hear adds whether the other vantages were heard of lately, in the way of a
// probe: their silence needs a majority like anything else.
func (v *vantage) hear(next *round, last round, at time.Time) {
	if !next.controls || len(v.cfg.Peers) == 0 {
		return
	}
	heard, now := map[string]bool{v.cfg.Name: true}, v.m.Elapsed()
	for _, e := range v.board.Latest() {
		heard[e.Vantage] = heard[e.Vantage] || now-e.Arrived <= v.params.Fresh
	}
	for _, name := range v.cfg.vantages() {
		was := last.results[vantagePrefix+name]
		was.Target = vantagePrefix + name
		next.results[was.Target] = was.Then(heard[name], at)
	}
}

func (v *vantage) logProbe(target string, ok bool, r probe.Result) {
	var took []string
	for _, p := range r.Phases {
		took = append(took, fmt.Sprintf("%s %s", p.Name, p.Took.Round(time.Microsecond)))
	}
	attrs := []any{"target", target, "ok", ok, "took", strings.Join(took, ", ")}
	if r.Err != nil {
		attrs = append(attrs, "phase", r.Failed(), "error", r.Err.Error())
	}
	v.log.Info("probe", attrs...)
}

// publish puts what this vantage knows on its own board and sends it to the
// peers. The label tells concurrent callers apart.
func (v *vantage) publish(ctx context.Context, label string) {
	o := v.observation()
	if o.At.IsZero() {
		return // nothing seen yet
	}
	if err := v.board.Put(o, v.m.Elapsed()); err != nil {
		return // a newer one is there already and carries more
	}
	body, signature, err := v.seal(o)
	if err != nil {
		v.log.Error("seal observation", "error", err)
		return
	}
	nodes.FanOut(ctx, v.m, "publish "+label, v.cfg.Peers, func(ctx context.Context, p Peer) {
		ctx, cancel := nodes.Timeout(ctx, v.m, "publish "+label+" "+p.Name, v.cfg.Limit)
		defer cancel()
		err := v.send(ctx, p, body, signature)
		v.mu.Lock()
		was := v.gone[p.Name]
		v.gone[p.Name] = err != nil
		v.mu.Unlock()
		switch {
		case ctx.Err() != nil && err == nil:
		case err != nil && !was:
			v.log.Warn("peer does not take observations", "peer", p.Name, "error", err)
		case err == nil && was:
			v.log.Info("peer takes observations again", "peer", p.Name)
		}
	})
}

// seal signs an observation. What is too much for one goes without what the
// others need least, rather than not at all.
func (v *vantage) seal(o observe.Observation) (body []byte, signature string, err error) {
	most, left := v.cfg.maxMessage(), 0
	body, signature, err = observe.Seal(o, v.key, most)
	why := err
	if errors.Is(err, observe.ErrMalformed) {
		o, left = o.Fit(most)
		body, signature, err = observe.Seal(o, v.key, most)
	}
	v.mu.Lock()
	was := v.cropped
	v.cropped = left > 0
	v.mu.Unlock()
	if left > 0 && !was {
		v.log.Error("observation does not fit, sent without some of its items", "left", left, "acks", len(o.Acks), "silences", len(o.Silences),
			"texts", len(o.Texts), "error", why)
	}
	return body, signature, err
}

const (
	signatureHeader = "Observation-Signature" // over the body
	sequenceHeader  = "Observation-Sequence"  // the last that was taken, in an answer
)

func (v *vantage) send(ctx context.Context, p Peer, body []byte, signature string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(p.URL, "/")+"/observations", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set(signatureHeader, signature)
	// A peer takes each observation once, so it may be sent again over a new
	// connection. An empty key tells the transport so, and is not sent.
	req.Header["Idempotency-Key"] = nil
	resp, err := v.peers.Do(req)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if floor, err := strconv.ParseUint(resp.Header.Get(sequenceHeader), 10, 62); err == nil {
		v.mu.Lock()
		v.sequence = max(v.sequence, floor)
		v.mu.Unlock()
	}
	// 409: the peer has a newer one of ours. That is as good.
	if resp.StatusCode/100 != 2 && resp.StatusCode != http.StatusConflict {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	return nil
}

// observation puts together the next message.
func (v *vantage) observation() observe.Observation {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.sequence++
	o := observe.Observation{Vantage: v.cfg.Name, Sequence: v.sequence, At: v.seen.at, Controls: v.seen.controls}
	for _, r := range v.seen.results {
		o.Results = append(o.Results, r)
	}
	slices.SortFunc(o.Results, func(a, b observe.Result) int { return cmp.Compare(a.Target, b.Target) })
	for _, subject := range v.subjects() {
		i := v.incidents[subject]
		if !i.Over {
			o.Claims = append(o.Claims, observe.Claim{Subject: subject, Incident: i.ID, Since: i.Since, Flapping: i.Flapping})
		}
		o.Texts = append(o.Texts, i.Texts...)
		o.Acks = append(o.Acks, i.Acks...)
	}
	o.Texts = append(o.Texts, v.alive.Texts...)
	// The newest matter most, should there not be room for all.
	slices.SortStableFunc(o.Texts, func(a, b observe.Text) int { return b.At.Compare(a.At) })
	o.Silences = v.silences[:min(len(v.silences), 2*maxSilences)]
	return o
}

// reports gives the board in the decider's words.
func (v *vantage) reports(now time.Duration) []decide.Report {
	var reports []decide.Report
	for _, e := range v.board.Latest() {
		r := decide.Report{
			Vantage: e.Vantage, Rank: v.ranks[e.Vantage], Age: now - e.Arrived, Abstains: !e.Controls,
			Results: map[string]decide.Result{}, Claims: map[string]decide.Claim{},
		}
		for _, result := range e.Results {
			r.Results[result.Target] = decide.Result{OK: result.OK, Streak: result.Streak, Since: result.Since}
		}
		for _, c := range e.Claims {
			r.Claims[c.Subject] = decide.Claim{Incident: decide.Incident{ID: c.Incident, Since: c.Since}, Flapping: c.Flapping}
		}
		reports = append(reports, r)
	}
	return reports
}

// ahead counts the vantages that should act before this one: those of a lower
// rank that are there. One that does not see its controls comes after all that
// do.
func (v *vantage) ahead() int {
	now := v.m.Elapsed()
	v.mu.Lock()
	sees := v.seen.controls
	v.mu.Unlock()
	n := 0
	for _, e := range v.board.Latest() {
		if e.Vantage == v.cfg.Name || now-e.Arrived > v.params.Fresh {
			continue
		}
		if e.Controls && !sees || e.Controls == sees && v.ranks[e.Vantage] < v.cfg.Rank {
			n++
		}
	}
	return n
}

// turn says whether it is this vantage's turn to do what has been due since.
func (v *vantage) turn(since time.Duration) bool {
	return v.m.Elapsed()-since >= time.Duration(v.ahead())*v.cfg.ActorDelay
}
