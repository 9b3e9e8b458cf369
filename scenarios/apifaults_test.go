package scenarios

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/fakes/faulty"
	"github.com/espra/protoplex/monitor/sms"
	"github.com/espra/protoplex/monitor/zone"
	"github.com/espra/protoplex/nodes"
	"github.com/espra/protoplex/nodes/aws"
	"github.com/espra/protoplex/scenarios/story"
	"github.com/espra/protoplex/sim"
)

// Which requests a fault meets hangs on the parameters, and on nothing that a
// race could decide.
func TestTroubleMeets(t *testing.T) {
	var requests []faulty.Request
	for i := range 400 {
		requests = append(requests, faulty.Request{Write: i%2 == 0, What: fmt.Sprint("request ", i%100)})
	}
	// met gives how often each request was met, each from one of two askers, when
	// they come in some order.
	met := func(seed uint64, params trouble) map[string]int {
		params.id, params.passed, params.asked = "fault", map[string]int{}, map[string]uint64{}
		params.choose = func(name string, n uint64) uint64 { return rand.New(rand.NewPCG(hash(name), n)).Uint64() }
		order := rand.New(rand.NewPCG(seed, 0)).Perm(len(requests))
		all := map[string]int{}
		for _, i := range order {
			asker := []string{"london", "fremont"}[i%2]
			if _, met := params.meets(asker, requests[i]); met {
				all[asker+" "+requests[i].What]++
			}
		}
		n := 0
		for _, k := range all {
			n += k
		}
		require.EqualValues(t, n, params.struck)
		all["in all"] = n
		return all
	}
	require.Equal(t, 400, met(1, trouble{share: 10000})["in all"])
	require.Equal(t, 200, met(1, trouble{share: 10000, only: "reads"})["in all"])
	require.Equal(t, 200, met(1, trouble{share: 10000, only: "writes"})["in all"])
	require.Equal(t, 400-2*3, met(1, trouble{share: 10000, after: 3})["in all"], "three of each asker pass")
	require.Equal(t, 200-3, met(1, trouble{share: 10000, only: "writes", after: 3})["in all"], "reads do not count")
	third := met(1, trouble{share: 3333})
	require.InDelta(t, 133, third["in all"], 40)
	for seed := range uint64(10) {
		require.Equal(t, third, met(seed+2, trouble{share: 3333}), "the order does not matter")
	}
}

// A throttle lets so many requests of each asker pass in each minute. An answer
// that is kept is the first one of its time.
func TestTroubleInTime(t *testing.T) {
	now := time.Duration(0)
	made := func() trouble {
		return trouble{id: "fault", asked: map[string]uint64{}, now: func() time.Duration { return now }}
	}
	read := faulty.Request{What: "GET /"}
	throttle := made()
	throttle.limit, throttle.outcome = 2, faulty.Outcome{Fate: faulty.Refused, Status: 429}
	for range 2 {
		for _, asker := range []string{"london", "fremont"} {
			for n := range 5 {
				o, met := throttle.meets(asker, read)
				require.Equal(t, n >= 2, met)
				require.Equal(t, met, o.Fate == faulty.Refused)
			}
		}
		now += time.Minute
	}
	require.EqualValues(t, 12, throttle.struck)

	old := made()
	old.only, old.keeps = "reads", time.Minute
	keys := map[string]int{}
	for range 6 {
		for _, asker := range []string{"london", "fremont"} {
			o, met := old.meets(asker, read)
			require.True(t, met)
			require.Equal(t, faulty.Repeated, o.Fate)
			keys[o.Key]++
		}
		_, met := old.meets("london", faulty.Request{What: "PUT /", Write: true})
		require.False(t, met)
		now += 20 * time.Second
	}
	require.Len(t, keys, 4)
	require.EqualValues(t, 8, old.struck)
}

func hash(s string) (h uint64) {
	for _, c := range []byte(s) {
		h = h*31 + uint64(c)
	}
	return h
}

// everyAPI is a story with one of each.
const everyAPI = `format: 1
title: every API that there is
story: Nothing happens by itself.
starts: 2026-03-02T14:00:00Z
lasts: 30m
topology:
  regions:
    us-east: {zones: 1, proxy: 1, live: 1, seed: 1, scaling: {min: 1, max: 2}}
    eu-west: {zones: 1, proxy: 1, live: 0}
  vps: [fremont]
  sms: [twilio, sns]
timeline:
TIMELINE
expect: {always: [dns-points-somewhere]}
`

