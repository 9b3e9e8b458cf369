package monitor

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/monitor/decide"
	"github.com/espra/protoplex/monitor/sms"
)

// With 500 targets, of which many go at once: each admin is woken once, a region
// that goes as well is told of and its names move, and all-clears share a text too.
func TestManyAtOnce(t *testing.T) {
	if testing.Short() {
		t.Skip("it is long under the race detector")
	}
	var names []string
	w := newWorld(t, func(c *Config) {
		names = watch(c, 500)
		c.HoldDown = 2 * time.Minute
	})
	w.run(time.Minute)
	for _, name := range names[:90] {
		w.down[name] = true
	}
	w.run(2 * time.Minute)
	for _, admin := range worldAdmins {
		texts := w.gateway.to(admin.Phone, "")
		require.Len(t, texts, 1)
		require.Regexp(t, `^twilio ESPRA DOWN 90 targets, first shop-000-frontend since 14:01:\d\dZ, [23]/3 vantages\. \w{3} espra\.com/i/\w{3}-\w{8}$`, texts[0])
	}
	w.lose("us-east")
	w.run(2 * time.Minute)
	require.Len(t, w.gateway.to(ana, ""), 2)
	require.Len(t, w.gateway.to(ana, "ESPRA DOWN us-east"), 1)
	require.Contains(t, fmt.Sprint(w.zone.records), "region=eu-west epoch=2")
	for _, s := range w.vantages {
		require.Equal(t, map[string]bool{}, s.lost(), "%s sends what all take", s.name)
	}
	w.heal()
	w.run(5 * time.Minute)
	require.Len(t, w.gateway.to(ana, "ESPRA OK 90 targets, first shop-000-frontend since "), 1)
	require.Len(t, w.gateway.to(ana, "ESPRA OK us-east, traffic home "), 1)
	require.Len(t, w.gateway.to(ana, ""), 4)
}

// named gives the incident that a text names.
func named(text string) string {
	link := text[strings.LastIndex(text, "/")+1:]
	id, _, _ := strings.Cut(link, "-")
	return id
}

// Few are told one by one, and only what is alike shares a text.
func TestGather(t *testing.T) {
	at := func(n int) time.Time { return worldStart.Add(time.Duration(n) * time.Second) }
	one := func(n int, admin, sharing, provider string, words func(sms.Alert) string) attempt {
		id := fmt.Sprint("I", n)
		a := Admin{Name: admin}
		return attempt{admin: a, texter: texter{seatTexter{name: provider}, ""}, messages: []message{{
			kind: "open-0", incident: id, subject: fmt.Sprint("t", n), admin: a, sharing: sharing, words: words,
			alert: sms.Alert{What: fmt.Sprint("t", n), Since: at(-n), Votes: 3, Vantages: 3, Incident: id, Doing: "Saw: no answer."},
		}}}
	}
	var attempts []attempt
	for n := range 5 {
		attempts = append(attempts, one(n, "ana", "open", "twilio", sms.Alert.Down), one(n, "raj", "open", "twilio", sms.Alert.Down))
	}
	attempts = append(attempts, one(5, "raj", "open", "sns", sms.Alert.Down), one(6, "ana", "flap", "twilio", sms.Alert.Flapping))
	for n := range 3 {
		attempts = append(attempts, one(10+n, "ana", "open certificate", "twilio", sms.Alert.Certificate))
	}
	for n := range 5 {
		attempts = append(attempts, one(20+n, "ana", "", "twilio", sms.Alert.Silent))
	}
	var got []string
	for _, a := range gather(attempts) {
		require.Equal(t, a.lead().alert.Incident, a.lead().incident)
		got = append(got, fmt.Sprint(a.admin.Name, " ", len(a.messages), " ", a.text))
	}
	require.Equal(t, []string{
		"ana 5 ESPRA DOWN 5 targets, first t4 since 13:59:56Z, 3/3 vantages. I4",
		"raj 5 ESPRA DOWN 5 targets, first t4 since 13:59:56Z, 3/3 vantages. I4",
		"raj 1 ESPRA DOWN t5 since 13:59:55Z, 3/3 vantages. Saw: no answer. I5",
		"ana 1 ESPRA FLAPPING t6 since 13:59:54Z, 3/3 vantages. Saw: no answer. I6",
		"ana 1 ESPRA CERTIFICATE t10 since 13:59:50Z, 3/3 vantages. Saw: no answer. I10",
		"ana 1 ESPRA CERTIFICATE t11 since 13:59:49Z, 3/3 vantages. Saw: no answer. I11",
		"ana 1 ESPRA CERTIFICATE t12 since 13:59:48Z, 3/3 vantages. Saw: no answer. I12",
		"ana 1 ESPRA SILENT t20 since 13:59:40Z, 3/3 vantages. Saw: no answer. I20",
		"ana 1 ESPRA SILENT t21 since 13:59:39Z, 3/3 vantages. Saw: no answer. I21",
		"ana 1 ESPRA SILENT t22 since 13:59:38Z, 3/3 vantages. Saw: no answer. I22",
		"ana 1 ESPRA SILENT t23 since 13:59:37Z, 3/3 vantages. Saw: no answer. I23",
		"ana 1 ESPRA SILENT t24 since 13:59:36Z, 3/3 vantages. Saw: no answer. I24",
	}, got)
}

