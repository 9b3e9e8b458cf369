package monitor_test

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/require"

	fakedns "github.com/espra/protoplex/fakes/dns"
	"github.com/espra/protoplex/fakes/sms"
	"github.com/espra/protoplex/monitor"
	"github.com/espra/protoplex/monitor/probe"
	monitorsms "github.com/espra/protoplex/monitor/sms"
	"github.com/espra/protoplex/nodes"
)

// desk is a small platform on loopback addresses: two regions' load balancers,
// a control, two DNS providers with a name server each, an SMS gateway, and
// three vantages.
type desk struct {
	t        *testing.T
	ctx      context.Context
	net      string // "127.77.1."
	regions  map[string]*site
	control  *site
	vantages []*vantage
	linode   *nodes.OS
	ocean    *program
}

type vantage struct {
	*program
	cfg monitor.Config
}

// start writes the configuration and runs the vantage.
func (v *vantage) start() {
	text, err := yaml.Marshal(v.cfg)
	require.NoError(v.desk.t, err)
	v.file("/monitor.yaml", string(text))
	v.program.start()
}

// site answers GET with 200 or 503.
type site struct {
	url    string
	broken atomic.Bool
}

// program is one role on one machine of its own.
type program struct {
	desk *desk
	addr string
	root string
	role nodes.Role
	args []string
	logs *logs

	stop func() // and wait
}

const (
	zoneText = `$ORIGIN espra.com.
$TTL 60
@ SOA ns1.linode.com. hostmaster.espra.com. 1 14400 3600 604800 60
@ NS ns1.linode.com.
@ A 192.0.2.1
@ A 192.0.2.2
@ A 192.0.2.3
@ MX 10 mail.espra.com.
@ TXT "v=spf1 mx -all"
mail A 192.0.2.4
mail AAAA 2001:db8::4
meta A 192.0.2.5
www CNAME us-east.elb.amazonaws.com.
_home.www TXT "v=home1 region=us-east epoch=1"
us-1.live CNAME us-east.elb.amazonaws.com.
_home.us-1.live TXT "v=home1 region=us-east epoch=1"
eu-1.live CNAME eu-west.elb.amazonaws.com.
_home.eu-1.live TXT "v=home1 region=eu-west epoch=1"
`
	token   = "secret"
	shared  = "sixteen or more letters"
	account = "AC00000000000000000000000000000001"
	admins  = 2
)

