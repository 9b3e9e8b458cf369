package sms_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twilio/twilio-go"
	"github.com/twilio/twilio-go/client"
	api "github.com/twilio/twilio-go/rest/api/v2010"

	"github.com/espra/protoplex/fakes/internal/desk"
	"github.com/espra/protoplex/fakes/sms"
)

const (
	account = "AC00000000000000000000000000000001"
	token   = "letmein"
	from    = "+15005550006"
	ana     = "+447700900001"
	raj     = "+447700900002"
)

// gateway runs the role and gives Twilio's own client, which thinks that it
// talks to api.twilio.com.
func gateway(t *testing.T, more ...string) (*desk.Desk, func(password string) *twilio.RestClient) {
	t.Helper()
	d := desk.New(t, "127.0.0.1")
	cert, roots := desk.Certificate(t, "api.twilio.com")
	d.WriteFile(t, "/api.pem", cert)
	args := []string{"--listen", ":0", "--cert", "/api.pem", "--account", account, "--token", token, "--from", from}
	d.Run(t, sms.RunTwilio, append(args, more...)...)
	addr := d.Await(t, "sms gateway ready")["listen"].(string)
	return d, func(password string) *twilio.RestClient {
		c := &client.Client{
			Credentials: client.NewCredentials(account, password),
			HTTPClient: &http.Client{Transport: &http.Transport{
				DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
					return new(net.Dialer).DialContext(ctx, network, addr)
				},
				TLSClientConfig:   &tls.Config{RootCAs: roots},
				DisableKeepAlives: true,
			}},
		}
		c.SetAccountSid(account)
		return twilio.NewRestClientWithParams(twilio.ClientParams{Client: c})
	}
}

func message(to, body string) *api.CreateMessageParams {
	return new(api.CreateMessageParams).SetTo(to).SetFrom(from).SetBody(body)
}

func TestDelivery(t *testing.T) {
	t.Parallel()
	d, as := gateway(t)
	c := as(token)
	const body = "ESPRA DOWN us-east since 14:05:02Z, 3/3 vantages. Moving DNS to eu-west. 7K2"
	sent, err := c.Api.CreateMessage(message(ana, body))
	require.NoError(t, err)
	require.Equal(t, "queued", *sent.Status)
	require.Equal(t, "1", *sent.NumSegments)
	require.Regexp(t, "^SM[0-9a-f]{32}$", *sent.Sid)
	require.Nil(t, sent.DateSent)
	line := d.Await(t, "sms accepted")
	require.Equal(t, fmt.Sprint("twilio", from, ana, body, *sent.Sid), fmt.Sprint(line["provider"], line["from"], line["to"], line["body"], line["id"]))

	status := func() string {
		got, err := c.Api.FetchMessage(*sent.Sid, nil)
		require.NoError(t, err)
		require.Equal(t, body, *got.Body)
		return *got.Status
	}
	for _, next := range []string{"queued", "sending", "sent"} {
		desk.Eventually(t, func() bool { return status() == next }, next)
	}
	require.NotContains(t, d.Pending(), "sms delivered")
	desk.Eventually(t, func() bool { return status() == "delivered" }, "delivered")
	d.Await(t, "sms delivered", "id", *sent.Sid, "to", ana, "provider", "twilio")
}

func TestUndelivered(t *testing.T) {
	t.Parallel()
	d, as := gateway(t, "--unreachable", raj)
	c := as(token)
	sent, err := c.Api.CreateMessage(message(raj, "hello"))
	require.NoError(t, err, "it is taken")
	d.Await(t, "sms not delivered", "id", *sent.Sid, "to", raj, "reason", "Unreachable destination handset")
	got, err := c.Api.FetchMessage(*sent.Sid, nil)
	require.NoError(t, err)
	require.Equal(t, "undelivered", *got.Status)
	require.Equal(t, 30003, *got.ErrorCode)
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	d, as := gateway(t, "--opted-out", raj)
	code := func(err error) int {
		t.Helper()
		var failed *client.TwilioRestError
		require.ErrorAs(t, err, &failed)
		return failed.Code
	}
	for want, p := range map[int]*api.CreateMessageParams{
		21604: message("", "hello"),
		21603: message(ana, "hello").SetFrom(""),
		21211: message("07700900001", "hello"),
		21212: message(ana, "hello").SetFrom("ESPRA"),
		21606: message(ana, "hello").SetFrom("+15005550007"),
		21602: message(ana, ""),
		21610: message(raj, "hello"),
		21617: message(ana, strings.Repeat("é", 1601)),
	} {
		_, err := as(token).Api.CreateMessage(p)
		require.Equal(t, want, code(err), err)
	}
	_, err := as("guess").Api.CreateMessage(message(ana, "hello"))
	require.Equal(t, 20003, code(err))
	_, err = as(token).Api.FetchMessage("SM00000000000000000000000000000000", nil)
	require.Equal(t, 20404, code(err))
	_, err = as(token).Api.CreateMessage(message(ana, "hello").SetPathAccountSid("AC2"))
	require.Equal(t, 20404, code(err))
	require.NotContains(t, d.Pending(), "sms accepted")
	_, err = as(token).Api.CreateMessage(message(ana, strings.Repeat("é", 1600)))
	require.NoError(t, err)
}

