package live

import (
	"bufio"
	"context"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/nodes"
)

// The benchmarks of `make bench-live`: this role beside a minimal server that
// broadcasts, in one process over real loopback sockets. Clients write and read
// frames by hand, so that they cost little more than their sockets, and both
// servers pay for the same ones. Nothing here is held to a figure.

// rival is a server to compare.
type rival struct {
	name  string
	start func(b *testing.B) contender
}

type contender interface {
	dial(b *testing.B) (net.Conn, *bufio.Reader)        // a subscriber
	stall(b *testing.B) (cut func() bool, leave func()) // a subscriber who reads nothing, until it is cut or leaves
	publish(data string)
	subscribers() int
}

func rivals() []rival {
	return []rival{
		{"live", startLive},
		{"minimal", startMinimal},
	}
}

// BenchmarkLiveIdle is what a subscriber who hears nothing costs the server in
// heap and stacks, without what the kernel holds for its socket.
func BenchmarkLiveIdle(b *testing.B) {
	const tunnels = 2000
	for _, r := range rivals() {
		b.Run(r.name, func(b *testing.B) {
			c := r.start(b)
			total, n := int64(0), 0
			for b.Loop() {
				before := memory()
				conns := make([]net.Conn, tunnels)
				for i := range conns {
					conns[i], _ = c.dial(b)
				}
				total, n = total+memory()-before, n+tunnels
				for _, conn := range conns {
					_ = conn.Close()
				}
				require.Eventually(b, func() bool { return c.subscribers() == 0 }, time.Minute, 10*time.Millisecond)
			}
			perTunnel := float64(total) / float64(n)
			b.ReportMetric(perTunnel, "B/tunnel")
			b.ReportMetric(1<<30/perTunnel, "tunnels/GiB")
		})
	}
}

func memory() int64 {
	for range 3 {
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}

// BenchmarkLiveFanOut is one publisher and a thousand subscribers but one, in turns
// of two hundred messages. In every second turn there is another, who reads nothing;
// whenever that is cut, the next comes in its place. Both kinds of turns meet the
// same noise of the machine so, and their latencies may be compared. The next
// message is published when all who read have the last.
func BenchmarkLiveFanOut(b *testing.B) {
	const (
		readers = 999
		turn    = 200
	)
	for _, r := range rivals() {
		b.Run(r.name, func(b *testing.B) {
			c := r.start(b)
			start := time.Now()
			var published atomic.Int64 // since start
			heard := make(chan time.Duration, readers)
			gone := make(chan bool, readers)
			for range readers {
				conn, r := c.dial(b)
				b.Cleanup(func() { _ = conn.Close() })
				go func() {
					for {
						op, payload, err := readFrame(r)
						if err != nil {
							gone <- true
							return
						}
						switch {
						case op == 0x81 && len(payload) > 1000:
							heard <- time.Since(start) - time.Duration(published.Load())
						case op == 0x89:
							_ = writeFrame(conn, 0x8a, payload)
						}
					}
				}()
			}
			data := strings.Repeat("x", 1<<10)
			publish := func(latencies []time.Duration) []time.Duration {
				published.Store(int64(time.Since(start)))
				c.publish(data)
				for range readers {
					select {
					case latency := <-heard:
						latencies = append(latencies, latency)
					case <-gone:
						b.Fatal("somebody who read was cut")
					}
				}
				return latencies
			}
			var without, with []time.Duration
			cuts := 0
			for b.Loop() {
				for range turn {
					without = publish(without)
				}
				b.StopTimer()
				cut, leave := c.stall(b)
				b.StartTimer()
				for range turn {
					with = publish(with)
					if cut() {
						cuts++
						b.StopTimer()
						leave()
						cut, leave = c.stall(b)
						b.StartTimer()
					}
				}
				b.StopTimer()
				leave()
				b.StartTimer()
			}
			if b.N > 1 { // else it may have been too short
				require.Positive(b, cuts, "who read nothing was not cut")
			}
			b.ReportMetric(float64(len(without)+len(with))/b.Elapsed().Seconds(), "deliveries/s")
			b.ReportMetric(percentile(without, 99), "p99-ms")
			b.ReportMetric(percentile(with, 99), "p99-stalled-ms")
			b.ReportMetric(percentile(with, 99)/percentile(without, 99), "stalled/not")
			b.ReportMetric(float64(cuts), "cuts")
		})
	}
}

// percentile sorts latencies and gives one of them, in milliseconds.
func percentile(latencies []time.Duration, percent int) float64 {
	slices.Sort(latencies)
	return float64(latencies[len(latencies)*percent/100].Microseconds()) / 1000
}

// small gives every connection a small send buffer, so that a reader who reads
// nothing is felt at once.
type small struct{ net.Listener }

func (l small) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		err = c.(*net.TCPConn).SetWriteBuffer(16 << 10)
	}
	return c, err
}

