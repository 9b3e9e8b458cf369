package dns_test

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	mdns "github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/fakes/dns"
	"github.com/espra/protoplex/fakes/internal/desk"
)

// ask sends one question to a server and shows what it answers.
func ask(t *testing.T, network, server, name string, kind uint16) string {
	t.Helper()
	c := &mdns.Client{Net: network, Timeout: 5 * time.Second}
	reply, _, err := c.Exchange(new(mdns.Msg).SetQuestion(name, kind), server)
	require.NoError(t, err)
	return show(reply)
}

func address(t *testing.T, d *desk.Desk) string {
	t.Helper()
	return d.Await(t, "name server ready")["listen"].(string)
}

func TestAuthority(t *testing.T) {
	d := desk.New(t, "127.0.0.1")
	text := espraZone
	for i := range 100 {
		text += fmt.Sprintf("many IN A 10.7.0.%d\n", i)
	}
	d.WriteFile(t, "/espra.zone", []byte(text))
	stop := d.Run(t, dns.RunAuthority, "--listen", ":0", "--zonefile", "/espra.zone")
	line := d.Await(t, "zone served")
	require.Equal(t, "espra.com. 7", fmt.Sprint(line["zone"], " ", line["serial"]))
	require.Contains(t, line["records"], `_home.www.espra.com TXT "v=home1 region=us-east epoch=1"; a.b.deep.espra.com A 10.9.0.8; `)
	server := address(t, d)
	const want = "NOERROR aa=true\nmail.espra.com. 60 IN A 10.9.0.9\n"
	require.Equal(t, want, ask(t, "udp", server, "mail.espra.com.", mdns.TypeA))
	require.Equal(t, want, ask(t, "tcp", server, "mail.espra.com.", mdns.TypeA))

	c := &mdns.Client{}
	reply, _, err := c.Exchange(new(mdns.Msg).SetQuestion("many.espra.com.", mdns.TypeA), server)
	require.NoError(t, err)
	require.True(t, reply.Truncated)
	c.Net = "tcp"
	stream, err := c.Dial(server)
	require.NoError(t, err)
	defer stream.Close()
	for range 3 { // one stream serves many questions
		reply, _, err = c.ExchangeWithConn(new(mdns.Msg).SetQuestion("many.espra.com.", mdns.TypeA), stream)
		require.NoError(t, err)
		require.Len(t, reply.Answer, 100)
	}
	stop()
	_, _, err = (&mdns.Client{Timeout: time.Second}).Exchange(new(mdns.Msg).SetQuestion("espra.com.", mdns.TypeA), server)
	require.Error(t, err, "it has stopped")
}

func TestRunRefuses(t *testing.T) {
	d := desk.New(t, "127.0.0.1")
	d.WriteFile(t, "/bad.zone", []byte("espra.com. 60 IN A 10.0.0.1\n"))
	for want, run := range map[string]func() error{
		"no such file":        func() error { return dns.RunAuthority(t.Context(), d, []string{"--zonefile", "/none"}) },
		"without an SOA":      func() error { return dns.RunAuthority(t.Context(), d, []string{"--zonefile", "/bad.zone"}) },
		"unexpected argument": func() error { return dns.RunAuthority(t.Context(), d, []string{"extra"}) },
		"parse flags":         func() error { return dns.RunLinode(t.Context(), d, []string{"--tokn", "x"}) },
		"--token":             func() error { return dns.RunDigitalOcean(t.Context(), d, nil) },
		"read certificate":    func() error { return dns.RunLinode(t.Context(), d, []string{"--token", "x", "--cert", "/none"}) },
		"NAME=ADDR@ZONE":      func() error { return dns.RunCloud(t.Context(), d, []string{"--lb", "us-east"}) },
	} {
		require.ErrorContains(t, run(), want)
	}
}

// A change made with the provider's client over TLS reaches both of its name
// servers, each after its own delay.
func TestPropagation(t *testing.T) {
	provider := desk.New(t, "127.0.0.1")
	cert, roots := desk.Certificate(t, "api.linode.com")
	provider.WriteFile(t, "/api.pem", cert)
	provider.WriteFile(t, "/espra.zone", []byte(espraZone))
	provider.Run(t, dns.RunLinode, "--listen", ":0", "--listen-feed", ":0", "--cert", "/api.pem", "--token", token, "--zonefile", "/espra.zone")
	ready := provider.Await(t, "dns provider ready", "provider", "linode")
	feed := "http://" + ready["feed"].(string) + "/zones"

	var servers []*desk.Desk
	for _, delay := range []string{"0s", "400ms"} {
		d := desk.New(t, "127.0.0.1")
		d.Run(t, dns.RunAuthority, "--listen", ":0", "--pull", feed, "--pull-every", "50ms", "--delay", delay)
		servers = append(servers, d)
	}
	var addresses []string
	for _, d := range servers {
		addresses = append(addresses, address(t, d))
		d.Await(t, "zone served", "zone", "espra.com.")
	}

	hc := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "api.linode.com"}, DisableKeepAlives: true}}
	lc := linodeClientOver(hc, "https://"+ready["listen"].(string), token)
	domains, err := lc.ListDomains(t.Context(), nil)
	require.NoError(t, err)
	records, err := lc.ListDomainRecords(t.Context(), domains[0].ID, nil)
	require.NoError(t, err)
	start := time.Now()
	changed := false
	for _, r := range records {
		if r.Name == "www" {
			o := r.GetUpdateOptions()
			o.Target = "eu-west.elb.amazonaws.com"
			_, err := lc.UpdateDomainRecord(t.Context(), domains[0].ID, r.ID, o)
			require.NoError(t, err)
			changed = true
		}
	}
	require.True(t, changed)
	for i, d := range servers {
		line := d.Await(t, "zone served", "zone", "espra.com.")
		require.Contains(t, line["records"], "www.espra.com CNAME eu-west.elb.amazonaws.com")
		require.Contains(t, ask(t, "udp", addresses[i], "www.espra.com.", mdns.TypeA), "eu-west")
	}
	require.GreaterOrEqual(t, time.Since(start), 400*time.Millisecond)
}

