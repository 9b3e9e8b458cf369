package proxy

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
)

func reader(s string) *bufio.Reader { return bufio.NewReaderSize(strings.NewReader(s), maxLine) }

func crlf(lines ...string) string { return strings.Join(lines, "\r\n") + "\r\n\r\n" }

func TestReadRequest(t *testing.T) {
	for name, tc := range map[string]struct {
		in   string
		want request
	}{
		"plain": {crlf("GET /a?b=c HTTP/1.1", "Host: Example.COM:8080", "X:  y \t"),
			request{method: "GET", target: "/a?b=c", minor: 1, host: "example.com", header: header{{"Host", "Example.COM:8080"}, {"X", "y"}}}},
		"an empty line before": {"\r\n" + crlf("GET / HTTP/1.0", "Host: a"),
			request{method: "GET", target: "/", host: "a", header: header{{"Host", "a"}}}},
		"length": {crlf("POST / HTTP/1.1", "Host: a", "content-length: 0012"),
			request{method: "POST", target: "/", minor: 1, host: "a", header: header{{"Host", "a"}, {"content-length", "0012"}}, body: byLength, length: 12}},
		"length of nothing": {crlf("POST / HTTP/1.1", "Host: a", "Content-Length: 0"),
			request{method: "POST", target: "/", minor: 1, host: "a", header: header{{"Host", "a"}, {"Content-Length", "0"}}}},
		"chunks": {crlf("POST / HTTP/1.1", "Host: [::1]:80", "Transfer-Encoding: Chunked"),
			request{method: "POST", target: "/", minor: 1, host: "[::1]", header: header{{"Host", "[::1]:80"}, {"Transfer-Encoding", "Chunked"}}, body: byChunks}},
		"absolute": {crlf("GET HTTP://A:80?q HTTP/1.1", "Host: a:80"),
			request{method: "GET", target: "/?q", minor: 1, host: "a", header: header{{"Host", "a:80"}}}},
		"options": {crlf("OPTIONS * HTTP/1.1", "Host: a."),
			request{method: "OPTIONS", target: "*", minor: 1, host: "a", header: header{{"Host", "a."}}}},
		"no value": {crlf("GET / HTTP/1.1", "Host: a", "X:"),
			request{method: "GET", target: "/", minor: 1, host: "a", header: header{{"Host", "a"}, {"X", ""}}}},
	} {
		got, err := readRequest(reader(tc.in))
		require.NoError(t, err, name)
		require.Empty(t, cmp.Diff(&tc.want, got, cmp.AllowUnexported(request{}, field{})), name)
	}
}

