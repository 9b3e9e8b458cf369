package names

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"
)

// network is an Internet in memory, for use in a synctest bubble: datagrams
// arrive after half a round trip, and each server answers by a function.
type network struct {
	mu        sync.Mutex
	servers   map[netip.AddrPort]*authority
	sockets   map[netip.AddrPort]*socket
	listeners map[netip.AddrPort]*listener
	nextPort  uint16
	trace     []string
	forge     func(n *network, query []byte, from, to netip.AddrPort)
}

// authority is an authoritative server. Answer gives the reply, nil for none.
type authority struct {
	answer  func(q *dns.Msg, tcp bool) *dns.Msg
	latency time.Duration // of a round trip
	dead    bool
	asked   []string
}

func newNetwork() *network {
	return &network{
		servers: map[netip.AddrPort]*authority{}, sockets: map[netip.AddrPort]*socket{},
		listeners: map[netip.AddrPort]*listener{}, nextPort: 20000,
	}
}

func (n *network) serve(addr string, answer func(q *dns.Msg, tcp bool) *dns.Msg) *authority {
	a := &authority{answer: answer, latency: 20 * time.Millisecond}
	n.servers[netip.AddrPortFrom(netip.MustParseAddr(addr), 53)] = a
	return a
}

func hash(parts ...string) uint64 {
	h := fnv.New64a()
	for _, p := range parts {
		fmt.Fprintf(h, "%s\x00", p)
	}
	x := h.Sum64()
	return x ^ x>>29
}

// send delivers a datagram later, at a nanosecond of its own.
func (n *network) send(payload []byte, from, to netip.AddrPort, delay time.Duration) {
	payload = slices.Clone(payload)
	delay += time.Duration(hash(from.String(), to.String(), string(payload)) % 1000)
	time.AfterFunc(delay, func() {
		n.mu.Lock()
		s, ok := n.sockets[to]
		n.mu.Unlock()
		if ok && (!s.peer.IsValid() || s.peer == from) {
			select {
			case s.inbox <- datagram{payload, from}:
			default:
			}
		}
	})
}

// deliver takes a datagram from a host to wherever it is addressed.
func (n *network) deliver(payload []byte, from, to netip.AddrPort) {
	n.mu.Lock()
	n.trace = append(n.trace, fmt.Sprintf("%d %s %s %x", time.Now().UnixNano(), from, to, payload))
	a := n.servers[to]
	forge := n.forge
	n.mu.Unlock()
	if forge != nil {
		forge(n, payload, from, to)
	}
	if a == nil {
		n.send(payload, from, to, time.Millisecond)
		return
	}
	if reply := n.ask(a, payload, false); reply != nil {
		n.send(reply, to, from, a.latency)
	}
}

func (n *network) ask(a *authority, wire []byte, tcp bool) []byte {
	q := new(dns.Msg)
	if err := q.Unpack(wire); err != nil {
		return nil
	}
	n.mu.Lock()
	kind := ""
	if tcp {
		kind = " tcp"
	}
	a.asked = append(a.asked, q.Question[0].Name+" "+dns.Type(q.Question[0].Qtype).String()+kind)
	dead := a.dead
	n.mu.Unlock()
	if dead {
		return nil
	}
	reply := a.answer(q, tcp)
	if reply == nil {
		return nil
	}
	wire, err := reply.Pack()
	if err != nil {
		panic(err)
	}
	return wire
}

// questions gives what the server was asked since the last call.
func (n *network) questions(a *authority) []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	asked := a.asked
	a.asked = nil
	return asked
}

type memHost struct {
	net  *network
	addr netip.Addr
}

func (n *network) host(addr string) memHost { return memHost{n, netip.MustParseAddr(addr)} }

func (h memHost) Rand(name string, n uint64) uint64 {
	return hash(h.addr.String(), name, fmt.Sprint(n))
}

func (h memHost) local(address string) netip.AddrPort {
	at := netip.MustParseAddrPort(address)
	return netip.AddrPortFrom(h.addr, at.Port())
}

func (h memHost) open(local, peer netip.AddrPort) *socket {
	s := &socket{net: h.net, local: local, peer: peer, inbox: make(chan datagram, 100), closed: make(chan struct{}), wake: make(chan struct{})}
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	if local.Port() == 0 {
		h.net.nextPort++
		s.local = netip.AddrPortFrom(h.addr, h.net.nextPort)
	}
	h.net.sockets[s.local] = s
	return s
}

func (h memHost) ListenPacket(_, address string) (net.PacketConn, error) {
	return h.open(h.local(address), netip.AddrPort{}), nil
}

