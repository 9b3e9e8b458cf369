package sim

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// The rules of determinism, each with a program that keeps it and, where code
// can break it, one that does not. A program that keeps the rules must leave
// one trace however often it runs; one that breaks them must be caught.

// programs are run by name in processes of their own.
var programs = map[string]func(w *World){
	"http over tls":             tlsClients,
	"goroutines, one transport": oneTransport,
	"goroutines, a thin link":   thinLink,
	"choices by name":           func(w *World) { racingChoices(w, false) },
	"choices by shared stream":  func(w *World) { racingChoices(w, true) },
	"distinct deadlines":        func(w *World) { tickers(w, false) },
	"bare ticker grid":          func(w *World) { tickers(w, true) },
	"sorted keys":               func(w *World) { mapSends(w, false) },
	"map range that sends":      func(w *World) { mapSends(w, true) },
	"faults":                    faultyWeather,
	"datagrams":                 racingDatagrams,
	"shared listener":           sharedListener,
	"many processes":            manyProcesses,
	"one instant":               oneInstant,
	"two neighbours":            neighbours,
	"two neighbours, and more":  moreNeighbours,
}

func TestReplay(t *testing.T) {
	for _, tt := range []struct {
		program string
		exact   bool
		runs    int
	}{
		{"http over tls", true, 8},
		{"goroutines, one transport", true, 12},
		{"goroutines, a thin link", true, 12},
		{"choices by name", true, 8},
		{"choices by shared stream", false, 20},
		{"distinct deadlines", true, 8},
		{"bare ticker grid", false, 20},
		{"sorted keys", true, 8},
		{"map range that sends", false, 20},
		{"faults", true, 8},
		{"datagrams", true, 8},
		{"shared listener", true, 8},
		{"many processes", true, 12},
	} {
		t.Run(tt.program, func(t *testing.T) {
			traces := map[string]string{}
			for i := range tt.runs {
				trace := traceOf(t, tt.program, fmt.Sprintf("GOMAXPROCS=%d", 1+i%4))
				traces[trace] = trace
				if len(traces) > 1 && !tt.exact {
					return
				}
			}
			if tt.exact {
				require.True(t, len(traces) == 1, "%d traces; the first divergent event: %s", len(traces), firstDivergence(traces))
				return
			}
			require.Greater(t, len(traces), 1, "the leak was not caught")
		})
	}
}

// traceOf runs a program in a process of its own.
func traceOf(t *testing.T, program string, env ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "trace")
	cmd := exec.Command(os.Args[0], "-test.run=^TestProgram$")
	cmd.Env = append(append(os.Environ(), "SIM_PROGRAM="+program, "SIM_TRACE="+file, "GORACE=atexit_sleep_ms=0"), env...)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	trace, err := os.ReadFile(file)
	require.NoError(t, err)
	require.NotEmpty(t, trace)
	return string(trace)
}

func firstDivergence(traces map[string]string) string {
	var all [][]string
	for _, t := range traces {
		all = append(all, strings.Split(t, "\n"))
	}
	if len(all) < 2 {
		return ""
	}
	for i := range min(len(all[0]), len(all[1])) {
		if all[0][i] != all[1][i] {
			return fmt.Sprintf("line %d\n%s\n%s", i+1, all[0][i], all[1][i])
		}
	}
	return "one is a prefix of the other"
}

// TestProgram is the process of its own.
func TestProgram(t *testing.T) {
	program := programs[os.Getenv("SIM_PROGRAM")]
	if program == nil {
		return // only a part of other tests
	}
	until, _ := time.ParseDuration(os.Getenv("SIM_UNTIL"))
	var trace bytes.Buffer
	dog := startWatchdog(0)
	defer dog.stop()
	synctest.Test(t, func(t *testing.T) {
		result, err := inBubble(Options{Seed: 7, Trace: &trace}, dog, func(w *World) error {
			if until == 0 {
				program(w)
				return nil
			}
			go program(w)
			time.Sleep(until)
			return nil
		})
		require.NoError(t, err)
		if len(result.Leaks) > 0 {
			fmt.Println(strings.Join(result.Leaks, "\n\n"))
			os.Exit(1)
		}
	})
	require.NoError(t, os.WriteFile(os.Getenv("SIM_TRACE"), trace.Bytes(), 0o600))
}

// serve runs an HTTP server that answers with as many bytes as the path says.
func serve(m *Machine, address string, config *tls.Config) {
	m.OnBoot(func(m *Machine) {
		m.Start("web", func(p *Process) error {
			l, err := p.Listen("tcp", address)
			if err != nil {
				return err
			}
			if config != nil {
				l = tls.NewListener(l, config)
			}
			s := http.Server{Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				var n int
				fmt.Sscanf(r.URL.Path, "/%d", &n)
				p.Emit("request", Field{"path", r.URL.Path})
				rw.Write(make([]byte, n))
			})}
			err = s.Serve(l)
			p.Emit("served")
			return err
		})
	})
}

