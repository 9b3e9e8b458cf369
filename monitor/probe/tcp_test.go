package probe_test

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/monitor/probe"
)

func TestTCP(t *testing.T) {
	m := machine(t)
	say := func(text string) string {
		return serve(t, func(conn net.Conn) { io.WriteString(conn, text) })
	}
	for _, tt := range []struct {
		name   string
		server string
		banner string
		failed string
		want   string
	}{
		{"connects", serve(t, hold(t)), "", "", ""},
		{"nobody there", closedPort(t), "", probe.Connect, "refused"},
		{"the banner", say("SSH-2.0-OpenSSH_9.2\r\n"), "SSH-2.0-", "", ""},
		{"another", say("HTTP/1.1 400 Bad Request\r\n"), "SSH-2.0-", probe.Check, `banner begins with "HTTP/1.1", want "SSH-2.0-"`},
		{"a part of it", say("SSH"), "SSH-2.0-", probe.Check, `begins with "SSH"`},
		{"none", say(""), "SSH-2.0-", probe.Banner, "EOF"},
		{"silence", serve(t, hold(t)), "SSH-2.0-", probe.Banner, "deadline"},
		{"no end of it", serve(t, flood("SSH-2.0-")), "SSH-2.0-", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := see(t, m, probe.Target{Kind: "tcp", Server: tt.server, Banner: tt.banner}, probe.Options{Limit: 300 * time.Millisecond})
			require.Equal(t, tt.failed, r.Failed(), "%v", r.Err)
			if tt.want != "" {
				require.ErrorContains(t, r.Err, tt.want)
			}
		})
	}
}

func FuzzTCP(f *testing.F) {
	f.Add([]byte("SSH-2.0-OpenSSH"))
	fuzz(f, func(server string) probe.Target {
		return probe.Target{Kind: "tcp", Server: server, Banner: "SSH-2.0-"}
	})
}
