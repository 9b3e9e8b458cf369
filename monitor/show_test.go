package monitor_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// shown is what these tests read of a vantage's status.json.
type shown struct {
	Subjects []struct {
		Name, State, Incident string
		Targets               []struct {
			Name, State, Text string
			Day               [][]int
		}
	}
	Incidents []struct {
		ID       string
		Open     bool
		Timeline []struct{ What string }
	}
	Vantages []struct {
		Name  string
		Heard bool
	}
}

func (v *vantage) get(path string) (status int, body string) {
	resp, err := http.Get("http://" + v.addr + ":8700" + path)
	require.NoError(v.desk.t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(v.desk.t, err)
	return resp.StatusCode, string(text)
}

func (v *vantage) shown() shown {
	var s shown
	status, body := v.get("/status.json")
	require.Equal(v.desk.t, 200, status)
	require.NoError(v.desk.t, json.Unmarshal([]byte(body), &s))
	return s
}

// looks are the results that a vantage shows of its first target.
func (s shown) looks() (ok, failed int) {
	for _, bin := range s.Subjects[0].Targets[0].Day {
		ok, failed = ok+bin[0], failed+bin[1]
	}
	return ok, failed
}

func TestStatusPage(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 19, time.Second, "linode")
	for _, v := range d.vantages {
		v.cfg.Record = "/record"
		v.start()
	}
	first := d.vantages[0]
	first.wait(1, "first verdict target=us-east ")
	d.regions["us-east"].broken.Store(true)
	first.wait(1, "sms sent")
	s := first.shown()
	region := s.Subjects[1] // of the targets in their order
	require.Equal(t, "us-east", region.Name)
	require.Equal(t, "down", region.State)
	require.Equal(t, "down", region.Targets[0].State)
	require.Equal(t, "check: status 503, want 200", region.Targets[0].Text)
	require.Equal(t, "monitoring", s.Subjects[len(s.Subjects)-1].Name)
	require.Len(t, s.Vantages, 3)
	require.True(t, s.Vantages[2].Heard)
	require.True(t, s.Incidents[0].Open)
	require.Equal(t, region.Incident, s.Incidents[0].ID)
	require.Regexp(t, `^opened: [23]/3 vantages$`, s.Incidents[0].Timeline[1].What)
	require.Regexp(t, `text: down by fremont through twilio: (accepted|delivered)\b`, fmt.Sprint(s.Incidents[0].Timeline))

	status, body := first.get("/i/" + region.Incident)
	require.Equal(t, 200, status)
	require.Contains(t, body, "us-east: incident "+region.Incident)
	status, body = first.get("/")
	require.Equal(t, 200, status)
	require.Contains(t, body, "Down: us-east")
	status, _ = first.get("/none")
	require.Equal(t, 404, status)

	// What was seen is still there after a restart.
	before, _ := s.looks()
	require.NotZero(t, before)
	first.stop()
	text, err := os.ReadFile(filepath.Join(first.root, "record", "results-00000001.log"))
	require.NoError(t, err)
	require.Regexp(t, `(?m)^\S+Z us-east-proxy FAIL \S+ connect=\S+ first-byte=\S+ body=\S+ error="check: status 503, want 200"$`, string(text))
	require.Regexp(t, `(?m)^\S+Z control/control ok `, string(text))
	require.Regexp(t, `(?m)^\S+Z dns-linode ok \S+ first-byte=\S+$`, string(text))
	first.start()
	first.wait(2, "monitor started")
	after, _ := first.shown().looks()
	require.GreaterOrEqual(t, after, before)
}