// Every API fails in the words that its real client reads, as long as the fault
// lasts, and only the API that is struck.
func TestAPIFaults(t *testing.T) {
	tests := []struct {
		fault, on string
		want      map[string]string // what the errors say of those that fail
	}{
		{"api-errors", "provider linode", map[string]string{
			"linode reads": "[503] Service Unavailable", "linode writes": "[503] Service Unavailable"}},
		{"api-errors, status: 401, only: writes", "provider linode", map[string]string{
			"linode writes": "the token must be valid and have the right domains:read_write: [401] Invalid Token"}},
		{"api-errors, status: 403, only: writes", "machine linode-api", map[string]string{
			"linode writes": "[401] Your OAuth token is not authorized to use this endpoint."}},
		{"api-errors, status: 429", "provider digitalocean", map[string]string{
			"digitalocean reads": "429 API Rate limit exceeded", "digitalocean writes": "429 API Rate limit exceeded"}},
		{"api-errors, status: 403, only: writes", "provider digitalocean", map[string]string{
			"digitalocean writes": "403 You are not authorized"}},
		{"api-errors, status: 500, only: reads", "provider digitalocean", map[string]string{
			"digitalocean reads": "500 Unexpected server-side error"}},
		{"api-errors, status: 500", "provider twilio", map[string]string{"twilio": "status 500, code 20500: Internal Server Error"}},
		{"api-errors, status: 401", "provider twilio", map[string]string{"twilio": "status 401, code 20003: Authenticate"}},
		{"api-errors, status: 429", "provider sns", map[string]string{"sns us-east": "Throttling: Rate exceeded", "sns eu-west": "Throttling: Rate exceeded"}},
		{"api-errors", "role api in us-east", map[string]string{"sns us-east": "ServiceUnavailable: "}},
		{"api-errors, status: 403", "machine eu-west-sns-1", map[string]string{"sns eu-west": "AuthorizationError: "}},
		{"api-errors", "role s3", map[string]string{"s3 reads": "SlowDown", "s3 writes": "SlowDown"}},
		{"api-errors, status: 500, only: writes", "role s3", map[string]string{"s3 writes": "InternalError"}},
		{"api-errors, status: 401", "role s3", map[string]string{"s3 reads": "InvalidAccessKeyId", "s3 writes": "InvalidAccessKeyId"}},
		{"api-errors", "role aws", map[string]string{"aws reads": "ServiceUnavailable", "aws writes": "ServiceUnavailable"}},
		{"api-errors, status: 429, only: writes", "role aws", map[string]string{"aws writes": "Throttling"}},
		{"api-errors, status: 403", "region us-east", map[string]string{
			"sns us-east": "AuthorizationError", "s3 reads": "AccessDenied", "s3 writes": "AccessDenied", "aws reads": "AccessDenied", "aws writes": "AccessDenied"}},
		{"api-answer-lost", "provider linode", map[string]string{"linode reads": "EOF", "linode writes": "EOF"}},
		{"api-hangs, only: writes", "provider twilio", map[string]string{"twilio": context.DeadlineExceeded.Error()}},
	}
	var timeline strings.Builder
	for i, test := range tests {
		fmt.Fprintf(&timeline, "  - {id: trouble-%d, at: 1m, fault: %s, on: %s}\n", i, test.fault, test.on)
	}
	s := parseEveryAPI(t, timeline.String())
	sim.TestWith(t, sim.Options{Start: s.Starts}, func(t *testing.T, w *sim.World) {
		p, all := prepared(t, w, s)
		asks := askers(t, p)
		time.Sleep(10 * time.Second)
		ask := func() map[string]string {
			failed := map[string]string{}
			for _, name := range slices.Sorted(maps.Keys(asks)) {
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				if err := asks[name](ctx); err != nil {
					failed[name] = err.Error()
				}
				cancel()
			}
			return failed
		}
		require.Empty(t, ask())
		for i, test := range tests {
			what := test.fault + " on " + test.on
			require.Zero(t, all[i].touched(), what)
			all[i].begin()
			failed := ask()
			for name, want := range test.want {
				require.Contains(t, failed[name], want, "%s: %s", what, name)
				delete(failed, name)
			}
			require.Empty(t, failed, what)
			require.GreaterOrEqual(t, all[i].touched(), uint64(len(test.want)), what)
			all[i].heal()
			require.Empty(t, ask(), "%s has healed", what)
		}
	})
}

