package sms_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	fake "github.com/espra/protoplex/fakes/sms"
	"github.com/espra/protoplex/monitor/sms"
	"github.com/espra/protoplex/monitor/sms/smstest"
	"github.com/espra/protoplex/nodes"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(testing.TB, ...string) *world{"twilio": twilioWorld, "sns": snsWorld, "sns sandbox": sandboxWorld} {
		t.Run(name, func(t *testing.T) {
			for _, test := range smstest.Tests() {
				t.Run(test.Name, func(t *testing.T) {
					t.Parallel()
					args := []string{"--opted-out", smstest.OptedOut, "--unreachable", smstest.Off}
					if test.Rate > 0 {
						args = append(args, "--rate", "3")
					}
					test.Run(t, start(t, args...))
				})
			}
		})
	}
}

// world is a gateway on a real port.
type world struct {
	m        nodes.Machine
	provider sms.Provider
	ready    chan string // its address

	mu    sync.Mutex
	taken []smstest.Message
}

// The secrets of the accounts, and those of a stranger.
const (
	account   = "AC00000000000000000000000000000001"
	token     = "a token"
	keyID     = "AKIDEXAMPLE"
	keySecret = "a secret"
)

func newWorld(t testing.TB, role nodes.Role, args []string) *world {
	w := &world{ready: make(chan string, 1)}
	m, err := nodes.NewOS(nodes.OSOptions{
		Host: nodes.Host{Name: "gateway", Addr: netip.MustParseAddr("127.0.0.1")}, Root: t.TempDir(),
		Log: slog.New(slog.NewJSONHandler(w, nil)),
	})
	require.NoError(t, err)
	w.m = m
	for name, text := range map[string]string{
		"/token": token + "\n", "/key": keyID + ":" + keySecret + "\n", "/wrong": "guess:guess\n",
	} {
		f, err := m.Disk().Create(name)
		require.NoError(t, err)
		_, err = f.WriteAt([]byte(text), 0)
		require.NoError(t, err)
		require.NoError(t, f.Close())
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- role(ctx, m, append([]string{"--listen", ":0"}, args...)) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-ended)
		require.NoError(t, m.Close())
	})
	w.provider.URL = "http://" + <-w.ready
	return w
}

func twilioWorld(t testing.TB, args ...string) *world {
	w := newWorld(t, fake.RunTwilio, append(args, "--account", account, "--token", token))
	w.provider.Kind, w.provider.Account, w.provider.Token, w.provider.From = sms.KindTwilio, account, "/token", "+15550000000"
	return w
}

func snsWorld(t testing.TB, args ...string) *world {
	w := newWorld(t, fake.RunSNS, append(args, "--key", keyID+":"+keySecret, "--region", "eu-west-1"))
	w.provider.Kind, w.provider.Region, w.provider.Credentials, w.provider.From = sms.KindSNS, "eu-west-1", "/key", "ESPRA"
	return w
}

func sandboxWorld(t testing.TB, args ...string) *world {
	return snsWorld(t, append(args, "--sandbox", "--verified", smstest.Ana, "--verified", smstest.Off)...)
}

// Write takes one line of the machine's log.
func (w *world) Write(line []byte) (int, error) {
	var e struct{ Msg, Listen, To, Body string }
	if err := json.Unmarshal(line, &e); err != nil {
		return 0, err
	}
	switch e.Msg {
	case "sms gateway ready":
		w.ready <- e.Listen
	case "sms accepted":
		w.mu.Lock()
		defer w.mu.Unlock()
		w.taken = append(w.taken, smstest.Message{To: e.To, Body: e.Body})
	}
	return len(line), nil
}

func (w *world) Taken() []smstest.Message {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.taken)
}

func (w *world) Now() time.Time { return w.m.Now() }

func (w *world) Tells() bool { return w.provider.Kind == sms.KindTwilio }

func (w *world) Texter(t testing.TB, wrap func(http.RoundTripper) http.RoundTripper) sms.Texter {
	return w.texter(t, w.provider, wrap)
}

func (w *world) Stranger(t testing.TB) sms.Texter {
	p := w.provider
	if p.Token != "" {
		p.Token = "/wrong"
	} else {
		p.Credentials = "/wrong"
	}
	return w.texter(t, p, nil)
}

func (w *world) texter(t testing.TB, p sms.Provider, wrap func(http.RoundTripper) http.RoundTripper) sms.Texter {
	require.Empty(t, p.Check())
	var transport http.RoundTripper = &http.Transport{DialContext: w.m.DialContext, DisableKeepAlives: true}
	if wrap != nil {
		transport = wrap(transport)
	}
	text, err := sms.New(w.m, &http.Client{Transport: transport}, p)
	require.NoError(t, err)
	require.Equal(t, p.Name(), text.Name())
	return text
}

// In the sandbox of SNS only the verified get messages.
func TestSandbox(t *testing.T) {
	t.Parallel()
	w := snsWorld(t, "--sandbox", "--verified", smstest.Off)
	r, err := w.Texter(t, nil).Text(t.Context(), smstest.Ana, "hello")
	require.ErrorContains(t, err, "the account is in the SMS sandbox, where "+smstest.Ana+" is no verified number")
	require.Equal(t, sms.Receipt{Outcome: sms.Refused}, r)
	require.Empty(t, w.Taken())
}

// What SNS cannot be asked does not keep a message from being sent.
func TestSNSSendsUnasked(t *testing.T) {
	t.Parallel()
	w := snsWorld(t)
	var asked []string
	r, err := w.Texter(t, func(next http.RoundTripper) http.RoundTripper {
		return roundTrip(func(r *http.Request) (*http.Response, error) {
			require.Equal(t, "protoplex", r.UserAgent())
			require.Empty(t, r.Header.Get("Amz-Sdk-Invocation-Id"))
			text, err := io.ReadAll(r.Body)
			require.NoError(t, err)
			r.Body = io.NopCloser(bytes.NewReader(text))
			action, _, _ := strings.Cut(strings.TrimPrefix(string(text), "Action="), "&")
			if asked = append(asked, action); action != "Publish" {
				return nil, http.ErrHandlerTimeout
			}
			require.Contains(t, string(text), "Name=AWS.SNS.SMS.SMSType")
			require.Contains(t, string(text), "StringValue=Transactional")
			return next.RoundTrip(r)
		})
	}).Text(t.Context(), smstest.Ana, "hello")
	require.NoError(t, err)
	require.Equal(t, sms.Accepted, r.Outcome)
	require.Equal(t, []string{"CheckIfPhoneNumberIsOptedOut", "GetSMSSandboxAccountStatus", "Publish"}, asked)
	require.Len(t, w.Taken(), 1)
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
