package scenarios

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/sim"
)

// besiege holds so many silent connections to an address from each of some new
// machines, and comes again where one is cut. It counts those that are open.
func besiege(w *sim.World, name string, machines, each int, address string) (open *atomic.Int64) {
	open = new(atomic.Int64)
	for k := range machines {
		w.NewMachine(fmt.Sprint(name, k)).Start("besieger", func(p *sim.Process) error {
			for n := range each {
				go func() {
					for again := time.Duration(k*each + n); p.Alive(); again += time.Microsecond {
						if c, err := p.DialContext(p.Context(), "tcp", address); err == nil {
							open.Add(1)
							_, _ = c.Read(make([]byte, 1))
							open.Add(-1)
							_ = c.Close()
						}
						time.Sleep(2*time.Second + again)
					}
				}()
			}
			<-p.Done()
			return nil
		})
	}
	return open
}

// Strangers who hold all connections that they can keep neither the peers of a
// vantage out, nor people.
func TestBesiegedVantage(t *testing.T) {
	s := troubledVantages(t, `{id: lost, at: 1m, for: 10m, fault: region-lost, on: region us-east}`)
	sim.TestWith(t, sim.Options{Start: s.Starts}, func(t *testing.T, w *sim.World) {
		p, _, strikes, testers := struck(t, w, s, "london")
		seen := observed(w)
		address := net.JoinHostPort(p.addr("fremont").String(), "8700")
		open := besiege(w, "stranger", 10, 40, address)
		time.Sleep(11 * time.Second)
		strikes["lost"].begin()
		for range 3 {
			time.Sleep(19 * time.Second)
			require.LessOrEqual(t, open.Load(), int64(256))
			require.Greater(t, open.Load(), int64(128))
			require.Equal(t, http.StatusOK, answeredBy(t, p, testers[0].DialContext, "https://fremont:8700/status.json"))
		}
		for _, line := range seen() {
			require.NotEqual(t, "log: peer does not take observations", line.Kind, "by %s", line.Machine)
		}
		for _, vantage := range []string{"fremont", "london", "singapore"} {
			verdicts := seen().of("log: verdict", vantage)
			require.NotEmpty(t, verdicts, vantage)
			require.Equal(t, "us-east", verdicts[0].Get("target"))
		}
	})
}

// They do not keep people from the redirector either.
func TestBesiegedRedirector(t *testing.T) {
	s := troubledVantages(t, "")
	sim.TestWith(t, sim.Options{Start: s.Starts}, func(t *testing.T, w *sim.World) {
		p, _, _, testers := struck(t, w, s, "london")
		open := besiege(w, "stranger", 20, 60, net.JoinHostPort(p.addr("fremont").String(), "80"))
		time.Sleep(2 * time.Second)
		require.Equal(t, http.StatusOK, answeredBy(t, p, testers[0].DialContext, "http://fremont/health"))
		require.LessOrEqual(t, open.Load(), int64(1024))
		require.Equal(t, http.StatusOK, answeredBy(t, p, testers[0].DialContext, "https://fremont/health"))
	})
}

// answeredBy gives the status of an answer that comes within two seconds, or fails.
func answeredBy(t *testing.T, p *platform, dial func(context.Context, string, string) (net.Conn, error), url string) int {
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(p.ca.RootsPEM()))
	transport := &http.Transport{DialContext: dial, DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "espra.com"}}
	resp, err := (&http.Client{Transport: transport, Timeout: 2 * time.Second}).Get(url)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	return resp.StatusCode
}
