package monitor_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/monitor"
	"github.com/espra/protoplex/monitor/decide"
	"github.com/espra/protoplex/nodes"
)

// client speaks to a vantage as an admin on its machine does.
func (v *vantage) client() *monitor.Client {
	m, err := nodes.NewOS(nodes.OSOptions{Host: nodes.Host{Name: "desk"}, Root: v.root})
	require.NoError(v.desk.t, err)
	v.desk.t.Cleanup(func() { m.Close() })
	c, err := monitor.NewClient(m, v.cfg, v.url())
	require.NoError(v.desk.t, err)
	return c
}

func (v *vantage) url() string { return "http://" + v.addr + ":8700" }

const ana, raj = "+15550000001", "+15550000002"

// The link of a text leads to a page where its reader says to look after the
// incident. Nobody else is woken then, whichever vantage was told.
func TestAcknowledgeByLink(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 4, time.Second)
	for _, v := range d.vantages {
		v.cfg.Escalate = []monitor.Level{{Admins: []string{"ana"}}, {After: 3 * time.Second, Admins: []string{"raj"}}}
		v.start()
	}
	first, third := d.vantages[0], d.vantages[2]
	first.wait(1, "first verdict target=us-east ")
	d.regions["us-east"].broken.Store(true)
	first.wait(1, "sms sent admins=ana")
	texts := d.texts(ana)
	require.Len(t, texts, 1)
	require.Empty(t, d.texts(raj))
	link := texts[0][strings.LastIndex(texts[0], "/")+1:]
	id, code, ok := strings.Cut(link, "-")
	require.True(t, ok, texts[0])
	found, _ := first.logs.find("sms sent")
	require.NotContains(t, found[0], code, "what acknowledges is not logged")

	// Looking changes nothing, and shows names to nobody without the right code.
	third.wait(1, "verdict target=us-east")
	look := func(link string) (int, string) {
		resp, err := http.Get(third.url() + "/i/" + link)
		require.NoError(t, err)
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return resp.StatusCode, string(body)
	}
	status, page := look(link)
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, page, "us-east: incident "+id)
	require.Contains(t, page, `value="`+code+`"`)
	require.Contains(t, page, "Nobody has acknowledged it.")
	require.Contains(t, page, "<option>ana<option>raj")
	for _, stranger := range []string{id + "-AAAAAAAA", id} {
		_, page = look(stranger)
		require.NotRegexp(t, `\b(ana|raj)\b`, page)
	}
	status, _ = look("ZZZ")
	require.Equal(t, http.StatusNotFound, status)

	answer := func(token, by string) (int, string) {
		resp, err := http.PostForm(third.url()+"/i/"+id, url.Values{"token": {token}, "by": {by}})
		require.NoError(t, err)
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return resp.StatusCode, string(body)
	}
	status, _ = answer("AAAAAAAA", "ana")
	require.Equal(t, http.StatusForbidden, status)
	status, _ = answer(code, "eve")
	require.Equal(t, http.StatusBadRequest, status)
	status, page = answer(strings.ToLower(code), "ana")
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, page, "Acknowledged by <strong>ana</strong>.")
	for _, v := range d.vantages {
		v.wait(1, "acknowledged incident="+id+" by=ana told=singapore")
	}
	_, page = look(id + "-AAAAAAAA")
	require.Contains(t, page, "Acknowledged by <strong>an admin</strong>.")
	for _, path := range []string{"/", "/status.json", "/status"} {
		_, body := third.get(path)
		require.Contains(t, body, id)
		require.NotRegexp(t, `\b(ana|raj)\b`, body)
	}

	// Whoever guesses waits, with a right code too.
	for range 10 {
		status, _ = answer("AAAAAAAA", "ana")
	}
	require.Equal(t, http.StatusTooManyRequests, status)
	status, _ = answer(code, "ana")
	require.Equal(t, http.StatusTooManyRequests, status)

	d.regions["us-east"].broken.Store(false)
	first.wait(2, "sms sent admins=ana")
	require.Empty(t, d.texts(raj), "raj slept")
	_, page = first.get("/i/" + link)
	require.Contains(t, page, "down to ana by fremont")
	_, page = first.get("/i/" + id + "-AAAAAAAA")
	require.Contains(t, page, "down by fremont")
	require.Len(t, d.texts(ana), 2)
}

