package dns_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/digitalocean/godo"
	"github.com/google/go-cmp/cmp"
	"github.com/linode/linodego"
	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/fakes/dns"
	"github.com/espra/protoplex/fakes/internal/desk"
)

const (
	token  = "letmein"
	origin = "espra.com"
)

func server(t *testing.T, h http.Handler) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func linode(t *testing.T, d *desk.Desk, o dns.LinodeOptions) (*dns.Provider, linodego.Client) {
	t.Helper()
	p := dns.NewProvider(d, "linode", []string{"ns1.linode.com", "ns2.linode.com"})
	if o.Rate == 0 {
		o.Token, o.Rate, o.Window = token, 10_000, time.Minute
	}
	return p, linodeClient(server(t, dns.NewLinode(d, p, o)), token)
}

func linodeClient(url, token string) linodego.Client {
	return linodeClientOver(&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, url, token)
}

func linodeClientOver(hc *http.Client, url, token string) linodego.Client {
	c := linodego.NewClient(hc)
	c.SetBaseURL(url)
	c.SetToken(token)
	c.UseCache(false)
	return c
}

func TestLinode(t *testing.T) {
	d := desk.New(t, "127.0.0.1")
	p, c := linode(t, d, dns.LinodeOptions{})
	ctx := t.Context()

	domain, err := c.CreateDomain(ctx, linodego.DomainCreateOptions{Domain: origin, Type: linodego.DomainTypeMaster, SOAEmail: "host.master@espra.com"})
	require.NoError(t, err)
	require.Equal(t, origin, domain.Domain)
	_, err = c.CreateDomain(ctx, linodego.DomainCreateOptions{Domain: origin, Type: linodego.DomainTypeMaster, SOAEmail: "a@espra.com"})
	require.True(t, linodego.ErrHasStatus(err, 400), err)
	got, err := c.GetDomain(ctx, domain.ID)
	require.NoError(t, err)
	require.Equal(t, "host.master@espra.com", got.SOAEmail)
	found, err := c.ListDomains(ctx, linodego.NewListOptions(0, `{"domain":"espra.com"}`))
	require.NoError(t, err)
	require.Len(t, found, 1)
	found, err = c.ListDomains(ctx, linodego.NewListOptions(0, `{"domain":"example.com"}`))
	require.NoError(t, err)
	require.Empty(t, found)
	records, err := c.ListDomainRecords(ctx, domain.ID, nil)
	require.NoError(t, err)
	require.Empty(t, records, "the provider's own NS records are not listed")

	priority := 10
	for _, o := range []linodego.DomainRecordCreateOptions{
		{Type: "A", Name: "", Target: "10.9.0.1", TTLSec: 300},
		{Type: "AAAA", Name: "six", Target: "2001:db8::1"},
		{Type: "MX", Name: "", Target: "mail.espra.com", Priority: &priority},
		{Type: "NS", Name: "", Target: "ns1.digitalocean.com"},
		{Type: "TXT", Name: "_home.www.espra.com", Target: `v="home1" \ region`, TTLSec: 30},
		{Type: "TXT", Name: "long", Target: strings.Repeat("é", 300)},
	} {
		r, err := c.CreateDomainRecord(ctx, domain.ID, o)
		require.NoError(t, err)
		require.Equal(t, o.Target, r.Target)
		require.NotNil(t, r.Created)
	}
	www, err := c.CreateDomainRecord(ctx, domain.ID, linodego.DomainRecordCreateOptions{
		Type: "CNAME", Name: "www", Target: "us-east.elb.amazonaws.com.", TTLSec: 60,
	})
	require.NoError(t, err)
	require.Equal(t, "us-east.elb.amazonaws.com", www.Target)
	require.Equal(t, 120, www.TTLSec, "Linode rounds up")
	line := d.Await(t, "record created", "name", "www.espra.com")
	require.Equal(t, "linode CNAME us-east.elb.amazonaws.com", fmt.Sprint(line["provider"], " ", line["type"], " ", line["data"]))

	before, err := p.Domain(origin)
	require.NoError(t, err)
	www, err = c.UpdateDomainRecord(ctx, domain.ID, www.ID, linodego.DomainRecordUpdateOptions{Target: "eu-west.elb.amazonaws.com"})
	require.NoError(t, err)
	require.Equal(t, "www", www.Name)
	require.Equal(t, 120, www.TTLSec)
	d.Await(t, "record updated", "data", "eu-west.elb.amazonaws.com")
	after, err := p.Domain(origin)
	require.NoError(t, err)
	require.Equal(t, before.Serial+1, after.Serial)
	_, err = c.UpdateDomainRecord(ctx, domain.ID, www.ID, linodego.DomainRecordUpdateOptions{Target: "eu-west.elb.amazonaws.com"})
	require.NoError(t, err)
	again, err := p.Domain(origin)
	require.NoError(t, err)
	require.Equal(t, after.Serial, again.Serial, "no change, no new serial")

	file, err := c.GetDomainZoneFile(ctx, domain.ID)
	require.NoError(t, err)
	zone, err := dns.ParseZone(strings.Join(file.ZoneFile, "\n"), "linode")
	require.NoError(t, err)
	require.Contains(t, zone.Summary(), "www.espra.com CNAME eu-west.elb.amazonaws.com")
	require.Equal(t, 3, strings.Count(zone.Text(), "\tNS\t"))

	for name, o := range map[string]linodego.DomainRecordCreateOptions{
		"address":      {Type: "A", Name: "bad", Target: "10.9.0.256"},
		"beside CNAME": {Type: "A", Name: "www", Target: "10.9.0.1"},
		"apex CNAME":   {Type: "CNAME", Name: "", Target: "www.espra.com"},
		"type":         {Type: "MD", Name: "bad", Target: "www.espra.com"},
		"name":         {Type: "A", Name: "b d", Target: "10.9.0.1"},
		"empty text":   {Type: "TXT", Name: "bad", Target: ""},
	} {
		_, err := c.CreateDomainRecord(ctx, domain.ID, o)
		require.True(t, linodego.ErrHasStatus(err, 400), "%s: %v", name, err)
	}
	_, err = c.GetDomainRecord(ctx, domain.ID, 99)
	require.True(t, linodego.IsNotFound(err), err)
	_, err = c.ListDomainRecords(ctx, 99, nil)
	require.True(t, linodego.IsNotFound(err), err)

	require.NoError(t, c.DeleteDomainRecord(ctx, domain.ID, www.ID))
	d.Await(t, "record deleted", "name", "www.espra.com", "type", "CNAME")
	require.True(t, linodego.IsNotFound(c.DeleteDomainRecord(ctx, domain.ID, www.ID)))
	_, err = c.UpdateDomain(ctx, domain.ID, linodego.DomainUpdateOptions{SOAEmail: "b@espra.com", TTLSec: 3600})
	require.NoError(t, err)
	require.NoError(t, c.DeleteDomain(ctx, domain.ID))
	_, err = c.GetDomain(ctx, domain.ID)
	require.True(t, linodego.IsNotFound(err), err)
}

