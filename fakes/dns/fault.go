package dns

import (
	"context"
	"time"

	"github.com/miekg/dns"

	"github.com/espra/protoplex/nodes"
)

// Fault is what an authority says instead of the truth.
type Fault int

// The faults of answers.
const (
	NoFault       Fault = iota
	ServerFailure       // SERVFAIL
	NameError           // NXDOMAIN: there is no such name
	NoRecords           // the name is known, and has no records of any type
	Refusal             // REFUSED: this server does not speak for the zone
)

// Faults are what is wrong with name servers. Its functions may be called
// concurrently and must not wait; without them all is well.
type Faults struct {
	// Answer says what is wrong with a server's answer to a question about a name of
	// its zones, in small letters and fully qualified.
	Answer func(server, name string) Fault
	// Lag is how much longer than usual a server takes to serve what it has just
	// seen of a provider's feed.
	Lag func(server string) time.Duration
}

// lag is that of a server.
func (f Faults) lag(server string) time.Duration {
	if f.Lag == nil {
		return 0
	}
	return f.Lag(server)
}

// Authority is [RunAuthority] with faults.
func (f Faults) Authority(ctx context.Context, m nodes.Machine, args []string) error {
	return runAuthority(ctx, m, args, f)
}

// Cloud is [RunCloud] with faults.
func (f Faults) Cloud(ctx context.Context, m nodes.Machine, args []string) error {
	return runCloud(ctx, m, args, f)
}

// spoil puts a fault into an answer that was right. What denies something says
// for how long, as the zone does.
func (f Fault) spoil(reply *dns.Msg, z *Zone) {
	if f == NoFault {
		return
	}
	reply.Answer, reply.Ns, reply.Rcode = nil, nil, dns.RcodeSuccess
	opt := reply.IsEdns0()
	if reply.Extra = nil; opt != nil {
		reply.Extra = []dns.RR{opt}
	}
	switch f {
	case ServerFailure:
		reply.Authoritative, reply.Rcode = false, dns.RcodeServerFailure
	case Refusal:
		reply.Authoritative, reply.Rcode = false, dns.RcodeRefused
	case NameError:
		reply.Authoritative, reply.Rcode = true, dns.RcodeNameError
		reply.Ns = []dns.RR{z.negative()}
	case NoRecords:
		reply.Authoritative = true
		reply.Ns = []dns.RR{z.negative()}
	}
}
