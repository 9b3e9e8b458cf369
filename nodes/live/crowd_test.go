package live

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestClientOf(t *testing.T) {
	proxies, err := parsePrefixes(privateRanges)
	require.NoError(t, err)
	for _, tc := range []struct {
		peer      string
		forwarded []string
		want      string
	}{
		{"10.1.2.3:80", []string{"192.0.2.7"}, "192.0.2.7"},
		{"10.1.2.3:80", []string{"::ffff:192.0.2.7"}, "192.0.2.7"},
		{"10.1.2.3:80", []string{"2001:db8:1:2:3:4:5:6"}, "2001:db8:1:2::/64"},
		{"[fd00::1]:80", []string{"192.0.2.7"}, "192.0.2.7"},
		{"10.1.2.3:80", nil, "10.1.2.3"},
		{"10.1.2.3:80", []string{"192.0.2.7", "192.0.2.8"}, "10.1.2.3"},
		{"10.1.2.3:80", []string{"192.0.2.7, 192.0.2.8"}, "10.1.2.3"},
		{"10.1.2.3:80", []string{"nonsense"}, "10.1.2.3"},
		{"198.51.100.1:80", []string{"192.0.2.7"}, "198.51.100.1"}, // says a stranger
		{"[2001:db8::1]:80", []string{"192.0.2.7"}, "2001:db8::/64"},
		{"[fe80::1%eth0]:80", nil, "fe80::/64"},
		{"pipe", []string{"192.0.2.7"}, "pipe"},
	} {
		r := &http.Request{RemoteAddr: tc.peer, Header: http.Header{"X-Forwarded-For": tc.forwarded}}
		require.Equal(t, tc.want, clientOf(r, proxies), tc)
	}
	_, err = parsePrefixes("10.0.0.0/8,")
	require.Error(t, err)
	none, err := parsePrefixes("")
	require.NoError(t, err)
	require.Empty(t, none)
}

// from asks for a path as a proxy does for a client.
func (n *node) from(t *testing.T, client, path, more string) (net.Conn, *http.Response) {
	t.Helper()
	c, err := net.Dial("tcp", n.address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	require.NoError(t, c.SetDeadline(time.Now().Add(10*time.Second)))
	_, err = fmt.Fprintf(c, "GET /live/%s HTTP/1.1\r\nHost: %s\r\nX-Forwarded-For: %s\r\n%s\r\n", path, testHost, client, more)
	require.NoError(t, err)
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	require.NoError(t, err)
	return c, res
}

const handshake = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
	"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: " + Subprotocol + "\r\n"

// TestGuestsOfOneClient: all kinds of guests count together, others are not
// concerned, and who leaves makes room.
func TestGuestsOfOneClient(t *testing.T) {
	n := start(t, "--client-tunnels", "2")
	tunnel, res := n.from(t, "192.0.2.7", "k", handshake)
	require.Equal(t, 101, res.StatusCode)
	n.log.await(t, "tunnel opened") // it counts only then
	_, res = n.from(t, "192.0.2.7", "k/c?as=sse", "")
	require.Equal(t, 200, res.StatusCode)
	for path, more := range map[string]string{"k": handshake, "k/c?as=sse": "", "k/c?wait=9s": ""} {
		_, res = n.from(t, "192.0.2.7", path, more)
		require.Equal(t, http.StatusTooManyRequests, res.StatusCode, path)
		require.Equal(t, "1", res.Header.Get("Retry-After"), path)
	}
	_, res = n.from(t, "192.0.2.8", "k", handshake)
	require.Equal(t, 101, res.StatusCode)
	require.NoError(t, tunnel.Close())
	require.Eventually(t, func() bool {
		_, res := n.from(t, "192.0.2.7", "k", handshake)
		return res.StatusCode == 101
	}, 10*time.Second, time.Millisecond)
}

// TestChannelsOfOneClient: its tunnels share them.
func TestChannelsOfOneClient(t *testing.T) {
	n := start(t, "--client-channels", "3")
	a, b := n.open(t, "a"), n.open(t, "b") // of one address
	a.subscribe("one", nil)
	a.subscribe("two", nil)
	b.subscribe("one", nil)
	b.send(`{"op":"subscribe","channel":"two"}`)
	require.Equal(t, "too-many-channels", b.next()["code"])
	b.wantClose(ClosePolicy)
	a.send(`{"op":"unsubscribe","channel":"one"}`)
	a.subscribe("three", nil)
	c := n.open(t, "c")
	n.log.await(t, "tunnel closed")
	c.subscribe("one", nil)
}

// TestNewChannelsOfOneClient: however it would make more than it may it is
// refused, while it goes on in those that it has, and others are not concerned.
func TestNewChannelsOfOneClient(t *testing.T) {
	n := start(t, "--client-new-channels", "2")
	post := func(client, path string) *http.Response {
		r, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+testHost+"/live/"+path, strings.NewReader("x"))
		require.NoError(t, err)
		r.Header.Set("X-Forwarded-For", client)
		res, err := n.far().Do(r)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		return res
	}
	require.Equal(t, 200, post("127.0.0.1", "k/one").StatusCode) // whose tunnels are below
	_, res := n.from(t, "127.0.0.1", "k/two", "")
	require.Equal(t, 200, res.StatusCode)
	res = post("127.0.0.1", "k/three")
	require.Equal(t, http.StatusTooManyRequests, res.StatusCode)
	require.Equal(t, "1", res.Header.Get("Retry-After"))
	for _, path := range []string{"k/three", "k/three?wait=9s", "other/one?as=sse"} {
		_, res := n.from(t, "127.0.0.1", path, "")
		require.Equal(t, http.StatusTooManyRequests, res.StatusCode, path)
	}
	for _, op := range []string{"subscribe", "publish"} {
		c := n.open(t, "k")
		c.subscribe("one", nil)
		c.send(`{"op":"` + op + `","channel":"three"}`)
		require.Equal(t, "too-many-channels", c.next()["code"])
		c.wantClose(ClosePolicy)
	}
	require.Equal(t, 200, post("127.0.0.1", "k/one").StatusCode)
	require.Equal(t, 200, post("192.0.2.8", "k/three").StatusCode)
}

// TestACrowdIsForgotten: what a client had leaves no trace.
func TestACrowdIsForgotten(t *testing.T) {
	c := crowd{guests: 2, by: map[string]*share{}}
	for i := range 100_000 {
		c.enter(fmt.Sprint(i))
		c.enter(fmt.Sprint(i))
		require.True(t, c.crowded(fmt.Sprint(i)))
		c.leave(fmt.Sprint(i))
		require.False(t, c.crowded(fmt.Sprint(i)))
		c.leave(fmt.Sprint(i))
	}
	require.Empty(t, c.by)
}
