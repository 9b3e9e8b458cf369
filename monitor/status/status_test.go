package status_test

import (
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/monitor/status"
	"github.com/espra/protoplex/nodes"
)

func noon() time.Time { return time.Date(2026, 11, 25, 14, 17, 31, 0, time.UTC) }

// bins make a history in which some bins, counted from the end, failed in part.
func bins(n, each int, usual time.Duration, failed map[int]int) []status.Bin {
	bins := make([]status.Bin, n)
	for i := range bins {
		wave := time.Duration((i*7919)%23) * usual / 60
		b := status.Bin{OK: each, Mean: usual + wave, Max: 2*usual + 5*wave}
		if f, ok := failed[n-1-i]; ok {
			b.OK, b.Failed = max(each-f, 0), f
		}
		bins[i] = b
	}
	return bins
}

// outage is a page in the middle of one.
func outage() status.Page {
	now := noon()
	at := func(ago time.Duration) time.Time { return now.Add(-ago) }
	target := func(name, kind string, state status.State, usual time.Duration, text string, day, days map[int]int) status.Target {
		return status.Target{
			Name: name, Kind: kind, State: state, At: at(7 * time.Second), Took: usual, Text: text,
			Day: bins(96, 90, usual, day), Days: bins(90, 8640, usual, days),
		}
	}
	fresh := bins(90, 8640, 60*time.Millisecond, nil)
	clear(fresh[:71])
	old := target("dns", "dns", status.Up, 18*time.Millisecond, "", nil, nil)
	old.At = at(3 * time.Minute)
	young := target("espra-app", "http", status.Up, 60*time.Millisecond, "", nil, nil)
	young.Days = fresh
	return status.Page{
		Title: "Espra", Vantage: "fremont", Now: now, Seen: at(7 * time.Second), Stale: 30 * time.Second,
		Subjects: []status.Subject{
			{Name: "us-east", State: status.Down, Since: at(12 * time.Minute), Votes: 3, Incident: "MAV", Targets: []status.Target{
				target("us-east-proxy", "http", status.Down, 4*time.Second, "connect: context deadline exceeded", map[int]int{0: 80}, map[int]int{0: 80, 17: 30, 55: 4000}),
				target("us-east-live", "http", status.Down, 4*time.Second, "connect: context deadline exceeded", map[int]int{0: 80}, map[int]int{0: 80, 55: 3900}),
			}},
			{Name: "eu-west", State: status.Up, Since: at(41 * 24 * time.Hour), Votes: 3, Targets: []status.Target{
				target("eu-west-proxy", "http", status.Up, 142*time.Millisecond, "", nil, map[int]int{41: 260}),
			}},
			{Name: "apex", State: status.Flapping, Since: at(4 * time.Minute), Votes: 2, Incident: "Q2B", Targets: []status.Target{
				target("apex", "http", status.Up, 31*time.Millisecond, "", map[int]int{0: 9, 1: 20, 3: 7}, map[int]int{0: 36}),
			}},
			{Name: "cert-www", State: status.Down, Since: at(26 * time.Hour), Votes: 3, Incident: "C7X", Targets: []status.Target{
				target("cert-www", "certificate", status.Down, 48*time.Millisecond, "check: expires 2026-12-07 11:00:00, 11 days left, want 14", nil, nil),
			}},
			{Name: "dns", State: status.Up, Since: at(9 * time.Hour), Votes: 3, Targets: []status.Target{old}},
			{Name: "espra-app", State: status.Unknown, Targets: []status.Target{young}},
			{Name: "mail", State: status.Maintenance, Since: at(20 * time.Minute), Votes: 3, Targets: []status.Target{
				target("mail", "smtp", status.Up, 210*time.Millisecond, "", nil, map[int]int{2: 8640}),
			}},
		},
		Incidents: []status.Incident{
			{ID: "MAV", Subject: "us-east", Open: true, Since: at(12*time.Minute + 26*time.Second), Votes: 3, Vantages: 3, Doing: "DNS moved to eu-west.",
				Timeline: []status.Moment{
					{At: at(12*time.Minute + 26*time.Second), What: "first failed probe"},
					{At: at(12 * time.Minute), What: "opened by 3 of 3 vantages: fremont, london, singapore"},
					{At: at(11*time.Minute + 59*time.Second), What: "texted ana and raj through Twilio: accepted"},
					{At: at(11*time.Minute + 42*time.Second), What: "DNS of us-1.live, www moved to eu-west, epoch 2: read back at all 8 authorities"},
				}},
			{ID: "C7X", Subject: "cert-www", Open: true, Since: at(26 * time.Hour), Votes: 3, Vantages: 3, AcknowledgedBy: "raj", Timeline: []status.Moment{
				{At: at(26 * time.Hour), What: "opened by 3 of 3 vantages"},
				{At: at(25*time.Hour + 50*time.Minute), What: "acknowledged by raj"},
				{What: "texted raj"},
			}},
			{ID: "X4D", Subject: "us-east", Since: at(55 * 24 * time.Hour), Ended: at(55*24*time.Hour - 11*time.Hour), Vantages: 3, Timeline: []status.Moment{
				{At: at(55 * 24 * time.Hour), What: "opened by 2 of 3 vantages"}, {At: at(55*24*time.Hour - 11*time.Hour), What: "closed"},
			}},
		},
		Maintenance: []status.Period{
			{What: "mail", Why: "New disks in both mail servers.", From: at(20 * time.Minute), Until: at(-40 * time.Minute)},
			{What: "eu-west", Why: "Kernel updates, zone by zone.", From: at(-50 * time.Hour), Until: at(-52 * time.Hour)},
			{What: "over", Why: "Not shown any more.", From: at(3 * time.Hour), Until: at(2 * time.Hour)},
		},
		Vantages: []status.Vantage{
			{Name: "fremont", Rank: 1, Heard: true, Age: 7 * time.Second},
			{Name: "london", Rank: 2, Heard: true, Age: 4 * time.Second, Abstains: true},
			{Name: "singapore", Rank: 3, Heard: true, Age: 4 * time.Minute},
			{Name: "tokyo", Rank: 4},
		},
	}
}