// One answer is for all that the text told of, though the incident that it named
// is over by then; what comes back after its all-clear is news again.
func TestOneAnswerForAll(t *testing.T) {
	var names []string
	w := newWorld(t, func(c *Config) {
		names = watch(c, 6)
		c.Escalate = []Level{{Admins: []string{"ana"}}, {After: 4 * time.Minute, Admins: []string{"raj"}}}
	})
	raj := worldAdmins[1].Phone
	w.run(time.Minute)
	for _, name := range names {
		w.down[name] = true
	}
	w.run(time.Minute)
	texts := w.gateway.to(ana, "ESPRA DOWN 6 targets, first "+names[0])
	require.Len(t, texts, 1)
	id := named(texts[0])
	w.down["apex"], w.down[names[0]] = true, false
	w.run(time.Minute)
	last := w.vantages[2]
	require.True(t, last.incidents[names[0]].Over)

	token := last.secret.token(id)
	page := func() string {
		answer := httptest.NewRecorder()
		last.server().Handler.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/i/"+id+"-"+token, nil))
		require.Equal(t, http.StatusOK, answer.Code)
		return answer.Body.String()
	}
	require.Contains(t, page(), "The same text told of 5 more: "+strings.Join(names[1:], ", ")+". One answer is for all.")
	require.Contains(t, page(), `value="`+token+`"`)
	said, err := last.obey(Command{By: "raj", Ack: id})
	require.NoError(t, err)
	require.Equal(t, "raj looks after the 5 incidents of the text that named "+id+"; nobody else is woken for them", said)
	require.NotContains(t, page(), "The same text")

	w.run(10 * time.Minute)
	for _, s := range w.vantages {
		for _, name := range names[1:] {
			require.Equal(t, "raj", s.incidents[name].acknowledged(), "%s as %s knows it", name, s.name)
		}
	}
	require.Len(t, w.gateway.to(raj, ""), 1)
	require.Len(t, w.gateway.to(raj, "ESPRA DOWN apex"), 1, "which was told in a text of its own")
	require.Empty(t, last.incidents[names[0]].acknowledged(), "it was over")

	back := names[1]
	w.down[back] = false
	w.run(time.Minute)
	w.down[back] = true
	w.run(time.Minute)
	require.Len(t, w.gateway.to(ana, "ESPRA FLAPPING "+back), 1)
	n, err := last.acknowledge(id, "ana")
	require.NoError(t, err)
	require.Equal(t, 4, n)
	require.Empty(t, last.incidents[back].acknowledged(), "it was told anew")
	w.heal()
	w.run(2 * time.Minute)
	require.Len(t, w.gateway.to(ana, "ESPRA OK 5 targets, first "+names[2]), 1, "and apex")
	_, err = last.acknowledge(last.incidents[names[2]].ID, "ana")
	require.ErrorIs(t, err, errOver)
}

