package main

import (
	_ "embed"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// pageText is a page to publish and subscribe with, in one file. The platform
// does not serve it: it is a client as any other, on an origin of its own.
//
//go:embed page.html
var pageText string

// pageServer serves the page, which connects to a port of localhost and to
// nothing else.
func pageServer(port int) *http.Server {
	live := fmt.Sprintf("ws://%s:%d", deskHost, port)
	text := strings.ReplaceAll(pageText, "{{live}}", live)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Content-Length", strconv.Itoa(len(text)))
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "+
			"img-src data:; connect-src "+live+"; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		_, _ = w.Write([]byte(text)) // the browser may be gone
	})
	return &http.Server{Handler: mux, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, MaxHeaderBytes: 16 << 10}
}
