package live

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"
)

// ask sends a request over a connection of its own.
func (p *pipes) ask(t *testing.T, path string) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, far := net.Pipe()
	p.conns <- far
	_, err := fmt.Fprintf(conn, "GET /live/%s HTTP/1.1\r\nHost: %s\r\n\r\n", path, testHost)
	require.NoError(t, err)
	return conn, bufio.NewReader(conn)
}

// publish says something in a channel, over a connection of its own.
func (p *pipes) publish(t *testing.T, path, data string) {
	t.Helper()
	conn, far := net.Pipe()
	p.conns <- far
	defer conn.Close()
	r, err := http.NewRequest(http.MethodPost, "http://"+testHost+"/live/"+path, strings.NewReader(data))
	require.NoError(t, err)
	require.NoError(t, r.Write(conn))
	resp, err := http.ReadResponse(bufio.NewReader(conn), r)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusOK, resp.StatusCode)
}

// TestSlowReaderIsCutAndDelaysNobody: who reads nothing is cut when its queue is
// full, and told to come back with its positions; nobody else waits for it.
func TestSlowReaderIsCutAndDelaysNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, stop := serve(t, "--queue-bytes", "256KiB", "--history-bytes", "16MiB")
		open := func() *client {
			conn, _ := p.dial(t)
			conn.SetReadLimit(1 << 20)
			return &client{t: t, conn: conn}
		}
		slow, fast := open(), open()
		at, _ := slow.subscribe("c", nil)
		fast.subscribe("c", nil)
		began := time.Now()
		const messages = 200
		data := strings.Repeat("x", 32<<10)
		for i := range messages {
			p.publish(t, "k/c", data)
			fast.wantMessage("c", i+1, data)
		}
		require.Equal(t, began, time.Now(), "nobody waited")
		slow.wantClose(CloseResume)

		again := open()
		at.Offset = messages - 100
		_, recovered := again.subscribe("c", &at)
		require.Equal(t, "replay", recovered, "more than the queue's bytes, for it was asked for")
		for i := range 100 {
			again.wantMessage("c", messages-100+i+1, data)
		}
		_, _ = fast.conn.CloseNow(), again.conn.CloseNow()
		stop()
	})
}

// TestStalledStream: a stream whose client takes nothing is gone about a minute
// later, whether or not anything is said.
func TestStalledStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, stop := serve(t)
		opened := time.Now()
		conn, _ := p.ask(t, "k/c?as=sse") // and never reads
		for (<-p.log.records).Message != "stream closed" {
		}
		require.InDelta(t, deadAfter, time.Since(opened), float64(pingEvery+2*stopTime))
		stop()
		_ = conn.Close()
	})
}

// TestFrameThatNeverEnds: a frame must be complete in time, whether or not its
// sender answers pings.
func TestFrameThatNeverEnds(t *testing.T) {
	for _, answers := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			p, stop := serve(t)
			conn, r := p.upgrade(t)
			opened := time.Now()
			writer := make(chan struct{})
			go func() {
				defer close(writer)
				_ = writeFrame(conn, 0x01, nil) // text, more to come
				for writeFrame(conn, 0x00, nil) == nil {
					time.Sleep(time.Second)
				}
			}()
			code := 0
			for code == 0 {
				op, payload, err := readFrame(r)
				if err != nil {
					code = -1
				} else if op == 0x88 {
					code = int(binary.BigEndian.Uint16(payload))
				} else if op == 0x89 && answers {
					go func() { _ = writeFrame(conn, 0x8a, payload) }()
				}
			}
			require.Equal(t, CloseBadRequest, code)
			require.LessOrEqual(t, time.Since(opened), pingEvery+time.Second)
			go func() { _, _ = io.Copy(io.Discard, r) }()
			for (<-p.log.records).Message != "tunnel closed" {
			}
			stop()
			_ = conn.Close()
			<-writer
		})
	}
}

