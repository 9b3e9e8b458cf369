package zone

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/espra/protoplex/nodes"
)

// Patient is a transport to providers for those who can wait: an answer of 429
// is waited out and the request repeated, which is safe, as it was not looked
// at. Every try is bounded in time and size. It may be used concurrently.
type Patient struct {
	Machine nodes.Machine
	Base    http.RoundTripper
	// Try bounds one request with its answer, Wait one pause.
	Try, Wait time.Duration
	// Tell hears of each pause before it begins.
	Tell func(host string, pause time.Duration)
}

// Bounds of what is taken from a provider.
const (
	maxTries  = 5
	maxAnswer = 16 << 20
)

// RoundTrip implements http.RoundTripper.
func (p *Patient) RoundTrip(r *http.Request) (*http.Response, error) {
	for try := 1; ; try++ {
		next := r
		if r.GetBody != nil {
			body, err := r.GetBody()
			if err != nil {
				return nil, fmt.Errorf("repeat request: %w", err)
			}
			next = r.Clone(r.Context())
			next.Body = body
		}
		resp, err := p.once(next)
		if err != nil || resp.StatusCode != http.StatusTooManyRequests || try == maxTries || r.Body != nil && r.GetBody == nil {
			return resp, err
		}
		pause := p.pause(resp.Header)
		if pause > p.Wait {
			return resp, nil
		}
		p.Tell(r.URL.Host, pause)
		if err := nodes.Sleep(r.Context(), p.Machine, "rate limit "+r.URL.Host, pause); err != nil {
			return nil, err
		}
	}
}

// once makes one try and reads its answer.
func (p *Patient) once(r *http.Request) (*http.Response, error) {
	ctx, cancel := nodes.Timeout(r.Context(), p.Machine, "ask "+r.URL.Host, p.Try)
	defer cancel()
	resp, err := p.Base.RoundTrip(r.WithContext(ctx))
	if err != nil {
		return nil, timely(ctx, r.Context(), err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, fmt.Errorf("read answer: %w", timely(ctx, r.Context(), err))
	}
	if len(body) > maxAnswer {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrMalformed, maxAnswer)
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, nil
}

// timely says that a try took too long, when it did: the library below would
// call it cancelled.
func timely(try, whole context.Context, err error) error {
	if try.Err() != nil && whole.Err() == nil {
		return fmt.Errorf("no answer in time: %w", context.DeadlineExceeded)
	}
	return err
}

// pause is how long to wait after a 429 with these headers: seconds or a date in
// Retry-After (RFC 9110, section 10.2.3), else the second of the epoch in the
// providers' own header.
func (p *Patient) pause(h http.Header) time.Duration {
	const least, unsaid = time.Second, 5 * time.Second
	until := func(t time.Time) time.Duration { return max(t.Sub(p.Machine.Now()), least) }
	after := h.Get("Retry-After")
	if s, err := strconv.ParseUint(after, 10, 32); err == nil {
		return max(time.Duration(s)*time.Second, least)
	}
	if t, err := http.ParseTime(after); err == nil {
		return until(t)
	}
	for _, name := range []string{"RateLimit-Reset", "X-RateLimit-Reset"} {
		if s, err := strconv.ParseInt(h.Get(name), 10, 64); err == nil && s > 0 && s < 1<<40 {
			return until(time.Unix(s, 0))
		}
	}
	return unsaid
}