func TestReadRequestRefuses(t *testing.T) {
	get := "GET / HTTP/1.1\r\nHost: a\r\n"
	post := "POST / HTTP/1.1\r\nHost: a\r\n"
	for name, tc := range map[string]struct {
		in     string
		status int
	}{
		"length and chunks":           {post + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
		"chunks and length":           {post + "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n", 400},
		"two lengths":                 {post + "Content-Length: 4\r\nContent-Length: 5\r\n\r\n", 400},
		"the same length twice":       {post + "Content-Length: 4\r\nContent-Length: 4\r\n\r\n", 400},
		"a list of lengths":           {post + "Content-Length: 4, 4\r\n\r\n", 400},
		"a signed length":             {post + "Content-Length: +4\r\n\r\n", 400},
		"a negative length":           {post + "Content-Length: -4\r\n\r\n", 400},
		"a hexadecimal length":        {post + "Content-Length: 0x4\r\n\r\n", 400},
		"an empty length":             {post + "Content-Length:\r\n\r\n", 400},
		"a huge length":               {post + "Content-Length: 9223372036854775808\r\n\r\n", 400},
		"gzip, chunked":               {post + "Transfer-Encoding: gzip, chunked\r\n\r\n", 501},
		"chunked, identity":           {post + "Transfer-Encoding: chunked, identity\r\n\r\n", 501},
		"xchunked":                    {post + "Transfer-Encoding: xchunked\r\n\r\n", 501},
		"chunked in quotes":           {post + "Transfer-Encoding: \"chunked\"\r\n\r\n", 501},
		"chunked with a vertical tab": {post + "Transfer-Encoding: \vchunked\r\n\r\n", 400},
		"an empty coding":             {post + "Transfer-Encoding:\r\n\r\n", 501},
		"two codings":                 {post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n", 400},
		"chunks in 1.0":               {"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
		"a folded line":               {get + "X: a\r\n b\r\n\r\n", 400},
		"a folded coding":             {post + "Transfer-Encoding:\r\n chunked\r\n\r\n", 400},
		"a space first":               {"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400},
		"bare LF after request line":  {"GET / HTTP/1.1\nHost: a\r\n\r\n", 400},
		"bare LF after field":         {get + "X: a\n\r\n", 400},
		"bare LF at the end":          {get + "\n", 400},
		"bare CR in value":            {get + "X: a\rContent-Length: 5\r\n\r\n", 400},
		"bare CR in request line":     {"GET /\r HTTP/1.1\r\nHost: a\r\n\r\n", 400},
		"CR CR LF":                    {get + "X: a\r\r\n\r\n", 400},
		"space before the colon":      {post + "Content-Length : 4\r\n\r\n", 400},
		"tab before the colon":        {post + "Transfer-Encoding\t: chunked\r\n\r\n", 400},
		"no colon":                    {get + "X\r\n\r\n", 400},
		"no name":                     {get + ": x\r\n\r\n", 400},
		"NUL in value":                {get + "X: a\x00b\r\n\r\n", 400},
		"NUL in name":                 {get + "X\x00: a\r\n\r\n", 400},
		"NUL in target":               {"GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n", 400},
		"bytes above ASCII in name":   {get + "X\xff: a\r\n\r\n", 400},
		"no method":                   {" / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
		"bad method":                  {"G@T / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
		"method in lower case":        {"get / HTTP/1.1\r\nHost: a\r\n\r\n", 501},
		"unknown method":              {"BREW / HTTP/1.1\r\nHost: a\r\n\r\n", 501},
		"CONNECT":                     {"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", 501},
		"HTTP/2 preface":              {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
		"two spaces":                  {"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
		"a space in the target":       {"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400},
		"a tab in the request line":   {"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400},
		"no target":                   {"GET HTTP/1.1\r\nHost: a\r\n\r\n", 400},
		"relative target":             {"GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400},
		"a fragment":                  {"GET /#a HTTP/1.1\r\nHost: a\r\n\r\n", 400},
		"GET *":                       {"GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400},
		"another scheme":              {"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400},
		"target and Host differ":      {"GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400},
		"user in the target":          {"GET http://a@b/ HTTP/1.1\r\nHost: b\r\n\r\n", 400},
		"no version":                  {"GET /\r\nHost: a\r\n\r\n", 400},
		"version 1.2":                 {"GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505},
		"version in lower case":       {"GET / http/1.1\r\nHost: a\r\n\r\n", 400},
		"a space after the version":   {"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400},
		"no Host":                     {"GET / HTTP/1.1\r\n\r\n", 400},
		"two Hosts":                   {get + "Host: a\r\n\r\n", 400},
		"empty Host":                  {"GET / HTTP/1.1\r\nHost:\r\n\r\n", 400},
		"Host with a path":            {"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400},
		"Host with a user":            {"GET / HTTP/1.1\r\nHost: x@a\r\n\r\n", 400},
		"a list of Hosts":             {"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400},
		"Host with a bad port":        {"GET / HTTP/1.1\r\nHost: a:80x\r\n\r\n", 400},
		"Host with an empty port":     {"GET / HTTP/1.1\r\nHost: a:\r\n\r\n", 400},
		"Host with bad IPv6":          {"GET / HTTP/1.1\r\nHost: [a]\r\n\r\n", 400},
		"two empty lines before":      {"\r\n\r\n" + get + "\r\n", 400},
		"long request line":           {"GET /" + strings.Repeat("a", maxLine) + " HTTP/1.1\r\nHost: a\r\n\r\n", 414},
		"long field":                  {get + "X: " + strings.Repeat("a", maxLine) + "\r\n\r\n", 431},
		"large head":                  {get + strings.Repeat("X: "+strings.Repeat("a", 4000)+"\r\n", 9) + "\r\n", 431},
		"many fields":                 {get + strings.Repeat("X: a\r\n", maxFields) + "\r\n", 431},
		"TLS on the plain port":       {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n", 400},
	} {
		_, err := readRequest(reader(tc.in))
		var head *badHead
		require.ErrorAs(t, err, &head, name)
		require.Equal(t, tc.status, head.status, "%s: %v", name, err)
	}
	for in, want := range map[string]error{
		"":                     io.EOF,
		"GET / HT":             io.ErrUnexpectedEOF,
		"GET / HTTP/1.1\r\n":   io.ErrUnexpectedEOF,
		get + "X: a\r\n":       io.ErrUnexpectedEOF,
		get + "X: a\r\nY: b\r": io.ErrUnexpectedEOF,
	} {
		_, err := readRequest(reader(in))
		require.ErrorIs(t, err, want, "%q", in)
	}
}

func TestHeadIsWrittenAnew(t *testing.T) {
	req, err := readRequest(reader(crlf("POST http://A/x HTTP/1.1", "Host: A", "Connection: close, X-Secret, host",
		"X-Secret: 1", "Keep-Alive: 5", "Proxy-Connection: a", "TE: trailers", "Upgrade: h2c", "Expect: 100-continue",
		"X-Forwarded-For: 6.6.6.6", "x-request-id: forged", "Forwarded: for=6.6.6.6", "Content-Length: 5", "Accept: */*")))
	require.NoError(t, err)
	require.Equal(t, crlf("POST /x HTTP/1.1", "Host: a", "Accept: */*", "X-Forwarded-For: 1.2.3.4", "X-Forwarded-Proto: https",
		"X-Request-Id: 7", "Content-Length: 5"),
		string(req.appendHead(nil, identity{"1.2.3.4", "https", "7"}, byLength, 5)))
}

func TestReadResponse(t *testing.T) {
	for _, tc := range []struct {
		method, in string
		body       framing
	}{
		{"GET", crlf("HTTP/1.1 200 OK", "Content-Length: 5"), byLength},
		{"HEAD", crlf("HTTP/1.1 200 OK", "Content-Length: 5"), noBody},
		{"GET", crlf("HTTP/1.1 304 Not Modified", "Content-Length: 5"), noBody},
		{"GET", crlf("HTTP/1.1 204 "), noBody},
		{"GET", crlf("HTTP/1.1 101"), noBody},
		{"GET", crlf("HTTP/1.1 200 OK", "Transfer-Encoding: chunked"), byChunks},
		{"GET", crlf("HTTP/1.1 200 OK", "Content-Length: 0"), noBody},
		{"GET", crlf("HTTP/1.0 200 OK"), byClose},
	} {
		res, err := readResponse(reader(tc.in), tc.method)
		require.NoError(t, err, tc.in)
		require.Equal(t, tc.body, res.body, tc.in)
	}
	for _, in := range []string{"nonsense\r\n\r\n", "HTTP/1.1 20 OK\r\n\r\n", "HTTP/1.1 +20 OK\r\n\r\n", "HTTP/1.1 099 a\r\n\r\n",
		crlf("HTTP/1.1 200 OK", "Content-Length: 5", "Transfer-Encoding: chunked")} {
		_, err := readResponse(reader(in), "GET")
		require.Error(t, err, in)
	}
}

func TestChunks(t *testing.T) {
	for in, want := range map[string]string{
		"0\r\n\r\n":             "",
		"3\r\nabc\r\n0\r\n\r\n": "abc",
		"3 ;x=y\r\nabc\r\n00a\r\n0123456789\r\n0\r\nX: y\r\n\r\n": "abc0123456789",
	} {
		r := reader(in + "next")
		got, err := io.ReadAll(bodyReader(r, byChunks, 0))
		require.NoError(t, err, "%q", in)
		require.Equal(t, want, string(got))
		rest, _ := io.ReadAll(r)
		require.Equal(t, "next", string(rest), "not a byte further")
	}
	for name, in := range map[string]string{
		"bare LF after size":       "3\nabc\r\n0\r\n\r\n",
		"bare LF in extension":     "3;a\nb\r\nabc\r\n0\r\n\r\n",
		"bare CR in extension":     "3;a\rb\r\nabc\r\n0\r\n\r\n",
		"bare LF after data":       "3\r\nabc\n0\r\n\r\n",
		"bare LF at the end":       "3\r\nabc\r\n0\r\n\n",
		"data longer than size":    "3\r\nabcd\r\n0\r\n\r\n",
		"data shorter than size":   "3\r\nab\r\n0\r\n\r\n",
		"no size":                  "\r\nabc\r\n0\r\n\r\n",
		"signed size":              "+3\r\nabc\r\n0\r\n\r\n",
		"negative size":            "-3\r\nabc\r\n0\r\n\r\n",
		"prefixed size":            "0x3\r\nabc\r\n0\r\n\r\n",
		"a space before size":      " 3\r\nabc\r\n0\r\n\r\n",
		"a space after size":       "3 \r\nabc\r\n0\r\n\r\n",
		"underscore in size":       "1_0\r\n0123456789abcdef\r\n0\r\n\r\n",
		"size that overflows":      "10000000000000003\r\nabc\r\n0\r\n\r\n",
		"size of many zeros":       strings.Repeat("0", 16) + "3\r\nabc\r\n0\r\n\r\n",
		"long extension":           "3;" + strings.Repeat("a", maxChunkLine) + "\r\nabc\r\n0\r\n\r\n",
		"empty extension":          "3;\r\nabc\r\n0\r\n\r\n",
		"folded trailer":           "0\r\nX: a\r\n b\r\n\r\n",
		"trailer without a colon":  "0\r\nGET / HTTP/1.1\r\n\r\n",
		"cut short in data":        "3\r\nab",
		"cut short between chunks": "3\r\nabc\r\n",
		"cut short in trailers":    "0\r\n",
	} {
		_, err := io.ReadAll(bodyReader(reader(in), byChunks, 0))
		require.Error(t, err, name)
		require.False(t, errors.Is(err, io.EOF), name)
	}
}

// FuzzRequest holds the parser against its promises, and against net/http's:
// what we pass on, the node must read as we did.
func FuzzRequest(f *testing.F) {
	f.Add(crlf("GET /live/a?b HTTP/1.1", "Host: us-1.live.espra.com", "Upgrade: websocket", "Connection: keep-alive, Upgrade"))
	f.Add("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n0\r\n\r\n")
	f.Add(crlf("POST http://a/ HTTP/1.0", "Host: a", "Content-Length: 3", "Connection: Content-Length") + "abc")
	f.Fuzz(func(t *testing.T, in string) {
		r := reader(in)
		req, err := readRequest(r)
		if err != nil {
			return
		}
		body, err := io.ReadAll(bodyReader(r, req.body, req.length))
		if err != nil {
			return
		}
		kind := byLength
		if len(body) == 0 {
			kind = noBody
		}
		out := req.appendHead(nil, identity{"1.2.3.4", "http", "1"}, kind, int64(len(body)))
		out = append(out, body...)
		theirs, err := http.ReadRequest(bufio.NewReader(strings.NewReader(string(out) + "GET /next")))
		if err != nil {
			// It knows a few more rules about targets and header values.
			return
		}
		got, err := io.ReadAll(theirs.Body)
		require.NoError(t, err)
		require.Equal(t, string(body), string(got))
		require.Equal(t, req.method, theirs.Method)
		require.Equal(t, req.target, theirs.RequestURI)
		require.Equal(t, req.host, theirs.Host)
		require.Empty(t, theirs.TransferEncoding)
		require.Equal(t, []string{"1.2.3.4"}, theirs.Header["X-Forwarded-For"])
		require.Len(t, theirs.Header["X-Request-Id"], 1)
	})
}

func FuzzResponse(f *testing.F) {
	f.Add(crlf("HTTP/1.1 200 OK", "Content-Length: 3") + "abc")
	f.Add(crlf("HTTP/1.0 100 ", "Content-Length:1"))
	f.Fuzz(func(t *testing.T, in string) {
		res, err := readResponse(reader(in), "GET")
		if err != nil {
			return
		}
		again, err := readResponse(reader(string(res.appendHead(nil, "", res.body, res.length, true))), "GET")
		require.NoError(t, err)
		require.Equal(t, res.status, again.status)
		require.Equal(t, res.body, again.body)
		require.Equal(t, res.length, again.length)
	})
}

func BenchmarkReadRequest(b *testing.B) {
	in := crlf("GET /live/lobby HTTP/1.1", "Host: us-1.live.espra.com", "User-Agent: Mozilla/5.0 (X11; Linux x86_64)",
		"Accept: */*", "Accept-Language: en", "Accept-Encoding: gzip", "Connection: keep-alive, Upgrade", "Upgrade: websocket",
		"Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Protocol: live.espra.1")
	source := strings.NewReader(in)
	r := bufio.NewReaderSize(source, maxLine)
	b.ReportAllocs()
	for b.Loop() {
		source.Reset(in)
		r.Reset(source)
		req, err := readRequest(r)
		if err != nil {
			b.Fatal(err)
		}
		req.appendHead(nil, identity{"1.2.3.4", "https", "1"}, noBody, 0)
	}
}