// Two vantages that do not hear one another call an outage by two names, and each text
// has that of its sender. Once they agree, both links lead to it, and both names answer.
func TestEitherNameAnswers(t *testing.T) {
	w := newWorld(t, nil)
	w.vantages[0].skew = -40 * time.Second // names differ by the minute
	w.run(70 * time.Second)
	w.apart = [2]string{"fremont", "london"}
	w.down["apex"] = true
	w.run(2 * time.Minute)
	w.apart = [2]string{}
	w.run(time.Minute)
	texts := w.gateway.to(ana, "ESPRA DOWN apex")
	require.Len(t, texts, 2)
	name, other := named(texts[0]), named(texts[1])
	require.NotEqual(t, name, other)
	for _, s := range w.vantages {
		require.Equal(t, name, s.incidents["apex"].ID)
		get := func(link string) *httptest.ResponseRecorder {
			answer := httptest.NewRecorder()
			s.server().Handler.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/i/"+link, nil))
			return answer
		}
		moved := get(other + "-" + s.secret.token(other))
		require.Equal(t, http.StatusSeeOther, moved.Code)
		require.Equal(t, "/i/"+name+"-"+s.secret.token(name), moved.Header().Get("Location"))
		require.Equal(t, http.StatusOK, get(name+"-"+s.secret.token(name)).Code)
		stranger := get(other + "-AAAAAAAA")
		require.Equal(t, http.StatusNotFound, stranger.Code)
	}
	for range 3 {
		for _, s := range w.vantages {
			n, err := s.acknowledge(other, "ana")
			require.NoError(t, err)
			require.Equal(t, 1, n)
		}
		w.run(time.Minute)
	}
	for _, s := range w.vantages {
		require.Equal(t, "ana", s.incidents["apex"].acknowledged(), s.name)
		require.Len(t, s.incidents["apex"].Acks, 1, "to say it again adds nothing")
	}
}

// Whatever the sender of a shared text does last, all are told of everything once
// or twice, and of each end once.
func TestCrashWhileManyAreTold(t *testing.T) {
	stride := 1
	if testing.Short() {
		stride = 5
	}
	steps := 0
	for _, made := range []bool{false, true} {
		for n := 0; ; n += stride {
			var names []string
			w := newWorld(t, func(c *Config) { names = watch(c, 6) })
			w.run(40 * time.Second)
			first := w.vantages[0]
			for _, name := range names {
				w.down[name] = true
			}
			w.run(20 * time.Second)
			first.life.mu.Lock()
			first.life.left, first.life.made = n, made
			first.life.mu.Unlock()
			w.run(time.Minute)
			crashed := first.life.over()
			first.boot()
			w.run(time.Minute)
			w.heal()
			w.run(80 * time.Second)
			for _, admin := range worldAdmins {
				name := fmt.Sprintf("%s, crash at effect %d, made %t: %q", admin.Name, n, made, w.gateway.to(admin.Phone, ""))
				pages := len(w.gateway.to(admin.Phone, "ESPRA DOWN 6 targets"))
				require.GreaterOrEqual(t, pages, 1, name)
				require.LessOrEqual(t, pages, 2, name)
				require.Len(t, w.gateway.to(admin.Phone, "ESPRA OK 6 targets"), 1, name)
				require.Len(t, w.gateway.to(admin.Phone, ""), pages+1, name)
			}
			for _, name := range names {
				require.Equal(t, decide.Up, w.vantages[1].verdicts.Subjects[name].Status)
			}
			steps++
			if !crashed {
				break
			}
		}
	}
	require.Greater(t, steps, 20/stride)
}