func TestLinodeMany(t *testing.T) {
	d := desk.New(t, "127.0.0.1")
	p, c := linode(t, d, dns.LinodeOptions{})
	domain, err := p.CreateDomain(dns.Domain{Name: origin, TTL: 60, Email: "a@espra.com"})
	require.NoError(t, err)
	for i := range 250 {
		_, err := p.CreateRecord(origin, dns.Record{Type: "A", Name: fmt.Sprint("n", i), Data: "10.0.0.1"})
		require.NoError(t, err)
	}
	all, err := c.ListDomainRecords(t.Context(), domain.ID, nil)
	require.NoError(t, err)
	require.Len(t, all, 250)
	var want, got []string
	for i, r := range all {
		want, got = append(want, fmt.Sprint("n", i)), append(got, r.Name)
	}
	require.Empty(t, cmp.Diff(want, got), "each once, in order")
	page, err := c.ListDomainRecords(t.Context(), domain.ID, &linodego.ListOptions{PageOptions: &linodego.PageOptions{Page: 3}, PageSize: 100})
	require.NoError(t, err)
	require.Len(t, page, 50)
	_, err = c.ListDomainRecords(t.Context(), domain.ID, &linodego.ListOptions{PageOptions: &linodego.PageOptions{Page: 4}, PageSize: 100})
	require.True(t, linodego.IsNotFound(err), err)
	_, err = c.ListDomainRecords(t.Context(), domain.ID, &linodego.ListOptions{PageSize: 10})
	require.True(t, linodego.ErrHasStatus(err, 400), err)
}

