//go:build linux

package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/espra/protoplex/nodes"
	"github.com/espra/protoplex/nodes/meta"
	"github.com/espra/protoplex/nodes/meta/ca"
)

// A node is upgraded again and again: no request fails, and tunnels stay, each
// with the generation that it came to, until they end by themselves. A program
// that does not serve changes nothing.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	p := startProxy(ctx, t, "--drain-window", "300ms", "--drain", "1h")
	stop := publishAll(ctx, t, p.port)
	var tunnels []*tunnel
	for generation := 2; generation <= 4; generation++ {
		tunnels = append(tunnels, subscribe(ctx, t, p.port, nil))
		release := p.release(t, strconv.Itoa(generation))
		require.NoError(t, p.cmd.Process.Signal(syscall.SIGHUP))
		p.await(t, "generation serves", generation)
		p.await(t, "generation retires", generation-1)
		require.Contains(t, p.programs(t), release)
		publish(ctx, t, p.port, "while "+release+" serves")
		for _, tun := range tunnels {
			require.Equal(t, "while "+release+" serves", tun.next(ctx, t).Data)
		}
	}

	p.install(t, "/bin/false")
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGHUP))
	failed := p.await(t, "upgrade failed", 5)
	require.Equal(t, "it ended before it served: exit status 1", failed.Error)
	require.Equal(t, 4, failed.Serving)
	p.install(t, filepath.Join(filepath.Dir(p.path), "nothing"))
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGHUP))
	require.Contains(t, p.await(t, "upgrade failed", 6).Error, "no such file or directory")
	require.Greater(t, stop(), int64(100), "there was load")

	publish(ctx, t, p.port, "last")
	for _, tun := range tunnels {
		require.Equal(t, "last", tun.next(ctx, t).Data)
		require.NoError(t, tun.conn.CloseNow())
	}
	ended := map[int]bool{}
	for l := range p.lines {
		if l.Msg == "generation ended" {
			ended[l.Generation] = true
		}
		if ended[1] && ended[2] && ended[3] {
			break
		}
	}
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, p.cmd.Wait())
}

// The meta port and the place in the cell pass to the new generation.
func TestUpgradeOfAMember(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	dir, desked := filepath.Join(t.TempDir(), "cell"), freePorts(t)
	up := startUp(ctx, t, dir, desked)
	d := desk{base: netip.AddrFrom4([4]byte{127, byte(desked >> 8), byte(desked), 0})}
	file, err := os.ReadFile(filepath.Join(dir, "authority.pem"))
	require.NoError(t, err)
	authority, err := ca.Load(file)
	require.NoError(t, err)
	certify := func(role, name string) []byte {
		cert, err := authority.Node(rand.Reader, role, name, time.Now(), time.Now().Add(time.Hour))
		require.NoError(t, err)
		return cert
	}
	files := t.TempDir()
	cert, roots := filepath.Join(files, "cell.pem"), filepath.Join(files, "roots.pem")
	require.NoError(t, os.WriteFile(cert, certify("proxy", "proxy-2"), 0o600))
	require.NoError(t, os.WriteFile(roots, authority.RootsPEM(), 0o600))

	m, err := nodes.NewOS(nodes.OSOptions{Root: files})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	id, err := ca.NewIdentity(certify("admin", "me"), authority.RootsPEM())
	require.NoError(t, err)
	for _, children := range []string{"0", "2"} {
		port := freePorts(t)
		p := &keptProxy{path: filepath.Join(t.TempDir(), "protoplex"), port: port, lines: make(chan line, 10_000)}
		p.release(t, "1")
		address := local(port + 1)
		p.run(ctx, t, "--addr", "127.0.0.1", "--", "--http", local(port), "--https=", "--allow-plain", "--host", deskHost,
			"--children", children, "--drain-window", "10ms", "--drain", "1h", "--meta", address,
			"--seeds", fmt.Sprintf("seed=%s,understudy=%s", d.address("seed", metaPort), d.address("understudy", metaPort)),
			"--cell-cert", cert, "--cell-roots", roots)
		status := func() meta.Status {
			c := meta.NewClient(m, id, address, ca.Want{Name: "proxy-2"}) // and a connection of its own
			defer c.Close()
			var s meta.Status
			require.NoError(t, c.Call(ctx, http.MethodGet, "/status", nil, &s))
			return s
		}
		untilProc := func(proc string) {
			for s := status(); s.Proc != proc || s.Health != "ok" || s.Facts["table"].(map[string]any)["state"] != "leading"; s = status() {
				require.NoError(t, ctx.Err(), "%+v", s)
			}
		}
		untilProc("proxy/1")
		tun := resume(ctx, t, port, nil)
		require.NoError(t, p.cmd.Process.Signal(syscall.SIGHUP))
		p.await(t, "generation serves", 2)
		p.await(t, "generation retires", 1)
		for range 20 { // some before the old one has heard
			status()
		}
		untilProc("proxy/2")
		publish(ctx, t, desked, "through the other proxy")
		require.Equal(t, "through the other proxy", tun.next(ctx, t).Data)
		require.NoError(t, tun.conn.CloseNow())
		p.await(t, "generation ended", 1)

		// Whom the port tells to leave takes the node along.
		c := meta.NewClient(m, id, address, ca.Want{})
		require.NoError(t, c.Call(ctx, http.MethodPost, "/drain", meta.Order{Epoch: status().Epoch, Revision: 1, IssuedBy: "admin/me"}, nil))
		c.Close()
		require.NoError(t, p.cmd.Wait())
	}
	require.NoError(t, up.cmd.Process.Signal(os.Interrupt))
	up.await(t, `^all have left$`)
	require.NoError(t, up.cmd.Wait())
}

