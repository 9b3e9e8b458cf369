package workload_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/scenarios/workload"
)

// speaking is a desk whose log can be read.
type speaking struct {
	desk
	log *slog.Logger
}

func (s speaking) Log() *slog.Logger { return s.log }

// lines takes what a logger writes.
type lines chan string

func (l lines) Write(p []byte) (int, error) {
	_, text, _ := strings.Cut(strings.TrimSpace(string(p)), " ") // the time
	l <- text
	return len(p), nil
}

// incident is the page of one, and the form on it.
func incident(posts *atomic.Int32, taken string) *http.ServeMux {
	by := ""
	show := func(rw http.ResponseWriter, token string) {
		if taken != "" || by != "" {
			fmt.Fprintf(rw, "<p>Acknowledged by <strong>%s</strong>.</p>", taken+by)
			return
		}
		fmt.Fprintf(rw, `<form method="post" action="MAV"><select name="by"><option value="">choose<option>ana<option>raj</select>
<input name="token" value="%s" size="9"></form>`, token)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /i/MAV-SECRET", func(rw http.ResponseWriter, _ *http.Request) { show(rw, "SECRET") })
	mux.HandleFunc("POST /i/MAV", func(rw http.ResponseWriter, r *http.Request) {
		if posts.Add(1); r.PostFormValue("token") != "SECRET" || r.PostFormValue("by") != "raj" {
			http.Error(rw, "no", http.StatusForbidden)
			return
		}
		by = "raj"
		http.Redirect(rw, r, "MAV-SECRET", http.StatusSeeOther)
	})
	return mux
}

// A phone's owner opens the link, and says that they look after it, until that is so.
func TestPhone(t *testing.T) {
	const page = "ESPRA DOWN us-east since 14:05:00Z, 3/3 vantages. MAV https://HOST/i/MAV-SECRET"
	after := func(failures int32, then http.Handler) http.Handler {
		var n atomic.Int32
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if n.Add(1) <= failures {
				rw.WriteHeader(http.StatusNotFound)
				return
			}
			then.ServeHTTP(rw, r)
		})
	}
	var posts atomic.Int32
	for _, c := range []struct {
		name, text string
		server     http.Handler
		posts      int32
		want       string
	}{
		{"at once", page, incident(&posts, ""), 1, `level=INFO msg="page acknowledged" by=raj incident=MAV`},
		{"the incident is not known there yet", page, after(2, incident(&posts, "")), 1, `level=INFO msg="page acknowledged" by=raj incident=MAV`},
		{"never", page, status(503), 0, `level=WARN msg="page not acknowledged" by=raj incident=MAV error="status 503"`},
		{"it is over", page, http.NotFoundHandler(), 0, `level=WARN msg="page not acknowledged" by=raj incident=MAV error="status 404"`},
		{"there is no form", page, status(200), 0, `level=WARN msg="page not acknowledged" by=raj incident=MAV error="no form"`},
		{"no link", "ESPRA DOWN us-east since 14:05:00Z, 3/3 vantages. MAV", status(200), 0,
			`level=WARN msg="page not acknowledged" by=raj incident=? error="the text has no link"`},
		{"somebody was faster", page, incident(&posts, "ana"), 0, ""},
		{"an all-clear", "ESPRA OK us-east since 14:20:00Z. MAV closed after 15m https://HOST/i/MAV-SECRET", incident(&posts, ""), 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			posts.Store(0)
			said, texts := make(lines, 10), make(chan string, 2)
			host := w.serve("espra.com", c.server)
			texts <- strings.Replace(c.text, "HOST", host, 1)
			texts <- "ESPRA DOWN, the last" // those before it are done with
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() {
				done <- workload.Phone{Owner: "raj", Answers: time.Millisecond, Texts: texts, Roots: w.roots, Pace: w.pace}.
					Run(ctx, speaking{w.m, slog.New(slog.NewTextHandler(said, nil))})
			}()
			if c.want != "" {
				require.Equal(t, c.want, <-said)
			}
			require.Contains(t, <-said, "incident=?")
			cancel()
			require.NoError(t, <-done)
			require.Equal(t, c.posts, posts.Load())
		})
	}
	require.Error(t, workload.Phone{Owner: "raj"}.Run(t.Context(), newWorld(t).m), "nothing ever arrives")
}
