package main

import (
	"bytes"
	"context"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/monitor/sms"
	"github.com/espra/protoplex/nodes"
)

// output is what a program has written so far.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// The gateways take what the platform's own clients send them, show it, and go
// when they are asked to.
func TestFakeSMS(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out output
	cmd := exec.CommandContext(ctx, program(), "fake", "sms", "--port", "0", "--region", "eu-west-1", "--unreachable", "+447700900002")
	cmd.Stdout, cmd.Stderr = &out, &out
	require.NoError(t, cmd.Start())
	shows := func(pattern string) []string {
		t.Helper()
		var found []string
		require.Eventually(t, func() bool {
			found = regexp.MustCompile(pattern).FindStringSubmatch(out.String())
			return found != nil
		}, 30*time.Second, 10*time.Millisecond, "%s in\n%s", pattern, &out)
		return found
	}
	twilio := shows(`(?m)^Twilio      (http://127\.0\.0\.1:\d+)  account (AC\d{32}), token (\S+)$`)
	amazon := shows(`(?m)^Amazon SNS  (http://127\.0\.0\.1:\d+)  region eu-west-1, key (\S+), secret (\S+)$`)
	shows(`What they take:\n`)

	m, err := nodes.NewOS(nodes.OSOptions{Root: t.TempDir()})
	require.NoError(t, err)
	defer m.Close()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	first := &sms.Twilio{HTTP: client, URL: twilio[1], Account: twilio[2], Token: twilio[3], From: "+15550000000"}
	second := sms.NewSNS(m, client, sms.SNSOptions{URL: amazon[1], Region: "eu-west-1", Key: amazon[2], Secret: amazon[3]})
	_, err = first.Text(ctx, "+447700900001", "hello from Twilio")
	require.NoError(t, err)
	r, err := second.Text(ctx, "+447700900002", "hello from SNS")
	require.NoError(t, err)
	shows(`(?m)^\d\d:\d\d:\d\d  twilio  to \+447700900001 from \+15550000000  "hello from Twilio"  SM[0-9a-f]{32}$`)
	shows(`(?m)^\d\d:\d\d:\d\d  sns     to \+447700900002  "hello from SNS"  ` + r.ID + `$`)
	shows(`(?m)  twilio  to \+447700900001  delivered  SM`)
	shows(`(?m)  sns     to \+447700900002  NOT delivered: Phone is currently unreachable/unavailable  ` + r.ID + `$`)

	require.NoError(t, cmd.Process.Signal(os.Interrupt))
	require.NoError(t, cmd.Wait(), "%s", &out)
}