// A tunnel that never ends does not keep an old generation for ever.
func TestUpgradeHardStop(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	p := startProxy(ctx, t, "--drain-window", "10ms", "--drain", "10ms")
	tun := subscribe(ctx, t, p.port, nil)
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGHUP))
	p.await(t, "generation serves", 2)
	tun.broken(ctx, t)
	p.await(t, "generation ended", 1)
	tun = subscribe(ctx, t, p.port, nil)
	publish(ctx, t, p.port, "here")
	require.Equal(t, "here", tun.next(ctx, t).Data)
	require.NoError(t, tun.conn.CloseNow())
	require.NoError(t, p.cmd.Process.Signal(os.Interrupt))
	require.NoError(t, p.cmd.Wait())
}

// What is wrong with a node is said at once, with a status, and not retried.
func TestNodeThatCannotStart(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ flags, want string }{
		{"--https= --children -1", `proxy: --children must not be below zero`},
		{"--http= --https 127.0.0.1:0 --cert /no/such/file", `the node does not start: it ended before it served: exit status 1`},
	} {
		cmd := exec.CommandContext(t.Context(), program(), append([]string{"node", "proxy", "--"}, strings.Fields(test.flags)...)...)
		out, err := cmd.CombinedOutput()
		require.Equal(t, statusBroken, exitCode(t, err), "%s", out)
		require.Contains(t, string(out), test.want)
	}
}

// Signals that come while a node starts are heeded once it has.
func TestNodeSignalledEarly(t *testing.T) {
	t.Parallel()
	for _, signals := range [][]syscall.Signal{{syscall.SIGTERM}, {syscall.SIGHUP, syscall.SIGTERM}} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, program(), "node", "proxy", "--", "--http", "127.0.0.1:0", "--https=", "--allow-plain",
			"--host", "localhost", "--live", "live-1=127.0.0.1:1", "--drain-window", "10ms", "--drain", "10ms")
		log, full, err := os.Pipe()
		require.NoError(t, err)
		defer log.Close()
		defer full.Close()
		size, err := unix.FcntlInt(full.Fd(), unix.F_SETPIPE_SZ, 4096)
		require.NoError(t, err)
		_, err = full.Write(make([]byte, size))
		require.NoError(t, err)
		cmd.Stderr = full
		start(t, cmd)
		// It is held up where it logs of its first generation.
		require.NoError(t, poll(ctx, func() bool { return len((&keptProxy{cmd: cmd}).programs(t)) > 0 }))
		for _, s := range signals {
			require.NoError(t, cmd.Process.Signal(s))
		}
		go io.Copy(io.Discard, log)
		require.NoError(t, cmd.Wait(), "%v", signals)
	}
}

// keptProxy is a proxy in front of one Live node. Its program is a symbolic
// link, so that releases can be told apart.
type keptProxy struct {
	cmd   *exec.Cmd
	path  string
	port  int
	lines chan line
}

// line is what the log says of a generation.
type line struct {
	Msg, Error          string
	Generation, Serving int
}