func dialSmall(b *testing.B, address string) (net.Conn, *bufio.Reader) {
	b.Helper()
	conn, err := net.Dial("tcp", address)
	require.NoError(b, err)
	require.NoError(b, conn.(*net.TCPConn).SetReadBuffer(16<<10))
	return conn, upgrade(b, conn)
}

// liveRival is the role of this package.
type liveRival struct {
	s       *server
	address string
}

func startLive(b *testing.B) contender {
	c := &liveRival{}
	host := nodes.Host{Name: "live-1", Region: "us-east", Proc: "live"}
	m, err := nodes.NewOS(nodes.OSOptions{Host: host, Root: b.TempDir(), Log: slog.New(slog.DiscardHandler)})
	require.NoError(b, err)
	// All come from one address, and may be behind as far as with the other.
	o, err := parse(m, []string{"--client-tunnels", "20000", "--queue-bytes", "16KiB"})
	require.NoError(b, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	c.address = l.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	c.s, err = newServer(ctx, m, o, l)
	require.NoError(b, err)
	done := make(chan error)
	go func() { done <- c.s.serve(small{l}) }()
	b.Cleanup(func() {
		cancel()
		<-done
		require.NoError(b, m.Close())
	})
	return c
}

func (c *liveRival) dial(b *testing.B) (net.Conn, *bufio.Reader) {
	conn, r := dialSmall(b, c.address)
	require.NoError(b, writeFrame(conn, 0x81, []byte(`{"op":"subscribe","channel":"c"}`)))
	_, _, err := readFrame(r)
	require.NoError(b, err)
	return conn, r
}

func (c *liveRival) stall(b *testing.B) (func() bool, func()) {
	conn, _ := c.dial(b)
	all := c.s.sorted()
	t := all[len(all)-1].(*tunnel)
	return func() bool { return t.ending.Load() != nil }, func() { _ = conn.Close() }
}

func (c *liveRival) publish(data string) {
	_, _ = c.s.hub.publish("192.0.2.7", testHost+"/k", "c", data)
}
func (c *liveRival) subscribers() int { return len(c.s.sorted()) }

// minimal broadcasts as the chat example of github.com/coder/websocket does.
type minimal struct {
	address string

	mu     sync.Mutex
	all    map[*minimalSubscriber]bool
	newest *minimalSubscriber
}

type minimalSubscriber struct {
	messages chan []byte
	slow     func()
	cut      atomic.Bool
}

func startMinimal(b *testing.B) contender {
	m := &minimal{all: map[*minimalSubscriber]bool{}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	m.address = l.Addr().String()
	web := &http.Server{Handler: m}
	done := make(chan error)
	go func() { done <- web.Serve(small{l}) }()
	b.Cleanup(func() {
		_ = web.Close()
		<-done
	})
	return m
}

func (m *minimal) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{Subprotocol}})
	if err != nil {
		return
	}
	defer conn.CloseNow()
	var once sync.Once
	s := &minimalSubscriber{messages: make(chan []byte, 16)}
	s.slow = func() {
		once.Do(func() {
			s.cut.Store(true)
			go func() {
				_ = conn.Close(websocket.StatusPolicyViolation, "connection too slow to keep up with messages")
			}()
		})
	}
	m.mu.Lock()
	m.all[s], m.newest = true, s
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		delete(m.all, s)
		m.mu.Unlock()
	}()
	s.messages <- []byte("subscribed")
	ctx := conn.CloseRead(context.Background())
	for {
		select {
		case message := <-s.messages:
			ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
			err := conn.Write(ctx, websocket.MessageText, message)
			cancel()
			if err != nil {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

func (m *minimal) dial(b *testing.B) (net.Conn, *bufio.Reader) {
	conn, r := dialSmall(b, m.address)
	_, _, err := readFrame(r)
	require.NoError(b, err)
	return conn, r
}

func (m *minimal) stall(b *testing.B) (func() bool, func()) {
	conn, _ := m.dial(b)
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.newest.cut.Load, func() { _ = conn.Close() }
}

func (m *minimal) subscribers() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.all)
}

func (m *minimal) publish(data string) {
	message := []byte(data)
	m.mu.Lock()
	defer m.mu.Unlock()
	for s := range m.all {
		select {
		case s.messages <- message:
		default:
			s.slow()
		}
	}
}
