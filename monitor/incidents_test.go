package monitor

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/monitor/decide"
	"github.com/espra/protoplex/monitor/home"
	"github.com/espra/protoplex/monitor/observe"
	"github.com/espra/protoplex/monitor/probe"
	"github.com/espra/protoplex/monitor/status"
	"github.com/espra/protoplex/nodes"
)

var wall = time.Date(2026, 3, 2, 14, 5, 0, 0, time.UTC)

// still is a vantage that does nothing by itself.
func still(t *testing.T) *vantage {
	c := Config{
		Name: "fremont", Probe: 10 * time.Second, OpenAfter: 3, HoldDown: 10 * time.Minute,
		Targets: []Target{
			{Target: probe.Target{Name: "us-east-proxy"}, Region: "us-east"},
			{Target: probe.Target{Name: "www"}, Home: "www.espra.com"}, {Target: probe.Target{Name: "apex"}},
		},
		Homes:  []HomeConfig{{Host: "www.espra.com", Regions: []string{"us-east", "eu-west"}, TTL: time.Minute}},
		Admins: []Admin{{Name: "ana"}}, Providers: []Provider{{Name: "linode"}},
	}
	m, err := nodes.NewOS(nodes.OSOptions{Host: nodes.Host{Name: "fremont"}, Root: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	t.Cleanup(func() { m.Close() })
	v := &vantage{
		m: m, log: m.Log(), cfg: c, params: c.params(), hosts: c.hosts(), unsaved: make(chan struct{}, 1), saving: make(chan struct{}, 1),
		verdicts: decide.State{Subjects: map[string]decide.Subject{}}, board: observe.NewBoard(nil), alive: &Incident{},
		incidents: map[string]*Incident{}, homes: map[string]home.Home{"www.espra.com": {Region: "us-east", Epoch: 1}},
	}
	v.pages = status.Handler(m, v.shown)
	return v
}

// told gives the keys of what is due and not sent, in order.
func told(v *vantage, now time.Duration) (keys []string) {
	for _, m := range v.due(now) {
		if wanted(v.incident(m).tries(m.kind, m.admin.Name)) {
			keys = append(keys, m.key())
		}
	}
	return keys
}

// sent records that a message was accepted.
func sent(i *Incident, kind, admin string) {
	i.take(observe.Text{Incident: i.ID, Kind: kind, Admin: admin, By: "fremont", N: 1, Provider: "twilio", State: observe.Accepted, At: wall})
}

func TestMessagesOfOneIncident(t *testing.T) {
	v := still(t)
	i := &Incident{ID: "APX", Subject: "apex", Open: true}
	v.incidents["apex"] = i
	steps := []struct {
		name   string
		change func()
		want   []string
	}{
		{"down", func() {}, []string{"open-0 APX ana"}},
		{"paged", func() { sent(i, "open-0", "ana") }, nil},
		{"up", func() { i.Open, i.Over = false, true }, []string{"clear-0 APX ana"}},
		{"cleared", func() { sent(i, "clear-0", "ana") }, nil},
		{"down again", func() { i.Open, i.Over, i.Flapping = true, false, true }, []string{"flap-1 APX ana"}},
		{"told once", func() { sent(i, "flap-1", "ana") }, nil},
		{"up for a moment", func() { i.Open = false }, nil},
		{"down for a moment", func() { i.Open = true }, nil},
		{"up for good", func() { i.Open, i.Over, i.Flapping = false, true, false }, []string{"clear-1 APX ana"}},
		{"never paged, so nothing to clear", func() { i.Texts = nil }, nil},
	}
	for _, s := range steps {
		s.change()
		require.Empty(t, cmp.Diff(s.want, told(v, time.Hour)), s.name)
	}
}

// While a verdict is doubted nobody is told of it and no host leaves the region.
// Doubt that comes later stops neither.
func TestDoubtWaits(t *testing.T) {
	v := still(t)
	i := &Incident{ID: "K7Q", Subject: "us-east", Since: wall, Open: true, Region: true}
	v.incidents["us-east"] = i
	doubt := func(doubted bool) {
		v.verdicts.Subjects["us-east"] = decide.Subject{Status: decide.Down, Incident: decide.Incident{ID: "K7Q", Since: wall}, Doubted: doubted}
	}
	doubt(true)
	require.Empty(t, told(v, time.Minute))
	require.False(t, v.regions(time.Minute)["us-east"].Down)
	require.False(t, v.regions(time.Minute)["us-east"].Up, "nor does one come back")
	doubt(false)
	require.Equal(t, []string{"open-0 K7Q ana"}, told(v, time.Minute))
	require.True(t, v.regions(time.Minute)["us-east"].Down)
	text := observe.Text{Incident: "K7Q", Kind: "open-0", Admin: "ana", By: "london", N: 1, Provider: "twilio", State: observe.Refused, At: wall}
	i.take(text)
	doubt(true)
	require.Empty(t, told(v, time.Minute), "nobody has heard of it")
	text.N, text.State = 2, observe.Unclear
	i.take(text)
	doubt(true)
	require.Equal(t, []string{"open-0 K7Q ana"}, told(v, time.Minute), "it may not have come")
}

func TestARegionIsOverOnceTrafficIsHome(t *testing.T) {
	v := still(t)
	i := &Incident{ID: "USE", Subject: "us-east", Open: true, Region: true}
	v.incidents["us-east"] = i
	finish := func(now time.Duration) bool {
		v.finish("us-east", nil, decide.Now{Elapsed: now, Wall: time.Unix(0, 0).Add(now)})
		return i.Over
	}
	away := home.Home{Region: "eu-west", Epoch: 2}
	v.homes["www.espra.com"] = away
	require.False(t, finish(0))
	require.True(t, i.Moved)
	i.Open = false
	v.verdicts.Subjects["us-east"] = decide.Subject{Status: decide.Up}
	require.False(t, finish(time.Minute), "its host is away")
	v.homes["www.espra.com"] = home.Home{Region: "us-east", Epoch: 3}
	require.False(t, finish(2*time.Minute), "not yet served")
	v.settled, v.settledAt = fingerprint(v.homes), 3*time.Minute
	require.False(t, finish(3*time.Minute+30*time.Second), "resolvers still keep the old address")
	require.True(t, finish(4*time.Minute))
	require.Equal(t, time.Unix(240, 0), i.Ended)
	require.True(t, finish(4*time.Minute+v.params.Reopen-1))
	require.Contains(t, v.incidents, "us-east")
	finish(4*time.Minute + v.params.Reopen)
	require.NotContains(t, v.incidents, "us-east")
}

func TestWhatFlappedMustStayUp(t *testing.T) {
	v := still(t)
	i := &Incident{ID: "APX", Subject: "apex", Flapping: true}
	v.incidents["apex"] = i
	v.verdicts.Subjects["apex"] = decide.Subject{Status: decide.Up, Flapping: true}
	v.finish("apex", nil, decide.Now{Elapsed: v.cfg.HoldDown - 1})
	require.False(t, i.Over)
	v.finish("apex", map[string]bool{"APX": true}, decide.Now{Elapsed: v.cfg.HoldDown})
	require.False(t, i.Over, "a vantage before this one knows of more")
	v.finish("apex", nil, decide.Now{Elapsed: v.cfg.HoldDown})
	require.True(t, i.Over)
}

func TestAdoptedNameKeepsWhatWasDone(t *testing.T) {
	v := still(t)
	i := &Incident{ID: "OLD", Subject: "apex", Open: true, Since: wall}
	sent(i, "open-0", "ana")
	v.incidents["apex"] = i
	adopt := func(since time.Time) {
		v.verdicts.Subjects["apex"] = decide.Subject{Status: decide.Down, Incident: decide.Incident{ID: "NEW", Since: since}}
		v.adopt(decide.Now{})
	}
	adopt(wall.Add(5 * time.Minute)) // clocks differ
	require.Equal(t, "NEW", v.incidents["apex"].ID)
	require.Empty(t, told(v, time.Hour), "nobody is paged for the new name")

	v.incidents["apex"].ID = "OLD"
	adopt(wall.Add(time.Hour))
	require.Equal(t, "NEW", v.incidents["apex"].ID)
	require.Equal(t, []string{"open-0 NEW ana"}, told(v, time.Hour), "that is another outage")
	require.Len(t, v.past, 1)
}

// What fails in turn has not failed for long, and what fails all along has.
func TestPartsThatFailTogether(t *testing.T) {
	at := time.Date(2026, 3, 2, 14, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		rounds [][]string // of each, the parts that failed; nil if nothing did
		streak int
		since  int // the round in which it began
		still  []string
	}{
		"one all along":      {[][]string{{"a"}, {"a"}, {"a"}}, 3, 0, []string{"a"}},
		"others beside it":   {[][]string{{"a", "b"}, {"a"}, {"a", "c"}}, 3, 0, []string{"a"}},
		"in turn":            {[][]string{{"a"}, {"b"}, {"c"}}, 1, 2, []string{"c"}},
		"the second goes on": {[][]string{{"a"}, {"b"}, {"b"}}, 2, 1, []string{"b"}},
		"well in between":    {[][]string{{"a"}, nil, {"a"}}, 1, 2, []string{"a"}},
		"no parts":           {[][]string{{}, {}, {}}, 3, 0, []string{}},
		"parts later":        {[][]string{{}, {"a"}}, 2, 0, []string{"a"}},
		"parts before":       {[][]string{{"a"}, {}, {"b"}}, 3, 0, []string{"b"}},
	} {
		t.Run(name, func(t *testing.T) {
			var r observe.Result
			var still []string
			for i, failed := range c.rounds {
				when := at.Add(time.Duration(i) * 10 * time.Second)
				r, still = together(r.Then(failed == nil, when), still, failed, when)
			}
			require.Equal(t, observe.Result{Streak: c.streak, Since: at.Add(time.Duration(c.since) * 10 * time.Second)}, r)
			require.Equal(t, c.still, still)
		})
	}
}

// An acknowledgement ends with the all-clear, whatever the clock of the vantage said
// that was told of it.
func TestAcknowledgementEnds(t *testing.T) {
	at := time.Date(2026, 3, 2, 14, 0, 0, 0, time.UTC)
	tell := func(i *Incident, kind string, at time.Time) {
		require.True(t, i.take(observe.Text{Incident: i.ID, Kind: kind, Admin: "ana", By: "fremont", N: 1, State: observe.Delivered, At: at}))
	}
	for _, ahead := range []time.Duration{-8 * time.Minute, 0, 8 * time.Minute} {
		i := &Incident{ID: "7K2", Subject: "us-east"}
		tell(i, "open-0", at)
		require.True(t, i.acknowledge(observe.Ack{Incident: i.ID, By: "ana", At: at.Add(time.Minute + ahead), Phase: i.cleared()}))
		require.Equal(t, "ana", i.acknowledged())
		tell(i, "clear-0", at.Add(6*time.Minute))
		require.Empty(t, i.acknowledged(), "told by a clock %s ahead", ahead)
		tell(i, "open-1", at.Add(9*time.Minute))
		require.True(t, i.acknowledge(observe.Ack{Incident: i.ID, By: "raj", At: at.Add(10*time.Minute + ahead), Phase: i.cleared()}))
		require.Equal(t, "raj", i.acknowledged())
	}
}

// What pages and GET /status show of an incident is in words, and a zone that nothing
// was ever wrong with is not shown.
func TestWhatIsShown(t *testing.T) {
	v := still(t)
	i := &Incident{ID: "WWW", Subject: "www", Open: true, Since: wall}
	for n, kind := range []string{"open-0", "flap-0", "clear-0", "open-1", "clear-1", "stuck-1"} {
		i.take(observe.Text{Incident: "WWW", Kind: kind, Admin: "ana", By: "fremont", N: 1, Provider: "sns", State: observe.Accepted, At: wall.Add(time.Duration(n) * time.Minute)})
	}
	v.incidents["www"] = i
	v.verdicts.Subjects["www"] = decide.Subject{Status: decide.Down, Folded: true}
	v.verdicts.Subjects["zone-linode"] = decide.Subject{}
	v.seen.results = map[string]observe.Result{}

	shown := v.shownIncidents(time.Minute, true)
	require.Len(t, shown, 1)
	require.True(t, shown[0].Folded)
	var told []string
	for _, m := range shown[0].Timeline[1:] {
		told = append(told, strings.TrimSuffix(m.What, " to ana by fremont through sns: accepted"))
	}
	require.Equal(t, []string{"text: down", "text: flapping", "text: all clear", "text: down again", "text: all clear again", "text: stuck"}, told)

	status := func() (all Status) {
		w := httptest.NewRecorder()
		v.status(w, httptest.NewRequest(http.MethodGet, "/status", nil))
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &all))
		return all
	}
	require.Contains(t, status().Subjects, "www")
	require.NotContains(t, status().Subjects, "zone-linode")
	v.verdicts.Subjects["zone-linode"] = decide.Subject{Status: decide.Down}
	require.Contains(t, status().Subjects, "zone-linode")
}
