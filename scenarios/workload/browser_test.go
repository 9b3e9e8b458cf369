package workload_test

import (
	"context"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/nodes"
	"github.com/espra/protoplex/scenarios/oracle"
	"github.com/espra/protoplex/scenarios/pki"
	"github.com/espra/protoplex/scenarios/workload"
)

func (w *world) browser(page string) workload.Browser {
	return workload.Browser{ID: "anna", Page: page, Roots: w.roots, Pace: w.pace, Recorder: w.tape}
}

func status(code int) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(code) })
}

func TestPageThroughRedirectOverKeptConnections(t *testing.T) {
	w := newWorld(t)
	var seen atomic.Int32
	www := w.serve("www.espra.com", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		seen.Add(1)
		rw.Write([]byte("hello"))
	}))
	remotes := make(chan string, 1000)
	apex := w.serve("espra.com", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		remotes <- r.RemoteAddr
		http.Redirect(rw, r, "https://"+www+r.URL.Path, http.StatusMovedPermanently)
	}))
	w.start(w.browser("https://" + apex + "/"))
	for range 5 {
		p := next[oracle.Page](w)
		require.Positive(t, p.Latency)
		p.Latency = 0
		require.Equal(t, oracle.Page{Client: "anna", Host: "espra.com", Outcome: oracle.OK, Answered: true}, p)
	}
	require.GreaterOrEqual(t, seen.Load(), int32(5))
	first := <-remotes
	for range 4 {
		require.Equal(t, first, <-remotes, "the connection is kept")
	}
}

func TestPageFailures(t *testing.T) {
	cases := map[string]struct {
		page     func(w *world) string
		class    string
		answered bool
	}{
		"status": {func(w *world) string { return w.serve("espra.com", status(503)) }, "status 503", true},
		"broken after the redirect": {func(w *world) string {
			www := w.serve("www.espra.com", status(502))
			return w.serve("espra.com", http.RedirectHandler("https://"+www, http.StatusFound))
		}, "status 502", true},
		"redirect out of https": {func(w *world) string {
			return w.serve("espra.com", http.RedirectHandler("http://www.espra.com/", http.StatusFound))
		}, "redirect to http", true},
		"endless redirects": {func(w *world) string {
			return w.serve("espra.com", http.RedirectHandler("/", http.StatusFound))
		}, "redirects", true},
		"too big": {func(w *world) string {
			return w.serve("espra.com", http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
				rw.Write(make([]byte, 2<<20))
			}))
		}, "too big", true},
		"no such name":  {func(*world) string { return "nowhere.espra.com" }, "dns not found", false},
		"resolver dead": {func(w *world) string { w.m.names["slow-dns.com"] = []string{hole}; return "slow-dns.com" }, "dns timeout", false},
		"nobody there":  {func(w *world) string { w.m.names["espra.com"] = []string{hole}; return "espra.com" }, "dial timeout", false},
		"refused": {func(w *world) string {
			l, err := w.m.Listen("tcp", "127.0.0.1:0")
			require.NoError(w.t, err)
			require.NoError(w.t, l.Close())
			return l.Addr().String()
		}, "refused", false},
		"not our authority": {func(w *world) string {
			other, err := pki.New(w.m.Now().Add(-time.Hour), w.m.Now().Add(time.Hour))
			require.NoError(w.t, err)
			return w.serveAs("espra.com", other, status(200))
		}, "tls", false},
		"certificate out of date": {func(w *world) string {
			other, err := pki.New(w.m.Now().Add(-2*time.Hour), w.m.Now().Add(-time.Hour))
			require.NoError(w.t, err)
			w.roots.AppendCertsFromPEM(other.RootsPEM())
			return w.serveAs("espra.com", other, status(200))
		}, "tls", false},
		"certificate of another": {func(w *world) string {
			address := w.serve("www.espra.com", status(200))
			w.m.names["espra.com"] = []string{"127.0.0.1"}
			return strings.TrimPrefix(address, "www.")
		}, "tls", false},
		"silence in the handshake": {func(w *world) string { return raw(w, func(net.Conn) {}) }, "tls timeout", false},
		"reset in the handshake": {func(w *world) string {
			return raw(w, func(c net.Conn) { c.(*net.TCPConn).SetLinger(0); c.Close() })
		}, "reset", false},
		"no answer": {func(w *world) string {
			return w.serve("espra.com", hang)
		}, "timeout", false},
		"hung up": {func(w *world) string {
			return w.serve("espra.com", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
		}, "closed", false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			switch c.class { // impatient only where patience is all that ends it
			case "timeout":
				w.pace.Request = 300 * time.Millisecond
			case "tls timeout":
				w.pace.Secure = 100 * time.Millisecond
			case "dns timeout":
				w.pace.Resolve = 100 * time.Millisecond
			}
			w.start(w.browser("https://" + c.page(w) + "/"))
			for range 2 {
				p := next[oracle.Page](w)
				p.Latency = 0
				require.Equal(t, oracle.Page{Client: "anna", Host: p.Host, Outcome: oracle.Failed, Answered: c.answered, Error: c.class}, p)
			}
		})
	}
}

