package sms_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/monitor/sms"
)

func TestWords(t *testing.T) {
	a := sms.Alert{
		What: "us-east", Since: time.Date(2026, 3, 2, 14, 5, 2, 0, time.UTC), Votes: 3, Vantages: 3,
		Doing: "Moving DNS to eu-west.", Incident: "7K2", Link: "https://status.espra.com/7K2",
	}
	ended := a.Since.Add(28*time.Minute + 3*time.Second)
	require.Equal(t, "ESPRA DOWN us-east since 14:05:02Z, 3/3 vantages. Moving DNS to eu-west. 7K2 https://status.espra.com/7K2", a.Down())
	require.Equal(t, "ESPRA OK us-east, traffic home 14:33:05Z. 7K2 closed after 28m https://status.espra.com/7K2", a.OK(true, ended))
	require.Equal(t, "ESPRA OK us-east since 14:33:05Z. 7K2 closed after 28m https://status.espra.com/7K2", a.OK(false, ended))
	require.Equal(t, "ESPRA FLAPPING us-east since 14:05:02Z, 3/3 vantages. Moving DNS to eu-west. 7K2 https://status.espra.com/7K2", a.Flapping())
	a.Votes, a.Doing = 1, ""
	require.Equal(t, "ESPRA BLIND monitoring since 14:05:02Z, 1/3 vantages. 7K2 https://status.espra.com/7K2", a.Blind())
}

// texts are all that tell of an incident, by kind.
func texts(a sms.Alert, why string) map[string]string {
	asked := a
	asked.Unanswered = []string{"ana", strings.Repeat("r", 40)}
	ended := a.Since.Add(100*time.Hour + time.Minute)
	return map[string]string{
		"DOWN": a.Down(), "FLAPPING": a.Flapping(), "BLIND": a.Blind(), "SILENT": a.Silent(), "CERTIFICATE": a.Certificate(),
		"STUCK": a.Stuck(why), "DOWN ": asked.Down(), "FLAPPING ": asked.Flapping(), "OK": a.OK(true, ended), "OK ": a.OK(false, ended),
	}
}

// Every text is one segment, whatever goes into it, and keeps state and id.
func TestEveryTextFits(t *testing.T) {
	for _, name := range []string{"us-east", strings.Repeat("x", 40), strings.Repeat("x", 500), "größe[1]|€", ""} {
		for _, doing := range []string{"", "Moving DNS to " + name + ".", strings.Repeat("long ", 60), strings.Repeat("w", 300), "Saw: größe \xff."} {
			for _, link := range []string{"", "https://status.espra.com/7K2", "https://" + strings.Repeat("y", 200)} {
				a := sms.Alert{What: name, Votes: 100, Vantages: 100, Doing: doing, Incident: "7K2", Link: link}
				for kind, text := range texts(a, doing) {
					require.True(t, sms.Fits(text), "%q", text)
					require.True(t, strings.HasPrefix(text, "ESPRA "+strings.TrimSpace(kind)+" "), text)
					require.Contains(t, text, "7K2")
				}
			}
		}
	}
	for _, text := range []string{
		sms.Alive(time.Unix(1e9, 0), 100, 100, 1000), sms.Test(time.Unix(1e9, 0), strings.Repeat("x", 40), "sns-ap-southeast-1"),
	} {
		require.True(t, sms.Fits(text), "%q", text)
		require.Regexp(t, `(Next text of this kind in a week|Nothing is wrong)\.$`, text)
	}
	require.False(t, sms.Fits(strings.Repeat("a", 161)))
	require.False(t, sms.Fits("[two septets each]"))
}

// Whatever a probe saw, however long names are and whatever the link is within its
// bound, a text has state, name, time and link whole.
func TestEveryPageHasItsLink(t *testing.T) {
	saw := "Saw: connect: dial tcp 203.0.113.77:443: connect: connection refused; [2001:db8::1]:443: größe \xff\n" + strings.Repeat(" and so on", 20)
	for _, what := range []string{"us-east", strings.Repeat("x", 40), "vantage-" + strings.Repeat("x", 40)} {
		for _, id := range []string{"7K2", "7K2QX"} {
			for _, n := range []int{12, 39, sms.MaxLink} {
				link := "https://" + strings.Repeat("y", n-8)
				for length := range saw {
					a := sms.Alert{What: what, Votes: 3, Vantages: 3, Doing: saw[:length], Incident: id, Link: link}
					for kind, text := range texts(a, saw[:length]) {
						if kind == "OK" && strings.HasPrefix(what, "vantage-") {
							continue // only regions have traffic that comes home
						}
						require.True(t, sms.Fits(text), "%q", text)
						require.True(t, strings.HasSuffix(text, " "+link), text)
						if kind != "BLIND" {
							require.Contains(t, text, " "+what)
						}
						require.Regexp(t, `\d\d:\d\d:\d\dZ`, text)
					}
				}
			}
		}
	}
}

