package workload

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync/atomic"
)

// dialer connects as a browser does: it resolves the name, and goes through the
// addresses in a random order, in the manner of RFC 8305 but one after the
// other.
type dialer struct {
	part
	life   context.Context // of the client: Transport dials on for requests that are gone
	dialed atomic.Uint64
}

// transport makes a Transport of the part's own, whose connections last no
// longer than life.
func (p part) transport(life context.Context) *http.Transport {
	d := &dialer{part: p, life: life}
	return &http.Transport{
		DialContext:            d.dial,
		DialTLSContext:         d.dialTLS,
		IdleConnTimeout:        p.pace.Idle,
		MaxIdleConnsPerHost:    2,
		MaxResponseHeaderBytes: 64 << 10,
		DisableCompression:     true,
		ForceAttemptHTTP2:      false,
		TLSNextProto:           map[string]func(string, *tls.Conn) http.RoundTripper{},
	}
}

func (d *dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(d.life, cancel)()

	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, failed("address", fmt.Errorf("workload: split address: %w", err))
	}
	addresses, err := d.addresses(ctx, host)
	if err != nil {
		return nil, err
	}
	var last error
	for _, a := range addresses {
		conn, err := d.dialOne(ctx, network, net.JoinHostPort(a, port))
		if err == nil {
			return conn, nil
		}
		last = err
		if ctx.Err() != nil {
			break
		}
	}
	return nil, last
}

func (d *dialer) dialOne(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := d.within(ctx, "connect", d.pace.Connect)
	defer cancel()
	conn, err := d.m.DialContext(ctx, network, address)
	if err != nil {
		return nil, dialFailure(ctx, fmt.Errorf("workload: connect to %s: %w", address, err))
	}
	return conn, nil
}

// addresses gives those of a host, shuffled: each draw is keyed by the address
// itself, so that an address more or less does not change the order of the
// others.
func (d *dialer) addresses(ctx context.Context, host string) ([]string, error) {
	if _, err := netip.ParseAddr(host); err == nil {
		return []string{host}, nil
	}
	ctx, cancel := d.within(ctx, "resolve", d.pace.Resolve)
	defer cancel()
	answers, err := d.m.Lookup(ctx, "A", host)
	if err != nil {
		return nil, resolveFailure(ctx, fmt.Errorf("workload: resolve %s: %w", host, err))
	}
	if len(answers) == 0 {
		return nil, failed("dns not found", errors.New("workload: no address for "+host))
	}
	n := d.dialed.Add(1)
	rank := make(map[string]uint64, len(answers))
	for _, a := range answers {
		rank[a] = d.m.Rand(d.name+"/address/"+a, n)
	}
	answers = slices.Clone(answers)
	slices.SortFunc(answers, func(a, b string) int {
		return cmp.Or(cmp.Compare(rank[a], rank[b]), cmp.Compare(a, b))
	})
	return answers, nil
}

func (d *dialer) dialTLS(ctx context.Context, network, address string) (net.Conn, error) {
	raw, err := d.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, failed("address", errors.Join(err, raw.Close()))
	}
	conn := tls.Client(raw, &tls.Config{
		RootCAs:    d.roots,
		ServerName: host,
		Time:       d.m.Now,
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"http/1.1"},
	})
	ctx, cancel := d.within(ctx, "secure", d.pace.Secure)
	defer cancel()
	defer context.AfterFunc(d.life, cancel)()
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, secureFailure(ctx, fmt.Errorf("workload: secure connection to %s: %w", host, errors.Join(err, ignoreClosed(raw.Close()))))
	}
	return conn, nil
}

// ignoreClosed drops the error of closing what is closed already.
func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