// newDesk starts everything but DigitalOcean, which the caller may start.
func newDesk(t *testing.T, number int, ttl time.Duration, providers ...string) *desk {
	if runtime.GOOS != "linux" {
		t.Skip("needs the whole of 127.0.0.0/8")
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	d := &desk{t: t, ctx: ctx, net: fmt.Sprintf("127.77.%d.", number), regions: map[string]*site{}}
	d.regions["us-east"], d.regions["eu-west"], d.control = d.site(1), d.site(2), d.site(3)

	for i, name := range []string{"linode", "digitalocean"} {
		host := 10 + 10*i
		role, extra := fakedns.RunLinode, []string{"--round-ttl=false"}
		if name == "digitalocean" {
			role, extra = fakedns.RunDigitalOcean, nil
		}
		api := d.program(host, role, append(extra, "--listen", ":8080", "--listen-feed", ":8600", "--token", token,
			"--rate", "100000", "--zonefile", "/espra.com"))
		api.file("/espra.com", zoneText)
		if name == "digitalocean" {
			d.ocean = api
		} else {
			api.start()
		}
		server := d.program(host+1, fakedns.RunAuthority, []string{"--listen", ":5300", "--zonefile", "/espra.com",
			"--pull", "http://" + d.net + fmt.Sprint(host) + ":8600/zones", "--pull-every", "50ms", "--delay", "20ms"})
		server.file("/espra.com", zoneText)
		server.start()
	}
	d.program(30, sms.RunTwilio, []string{"--listen", ":8080", "--account", account, "--token", token}).start()

	names := []string{"fremont", "london", "singapore"}
	keys := map[string]ed25519.PrivateKey{}
	for _, name := range names {
		seed := sha256.Sum256([]byte(name))
		keys[name] = ed25519.NewKeyFromSeed(seed[:])
	}
	for i, name := range names {
		v := &vantage{program: d.program(40+i, monitor.Run, []string{"--config", "/monitor.yaml"})}
		v.cfg = d.config(name, i+1, ttl, providers)
		for k, peer := range names {
			if peer != name {
				v.cfg.Peers = append(v.cfg.Peers, monitor.Peer{
					Name: peer, Rank: k + 1, URL: "http://" + d.net + fmt.Sprint(40+k) + ":8700",
					PublicKey: base64.StdEncoding.EncodeToString(keys[peer].Public().(ed25519.PublicKey)),
				})
			}
		}
		der, err := x509.MarshalPKCS8PrivateKey(keys[name])
		require.NoError(t, err)
		v.file("/key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
		v.file("/token", token+"\n")
		v.file("/secret", shared+"\n")
		d.vantages = append(d.vantages, v)
	}
	return d
}

func (d *desk) config(name string, rank int, ttl time.Duration, providers []string) monitor.Config {
	c := monitor.Config{
		Name: name, Rank: rank, Listen: ":8700", Key: "/key.pem", State: "/state/monitor.json",
		Status: "https://status.espra.com/", Controls: []monitor.Control{{Name: "control", URL: d.control.url}},
		Probe: 300 * time.Millisecond, Limit: 2 * time.Second, OpenAfter: 3, CloseAfter: 3,
		HoldDown: 1500 * time.Millisecond, BlindAfter: time.Minute, ActorDelay: 1200 * time.Millisecond, Guard: 30,
		SilentAfter: time.Minute, Secret: "/secret",
		SMS:    []monitorsms.Provider{{Kind: "twilio", URL: "http://" + d.net + "30:8080", Account: account, Token: "/token", From: "+15550000000"}},
		Admins: []monitor.Admin{{Name: "ana", Phone: "+15550000001"}, {Name: "raj", Phone: "+15550000002"}},
	}
	for _, region := range slices.Sorted(maps.Keys(d.regions)) {
		address := strings.TrimPrefix(d.regions[region].url, "http://")
		c.Targets = append(c.Targets, monitor.Target{Region: region, Target: probe.Target{
			Name: region + "-proxy", Kind: "http", URL: "http://us-1.live.espra.com/health", Connect: address,
		}})
	}
	// www depends on a region, so its loss must not be paged beside the region's.
	c.Targets = append(c.Targets,
		monitor.Target{Home: "www.espra.com", Target: probe.Target{Name: "www", Kind: "http", URL: d.regions["us-east"].url}},
		monitor.Target{Target: probe.Target{Name: "dns-linode", Kind: "dns", Server: d.net + "11:5300", Zone: "espra.com"}})
	lb := map[string]string{"us-east": "us-east.elb.amazonaws.com", "eu-west": "eu-west.elb.amazonaws.com"}
	for host, regions := range map[string][]string{
		"www.espra.com": {"us-east", "eu-west"}, "us-1.live.espra.com": {"us-east", "eu-west"}, "eu-1.live.espra.com": {"eu-west", "us-east"},
	} {
		c.Homes = append(c.Homes, monitor.HomeConfig{Host: host, Regions: regions, LB: lb, TTL: ttl})
	}
	for _, p := range providers {
		host := map[string]int{"linode": 10, "digitalocean": 20}[p]
		c.Providers = append(c.Providers, monitor.Provider{
			Name: p, URL: fmt.Sprintf("http://%s%d:8080", d.net, host), Token: "/token", Zone: "espra.com",
			Authorities: []string{fmt.Sprintf("%s%d:5300", d.net, host+1)},
		})
	}
	return c
}

func (d *desk) site(host int) *site {
	l, err := net.Listen("tcp", fmt.Sprintf("%s%d:0", d.net, host))
	require.NoError(d.t, err)
	s := &site{url: "http://" + l.Addr().String()}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if s.broken.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})}
	go server.Serve(l)
	d.t.Cleanup(func() { server.Close() })
	return s
}

func (d *desk) program(host int, role nodes.Role, args []string) *program {
	return &program{desk: d, addr: d.net + fmt.Sprint(host), root: d.t.TempDir(), role: role, args: args, logs: newLogs()}
}

func (p *program) file(name, text string) {
	require.NoError(p.desk.t, os.WriteFile(filepath.Join(p.root, name), []byte(text), 0o600))
}

