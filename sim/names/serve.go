package names

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/miekg/dns"
)

const (
	maxQuerySize  = 4096             // bytes; a question needs 300
	clientIdle    = 10 * time.Second // patience with a TCP client
	maxPipelined  = 100              // questions over one TCP connection
	acceptRespite = 50 * time.Millisecond
)

// Serve makes a resolver and runs it; see [New] and [Resolver.Serve].
func Serve(ctx context.Context, host Host, opts Options) error {
	r, err := New(host, opts)
	if err != nil {
		return err
	}
	return r.Serve(ctx)
}

// Serve answers clients over UDP and TCP until ctx ends, which is no error. It
// returns when all that it started has ended.
func (r *Resolver) Serve(ctx context.Context) error {
	packets, err := r.host.ListenPacket("udp", r.opts.Listen)
	if err != nil {
		return fmt.Errorf("names: listen for datagrams: %w", err)
	}
	defer packets.Close()
	streams, err := r.host.Listen("tcp", r.opts.Listen)
	if err != nil {
		return fmt.Errorf("names: listen for streams: %w", err)
	}
	defer streams.Close()

	// The first side that fails ends the other.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() { packets.Close(); streams.Close() })()
	var sides sync.WaitGroup
	var udp, tcp error
	sides.Go(func() { defer cancel(); udp = r.serveUDP(ctx, packets) })
	sides.Go(func() { defer cancel(); tcp = r.serveTCP(ctx, streams) })
	sides.Wait()
	return errors.Join(udp, tcp)
}

func (r *Resolver) serveUDP(ctx context.Context, conn net.PacketConn) error {
	var clients sync.WaitGroup
	defer clients.Wait()
	room := make(chan struct{}, r.opts.MaxClients)
	buf := make([]byte, maxQuerySize)
	errorsInRow := 0
	for n := uint64(0); ; n++ {
		size, from, err := conn.ReadFrom(buf)
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return ended(ctx, "datagrams", err)
			}
			// A client that left makes one error, which must not delay the others;
			// more may be a lack that passes.
			if errorsInRow++; errorsInRow > 1 && !pause(ctx, acceptRespite+shift(r.host, "udp", n)) {
				return nil
			}
			continue
		}
		errorsInRow = 0
		query := parseQuery(buf[:size])
		if query == nil {
			continue
		}
		select {
		case room <- struct{}{}:
		default:
			continue // too busy: the client will ask again
		}
		clients.Go(func() {
			defer func() { <-room }()
			reply := r.answer(ctx, query, from.String())
			limit := dns.MinMsgSize
			if opt := query.IsEdns0(); opt != nil {
				limit = min(max(int(opt.UDPSize()), dns.MinMsgSize), udpSize)
			}
			if wire := pack(reply, limit); wire != nil && ctx.Err() == nil {
				conn.WriteTo(wire, from) // a datagram may be lost in any case
			}
		})
	}
}

func (r *Resolver) serveTCP(ctx context.Context, l net.Listener) error {
	var clients sync.WaitGroup
	defer clients.Wait()
	room := make(chan struct{}, r.opts.MaxClients)
	for n := uint64(0); ; n++ {
		conn, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return ended(ctx, "streams", err)
			}
			if !pause(ctx, acceptRespite+shift(r.host, "tcp", n)) {
				return nil
			}
			continue
		}
		select {
		case room <- struct{}{}:
		default:
			conn.Close()
			continue
		}
		clients.Go(func() {
			defer func() { <-room }()
			defer conn.Close()
			defer context.AfterFunc(ctx, func() { conn.Close() })()
			r.serveStream(ctx, conn)
		})
	}
}

// serveStream answers the questions of one client in order.
func (r *Resolver) serveStream(ctx context.Context, conn net.Conn) {
	from := conn.RemoteAddr().String()
	for n := range uint64(maxPipelined) {
		conn.SetReadDeadline(time.Now().Add(clientIdle + shift(r.host, "client/"+from, n)))
		wire, err := readFrame(conn)
		if err != nil {
			return // gone or silent
		}
		if len(wire) > maxQuerySize {
			return
		}
		query := parseQuery(wire)
		if query == nil {
			return
		}
		reply := pack(r.answer(ctx, query, from), dns.MaxMsgSize)
		if reply == nil {
			return
		}
		conn.SetWriteDeadline(time.Now().Add(clientIdle + shift(r.host, "reply/"+from, n)))
		if err := writeFrame(conn, reply); err != nil {
			return
		}
	}
}

func ended(ctx context.Context, what string, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("names: receive %s: %w", what, err)
}

// parseQuery reads a client's message. It gives nil for what deserves no
// answer: noise, and answers, to which answering would start a loop. A message
// that cannot be read further than its header comes back without a question.
func parseQuery(wire []byte) *dns.Msg {
	if len(wire) < headerSize {
		return nil
	}
	query := new(dns.Msg)
	if err := query.Unpack(wire); err != nil {
		query.Question, query.Answer, query.Ns, query.Extra = nil, nil, nil, nil
	}
	if query.Response {
		return nil
	}
	return query
}

func pack(reply *dns.Msg, limit int) []byte {
	reply.Compress = true
	reply.Truncate(limit)
	wire, err := reply.Pack()
	if err != nil {
		// Records that were read but cannot be written: say at least that.
		failure := new(dns.Msg)
		failure.SetRcode(reply, dns.RcodeServerFailure)
		if wire, err = failure.Pack(); err != nil {
			return nil
		}
	}
	return wire
}