func parseEveryAPI(t *testing.T, timeline string) *story.Story {
	s, err := story.Parse("every.yaml", []byte(strings.Replace(everyAPI, "TIMELINE\n", timeline, 1)))
	require.NoError(t, err)
	return s
}

// askers ask the APIs with the clients that production has, from a VPS.
func askers(t *testing.T, p *platform) map[string]func(context.Context) error {
	made := make(chan nodes.Machine)
	p.hosts["fremont"].Start("asker", func(p *sim.Process) error {
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
	all := map[string]func(context.Context) error{}
	ocean, err := zone.NewDigitalOcean(client, "https://api.digitalocean.com", dnsToken, story.Apex)
	require.NoError(t, err)
	zones := map[string]zone.Zone{"linode": zone.NewLinode(client, "https://api.linode.com", dnsToken, story.Apex), "digitalocean": ocean}
	for name, z := range zones {
		// The first look finds Linode's number of the zone.
		all[name+" reads"] = func(ctx context.Context) error { _, err := z.Records(ctx); return err }
		records, n := []zone.Record(nil), 0
		all[name+" writes"] = func(ctx context.Context) error {
			if records == nil {
				if records, err = z.Records(ctx); err != nil {
					return err
				}
			}
			i := slices.IndexFunc(records, func(r zone.Record) bool { return r.Name == "status."+story.Apex })
			n++
			r := records[i]
			r.Value = fmt.Sprintf("192.0.2.%d", n)
			return z.Update(ctx, r)
		}
	}
	for name, provider := range map[string]sms.Provider{
		"twilio":      {Kind: sms.KindTwilio, Account: twilioAccount, Token: twilioFile, From: smsFrom},
		"sns us-east": {Kind: sms.KindSNS, Region: awsRegion("us-east"), Credentials: snsFile},
		"sns eu-west": {Kind: sms.KindSNS, Region: awsRegion("eu-west"), Credentials: snsFile},
	} {
		texter, err := sms.New(m, client, provider)
		require.NoError(t, err)
		all[name] = func(ctx context.Context) error { _, err := texter.Text(ctx, p.phone("ana"), "hello"); return err }
	}
	key, secret, _ := strings.Cut(leaseAccount, ":")
	blobs, err := aws.NewBlobs(m, aws.BlobsOptions{
		Endpoint: "http://" + p.addr("us-east-s3-1").String(), Region: "us-east-1", Bucket: leaseBucket("us-east"), Key: key, Secret: secret,
	})
	require.NoError(t, err)
	all["s3 reads"] = func(ctx context.Context) error { _, err := blobs.List(ctx, "none", "", 1); return err }
	all["s3 writes"] = func(ctx context.Context) error { return blobs.Delete(ctx, "nothing") }
	scaler := operator(t, p)
	all["aws reads"] = func(ctx context.Context) error { _, err := scaler.Capacity(ctx); return err }
	all["aws writes"] = func(ctx context.Context) error { return scaler.SetDesired(ctx, 1) }
	return all
}

// What is carried out and not answered was done; what hangs was not.
func TestUnknownOutcomes(t *testing.T) {
	for fault, sent := range map[string]int{"api-answer-lost": 1, "api-hangs": 0, "api-errors": 0} {
		t.Run(fault, func(t *testing.T) {
			s := parseEveryAPI(t, "  - {id: trouble, at: 1m, on: provider twilio, fault: "+fault+"}\n")
			sim.TestWith(t, sim.Options{Start: s.Starts}, func(t *testing.T, w *sim.World) {
				p, all := prepared(t, w, s)
				watch := newWatcher(p, false)
				w.Observe(watch.event)
				text := askers(t, p)["twilio"]
				time.Sleep(10 * time.Second)
				all[0].begin()
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				require.Error(t, text(ctx))
				require.Len(t, watch.texts, sent)
				require.Equal(t, uint64(1), all[0].touched())
			})
		})
	}
}

// Whoever asks too much is refused in the provider's words, until the next minute.
func TestThrottled(t *testing.T) {
	s := parseEveryAPI(t, `
  - {id: ocean, at: 1m, fault: throttled, on: provider digitalocean, requests: 1}
  - {id: cloud, at: 1m, fault: throttled, on: role aws in us-east, requests: 1, only: writes}
`)
	sim.TestWith(t, sim.Options{Start: s.Starts}, func(t *testing.T, w *sim.World) {
		p, all := prepared(t, w, s)
		ask := askers(t, p)
		time.Sleep(10 * time.Second)
		for i, name := range []string{"digitalocean reads", "aws writes"} {
			words := []string{"429", "Throttling"}[i]
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Second)
			all[i].begin()
			require.NoError(t, ask[name](ctx))
			require.ErrorContains(t, ask[name](ctx), words)
			require.NotZero(t, all[i].touched())
			cancel()
			time.Sleep(time.Minute)
			require.NoError(t, ask[name](t.Context()))
			all[i].heal()
			require.NoError(t, ask[name](t.Context()))
			all[i].begin() // again, in a minute of its own
			require.NoError(t, ask[name](t.Context()))
			require.ErrorContains(t, ask[name](t.Context()), words)
			all[i].heal()
		}
		require.NoError(t, ask["aws reads"](t.Context()))
	})
}

// What was written shows only when the old answer has run out.
func TestStaleDescribes(t *testing.T) {
	s := parseEveryAPI(t, "  - {id: stale, at: 1m, fault: stale-describes, on: role aws in us-east, keeps: 5m}\n")
	sim.TestWith(t, sim.Options{Start: s.Starts}, func(t *testing.T, w *sim.World) {
		p, all := prepared(t, w, s)
		scaler := operator(t, p)
		time.Sleep(10 * time.Second)
		desired := func() int {
			c, err := scaler.Capacity(t.Context())
			require.NoError(t, err)
			return c.Desired
		}
		all[0].begin()
		require.Equal(t, 1, desired())
		require.Zero(t, all[0].touched(), "the first answer is true")
		require.NoError(t, scaler.SetDesired(t.Context(), 2))
		time.Sleep(10 * time.Second)
		require.Equal(t, 1, desired())
		require.EqualValues(t, 1, all[0].touched())
		time.Sleep(5 * time.Minute)
		require.Equal(t, 2, desired())
		all[0].heal()
		require.NoError(t, scaler.SetDesired(t.Context(), 1))
		time.Sleep(10 * time.Second)
		require.Equal(t, 1, desired())

		require.NoError(t, scaler.SetDesired(t.Context(), 2))
		time.Sleep(10 * time.Second)
		all[0].begin() // again: what was old then is forgotten
		require.Equal(t, 2, desired())
		all[0].heal()
	})
}

// What is launched boots when the cloud can again, or after longer.
func TestLaunches(t *testing.T) {
	for fault, want := range map[string]struct{ during, after time.Duration }{
		"launches-stuck":        {0, 0},
		"boots-slow, times: 3x": {3 * bootAtLeast, 3 * (bootAtLeast + bootSpread)},
	} {
		t.Run(fault, func(t *testing.T) {
			s := parseEveryAPI(t, "  - {id: trouble, at: 1m, on: region us-east, fault: "+fault+"}\n")
			sim.TestWith(t, sim.Options{Start: s.Starts}, func(t *testing.T, w *sim.World) {
				p, all := prepared(t, w, s)
				scaler := operator(t, p)
				time.Sleep(time.Minute)
				all[0].begin()
				require.NoError(t, scaler.SetDesired(t.Context(), 2))
				asked := w.Elapsed()
				for !p.hosts["us-east-proxy-2"].On() && w.Elapsed()-asked < 5*time.Minute {
					time.Sleep(time.Second)
				}
				if took := w.Elapsed() - asked; want.after > 0 {
					require.Greater(t, took, want.during)
					require.Less(t, took, want.after+2*time.Second)
				} else {
					require.False(t, p.hosts["us-east-proxy-2"].On())
				}
				require.EqualValues(t, 1, all[0].touched())
				all[0].heal()
				time.Sleep(time.Second)
				require.True(t, p.hosts["us-east-proxy-2"].On())
			})
		})
	}
}

// A cloud without capacity replaces nothing, and does so afterwards.
func TestNoCapacity(t *testing.T) {
	s := parseEveryAPI(t, "  - {id: trouble, at: 1m, on: region us-east, fault: no-capacity}\n")
	sim.TestWith(t, sim.Options{Start: s.Starts}, func(t *testing.T, w *sim.World) {
		p, all := prepared(t, w, s)
		scaler := operator(t, p)
		time.Sleep(time.Minute)
		all[0].begin()
		require.NoError(t, scaler.SetDesired(t.Context(), 2), "the control plane is well")
		time.Sleep(5 * time.Minute)
		require.False(t, p.hosts["us-east-proxy-2"].On())
		require.NotZero(t, all[0].touched())
		all[0].heal()
		time.Sleep(3 * time.Minute)
		require.True(t, p.hosts["us-east-proxy-2"].On())
	})
}