func (h memHost) Listen(_, address string) (net.Listener, error) {
	l := &listener{at: h.local(address), conns: make(chan net.Conn, 10), closed: make(chan struct{})}
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	h.net.listeners[l.at] = l
	return l, nil
}

func (h memHost) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	to := netip.MustParseAddrPort(address)
	if network == "udp" {
		return h.open(netip.AddrPortFrom(h.addr, 0), to), nil
	}
	h.net.mu.Lock()
	a, l := h.net.servers[to], h.net.listeners[to]
	h.net.nextPort++
	from := netip.AddrPortFrom(h.addr, h.net.nextPort)
	h.net.mu.Unlock()
	if !pause(ctx, 20*time.Millisecond) {
		return nil, ctx.Err()
	}
	here, there := net.Pipe()
	switch {
	case l != nil:
		l.conns <- named{there, net.TCPAddrFromAddrPort(from)}
	case a != nil:
		go func() {
			defer there.Close()
			wire, err := readFrame(there)
			if err != nil {
				return
			}
			if reply := h.net.ask(a, wire, true); reply != nil {
				time.Sleep(a.latency)
				writeFrame(there, reply)
			}
		}()
	default:
		return nil, errors.New("connection refused")
	}
	return here, nil
}

type named struct {
	net.Conn
	remote net.Addr
}

func (c named) RemoteAddr() net.Addr { return c.remote }

type datagram struct {
	payload []byte
	from    netip.AddrPort
}

// socket is a datagram socket, connected if it has a peer.
type socket struct {
	net         *network
	local, peer netip.AddrPort
	inbox       chan datagram
	once, late  sync.Once
	closed      chan struct{}
	wake        chan struct{}
}

func (s *socket) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case d := <-s.inbox:
		return copy(b, d.payload), net.UDPAddrFromAddrPort(d.from), nil
	case <-s.closed:
		return 0, nil, net.ErrClosed
	case <-s.wake:
		return 0, nil, os.ErrDeadlineExceeded
	}
}

func (s *socket) WriteTo(b []byte, to net.Addr) (int, error) {
	s.net.deliver(b, s.local, to.(*net.UDPAddr).AddrPort())
	return len(b), nil
}

func (s *socket) Read(b []byte) (int, error) {
	n, _, err := s.ReadFrom(b)
	return n, err
}

func (s *socket) Write(b []byte) (int, error) {
	s.net.deliver(b, s.local, s.peer)
	return len(b), nil
}

func (s *socket) Close() error {
	s.once.Do(func() {
		close(s.closed)
		s.net.mu.Lock()
		delete(s.net.sockets, s.local)
		s.net.mu.Unlock()
	})
	return nil
}

func (s *socket) LocalAddr() net.Addr  { return net.UDPAddrFromAddrPort(s.local) }
func (s *socket) RemoteAddr() net.Addr { return net.UDPAddrFromAddrPort(s.peer) }

// SetDeadline is only ever used here to break off.
func (s *socket) SetDeadline(time.Time) error {
	s.late.Do(func() { close(s.wake) })
	return nil
}
func (s *socket) SetReadDeadline(t time.Time) error  { return s.SetDeadline(t) }
func (s *socket) SetWriteDeadline(t time.Time) error { return nil }

type listener struct {
	at     netip.AddrPort
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}
func (l *listener) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *listener) Addr() net.Addr { return net.TCPAddrFromAddrPort(l.at) }

