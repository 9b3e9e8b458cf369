package monitor

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/espra/protoplex/monitor/decide"
	"github.com/espra/protoplex/monitor/home"
	"github.com/espra/protoplex/monitor/observe"
	"github.com/espra/protoplex/monitor/probe"
	"github.com/espra/protoplex/monitor/record"
	"github.com/espra/protoplex/monitor/sms"
	"github.com/espra/protoplex/monitor/status"
	"github.com/espra/protoplex/monitor/zone"
	"github.com/espra/protoplex/nodes"
)

var _ nodes.Role = Run

// Run is the monitor role: one vantage. It takes
//
//	--config FILE   the configuration, see Config
//
// and returns when ctx ends or on Terminate, or at once if the configuration,
// its files or the listener are not usable.
func Run(ctx context.Context, m nodes.Machine, args []string) error {
	flags := flag.NewFlagSet("monitor", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	file := flags.String("config", "", "configuration file")
	if err := flags.Parse(args); err != nil {
		return fmt.Errorf("monitor: %w", err)
	}
	if *file == "" || flags.NArg() > 0 {
		return errors.New("monitor: usage: monitor --config FILE")
	}
	text, err := nodes.ReadFile(m.Disk(), *file, maxConfig)
	if err != nil {
		return fmt.Errorf("monitor: read configuration: %w", err)
	}
	cfg, err := ParseConfig(*file, text)
	if err != nil {
		return fmt.Errorf("monitor: %w", err)
	}
	v, err := newVantage(m, cfg)
	if err != nil {
		return fmt.Errorf("monitor: %w", err)
	}
	return v.run(ctx)
}

// vantage is one running monitor.
type vantage struct {
	m       nodes.Machine
	log     *slog.Logger
	cfg     Config
	params  decide.Params
	hosts   []home.Host
	ranks   map[string]int    // of all vantages
	kinds   map[string]string // of the targets
	key     ed25519.PrivateKey
	keys    map[string]ed25519.PublicKey // of the peers
	roots   *x509.CertPool
	cert    *nodes.Certificate // of the listener; nil for plain HTTP
	http    *http.Client       // to everybody but peers
	peers   *http.Client
	probes  []looker
	zones   []provider
	texters []texter
	secret  secret
	guesses guesses
	board   *observe.Board
	pages   *status.Pages
	started time.Duration
	unsaved chan struct{} // holds one token while the state file is behind
	saving  chan struct{} // holds one token while somebody writes the state file

	recorder *record.Recorder

	mu        sync.Mutex // guards what follows; nothing waits while holding it
	sequence  uint64
	seen      round
	verdicts  decide.State
	incidents map[string]*Incident // by subject
	past      []*Incident          // oldest first
	alive     *Incident            // the last weekly text, which is kept like an incident
	silences  []decide.Silence     // sorted by ID
	news      bool                 // something that the others should hear before the next round
	stuck     string               // why homes that should move cannot, until somebody helps
	stuckAt   time.Duration        // since when
	closed    map[string]string    // by provider: why only a person can open its zone again, when last tried
	savedAt   time.Duration        // when the state file was last written
	unkept    bool                 // and whether it could not be
	homes     map[string]home.Home // last known or decided
	settled   string               // fingerprint of the homes that every name server shows
	settledAt time.Duration
	gone      map[string]bool // peers that did not take the last message
	cropped   bool            // the last message was sent without some of its items

	actor actor // belongs to the acting goroutine
	pager pager // belongs to the paging goroutine
}

// looker is a probe with its place in the configuration.
type looker struct {
	name    string
	control bool
	look    probe.Probe
}

type provider struct {
	name        string
	zone        zone.Zone
	authorities []string
}

// apiLimit bounds one request to a provider, a peer or the SMS gateway. It is
// shorter than the usual delay between actors, so that a slow request is over
// before the next vantage steps in.
const apiLimit = 10 * time.Second

func newVantage(m nodes.Machine, cfg Config) (*vantage, error) {
	v := &vantage{
		m: m, log: m.Log(), cfg: cfg, params: cfg.params(), hosts: cfg.hosts(),
		ranks: map[string]int{cfg.Name: cfg.Rank}, kinds: map[string]string{}, keys: map[string]ed25519.PublicKey{},
		closed: map[string]string{}, gone: map[string]bool{}, started: m.Elapsed(),
		unsaved: make(chan struct{}, 1), saving: make(chan struct{}, 1),
	}
	v.pages = status.Handler(m, v.shown)
	for _, t := range cfg.Targets {
		v.kinds[t.Name] = t.Kind
	}
	read := func(what, name string) ([]byte, error) {
		text, err := nodes.ReadFile(m.Disk(), name, maxConfig)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", what, err)
		}
		return text, nil
	}
	text, err := read("key", cfg.Key)
	if err != nil {
		return nil, err
	}
	if v.key, err = parseKey(text); err != nil {
		return nil, fmt.Errorf("key %s: %w", cfg.Key, err)
	}
	for _, p := range cfg.Peers {
		v.ranks[p.Name] = p.Rank
		if v.keys[p.Name], err = p.key(); err != nil {
			return nil, err
		}
	}
	if cfg.Roots != "" {
		if text, err = read("roots", cfg.Roots); err != nil {
			return nil, err
		}
		if v.roots, err = parseRoots(text); err != nil {
			return nil, fmt.Errorf("roots %s: %w", cfg.Roots, err)
		}
	}
	if cfg.Cert != "" {
		if v.cert, err = nodes.NewCertificate(m, cfg.Cert); err != nil {
			return nil, err
		}
	}
	// What a monitor keeps open is half dead when it is needed, so every request
	// has a connection of its own. But peers hear from each other every round:
	// there a half-dead connection costs one round and is given up.
	v.http, v.peers = httpClient(m, trusting(m, v.roots), 0), httpClient(m, trusting(m, v.roots), keepPeers-time.Second)
	if err := v.makeProbes(); err != nil {
		return nil, err
	}
	for _, p := range cfg.Providers {
		token, err := read(p.Name+" token", p.Token)
		if err != nil {
			return nil, err
		}
		next := provider{name: p.Name, authorities: p.Authorities}
		secret := strings.TrimSpace(string(token))
		switch p.Name {
		case "linode":
			next.zone = zone.NewLinode(v.http, p.URL, secret, p.Zone)
		case "digitalocean":
			if next.zone, err = zone.NewDigitalOcean(v.http, p.URL, secret, p.Zone); err != nil {
				return nil, err
			}
		}
		v.zones = append(v.zones, next)
	}
	if cfg.Secret != "" {
		if text, err = read("secret", cfg.Secret); err != nil {
			return nil, err
		}
		if v.secret, err = parseSecret(text); err != nil {
			return nil, fmt.Errorf("secret %s: %w", cfg.Secret, err)
		}
	}
	for _, p := range cfg.SMS {
		t, err := sms.New(m, v.http, p)
		if err != nil {
			return nil, fmt.Errorf("sms: %w", err)
		}
		v.texters = append(v.texters, texter{t, p.Region})
	}
	v.restore()
	var targets []string
	for _, t := range cfg.Targets {
		targets = append(targets, t.Name)
	}
	v.recorder = record.Open(m, cfg.Record, targets)
	return v, nil
}

