package dns_test

import (
	"strings"
	"sync/atomic"
	"testing"

	mdns "github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/fakes/dns"
	"github.com/espra/protoplex/fakes/internal/desk"
)

// A fault spoils the answers about the names that it is about, over datagrams and
// streams alike, until it is over.
func TestFaults(t *testing.T) {
	var fault atomic.Int32
	faults := dns.Faults{Answer: func(server, name string) dns.Fault {
		if server == "" || !strings.HasPrefix(name, "mail.") {
			return dns.NoFault
		}
		return dns.Fault(fault.Load())
	}}
	d := desk.New(t, "127.0.0.1")
	d.WriteFile(t, "/espra.zone", []byte(espraZone))
	d.Run(t, faults.Authority, "--listen", ":0", "--zonefile", "/espra.zone")
	server := address(t, d)
	const (
		right = "NOERROR aa=true\nMail.espra.com. 60 IN A 10.9.0.9\n"
		soa   = "auth espra.com. 30 IN SOA ns1.linode.com. hostmaster.espra.com. 7 14400 3600 604800 30\n"
	)
	for _, c := range []struct {
		fault dns.Fault
		want  string
	}{
		{dns.ServerFailure, "SERVFAIL aa=false\n"},
		{dns.NameError, "NXDOMAIN aa=true\n" + soa},
		{dns.NoRecords, "NOERROR aa=true\n" + soa},
		{dns.Refusal, "REFUSED aa=false\n"},
		{dns.NoFault, right},
	} {
		fault.Store(int32(c.fault))
		for _, network := range []string{"udp", "tcp"} {
			require.Equal(t, c.want, ask(t, network, server, "Mail.espra.com.", mdns.TypeA))
			require.Contains(t, ask(t, network, server, "espra.com.", mdns.TypeMX), "NOERROR")
		}
	}
	require.Equal(t, "REFUSED aa=false\n", ask(t, "udp", server, "mail.example.", mdns.TypeA), "not of its zones")
}

// The cloud's name server has them too.
func TestFaultsOfTheCloud(t *testing.T) {
	d := desk.New(t, "127.0.0.1")
	faults := dns.Faults{Answer: func(_, name string) dns.Fault {
		if name == "us-east.elb.amazonaws.com." {
			return dns.NoRecords
		}
		return dns.NoFault
	}}
	d.Run(t, faults.Cloud, "--listen", ":0", "--lb", "us-east=10.1.0.9@us-east-a", "--lb", "eu-west=10.2.0.9@eu-west-a")
	server := address(t, d)
	require.Regexp(t, "^NOERROR aa=true\nauth ", ask(t, "udp", server, "us-east.elb.amazonaws.com.", mdns.TypeA))
	require.Regexp(t, "^NOERROR aa=true\neu-west", ask(t, "udp", server, "eu-west.elb.amazonaws.com.", mdns.TypeA))
}
