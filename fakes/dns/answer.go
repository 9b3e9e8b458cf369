package dns

import (
	"slices"
	"strings"

	"github.com/miekg/dns"
)

const (
	// maxUDP is the largest datagram sent, however much a client offers: what
	// passes everywhere without fragments (dnsflagday.net/2020).
	maxUDP = 1232
	// maxChain bounds how many CNAMEs one answer follows.
	maxChain = 8
)

// Respond answers one message as an authoritative server does, or gives nil for
// bytes that deserve no answer. With udp, the answer fits what the client can
// take and is marked truncated where it had to be cut. It has no state and may
// be called concurrently.
func (zs *Zones) Respond(packet []byte, udp bool) []byte { return zs.respond(packet, udp, nil) }

// respond has the answers spoilt by name, unless fault is nil.
func (zs *Zones) respond(packet []byte, udp bool, fault func(name string) Fault) []byte {
	query := new(dns.Msg)
	err := query.Unpack(packet)
	if query.Response || err != nil && len(packet) < 12 {
		return nil // answering answers would start a loop
	}
	reply := new(dns.Msg)
	if err != nil {
		reply.Id = query.Id
		reply.Response, reply.Opcode, reply.Rcode = true, query.Opcode, dns.RcodeFormatError
	} else {
		reply = zs.Answer(query)
		if z := zs.asked(query); z != nil && fault != nil {
			fault(strings.ToLower(query.Question[0].Name)).spoil(reply, z)
		}
	}
	size := dns.MaxMsgSize
	if udp {
		size = dns.MinMsgSize
		if opt := query.IsEdns0(); opt != nil {
			size = min(max(int(opt.UDPSize()), dns.MinMsgSize), maxUDP)
		}
	}
	reply.Truncate(size)
	out, err := reply.Pack()
	if err != nil {
		return nil
	}
	return out
}

// Answer gives the whole answer to a query, whatever its size, RFC 1034 section
// 4.3.2. The records in it are copies.
func (zs *Zones) Answer(query *dns.Msg) *dns.Msg {
	reply := new(dns.Msg)
	reply.SetReply(query)
	reply.RecursionAvailable = false
	reply.Compress = true
	if opt := query.IsEdns0(); opt != nil {
		reply.SetEdns0(maxUDP, false)
		if opt.Version() != 0 {
			reply.Rcode = dns.RcodeBadVers
			reply.IsEdns0().SetExtendedRcode(dns.RcodeBadVers)
			return reply
		}
	}
	switch {
	case query.Opcode != dns.OpcodeQuery:
		reply.Rcode = dns.RcodeNotImplemented
		return reply
	case len(query.Question) != 1:
		reply.Rcode = dns.RcodeFormatError
		return reply
	}
	q := query.Question[0]
	name := strings.ToLower(q.Name)
	z := zs.find(name)
	if q.Qtype == dns.TypeDS && z != nil && z.origin == name {
		// The parent speaks for what lies on its side of the cut.
		if above := zs.find(parent(name)); above != nil && name != "." {
			z = above
		}
	}
	transfer := q.Qtype == dns.TypeAXFR || q.Qtype == dns.TypeIXFR
	if z == nil || q.Qclass != dns.ClassINET || transfer {
		reply.Rcode = dns.RcodeRefused
		return reply
	}
	reply.Authoritative = true
	zs.resolve(reply, z, q.Name, q.Qtype)
	return reply
}

// asked gives the zone that holds what a query is about, nil for none.
func (zs *Zones) asked(query *dns.Msg) *Zone {
	if query.Opcode != dns.OpcodeQuery || len(query.Question) != 1 {
		return nil
	}
	return zs.find(strings.ToLower(query.Question[0].Name))
}

// resolve adds what is known about a name, following CNAMEs as long as this
// server speaks for their targets.
func (zs *Zones) resolve(reply *dns.Msg, z *Zone, asked string, qtype uint16) {
	for range maxChain {
		name := strings.ToLower(asked)
		if cut := z.cut(name, qtype); cut != "" {
			if len(reply.Answer) == 0 {
				reply.Authoritative = false
			}
			reply.Ns = append(reply.Ns, copies(z.nodes[cut][dns.TypeNS], "")...)
			z.addAddresses(reply, z.nodes[cut][dns.TypeNS])
			return
		}
		n, exists := z.lookup(name)
		if !exists {
			reply.Rcode = dns.RcodeNameError
			reply.Ns = append(reply.Ns, z.negative())
			return
		}
		if qtype == dns.TypeANY && len(n) > 0 {
			// One small answer instead of everything, RFC 8482 section 4.2.
			reply.Answer = append(reply.Answer, &dns.HINFO{
				Hdr: dns.RR_Header{Name: asked, Rrtype: dns.TypeHINFO, Class: dns.ClassINET, Ttl: 3600},
				Cpu: "RFC8482",
			})
			return
		}
		if set := n[qtype]; len(set) > 0 {
			reply.Answer = append(reply.Answer, copies(set, asked)...)
			z.addAddresses(reply, set)
			return
		}
		set := n[dns.TypeCNAME]
		if len(set) == 0 {
			reply.Ns = append(reply.Ns, z.negative())
			return
		}
		reply.Answer = append(reply.Answer, copies(set, asked)...)
		asked = set[0].(*dns.CNAME).Target
		if z = zs.find(strings.ToLower(asked)); z == nil {
			return // the client asks elsewhere
		}
	}
}

// cut gives the owner of the delegation that hides name from this zone, or "".
func (z *Zone) cut(name string, qtype uint16) string {
	cut := ""
	for n := name; n != z.origin; n = parent(n) {
		if len(z.nodes[n][dns.TypeNS]) > 0 && !(n == name && qtype == dns.TypeDS) {
			cut = n
		}
	}
	return cut
}

// lookup gives the records of a name, those of a wildcard where the name does
// not exist (RFC 4592), and whether there is such a name.
func (z *Zone) lookup(name string) (node, bool) {
	if n, ok := z.nodes[name]; ok {
		return n, true
	}
	for name != z.origin {
		name = parent(name)
		if _, ok := z.nodes[name]; ok {
			n, ok := z.nodes["*."+strings.TrimPrefix(name, ".")]
			return n, ok
		}
	}
	return nil, false
}

// addAddresses adds the addresses, as far as this zone holds them, of the hosts
// that a record set names.
func (z *Zone) addAddresses(reply *dns.Msg, set []dns.RR) {
	var seen []string
	for _, rr := range set {
		var host string
		switch rr := rr.(type) {
		case *dns.NS:
			host = rr.Ns
		case *dns.MX:
			host = rr.Mx
		case *dns.SRV:
			host = rr.Target
		}
		host = strings.ToLower(host)
		if host == "" || slices.Contains(seen, host) {
			continue
		}
		seen = append(seen, host)
		for _, t := range []uint16{dns.TypeA, dns.TypeAAAA} {
			reply.Extra = append(reply.Extra, copies(z.nodes[host][t], "")...)
		}
	}
}

// copies gives copies of records, owned by the name as it was asked for: a
// client may check that its own spelling comes back.
func copies(set []dns.RR, owner string) []dns.RR {
	out := make([]dns.RR, len(set))
	for i, rr := range set {
		out[i] = dns.Copy(rr)
		if owner != "" {
			out[i].Header().Name = owner
		}
	}
	return out
}
