package meta

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/espra/protoplex/nodes"
	"github.com/espra/protoplex/nodes/meta/ca"
)

const (
	callTime  = 15 * time.Second
	maxAnswer = 4 << 20
)

// Client talks to the meta port of one other node, as this one. Its methods may
// be called concurrently.
type Client struct {
	m       nodes.Machine
	id      *ca.Identity
	address string
	config  *tls.Config
	http    http.Client
	close   func()
}

// NewClient makes a client of the node at "host:port", which must be who is
// wanted. Nothing is dialled yet. The caller closes it.
func NewClient(m nodes.Machine, id *ca.Identity, address string, want ca.Want) *Client {
	c := &Client{m: m, id: id, address: address, config: id.ClientConfig(m.Now, want)}
	transport := &http.Transport{
		DialContext:           m.DialContext,
		TLSClientConfig:       c.config,
		TLSNextProto:          map[string]func(string, *tls.Conn) http.RoundTripper{},
		TLSHandshakeTimeout:   handshakeTime,
		ResponseHeaderTimeout: callTime,
		IdleConnTimeout:       idleTime - 30*time.Second, // before the server's
		MaxIdleConnsPerHost:   1,
		DisableCompression:    true,
	}
	c.http = http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
	c.close = transport.CloseIdleConnections
	return c
}

// Close ends idle connections. Calls and streams that run go on.
func (c *Client) Close() { c.close() }

// Call makes one request, with in as JSON unless it is nil, and reads the answer
// into out unless that is nil; a *[]byte takes it as it is. An order that the
// node refuses for its epoch gives a StaleError, any other answer but 200 a
// StatusError. Without a deadline in ctx it gives up after 15 s; after any
// other error the request may or may not have taken effect.
func (c *Client) Call(ctx context.Context, method, path string, in, out any) error {
	ctx, cancel := nodes.Timeout(ctx, c.m, "meta/call/"+c.address+path, callTime)
	defer cancel()
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("meta: encode request: %w", err)
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, "https://"+c.address+path, body)
	if err != nil {
		return fmt.Errorf("meta: %w", err)
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("meta: %w", err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return fmt.Errorf("meta: read answer: %w", err)
	}
	if len(b) > maxAnswer {
		return fmt.Errorf("meta: answer larger than %d bytes", maxAnswer)
	}
	if resp.StatusCode != http.StatusOK {
		return refused(resp.StatusCode, b)
	}
	switch out := out.(type) {
	case nil:
	case *[]byte:
		*out = b
	default:
		if err := json.Unmarshal(b, out); err != nil {
			return fmt.Errorf("meta: decode answer: %w", err)
		}
	}
	return nil
}

// refused makes an error of an answer.
func refused(status int, body []byte) error {
	var r refusal
	if json.Unmarshal(body, &r) != nil || r.Error == "" {
		r.Error = clip(strings.TrimSpace(string(body))) // of net/http itself, or health's
	}
	if status == http.StatusConflict && r.Epoch > 0 {
		return &StaleError{Epoch: r.Epoch}
	}
	return &StatusError{Status: status, Text: r.Error}
}

// Open opens a stream, which lives until Close or the end of ctx.
func (c *Client) Open(ctx context.Context, path string) (*Stream, error) {
	opening, cancel := nodes.Timeout(ctx, c.m, "meta/open/"+c.address+path, callTime)
	defer cancel()
	raw, err := c.m.DialContext(opening, "tcp", c.address)
	if err != nil {
		return nil, fmt.Errorf("meta: open stream: %w", err)
	}
	cut := context.AfterFunc(opening, func() { _ = raw.Close() })
	conn := tls.Client(raw, c.config)
	r, err := c.upgrade(opening, conn, path)
	if !cut() && err == nil {
		err = opening.Err()
	}
	if err != nil {
		_ = raw.Close()
		if opening.Err() != nil {
			err = opening.Err() // and not that the connection was closed under it
		}
		return nil, fmt.Errorf("meta: open stream: %w", err)
	}
	peer, err := ca.NameOf(conn.ConnectionState().PeerCertificates[0])
	if err != nil {
		_ = raw.Close()
		return nil, err // verified before, so it cannot be
	}
	return newStream(ctx, c.m, conn, r, peer), nil
}

func (c *Client) upgrade(ctx context.Context, conn *tls.Conn, path string) (*bufio.Reader, error) {
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+c.address+path, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", Protocol)
	if err := req.Write(conn); err != nil {
		return nil, err
	}
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		if !strings.EqualFold(resp.Header.Get("Upgrade"), Protocol) {
			return nil, errors.New("upgraded to something else")
		}
		return r, nil
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, err
	}
	return nil, refused(resp.StatusCode, body)
}
