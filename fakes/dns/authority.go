package dns

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"

	"github.com/espra/protoplex/nodes"
)

const (
	maxStreams   = 128              // TCP connections served at once
	maxPerStream = 256              // queries on one of them
	streamTime   = 30 * time.Second // life of one of them
)

// Authority serves a set of zones over UDP and TCP. The set may be replaced at
// any time; each query sees one set. An Authority may be used concurrently.
type Authority struct {
	m       nodes.Machine
	zones   atomic.Pointer[Zones]
	setting sync.Mutex // one Set at a time, so that the log tells the order
	streams atomic.Int32
	faults  Faults
}

// NewAuthority makes an authority for no zones.
func NewAuthority(m nodes.Machine) *Authority {
	a := &Authority{m: m}
	a.zones.Store(NewZones())
	return a
}

// respond answers one message; see [Zones.Respond].
func (a *Authority) respond(packet []byte, udp bool) []byte {
	if a.faults.Answer == nil {
		return a.Zones().Respond(packet, udp)
	}
	return a.Zones().respond(packet, udp, func(name string) Fault { return a.faults.Answer(a.m.Host().Name, name) })
}

// Zones gives the set being served.
func (a *Authority) Zones() *Zones { return a.zones.Load() }

// Set replaces the zones being served and logs each zone that is new, changed
// or gone.
func (a *Authority) Set(zones *Zones) {
	a.setting.Lock()
	defer a.setting.Unlock()
	before := a.zones.Swap(zones)
	for _, z := range zones.All() {
		if old := before.byOrigin[z.origin]; old == nil || old.Text() != z.Text() {
			a.m.Log().Info("zone served", "zone", z.origin, "serial", z.Serial(), "records", z.Summary())
		}
	}
	for _, z := range before.All() {
		if zones.byOrigin[z.origin] == nil {
			a.m.Log().Info("zone dropped", "zone", z.origin, "serial", z.Serial())
		}
	}
}

// ServeUDP answers datagrams, one after the other, until ctx ends or the socket
// fails. It owns pc.
func (a *Authority) ServeUDP(ctx context.Context, pc net.PacketConn) error {
	defer pc.Close()
	stop := context.AfterFunc(ctx, func() { pc.Close() })
	defer stop()
	buf := make([]byte, 4096) // longer queries come out cut, and are malformed
	for {
		n, from, err := pc.ReadFrom(buf)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("read query: %w", err)
		}
		reply := a.respond(buf[:n], true)
		if reply == nil {
			continue
		}
		if _, err := pc.WriteTo(reply, from); err != nil && ctx.Err() == nil {
			// One client out of reach is no reason to stop serving the others.
			a.m.Log().Debug("answer not sent", "to", from.String(), "error", err.Error())
		}
	}
}

// ServeTCP answers queries on streams, RFC 7766, until ctx ends or the listener
// fails. It owns l.
func (a *Authority) ServeTCP(ctx context.Context, l net.Listener) error {
	defer l.Close()
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		conn, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("accept: %w", err)
		}
		if a.streams.Add(1) > maxStreams {
			a.streams.Add(-1)
			conn.Close()
			continue
		}
		wg.Go(func() {
			defer a.streams.Add(-1)
			a.serveStream(ctx, conn)
		})
	}
}

func (a *Authority) serveStream(ctx context.Context, conn net.Conn) {
	ctx, cancel := nodes.Timeout(ctx, a.m, "dns stream "+conn.RemoteAddr().String(), streamTime)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	defer conn.Close()
	for range maxPerStream {
		var length [2]byte
		if _, err := io.ReadFull(conn, length[:]); err != nil {
			return
		}
		packet := make([]byte, binary.BigEndian.Uint16(length[:]))
		if _, err := io.ReadFull(conn, packet); err != nil {
			return
		}
		reply := a.respond(packet, false)
		if reply == nil || len(reply) > dns.MaxMsgSize {
			return
		}
		framed := binary.BigEndian.AppendUint16(nil, uint16(len(reply)))
		if _, err := conn.Write(append(framed, reply...)); err != nil {
			return
		}
	}
}

// listen opens a port for both. Port 0 is one that is free for datagrams, and by
// chance taken for streams: then another one is tried.
func listen(m nodes.Machine, address string) (pc net.PacketConn, l net.Listener, err error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	tries := 1
	if port == "0" {
		tries = 16
	}
	for range tries {
		pc, err = m.ListenPacket("udp", address)
		if err != nil {
			return nil, nil, fmt.Errorf("listen on udp %s: %w", address, err)
		}
		both := address
		if port == "0" {
			_, chosen, err := net.SplitHostPort(pc.LocalAddr().String())
			if err != nil {
				return nil, nil, errors.Join(fmt.Errorf("listen on udp %s: %w", address, err), pc.Close())
			}
			both = net.JoinHostPort(host, chosen)
		}
		if l, err = m.Listen("tcp", both); err == nil {
			return pc, l, nil
		}
		err = errors.Join(fmt.Errorf("listen on tcp %s: %w", both, err), pc.Close())
	}
	return nil, nil, err
}
