package dns

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/espra/protoplex/fakes/internal/serve"
	"github.com/espra/protoplex/nodes"
)

const (
	cloudTTL      = 60              // seconds, of load balancer names
	probeTime     = 5 * time.Second // for one probe
	cloudFailures = 2               // in a row, to withdraw an address
	cloudPasses   = 2               // in a row, to return it
)

// Cloud keeps the zone of the cloud's load balancer names: one address per
// availability zone of each load balancer, withdrawn from answers while that
// zone's node says that it has nowhere to send traffic. A load balancer none of
// whose zones is well keeps all its addresses.
type Cloud struct {
	m         nodes.Machine
	client    *http.Client
	port      int
	zone      string // fully qualified
	ns        string // fully qualified
	serial    uint32
	addresses []*cloudAddress // by load balancer, then zone
	authority *Authority
}

// cloudAddress is one zone's node of a load balancer.
type cloudAddress struct {
	lb, zone string
	addr     netip.Addr
	down     bool
	streak   int // results in a row that contradict down
}

// RunCloud is the name server of the cloud's own zone.
//
//	--listen ADDRESS     UDP and TCP (default :53)
//	--zone NAME          (default elb.amazonaws.com)
//	--ns NAME            this server, in that zone (default ns1.<zone>); its address is the machine's
//	--lb NAME=ADDR@ZONE  one node of a load balancer, us-east=10.1.0.9@us-east-a; repeated
//	--probe-port PORT    of the nodes' control interface (default 8500)
//	--every DURATION     between probes (default 10s)
func RunCloud(ctx context.Context, m nodes.Machine, args []string) error {
	return runCloud(ctx, m, args, Faults{})
}

func runCloud(ctx context.Context, m nodes.Machine, args []string, faults Faults) error {
	fs := serve.Flags("dns cloud")
	var lbs serve.Strings
	address := fs.String("listen", ":53", "")
	zone := fs.String("zone", "elb.amazonaws.com", "")
	ns := fs.String("ns", "", "")
	fs.Var(&lbs, "lb", "")
	port := fs.Int("probe-port", 8500, "")
	every := fs.Duration("every", 10*time.Second, "")
	if err := serve.Parse(fs, args); err != nil {
		return err
	}
	if *every <= 0 {
		return fmt.Errorf("dns cloud: --every %v must be positive", *every)
	}
	if *ns == "" {
		*ns = "ns1." + *zone
	}
	c := &Cloud{
		m: m, client: serve.Client(m), port: *port, authority: NewAuthority(m),
		zone: dns.CanonicalName(*zone), ns: dns.CanonicalName(*ns),
	}
	c.authority.faults = faults
	for _, lb := range lbs {
		a, err := parseCloudAddress(lb)
		if err != nil {
			return fmt.Errorf("dns cloud: --lb %s: %w", lb, err)
		}
		c.addresses = append(c.addresses, a)
	}
	slices.SortFunc(c.addresses, func(a, b *cloudAddress) int { return strings.Compare(a.key(), b.key()) })
	if err := c.publish(); err != nil {
		return fmt.Errorf("dns cloud: %w", err)
	}
	pc, l, err := listen(m, *address)
	if err != nil {
		return fmt.Errorf("dns cloud: %w", err)
	}
	m.Log().Info("name server ready", "listen", pc.LocalAddr().String())
	return serve.Together(ctx, m,
		func(ctx context.Context) error { return c.authority.ServeUDP(ctx, pc) },
		func(ctx context.Context) error { return c.authority.ServeTCP(ctx, l) },
		func(ctx context.Context) error {
			nodes.Every(ctx, m, "probe load balancers", *every, c.probe)
			return nil
		},
	)
}

