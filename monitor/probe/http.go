package probe

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"

	"github.com/espra/protoplex/nodes"
)

// maxBody bounds how much of a body is read and searched. The rest of maxRead
// is for the header and TLS.
const maxBody = 64 << 10

// maxInformational bounds the answers that come before the final one (RFC
// 9110, section 15.2).
const maxInformational = 8

// webOptions say what an HTTP or HTTPS probe asks.
type webOptions struct {
	url      *url.URL // its host goes into Host, and into ServerName for https
	connect  string   // host:port to connect to instead of the URL's host, such as a load balancer; may be empty
	status   int      // wanted
	contains string   // wanted in the body; may be empty
	// sign adds what a request needs beside; may be nil.
	sign func(*http.Request) error
}

// get sends one GET and wants the status, and perhaps a text. It never follows
// redirects: a redirect is an answer, and may be the wanted one.
func (l *look) get(ctx context.Context, o webOptions) error {
	raw, err := l.dial(ctx, o.endpoint())
	if err != nil {
		return err
	}
	var conn net.Conn = raw
	defer func() { conn.Close() }()
	if o.url.Scheme == "https" {
		secure, err := l.secure(ctx, raw, o.url.Hostname())
		if err != nil {
			return err
		}
		conn = secure
	}
	var resp *http.Response
	err = l.talk(ctx, FirstByte, raw, func() error {
		resp, err = o.exchange(conn)
		return err
	})
	if err != nil {
		return err
	}
	var body []byte
	err = l.talk(ctx, Body, raw, func() error {
		body, err = io.ReadAll(io.LimitReader(resp.Body, maxBody))
		return err
	})
	if resp.StatusCode != o.status {
		return failf("status %d, want %d%s", resp.StatusCode, o.status, reason(body))
	}
	if err != nil {
		return err
	}
	if !bytes.Contains(body, []byte(o.contains)) {
		if len(body) == maxBody {
			return failf("the first %d KiB of the body do not contain %.40q", maxBody>>10, o.contains)
		}
		return failf("the body does not contain %.40q", o.contains)
	}
	return nil
}

// endpoint says where to connect.
func (o webOptions) endpoint() string {
	if o.connect != "" {
		return o.connect
	}
	port := o.url.Port()
	switch {
	case port != "":
	case o.url.Scheme == "https":
		port = "443"
	default:
		port = "80"
	}
	return net.JoinHostPort(o.url.Hostname(), port)
}

// exchange speaks HTTP/1.1 over a connection that serves this one request. A
// transport would keep two goroutines and its own opinion on when to close.
func (o webOptions) exchange(conn net.Conn) (*http.Response, error) {
	req := &http.Request{Method: http.MethodGet, URL: o.url, Host: o.url.Host, Close: true, Header: http.Header{
		"User-Agent": {"protoplex-monitor"}, "Accept": {"*/*"},
	}}
	if o.sign != nil {
		if err := o.sign(req); err != nil {
			return nil, err
		}
	}
	if err := req.Write(conn); err != nil {
		return nil, fmt.Errorf("write request: %w", err)
	}
	r := bufio.NewReader(conn)
	for range maxInformational {
		resp, err := http.ReadResponse(r, req)
		if err != nil {
			return nil, fmt.Errorf("read answer: %w", err)
		}
		if resp.StatusCode >= 200 {
			return resp, nil
		}
	}
	return nil, failf("%d informational answers and no final one", maxInformational)
}

// web makes a probe that sends one GET.
func web(m nodes.Machine, name string, o Options, w webOptions) Probe {
	return func(ctx context.Context, _ uint64) Result {
		l := o.look(m, name)
		return l.result(l.get(ctx, w))
	}
}