func get(c *http.Client, url string) error {
	r, err := c.Get(url)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	_, err = io.Copy(io.Discard, r.Body)
	return err
}

func selfSigned(names ...string) (*tls.Config, *x509.CertPool) {
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: names, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(nil, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, pool
}

func tlsClients(w *World) {
	config, pool := selfSigned("server")
	serve(w.NewMachine("server", In("us", "a")), ":443", config)
	var wg sync.WaitGroup
	for i := range 10 {
		m := w.NewMachine(fmt.Sprintf("client-%d", i), In("eu", "a"))
		wg.Go(func() {
			tr := &http.Transport{DialContext: m.DialContext, TLSClientConfig: &tls.Config{RootCAs: pool}}
			c := &http.Client{Transport: tr, Timeout: 10 * time.Second}
			for n := range 10 {
				time.Sleep(10 * time.Millisecond)
				if err := get(c, fmt.Sprintf("https://server/%d", i*1000+n)); err != nil {
					w.Emit("failed", Field{"client", m.Name()}, Field{"error", err.Error()})
				}
			}
		})
	}
	wg.Wait()
}

func oneTransport(w *World) { manyGets(w, w.NewMachine("server"), w.NewMachine("client")) }

// thinLink has handshakes of one instant take their turns on a limited link.
func thinLink(w *World) {
	server, client := w.NewMachine("server"), w.NewMachine("client")
	w.Link(server, client).Impair(Conditions{Bandwidth: 100_000}, time.Hour)
	manyGets(w, server, client)
}

func manyGets(w *World, server, m *Machine) {
	serve(server, ":80", nil)
	c := &http.Client{Transport: &http.Transport{DialContext: m.DialContext}}
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			if err := get(c, fmt.Sprintf("http://server/%d", i*i)); err != nil {
				w.Emit("failed", Field{"error", err.Error()})
			}
		})
	}
	wg.Wait()
}

// racingChoices lets goroutines draw at one instant.
func racingChoices(w *World, shared bool) {
	m := w.NewMachine("m")
	var mu sync.Mutex
	var drawn uint64
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			time.Sleep(time.Millisecond)
			x := m.Rand(fmt.Sprintf("goroutine %d", i), 0)
			if shared {
				mu.Lock()
				x = m.Rand("stream", drawn)
				drawn++
				mu.Unlock()
			}
			w.Emit("drawn", Field{"by", fmt.Sprint(i)}, Field{"x", fmt.Sprint(x)})
		})
	}
	wg.Wait()
}

// tickers count together, each on its own ticker.
func tickers(w *World, grid bool) {
	m := w.NewMachine("m")
	m.Start("tickers", func(p *Process) error {
		var mu sync.Mutex
		count := 0
		var wg sync.WaitGroup
		for i := range 20 {
			period := time.Millisecond
			if !grid {
				period += time.Duration(i)
			}
			wg.Go(func() {
				tick := time.NewTicker(period)
				defer tick.Stop()
				for range 5 {
					<-tick.C
					mu.Lock()
					count++
					n := count
					mu.Unlock()
					p.Emit("tick", Field{"by", fmt.Sprint(i)}, Field{"count", fmt.Sprint(n)})
				}
			})
		}
		wg.Wait()
		return nil
	})
	time.Sleep(time.Second)
}

// mapSends sends messages of different sizes, one after another.
func mapSends(w *World, unsorted bool) {
	server, client := w.NewMachine("server"), w.NewMachine("client")
	server.Start("sink", func(p *Process) error {
		c, err := p.ListenPacket("udp", ":9")
		if err != nil {
			return err
		}
		for b := make([]byte, 2000); ; {
			if _, _, err := c.ReadFrom(b); err != nil {
				return nil
			}
		}
	})
	time.Sleep(time.Second)
	c, err := client.DialContext(context.Background(), "udp", "server:9")
	if err != nil {
		panic(err)
	}
	sizes := map[string]int{}
	for i := range 20 {
		sizes[fmt.Sprint("key ", i)] = i * 10
	}
	send := func(n int) {
		time.Sleep(time.Millisecond)
		c.Write(make([]byte, n))
	}
	if unsorted {
		for _, n := range sizes {
			send(n)
		}
	} else {
		for i := range 20 {
			send(sizes[fmt.Sprint("key ", i)])
		}
	}
	time.Sleep(time.Second)
}

// racingDatagrams are sent by many goroutines of one socket at one instant, over
// a link that loses and repeats some.
func racingDatagrams(w *World) {
	server, client := w.NewMachine("server"), w.NewMachine("client")
	server.Start("echo", func(p *Process) error {
		c, err := p.ListenPacket("udp", ":9")
		if err != nil {
			return err
		}
		for b := make([]byte, 2000); ; {
			n, from, err := c.ReadFrom(b)
			if err != nil {
				return nil
			}
			c.WriteTo(b[:n], from)
		}
	})
	w.Impair("weather", Conditions{Loss: 200_000, Duplicate: 200_000, Jitter: 3 * time.Millisecond},
		func(from, to *Machine) bool { return true })
	time.Sleep(time.Second)
	c, err := client.ListenPacket("udp", ":0")
	if err != nil {
		panic(err)
	}
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			c.WriteTo(make([]byte, 10+i), net.UDPAddrFromAddrPort(netip.AddrPortFrom(server.Addr(), 9)))
		})
	}
	wg.Wait()
	time.Sleep(time.Second)
}