// raw serves bare connections at 127.0.0.1.
func raw(w *world, serve func(net.Conn)) string {
	l, err := w.m.Listen("tcp", "127.0.0.1:0")
	require.NoError(w.t, err)
	w.t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			w.t.Cleanup(func() { c.Close() })
			buf := make([]byte, 1)
			c.Read(buf) // so that a reset comes after the connection stands
			serve(c)
		}
	}()
	return l.Addr().String()
}

func TestNextAddressWhenTheFirstIsDead(t *testing.T) {
	w := newWorld(t)
	w.m.names["espra.com"] = []string{hole}
	w.start(w.browser("https://" + w.serve("espra.com", status(200)) + "/"))
	p := next[oracle.Page](w)
	require.Equal(t, oracle.OK, p.Outcome, p.Error)
	require.GreaterOrEqual(t, p.Latency, w.pace.Connect, "the dead address was tried first")
	require.Less(t, next[oracle.Page](w).Latency, w.pace.Connect, "the connection is kept")
}

func TestStoppedInTheMiddleIsUnknown(t *testing.T) {
	w := newWorld(t)
	asked := make(chan bool, 1)
	stop := w.start(w.browser("https://" + w.serve("espra.com", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		asked <- true
		hang(rw, r)
	})) + "/"))
	<-asked
	stop()
	p := next[oracle.Page](w)
	require.Equal(t, oracle.Unknown, p.Outcome)
	require.Equal(t, oracle.Stopped, p.Error)
}

func TestBadSetup(t *testing.T) {
	w := newWorld(t)
	tunnel := func(key string, channels ...string) workload.Browser {
		b := w.browser("")
		b.Home, b.Tunnels = "us-1.live.espra.com", []workload.Tunnel{{Key: key, Channels: channels}}
		return b
	}
	twice := tunnel("k", "c")
	twice.Tunnels = append(twice.Tunnels, twice.Tunnels[0])
	homeless := tunnel("k", "c")
	homeless.Home = ""
	for name, c := range map[string]workload.Client{
		"browser without id":        workload.Browser{Recorder: w.tape},
		"browser without recorder":  workload.Browser{ID: "anna"},
		"plain page":                w.browser("http://espra.com/"),
		"page without host":         w.browser("https:///"),
		"no channels":               tunnel("k"),
		"odd channel":               tunnel("k", "a b"),
		"odd key":                   tunnel("k/l", "c"),
		"channel twice":             tunnel("k", "c", "d", "c"),
		"too many channels":         tunnel("k", make([]string, 101)...),
		"key twice":                 twice,
		"tunnels without home":      homeless,
		"publisher without id":      workload.Publisher{Recorder: w.tape, Host: "h", Key: "k", Channels: []string{"c"}},
		"publisher without host":    workload.Publisher{ID: "p", Recorder: w.tape, Key: "k", Channels: []string{"c"}},
		"publisher with odd key":    workload.Publisher{ID: "p", Recorder: w.tape, Host: "h", Key: "", Channels: []string{"c"}},
		"publisher without channel": workload.Publisher{ID: "p", Recorder: w.tape, Host: "h", Key: "k"},
	} {
		t.Run(name, func(t *testing.T) { require.Error(t, c.Run(t.Context(), w.m)) })
	}
}

func TestRole(t *testing.T) {
	w := newWorld(t)
	require.Error(t, workload.Role()(t.Context(), w.m, []string{"--flag"}))

	good, bad := w.browser("https://"+w.serve("espra.com", status(200))+"/"), w.browser("http://espra.com/")
	require.ErrorContains(t, workload.Role(good, bad)(t.Context(), w.m, nil), "not an https URL", "one bad client ends the process")

	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- workload.Role(good)(ctx, w.m, nil) }()
	next[oracle.Page](w)
	cancel()
	require.NoError(t, <-done)

	m := signalled{w.m, make(chan nodes.Signal, 1)}
	m.signals <- nodes.Terminate
	require.NoError(t, workload.Role(good)(t.Context(), m, nil))
}

// signalled is a machine whose process is sent signals by the test.
type signalled struct {
	nodes.Machine
	signals chan nodes.Signal
}

func (s signalled) Signals() <-chan nodes.Signal { return s.signals }
