// Package query asks one DNS server one question, over a Machine's network.
//
// It promises fresh answers: no cache, no resolver in between, UDP first and
// TCP when the answer was truncated. What may fail: the server is silent
// (context errors), refuses (a response code, left to the caller), or sends
// something that is no answer to the question. Start at Ask.
package query

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/espra/protoplex/nodes"
)

// maxDatagram is what we offer and accept over UDP (RFC 6891, the size that
// the DNS flag day of 2020 settled on avoids fragments).
const maxDatagram = 1232

// maxStray bounds the datagrams that are not our answer and are skipped.
const maxStray = 8

// Question is what to ask, of whom.
type Question struct {
	Server  string        // host:port
	Name    string        // with or without the final dot
	Type    uint16        // dns.TypeTXT and so on
	Timeout time.Duration // of one try; there are two over UDP, then perhaps one over TCP
	N       uint64        // counts the questions of this caller, so that each has its own id
}

// ErrNoAnswer is returned when the server sent nothing that answers the question.
var ErrNoAnswer = errors.New("query: no answer")

// Ask sends the question and gives the server's answer, whatever its response
// code. Several may be under way at once.
func Ask(ctx context.Context, m nodes.Machine, q Question) (*dns.Msg, error) {
	msg := new(dns.Msg)
	msg.SetQuestion(dns.Fqdn(q.Name), q.Type)
	msg.RecursionDesired = false
	msg.SetEdns0(maxDatagram, false)
	label := "dns " + q.Server + " " + q.Name + " " + strconv.Itoa(int(q.Type))
	msg.Id = uint16(m.Rand(label, q.N))
	packed, err := msg.Pack()
	if err != nil {
		return nil, fmt.Errorf("query: pack: %w", err)
	}

	var answer *dns.Msg
	// A lost datagram must not look like a dead server, so UDP gets two tries.
	for try := range 2 {
		answer, err = exchange(ctx, m, label+" try "+strconv.Itoa(try), "udp", q, msg, packed)
		if err == nil || ctx.Err() != nil {
			break
		}
	}
	if err == nil && answer.Truncated {
		answer, err = exchange(ctx, m, label+" tcp", "tcp", q, msg, packed)
	}
	if err != nil {
		return nil, fmt.Errorf("query: %s %s at %s: %w", dns.TypeToString[q.Type], q.Name, q.Server, err)
	}
	return answer, nil
}

func exchange(ctx context.Context, m nodes.Machine, label, network string, q Question, msg *dns.Msg, packed []byte) (*dns.Msg, error) {
	ctx, cancel := nodes.Timeout(ctx, m, label, q.Timeout)
	defer cancel()
	conn, err := m.DialContext(ctx, network, q.Server)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	done := make(chan struct{})
	defer close(done)
	go func() { // ends the reads below when time is up
		select {
		case <-ctx.Done():
			conn.Close()
		case <-done:
		}
	}()
	answer, err := converse(conn, network, msg, packed)
	if err != nil && ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return answer, err
}

func converse(conn net.Conn, network string, msg *dns.Msg, packed []byte) (*dns.Msg, error) {
	if network == "tcp" {
		framed := binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(packed)), uint16(len(packed)))
		if _, err := conn.Write(append(framed, packed...)); err != nil {
			return nil, fmt.Errorf("write: %w", err)
		}
		var size [2]byte
		if _, err := io.ReadFull(conn, size[:]); err != nil {
			return nil, fmt.Errorf("read: %w", err)
		}
		b := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(conn, b); err != nil {
			return nil, fmt.Errorf("read: %w", err)
		}
		if answer, ok := parse(b, msg); ok {
			return answer, nil
		}
		return nil, ErrNoAnswer
	}
	if _, err := conn.Write(packed); err != nil {
		return nil, fmt.Errorf("write: %w", err)
	}
	b := make([]byte, 4096)
	for range maxStray {
		n, err := conn.Read(b)
		if err != nil {
			return nil, fmt.Errorf("read: %w", err)
		}
		if answer, ok := parse(b[:n], msg); ok {
			return answer, nil
		}
	}
	return nil, ErrNoAnswer
}

// parse accepts only an answer to our question: anybody can send datagrams.
func parse(b []byte, asked *dns.Msg) (*dns.Msg, bool) {
	answer := new(dns.Msg)
	if err := answer.Unpack(b); err != nil {
		return nil, false
	}
	if !answer.Response || answer.Id != asked.Id || len(answer.Question) != 1 {
		return nil, false
	}
	got, want := answer.Question[0], asked.Question[0]
	ok := got.Qtype == want.Qtype && got.Qclass == want.Qclass && strings.EqualFold(got.Name, want.Name)
	return answer, ok
}
