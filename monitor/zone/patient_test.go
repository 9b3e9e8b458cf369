package zone_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/monitor/zone"
	"github.com/espra/protoplex/nodes"
)

// busy answers 429 with these headers, one after the other, then 200.
type busy struct {
	headers []http.Header
	bodies  []string
}

func (b *busy) RoundTrip(r *http.Request) (*http.Response, error) {
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	b.bodies = append(b.bodies, string(text))
	resp := &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("ok")), Request: r}
	if n := len(b.bodies); n <= len(b.headers) {
		resp.StatusCode, resp.Header = 429, b.headers[n-1]
	}
	return resp, nil
}

func TestPatient(t *testing.T) {
	header := func(key, value string) http.Header { return http.Header{http.CanonicalHeaderKey(key): {value}} }
	for name, c := range map[string]struct {
		headers []func(now time.Time) http.Header
		waits   string
		status  int
	}{
		"at once": {nil, "[]", 200},
		"seconds": {[]func(time.Time) http.Header{
			func(time.Time) http.Header { return header("Retry-After", "7") },
		}, "[7s]", 200},
		"a date": {[]func(time.Time) http.Header{
			func(now time.Time) http.Header {
				return header("Retry-After", now.Add(9*time.Second).UTC().Format(http.TimeFormat))
			},
		}, "[9s]", 200},
		"reset, twice": {[]func(time.Time) http.Header{
			func(now time.Time) http.Header { return header("RateLimit-Reset", fmt.Sprint(now.Unix()+5)) },
			func(now time.Time) http.Header { return header("X-RateLimit-Reset", fmt.Sprint(now.Unix())) },
		}, "[5s 1s]", 200},
		"unsaid":    {[]func(time.Time) http.Header{func(time.Time) http.Header { return http.Header{} }}, "[5s]", 200},
		"nonsense":  {[]func(time.Time) http.Header{func(time.Time) http.Header { return header("Retry-After", "-1") }}, "[5s]", 200},
		"too long":  {[]func(time.Time) http.Header{func(time.Time) http.Header { return header("Retry-After", "3600") }}, "[]", 429},
		"for ever":  {repeat(func(time.Time) http.Header { return header("Retry-After", "1") }), "[1s 1s 1s 1s]", 429},
		"hour long": {[]func(time.Time) http.Header{func(time.Time) http.Header { return header("RateLimit-Reset", "99999999999") }}, "[]", 429},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := waiter{start: time.Now()}
				base := &busy{}
				for _, h := range c.headers {
					base.headers = append(base.headers, h(m.Now()))
				}
				waits := []time.Duration{}
				p := &zone.Patient{Machine: m, Base: base, Try: time.Second, Wait: time.Minute, Tell: func(host string, d time.Duration) {
					require.Equal(t, "api.example", host)
					waits = append(waits, d.Round(time.Second))
				}}
				r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://api.example/x", strings.NewReader("body"))
				require.NoError(t, err)
				resp, err := p.RoundTrip(r)
				require.NoError(t, err)
				require.Equal(t, c.status, resp.StatusCode)
				require.Equal(t, c.waits, fmt.Sprint(waits))
				for _, body := range base.bodies {
					require.Equal(t, "body", body, "each try sends it whole")
				}
			})
		})
	}
}

func repeat(f func(time.Time) http.Header) []func(time.Time) http.Header {
	return []func(time.Time) http.Header{f, f, f, f, f, f, f, f}
}

// waiter is a machine that has nothing but a clock.
type waiter struct {
	nodes.Machine
	start time.Time
}

func (w waiter) Now() time.Time         { return time.Now().Round(0) }
func (w waiter) Elapsed() time.Duration { return time.Since(w.start) }
func (w waiter) Host() nodes.Host       { return nodes.Host{Name: "waiter"} }