func startProxy(ctx context.Context, t *testing.T, flags ...string) *keptProxy {
	port := freePorts(t)
	live := exec.CommandContext(ctx, program(), "node", "live", "--name", "live-1", "--", "--listen", local(port+1))
	start(t, live)
	p := &keptProxy{path: filepath.Join(t.TempDir(), "protoplex"), port: port, lines: make(chan line, 10_000)}
	p.release(t, "1")
	p.run(ctx, t, append([]string{"--", "--http", local(port), "--https=", "--allow-plain",
		"--host", "localhost", "--live", "live-1=" + local(port+1), "--children", "2"}, flags...)...)
	require.Contains(t, p.programs(t), filepath.Join(filepath.Dir(p.path), "release-1"))
	for { // until the Live node serves
		c, err := dial(ctx, port, nil)
		if err == nil {
			require.NoError(t, c.conn.CloseNow())
			return p
		}
		require.NoError(t, ctx.Err(), "%v", err)
	}
}

// run starts the node, and returns when it serves.
func (p *keptProxy) run(ctx context.Context, t *testing.T, flags ...string) {
	p.cmd = exec.CommandContext(ctx, p.path, append([]string{"node", "proxy"}, flags...)...)
	log, err := p.cmd.StderrPipe()
	require.NoError(t, err)
	start(t, p.cmd)
	go func() {
		defer close(p.lines)
		for s := bufio.NewScanner(log); s.Scan(); {
			var l line
			if json.Unmarshal(s.Bytes(), &l) == nil && (strings.HasPrefix(l.Msg, "generation ") || l.Msg == "upgrade failed") {
				p.lines <- l
			}
		}
	}()
	p.await(t, "generation serves", 1)
}

func start(t *testing.T, cmd *exec.Cmd) {
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
}

// release puts a new file in the place of the program.
func (p *keptProxy) release(t *testing.T, name string) string {
	file := filepath.Join(filepath.Dir(p.path), "release-"+name)
	// Not by this process: what it forks meanwhile would have the file open for
	// writing, and then it could not be started.
	require.NoError(t, exec.CommandContext(t.Context(), "cp", program(), file).Run())
	p.install(t, file)
	return file
}

func (p *keptProxy) install(t *testing.T, file string) {
	require.NoError(t, os.Symlink(file, p.path+".new"))
	require.NoError(t, os.Rename(p.path+".new", p.path))
}

// await gives the first line that says this of a generation.
func (p *keptProxy) await(t *testing.T, msg string, generation int) line {
	t.Helper()
	for l := range p.lines {
		if l.Msg == msg && l.Generation == generation {
			return l
		}
	}
	require.FailNow(t, "it ended without a line", "%s %d", msg, generation)
	return line{}
}

// programs gives what the generations run.
func (p *keptProxy) programs(t *testing.T) []string {
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", p.cmd.Process.Pid))
	require.NoError(t, err)
	var all []string
	for _, list := range lists {
		pids, err := os.ReadFile(list)
		if err != nil {
			continue // of a thread that is gone
		}
		for _, pid := range strings.Fields(string(pids)) {
			if exe, err := os.Readlink("/proc/" + pid + "/exe"); err == nil {
				all = append(all, exe)
			}
		}
	}
	return all
}

// publishAll publishes all the time, over kept connections and over new ones,
// until it is stopped, and gives how often.
func publishAll(ctx context.Context, t *testing.T, port int) (stop func() int64) {
	var sent atomic.Int64
	var running sync.WaitGroup
	done := make(chan struct{})
	for i := range 6 {
		running.Go(func() {
			transport := &http.Transport{DisableKeepAlives: i%2 == 0}
			defer transport.CloseIdleConnections()
			url := fmt.Sprintf("http://localhost:%d/live/load-%d/news", port, i)
			for {
				select {
				case <-done:
					return
				default:
				}
				if !publishOnce(ctx, t, transport, url) {
					return
				}
				sent.Add(1)
			}
		})
	}
	return func() int64 {
		close(done)
		running.Wait()
		return sent.Load()
	}
}

func publishOnce(ctx context.Context, t *testing.T, transport *http.Transport, url string) bool {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader("x"))
	if err != nil {
		t.Error(err)
		return false
	}
	w, err := transport.RoundTrip(r)
	if err != nil {
		t.Errorf("request failed: %v", err)
		return false
	}
	defer w.Body.Close()
	text, err := io.ReadAll(w.Body)
	if err != nil || w.StatusCode != http.StatusOK {
		t.Errorf("request failed: %s %s: %v", w.Status, text, err)
		return false
	}
	return true
}
