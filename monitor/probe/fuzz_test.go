package probe_test

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/monitor/probe"
	"github.com/espra/protoplex/nodes"
)

// scripted is a machine whose every connection leads to a server that says the
// bytes, reads all, and goes.
type scripted struct {
	nodes.Machine
	says []byte
}

func (s scripted) DialContext(context.Context, string, string) (net.Conn, error) {
	near, far := net.Pipe()
	go func() {
		defer far.Close()
		b := make([]byte, 4<<10)
		for { // takes what the probe says
			if _, err := far.Read(b); err != nil {
				return
			}
		}
	}()
	go func() {
		_, _ = far.Write(s.says)
		far.Close()
	}()
	return near, nil
}

// fuzz looks at servers that say anything.
func fuzz(f *testing.F, target func(server string) probe.Target) {
	m := machine(f)
	it := target("192.0.2.1:80")
	it.Name = "it"
	require.Empty(f, it.Check())
	f.Fuzz(func(t *testing.T, says []byte) {
		look, err := it.Probe(scripted{m, says}, probe.Options{Limit: time.Second})
		require.NoError(t, err)
		r := look(t.Context(), 0)
		if r.Err != nil {
			require.NotEmpty(t, r.Failed())
			require.Less(t, len(r.Err.Error()), 600, "an error of bounded length")
			require.False(t, strings.Contains(r.Err.Error(), "deadline"), "%v", r.Err)
		}
	})
}
