package probe_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/monitor/probe"
)

// mailScript is what a mail server answers instead of what it should.
type mailScript struct {
	certificate *tls.Certificate  // no STARTTLS without
	answers     map[string]string // by verb; "banner" is one
	verbs       chan string       // may be nil
}

// mailServer speaks as much SMTP as a probe hears.
func mailServer(t testing.TB, script mailScript) string {
	return serve(t, func(conn net.Conn) {
		secure := false
		say := func(verb, usual string) {
			if text, ok := script.answers[verb]; ok {
				usual = text
			}
			fmt.Fprintf(conn, "%s\r\n", usual)
		}
		say("banner", "220 mail.espra.com ESMTP")
		lines := bufio.NewReader(conn)
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				return
			}
			line = strings.TrimSpace(line)
			if script.verbs != nil {
				script.verbs <- line
			}
			switch verb, _, _ := strings.Cut(line, " "); verb {
			case "EHLO":
				if script.certificate != nil && !secure {
					say(verb, "250-mail.espra.com\r\n250-8BITMIME\r\n250 STARTTLS")
				} else {
					say(verb, "250-mail.espra.com\r\n250 8BITMIME")
				}
			case "STARTTLS":
				say(verb, "220 go ahead")
				server := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{*script.certificate}})
				if server.HandshakeContext(t.Context()) != nil {
					return
				}
				conn, lines, secure = server, bufio.NewReader(server), true
			case "MAIL", "RCPT":
				say(verb, "250 ok")
			case "QUIT":
				say(verb, "221 bye")
				return
			default:
				say(verb, "502 not implemented")
			}
		}
	})
}

func TestSMTP(t *testing.T) {
	m := machine(t)
	c, roots := certificate(t, "mail.espra.com", m.Now().Add(30*day))
	other, _ := certificate(t, "other.espra.com", m.Now().Add(30*day))
	with := func(verb, answer string) mailScript {
		return mailScript{certificate: &c, answers: map[string]string{verb: answer}}
	}
	target := probe.Target{Host: "mail.espra.com", Recipient: "probe@espra.com"}
	plain := probe.Target{Plain: true}
	for _, tt := range []struct {
		name   string
		script mailScript
		target probe.Target
		failed string
		want   string
	}{
		{"all is well", mailScript{certificate: &c}, target, "", ""},
		{"plain", mailScript{}, plain, "", ""},
		{"no STARTTLS", mailScript{}, target, probe.Check, "no STARTTLS"},
		{"another's certificate", mailScript{certificate: &other}, target, probe.TLS, "certificate"},
		{"full", with("banner", "421 too busy"), target, probe.Check, "banner: 421 too busy"},
		{"no SMTP", with("banner", "HTTP/1.1 400 Bad Request"), target, probe.Banner, "short response"},
		{"no STARTTLS after all", with("STARTTLS", "454 not now"), target, probe.Check, "tls: 454 not now"},
		{"no such user", with("RCPT", "550 5.1.1 no such user"), target, probe.Check, "rcpt: 550 5.1.1 no such user"},
		{"no bounces", with("MAIL", "550 no null sender"), target, probe.Check, "rcpt: 550 no null sender"},
		{"no goodbye", with("QUIT", "500 what?"), target, "", ""},
		{"many lines", with("EHLO", strings.Repeat("250-X\r\n", 40<<10)), target, probe.Hello, "more than 128 KiB"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.target.Kind, tt.target.Server = "smtp", mailServer(t, tt.script)
			r := see(t, m, tt.target, probe.Options{Roots: roots, Limit: 500 * time.Millisecond})
			require.Equal(t, tt.failed, r.Failed(), "%v", r.Err)
			if tt.want != "" {
				require.ErrorContains(t, r.Err, tt.want)
			}
		})
	}
	t.Run("what is said", func(t *testing.T) {
		verbs := make(chan string, 10)
		target.Kind, target.Server = "smtp", mailServer(t, mailScript{certificate: &c, verbs: verbs})
		r := see(t, m, target, probe.Options{Roots: roots, Limit: time.Second})
		require.NoError(t, r.Err)
		require.Equal(t, []string{"connect", "banner", "ehlo", "tls", "rcpt"}, phases(r))
		for _, want := range []string{"EHLO [127.0.0.1]", "STARTTLS", "EHLO [127.0.0.1]", "MAIL FROM:<> BODY=8BITMIME", "RCPT TO:<probe@espra.com>", "QUIT"} {
			require.Equal(t, want, <-verbs)
		}
	})
}

func TestSMTPFromHostileServers(t *testing.T) {
	m := machine(t)
	for name, tt := range map[string]struct {
		server func(net.Conn)
		phase  string
		want   string
	}{
		"silence":      {hold(t), probe.Banner, "deadline"},
		"endless line": {flood("220 aaaaaaaaaaaa"), probe.Banner, "more than 128 KiB"},
		"endless text": {flood("220-more\r\n"), probe.Banner, "more than 128 KiB"},
		"gone":         {func(net.Conn) {}, probe.Banner, "EOF"},
		"drips": {func(conn net.Conn) {
			io.WriteString(conn, "220 mail\r\n250-")
			<-t.Context().Done()
		}, probe.Hello, "deadline"},
	} {
		t.Run(name, func(t *testing.T) {
			r := see(t, m, probe.Target{Kind: "smtp", Server: serve(t, tt.server)}, probe.Options{Limit: 300 * time.Millisecond})
			require.Equal(t, tt.phase, r.Failed(), "%v", r.Err)
			require.ErrorContains(t, r.Err, tt.want)
		})
	}
}

func FuzzSMTP(f *testing.F) {
	f.Add([]byte("220 mail ESMTP\r\n250-mail\r\n250 8BITMIME\r\n250 ok\r\n250 ok\r\n221 bye\r\n"))
	f.Add([]byte("220-a\r\n220 b\r\n500 what?\r\n250 ok\r\n550 no\r\n"))
	fuzz(f, func(server string) probe.Target {
		return probe.Target{Kind: "smtp", Server: server, Plain: true, Recipient: "probe@espra.com"}
	})
}