func TestUnacknowledgedPagesEscalate(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 5, time.Second)
	for _, v := range d.vantages {
		v.cfg.Escalate = []monitor.Level{{Admins: []string{"ana"}}, {After: time.Second, Admins: []string{"raj"}}}
		v.start()
	}
	first := d.vantages[0]
	first.wait(1, "first verdict target=us-east ")
	d.regions["us-east"].broken.Store(true)
	first.wait(1, "sms sent admins=raj")
	require.Regexp(t, `^ESPRA DOWN us-east since \d\d:\d\d:\d\dZ, [23]/3 vantages\. No answer from ana\. `, d.texts(raj)[0])
	require.Len(t, d.texts(ana), 1)
	d.regions["us-east"].broken.Store(false)
	first.wait(1, "sms sent admins=ana, raj text=ESPRA OK")
}

// Nobody is paged for planned work, on whichever vantage it was announced;
// names move all the same; and what is still down at the end is paged then.
func TestSilence(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 6, time.Second, "linode")
	for _, v := range d.vantages {
		v.start()
	}
	first, third := d.vantages[0], d.vantages[2]
	first.wait(1, "first verdict target=us-east ")
	now := time.Now().UTC()
	_, err := third.client().Do(t.Context(), monitor.Command{By: "eve", Silence: &decide.Silence{ID: "S"}})
	require.ErrorContains(t, err, `no admin has that name: "eve"`)
	work := decide.Silence{ID: "WORK", Subject: "us-east", From: now.Add(-time.Second), Until: now.Add(24 * time.Hour), Why: "new switch"}
	said, err := third.client().Do(t.Context(), monitor.Command{By: "raj", Silence: &work})
	require.NoError(t, err)
	require.Regexp(t, "^us-east is silenced until ", said)
	require.Eventually(t, func() bool {
		s, err := first.client().Status(t.Context())
		return err == nil && len(s.Silences) == 1 && s.Silences[0].By == "raj"
	}, 10*time.Second, 50*time.Millisecond)

	d.regions["us-east"].broken.Store(true)
	first.wait(1, "home set hosts=us-1.live.espra.com, www.espra.com region=eu-west epoch=2")
	require.Empty(t, d.texts(ana))
	// The work takes less time than announced, and the region is not back.
	said, err = third.client().Do(t.Context(), monitor.Command{By: "raj", Lift: "us-east"})
	require.NoError(t, err)
	require.Equal(t, "us-east is silenced no longer", said)
	first.wait(1, "sms sent admins=ana, raj")
	require.Contains(t, d.texts(ana)[0], "DNS moved to eu-west.")
	_, err = third.client().Do(t.Context(), monitor.Command{By: "raj", Lift: "us-east"})
	require.ErrorContains(t, err, `"us-east" is not silenced`)
}

// A silence that keeps homes lets none move.
func TestSilenceThatKeepsHomes(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 7, time.Second, "linode")
	for _, v := range d.vantages {
		v.cfg.Silences = []monitor.SilenceConfig{{
			Subject: "us-east", From: time.Now().Add(-time.Hour).UTC(), Until: time.Now().Add(time.Hour).UTC(), Why: "new switch", Keep: true,
		}}
		v.start()
	}
	first := d.vantages[0]
	first.wait(1, "home confirmed")
	d.regions["us-east"].broken.Store(true)
	first.wait(1, "verdict target=us-east region=us-east state=down")
	d.regions["us-east"].broken.Store(false)
	first.wait(1, "verdict target=us-east region=us-east state=up")
	found, _ := first.logs.find("plan ")
	require.Empty(t, found)
	require.Empty(t, d.texts(ana))
}

// A dead vantage is told of once, to the first level alone, and is no reason to
// doubt the rest.
func TestSilentVantage(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 8, time.Second)
	for _, v := range d.vantages {
		v.cfg.SilentAfter = 2 * time.Second
		v.cfg.Escalate = []monitor.Level{{Admins: []string{"ana"}}, {After: time.Millisecond, Admins: []string{"raj"}}}
		v.start()
	}
	first, second, third := d.vantages[0], d.vantages[1], d.vantages[2]
	second.wait(1, "first verdict target=vantage-fremont ")
	first.stop()
	second.wait(1, "verdict target=vantage-fremont region= state=silent votes=2")
	second.wait(1, "sms sent admins=ana text=ESPRA SILENT vantage-fremont")
	d.regions["us-east"].broken.Store(true)
	second.wait(1, "sms sent admins=ana text=ESPRA DOWN us-east")
	second.wait(1, "sms sent admins=raj text=ESPRA DOWN us-east")
	first.start()
	second.wait(1, "verdict target=vantage-fremont region= state=up")
	third.wait(1, "verdict target=vantage-fremont region= state=up")
	d.regions["us-east"].broken.Store(false)
	first.wait(1, "sms sent admins=ana, raj text=ESPRA OK us-east")
	for _, text := range d.texts(raj) {
		require.NotContains(t, text, "vantage-fremont")
	}
}

