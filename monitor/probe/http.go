package probe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/espra/protoplex/nodes"
)

// HTTPOptions says what an HTTP or HTTPS probe asks.
type HTTPOptions struct {
	Name    string         // unique among the probes of this process
	URL     *url.URL       // its host goes into Host, and into ServerName for https
	Connect string         // host:port to connect to instead of the URL's host, such as a load balancer; may be empty
	Status  int            // wanted; 0 is 200
	Roots   *x509.CertPool // nil is the system's
	Limit   time.Duration  // of each phase
}

// maxAddrs bounds how many addresses of one name are tried.
const maxAddrs = 4

// HTTP makes a probe that sends one GET and wants the status. It never follows
// redirects: a redirect is an answer, and may be the wanted one.
func HTTP(m nodes.Machine, o HTTPOptions) Probe {
	if o.Status == 0 {
		o.Status = http.StatusOK
	}
	return func(ctx context.Context, _ uint64) Result {
		c := &clock{m: m}
		return c.result(o.look(ctx, c))
	}
}

func (o HTTPOptions) look(ctx context.Context, c *clock) error {
	label := "probe " + o.Name
	host, port, err := o.endpoint()
	if err != nil {
		return &Error{Resolve, err}
	}
	addrs := []string{host}
	if _, err := netip.ParseAddr(host); err != nil {
		err := c.run(ctx, Resolve, label, o.Limit, func(ctx context.Context) error {
			addrs, err = c.m.Lookup(ctx, "A", host)
			if err == nil && len(addrs) == 0 {
				err = errors.New("no address")
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	var conn net.Conn
	err = c.run(ctx, Connect, label, o.Limit, func(ctx context.Context) error {
		conn, err = dial(ctx, c.m, label, addrs[:min(len(addrs), maxAddrs)], port, o.Limit)
		return err
	})
	if err != nil {
		return err
	}
	if o.URL.Scheme == "https" {
		secure := tls.Client(conn, &tls.Config{
			ServerName: o.URL.Hostname(),
			RootCAs:    o.Roots,
			Time:       c.m.Now,
			MinVersion: tls.VersionTLS12,
		})
		if err := c.run(ctx, TLS, label, o.Limit, secure.HandshakeContext); err != nil {
			conn.Close()
			return err
		}
		conn = secure
	}
	// From here on the connection is the transport's to close. Closing it here
	// too would race with that for whether TLS says goodbye.
	return c.run(ctx, FirstByte, label, o.Limit, func(ctx context.Context) error {
		return o.get(ctx, conn)
	})
}

// endpoint says where to connect.
func (o HTTPOptions) endpoint() (host, port string, err error) {
	if o.Connect != "" {
		return net.SplitHostPort(o.Connect)
	}
	if port = o.URL.Port(); port != "" {
		return o.URL.Hostname(), port, nil
	}
	if o.URL.Scheme == "https" {
		return o.URL.Hostname(), "443", nil
	}
	return o.URL.Hostname(), "80", nil
}

// dial tries the addresses in order. Each gets an equal share of the limit, so
// that a dead zone behind the name does not use up the time of a living one.
func dial(ctx context.Context, m nodes.Machine, label string, addrs []string, port string, limit time.Duration) (net.Conn, error) {
	share := limit / time.Duration(len(addrs))
	var errs error
	for _, addr := range addrs {
		conn, err := func() (net.Conn, error) {
			ctx, cancel := nodes.Timeout(ctx, m, label+" dial "+addr, share)
			defer cancel()
			return m.DialContext(ctx, "tcp", net.JoinHostPort(addr, port))
		}()
		if err == nil {
			return conn, nil
		}
		errs = errors.Join(errs, err)
	}
	return nil, errs
}

// get speaks HTTP over the connection that the earlier phases made.
func (o HTTPOptions) get(ctx context.Context, conn net.Conn) error {
	ready := func(context.Context, string, string) (net.Conn, error) { return conn, nil }
	transport := &http.Transport{
		DialContext:            ready,
		DialTLSContext:         ready,
		DisableKeepAlives:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: 64 << 10,
		TLSNextProto:           map[string]func(string, *tls.Conn) http.RoundTripper{},
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, o.URL.String(), nil)
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", "protoplex-monitor")
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != o.Status {
		return failf("status %d, want %d", resp.StatusCode, o.Status)
	}
	if _, err := io.CopyN(io.Discard, resp.Body, 64<<10); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read body: %w", err)
	}
	return nil
}