// An authority goes on serving what it has while its provider is away.
func TestFeedAway(t *testing.T) {
	var away atomic.Bool
	d := desk.New(t, "127.0.0.1")
	p := dns.NewProvider(d, "linode", []string{"ns1.linode.com"})
	z, err := dns.ParseZone(espraZone, "espra.com")
	require.NoError(t, err)
	require.NoError(t, p.Load(z))
	feed := p.Feed()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if away.Load() {
			http.Error(w, "away", http.StatusBadGateway)
			return
		}
		feed.ServeHTTP(w, r)
	}))
	defer s.Close()
	d.Run(t, dns.RunAuthority, "--listen", ":0", "--pull", s.URL+"/zones", "--pull-every", "20ms", "--delay", "0s")
	server := address(t, d)
	d.Await(t, "zone served", "zone", "espra.com.")
	away.Store(true)
	d.Await(t, "zone feed unavailable")
	require.Contains(t, ask(t, "udp", server, "mail.espra.com.", mdns.TypeA), "10.9.0.9")
	_, err = p.CreateRecord(origin, dns.Record{Type: "A", Name: "new", Data: "10.9.0.42"})
	require.NoError(t, err)
	away.Store(false)
	d.Await(t, "zone feed available")
	d.Await(t, "zone served", "zone", "espra.com.")
	require.Contains(t, ask(t, "udp", server, "new.espra.com.", mdns.TypeA), "10.9.0.42")
	require.NoError(t, p.DeleteDomain(origin))
	d.Await(t, "zone dropped", "zone", "espra.com.")
	require.Contains(t, ask(t, "udp", server, "new.espra.com.", mdns.TypeA), "REFUSED")
}

func TestCloud(t *testing.T) {
	well := map[string]*atomic.Bool{}
	var port string
	for _, addr := range []string{"127.0.7.1", "127.0.7.2"} {
		well[addr] = new(atomic.Bool)
		well[addr].Store(true)
		probed := desk.New(t, addr)
		listen := ":0"
		if port != "" {
			listen = ":" + port
		}
		l, err := probed.Listen("tcp", listen)
		require.NoError(t, err)
		s := &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/zone" || !well[addr].Load() {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		})}}
		s.Start()
		defer s.Close()
		u, err := url.Parse(s.URL)
		require.NoError(t, err)
		port = u.Port()
	}
	d := desk.New(t, "127.0.0.1")
	d.Run(t, dns.RunCloud, "--listen", ":0", "--probe-port", port, "--every", "30ms",
		"--lb", "us-east=127.0.7.2@us-east-b", "--lb", "us-east=127.0.7.1@us-east-a")
	server := address(t, d)
	const (
		first  = "us-east.elb.amazonaws.com. 60 IN A 127.0.7.1\n"
		second = "us-east.elb.amazonaws.com. 60 IN A 127.0.7.2\n"
	)
	answer := func() string { return ask(t, "udp", server, "us-east.elb.amazonaws.com.", mdns.TypeA) }
	require.Equal(t, "NOERROR aa=true\n"+first+second, answer())
	require.Contains(t, ask(t, "udp", server, "elb.amazonaws.com.", mdns.TypeNS), "more ns1.elb.amazonaws.com. 60 IN A 127.0.0.1\n")

	well["127.0.7.1"].Store(false)
	line := d.Await(t, "address withdrawn")
	require.Equal(t, "us-east us-east-a 127.0.7.1", fmt.Sprint(line["lb"], " ", line["zone"], " ", line["addr"]))
	d.Await(t, "zone served", "zone", "elb.amazonaws.com.")
	require.Equal(t, "NOERROR aa=true\n"+second, answer())

	well["127.0.7.2"].Store(false)
	d.Await(t, "address withdrawn", "addr", "127.0.7.2")
	d.Await(t, "zone served")
	require.Equal(t, "NOERROR aa=true\n"+first+second, answer(), "none is well: fail open")

	well["127.0.7.2"].Store(true)
	d.Await(t, "address returned", "addr", "127.0.7.2")
	d.Await(t, "zone served")
	require.Equal(t, "NOERROR aa=true\n"+second, answer())
}
