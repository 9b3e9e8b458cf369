// Package keep keeps a zone the same at several providers: what a file in the
// operator's repository says.
//
// It promises: nothing is changed that was not shown first; what others wrote
// survives, as each name that is kept has a mark beside it (see Mark), and the
// monitors' homes (package home) are never touched; what is new is put before
// what is old is taken away, so that no name is ever empty on the way, unless
// that is permitted for the name; no plan passes the guard unless that is
// permitted too. A provider's word is not taken: what was changed is read back at
// every one of its name servers.
//
// What may fail: a provider may refuse, or be away, with half of the changes
// made. There are no transactions over providers, so the outcome says what is
// where, and a plan made anew from what is there finishes it.
//
// Start reading at Load, Keeper.Propose, Keeper.Apply and Keeper.Drift;
// makePlan is the heart.
package keep

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"path"
	"strings"
	"sync/atomic"
	"time"

	"github.com/espra/protoplex/monitor/zone"
	"github.com/espra/protoplex/nodes"
)

// How long providers and name servers are waited for.
const (
	tryLimit   = 15 * time.Second // one request to a provider
	pauseLimit = 2 * time.Minute  // one rate limit that is waited out
	callLimit  = 10 * time.Minute // a reading or a change, with all its pauses
	askLimit   = 3 * time.Second  // one question to a name server
	lookPause  = 2 * time.Second  // between two looks at a name server
)

// Keeper keeps one zone. It is for one goroutine at a time.
type Keeper struct {
	m         nodes.Machine
	config    *Config
	file      *File
	providers []provider
	tell      func(string)
	questions atomic.Uint64
}

type provider struct {
	Provider
	zone zone.Zone
}

// New makes a keeper of what Load read. It asks nobody yet. Progress is told in
// lines, from several goroutines at once; only, unless empty, names the providers
// to work with.
func New(m nodes.Machine, c *Config, f *File, only []string, tell func(string)) (*Keeper, error) {
	k := &Keeper{m: m, config: c, file: f, tell: tell}
	hc := &http.Client{
		Transport: &zone.Patient{
			Machine: m,
			Base: &http.Transport{
				DialContext:            m.DialContext,
				DisableKeepAlives:      true,
				MaxResponseHeaderBytes: 64 << 10,
				TLSClientConfig:        &tls.Config{Time: m.Now, MinVersion: tls.VersionTLS12},
				TLSNextProto:           map[string]func(string, *tls.Conn) http.RoundTripper{},
			},
			Try: tryLimit, Wait: pauseLimit,
			Tell: func(host string, pause time.Duration) {
				tell(fmt.Sprintf("%s is busy: waiting %v as it asks", host, pause.Round(time.Second)))
			},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	wanted := map[string]bool{}
	for _, name := range only {
		wanted[name] = true
	}
	for _, p := range c.Providers {
		if len(only) > 0 && !wanted[p.Name] {
			continue
		}
		delete(wanted, p.Name)
		secret, err := nodes.ReadFile(m.Disk(), c.path(p.Token), maxToken)
		if err != nil {
			return nil, fmt.Errorf("token of %s: %w", p.Name, err)
		}
		token := strings.TrimSpace(string(secret))
		if token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return nil, fmt.Errorf("token of %s: %s holds no token on one line", p.Name, p.Token)
		}
		next := provider{Provider: p}
		switch p.Name {
		case linode:
			next.zone = zone.NewLinode(hc, p.URL, token, c.Zone)
		case digitalOcean:
			if next.zone, err = zone.NewDigitalOcean(hc, p.URL, token, c.Zone); err != nil {
				return nil, err
			}
		}
		k.providers = append(k.providers, next)
	}
	for _, name := range only {
		if wanted[name] {
			return nil, fmt.Errorf("no provider is called %q in %s", name, path.Base(c.name))
		}
	}
	return k, nil
}

// maxToken bounds a token file.
const maxToken = 4 << 10

// Proposal is what it takes to make all providers say what the file says.
type Proposal struct {
	ID    string // changes whenever the file or a zone does, homes apart
	Plans []Plan // in the order of the configuration
}

// Changes counts the changes of all plans.
func (p *Proposal) Changes() int {
	n := 0
	for _, plan := range p.Plans {
		n += len(plan.Changes)
	}
	return n
}

// Propose reads all providers and plans. What makes a plan impossible comes as
// an error, all at once, beside what is possible: nothing of it may be applied.
func (k *Keeper) Propose(ctx context.Context, permits Permits) (*Proposal, error) {
	views, errs := k.read(ctx)
	held := heldNames(views)
	hash := sha256.New()
	fmt.Fprintf(hash, "%s %s %d\n", k.config.Zone, k.config.Owner, len(views))
	for _, r := range k.file.Records {
		fmt.Fprintf(hash, "%q\n", r)
	}
	var p Proposal
	for i, v := range views {
		if errs[i] != nil {
			p.Plans = append(p.Plans, Plan{Provider: v.provider, Unknown: true})
			continue
		}
		plan, err := makePlan(k.file, k.config, v, held, permits)
		if err != nil {
			errs = append(errs, err)
		}
		p.Plans = append(p.Plans, plan)
		fmt.Fprintf(hash, "at %s\n", v.provider)
		for _, r := range v.records {
			if !monitors(r, held) {
				fmt.Fprintf(hash, "%q\n", r)
			}
		}
	}
	p.ID = hex.EncodeToString(hash.Sum(nil)[:6])
	return &p, errors.Join(errs...)
}

// read gives the records of all providers, and what went wrong, by place.
func (k *Keeper) read(ctx context.Context) ([]view, []error) {
	views, errs := make([]view, len(k.providers)), make([]error, len(k.providers))
	nodes.FanOut(ctx, k.m, "read zones", places(len(k.providers)), func(ctx context.Context, i int) {
		p := k.providers[i]
		ctx, cancel := nodes.Timeout(ctx, k.m, "read "+p.Name, callLimit)
		defer cancel()
		views[i] = view{provider: p.Name, fit: p.zone.Fit, retypes: p.zone.Retypes()}
		if views[i].records, errs[i] = p.zone.Records(ctx); errs[i] != nil {
			errs[i] = fmt.Errorf("cannot read the zone: %w", errs[i])
		}
	})
	return views, errs
}

func places(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}
