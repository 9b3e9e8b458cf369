package monitor

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/monitor/observe"
	"github.com/espra/protoplex/monitor/probe"
	"github.com/espra/protoplex/monitor/sms"
	"github.com/espra/protoplex/monitor/zone"
	"github.com/espra/protoplex/nodes"
)

// world is three vantages whose clock, disks, gateway and zone belong to the
// test: what they do between two seconds happens at once.
type world struct {
	t        testing.TB
	elapsed  time.Duration
	down     map[string]bool   // by target
	saw      map[string]string // by target that is down
	cut      map[string]bool   // vantages that no message reaches or leaves
	apart    [2]string         // two vantages that do not reach one another
	gateway  *gateway
	zone     *memoryZone
	vantages []*seat
	change   func(*Config)
}

// seat is where a vantage runs, again and again.
type seat struct {
	*vantage
	world *world
	name  string
	rank  int
	skew  time.Duration
	disk  *memoryDisk
	life  *life
}

// life ends after some effects: the next one is made, or not, and then nothing
// has an effect any more.
type life struct {
	mu   sync.Mutex
	left int // negative for ever
	made bool
	dead bool
}

var errDead = errors.New("the machine is dead")

// effect makes one effect, if the machine still lives.
func (l *life) effect(f func()) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead {
		return errDead
	}
	if l.left == 0 {
		l.dead = true
		if l.made {
			f()
		}
		return errDead
	}
	l.left--
	f()
	return nil
}

func (l *life) over() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dead
}

// worldMachine has the world's clock.
type worldMachine struct {
	nodes.Machine
	seat *seat
}

var worldStart = time.Date(2026, 3, 2, 14, 0, 0, 0, time.UTC)

func (m worldMachine) Elapsed() time.Duration { return m.seat.world.elapsed }
func (m worldMachine) Now() time.Time         { return worldStart.Add(m.seat.world.elapsed + m.seat.skew) }
func (m worldMachine) Disk() nodes.Disk       { return m.seat.disk }

// gateway is all SMS providers and all telephones.
type gateway struct {
	mu       sync.Mutex
	texts    []string                           // "<provider> <number> <body>"
	answer   func(provider string) sms.Outcome  // nil accepts
	delivery func(provider string) sms.Delivery // nil delivers
	found    func(provider string) sms.Outcome  // nil is unknown
}

// seatTexter is one provider as one vantage reaches it.
type seatTexter struct {
	seat *seat
	name string
}

func (t seatTexter) Name() string { return t.name }

func (t seatTexter) Text(ctx context.Context, to, body string) (sms.Receipt, error) {
	httptrace.ContextClientTrace(ctx).GotConn(httptrace.GotConnInfo{}) // the request goes out
	g := t.seat.world.gateway
	g.mu.Lock()
	defer g.mu.Unlock()
	outcome := sms.Accepted
	if g.answer != nil {
		outcome = g.answer(t.name)
	}
	err := t.seat.life.effect(func() {
		if outcome != sms.Refused {
			g.texts = append(g.texts, t.name+" "+to+" "+body)
		}
	})
	if err != nil {
		return sms.Receipt{Outcome: sms.Unknown}, err
	}
	if outcome != sms.Accepted {
		return sms.Receipt{Outcome: outcome}, errors.New("not accepted")
	}
	return sms.Receipt{Outcome: sms.Accepted, ID: fmt.Sprint(t.name, len(g.texts))}, nil
}

func (t seatTexter) Delivery(context.Context, string) (sms.Delivery, error) {
	if g := t.seat.world.gateway; g.delivery != nil {
		return g.delivery(t.name), nil
	}
	return sms.Delivered, nil
}

func (t seatTexter) Find(context.Context, string, string, time.Time) (sms.Receipt, error) {
	outcome := sms.Outcome(sms.Unknown)
	if g := t.seat.world.gateway; g.found != nil {
		outcome = g.found(t.name)
	}
	if outcome == sms.Accepted {
		return sms.Receipt{Outcome: outcome, ID: t.name + " found"}, nil
	}
	return sms.Receipt{Outcome: outcome}, errors.New("not found")
}

// to gives what an admin got that begins so.
func (g *gateway) to(number, text string) []string {
	var got []string
	for _, line := range g.texts {
		words := strings.SplitN(line, " ", 3)
		if words[1] == number && strings.HasPrefix(words[2], text) {
			got = append(got, words[0]+" "+words[2])
		}
	}
	return got
}

// memoryZone is one provider's zone.
type memoryZone struct {
	mu      sync.Mutex
	records []zone.Record
	next    int
	fail    error // of whatever is asked
	writes  error // of changes only
}

type seatZone struct{ seat *seat }

func (z seatZone) do(f func(m *memoryZone) error) error {
	m := z.seat.world.zone
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return m.fail
	}
	var err error
	if dead := z.seat.life.effect(func() { err = f(m) }); dead != nil {
		return dead
	}
	return err
}

