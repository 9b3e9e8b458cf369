// Package redirect sends the apex of the platform to its www host, and others
// likewise.
//
// It promises that path and query are kept, and that nobody is ever sent to any
// host but the configured one, whatever the request says: it cannot be used as
// an open redirect. Everything a client sends is bounded in size and time, and
// nobody is kept out by others who hold connections (see nodes.Bounded). What may
// fail is only its start: a missing certificate, a port in use. Start at Run, Config
// and Handler.
package redirect

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/espra/protoplex/nodes"
)

var _ nodes.Role = Run

// Run is the redirect role. It takes
//
//	--config FILE     the configuration, see Config
//
// or, for one host,
//
//	--http ADDRESS    for plain HTTP (:80), empty for none
//	--https ADDRESS   for TLS (:443), empty for none
//	--cert FILE       PEM file with certificate and key, needed for --https; read
//	                  again once a minute
//	--from HOST       whose requests are redirected (espra.com)
//	--to HOST         where to (www.espra.com)
//
// and returns when ctx ends or on Terminate.
func Run(ctx context.Context, m nodes.Machine, args []string) error {
	flags := flag.NewFlagSet("redirect", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	file := flags.String("config", "", "")
	plain := flags.String("http", ":80", "")
	secure := flags.String("https", ":443", "")
	cert := flags.String("cert", "", "")
	from := flags.String("from", "espra.com", "")
	to := flags.String("to", "www.espra.com", "")
	if err := flags.Parse(args); err != nil {
		return fmt.Errorf("redirect: %w", err)
	}
	if *file != "" && flags.NFlag() == 1 && flags.NArg() == 0 {
		c, err := Load(m.Disk(), *file, *file)
		if err != nil {
			return fmt.Errorf("redirect: %w", err)
		}
		return Serve(ctx, m, c)
	}
	for _, host := range []string{*from, *to} {
		if !isHost(host) {
			return fmt.Errorf("redirect: %q is no host name", host)
		}
	}
	switch {
	case *file != "":
		return errors.New("redirect: --config stands alone")
	case *plain == "" && *secure == "":
		return errors.New("redirect: neither --http nor --https")
	case *secure != "" && *cert == "":
		return errors.New("redirect: --https needs --cert")
	case flags.NArg() > 0:
		return fmt.Errorf("redirect: unexpected argument %q", flags.Arg(0))
	case canonical(*from) == canonical(*to):
		return errors.New("redirect: --from and --to are the same host")
	}
	return Serve(ctx, m, &Config{HTTP: *plain, HTTPS: *secure, Certificates: []string{*cert}, Hosts: []Host{{*from, *to}}})
}

// Serve redirects until ctx ends or on Terminate. The configuration is one that
// Load gave.
func Serve(ctx context.Context, m nodes.Machine, c *Config) error {
	var listeners []net.Listener
	defer func() {
		for _, l := range listeners {
			l.Close()
		}
	}()
	open := func(address string, config *tls.Config) error {
		l, err := m.Listen("tcp", address)
		if err != nil {
			return fmt.Errorf("redirect: listen: %w", err)
		}
		l = nodes.Bounded(m, l, nodes.Bounds{All: 1024, Source: 64})
		if config != nil {
			l = tls.NewListener(l, config)
		}
		listeners = append(listeners, l)
		m.Log().Info("redirect listens", "address", l.Addr().String(), "tls", config != nil)
		return nil
	}
	if c.HTTP != "" {
		if err := open(c.HTTP, nil); err != nil {
			return err
		}
	}
	if c.HTTPS != "" {
		certs, keep, err := certificates(m, c.Certificates)
		if err != nil {
			return fmt.Errorf("redirect: %w", err)
		}
		var keeping sync.WaitGroup
		defer keeping.Wait()
		kept, cancel := context.WithCancel(ctx)
		defer cancel()
		for _, k := range keep {
			keeping.Go(func() { k(kept) })
		}
		config := &tls.Config{GetCertificate: certs, Time: m.Now, MinVersion: tls.VersionTLS12}
		if err := open(c.HTTPS, config); err != nil {
			return err
		}
	}
	return serve(ctx, m, listeners, Handler(c.Hosts...))
}

func serve(ctx context.Context, m nodes.Machine, listeners []net.Listener, handler http.Handler) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      10 * time.Second,
		IdleTimeout:       30 * time.Second,
		MaxHeaderBytes:    16 << 10,
		TLSNextProto:      map[string]func(*http.Server, *tls.Conn, http.Handler){},
		ErrorLog:          slog.NewLogLogger(m.Log().Handler(), slog.LevelDebug),
	}
	failed := make(chan error, len(listeners))
	var wg sync.WaitGroup
	for _, l := range listeners {
		wg.Go(func() {
			defer cancel()
			if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				failed <- fmt.Errorf("redirect: serve: %w", err)
			}
		})
	}
	wg.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case s := <-m.Signals():
				if s == nodes.Terminate || s == nodes.Interrupt {
					cancel()
					return
				}
			}
		}
	})
	<-ctx.Done()
	server.Close()
	wg.Wait()
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}