func sharedListener(w *World) {
	server := w.NewMachine("server")
	server.Start("parent", func(p *Process) error {
		l, err := p.Listen("tcp", ":80")
		if err != nil {
			return err
		}
		for i := range 3 {
			_, err := p.Start(fmt.Sprintf("child-%d", i), func(p *Process) error {
				s := http.Server{Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
					p.Emit("request")
					fmt.Fprint(rw, p.Name())
				})}
				return s.Serve(p.Inherited()[0])
			}, l)
			if err != nil {
				return err
			}
		}
		<-p.Context().Done()
		return nil
	})
	m := w.NewMachine("client")
	c := &http.Client{Transport: &http.Transport{DialContext: m.DialContext, DisableKeepAlives: true}}
	time.Sleep(time.Second)
	for range 30 {
		if err := get(c, "http://server/"); err != nil {
			w.Emit("failed", Field{"error", err.Error()})
		}
	}
}

// manyProcesses has the processes of two machines do everything at one instant:
// they bind, dial, accept from one backlog, and leave with their streams open. The
// link is thin, so that the order of what they send can be seen.
func manyProcesses(w *World) {
	server, client := w.NewMachine("server"), w.NewMachine("client")
	together := func() { time.Sleep((w.Elapsed()/time.Second+1)*time.Second - w.Elapsed()) }
	server.Start("parent", func(p *Process) error {
		l, err := p.Listen("tcp", ":80")
		for i := 0; i < 5 && err == nil; i++ {
			_, err = p.Start(fmt.Sprint("child ", i), func(p *Process) error {
				time.Sleep(time.Second)
				for together(); ; {
					c, err := p.Inherited()[0].Accept()
					if err != nil {
						return err
					}
					p.Emit("accepted", Field{"from", c.RemoteAddr().String()})
					go io.Copy(io.Discard, c)
				}
			}, l)
		}
		<-p.Context().Done()
		return err
	})
	for i := range 20 {
		client.Start(fmt.Sprint("process ", i), func(p *Process) error {
			together()
			u, err := p.ListenPacket("udp", ":0")
			if err != nil {
				return err
			}
			c, err := p.DialContext(p.Context(), "tcp", "server:80")
			if err != nil {
				return err
			}
			p.Emit("dialled", Field{"from", c.LocalAddr().String()}, Field{"bound", u.LocalAddr().String()})
			if _, err := c.Write(make([]byte, 1+i)); err != nil {
				return err
			}
			time.Sleep(time.Second)
			together()
			return nil // the world closes the stream
		})
	}
	w.Link(server, client).Impair(Conditions{Bandwidth: 10_000}, time.Hour)
	time.Sleep(5 * time.Second)
	victim := client.Start("victim", func(p *Process) error {
		for range 10 {
			if _, err := p.DialContext(p.Context(), "tcp", "server:80"); err != nil {
				return err
			}
		}
		<-p.Context().Done()
		return nil
	})
	time.Sleep(time.Second)
	victim.Kill() // a reset for each of its streams
	time.Sleep(time.Second)
}

// faultyWeather has clients work while their server is cut off, paused, killed,
// and loses its power.
func faultyWeather(w *World) {
	server := w.NewMachine("server", In("us", "a"))
	serve(server, ":80", nil)
	var wg sync.WaitGroup
	for i := range 5 {
		m := w.NewMachine(fmt.Sprintf("client-%d", i), In("eu", "a"))
		wg.Go(func() {
			c := &http.Client{Transport: &http.Transport{DialContext: m.DialContext}, Timeout: 3 * time.Second}
			for n := range 60 {
				time.Sleep(time.Second)
				if err := get(c, fmt.Sprintf("http://server/%d", n*1000)); err != nil {
					w.Emit("failed", Field{"client", m.Name()}, Field{"error", err.Error()})
				}
			}
		})
		w.At(5*time.Second, func() { w.Link(m, server).Impair(Conditions{Loss: 100_000, Bandwidth: 1 << 20}, 10*time.Second) })
		w.At(16*time.Second, func() { w.Link(server, m).CutOneWay(7 * time.Second) })
	}
	w.At(25*time.Second, server.Pause)
	w.At(30*time.Second, server.Resume)
	w.At(35*time.Second, func() {
		for _, p := range server.Processes() {
			p.Kill()
		}
	})
	w.At(40*time.Second, server.PowerOff)
	w.At(45*time.Second, server.PowerOn)
	wg.Wait()
}