func (z seatZone) Fit(r zone.Record) (zone.Record, error) { return r, nil }
func (z seatZone) Retypes() bool                          { return true }

func (z seatZone) Records(context.Context) (records []zone.Record, err error) {
	err = z.do(func(m *memoryZone) error { records = slices.Clone(m.records); return nil })
	return records, err
}

func (z seatZone) Create(_ context.Context, r zone.Record) error {
	return z.do(func(m *memoryZone) error {
		m.next++
		r.ID = fmt.Sprint(m.next)
		m.records = append(m.records, r)
		return nil
	})
}

func (z seatZone) at(id string, f func(m *memoryZone, k int)) error {
	return z.do(func(m *memoryZone) error {
		if m.writes != nil {
			return m.writes
		}
		k := slices.IndexFunc(m.records, func(r zone.Record) bool { return r.ID == id })
		if k < 0 {
			return zone.ErrNotFound
		}
		f(m, k)
		return nil
	})
}

func (z seatZone) Update(_ context.Context, r zone.Record) error {
	return z.at(r.ID, func(m *memoryZone, k int) { m.records[k] = r })
}

func (z seatZone) Delete(_ context.Context, id string) error {
	return z.at(id, func(m *memoryZone, k int) { m.records = slices.Delete(m.records, k, k+1) })
}

// memoryDisk keeps whole files; what is written is durable.
type memoryDisk struct {
	seat  *seat
	mu    sync.Mutex
	files map[string][]byte
}

type memoryFile struct {
	disk *memoryDisk
	name string
}

func (d *memoryDisk) do(f func()) error {
	return d.seat.life.effect(func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		f()
	})
}

func (d *memoryDisk) Create(name string) (nodes.File, error) {
	return memoryFile{d, name}, d.do(func() { d.files[name] = nil })
}

func (d *memoryDisk) Open(name string) (nodes.File, error) {
	if _, err := d.Stat(name); err != nil {
		return nil, err
	}
	return memoryFile{d, name}, nil
}

func (d *memoryDisk) Rename(from, to string) error {
	return d.do(func() { d.files[to] = d.files[from]; delete(d.files, from) })
}

func (d *memoryDisk) Remove(name string) error { return d.do(func() { delete(d.files, name) }) }
func (d *memoryDisk) MkdirAll(string) error    { return nil }
func (d *memoryDisk) SyncDir(string) error     { return d.do(func() {}) }

func (d *memoryDisk) List(dir string) ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var names []string
	for name := range d.files {
		if path.Dir(name) == dir {
			names = append(names, path.Base(name))
		}
	}
	slices.Sort(names)
	return names, nil
}

func (d *memoryDisk) Stat(name string) (int64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	data, ok := d.files[name]
	if !ok {
		return 0, fs.ErrNotExist
	}
	return int64(len(data)), nil
}

func (f memoryFile) ReadAt(p []byte, at int64) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	return bytes.NewReader(f.disk.files[f.name]).ReadAt(p, at)
}

func (f memoryFile) WriteAt(p []byte, at int64) (int, error) {
	return len(p), f.disk.do(func() {
		data := f.disk.files[f.name]
		data = append(data[:min(int(at), len(data))], p...)
		f.disk.files[f.name] = slices.Clone(data)
	})
}

func (f memoryFile) Size() (int64, error) { return f.disk.Stat(f.name) }
func (f memoryFile) Truncate(n int64) error {
	return f.disk.do(func() { f.disk.files[f.name] = f.disk.files[f.name][:n] })
}
func (f memoryFile) Sync() error  { return f.disk.do(func() {}) }
func (f memoryFile) Close() error { return nil }

// RoundTrip carries observations from seat to seat.
func (s *seat) RoundTrip(r *http.Request) (*http.Response, error) {
	w := s.world
	var to *seat
	for _, other := range w.vantages {
		if other.name == r.URL.Hostname() {
			to = other
		}
	}
	if to == nil || to.vantage == nil || w.cut[s.name] || w.cut[to.name] || w.apart == [...]string{s.name, to.name} ||
		w.apart == [...]string{to.name, s.name} || to.life.over() {
		return nil, errors.New("unreachable")
	}
	if err := s.life.effect(func() {}); err != nil {
		return nil, err
	}
	answer := httptest.NewRecorder()
	to.receive(answer, r)
	return answer.Result(), nil
}

// admins of the world, with their numbers.
var worldAdmins = []Admin{{"ana", "+15550000001"}, {"raj", "+15550000002"}}

