package dns

import (
	"context"

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

// Faults says what is wrong with a server's answer to a question about a name of
// its zones, in small letters and fully qualified; nil says that all is well. It
// may be called concurrently and must not wait.
type Faults func(server, name string) Fault

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
