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
	require.Equal(t, "ESPRA STUCK us-east since 14:05:02Z. DNS not moved: linode denied. 7K2 https://status.espra.com/7K2", a.Stuck("linode denied"))
	a.Votes, a.Doing = 1, ""
	require.Equal(t, "ESPRA BLIND monitoring since 14:05:02Z, 1/3 vantages. 7K2 https://status.espra.com/7K2", a.Blind())
	require.Equal(t, "ESPRA SILENT us-east since 14:05:02Z, 1/3 vantages. 7K2 https://status.espra.com/7K2", a.Silent())
	a.Unanswered = []string{"ana", "raj"}
	require.Equal(t, "ESPRA DOWN us-east since 14:05:02Z, 1/3 vantages. No answer from ana, raj. 7K2 https://status.espra.com/7K2", a.Down())
	require.Equal(t, "ESPRA ALIVE 2026-03-02 14:05Z, 3/3 vantages, 1 incident open. Next text of this kind in a week.", sms.Alive(a.Since, 3, 3, 1))
	require.Equal(t, "ESPRA TEST 2026-03-02 14:05Z from fremont through twilio. Nothing is wrong.", sms.Test(a.Since, "fremont", "twilio"))
}

// Every text is one segment, whatever goes into it, and keeps state and id.
func TestEveryTextFits(t *testing.T) {
	for _, name := range []string{"us-east", strings.Repeat("x", 40), strings.Repeat("x", 500), "größe[1]|€", ""} {
		for _, doing := range []string{"", "Moving DNS to " + name + ".", strings.Repeat("long ", 60)} {
			for _, link := range []string{"", "https://status.espra.com/7K2", "https://" + strings.Repeat("y", 200)} {
				a := sms.Alert{What: name, Votes: 100, Vantages: 100, Doing: doing, Incident: "7K2", Link: link}
				a.Unanswered = []string{name, name}
				for _, text := range []string{a.Down(), a.Flapping(), a.Blind(), a.Silent(), a.Stuck(name + " denied"),
					a.OK(true, time.Unix(1e9, 0)), a.OK(false, time.Unix(1e9, 0))} {
					require.True(t, sms.Fits(text), "%q", text)
					require.True(t, strings.HasPrefix(text, "ESPRA "))
					require.Contains(t, text, "7K2")
				}
			}
		}
	}
	for _, name := range []string{"fremont", strings.Repeat("x", 500), "größe[1]|€"} {
		require.True(t, sms.Fits(sms.Test(time.Unix(1e9, 0), name, name)))
	}
	require.True(t, sms.Fits(sms.Alive(time.Unix(1e9, 0), 100, 100, 1000000)))
	require.False(t, sms.Fits(strings.Repeat("a", 161)))
	require.False(t, sms.Fits("[two septets each]"))
}

func TestTwilio(t *testing.T) {
	tests := []struct {
		name   string
		status int
		body   string
		want   sms.Outcome
	}{
		{"queued", 201, `{"sid":"SM1","status":"queued"}`, sms.Accepted},
		{"failed at once", 201, `{"sid":"SM1","status":"failed"}`, sms.Refused},
		{"bad number", 400, `{"code":21211,"message":"The 'To' number is not valid."}`, sms.Refused},
		{"too many", 429, `{"code":20429}`, sms.Refused},
		{"broken", 500, `oops`, sms.Unknown},
		{"cut short", 201, `{"sid":`, sms.Unknown},
		{"no id", 201, `{}`, sms.Unknown},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				user, password, _ := r.BasicAuth()
				require.Equal(t, "AC1 token", user+" "+password)
				require.Equal(t, "/2010-04-01/Accounts/AC1/Messages.json", r.URL.Path)
				require.Equal(t, []string{"+15550000001", "+15550000000", "hello & bye"},
					[]string{r.PostFormValue("To"), r.PostFormValue("From"), r.PostFormValue("Body")})
				w.WriteHeader(tt.status)
				io.WriteString(w, tt.body)
			}))
			defer server.Close()
			twilio := &sms.Twilio{HTTP: server.Client(), URL: server.URL, Account: "AC1", Token: "token", From: "+15550000000"}
			got, err := twilio.Text(t.Context(), "+15550000001", "hello & bye")
			require.Equal(t, tt.want, got.Outcome)
			require.Equal(t, tt.want == sms.Accepted, err == nil)
			require.Equal(t, tt.want == sms.Accepted, got.ID == "SM1")
		})
	}
	t.Run("gone", func(t *testing.T) {
		server := httptest.NewServer(http.NotFoundHandler())
		server.Close()
		twilio := &sms.Twilio{HTTP: &http.Client{Transport: &http.Transport{}}, URL: server.URL}
		got, err := twilio.Text(t.Context(), "+1", "hello")
		require.Error(t, err)
		require.Equal(t, sms.Outcome(sms.Unknown), got.Outcome)
	})
}
