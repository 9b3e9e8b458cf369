package proxy

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
)

// Bounds of a head. A line must also fit into the reader's buffer.
const (
	maxLine   = 8 << 10
	maxHead   = 32 << 10
	maxFields = 100
	maxMethod = 20
)

// field is one header field, its name as it was sent.
type field struct{ name, value string }

type header []field

// get gives the first value of a field, and how often the field is there.
// Names compare without case.
func (h header) get(name string) (value string, n int) {
	for _, f := range h {
		if strings.EqualFold(f.name, name) {
			if n == 0 {
				value = f.value
			}
			n++
		}
	}
	return value, n
}

// has reports whether a comma-separated field has a token, without case.
func (h header) has(name, token string) bool {
	for _, f := range h {
		if strings.EqualFold(f.name, name) && containsToken(f.value, token) {
			return true
		}
	}
	return false
}

func containsToken(list, token string) bool {
	for part := range strings.SplitSeq(list, ",") {
		if strings.EqualFold(trimSpace(part), token) {
			return true
		}
	}
	return false
}

// framing says how a body ends.
type framing int

const (
	noBody framing = iota
	byLength
	byChunks
	byClose // responses only
)

type request struct {
	method string
	target string // in origin form, or "*"
	minor  int    // of HTTP/1
	host   string // in lower case, without a port
	header header
	body   framing
	length int64
}

// path is the target without its query.
func (r *request) path() string {
	path, _, _ := strings.Cut(r.target, "?")
	return path
}

// keepAlive reports whether the client wants to send another request. Those of
// HTTP/1.0 are served one each.
func (r *request) keepAlive() bool { return r.minor == 1 && !r.header.has("Connection", "close") }

// upgrade reports whether the request asks for a WebSocket.
func (r *request) upgrade() bool {
	return r.method == "GET" && r.minor == 1 && r.body == noBody &&
		r.header.has("Connection", "upgrade") && r.header.has("Upgrade", "websocket")
}

type response struct {
	status int
	reason string
	minor  int
	header header
	body   framing
	length int64
}

// badHead is a head that is refused; what came after it has no known meaning.
type badHead struct {
	status int // to answer
	text   string
}

func (e *badHead) Error() string { return e.text }

func bad(format string, args ...any) error {
	return &badHead{400, fmt.Sprintf(format, args...)}
}

// readRequest reads one request head from r, whose buffer must hold maxLine
// bytes. It accepts less than RFC 9112 lets it: whatever two programs
// have been known to read in two ways is refused. Errors are *badHead, or those
// of r; io.EOF means that there was no request at all.
func readRequest(r *bufio.Reader) (*request, error) {
	lines := lines{r: r, left: maxHead}
	line, err := lines.next()
	if err == nil && line == "" {
		line, err = lines.next() // one empty line is forgiven, RFC 9112, 2.2
	}
	if errors.Is(err, errLongLine) {
		return nil, &badHead{414, "request line too long"}
	}
	if err != nil {
		return nil, err
	}
	req := new(request)
	if err := req.parseLine(line); err != nil {
		return nil, err
	}
	if req.header, err = lines.header(); err != nil {
		return nil, err
	}
	if err := req.parseHost(); err != nil {
		return nil, err
	}
	req.body, req.length, err = parseFraming(req.header, req.minor)
	return req, err
}

// readResponse reads the head of the response to a request of the given method.
func readResponse(r *bufio.Reader, method string) (*response, error) {
	lines := lines{r: r, left: maxHead}
	line, err := lines.next()
	if err != nil {
		return nil, err
	}
	res := new(response)
	if err := res.parseLine(line); err != nil {
		return nil, err
	}
	if res.header, err = lines.header(); err != nil {
		return nil, err
	}
	res.body, res.length, err = parseFraming(res.header, res.minor)
	if err != nil {
		return nil, err
	}
	if method == "HEAD" || res.status/100 == 1 || res.status == 204 || res.status == 304 {
		res.body, res.length = noBody, 0
	} else if _, n := res.header.get("Content-Length"); n == 0 && res.body == noBody {
		res.body = byClose
	}
	return res, nil
}

// lines reads the lines of a head: ended by CR LF, free of other control
// bytes, and bounded.
type lines struct {
	r    *bufio.Reader
	left int
}

// errLongLine is read-only.
var errLongLine = &badHead{431, "header line too long"}

// next gives a line without its end. The text is a copy.
func (l *lines) next() (string, error) {
	b, err := l.r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) || len(b) > maxLine {
		return "", errLongLine
	}
	if errors.Is(err, io.EOF) && (len(b) > 0 || l.left < maxHead) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return "", err
	}
	if l.left -= len(b); l.left < 0 {
		return "", &badHead{431, "head too large"}
	}
	if len(b) < 2 || b[len(b)-2] != '\r' {
		return "", bad("line does not end with CR LF")
	}
	b = b[:len(b)-2]
	for _, c := range b {
		if c < ' ' && c != '\t' || c == 0x7f {
			return "", bad("control byte 0x%02x in head", c)
		}
	}
	return string(b), nil
}

// header reads fields up to the empty line.
func (l *lines) header() (header, error) {
	var h header
	for {
		line, err := l.next()
		if err != nil {
			return nil, err
		}
		if line == "" {
			return h, nil
		}
		if len(h) == maxFields {
			return nil, &badHead{431, "too many header fields"}
		}
		if line[0] == ' ' || line[0] == '\t' {
			return nil, bad("folded header line")
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return nil, bad("header line without a colon")
		}
		if !isToken(name) {
			return nil, bad("bad header name %q", name)
		}
		h = append(h, field{name, trimSpace(value)})
	}
}

