// Package serve holds what the roles of the fakes share: serving HTTP on a
// Machine with or without TLS, small JSON bodies, repeated flags, and stopping
// when asked to.
//
// It promises that a server ends with its context and that no body or header
// from a stranger is read without bound. Listening fails as Machine.Listen does,
// and when a certificate cannot be read. Start reading at HTTP.
package serve

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/espra/protoplex/nodes"
)

const (
	headerTimeout = 10 * time.Second
	requestTime   = 30 * time.Second
	idleTimeout   = 60 * time.Second
	maxHeader     = 64 << 10
	maxBody       = 256 << 10
	maxFile       = 16 << 20
)

// Listen opens a TCP listener on address. With a certFile, a file on the
// machine's disk that holds a certificate chain and its key in PEM, what it
// accepts is TLS.
func Listen(m nodes.Machine, address, certFile string) (net.Listener, error) {
	var config *tls.Config
	if certFile != "" {
		pem, err := ReadFile(m, certFile)
		if err != nil {
			return nil, fmt.Errorf("read certificate: %w", err)
		}
		pair, err := tls.X509KeyPair(pem, pem)
		if err != nil {
			return nil, fmt.Errorf("load certificate %s: %w", certFile, err)
		}
		config = &tls.Config{
			Certificates: []tls.Certificate{pair},
			Time:         m.Now,
			NextProtos:   []string{"http/1.1"},
			// Ticket keys are random and change with the clock.
			SessionTicketsDisabled: true,
		}
	}
	l, err := m.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	if config != nil {
		l = tls.NewListener(l, config)
	}
	return l, nil
}

// HTTP serves h on l until ctx ends, which is not an error. It owns l.
func HTTP(ctx context.Context, m nodes.Machine, l net.Listener, h http.Handler) error {
	server := &http.Server{
		Handler:           h,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       requestTime,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		TLSNextProto:      map[string]func(*http.Server, *tls.Conn, http.Handler){},
		ErrorLog:          slog.NewLogLogger(m.Log().Handler(), slog.LevelDebug),
	}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	if err := server.Serve(l); ctx.Err() == nil {
		return fmt.Errorf("serve %s: %w", l.Addr(), err)
	}
	return nil
}

// Client gives an HTTP/1.1 client that dials through m and keeps no connection
// between requests. Redirects are answers, not followed.
func Client(m nodes.Machine) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext:       m.DialContext,
			DisableKeepAlives: true,
			TLSClientConfig:   &tls.Config{Time: m.Now},
			TLSNextProto:      map[string]func(string, *tls.Conn) http.RoundTripper{},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Together runs the functions at once, with a context that ends when ctx does,
// when the process is told to terminate, or when the first of them returns. It
// waits for all and gives the first error in the order of fs.
func Together(ctx context.Context, m nodes.Machine, fs ...func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case s := <-m.Signals():
				if s == nodes.Terminate || s == nodes.Interrupt {
					cancel()
				}
			}
		}
	}()
	errs := make([]error, len(fs))
	done := make(chan struct{})
	for i, f := range fs {
		go func() {
			errs[i] = f(ctx)
			cancel()
			done <- struct{}{}
		}()
	}
	for range fs {
		<-done
	}
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// WriteJSON answers with v as JSON. The content type carries no parameters
// because some providers' clients compare it as a whole.
func WriteJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// A failed write means that the client has gone; nobody is left to tell.
	_, _ = w.Write(append(body, '\n'))
}

// ReadJSON decodes the request's body, at most 256 KiB, into v. An empty body
// leaves v as it is.
func ReadJSON(w http.ResponseWriter, r *http.Request, v any) error {
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(v)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("decode body: %w", err)
	}
	return nil
}

// ReadFile reads a whole file, at most 16 MiB, from the machine's disk.
func ReadFile(m nodes.Machine, name string) ([]byte, error) {
	f, err := m.Disk().Open(name)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, fmt.Errorf("size of %s: %w", name, err)
	}
	if size > maxFile {
		return nil, fmt.Errorf("read %s: %d bytes are too many", name, size)
	}
	data, err := io.ReadAll(io.NewSectionReader(f, 0, size))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return data, nil
}