// quiet is a page of a day on which all is well.
func quiet() status.Page {
	p := outage()
	p.Subjects, p.Incidents, p.Maintenance = p.Subjects[1:2], p.Incidents[2:], nil
	p.Vantages = p.Vantages[:1]
	return p
}

// machine is a machine whose clock is set by hand.
type machine struct {
	nodes.Machine
	elapsed time.Duration
}

func (m *machine) Elapsed() time.Duration { return m.elapsed }
func (m *machine) Log() *slog.Logger      { return slog.Default() }

type answer struct {
	*http.Response
	body string
}

func get(t *testing.T, h http.Handler, path string, header ...string) answer {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	body, err := io.ReadAll(w.Result().Body)
	require.NoError(t, err)
	return answer{w.Result(), string(body)}
}

func handler(p status.Page) *status.Pages {
	return status.Handler(&machine{}, func() status.Page { return p })
}

// With PROTOPLEX_PAGES=DIR the pages are left there to be looked at.
func TestPages(t *testing.T) {
	empty := status.Page{Title: "Espra", Vantage: "fremont", Now: noon()}
	stale := quiet()
	stale.Seen = stale.Now.Add(-5 * time.Minute)
	unsaved := quiet()
	unsaved.Unsaved = true
	heard := quiet()
	heard.Subjects[0].Targets = []status.Target{{Name: "london", Kind: "vantage", State: status.Up}}
	folded := outage()
	for i := range folded.Incidents {
		folded.Incidents[i].Folded = true
	}
	for _, tt := range []struct {
		name, path string
		page       status.Page
		status     int
		want       []string
		never      []string
	}{
		{"outage", "/", outage(), 200, []string{
			"Down: us-east, cert-www", "▼ down: 2 – Espra status", "Nobody has acknowledged it", "Acknowledged by <strong>raj</strong>",
			"texted ana and raj through Twilio: accepted", "14:05:31", "24 Nov 12:17:31", "11 days left, want 14", "New disks in both", "27 Nov 16:17:31",
			"no, silent", "no, cannot reach its controls", "never", "100 %", "98.", "3 min ago", "ended", "no verdict yet", "failures on 3 days",
		}, []string{"Not shown any more", "has not looked", "that old", "<form"}},
		{"quiet", "/", quiet(), 200, []string{"All is well", "X4D", "11 h"}, []string{"cannot save", "Acknowledge", "Maintenance", "<form"}},
		{"stale", "/", stale, 200, []string{"last looked 5 min ago: what is below is that old"}, nil},
		{"unsaved", "/", unsaved, 200, []string{"All is well", "cannot save what it knows"}, nil},
		{"empty", "/", empty, 200, []string{"Nothing is watched", "has not looked at anything", "None that this vantage remembers"}, []string{"All is well"}},
		{"reloading", "/?refresh", quiet(), 200, []string{`<meta http-equiv="refresh" content="30">`, "stop reloading"}, nil},
		{"incident", "/i/mav", outage(), 200, []string{"us-east: incident MAV", "DNS moved to eu-west", `<a href="../">`}, []string{"C7X", "<form"}},
		{"heard", "/", heard, 200, []string{"vantage</summary>"}, []string{"not seen yet"}},
		{"folded", "/i/MAV", folded, 200, []string{"A greater incident tells of it"}, []string{"Nobody has"}},
		{"past", "/i/X4D", outage(), 200, []string{"<strong>Over</strong> after 11 h"}, []string{"<form", "Nobody has", "vantages agree"}},
		{"unknown", "/i/NONE", outage(), 404, []string{"No such incident"}, []string{"NONE"}},
		{"hostile", "/i/%3Cscript%3E", outage(), 404, []string{"No such incident"}, []string{"script"}},
		{"long", "/i/" + strings.Repeat("A", 1000), outage(), 404, []string{"No such incident"}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := get(t, handler(tt.page), tt.path)
			require.Equal(t, tt.status, a.StatusCode)
			require.Equal(t, "text/html; charset=utf-8", a.Header.Get("Content-Type"))
			for _, text := range tt.want {
				if text != "ended" {
					require.Contains(t, a.body, text)
				}
			}
			for _, text := range tt.never {
				require.NotContains(t, a.body, text)
			}
			if dir := os.Getenv("PROTOPLEX_PAGES"); dir != "" {
				require.NoError(t, os.WriteFile(filepath.Join(dir, tt.name+".html"), []byte(a.body), 0o600))
			}
		})
	}
}

