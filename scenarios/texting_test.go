package scenarios

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/monitor/sms"
	"github.com/espra/protoplex/nodes"
	"github.com/espra/protoplex/scenarios/story"
	"github.com/espra/protoplex/sim"
)

const texting = `format: 1
title: two SMS gateways, one of them in each region
story: Nothing happens.
starts: 2026-03-02T14:00:00Z
lasts: 10m
topology:
  regions:
    us-east: {zones: 1, proxy: 1, live: 0}
    eu-west: {zones: 1, proxy: 1, live: 0}
  vps: [fremont]
  sms: [twilio, sns]
expect: {always: [dns-points-somewhere]}
`

// A VPS reaches all gateways by their real names, with the secrets on its disk,
// and a region that is lost takes its end of SNS with it.
func TestTexting(t *testing.T) {
	s, err := story.Parse("texting.yaml", []byte(texting))
	require.NoError(t, err)
	sim.TestWith(t, sim.Options{Start: s.Starts}, func(t *testing.T, w *sim.World) {
		p, err := boot(w, s)
		require.NoError(t, err)
		watch := newWatcher(p, false)
		w.Observe(watch.event)
		time.Sleep(10 * time.Second)

		made := make(chan nodes.Machine)
		p.hosts["fremont"].Start("pager", func(p *sim.Process) error {
			made <- newMachine(p, nil)
			<-p.Done()
			return nil
		})
		m := <-made
		roots := x509.NewCertPool()
		require.True(t, roots.AppendCertsFromPEM(p.ca.RootsPEM()))
		client := &http.Client{Transport: &http.Transport{
			DialContext: m.DialContext, DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots, Time: m.Now},
		}}
		send := func(provider sms.Provider, body string) (sms.Receipt, error) {
			text, err := sms.New(m, client, provider)
			require.NoError(t, err)
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			return text.Text(ctx, p.phone("ana"), body)
		}
		twilio := sms.Provider{Kind: sms.KindTwilio, Account: twilioAccount, Token: twilioFile, From: smsFrom}
		east := sms.Provider{Kind: sms.KindSNS, Region: awsRegion("us-east"), Credentials: snsFile}
		west := sms.Provider{Kind: sms.KindSNS, Region: awsRegion("eu-west"), Credentials: snsFile}
		for body, provider := range map[string]sms.Provider{"by twilio": twilio, "by us-east": east, "by eu-west": west} {
			r, err := send(provider, body)
			require.NoError(t, err, body)
			require.Equal(t, sms.Accepted, r.Outcome)
		}
		for _, name := range []string{"us-east-sns-1", "us-east-proxy-1"} {
			p.hosts[name].PowerOff()
		}
		r, err := send(east, "lost")
		require.Error(t, err)
		require.Equal(t, sms.Receipt{Outcome: sms.Unknown}, r)
		r, err = send(west, "found")
		require.NoError(t, err)
		require.Equal(t, sms.Accepted, r.Outcome)

		by := map[string]string{}
		for _, text := range watch.texts {
			require.Equal(t, "ana", text.To)
			by[text.Body] = text.Provider
		}
		require.Equal(t, map[string]string{"by twilio": "twilio", "by us-east": "sns", "by eu-west": "sns", "found": "sns"}, by)
	})
}