func TestLinodeRefusals(t *testing.T) {
	d := desk.New(t, "127.0.0.1")
	url := server(t, dns.NewLinode(d, dns.NewProvider(d, "linode", []string{"ns1.linode.com"}),
		dns.LinodeOptions{Token: token, Rate: 2, Window: time.Second}))
	wrong := linodeClient(url, "guess")
	_, err := wrong.ListDomains(t.Context(), nil)
	require.True(t, linodego.ErrHasStatus(err, 401), err)

	// The client itself waits out the limit.
	c := linodeClient(url, token)
	start := time.Now()
	for range 3 {
		_, err := c.ListDomains(t.Context(), nil)
		require.NoError(t, err)
	}
	require.GreaterOrEqual(t, time.Since(start), 900*time.Millisecond)

	limited := dns.NewLinode(d, dns.NewProvider(d, "linode", nil), dns.LinodeOptions{Token: token, Rate: 1, Window: time.Hour})
	for _, want := range []string{"", "3600"} {
		r := httptest.NewRequest(http.MethodGet, "/v4/domains", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		w := httptest.NewRecorder()
		limited.ServeHTTP(w, r)
		require.Equal(t, want, w.Header().Get("Retry-After"))
	}
}

func digitalOcean(t *testing.T, d *desk.Desk, rate int) (*dns.Provider, *godo.Client, string) {
	t.Helper()
	p := dns.NewProvider(d, "digitalocean", []string{"ns1.digitalocean.com", "ns2.digitalocean.com"})
	url := server(t, dns.NewDigitalOcean(d, p, dns.DigitalOceanOptions{Token: token, Rate: rate, Window: time.Minute}))
	return p, godoClient(t, url, token), url
}

func godoClient(t *testing.T, url, token string) *godo.Client {
	t.Helper()
	c, err := godo.New(&http.Client{Transport: bearer{token}}, godo.SetBaseURL(url+"/"))
	require.NoError(t, err)
	return c
}

type bearer struct{ token string }

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+b.token)
	return (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
}