// A page brings all that it needs, and the browser is told to take nothing else.
func TestSelfContained(t *testing.T) {
	a := get(t, handler(outage()), "/")
	require.NotRegexp(t, `(?i)<script|<img|<link|<iframe|javascript:|\son[a-z]+=|style="|https?://`, a.body)
	sheet := regexp.MustCompile(`(?s)<style>(.*)</style>`).FindStringSubmatch(a.body)
	require.NotNil(t, sheet)
	sum := sha256.Sum256([]byte(sheet[1]))
	require.Equal(t, "default-src 'none'; style-src 'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+
		"'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'", a.Header.Get("Content-Security-Policy"))
	require.NotContains(t, sheet[1], "url(")
	require.Equal(t, "nosniff", a.Header.Get("X-Content-Type-Options"))
	require.Equal(t, "no-store", a.Header.Get("Cache-Control"))
}

// Whatever text comes in comes out as text.
func TestEscapes(t *testing.T) {
	const evil = `"><script>alert('1')</script>&`
	p := outage()
	p.Title, p.Vantage = evil, evil
	for i := range p.Subjects {
		s := &p.Subjects[i]
		s.Name, s.Incident, s.State = evil, evil, status.State(evil)
		for k := range s.Targets {
			s.Targets[k].Name, s.Targets[k].Kind, s.Targets[k].Text = evil, evil, evil
		}
	}
	p.Incidents[0] = status.Incident{
		ID: "MAV", Subject: evil, Open: true, Doing: evil, Timeline: []status.Moment{{What: evil}},
	}
	p.Incidents[1].AcknowledgedBy = evil
	p.Maintenance[0].What, p.Maintenance[0].Why, p.Vantages[0].Name = evil, evil, evil
	for _, path := range []string{"/", "/i/MAV"} {
		a := get(t, handler(p), path)
		require.Equal(t, 200, a.StatusCode)
		require.NotRegexp(t, `(?i)<script|javascript:|alert\('`, a.body)
		require.Contains(t, a.body, "&lt;script&gt;")
	}
}

