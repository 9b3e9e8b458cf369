package seed

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/nodes"
	"github.com/espra/protoplex/nodes/cell"
	"github.com/espra/protoplex/nodes/meta"
)

// still is a machine on which no time passes.
type still struct{ nodes.Machine }

func (still) Elapsed() time.Duration { return time.Hour }
func (still) Log() *slog.Logger      { return slog.New(slog.DiscardHandler) }

// An order is either on its way when it has been answered, or refused.
func TestInvalidationFits(t *testing.T) {
	s := &seed{m: still{}, core: newCore("seed-1", "us-east", testRules()),
		events: make(chan event), over: make(chan struct{}), streams: map[uint64]*queue{}}
	done := make(chan struct{})
	go func() { defer close(done); s.loop() }()
	defer func() { close(s.over); <-done }()
	s.post(acquired{1, 2 * time.Hour})
	s.post(registered{1, registration("live", "live-1")})
	for name, c := range map[string]struct {
		body   string
		status int
	}{
		"short":           {`{"hosts":["a.example"]}`, http.StatusOK},
		"long":            {`"` + strings.Repeat("x", 30<<10) + `"`, http.StatusOK},
		"long if escaped": {`"` + strings.Repeat("&", 12<<10) + `"`, http.StatusBadRequest},
		"not UTF-8":       {"\"\xff\"", http.StatusBadRequest},
	} {
		q := newQueue()
		s.mu.Lock()
		s.streams[1] = q
		s.mu.Unlock()
		w := httptest.NewRecorder()
		s.invalidate(w, httptest.NewRequest(http.MethodPost, "/cell/invalidate", strings.NewReader(c.body)))
		require.Equal(t, c.status, w.Code, "%s: %s", name, w.Body)
		sent := slices.ContainsFunc(q.frames, func(f meta.Frame) bool { return f.Type == cell.TypeOrder })
		require.Equal(t, c.status == http.StatusOK, sent, name)
	}
}