func TestDigitalOcean(t *testing.T) {
	d := desk.New(t, "127.0.0.1")
	p, c, _ := digitalOcean(t, d, 1000)
	ctx := t.Context()

	domain, _, err := c.Domains.Create(ctx, &godo.DomainCreateRequest{Name: origin, IPAddress: "10.9.0.1"})
	require.NoError(t, err)
	require.Equal(t, 1800, domain.TTL)
	_, resp, err := c.Domains.Create(ctx, &godo.DomainCreateRequest{Name: origin})
	require.Error(t, err)
	require.Equal(t, 422, resp.StatusCode)
	domains, _, err := c.Domains.List(ctx, nil)
	require.NoError(t, err)
	require.Len(t, domains, 1)
	list := func() []string {
		t.Helper()
		records, _, err := c.Domains.Records(ctx, origin, nil)
		require.NoError(t, err)
		var out []string
		for _, r := range records {
			out = append(out, fmt.Sprint(r.Type, " ", r.Name, " ", r.Data, " ", r.TTL))
		}
		return out
	}
	require.Empty(t, cmp.Diff([]string{
		"SOA @ 1800 1800", "A @ 10.9.0.1 1800", "NS @ ns1.digitalocean.com 1800", "NS @ ns2.digitalocean.com 1800",
	}, list()))

	www, resp, err := c.Domains.CreateRecord(ctx, origin, &godo.DomainRecordEditRequest{
		Type: "CNAME", Name: "www", Data: "us-east.elb.amazonaws.com.", TTL: 60,
	})
	require.NoError(t, err)
	require.Equal(t, 201, resp.StatusCode)
	require.Equal(t, "us-east.elb.amazonaws.com", www.Data)
	require.Equal(t, 60, www.TTL)
	require.Equal(t, 1000, resp.Rate.Limit)
	_, _, err = c.Domains.CreateRecord(ctx, origin, &godo.DomainRecordEditRequest{Type: "CNAME", Name: "apex", Data: "@"})
	require.NoError(t, err)
	home, _, err := c.Domains.CreateRecord(ctx, origin, &godo.DomainRecordEditRequest{
		Type: "TXT", Name: "_home.www", Data: "v=home1 region=us-east epoch=1", TTL: 60,
	})
	require.NoError(t, err)
	edited, _, err := c.Domains.EditRecord(ctx, origin, home.ID, &godo.DomainRecordEditRequest{Type: "TXT", Data: "v=home1 region=eu-west epoch=2"})
	require.NoError(t, err)
	require.Equal(t, "_home.www", edited.Name)
	require.Equal(t, 60, edited.TTL)
	line := d.Await(t, "record updated", "provider", "digitalocean")
	require.Equal(t, "_home.www.espra.com TXT v=home1 region=eu-west epoch=2", fmt.Sprint(line["name"], " ", line["type"], " ", line["data"]))
	require.Contains(t, list(), "CNAME apex @ 1800")
	text, err := p.ZoneText(origin)
	require.NoError(t, err)
	require.Contains(t, text, "apex.espra.com.\t1800\tIN\tCNAME\tespra.com.")

	byName, _, err := c.Domains.RecordsByTypeAndName(ctx, origin, "CNAME", "www.espra.com", nil)
	require.NoError(t, err)
	require.Len(t, byName, 1)
	one, _, err := c.Domains.Record(ctx, origin, www.ID)
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(*www, *one))

	for message, in := range map[string]*godo.DomainRecordEditRequest{
		"Data needs to end with a dot (.)": {Type: "CNAME", Name: "x", Data: "us-east.elb.amazonaws.com"},
		"Data is not an IPv4 address":      {Type: "A", Name: "x", Data: "us-east"},
		"Name a CNAME cannot share":        {Type: "A", Name: "www", Data: "10.0.0.1"},
		"Ttl must be at least 30":          {Type: "A", Name: "x", Data: "10.0.0.1", TTL: 5},
		"Type is not a record type":        {Type: "B", Name: "x", Data: "10.0.0.1"},
	} {
		_, resp, err := c.Domains.CreateRecord(ctx, origin, in)
		require.ErrorContains(t, err, message)
		require.Equal(t, 422, resp.StatusCode)
	}

	_, err = c.Domains.DeleteRecord(ctx, origin, www.ID)
	require.NoError(t, err)
	d.Await(t, "record deleted", "name", "www.espra.com")
	resp, err = c.Domains.DeleteRecord(ctx, origin, www.ID)
	require.Error(t, err)
	require.Equal(t, 404, resp.StatusCode)
	_, err = c.Domains.Delete(ctx, origin)
	require.NoError(t, err)
	_, resp, err = c.Domains.Get(ctx, origin)
	require.Error(t, err)
	require.Equal(t, 404, resp.StatusCode)
}

func TestDigitalOceanMany(t *testing.T) {
	d := desk.New(t, "127.0.0.1")
	p, c, _ := digitalOcean(t, d, 1000)
	_, err := p.CreateDomain(dns.Domain{Name: origin, TTL: 60, Email: "a@espra.com"})
	require.NoError(t, err)
	for i := range 250 {
		_, err := p.CreateRecord(origin, dns.Record{Type: "A", Name: fmt.Sprint("n", i), Data: "10.0.0.1"})
		require.NoError(t, err)
	}
	for _, size := range []int{0, 100, 1000} { // 20, 100 and the most, 200, a page
		seen := map[int]bool{}
		o := &godo.ListOptions{PerPage: size}
		for {
			records, resp, err := c.Domains.RecordsByType(t.Context(), origin, "A", o)
			require.NoError(t, err)
			for _, r := range records {
				require.False(t, seen[r.ID])
				seen[r.ID] = true
			}
			if resp.Links == nil || resp.Links.IsLastPage() {
				break
			}
			page, err := resp.Links.CurrentPage()
			require.NoError(t, err)
			require.Contains(t, resp.Links.Pages.Next, "type=A")
			o.Page = page + 1
		}
		require.Len(t, seen, 250)
	}
}

