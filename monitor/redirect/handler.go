package redirect

import (
	"io"
	"net"
	"net/http"
	"strings"
)

// hsts is sent over TLS only (RFC 6797, section 7.2): one year, for all below
// the apex.
const hsts = "max-age=31536000; includeSubDomains"

// Handler redirects requests for each host to the one configured for it, always to
// https and always with path and query kept: 301 for GET and HEAD, and for
// other methods 308, which keeps method and body (RFC 9110, section 15.4).
// Requests for any other host get 421, which for a target in absolute form is the
// host in it (RFC 9112, section 3.2.2). GET /health answers 200 whatever the
// host, as health checks come with an address instead.
func Handler(hosts ...Host) http.Handler {
	to := map[string]string{}
	for _, h := range hosts {
		to[canonical(h.From)] = canonical(h.To)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS != nil {
			w.Header().Set("Strict-Transport-Security", hsts)
		}
		if r.URL.Path == "/health" && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			io.WriteString(w, "ok\n")
			return
		}
		to, known := to[hostname(r.Host)]
		if !known {
			http.Error(w, "this server does not know that host", http.StatusMisdirectedRequest)
			return
		}
		path, ok := target(r)
		if !ok {
			http.Error(w, "this is no path", http.StatusBadRequest)
			return
		}
		status := http.StatusPermanentRedirect
		if r.Method == http.MethodGet || r.Method == http.MethodHead {
			status = http.StatusMovedPermanently
		}
		// Set by hand: http.Redirect would clean the path.
		w.Header().Set("Location", "https://"+to+path)
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(status)
		if r.Method != http.MethodHead {
			io.WriteString(w, "moved to https://"+to+"\n")
		}
	})
}

// hostname takes the port and a final dot off. A port is digits, or this is no
// host.
func hostname(host string) string {
	if name, port, err := net.SplitHostPort(host); err == nil && strings.Trim(port, "0123456789") == "" {
		host = name
	}
	return canonical(host)
}

// target is path and query as sent. It begins with a slash, so that after the
// host it can only be a path, whatever follows: "//evil.example" as well.
func target(r *http.Request) (string, bool) {
	path := r.URL.EscapedPath()
	if path == "" {
		path = "/"
	}
	if path[0] != '/' { // OPTIONS * and CONNECT
		return "", false
	}
	if r.URL.RawQuery != "" || r.URL.ForceQuery {
		path += "?" + r.URL.RawQuery
	}
	for _, c := range []byte(path) {
		if c <= ' ' || c == 0x7f {
			return "", false
		}
	}
	return path, true
}