// TestCloseThatNeverEnds: a peer that goes on with a frame without end instead of
// taking its leave is left all the same.
func TestCloseThatNeverEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, stop := serve(t)
		conn, r := p.upgrade(t)
		require.NoError(t, writeFrame(conn, 0x81, []byte(`nonsense`)))
		for op := byte(0); op != 0x88; {
			var err error
			op, _, err = readFrame(r)
			require.NoError(t, err)
		}
		closed := time.Now()
		writer := make(chan struct{})
		go func() {
			defer close(writer)
			// The head of a frame of a tebibyte.
			_, err := conn.Write([]byte{0x82, 0xff, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0})
			for err == nil && time.Since(closed) < time.Hour {
				time.Sleep(time.Second)
				_, err = conn.Write([]byte{0})
			}
			_ = conn.Close()
		}()
		for (<-p.log.records).Message != "tunnel closed" {
		}
		require.LessOrEqual(t, time.Since(closed), 2*stopTime+time.Second)
		stop()
		<-writer
	})
}

// TestBrokenFrames: what no client of RFC 6455 sends.
func TestBrokenFrames(t *testing.T) {
	n := start(t)
	masked := func(head byte, payload string) string {
		return string([]byte{head, 0x80 | byte(len(payload)), 0, 0, 0, 0}) + payload
	}
	for name, tc := range map[string]struct {
		frame string
		code  int
	}{
		"reserved bits":        {masked(0xf1, ""), CloseProtocol},
		"unknown opcode":       {masked(0x85, "abc"), CloseProtocol},
		"continues nothing":    {masked(0x80, "abc"), CloseProtocol},
		"begins within":        {masked(0x01, "abc") + masked(0x81, "abc"), CloseProtocol},
		"long ping":            {"\x89\xfe\x00\x7e\x00\x00\x00\x00" + strings.Repeat("a", 126), CloseProtocol},
		"ping in pieces":       {masked(0x09, "a"), CloseProtocol},
		"close with no code":   {masked(0x88, "a"), CloseProtocol},
		"close with a bad one": {masked(0x88, "\x00\x05"), CloseProtocol},
		"not masked":           {"\x81\x02{}", 0},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", n.address)
			require.NoError(t, err)
			defer conn.Close()
			require.NoError(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
			r := upgrade(t, conn)
			_, err = conn.Write([]byte(tc.frame))
			require.NoError(t, err)
			code := 0
			for {
				op, payload, err := readFrame(r)
				if err != nil {
					require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
					break
				}
				if op == 0x88 {
					require.Zero(t, code, "closed twice")
					code = int(binary.BigEndian.Uint16(payload))
				}
			}
			require.Equal(t, tc.code, code)
		})
	}
}

// upgrade opens a tunnel whose frames the test writes by hand.
func (p *pipes) upgrade(t *testing.T) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, far := net.Pipe()
	p.conns <- far
	return conn, upgrade(t, conn)
}

func upgrade(t testing.TB, conn net.Conn, more ...byte) *bufio.Reader {
	t.Helper()
	_, err := fmt.Fprintf(conn, "GET /live/k HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: %s\r\n\r\n%s", testHost, Subprotocol, more)
	require.NoError(t, err)
	r := bufio.NewReaderSize(conn, 512)
	res, err := http.ReadResponse(r, nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusSwitchingProtocols, res.StatusCode)
	return r
}

// TestEagerClient: what comes with the request is not lost.
func TestEagerClient(t *testing.T) {
	n := start(t)
	conn, err := net.Dial("tcp", n.address)
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
	var frame bytes.Buffer
	require.NoError(t, writeFrame(&frame, 0x81, []byte(`{"op":"subscribe","channel":"c"}`)))
	_, payload, err := readFrame(upgrade(t, conn, frame.Bytes()...))
	require.NoError(t, err)
	require.Contains(t, string(payload), `"subscribed"`)
}

// writeFrame writes a client's frame of less than 126 bytes. The first byte
// holds the opcode, and 0x80 if it is the last of its message.
func writeFrame(w io.Writer, op byte, payload []byte) error {
	b := append([]byte{op, 0x80 | byte(len(payload)), 0, 0, 0, 0}, payload...) // a mask of zeros
	_, err := w.Write(b)
	return err
}