func (p *program) start() {
	t := p.desk.t
	m, err := nodes.NewOS(nodes.OSOptions{
		Host: nodes.Host{Name: p.addr, Addr: netip.MustParseAddr(p.addr), Proc: "test"}, Root: p.root, Log: slog.New(p.logs),
	})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(p.desk.ctx)
	done := make(chan error, 1)
	go func() {
		done <- p.role(ctx, m, p.args)
	}()
	p.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil && p.desk.ctx.Err() == nil {
			t.Errorf("%s: %v", p.addr, err)
		}
		m.Close()
	})
	t.Cleanup(p.stop)
}

// texts lists the messages that the SMS gateway accepted for a number, oldest
// first.
func (d *desk) texts(to string) []string {
	req, err := http.NewRequest(http.MethodGet, "http://"+d.net+"30:8080/2010-04-01/Accounts/"+account+"/Messages.json?PageSize=100", nil)
	require.NoError(d.t, err)
	req.SetBasicAuth(account, token)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(d.t, err)
	defer resp.Body.Close()
	var page struct {
		Messages []struct{ To, Body string }
	}
	require.NoError(d.t, json.NewDecoder(resp.Body).Decode(&page))
	var texts []string
	for _, m := range page.Messages {
		if m.To == to {
			texts = append(texts, m.Body)
		}
	}
	slices.Reverse(texts)
	return texts
}

// logs collects a log and lets tests wait for lines of it.
type logs struct {
	attrs []slog.Attr
	*lines
}

type lines struct {
	mu   sync.Mutex
	all  []string
	more chan struct{} // closed and replaced at each line
}

func newLogs() *logs { return &logs{lines: &lines{more: make(chan struct{})}} }

func (l *logs) Enabled(context.Context, slog.Level) bool { return true }
func (l *logs) WithGroup(string) slog.Handler            { return l }
func (l *logs) WithAttrs(a []slog.Attr) slog.Handler {
	return &logs{append(slices.Clone(l.attrs), a...), l.lines}
}

func (l *logs) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	b.WriteString(r.Message)
	r.Attrs(func(a slog.Attr) bool { fmt.Fprintf(&b, " %s=%v", a.Key, a.Value); return true })
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, b.String())
	close(l.more)
	l.more = make(chan struct{})
	return nil
}

// find gives the lines that begin with the text.
func (l *lines) find(text string) (found []string, more chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.all {
		if strings.HasPrefix(line, text) {
			found = append(found, line)
		}
	}
	return found, l.more
}

// wait waits for the n-th line that begins with the text and gives it.
func (p *program) wait(n int, text string) string {
	p.desk.t.Helper()
	late := time.After(15 * time.Second)
	for {
		found, more := p.logs.find(text)
		if len(found) >= n {
			return found[n-1]
		}
		select {
		case <-more:
		case <-late:
			require.FailNow(p.desk.t, "no line", "%q at %s:\n%s", text, p.addr, strings.Join(p.logs.all, "\n"))
		}
	}
}

func TestRegionIsLostAndComesHome(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 1, time.Second, "linode")
	for _, v := range d.vantages {
		v.start()
	}
	first := d.vantages[0]
	first.wait(1, "first verdict target=us-east ")
	first.wait(1, "home confirmed")
	require.Empty(t, d.texts("+15550000001"), "a healthy system pages nobody")

	d.regions["us-east"].broken.Store(true)
	verdict := first.wait(1, "verdict target=us-east region=us-east state=down")
	id := verdict[strings.LastIndex(verdict, "=")+1:]
	require.Regexp(t, `^[A-Z2-7]{3}$`, id)
	plan := first.wait(1, "plan ")
	require.Equal(t, "plan incident="+id+" hosts=us-1.live.espra.com, www.espra.com region=eu-west epoch=2 changes=4 records=14", plan)
	first.wait(1, "provider changed provider=linode incident="+id+" changes=4")
	first.wait(1, "provider read back provider=linode authorities=1 incident="+id)
	first.wait(1, "home set hosts=us-1.live.espra.com, www.espra.com region=eu-west epoch=2")
	// The others see it done, and do nothing.
	for _, v := range d.vantages[1:] {
		v.wait(1, "home confirmed hosts=us-1.live.espra.com, www.espra.com region=eu-west epoch=2")
		found, _ := v.logs.find("plan ")
		require.Empty(t, found)
	}

	d.regions["us-east"].broken.Store(false)
	first.wait(1, "hold-down started region=us-east")
	first.wait(1, "home set hosts=us-1.live.espra.com, www.espra.com region=us-east epoch=3")
	first.wait(2, "sms sent")
	for _, v := range d.vantages[1:] {
		v.wait(1, "home confirmed hosts=us-1.live.espra.com, www.espra.com region=us-east epoch=3")
	}
	for _, to := range []string{"+15550000001", "+15550000002"} {
		texts := d.texts(to)
		require.Len(t, texts, 2, "one page and one all-clear: %q", texts)
		require.Regexp(t, `^ESPRA DOWN us-east since \d\d:\d\d:\d\dZ, [23]/3 vantages\. Moving DNS to eu-west\. `+id+` https://status\.espra\.com/`+id+`-[A-Z2-7]{8}$`, texts[0])
		require.Regexp(t, `^ESPRA OK us-east, traffic home \d\d:\d\d:\d\dZ\. `+id+` closed after 1m`, texts[1])
	}
	for _, v := range d.vantages[1:] {
		found, _ := v.logs.find("sms sent")
		require.Empty(t, found, "only the first vantage pages")
	}
}

