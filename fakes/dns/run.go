package dns

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/espra/protoplex/fakes/faulty"
	"github.com/espra/protoplex/fakes/internal/serve"
	"github.com/espra/protoplex/nodes"
)

var (
	_ nodes.Role = RunAuthority
	_ nodes.Role = RunLinode
	_ nodes.Role = RunDigitalOcean
	_ nodes.Role = RunCloud
)

// RunAuthority is a name server. It serves the zones of its zone files, and,
// given --pull, those of a provider's feed, which win.
//
//	--listen ADDRESS      UDP and TCP (default :53)
//	--zonefile FILE       one zone, on the machine's disk; repeated
//	--pull URL            a provider's feed, such as http://10.0.0.1:8600/zones
//	--pull-every DURATION (default 5s)
//	--delay DURATION      from seeing a change to serving it (default 10s)
func RunAuthority(ctx context.Context, m nodes.Machine, args []string) error {
	return runAuthority(ctx, m, args, Faults{})
}

func runAuthority(ctx context.Context, m nodes.Machine, args []string, faults Faults) error {
	fs := serve.Flags("dns authority")
	var files serve.Strings
	address := fs.String("listen", ":53", "")
	fs.Var(&files, "zonefile", "")
	pull := fs.String("pull", "", "")
	every := fs.Duration("pull-every", 5*time.Second, "")
	delay := fs.Duration("delay", 10*time.Second, "")
	if err := serve.Parse(fs, args); err != nil {
		return err
	}
	if *every <= 0 || *delay < 0 {
		return fmt.Errorf("dns authority: --pull-every %v and --delay %v must be positive", *every, *delay)
	}
	zones, err := readZones(m, files)
	if err != nil {
		return fmt.Errorf("dns authority: %w", err)
	}
	a := NewAuthority(m)
	a.faults = faults
	a.Set(NewZones(zones...))
	pc, l, err := listen(m, *address)
	if err != nil {
		return fmt.Errorf("dns authority: %w", err)
	}
	m.Log().Info("name server ready", "listen", pc.LocalAddr().String())
	work := []func(context.Context) error{
		func(ctx context.Context) error { return a.ServeUDP(ctx, pc) },
		func(ctx context.Context) error { return a.ServeTCP(ctx, l) },
	}
	if *pull != "" {
		p := &puller{m: m, client: serve.Client(m), url: *pull, every: *every, delay: *delay, own: zones, authority: a}
		work = append(work, p.run)
	}
	return serve.Together(ctx, m, work...)
}

// RunLinode is the Linode API v4 of one account, as far as DNS goes.
//
//	--listen ADDRESS       (default :443)
//	--cert FILE            certificate and key; plain HTTP without it
//	--token T              the bearer token to accept
//	--read-token T         another, which may only read
//	--zonefile FILE        an initial domain; repeated
//	--ns NAME              its name servers; repeated (default ns1 to ns5.linode.com)
//	--listen-feed ADDRESS  for its name servers (default :8600)
//	--rate N               requests allowed per --rate-window (default 800 per 1m)
//	--round-ttl            round TTLs as Linode does, 60 to 120 (default true)
func RunLinode(ctx context.Context, m nodes.Machine, args []string) error {
	return runProvider(ctx, m, args, providerRole{
		name: "linode", rate: 800, nameservers: numbered(5, "linode.com"),
		api: func(p *Provider, f *providerFlags) faulty.API {
			return NewLinode(m, p, LinodeOptions{Token: f.token, ReadToken: f.readToken, Rate: f.rate, Window: f.window, ExactTTLs: !f.roundTTL})
		},
	})
}

// RunDigitalOcean is the DigitalOcean API v2 of one account, as far as DNS goes.
// Its flags are those of RunLinode, without --round-ttl; the default rate is 250
// per minute and the name servers are ns1 to ns3.digitalocean.com.
func RunDigitalOcean(ctx context.Context, m nodes.Machine, args []string) error {
	return runProvider(ctx, m, args, providerRole{
		name: "digitalocean", rate: 250, nameservers: numbered(3, "digitalocean.com"),
		api: func(p *Provider, f *providerFlags) faulty.API {
			return NewDigitalOcean(m, p, DigitalOceanOptions{Token: f.token, ReadToken: f.readToken, Rate: f.rate, Window: f.window})
		},
	})
}

type providerRole struct {
	name        string
	rate        int
	nameservers []string
	api         func(*Provider, *providerFlags) faulty.API
}

type providerFlags struct {
	token     string
	readToken string
	rate      int
	window    time.Duration
	roundTTL  bool
}

func runProvider(ctx context.Context, m nodes.Machine, args []string, role providerRole) error {
	fs := serve.Flags("dns " + role.name)
	var f providerFlags
	var files, nameservers serve.Strings
	address := fs.String("listen", ":443", "")
	cert := fs.String("cert", "", "")
	feed := fs.String("listen-feed", ":8600", "")
	fs.StringVar(&f.token, "token", "", "")
	fs.StringVar(&f.readToken, "read-token", "", "")
	fs.IntVar(&f.rate, "rate", role.rate, "")
	fs.DurationVar(&f.window, "rate-window", time.Minute, "")
	fs.Var(&files, "zonefile", "")
	fs.Var(&nameservers, "ns", "")
	if role.name == "linode" {
		fs.BoolVar(&f.roundTTL, "round-ttl", true, "")
	}
	if err := serve.Parse(fs, args); err != nil {
		return err
	}
	if f.token == "" || f.rate < 1 || f.window <= 0 {
		return fmt.Errorf("dns %s: --token, --rate and --rate-window are needed", role.name)
	}
	if len(nameservers) == 0 {
		nameservers = role.nameservers
	}
	zones, err := readZones(m, files)
	if err != nil {
		return fmt.Errorf("dns %s: %w", role.name, err)
	}
	p := NewProvider(m, role.name, nameservers)
	for _, z := range zones {
		if err := p.Load(z); err != nil {
			return fmt.Errorf("dns %s: %w", role.name, err)
		}
	}
	api, err := serve.Listen(m, *address, *cert)
	if err != nil {
		return fmt.Errorf("dns %s: %w", role.name, err)
	}
	internal, err := serve.Listen(m, *feed, "")
	if err != nil {
		api.Close()
		return fmt.Errorf("dns %s: %w", role.name, err)
	}
	m.Log().Info("dns provider ready", "provider", role.name, "listen", api.Addr().String(), "feed", internal.Addr().String())
	return serve.Together(ctx, m,
		func(ctx context.Context) error { return serve.HTTP(ctx, m, api, faulty.Wrap(ctx, role.api(p, &f))) },
		func(ctx context.Context) error { return serve.HTTP(ctx, m, internal, p.Feed()) },
	)
}

func numbered(n int, domain string) []string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprintf("ns%d.%s", i+1, domain))
	}
	return out
}

func readZones(m nodes.Machine, files []string) ([]*Zone, error) {
	var zones []*Zone
	for _, file := range files {
		text, err := serve.ReadFile(m, file)
		if err != nil {
			return nil, fmt.Errorf("read zone file: %w", err)
		}
		z, err := ParseZone(string(text), strings.TrimPrefix(file, "/"))
		if err != nil {
			return nil, err
		}
		zones = append(zones, z)
	}
	return zones, nil
}
