package names

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"
)

const (
	// udpSize is the longest datagram asked for and sent: what passes
	// everywhere without fragments (dnsflagday.net/2020).
	udpSize = 1232
	// maxNoise is how many datagrams that are no answer to the question are
	// skipped before it is asked over TCP, which is harder to forge.
	maxNoise = 8
	// headerSize is the length of the part that every message has.
	headerSize = 12
)

var (
	errNotAnAnswer = errors.New("not an answer to the question")
	errNoise       = errors.New("too many datagrams that do not answer the question")
)

func newQuery(id uint16, name string, qtype uint16, recurse bool) *dns.Msg {
	q := &dns.Msg{
		MsgHdr:   dns.MsgHdr{Id: id, RecursionDesired: recurse},
		Question: []dns.Question{{Name: name, Qtype: qtype, Qclass: dns.ClassINET}},
	}
	return q.SetEdns0(udpSize, false)
}

// exchange puts a query to one server and returns the answer to it, which may
// have any response code. It tries UDP, then TCP if the answer was cut short,
// and waits at most timeout for each.
func exchange(ctx context.Context, host Host, server netip.AddrPort, query *dns.Msg, timeout time.Duration) (*dns.Msg, error) {
	reply, err := exchangeOver(ctx, host, "udp", server, query, timeout)
	if errors.Is(err, errNoise) || err == nil && reply.Truncated {
		reply, err = exchangeOver(ctx, host, "tcp", server, query, timeout)
	}
	return reply, err
}

func exchangeOver(ctx context.Context, host Host, network string, server netip.AddrPort, query *dns.Msg, timeout time.Duration) (_ *dns.Msg, err error) {
	wire, err := query.Pack()
	if err != nil {
		return nil, fmt.Errorf("pack the query: %w", err)
	}
	q := query.Question[0]
	what := network + "/" + server.String() + "/" + question(q.Name, q.Qtype)
	ctx, cancel := context.WithTimeout(ctx, timeout+shift(host, what, uint64(query.Id)))
	defer cancel()
	defer func() {
		switch {
		case err == nil:
		case ctx.Err() != nil:
			err = fmt.Errorf("%s %s: %w", network, server, ctx.Err()) // rather than the broken read
		default:
			err = fmt.Errorf("%s %s: %w", network, server, err)
		}
	}()

	conn, err := host.DialContext(ctx, network, server.String())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	// One timer ends all that follows: a deadline of the connection beside the
	// one of ctx would end at the same instant.
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()

	if network == "tcp" {
		if err := writeFrame(conn, wire); err != nil {
			return nil, err
		}
		answer, err := readFrame(conn)
		if err != nil {
			return nil, err
		}
		reply, err := parseReply(query, answer)
		if err == nil && reply.Truncated {
			return nil, errors.New("truncated over tcp")
		}
		return reply, err
	}
	if _, err := conn.Write(wire); err != nil {
		return nil, err
	}
	buf := make([]byte, 4096) // more than asked for: some servers do not heed it
	for range maxNoise {
		n, err := conn.Read(buf)
		if err != nil {
			return nil, err
		}
		reply, err := parseReply(query, buf[:n])
		if err == nil {
			return reply, nil
		}
	}
	return nil, errNoise
}

// parseReply reads what arrived in answer to a query. It accepts only a reply
// with the query's id and question; anything else may be an attempt to forge
// one, and the true answer may still come.
func parseReply(query *dns.Msg, wire []byte) (*dns.Msg, error) {
	if len(wire) < headerSize {
		return nil, errNotAnAnswer
	}
	reply := new(dns.Msg)
	err := reply.Unpack(wire)
	if err != nil && !reply.Truncated {
		return nil, fmt.Errorf("malformed message: %w", err)
	}
	if reply.Id != query.Id || !reply.Response || reply.Opcode != dns.OpcodeQuery {
		return nil, errNotAnAnswer
	}
	asked := query.Question[0]
	switch {
	case len(reply.Question) == 0 && (reply.Rcode == dns.RcodeFormatError || reply.Rcode == dns.RcodeNotImplemented):
		// A server that could not read the question cannot repeat it.
	case len(reply.Question) != 1:
		return nil, errNotAnAnswer
	default:
		q := reply.Question[0]
		if q.Qtype != asked.Qtype || q.Qclass != asked.Qclass || !strings.EqualFold(q.Name, asked.Name) {
			return nil, errNotAnAnswer
		}
	}
	if reply.Truncated {
		// Possibly cut in the middle of a record: none of it is used.
		reply.Answer, reply.Ns, reply.Extra = nil, nil, nil
	}
	return reply, nil
}

// question names a question in log lines and as a key.
func question(name string, qtype uint16) string {
	return dns.CanonicalName(name) + " " + dns.Type(qtype).String()
}

// Over TCP each message follows its length in two bytes, RFC 1035 section 4.2.2.

func writeFrame(w io.Writer, wire []byte) error {
	if len(wire) > dns.MaxMsgSize {
		return errors.New("message too long")
	}
	frame := binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(wire)), uint16(len(wire)))
	_, err := w.Write(append(frame, wire...))
	return err
}

func readFrame(r io.Reader) ([]byte, error) {
	var size [2]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	wire := make([]byte, binary.BigEndian.Uint16(size[:]))
	_, err := io.ReadFull(r, wire)
	return wire, err
}
