package workload

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/espra/protoplex/nodes"
	"github.com/espra/protoplex/scenarios/oracle"
)

const (
	maxPage      = 1 << 20 // bytes of a page
	maxRedirects = 5
)

// Browser loads a page again and again, and keeps live tunnels open.
type Browser struct {
	// ID is unique and stable: all that is random hangs on it.
	ID string
	// Page is an https URL to load once a period, first at a random moment of
	// the first period; redirects are followed. Empty loads nothing.
	Page string
	// Home is the live host, with a port where it is not 443.
	Home string
	// Tunnels are kept open to Home.
	Tunnels []Tunnel
	// Roots are the authorities to trust.
	Roots *x509.CertPool
	// Pace may be left zero.
	Pace Pace
	// Recorder is told what happens.
	Recorder Recorder
}

// Tunnel is a placement key and the channels of it to subscribe to.
type Tunnel struct {
	Key      string
	Channels []string // at most 100
}

var _ Client = Browser{}

// Run implements [Client].
func (b Browser) Run(ctx context.Context, m nodes.Machine) error {
	if b.ID == "" || b.Recorder == nil {
		return errors.New("workload: a browser needs an id and a recorder")
	}
	var parts []func(context.Context)
	name := "browser/" + b.ID
	pace := b.Pace.orDefault(20 * time.Second)
	if b.Page != "" {
		u, err := url.Parse(b.Page)
		if err != nil {
			return fmt.Errorf("workload: page of %s: %w", b.ID, err)
		}
		if u.Scheme != "https" || u.Host == "" {
			return fmt.Errorf("workload: page of %s: %q is not an https URL", b.ID, b.Page)
		}
		p := pages{part: part{m, name + "/page", pace, b.Roots}, Browser: b, host: u.Hostname()}
		parts = append(parts, p.run)
	}
	keys := map[string]bool{}
	for _, t := range b.Tunnels {
		if keys[t.Key] {
			return fmt.Errorf("workload: %s wants two tunnels for %q", b.ID, t.Key)
		}
		keys[t.Key] = true
		tunnel, err := newTunnel(part{m, name + "/live/" + t.Key, pace, b.Roots}, b, t)
		if err != nil {
			return err
		}
		parts = append(parts, tunnel.run)
	}
	nodes.FanOut(ctx, m, name, parts, func(ctx context.Context, run func(context.Context)) { run(ctx) })
	return nil
}

// pages is the page-loading part of a browser.
type pages struct {
	part
	Browser
	host      string
	transport *http.Transport
}

func (p pages) run(ctx context.Context) {
	p.transport = p.part.transport(ctx)
	defer p.transport.CloseIdleConnections()
	if p.sleep(ctx, "start", p.draw("start", 0, p.pace.Period)) != nil {
		return
	}
	p.load(ctx)
	nodes.Every(ctx, p.m, p.name, p.pace.Period, p.load)
}

// load loads the page once and tells how it went.
func (p pages) load(ctx context.Context) {
	start := p.m.Elapsed()
	result := oracle.Page{Client: p.ID, Host: p.host, Outcome: oracle.OK}
	answered, class := p.get(ctx)
	result.Answered = answered
	switch {
	case class == "":
	case ctx.Err() != nil:
		result.Outcome, result.Error = oracle.Unknown, oracle.Stopped
	default:
		result.Outcome, result.Error = oracle.Failed, class
	}
	result.Latency = p.m.Elapsed() - start
	p.Recorder.PageLoad(result)
}

// get loads the page. It tells whether the first host answered, and the class
// of what went wrong.
func (p pages) get(ctx context.Context) (answered bool, class string) {
	ctx, cancel := p.within(ctx, "request", p.pace.Request)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.Page, nil)
	if err != nil {
		return false, "address"
	}
	client := http.Client{Transport: p.transport, CheckRedirect: func(next *http.Request, via []*http.Request) error {
		answered = true
		switch {
		case len(via) > maxRedirects:
			return &failure{class: "redirects", err: errors.New("workload: too many redirects")}
		case next.URL.Scheme != "https":
			return &failure{class: "redirect to " + next.URL.Scheme, err: errors.New("workload: redirect out of https")}
		}
		return nil
	}}
	resp, err := client.Do(req)
	if err != nil {
		return answered, classIn(ctx, err)
	}
	defer resp.Body.Close()
	n, err := io.Copy(io.Discard, io.LimitReader(resp.Body, maxPage+1))
	switch {
	case err != nil:
		return true, classIn(ctx, err)
	case resp.StatusCode != http.StatusOK:
		return true, statusFailure(resp.StatusCode)
	case n > maxPage:
		return true, "too big"
	}
	return true, ""
}
