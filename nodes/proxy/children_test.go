package proxy

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/nodes"
)

func TestMain(m *testing.M) {
	if code, isChild := nodes.ChildMain(nodes.Roles{Name: Run}); isChild {
		os.Exit(code)
	}
	os.Exit(m.Run())
}

// TestChildren serves with two processes that share the parent's listeners.
func TestChildren(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the process model is for Linux")
	}
	log := &logHook{records: make(chan slog.Record, 1000)}
	const address = "127.0.41.7:18080"
	system, err := nodes.NewOS(nodes.OSOptions{
		Host:  nodes.Host{Name: "proxy-1", Addr: netip.MustParseAddr("127.0.41.7"), Proc: "proxy"},
		Root:  t.TempDir(),
		Roles: nodes.Roles{Name: Run},
		Log:   slog.New(log),
	})
	require.NoError(t, err)
	defer system.Close()
	m := &machine{system, make(chan nodes.Signal, 2), log}
	done := make(chan error, 1)
	go func() {
		done <- Run(context.Background(), m, []string{"--http", address, "--https", "", "--children", "2",
			"--drain-window", "100ms", "--drain", "1s"})
	}()
	for range 2 {
		log.await(t, "child ready")
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for range 20 {
		res, body := do(t, client, "GET", "http://"+address+"/health", "")
		require.Equal(t, 200, res.StatusCode)
		require.Equal(t, "ok\n", body)
	}
	m.signals <- nodes.Terminate
	select {
	case err := <-done:
		require.NoError(t, err)
	case <-time.After(20 * time.Second):
		t.Fatal("the parent does not leave")
	}
}