func TestList(t *testing.T) {
	t.Parallel()
	_, as := gateway(t)
	c := as(token)
	for i := range 25 {
		to := ana
		if i%5 == 0 {
			to = raj
		}
		_, err := c.Api.CreateMessage(message(to, fmt.Sprint("message ", i)))
		require.NoError(t, err)
	}
	bodies := func(p *api.ListMessageParams) []string {
		t.Helper()
		list, err := c.Api.ListMessage(p)
		require.NoError(t, err)
		var out []string
		for _, m := range list {
			out = append(out, strings.TrimPrefix(*m.Body, "message "))
		}
		return out
	}
	all := bodies(new(api.ListMessageParams).SetPageSize(10))
	require.Len(t, all, 25, "the client follows the pages")
	require.Equal(t, "24", all[0], "newest first")
	require.Equal(t, []string{"20", "15", "10", "5", "0"}, bodies(new(api.ListMessageParams).SetTo(raj).SetPageSize(2)))

	// Only what was sent has a date, and all of it today.
	now := time.Now()
	desk.Eventually(t, func() bool { return len(bodies(new(api.ListMessageParams).SetDateSent(now))) == 25 }, "sent")
	require.Len(t, bodies(new(api.ListMessageParams).SetDateSentAfter(now.Add(-time.Hour)).SetPageSize(10)), 25)
	require.Empty(t, bodies(new(api.ListMessageParams).SetDateSentAfter(now.Add(time.Hour))))
	require.Empty(t, bodies(new(api.ListMessageParams).SetDateSentBefore(now.Add(-time.Hour))))
	require.Empty(t, bodies(new(api.ListMessageParams).SetDateSent(now.AddDate(0, 0, -1))))
}

func TestRate(t *testing.T) {
	t.Parallel()
	_, as := gateway(t, "--rate", "2")
	c := as(token)
	refused := 0
	for range 6 {
		if _, err := c.Api.CreateMessage(message(ana, "hello")); err != nil {
			var failed *client.TwilioRestError
			require.ErrorAs(t, err, &failed)
			require.Equal(t, 20429, failed.Code)
			require.Equal(t, http.StatusTooManyRequests, failed.Status)
			refused++
		}
	}
	require.NotZero(t, refused)
	desk.Eventually(t, func() bool {
		_, err := c.Api.CreateMessage(message(ana, "hello"))
		return err == nil
	}, "the next second has room")
}

func TestSegments(t *testing.T) {
	for _, c := range []struct {
		body string
		want int
	}{
		{"", 1},
		{strings.Repeat("a", 160), 1},
		{strings.Repeat("a", 161), 2},
		{strings.Repeat("a", 306), 2},
		{strings.Repeat("a", 307), 3},
		{strings.Repeat("€", 80), 1},
		{strings.Repeat("€", 81), 2},
		{strings.Repeat("ж", 70), 1},
		{strings.Repeat("ж", 71), 2},
		{strings.Repeat("a", 69) + "ж", 1},
		{strings.Repeat("a", 70) + "ж", 2},
		{strings.Repeat("😀", 35), 1},
		{strings.Repeat("😀", 36), 2},
	} {
		require.Equal(t, c.want, sms.Segments(c.body), c.body)
	}
}

func TestRunRefuses(t *testing.T) {
	d := desk.New(t, "127.0.0.1")
	require.ErrorContains(t, sms.RunTwilio(t.Context(), d, nil), "--account")
	require.ErrorContains(t, sms.RunTwilio(t.Context(), d, []string{"--account", "a", "--token", "t", "--cert", "/none"}), "certificate")
}
