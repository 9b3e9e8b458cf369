package zone_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/stretchr/testify/require"

	fakedns "github.com/espra/protoplex/fakes/dns"
	"github.com/espra/protoplex/monitor/zone"
	"github.com/espra/protoplex/monitor/zone/zonetest"
	"github.com/espra/protoplex/nodes"
)

const text = `$ORIGIN espra.com.
$TTL 60
@ SOA ns1.linode.com. hostmaster.espra.com. 1 14400 3600 604800 60
@ NS ns1.linode.com.
@ A 192.0.2.1
www CNAME us-east.elb.amazonaws.com.
_home.www TXT "v=home1 region=us-east epoch=1"
`

// apis gives a server of each provider's API.
func apis(t *testing.T) (linode, ocean string, m nodes.Machine) {
	o, err := nodes.NewOS(nodes.OSOptions{
		Host: nodes.Host{Name: "provider", Addr: netip.MustParseAddr("127.0.0.1")}, Root: t.TempDir(), Log: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	t.Cleanup(func() { o.Close() })
	provider := func(name string) *fakedns.Provider {
		z, err := fakedns.ParseZone(text, "espra.com")
		require.NoError(t, err)
		p := fakedns.NewProvider(o, name, []string{"ns1." + name + ".com"})
		require.NoError(t, p.Load(z))
		return p
	}
	serve := func(h http.Handler) string {
		s := httptest.NewServer(h)
		t.Cleanup(s.Close)
		return s.URL
	}
	linode = serve(fakedns.NewLinode(o, provider("linode"), fakedns.LinodeOptions{Token: "secret", ReadToken: "reader", Rate: 100_000, Window: time.Minute}))
	ocean = serve(fakedns.NewDigitalOcean(o, provider("digitalocean"), fakedns.DigitalOceanOptions{Token: "secret", ReadToken: "reader", Rate: 100_000, Window: time.Minute}))
	return linode, ocean, o
}

// each runs f for a zone of each provider.
func each(t *testing.T, token, name string, f func(*testing.T, zone.Zone)) {
	linode, ocean, _ := apis(t)
	hc := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	t.Run("linode", func(t *testing.T) { f(t, zone.NewLinode(hc, linode, token, name)) })
	t.Run("digitalocean", func(t *testing.T) {
		z, err := zone.NewDigitalOcean(hc, ocean, token, name)
		require.NoError(t, err)
		f(t, z)
	})
}

func TestContract(t *testing.T) {
	each(t, "secret", "espra.com", func(t *testing.T, z zone.Zone) { zonetest.Test(t, z, "espra.com") })
}

func TestRecordsAreNormal(t *testing.T) {
	each(t, "secret", "Espra.com.", func(t *testing.T, z zone.Zone) {
		records, err := z.Records(t.Context())
		require.NoError(t, err)
		records = slices.DeleteFunc(records, func(r zone.Record) bool { return r.Type == "NS" || r.Type == "SOA" })
		require.Empty(t, cmp.Diff([]zone.Record{
			{Name: "_home.www.espra.com", Type: "TXT", Value: "v=home1 region=us-east epoch=1"},
			{Name: "espra.com", Type: "A", Value: "192.0.2.1"},
			{Name: "www.espra.com", Type: "CNAME", Value: "us-east.elb.amazonaws.com"},
		}, records, cmpopts.IgnoreFields(zone.Record{}, "ID", "TTL")))
	})
}

// A provider may give a shorter TTL than asked for, never a longer one, which
// would make everybody wait for a move.
func TestTTLsAreNotLengthened(t *testing.T) {
	each(t, "secret", "espra.com", func(t *testing.T, z zone.Zone) {
		for _, ttl := range []time.Duration{30 * time.Second, time.Minute, 119 * time.Second, 10 * time.Minute} {
			name := fmt.Sprintf("ttl-%d.espra.com", ttl/time.Second)
			require.NoError(t, z.Create(t.Context(), zone.Record{Name: name, Type: "TXT", Value: "x", TTL: ttl}))
			records, err := z.Records(t.Context())
			require.NoError(t, err)
			i := slices.IndexFunc(records, func(r zone.Record) bool { return r.Name == name })
			require.GreaterOrEqual(t, i, 0)
			require.LessOrEqual(t, records[i].TTL, ttl)
			require.GreaterOrEqual(t, records[i].TTL, min(ttl, 30*time.Second))
		}
	})
}

func TestErrorsSayWhatToDo(t *testing.T) {
	each(t, "wrong", "espra.com", func(t *testing.T, z zone.Zone) {
		_, err := z.Records(t.Context())
		require.ErrorIs(t, err, zone.ErrDenied)
	})
	each(t, "secret", "example.com", func(t *testing.T, z zone.Zone) {
		_, err := z.Records(t.Context())
		require.ErrorIs(t, err, zone.ErrNotFound)
	})
	// A token that lost its rights still reads.
	each(t, "reader", "espra.com", func(t *testing.T, z zone.Zone) {
		records, err := z.Records(t.Context())
		require.NoError(t, err)
		for _, err := range []error{
			z.Create(t.Context(), zone.Record{Name: "x.espra.com", Type: "A", Value: "192.0.2.1", TTL: time.Minute}),
			z.Update(t.Context(), zone.Record{ID: records[1].ID, Name: "espra.com", Type: "A", Value: "192.0.2.1", TTL: time.Minute}),
			z.Delete(t.Context(), records[1].ID),
		} {
			require.ErrorIs(t, err, zone.ErrDenied)
			require.ErrorContains(t, err, "must be valid and have the right domain")
		}
	})
}

// What a provider cannot keep is said beforehand, and what passes is kept.
func TestFit(t *testing.T) {
	each(t, "secret", "espra.com", func(t *testing.T, z zone.Zone) {
		name := strings.TrimPrefix(t.Name(), "TestFit/")
		for _, r := range []struct{ name, kind, value, only string }{
			{"caa", "CAA", "128 issue ca.example", "digitalocean"},
			{"caa", "CAA", "0 issue ca.example; a=b", ""},
			{"txt", "TXT", "", ""},
			{"txt", "TXT", `a\b`, "linode"},
			{"txt", "TXT", strings.Repeat("x", 503), "linode digitalocean"},
			{"txt", "TXT", strings.Repeat("x", 505), "linode"},
			{"txt", "TXT", strings.Repeat(`"`, 253), "linode digitalocean"},
			{"txt", "TXT", strings.Repeat(`"`, 300), "linode"},
			{"_a._tcp", "SRV", "0 0 1 a.example", "linode digitalocean"},
			{"_a._tcp.b", "SRV", "0 0 1 a.example", "digitalocean"},
			{"_a._tcp", "SRV", "0 0 0 .", ""},
			{"mx", "MX", "0 .", ""},
			{"mx", "MX", "no number", ""},
		} {
			record := zone.Record{Name: r.name + ".espra.com", Type: r.kind, Value: r.value, TTL: time.Minute}
			fit, err := z.Fit(record)
			if !strings.Contains(r.only, name) {
				require.Error(t, err, "%v", r)
				continue
			}
			require.NoError(t, err, "%v", r)
			require.NoError(t, z.Create(t.Context(), record), "%v", r)
			records, err := z.Records(t.Context())
			require.NoError(t, err)
			i := slices.IndexFunc(records, func(r zone.Record) bool { return r.Name == record.Name && r.Value == record.Value })
			require.GreaterOrEqual(t, i, 0, "%v", r)
			require.Equal(t, fit.TTL, records[i].TTL)
			require.NoError(t, z.Delete(t.Context(), records[i].ID))
		}
	})
}

// A busy provider is asked once: the caller retries with a fresh plan.
func TestNoRetries(t *testing.T) {
	for _, status := range []int{http.StatusTooManyRequests, http.StatusServiceUnavailable} {
		asked := 0
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			asked++
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Retry-After", "1000")
			w.WriteHeader(status)
			w.Write([]byte(`{"errors":[{"reason":"busy"}]}`))
		}))
		defer server.Close()
		ocean, err := zone.NewDigitalOcean(server.Client(), server.URL, "secret", "espra.com")
		require.NoError(t, err)
		for _, z := range []zone.Zone{zone.NewLinode(server.Client(), server.URL, "secret", "espra.com"), ocean} {
			asked = 0
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			_, err := z.Records(ctx)
			require.Error(t, err)
			require.NotErrorIs(t, err, zone.ErrDenied)
			require.NoError(t, ctx.Err())
			require.Equal(t, 1, asked)
		}
	}
}
