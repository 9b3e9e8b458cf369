package workload

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/espra/protoplex/nodes"
	"github.com/espra/protoplex/scenarios/oracle"
)

// Publisher publishes a message a period, each time to the next of its
// channels. The n-th message, from 1, is the text "<id>-<n>", or "<id>.<life>-<n>"
// in a later life; none is sent twice. Dots make it as long as it is to be.
type Publisher struct {
	// ID is unique and stable: all that is random hangs on it.
	ID string
	// Life counts how often the publisher has begun anew, without a memory.
	Life int
	// Host is the live host, with a port where it is not 443.
	Host string
	// Key is the placement key.
	Key string
	// Channels of the key, in turn.
	Channels []string
	// Size is the least length of a message, in bytes.
	Size int
	// Roots are the authorities to trust.
	Roots *x509.CertPool
	// Pace may be left zero.
	Pace Pace
	// Recorder is told what happens.
	Recorder Recorder
}

var _ Client = Publisher{}

// Run implements [Client].
func (p Publisher) Run(ctx context.Context, m nodes.Machine) error {
	if p.ID == "" || p.Recorder == nil {
		return errors.New("workload: a publisher needs an id and a recorder")
	}
	base := url.URL{Scheme: "https", Host: p.Host, Path: "/live/" + p.Key + "/"}
	if base.Hostname() == "" || len(p.Channels) == 0 {
		return fmt.Errorf("workload: %s needs a host and channels", p.ID)
	}
	for _, name := range append([]string{p.Key}, p.Channels...) {
		if !validName(name) {
			return fmt.Errorf("workload: %s: invalid key or channel %q", p.ID, name)
		}
	}
	own := part{m, "publisher/" + p.ID, p.Pace.orDefault(time.Second), p.Roots}
	transport := own.transport(ctx)
	defer transport.CloseIdleConnections()
	client := &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}

	if own.sleep(ctx, "start", own.draw("start", 0, own.pace.Period)) != nil {
		return nil
	}
	prefix := p.ID
	if p.Life > 0 {
		prefix = fmt.Sprintf("%s.%d", p.ID, p.Life)
	}
	text := func(n int) string {
		s := fmt.Sprintf("%s-%d", prefix, n)
		return s + strings.Repeat(".", max(0, p.Size-len(s)))
	}
	n := 0
	next := func(ctx context.Context) {
		channel := p.Channels[n%len(p.Channels)]
		n++
		result := oracle.Publish{Client: p.ID, Host: base.Hostname(), Key: p.Key, Channel: channel, Data: text(n)}
		start := m.Elapsed()
		at, outcome, class := own.post(ctx, client, base.String()+channel, result.Data)
		if class != "" && ctx.Err() != nil {
			outcome, class = oracle.Unknown, oracle.Stopped
		}
		result.Position, result.Outcome, result.Error = at.observed(), outcome, class
		result.Latency = m.Elapsed() - start
		p.Recorder.Published(result)
	}
	next(ctx)
	nodes.Every(ctx, m, own.name, own.pace.Period, next)
	return nil
}

// post publishes once. A failure is certain: the message is in no channel.
// Where that cannot be told, the outcome is unknown.
func (p part) post(ctx context.Context, client *http.Client, to, data string) (position, oracle.Outcome, string) {
	ctx, cancel := p.within(ctx, "request", p.pace.Request)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, strings.NewReader(data))
	if err != nil {
		return position{}, oracle.Failed, "address"
	}
	req.Header.Set("Content-Type", "text/plain; charset=utf-8")
	resp, err := client.Do(req)
	if err != nil {
		outcome := oracle.Unknown
		if neverSent(err) {
			outcome = oracle.Failed
		}
		return position{}, outcome, classIn(ctx, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	switch status := resp.StatusCode; {
	case status == http.StatusServiceUnavailable, status >= 300 && status < 500:
		return position{}, oracle.Failed, statusFailure(status)
	case status != http.StatusOK:
		return position{}, oracle.Unknown, statusFailure(status)
	case err != nil:
		return position{}, oracle.Unknown, classIn(ctx, err)
	}
	at, err := parseAnswer(body)
	if err != nil {
		return position{}, oracle.Unknown, "protocol"
	}
	return at, oracle.OK, ""
}
