package proxy

import (
	"slices"
	"strconv"
	"strings"
)

// identity is what the proxy tells a node about who asks.
type identity struct {
	client string // address
	proto  string // http or https
	id     string // of the request
}

// hopByHop are the fields that concern one connection only (RFC 9110, 7.6.1),
// and those that the proxy writes itself. The table is read-only.
var hopByHop = []string{
	"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
	"proxy-authenticate", "proxy-authorization", "content-length", "expect",
}

// claims are fields by which a stranger could pass for someone else. The table is
// read-only.
var claims = []string{
	"host", "forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-port", "x-forwarded-proto",
	"x-real-ip", "x-request-id",
}

// endToEnd gives the fields that go on, without those that Connection names.
func (h header) endToEnd(also []string) header {
	drop := append(slices.Clone(hopByHop), also...)
	for _, f := range h {
		if strings.EqualFold(f.name, "Connection") {
			for token := range strings.SplitSeq(f.value, ",") {
				drop = append(drop, strings.ToLower(trimSpace(token)))
			}
		}
	}
	return slices.DeleteFunc(slices.Clone(h), func(f field) bool {
		return slices.Contains(drop, strings.ToLower(f.name))
	})
}

func appendField(b []byte, name, value string) []byte {
	b = append(b, name...)
	b = append(b, ": "...)
	b = append(b, value...)
	return append(b, "\r\n"...)
}

func appendFraming(b []byte, kind framing, length int64) []byte {
	switch kind {
	case byLength:
		return appendField(b, "Content-Length", strconv.FormatInt(length, 10))
	case byChunks:
		return appendField(b, "Transfer-Encoding", "chunked")
	}
	return b
}

// appendHead writes the request anew, with the framing that its body will have.
func (r *request) appendHead(b []byte, who identity, kind framing, length int64) []byte {
	b = append(b, r.method...)
	b = append(b, ' ')
	b = append(b, r.target...)
	b = append(b, " HTTP/1.1\r\n"...)
	b = appendField(b, "Host", r.host)
	for _, f := range r.header.endToEnd(claims) {
		b = appendField(b, f.name, f.value)
	}
	b = appendField(b, "X-Forwarded-For", who.client)
	b = appendField(b, "X-Forwarded-Proto", who.proto)
	b = appendField(b, "X-Request-Id", who.id)
	if r.upgrade() {
		b = appendField(b, "Connection", "Upgrade")
		b = appendField(b, "Upgrade", "websocket")
	}
	if kind == noBody && (r.method == "POST" || r.method == "PUT" || r.method == "PATCH") {
		b = appendField(b, "Content-Length", "0")
	}
	b = appendFraming(b, kind, length)
	return append(b, "\r\n"...)
}

// appendHead writes the response anew. An empty id leaves that out.
func (r *response) appendHead(b []byte, id string, kind framing, length int64, keep bool) []byte {
	b = append(b, "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(r.status), 10)
	b = append(b, ' ')
	b = append(b, r.reason...)
	b = append(b, "\r\n"...)
	for _, f := range r.header.endToEnd([]string{"x-request-id"}) {
		b = appendField(b, f.name, f.value)
	}
	if id != "" {
		b = appendField(b, "X-Request-Id", id)
	}
	switch {
	case r.status == 101:
		b = appendField(b, "Connection", "Upgrade")
		b = appendField(b, "Upgrade", "websocket")
	case !keep:
		b = appendField(b, "Connection", "close")
	}
	if length, n := r.header.get("Content-Length"); kind == noBody && n == 1 && r.status != 204 && r.status/100 != 1 {
		b = appendField(b, "Content-Length", length) // of an empty body, or of what HEAD asked about
	}
	b = appendFraming(b, kind, length)
	return append(b, "\r\n"...)
}