func TestDigitalOceanRefusals(t *testing.T) {
	d := desk.New(t, "127.0.0.1")
	_, c, url := digitalOcean(t, d, 2)
	_, resp, err := godoClient(t, url, "guess").Domains.List(t.Context(), nil)
	require.ErrorContains(t, err, "Unable to authenticate you")
	require.Equal(t, 401, resp.StatusCode)
	for want := 1; want >= 0; want-- {
		_, resp, err := c.Domains.List(t.Context(), nil)
		require.NoError(t, err)
		require.Equal(t, want, resp.Rate.Remaining)
		require.True(t, resp.Rate.Reset.After(time.Now().Add(-time.Second)))
	}
	_, resp, err = c.Domains.List(t.Context(), nil)
	require.ErrorContains(t, err, "API Rate limit exceeded.")
	require.Equal(t, 429, resp.StatusCode)
	require.NotEmpty(t, resp.Header.Get("Retry-After"))
}

func TestLoad(t *testing.T) {
	d := desk.New(t, "127.0.0.1")
	p, c := linode(t, d, dns.LinodeOptions{})
	z, err := dns.ParseZone(espraZone, "espra.com")
	require.NoError(t, err)
	require.NoError(t, p.Load(z))
	text, err := p.ZoneText(origin)
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(strings.ToLower(z.Text()), strings.ToLower(text)), "a loaded zone is served as it was")
	domains, err := c.ListDomains(context.Background(), nil)
	require.NoError(t, err)
	records, err := c.ListDomainRecords(t.Context(), domains[0].ID, linodego.NewListOptions(0, `{"type":"NS"}`))
	require.NoError(t, err)
	require.Len(t, records, 2, "not ns1.linode.com, its own")
}

// Whatever a provider accepts can be served: its text is a valid zone.
func FuzzCreateRecord(f *testing.F) {
	for _, r := range []dns.Record{
		{Type: "A", Name: "www", Data: "10.0.0.1"}, {Type: "AAAA", Data: "::1"}, {Type: "CNAME", Name: "*", Data: "a.b"},
		{Type: "TXT", Name: "@", Data: "a\"b\\\x00é;"}, {Type: "CAA", Data: "x", Tag: "issue"}, {Type: "SRV", Name: "_a._b", Data: "c.d", Port: 1},
		{Type: "MX", Data: "mail.espra.com."}, {Type: "NS", Name: "sub", Data: "ns.sub"}, {Type: "TXT", Name: "a.b", Data: strings.Repeat("\\", 600)},
	} {
		f.Add(r.Type, r.Name, r.Data, r.Tag, r.TTL, r.Port)
	}
	d := desk.New(f, "127.0.0.1")
	f.Fuzz(func(t *testing.T, kind, name, data, tag string, ttl, port int) {
		p := dns.NewProvider(d, "fuzz", []string{"ns1.linode.com"})
		_, err := p.CreateDomain(dns.Domain{Name: origin, TTL: 60, Email: "a@espra.com"})
		require.NoError(t, err)
		r, err := p.CreateRecord(origin, dns.Record{Type: kind, Name: name, Data: data, Tag: tag, TTL: ttl, Port: port})
		if err != nil {
			var invalid *dns.Invalid
			require.ErrorAs(t, err, &invalid)
			return
		}
		text, err := p.ZoneText(origin)
		require.NoError(t, err)
		z, err := dns.ParseZone(text, "fuzz")
		require.NoError(t, err, text)
		require.NoError(t, p.Load(z))
		records, err := p.Records(origin)
		require.NoError(t, err)
		var found bool
		for _, got := range records {
			found = found || got.Type == r.Type && got.Name == r.Name && got.Data == r.Data
		}
		require.True(t, found, "%q is not among %q", r, records)
	})
}