func parseCloudAddress(s string) (*cloudAddress, error) {
	lb, rest, ok := strings.Cut(s, "=")
	text, zone, ok2 := strings.Cut(rest, "@")
	if !ok || !ok2 || lb == "" || zone == "" {
		return nil, fmt.Errorf("is not NAME=ADDR@ZONE")
	}
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return nil, fmt.Errorf("parse address: %w", err)
	}
	return &cloudAddress{lb: strings.ToLower(lb), zone: zone, addr: addr}, nil
}

func (a *cloudAddress) key() string { return a.lb + " " + a.zone + " " + a.addr.String() }

// probe asks every node and publishes what changed.
func (c *Cloud) probe(ctx context.Context) {
	well := make([]bool, len(c.addresses))
	indexes := make([]int, len(c.addresses))
	for i := range indexes {
		indexes[i] = i
	}
	nodes.FanOut(ctx, c.m, "probe load balancers", indexes, func(ctx context.Context, i int) {
		well[i] = c.ask(ctx, c.addresses[i])
	})
	if ctx.Err() != nil {
		return
	}
	changed := false
	for i, a := range c.addresses {
		changed = a.observe(well[i], c.m) || changed
	}
	if !changed {
		return
	}
	if err := c.publish(); err != nil {
		c.m.Log().Error("zone not published", "zone", c.zone, "error", err.Error())
	}
}

// observe counts one result and tells whether it turned the address's state.
func (a *cloudAddress) observe(well bool, m nodes.Machine) bool {
	if well != a.down {
		a.streak = 0
		return false
	}
	a.streak++
	switch {
	case !a.down && a.streak >= cloudFailures:
		m.Log().Info("address withdrawn", "lb", a.lb, "zone", a.zone, "addr", a.addr.String())
	case a.down && a.streak >= cloudPasses:
		m.Log().Info("address returned", "lb", a.lb, "zone", a.zone, "addr", a.addr.String())
	default:
		return false
	}
	a.down, a.streak = !a.down, 0
	return true
}

// ask tells whether a node says that it can serve its zone.
func (c *Cloud) ask(ctx context.Context, a *cloudAddress) bool {
	ctx, cancel := nodes.Timeout(ctx, c.m, "probe "+a.key(), probeTime)
	defer cancel()
	host := netip.AddrPortFrom(a.addr, uint16(c.port)).String()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+host+"/zone", nil)
	if err != nil {
		return false
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, 4096))
	return err == nil && resp.StatusCode == http.StatusOK
}

// publish makes and serves the zone.
func (c *Cloud) publish() error {
	c.serial++
	header := func(name string, t uint16) dns.RR_Header {
		return dns.RR_Header{Name: name, Rrtype: t, Class: dns.ClassINET, Ttl: cloudTTL}
	}
	host := func(name string, addr netip.Addr) dns.RR {
		if addr.Is4() {
			return &dns.A{Hdr: header(name, dns.TypeA), A: addr.AsSlice()}
		}
		return &dns.AAAA{Hdr: header(name, dns.TypeAAAA), AAAA: addr.AsSlice()}
	}
	records := []dns.RR{
		&dns.SOA{Hdr: header(c.zone, dns.TypeSOA), Ns: c.ns, Mbox: "hostmaster." + c.zone, Serial: c.serial,
			Refresh: 7200, Retry: 900, Expire: 1209600, Minttl: cloudTTL},
		&dns.NS{Hdr: header(c.zone, dns.TypeNS), Ns: c.ns},
	}
	if dns.IsSubDomain(c.zone, c.ns) {
		records = append(records, host(c.ns, c.m.Host().Addr.Unmap()))
	}
	up := map[string]int{}
	for _, a := range c.addresses {
		if !a.down {
			up[a.lb]++
		}
	}
	for _, a := range c.addresses {
		if !a.down || up[a.lb] == 0 {
			records = append(records, host(a.lb+"."+c.zone, a.addr))
		}
	}
	z, err := NewZone(records)
	if err != nil {
		return err
	}
	c.authority.Set(NewZones(z))
	return nil
}