// zone answers as an authoritative server of the zones that the master-file
// texts give, each with its SOA first.
func zone(texts ...string) func(q *dns.Msg, tcp bool) *dns.Msg {
	type data struct {
		soa     *dns.SOA
		records []dns.RR
	}
	var zones []data
	for _, text := range texts {
		var d data
		p := dns.NewZoneParser(strings.NewReader(text), "", "")
		p.SetDefaultTTL(3600)
		for rr, ok := p.Next(); ok; rr, ok = p.Next() {
			d.records = append(d.records, rr)
		}
		if err := p.Err(); err != nil {
			panic(err)
		}
		d.soa = d.records[0].(*dns.SOA)
		zones = append(zones, d)
	}
	return func(q *dns.Msg, tcp bool) *dns.Msg {
		m := new(dns.Msg)
		m.SetReply(q)
		m.SetEdns0(udpSize, false)
		name, qtype := dns.CanonicalName(q.Question[0].Name), q.Question[0].Qtype
		best := -1
		for i, z := range zones {
			if dns.IsSubDomain(z.soa.Hdr.Name, name) && (best < 0 || dns.IsSubDomain(zones[best].soa.Hdr.Name, z.soa.Hdr.Name)) {
				best = i
			}
		}
		if best < 0 {
			m.Rcode = dns.RcodeRefused
			return m
		}
		z := zones[best]
		origin := z.soa.Hdr.Name
		find := func(owner string, rtype uint16) (found []dns.RR, exists bool) {
			for _, rr := range z.records {
				if rr.Header().Name == owner && rr.Header().Rrtype == rtype {
					found = append(found, dns.Copy(rr))
				}
				exists = exists || dns.IsSubDomain(owner, rr.Header().Name)
			}
			return found, exists
		}
		for at := name; at != origin; at = parent(at) {
			if ns, _ := find(at, dns.TypeNS); len(ns) > 0 {
				m.Ns = ns
				for _, rr := range ns {
					glue, _ := find(rr.(*dns.NS).Ns, dns.TypeA)
					m.Extra = append(m.Extra, glue...)
				}
				return m
			}
		}
		m.Authoritative = true
		for at := name; ; {
			found, exists := find(at, qtype)
			alias, _ := find(at, dns.TypeCNAME)
			switch {
			case len(found) > 0:
				m.Answer = append(m.Answer, found...)
				m.Ns, _ = find(origin, dns.TypeNS)
			case len(alias) > 0:
				m.Answer = append(m.Answer, alias...)
				if at = alias[0].(*dns.CNAME).Target; dns.IsSubDomain(origin, at) && len(m.Answer) < 20 {
					continue
				}
			case exists:
				m.Ns = []dns.RR{z.soa}
			default:
				m.Rcode = dns.RcodeNameError
				m.Ns = []dns.RR{z.soa}
			}
			break
		}
		size := dns.MinMsgSize
		if opt := q.IsEdns0(); opt != nil {
			size = int(opt.UDPSize())
		}
		if tcp {
			size = dns.MaxMsgSize
		}
		m.Compress = true
		m.Truncate(size)
		return m
	}
}

// world is the network with a root, com, and what each test adds.
type world struct {
	*network
	t         *testing.T
	root, com *authority
}

const (
	rootZone = `. SOA a.root. host. 1 1 1 1 60
com. 172800 NS a.gtld.com.
a.gtld.com. A 192.0.2.2
`
	comZone = `com. SOA a.gtld.com. host. 1 1 1 1 60
com. NS a.gtld.com.
a.gtld.com. A 192.0.2.2
espra.com. 172800 NS ns1.linode.com.
espra.com. 172800 NS ns1.ocean.com.
linode.com. NS ns1.linode.com.
ocean.com. NS ns1.ocean.com.
ns1.linode.com. A 192.0.2.11
ns1.ocean.com. A 192.0.2.12
amazon.com. NS ns.amazon.com.
ns.amazon.com. A 192.0.2.20
`
	espraZone = `espra.com. SOA ns1.linode.com. host. 1 1 1 1 30
espra.com. NS ns1.linode.com.
espra.com. NS ns1.ocean.com.
espra.com. 60 A 203.0.113.1
espra.com. 60 A 203.0.113.2
www.espra.com. 60 CNAME us-east.elb.amazon.com.
_home.www.espra.com. 60 TXT "v=home1 region=us-east " "epoch=1"
alias.espra.com. 60 CNAME espra.com.
loop.espra.com. 60 CNAME pool.espra.com.
pool.espra.com. 60 CNAME loop.espra.com.
`
	amazonZone = `amazon.com. SOA ns.amazon.com. host. 1 1 1 1 30
us-east.elb.amazon.com. 60 A 198.51.100.7
us-east.elb.amazon.com. 60 A 198.51.100.8
`
)

func inWorld(t *testing.T, f func(*testing.T, *world)) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{network: newNetwork(), t: t}
		w.root = w.serve("192.0.2.1", zone(rootZone))
		w.com = w.serve("192.0.2.2", zone(comZone))
		f(t, w)
	})
}

// resolver runs a resolver on 10.0.0.53 and gives a stub on another host that
// asks it.
func (w *world) resolver(opts Options) (*Resolver, Stub) {
	opts.Listen = "0.0.0.0:53"
	opts.Roots = []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:53")}
	r, err := New(w.host("10.0.0.53"), opts)
	require.NoError(w.t, err)
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Serve(ctx) }()
	w.t.Cleanup(func() {
		cancel()
		require.NoError(w.t, <-done)
	})
	synctest.Wait()
	return r, w.stub()
}

func (w *world) stub() Stub {
	return Stub{Host: w.host("10.0.0.1"), Servers: []netip.AddrPort{netip.MustParseAddrPort("10.0.0.53:53")}}
}
