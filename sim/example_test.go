package sim_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/sim"
)

// cutLink cuts a web server's link and looks at its client.
func cutLink(t *testing.T, w *sim.World) {
	server, client := w.NewMachine("server"), w.NewMachine("client")
	server.Start("web", func(p *sim.Process) error {
		l, err := p.Listen("tcp", ":80")
		if err != nil {
			return err
		}
		return http.Serve(l, http.NotFoundHandler())
	})
	web := http.Client{Transport: &http.Transport{DialContext: client.DialContext}, Timeout: 2 * time.Second}
	_, err := web.Head("http://server/")
	require.NoError(t, err)

	w.Link(client, server).Cut(30 * time.Second) // heals by itself
	start := time.Now()
	_, err = web.Head("http://server/")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Equal(t, 2*time.Second, time.Since(start)) // virtual time, so exact
}

// A test with a world of its own: TestCutLink(t) would call just this.
func ExampleTest() {
	var t *testing.T // from go test
	sim.Test(t, cutLink)
}
