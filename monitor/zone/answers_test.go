package zone_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/monitor/zone"
)

// answers is a transport that gives the same answer to every request but the
// search for the domain.
type answers struct {
	status int
	kind   string
	body   string
	asked  int
}

func (a *answers) RoundTrip(r *http.Request) (*http.Response, error) {
	if a.asked++; a.asked > 1000 {
		return nil, errors.New("asked too often")
	}
	status, body := a.status, a.body
	if strings.HasSuffix(r.URL.Path, "/v4/domains") {
		status, body = 200, `{"data":[{"id":7,"domain":"espra.com"}],"page":1,"pages":1,"results":1}`
	}
	h := http.Header{"Content-Type": {a.kind}}
	return &http.Response{
		StatusCode: status, Status: strconv.Itoa(status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: h, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)), Request: r,
	}, nil
}

func clients(t testing.TB, a *answers) []zone.Zone {
	hc := &http.Client{Transport: a}
	ocean, err := zone.NewDigitalOcean(hc, "http://ocean.example", "secret", "espra.com")
	require.NoError(t, err)
	return []zone.Zone{zone.NewLinode(hc, "http://linode.example", "secret", "espra.com"), ocean}
}

// An answer that is not whole is an error, never a smaller zone.
func TestMalformedAnswers(t *testing.T) {
	const record = `{"id":1,"type":"A","name":"a","target":"192.0.2.1","data":"192.0.2.1"}`
	for name, body := range map[string]string{
		"empty":          ``,
		"cut":            `{"data":[` + record,
		"not JSON":       `<html>`,
		"another object": `{}`,
		"a list":         `[]`,
		"null":           `null`,
		"wrong types":    `{"data":[{"id":"x"}],"domain_records":[{"id":"x"}],"results":1}`,
		"short":          `{"data":[` + record + `],"page":1,"pages":1,"results":2,"domain_records":[` + record + `],"links":{"pages":{"next":"http://x/?page=2","last":"http://x/?page=2"}}}`,
		"a record twice": `{"data":[` + record + `,` + record + `],"page":1,"pages":1,"results":2,"domain_records":[` + record + `,` + record + `]}`,
		"endless":        `{"data":[` + record + `],"page":1,"pages":1000000000,"results":1000000000,"domain_records":[` + record + `],"links":{"pages":{"next":"http://x/?page=2","last":"http://x/?page=9"}}}`,
		"none":           `{"data":[],"page":1,"pages":3,"results":3,"domain_records":[],"links":{}}`,
	} {
		a := &answers{status: 200, kind: "application/json", body: body}
		for _, z := range clients(t, a) {
			a.asked = 0
			records, err := z.Records(t.Context())
			require.Error(t, err, "%s: %v", name, records)
			require.NotErrorIs(t, err, zone.ErrDenied)
			require.Less(t, a.asked, 10, name)
		}
	}
}

// Whatever a provider says, the client returns, bounded, and says it in print.
func FuzzAnswers(f *testing.F) {
	f.Add(200, "application/json", `{"data":[{"id":1,"type":"MX","name":"a","target":"@","priority":-1}],"page":1,"pages":1,"results":1}`)
	f.Add(200, "application/json", `{"domain_records":[{"id":1,"type":"SRV","name":"@","data":".","priority":70000,"port":-1,"tag":"x"}],"links":{}}`)
	f.Add(200, "application/json", `{"data":[{"id":1,"type":"SRV","service":"a","protocol":"b","tag":null}],"results":1}`)
	f.Add(401, "application/json", `{"errors":[{"reason":"Invalid Token"}]}`)
	f.Add(403, "application/json", `{"id":"Forbidden","message":"no"}`)
	f.Add(502, "text/html", "<html>\x1b[31m")
	f.Add(429, "", "")
	f.Fuzz(func(t *testing.T, status int, kind, body string) {
		if status < 100 || status > 999 || strings.ContainsFunc(kind, unicode.IsControl) {
			return
		}
		a := &answers{status: status, kind: kind, body: body}
		for _, z := range clients(t, a) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			a.asked = 0
			records, err := z.Records(ctx)
			require.NoError(t, ctx.Err())
			if err != nil {
				require.NotContains(t, err.Error(), "\x1b")
				require.Less(t, len(err.Error()), 2000)
			}
			for _, r := range records {
				require.True(t, r.Name == "espra.com" || strings.HasSuffix(r.Name, ".espra.com"), "%q", r.Name)
				if _, err := z.Fit(r); err == nil {
					_ = z.Create(ctx, r)
				}
			}
		}
	})
}
