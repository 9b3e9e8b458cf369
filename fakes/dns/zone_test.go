package dns_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/fakes/dns"
)

const espraZone = `
$ORIGIN espra.com.
$TTL 60
@        3600 IN SOA ns1.linode.com. hostmaster.espra.com. 7 14400 3600 604800 30
@        3600 IN NS  ns1.linode.com.
@        3600 IN NS  ns1.digitalocean.com.
@             IN A   10.9.0.1
@             IN A   10.9.0.2
@             IN MX  10 mail
mail          IN A   10.9.0.9
www           IN CNAME us-east.elb.amazonaws.com.
WWW2          IN CNAME www
loop          IN CNAME pool
pool          IN CNAME loop
_home.www     IN TXT "v=home1 region=us-east epoch=1"
*.files       IN A   10.9.0.7
a.b.deep      IN A   10.9.0.8
eu            IN NS  ns.eu
ns.eu         IN A   10.9.0.5
`

func TestZoneText(t *testing.T) {
	z, err := dns.ParseZone(espraZone, "espra.com")
	require.NoError(t, err)
	require.Equal(t, "espra.com.", z.Origin())
	require.Equal(t, uint32(7), z.Serial())
	again, err := dns.ParseZone(z.Text(), "again")
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(z.Text(), again.Text()))
	require.Equal(t, "*.files.espra.com A 10.9.0.7; "+
		`_home.www.espra.com TXT "v=home1 region=us-east epoch=1"; a.b.deep.espra.com A 10.9.0.8; `+
		"espra.com A 10.9.0.1; espra.com A 10.9.0.2; loop.espra.com CNAME pool.espra.com; mail.espra.com A 10.9.0.9; ns.eu.espra.com A 10.9.0.5; "+
		"pool.espra.com CNAME loop.espra.com; www.espra.com CNAME us-east.elb.amazonaws.com; "+
		"www2.espra.com CNAME www.espra.com", z.Summary())
}

func TestZoneRefused(t *testing.T) {
	const soa = "espra.com. 60 IN SOA ns1.espra.com. h.espra.com. 1 2 3 4 5\n"
	const ns = "espra.com. 60 IN NS ns1.linode.com.\n"
	for name, c := range map[string]struct{ text, want string }{
		"empty":         {"", "without an SOA"},
		"two SOAs":      {soa + soa + ns, "second SOA"},
		"no NS":         {soa, "no NS"},
		"outside":       {soa + ns + "www.example.com. 60 IN A 10.0.0.1\n", "outside"},
		"beside CNAME":  {soa + ns + "w.espra.com. 60 IN CNAME a.b.\nw.espra.com. 60 IN A 10.0.0.1\n", "CNAME and other"},
		"two CNAMEs":    {soa + ns + "w.espra.com. 60 IN CNAME a.b.\nw.espra.com. 60 IN CNAME c.b.\n", "CNAME and other"},
		"not a record":  {soa + ns + "w.espra.com. 60 IN A ten\n", "parse zone file"},
		"included file": {soa + ns + "$INCLUDE /etc/passwd\n", "parse zone file"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := dns.ParseZone(c.text, "file")
			require.ErrorContains(t, err, c.want)
		})
	}
}