// Commands are refused without the secret, out of their time, or malformed.
func TestCommandsRefused(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 10, time.Second)
	first := d.vantages[0]
	first.start()
	first.wait(1, "monitor started")
	_, err := first.client().Do(t.Context(), monitor.Command{By: "ana", Ack: "7K2"})
	require.ErrorContains(t, err, "no such incident is known here")
	_, err = first.client().Do(t.Context(), monitor.Command{By: "ana", Ack: "7K2", Lift: "us-east"})
	require.ErrorContains(t, err, "want one of ack, silence and lift")
	for _, c := range []struct {
		s    decide.Silence
		want string
	}{
		{decide.Silence{ID: "S", Subject: "us-eats", Until: time.Now().Add(time.Hour), Why: "x"}, `nothing is called "us-eats"; did you mean us-east?`},
		{decide.Silence{ID: "S", Subject: "us-east", From: time.Now(), Until: time.Now().Add(200 * time.Hour), Why: "x"}, "it lasts 200h"},
		{decide.Silence{ID: "S", Subject: "us-east", From: time.Now(), Until: time.Now().Add(time.Hour)}, "say why"},
		{decide.Silence{ID: "S", Subject: "us-east", From: time.Now().Add(-2 * time.Hour), Until: time.Now().Add(-time.Hour), Why: "x"}, "is over"},
		{decide.Silence{Subject: "us-east"}, "no id"},
	} {
		_, err := first.client().Do(t.Context(), monitor.Command{By: "ana", Silence: &c.s})
		require.ErrorContains(t, err, c.want)
	}
	stranger := *first
	stranger.program = d.program(60, nil, nil)
	stranger.file("/secret", "not that of the others")
	m, err := nodes.NewOS(nodes.OSOptions{Host: nodes.Host{Name: "desk"}, Root: stranger.root})
	require.NoError(t, err)
	defer m.Close()
	c, err := monitor.NewClient(m, first.cfg, first.url())
	require.NoError(t, err)
	_, err = c.Do(t.Context(), monitor.Command{By: "ana", Ack: "7K2"})
	require.ErrorContains(t, err, "not signed with this vantage's secret")
	s, err := first.client().Status(t.Context())
	require.NoError(t, err)
	require.Empty(t, s.Silences)
}

// The story of an incident is in the status, with all that was done.
func TestTimeline(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 11, time.Second, "linode")
	for _, v := range d.vantages {
		v.start()
	}
	first := d.vantages[0]
	first.wait(1, "home confirmed")
	d.regions["us-east"].broken.Store(true)
	down := first.wait(1, "verdict target=us-east ")
	id := regexp.MustCompile(`incident=(\w+)`).FindStringSubmatch(down)[1]
	first.wait(1, "home set")
	first.wait(1, "sms sent")
	_, err := first.client().Do(t.Context(), monitor.Command{By: "raj", Ack: id})
	require.NoError(t, err)
	d.regions["us-east"].broken.Store(false)
	first.wait(2, "sms sent")
	s, err := first.client().Status(t.Context())
	require.NoError(t, err)
	k := slices.IndexFunc(s.Incidents, func(i monitor.IncidentStatus) bool { return i.ID == id })
	require.GreaterOrEqual(t, k, 0)
	var whats []string
	for _, m := range s.Incidents[k].Timeline {
		whats = append(whats, m.What)
	}
	text, err := json.Marshal(s.Incidents[k])
	require.NoError(t, err)
	require.Subset(t, whats, []string{"opened", "text", "plan", "changed", "read back", "home set", "acknowledged", "up", "over"}, string(text))
	require.Equal(t, "over", s.Incidents[k].State)
	require.Regexp(t, `down to ana by fremont through twilio: (accepted|delivered)"`, string(text))
}

// A key that lost its rights is told of to those who were paged, as it keeps the
// names where they are.
func TestDeniedKeyIsPaged(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 12, time.Second, "linode")
	for _, v := range d.vantages {
		v.cfg.ActorDelay = 400 * time.Millisecond
		v.file("/wrong", "not the token")
		v.cfg.Providers[0].Token = "/wrong"
		v.start()
	}
	first := d.vantages[0]
	first.wait(1, "first verdict target=us-east ")
	first.wait(1, "homes are stuck incident= why=linode denies our key")
	require.Empty(t, d.texts(ana), "while nothing has to move")
	d.regions["us-east"].broken.Store(true)
	first.wait(1, "sms sent admins=ana, raj text=ESPRA STUCK us-east")
	texts := d.texts(ana)
	require.Len(t, texts, 2)
	require.Regexp(t, `^ESPRA STUCK us-east since \d\d:\d\d:\d\dZ\. DNS not moved: linode denies our key\. `, texts[1])
}