func newWorld(t testing.TB, change func(*Config)) *world {
	w := &world{
		t: t, down: map[string]bool{}, saw: map[string]string{}, cut: map[string]bool{}, gateway: &gateway{}, change: change,
		zone: &memoryZone{next: 100, records: []zone.Record{
			{ID: "1", Name: "_home.www.espra.com", Type: "TXT", Value: "v=home1 region=us-east epoch=1"},
			{ID: "2", Name: "www.espra.com", Type: "CNAME", Value: "us-east.elb"},
			{ID: "3", Name: "a.espra.com", Type: "A"}, {ID: "4", Name: "b.espra.com", Type: "A"},
			{ID: "5", Name: "c.espra.com", Type: "A"}, {ID: "6", Name: "d.espra.com", Type: "A"}, {ID: "7", Name: "e.espra.com", Type: "A"},
		}},
	}
	for k, name := range []string{"fremont", "london", "singapore"} {
		s := &seat{world: w, name: name, rank: k}
		s.disk = &memoryDisk{seat: s, files: map[string][]byte{"/secret": []byte("sixteen or more letters")}}
		der, err := x509.MarshalPKCS8PrivateKey(worldKey(name))
		require.NoError(t, err)
		s.disk.files["/key.pem"] = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
		w.vantages = append(w.vantages, s)
		s.boot()
	}
	return w
}

func worldTarget(name string) probe.Target {
	return probe.Target{Name: name, Kind: "http", URL: "http://" + name}
}

func worldKey(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}

// boot starts the vantage with what is on its disk.
func (s *seat) boot() {
	t := s.world.t
	s.life = &life{left: -1}
	c := Config{
		Name: s.name, Rank: s.rank, Key: "/key.pem", State: "/state/monitor.json", Secret: "/secret", Status: "espra.com/i/",
		Probe: 10 * time.Second, Limit: 4 * time.Second, OpenAfter: 3, CloseAfter: 3, HoldDown: 10 * time.Minute,
		BlindAfter: 10 * time.Minute, SilentAfter: time.Hour, ActorDelay: 20 * time.Second, Guard: 30,
		Targets: []Target{
			{Region: "us-east", Target: worldTarget("us-east-web")}, {Region: "eu-west", Target: worldTarget("eu-west-web")},
			{Home: "www.espra.com", Target: worldTarget("www")}, {Target: worldTarget("apex")},
		},
		Homes: []HomeConfig{{Host: "www.espra.com", Regions: []string{"us-east", "eu-west"},
			LB: map[string]string{"us-east": "us-east.elb", "eu-west": "eu-west.elb"}, TTL: time.Minute}},
		Admins: worldAdmins,
	}
	for k, other := range []string{"fremont", "london", "singapore"} {
		if other != s.name {
			c.Peers = append(c.Peers, Peer{Name: other, Rank: k, URL: "http://" + other,
				PublicKey: base64.StdEncoding.EncodeToString(worldKey(other).Public().(ed25519.PublicKey))})
		}
	}
	if s.world.change != nil {
		s.world.change(&c)
	}
	m, err := nodes.NewOS(nodes.OSOptions{Host: nodes.Host{Name: s.name}, Log: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	t.Cleanup(func() { m.Close() })
	s.vantage, err = newVantage(worldMachine{m, s}, c)
	require.NoError(t, err)
	s.texters = []texter{{seatTexter{s, "twilio"}, ""}, {seatTexter{s, "sns-us-east-1"}, "us-east-1"}, {seatTexter{s, "sns-eu-west-1"}, "eu-west-1"}}
	s.peers = &http.Client{Transport: s}
	s.zones = []provider{{name: "linode", zone: seatZone{s}}}
}

// watch adds so many targets to a configuration, and gives their names.
func watch(c *Config, n int) (names []string) {
	for k := range n {
		names = append(names, fmt.Sprintf("shop-%03d-frontend", k))
		c.Targets = append(c.Targets, Target{Target: worldTarget(names[k])})
	}
	return names
}

// look is a round of probes in which the world answers.
func (s *seat) look(ctx context.Context) {
	at, last := s.m.Now().UTC(), s.seen
	next := round{number: last.number + 1, at: at, controls: !s.world.cut[s.name], results: maps.Clone(last.results), saw: s.world.saw}
	if next.results == nil || !next.controls {
		next.results = map[string]observe.Result{}
	}
	for _, t := range s.cfg.Targets {
		if next.controls {
			was := last.results[t.Name]
			was.Target = t.Name
			next.results[t.Name] = was.Then(!s.world.down[t.Name], at)
		}
	}
	s.hear(&next, last, at)
	s.tryZones(&next, last, at)
	s.mu.Lock()
	s.seen = next
	s.mu.Unlock()
	s.publish(ctx, "round")
}

// run lets so much time pass, second by second.
func (w *world) run(d time.Duration) {
	for end := w.elapsed + d; w.elapsed < end; {
		w.elapsed += time.Second
		for _, s := range w.vantages {
			if s.vantage == nil || s.life.over() {
				continue
			}
			ctx := w.t.Context()
			if int(w.elapsed/time.Second)%10 == s.rank {
				s.look(ctx)
			}
			s.decide(ctx)
			s.page(ctx)
			s.act(ctx)
			s.saveChanges(ctx)
		}
	}
}