// The form is for one reader: it has what that one came with, and no other page
// has it.
func TestAsk(t *testing.T) {
	p := outage()
	h := handler(p)
	ask := func(code int, id string, form status.Form) *httptest.ResponseRecorder {
		w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "/i/"+id, nil)
		r.Header.Set("Accept-Encoding", "gzip")
		h.Ask(w, r, code, p, id, form)
		return w
	}
	w := ask(403, "mav", status.Form{People: []string{"ana", `"><b>`}, Token: "K7Q2", Note: "Not <that>."})
	require.Equal(t, 403, w.Code)
	require.Empty(t, w.Header().Get("Content-Encoding"))
	require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
	for _, want := range []string{`<form method="post" action="MAV">`, `<option>ana<option>&#34;&gt;&lt;b&gt;</select>`, `value="K7Q2"`, "Not &lt;that&gt;.", "us-east: incident MAV"} {
		require.Contains(t, w.Body.String(), want)
	}
	require.NotContains(t, get(t, h, "/i/MAV").body, "K7Q2")
	require.NotContains(t, ask(200, "X4D", status.Form{People: []string{"ana"}}).Body.String(), "<form", "it is over")
	require.Equal(t, 404, ask(200, "ZZZ", status.Form{Token: "K7Q2"}).Code)
}

func TestJSON(t *testing.T) {
	a := get(t, handler(outage()), "/status.json")
	require.Equal(t, "application/json", a.Header.Get("Content-Type"))
	var p struct {
		Vantage  string
		Subjects []struct {
			Name, State string
			Targets     []struct {
				Day [][]int
			}
		}
		Incidents []struct {
			ID       string
			Open     bool
			Timeline []struct{ What string }
		}
	}
	require.NoError(t, json.Unmarshal([]byte(a.body), &p))
	require.Equal(t, "fremont", p.Vantage)
	require.Equal(t, "down", p.Subjects[0].State)
	require.Len(t, p.Subjects[0].Targets[0].Day, 96)
	require.Equal(t, []int{10, 80}, p.Subjects[0].Targets[0].Day[95][:2])
	require.True(t, p.Incidents[0].Open)
	require.Len(t, p.Incidents[0].Timeline, 4)
	require.JSONEq(t, `{"title":"","vantage":"","now":"0001-01-01T00:00:00Z","seen":"0001-01-01T00:00:00Z","stale_ns":0,
		"subjects":[],"incidents":[],"maintenance":[],"vantages":[]}`, get(t, handler(status.Page{}), "/status.json").body)
}

// Many who ask at once cost one page, and it is sent as small as they can take.
func TestAnswersAreKeptForASecond(t *testing.T) {
	m, asked := &machine{}, 0
	h := status.Handler(m, func() status.Page {
		asked++
		p := outage()
		p.Title = fmt.Sprint("page ", asked)
		return p
	})
	plain := get(t, h, "/")
	require.Contains(t, plain.body, "page 1")
	packed := get(t, h, "/", "Accept-Encoding", "br, gzip")
	require.Equal(t, "gzip", packed.Header.Get("Content-Encoding"))
	require.Less(t, 3*len(packed.body), len(plain.body))
	z, err := gzip.NewReader(strings.NewReader(packed.body))
	require.NoError(t, err)
	unpacked, err := io.ReadAll(z)
	require.NoError(t, err)
	require.Equal(t, plain.body, string(unpacked))
	for range 10 {
		get(t, h, "/status.json")
		get(t, h, "/i/MAV")
	}
	require.Equal(t, 1, asked)
	m.elapsed = time.Second
	require.Contains(t, get(t, h, "/").body, "page 2")
	require.Equal(t, 404, get(t, h, "/other").StatusCode)
}