func TestOneProviderIsAwayAndTheFirstVantageDead(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 2, 30*time.Second, "linode", "digitalocean")
	second, third := d.vantages[1], d.vantages[2]
	second.start()
	third.start()
	second.wait(1, "first verdict target=us-east ")

	// Two of three are a majority, and the second is now the first to act.
	d.regions["us-east"].broken.Store(true)
	second.wait(1, "provider changed provider=linode")
	second.wait(1, "provider read back provider=linode")
	second.wait(1, "provider not readable provider=digitalocean")
	found, _ := second.logs.find("home set")
	require.Empty(t, found, "half applied is not applied")

	// It dies, and DigitalOcean comes back: the third completes the move under
	// the same epoch and pages nobody again.
	second.wait(1, "sms sent")
	third.wait(1, "verdict target=us-east")
	second.stop()
	d.ocean.start()
	third.wait(1, "provider changed provider=digitalocean")
	set := third.wait(1, "home set hosts=us-1.live.espra.com, www.espra.com")
	require.Contains(t, set, "region=eu-west epoch=2")
	for _, to := range []string{"+15550000001", "+15550000002"} {
		require.Len(t, d.texts(to), 1)
	}

	// A vantage that starts again remembers the incident and what was sent.
	second.start()
	second.wait(2, "monitor started")
	second.wait(1, "home confirmed hosts=us-1.live.espra.com, www.espra.com region=eu-west epoch=2")
	for _, to := range []string{"+15550000001", "+15550000002"} {
		require.Len(t, d.texts(to), 1)
	}
}

func TestVantagesWithoutControlsAbstain(t *testing.T) {
	t.Parallel()
	d := newDesk(t, 3, time.Second, "linode")
	for _, v := range d.vantages {
		v.cfg.BlindAfter = 1 * time.Second
		v.start()
	}
	first := d.vantages[0]
	first.wait(1, "first verdict target=us-east ")
	// All lose sight of their controls, and then of the region: that may be our
	// own network. Blindness is told, a lost region is not.
	d.control.broken.Store(true)
	first.wait(1, "controls reached=0 of=1 abstains=true")
	d.regions["us-east"].broken.Store(true)
	verdict := first.wait(1, "verdict target=monitoring region= state=blind")
	id := verdict[strings.LastIndex(verdict, "=")+1:]
	first.wait(1, "sms sent admins=ana, raj")
	d.regions["us-east"].broken.Store(false)
	d.control.broken.Store(false)
	first.wait(1, "verdict target=monitoring region= state=up")
	first.wait(2, "sms sent")
	texts := d.texts("+15550000001")
	require.Len(t, texts, 2)
	require.Regexp(t, `^ESPRA BLIND monitoring since \d\d:\d\d:\d\dZ, 0/3 vantages\. `+id, texts[0])
	require.Regexp(t, `^ESPRA OK monitoring since \d\d:\d\d:\d\dZ\. `+id, texts[1])
	found, _ := first.logs.find("verdict target=us-east")
	require.Empty(t, found)
}