// What is too long ends with a word.
func TestLongCauseIsCut(t *testing.T) {
	a := sms.Alert{What: "espra-app", Since: time.Date(2026, 3, 2, 14, 5, 2, 0, time.UTC), Votes: 3, Vantages: 3, Incident: "7K2",
		Link: "https://status.espra.com/i/7K2-ABCDEFGH"}
	const end = " 7K2 https://status.espra.com/i/7K2-ABCDEFGH"
	a.Doing = "Saw: connect: dial tcp 203.0.113.77:443: connect: connection refused."
	require.Equal(t, "ESPRA DOWN espra-app since 14:05:02Z, 3/3 vantages. Saw: connect: dial tcp 203.0.113.77:443: connect: connection..."+end, a.Down())
	a.Doing = "Saw: status 503."
	require.Equal(t, "ESPRA DOWN espra-app since 14:05:02Z, 3/3 vantages. Saw: status 503."+end, a.Down())
	require.Equal(t, "ESPRA STUCK espra-app since 14:05:02Z. DNS not moved: linode denies our key, digitalocean denies our key."+end,
		a.Stuck("linode denies our key, digitalocean denies our key"))
	// One word of what was seen is none.
	a.What, a.Doing = strings.Repeat("x", 40), "Saw: certificate-of-somebody-else.example"
	require.Equal(t, "ESPRA DOWN "+a.What+" since 14:05:02Z, 3/3 vantages."+end, a.Down())
}

// What Twilio answers, as its documents have it.
func TestTwilioAnswers(t *testing.T) {
	answer := func(status int, body string) *sms.Twilio {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(status)
			io.WriteString(w, body)
		}))
		t.Cleanup(server.Close)
		return &sms.Twilio{HTTP: server.Client(), URL: server.URL, Account: "AC1", Token: "token", From: "+15550000000"}
	}
	for _, c := range []struct {
		name   string
		status int
		body   string
		want   sms.Outcome
		why    string
	}{
		{"queued", 201, `{"sid":"SM1","status":"queued","error_code":null}`, sms.Accepted, ""},
		{"failed at once", 201, `{"sid":"SM1","status":"failed","error_code":30007}`, sms.Refused, "message is failed, code 30007"},
		{"bad number", 400, `{"code":21211,"message":"The 'To' number is not valid.","status":400}`, sms.Refused, "status 400, code 21211: The 'To' number"},
		{"stranger", 401, `{"code":20003,"message":"Authenticate","status":401}`, sms.Refused, "code 20003: Authenticate"},
		{"too many", 429, `{"code":20429}`, sms.Refused, "code 20429"},
		{"elsewhere", 302, ``, sms.Refused, "status 302"},
		{"too slow", 408, ``, sms.Unknown, "status 408"},
		{"broken", 500, `oops`, sms.Unknown, "status 500"},
		{"cut short", 201, `{"sid":`, sms.Unknown, "read answer"},
		{"no id", 201, `{}`, sms.Unknown, "without a message id"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := answer(c.status, c.body).Text(t.Context(), "+15550000001", "hello & bye")
			require.Equal(t, c.want, got.Outcome)
			if c.want == sms.Accepted {
				require.NoError(t, err)
				require.Equal(t, "SM1", got.ID)
				return
			}
			require.ErrorContains(t, err, c.why)
			require.Empty(t, got.ID)
		})
	}
	for status, want := range map[string]sms.Delivery{
		"accepted": sms.Underway, "scheduled": sms.Underway, "queued": sms.Underway, "sending": sms.Underway, "sent": sms.Underway,
		"delivered": sms.Delivered, "read": sms.Delivered, "undelivered": sms.Failed, "failed": sms.Failed, "canceled": sms.Failed,
		"received": sms.Unknown, "": sms.Unknown,
	} {
		got, err := answer(200, `{"sid":"SM1","status":"`+status+`","error_code":null}`).Delivery(t.Context(), "SM1")
		require.Equal(t, want, got, status)
		require.Equal(t, want == sms.Underway || want == sms.Delivered, err == nil, status)
	}
	_, err := answer(200, `{"sid":"SM1","status":"undelivered","error_code":30003,"error_message":"Unreachable"}`).Delivery(t.Context(), "SM1")
	require.EqualError(t, err, "twilio: message is undelivered, code 30003: Unreachable")
	t.Run("gone", func(t *testing.T) {
		server := httptest.NewServer(http.NotFoundHandler())
		server.Close()
		twilio := &sms.Twilio{HTTP: &http.Client{Transport: &http.Transport{}}, URL: server.URL}
		got, err := twilio.Text(t.Context(), "+1", "hello")
		require.Error(t, err)
		require.Equal(t, sms.Receipt{Outcome: sms.Unknown}, got)
	})
}
