package monitor

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/monitor/observe"
)

// As many targets as may be are down at once, all admins were told of them and look
// after them, and as many silences are on as may be: vantages still hear one
// another, and a vantage that starts again knows it all.
func TestAllIsDown(t *testing.T) {
	if testing.Short() {
		t.Skip("it is long under the race detector")
	}
	const admins = 4
	w := newWorld(t, func(c *Config) {
		watch(c, maxTargets-len(c.Targets))
		for k := len(c.Admins); k < admins; k++ {
			c.Admins = append(c.Admins, Admin{fmt.Sprint("admin-", k), fmt.Sprint("+1556000000", k)})
		}
		for k := range maxSilences {
			c.Silences = append(c.Silences, SilenceConfig{Subject: "apex", From: worldStart, Until: worldStart.Add(time.Duration(k+1) * time.Hour),
				Why: strings.Repeat("w", maxWhy)})
		}
	})
	w.run(40 * time.Second)
	first, last := w.vantages[0], w.vantages[2]
	for _, target := range first.cfg.Targets {
		w.down[target.Name] = true
	}
	w.run(time.Minute)
	require.Len(t, w.gateway.to(ana, ""), 3, "two regions and the rest")
	texts := w.gateway.to(ana, "ESPRA DOWN 596 targets")
	require.Len(t, texts, 1)
	for _, admin := range last.cfg.Admins {
		_, err := last.acknowledge(named(texts[0]), admin.Name)
		require.NoError(t, err)
	}
	w.run(20 * time.Second)
	for _, s := range w.vantages {
		require.Empty(t, s.lost(), s.name)
		require.False(t, s.cropped, s.name)
		o := s.observation()
		require.Len(t, o.Claims, maxTargets)
		require.Len(t, o.Silences, maxSilences)
		require.GreaterOrEqual(t, len(o.Texts), 596*admins)
		require.Len(t, o.Acks, 596*admins)
		body, signature, err := s.seal(o)
		require.NoError(t, err)
		for _, other := range w.vantages {
			if other != s {
				got, err := observe.Open(body, signature, other.keys, other.cfg.maxMessage())
				require.NoError(t, err)
				require.Equal(t, o, got)
			}
		}
	}
	sent := len(w.gateway.texts)
	first.saveChanges(t.Context())
	first.boot()
	require.Len(t, first.incidents, maxTargets)
	w.run(40 * time.Second)
	require.Len(t, w.gateway.texts, sent)
}

// What does not fit is left out, which is told of once, and the rest is heard.
func TestObservationsAreCropped(t *testing.T) {
	w := newWorld(t, nil)
	w.run(time.Minute)
	first := w.vantages[0]
	var log bytes.Buffer
	first.log = slog.New(slog.NewTextHandler(&log, nil))
	w.down["apex"] = true
	w.run(time.Minute)
	first.incidents["apex"].take(observe.Text{Incident: first.incidents["apex"].ID, Kind: "open-0", Admin: "eve", By: "fremont", N: 1,
		State: observe.Accepted, Receipt: strings.Repeat("x", 300)})
	w.run(time.Minute)
	require.Empty(t, first.lost())
	require.True(t, first.cropped)
	require.Equal(t, 1, strings.Count(log.String(), "observation does not fit, sent without some of its items"), log.String())
	require.Contains(t, log.String(), "left=1 ")
	for _, e := range w.vantages[1].board.Latest() {
		require.Less(t, w.elapsed-e.Arrived, 20*time.Second, e.Vantage)
	}
	require.Len(t, w.gateway.texts, 2)
}

// lost gives the peers that do not take what a vantage sends.
func (s *seat) lost() map[string]bool {
	lost := map[string]bool{}
	for name, gone := range s.gone {
		if gone {
			lost[name] = true
		}
	}
	return lost
}