// readFrame reads a server's frame.
func readFrame(r *bufio.Reader) (op byte, payload []byte, err error) {
	var head [2]byte
	if _, err = io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	n := uint64(head[1])
	if extra := map[uint64]int{126: 2, 127: 8}[n]; extra > 0 {
		var b [8]byte
		if _, err = io.ReadFull(r, b[8-extra:]); err != nil {
			return 0, nil, err
		}
		n = binary.BigEndian.Uint64(b[:])
	}
	payload = make([]byte, n)
	_, err = io.ReadFull(r, payload)
	return head[0], payload, err
}

// TestPieces: what bounds a frame bounds its pieces together, and what must
// hold for a frame must hold for the whole of it.
func TestPieces(t *testing.T) {
	n := start(t)
	other := n.open(t, "k")
	other.subscribe("c", nil)
	for name, tc := range map[string]struct {
		pieces []string
		code   int
	}{
		"whole":     {[]string{`{"op":"publish",`, ``, `"channel":"d","data":"é"}`}, 0},
		"split é":   {[]string{"{\"op\":\"publish\",\"channel\":\"d\",\"data\":\"\xc3", "\xa9\"}"}, 0},
		"too large": {strings.SplitAfter(strings.Repeat(strings.Repeat(" ", 99)+"x", maxFrame/100+1), "x"), CloseTooBig},
		"not UTF-8": {[]string{"{\"op\":\"publish\",\"channel\":\"d\",\"data\":\"\xc3", "x\"}"}, CloseBadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", n.address)
			require.NoError(t, err)
			defer conn.Close()
			require.NoError(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
			r := upgrade(t, conn)
			go func() {
				op := byte(websocket.MessageText)
				for i, piece := range tc.pieces {
					if i == len(tc.pieces)-1 {
						op |= 0x80
					}
					if writeFrame(conn, op, []byte(piece)) != nil {
						return
					}
					op = 0
				}
			}()
			for {
				op, payload, err := readFrame(r)
				require.NoError(t, err)
				if op == 0x88 {
					require.Equal(t, tc.code, int(binary.BigEndian.Uint16(payload)))
					break
				}
				if strings.Contains(string(payload), `"published"`) {
					require.Zero(t, tc.code)
					break
				}
			}
		})
	}
	at := n.publish(t, "k/c", "unharmed")
	other.wantMessage("c", int(at.Offset), "unharmed")
}

// overtaken is a request that somebody else gets ahead of while it is upgraded.
type overtaken struct {
	http.ResponseWriter
	conn  net.Conn
	ahead func()
}

func (o overtaken) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	o.ahead()
	return o.conn, bufio.NewReadWriter(bufio.NewReader(o.conn), bufio.NewWriter(o.conn)), nil
}

// TestRefusedAfterAll: whom another took the last place from after the upgrade is
// told so, and cannot stay by never coming to the end of a frame.
func TestRefusedAfterAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPipes()
		o, err := parse(p, []string{"--max-tunnels", "1"})
		require.NoError(t, err)
		s, err := newServer(t.Context(), p, o, p)
		require.NoError(t, err)
		near, far := net.Pipe()
		defer near.Close()
		r := httptest.NewRequest("GET", "http://"+testHost+"/live/k", nil)
		for name, value := range map[string]string{"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
			"Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==", "Sec-WebSocket-Protocol": Subprotocol} {
			r.Header.Set(name, value)
		}
		gone := make(chan struct{})
		go func() {
			defer close(gone)
			s.openTunnel(overtaken{httptest.NewRecorder(), far, func() { s.admit(&caller{}, func() {}) }}, r, visit{host: testHost, raw: far})
		}()
		told := bufio.NewReader(near)
		op, payload, err := readFrame(told)
		require.NoError(t, err)
		require.Equal(t, byte(0x88), op)
		require.Equal(t, CloseFull, int(payload[0])<<8|int(payload[1]))

		endless := append([]byte{0x82, 0xff}, binary.BigEndian.AppendUint64(nil, 1<<40)...)
		_, err = near.Write(append(endless, 1, 2, 3, 4))
		for began := time.Now(); err == nil && time.Since(began) < time.Minute; time.Sleep(time.Second) {
			_, err = near.Write([]byte("x"))
		}
		require.Error(t, err, "it is still there")
		<-gone
	})
}