func (r *request) parseLine(line string) error {
	method, rest, ok1 := strings.Cut(line, " ")
	target, version, ok2 := strings.Cut(rest, " ")
	if !ok1 || !ok2 || !isToken(method) || len(method) > maxMethod {
		return bad("bad request line")
	}
	minor, err := parseVersion(version)
	if err != nil {
		return err
	}
	switch method {
	case "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS":
	default:
		return &badHead{501, "method not implemented"}
	}
	for _, c := range []byte(target) {
		if c <= ' ' || c >= 0x7f || c == '#' {
			return bad("byte 0x%02x in request target", c)
		}
	}
	if !strings.HasPrefix(target, "/") && !isAbsolute(target) && (target != "*" || method != "OPTIONS") {
		return bad("bad request target")
	}
	r.method, r.target, r.minor = method, target, minor
	return nil
}

func isAbsolute(target string) bool {
	scheme, rest, ok := strings.Cut(target, "://")
	return ok && rest != "" && (strings.EqualFold(scheme, "http") || strings.EqualFold(scheme, "https"))
}

func (r *response) parseLine(line string) error {
	version, rest, _ := strings.Cut(line, " ")
	minor, err := parseVersion(version)
	if err != nil {
		return err
	}
	code, reason, _ := strings.Cut(rest, " ")
	status, err := strconv.Atoi(code)
	if err != nil || len(code) != 3 || status < 100 {
		return bad("bad status line")
	}
	r.status, r.reason, r.minor = status, reason, minor
	return nil
}

func parseVersion(s string) (minor int, err error) {
	switch s {
	case "HTTP/1.1":
		return 1, nil
	case "HTTP/1.0":
		return 0, nil
	}
	if len(s) == 8 && strings.HasPrefix(s, "HTTP/") && isDigit(s[5]) && s[6] == '.' && isDigit(s[7]) {
		return 0, &badHead{505, "HTTP version not supported"}
	}
	return 0, bad("bad HTTP version")
}

// parseHost takes the host from the one Host field, with which an absolute
// target must agree, and brings the target into origin form.
func (r *request) parseHost() error {
	value, n := r.header.get("Host")
	if n != 1 {
		return bad("want one Host field, got %d", n)
	}
	host, ok := parseAuthority(value)
	if !ok {
		return bad("bad Host")
	}
	r.host = host
	if r.target[0] == '/' || r.target == "*" {
		return nil
	}
	_, rest, _ := strings.Cut(r.target, "://")
	end := strings.IndexAny(rest, "/?")
	if end < 0 {
		end = len(rest)
	}
	if !strings.EqualFold(rest[:end], value) {
		return bad("request target and Host differ")
	}
	r.target = rest[end:]
	if r.target == "" || r.target[0] == '?' {
		r.target = "/" + r.target
	}
	return nil
}

// parseAuthority gives the host of host[:port], in lower case.
func parseAuthority(s string) (host string, ok bool) {
	host = s
	if i := strings.LastIndexByte(s, ':'); i >= 0 && !strings.HasSuffix(s, "]") {
		host = s[:i]
		if _, err := strconv.ParseUint(s[i+1:], 10, 16); err != nil {
			return "", false
		}
	}
	if inner, isV6 := strings.CutPrefix(host, "["); isV6 {
		inner, isV6 = strings.CutSuffix(inner, "]")
		addr, err := netip.ParseAddr(inner)
		return host, isV6 && err == nil && addr.Is6() && addr.Zone() == ""
	}
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if host == "" || len(host) > 253 {
		return "", false
	}
	for _, c := range []byte(host) {
		if !('a' <= c && c <= 'z' || isDigit(c) || c == '.' || c == '-' || c == '_') {
			return "", false
		}
	}
	return host, true
}

// parseFraming decides how the body ends. There must be no two opinions.
func parseFraming(h header, minor int) (framing, int64, error) {
	coding, codings := h.get("Transfer-Encoding")
	length, lengths := h.get("Content-Length")
	switch {
	case codings > 0 && lengths > 0:
		return 0, 0, bad("both Transfer-Encoding and Content-Length")
	case codings > 1:
		return 0, 0, bad("more than one Transfer-Encoding")
	case lengths > 1:
		return 0, 0, bad("more than one Content-Length")
	case codings == 1:
		if minor == 0 {
			return 0, 0, bad("Transfer-Encoding in HTTP/1.0")
		}
		if !strings.EqualFold(coding, "chunked") {
			return 0, 0, &badHead{501, "transfer coding not implemented"}
		}
		return byChunks, 0, nil
	case lengths == 1:
		n, err := strconv.ParseUint(length, 10, 63)
		if err != nil {
			return 0, 0, bad("bad Content-Length")
		}
		if n == 0 {
			return noBody, 0, nil
		}
		return byLength, int64(n), nil
	}
	return noBody, 0, nil
}

func isToken(s string) bool {
	for _, c := range []byte(s) {
		if !isDigit(c) && !('a' <= c|0x20 && c|0x20 <= 'z') && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return s != ""
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// trimSpace removes optional white space as RFC 9110 knows it.
func trimSpace(s string) string { return strings.Trim(s, " \t") }