// httpClient makes a client of a machine that keeps connections for a while, or
// not at all.
func httpClient(m nodes.Machine, trust *tls.Config, keep time.Duration) *http.Client {
	return &http.Client{
		Transport: bounded{&http.Transport{
			DialContext:            m.DialContext,
			DisableKeepAlives:      keep == 0,
			IdleConnTimeout:        keep,
			MaxResponseHeaderBytes: 64 << 10,
			TLSClientConfig:        trust,
			TLSNextProto:           map[string]func(string, *tls.Conn) http.RoundTripper{},
		}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// trusting is for servers whose certificates the roots vouch for; nil stands for
// the system's roots.
func trusting(m nodes.Machine, roots *x509.CertPool) *tls.Config {
	return &tls.Config{RootCAs: roots, Time: m.Now, MinVersion: tls.VersionTLS12}
}

func (v *vantage) makeProbes() error {
	add := func(name string, control bool, look probe.Probe) {
		v.probes = append(v.probes, looker{name, control, look})
	}
	o := probe.Options{Limit: v.cfg.Limit, Roots: v.roots}
	for _, c := range v.cfg.Controls {
		t := probe.Target{Name: "control " + c.Name, Kind: "http", URL: c.URL, Status: c.Status}
		look, err := t.Probe(v.m, o)
		if err != nil {
			return err
		}
		add(c.Name, true, look)
	}
	for _, t := range v.cfg.Targets {
		// The word keeps its waits apart from those of a control of that name.
		named := t.Target
		named.Name = "target " + t.Name
		look, err := named.Probe(v.m, o)
		if err != nil {
			return err
		}
		add(t.Name, false, look)
	}
	return nil
}

// run serves peers, and probes, decides, pages, acts and saves until ctx ends.
func (v *vantage) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	listener, err := v.m.Listen("tcp", v.cfg.Listen)
	if err != nil {
		return fmt.Errorf("monitor: listen: %w", err)
	}
	// Peers come every round, people now and then; the rest of the descriptors is for probes.
	listener = nodes.Bounded(v.m, listener, nodes.Bounds{All: 256, Source: 32})
	var wg sync.WaitGroup
	if v.cert != nil {
		listener = tls.NewListener(listener, &tls.Config{GetCertificate: v.cert.Get, Time: v.m.Now, MinVersion: tls.VersionTLS12})
		wg.Go(func() { v.cert.Keep(ctx) })
	}
	server := v.server()
	failed := make(chan error, 1)
	wg.Go(func() {
		defer cancel()
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			failed <- fmt.Errorf("monitor: serve: %w", err)
		}
	})
	wg.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case s := <-v.m.Signals():
				if s == nodes.Terminate || s == nodes.Interrupt {
					cancel()
					return
				}
			}
		}
	})
	v.log.Info("monitor started", "vantage", v.cfg.Name, "rank", v.cfg.Rank, "listen", listener.Addr().String())
	every := func(name string, period time.Duration, f func(context.Context)) {
		wg.Go(func() { nodes.Every(ctx, v.m, name, period, f) })
	}
	every("probe", v.cfg.Probe, func(ctx context.Context) {
		v.round(ctx)
		v.publish(ctx, "round")
	})
	tick := v.cfg.Probe / 10
	every("decide", tick, v.decide)
	every("page", tick, v.page)
	every("act", tick, v.act)
	every("save", tick, v.saveChanges)
	every("record", v.cfg.Probe, func(context.Context) { v.recorder.Flush() })
	<-ctx.Done()
	server.Close()
	wg.Wait()
	v.peers.CloseIdleConnections()
	v.save(context.WithoutCancel(ctx), "last")
	v.recorder.Close()
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}

// bounded cuts answers that no honest server would give.
type bounded struct{ *http.Transport }

const maxAnswer = 16 << 20

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.Transport.RoundTrip(r)
	if err == nil {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(resp.Body, maxAnswer), resp.Body}
	}
	return resp, err
}
