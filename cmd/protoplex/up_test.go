//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
	"github.com/stretchr/testify/require"

	"github.com/espra/protoplex/nodes/live"
	"github.com/espra/protoplex/nodes/meta/ca"
	"github.com/espra/protoplex/nodes/placement"
)

// asCommand, in the environment, makes the test binary the command, so that it
// runs under what the tests run under.
const asCommand = "PROTOPLEX_TEST_AS_COMMAND"

// A cell takes what is published and hands it to subscribers; one who loses its
// node to a kill is back at the next and told of the gap. An interrupt lets
// all leave, with a word to subscribers, and what comes after is a later epoch
// of the same cell.
func TestUp(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	dir, port := filepath.Join(t.TempDir(), "cell"), freePorts(t)

	up := startUp(ctx, t, dir, port)
	first := publish(ctx, t, port, "one")
	require.Equal(t, uint64(1), first.Offset)
	require.Equal(t, 1, epoch(t, first))
	one := subscribe(ctx, t, port, &live.Position{Incarnation: first.Incarnation})
	require.Equal(t, live.RecoveredReplay, one.Recovered)
	require.Equal(t, "one", one.next(ctx, t).Data)
	publish(ctx, t, port, "two")
	require.Equal(t, event{Op: "message", Channel: "news", Offset: 2, Data: "two"}, one.next(ctx, t))

	t.Run("second on the directory", func(t *testing.T) {
		out, err := command(ctx, dir, freePorts(t)).CombinedOutput()
		require.Equal(t, statusBroken, exitCode(t, err), "%s", out)
		require.Regexp(t, fmt.Sprintf(`^protoplex: .* is in use: another protoplex up, process %d, `, up.cmd.Process.Pid), string(out))
	})
	t.Run("second on the port", func(t *testing.T) {
		out, err := command(ctx, filepath.Join(t.TempDir(), "other"), port).CombinedOutput()
		require.Equal(t, statusBroken, exitCode(t, err), "%s", out)
		require.Equal(t, fmt.Sprintf("protoplex: port %d is in use; choose others with --port\n", port), string(out))
	})
	t.Run("page", func(t *testing.T) {
		body, header := get(ctx, t, fmt.Sprintf("http://localhost:%d/", port+1))
		require.Contains(t, body, fmt.Sprintf(`"ws://localhost:%d"`, port))
		require.NotContains(t, body, "{{")
		require.NotRegexp(t, `(src|href)="[^d]`, body, "nothing is loaded from elsewhere")
		require.Contains(t, header.Get("Content-Security-Policy"), "default-src 'none'")
	})
	t.Run("look", func(t *testing.T) {
		cmd := exec.CommandContext(ctx, os.Args[0], up.look...)
		cmd.Env = append(os.Environ(), asCommand+"=1")
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.Regexp(t, `(?m)^(seed|understudy) +leading in epoch 1, `, string(out))
		require.Equal(t, 2, strings.Count(string(out), "owns keys"), "%s", out)
	})
	t.Run("nobody else can read", func(t *testing.T) {
		require.NoError(t, filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
			require.NoError(t, err)
			info, err := e.Info()
			require.NoError(t, err)
			require.Zero(t, info.Mode().Perm()&0o077, name)
			return nil
		}))
	})

	// Its node is killed: the connection breaks, and comes back to another
	// process, which knows nothing of what was said.
	owner := ownerOf(t, "localhost/room-1")
	require.NoError(t, syscall.Kill(up.pid(owner), syscall.SIGKILL))
	one.broken(ctx, t)
	up.await(t, `^`+owner+` +ended: signal: killed; again in 250ms$`)
	up.await(t, `^`+owner+` +pid \d+$`)
	two := resume(ctx, t, port, &one.Position)
	require.Equal(t, live.RecoveredGap, two.Recovered)
	require.NotEqual(t, one.Position.Incarnation, two.Position.Incarnation)
	require.Equal(t, 1, epoch(t, two.Position), "the Seed has not changed")
	publish(ctx, t, port, "three")
	require.Equal(t, "three", two.next(ctx, t).Data)

	// All leave.
	authority, err := os.ReadFile(filepath.Join(dir, "authority.pem"))
	require.NoError(t, err)
	require.NoError(t, up.cmd.Process.Signal(os.Interrupt))
	up.await(t, `^leaving; `)
	require.NoError(t, up.cmd.Process.Signal(os.Interrupt), "a key that bounces, or a program that tells both")
	require.Equal(t, websocket.StatusServiceRestart, two.broken(ctx, t))
	up.await(t, `^all have left$`)
	require.NoError(t, up.cmd.Wait())
	for name, pid := range up.pids {
		require.ErrorIs(t, syscall.Kill(pid, 0), syscall.ESRCH, "%s is there still", name)
	}

	// The same cell again.
	up = startUp(ctx, t, dir, port)
	again := resume(ctx, t, port, &two.Position)
	require.Equal(t, live.RecoveredGap, again.Recovered)
	require.Greater(t, epoch(t, again.Position), 1)
	now, err := os.ReadFile(filepath.Join(dir, "authority.pem"))
	require.NoError(t, err)
	require.Equal(t, authority, now)

	// Its terminal is closed: they leave in order, and nobody hears of it.
	require.NoError(t, up.out.Close())
	require.NoError(t, up.cmd.Process.Signal(syscall.SIGHUP))
	require.Equal(t, websocket.StatusServiceRestart, again.broken(ctx, t))
	require.Equal(t, statusBroken, exitCode(t, up.cmd.Wait()))
	require.Equal(t, "protoplex: write output: write /dev/stdout: broken pipe\n", up.errs.String())
}

// A cell that cannot come up says which of its processes does not start, why,
// and where that one's log is.
func TestUpSaysWhatFails(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	junk := []byte("junk\n")
	for _, c := range []struct {
		name  string
		spoil func(t *testing.T, dir string, port int)
		want  string // of the last line, where DIR is the folder
	}{
		{"certificate", func(t *testing.T, dir string, _ int) {
			require.NoError(t, os.Mkdir(filepath.Join(dir, "live-1"), 0o700))
			// With a new authority the members would be given new certificates.
			authority, err := ca.New(rand.Reader, deskCell, time.Now(), time.Now().Add(validity))
			require.NoError(t, err)
			pem, err := authority.PEM()
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(filepath.Join(dir, "authority.pem"), pem, 0o600))
			require.NoError(t, os.WriteFile(filepath.Join(dir, "live-1", certFile), junk, 0o600))
		}, `^protoplex: live-1 does not start: exit status 1: live: .*/cell\.pem .*want one certificate.* \(DIR/logs/live-1\.log\)$`},
		{"address", func(t *testing.T, _ string, port int) {
			d := desk{base: netip.AddrFrom4([4]byte{127, byte(port >> 8), byte(port), 0})}
			l, err := net.Listen("tcp", d.address("seed", metaPort))
			require.NoError(t, err)
			t.Cleanup(func() { l.Close() })
		}, `^protoplex: seed does not start: exit status 1: .*address already in use \(DIR/logs/seed\.log\)$`},
		{"account", func(t *testing.T, dir string, _ int) {
			require.NoError(t, os.WriteFile(filepath.Join(dir, "account"), junk, 0o600))
		}, `^protoplex: DIR/account: want ID:SECRET; `},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, port := t.TempDir(), freePorts(t)
			c.spoil(t, dir, port)
			cmd := command(ctx, dir, port)
			var errs bytes.Buffer
			cmd.Stderr = &errs
			out, err := cmd.Output()
			require.Equal(t, statusBroken, exitCode(t, err), "%s%s", out, &errs)
			require.NotContains(t, string(out), "It is up")
			require.Regexp(t, strings.ReplaceAll(c.want, "DIR", regexp.QuoteMeta(dir)), strings.TrimSpace(errs.String()))
		})
	}
}

// Without --keep nothing is there before, and nothing after.
func TestUpKeepsNothing(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	dir := t.TempDir()
	out, err := command(ctx, dir, freePorts(t), "--keep=false").CombinedOutput()
	require.Equal(t, statusBroken, exitCode(t, err), "%s", out)
	require.Contains(t, string(out), "exists; without --keep it would be removed")
	require.DirExists(t, dir)

	dir = filepath.Join(dir, "cell")
	up := launch(ctx, t, dir, freePorts(t), "--keep=false", "-v")
	up.await(t, `^store +s3 ready listen=127\.`) // in short, by -v
	require.NoError(t, up.cmd.Process.Signal(os.Interrupt))
	up.await(t, `^all have left$`)
	require.NoError(t, up.cmd.Wait())
	require.NoDirExists(t, dir)
}

func TestShorten(t *testing.T) {
	for line, want := range map[string]string{
		`{"time":"2026-03-02T14:00:00Z","level":"INFO","msg":"table heard","host":"live-1","proc":"live/1","epoch":2,"seed":"seed"}`: "table heard epoch=2 seed=seed",
		`{"level":"WARN","msg":"child ended","error":"","slot":{"a":[1]}}`:                                                           `WARN child ended error="" slot={"a":[1]}`,
		`{"msg":"denied","why":"not the leader"}`:                                                                                    `denied why="not the leader"`,
		`panic: no such thing`: `panic: no such thing`,
		`{"msg":"cut`:          `{"msg":"cut`,
		``:                     ``,
	} {
		require.Equal(t, want, shorten([]byte(line)))
	}
}

// running is an up, which is read line by line.
type running struct {
	cmd   *exec.Cmd
	out   io.Closer
	errs  bytes.Buffer
	lines *bufio.Scanner
	pids  map[string]int // by name, as far as was read
	look  []string       // arguments of the command by which one looks at the cell
}

func command(ctx context.Context, dir string, port int, flags ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, os.Args[0], append([]string{"up", "--dir", dir, "--port", strconv.Itoa(port)}, flags...)...)
	cmd.Env = append(os.Environ(), asCommand+"=1")
	return cmd
}

func launch(ctx context.Context, t *testing.T, dir string, port int, flags ...string) *running {
	cmd := command(ctx, dir, port, flags...)
	r := &running{cmd: cmd, pids: map[string]int{}}
	cmd.Stderr = &r.errs
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		if cmd.ProcessState == nil { // a test that failed
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
	r.out, r.lines = out, bufio.NewScanner(out)
	return r
}

func startUp(ctx context.Context, t *testing.T, dir string, port int) *running {
	up := launch(ctx, t, dir, port)
	up.look = strings.Fields(up.await(t, `^look +protoplex cell status `))[2:]
	up.await(t, `^It is up\. `)
	require.Len(t, up.pids, len(members()))
	return up
}

// await reads up to a line, and gives it.
func (r *running) await(t *testing.T, line string) string {
	t.Helper()
	want, pid := regexp.MustCompile(line), regexp.MustCompile(`^(\S+) +pid (\d+)$`)
	for r.lines.Scan() {
		if m := pid.FindStringSubmatch(r.lines.Text()); m != nil {
			n, err := strconv.Atoi(m[2])
			require.NoError(t, err)
			r.pids[m[1]] = n
		}
		if want.MatchString(r.lines.Text()) {
			return r.lines.Text()
		}
	}
	require.FailNow(t, "it ended without a line", "%s (%v) %s", line, r.lines.Err(), &r.errs)
	return ""
}

func (r *running) pid(name string) int { return r.pids[name] }

func exitCode(t *testing.T, err error) int {
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit)
	return exit.ExitCode()
}

// freePorts gives a port that is free, as is the one above.
func freePorts(t *testing.T) int {
	for range 100 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		port := l.Addr().(*net.TCPAddr).Port
		require.NoError(t, l.Close())
		if port == 65535 {
			continue
		}
		if l, err = net.Listen("tcp", local(port+1)); err == nil {
			require.NoError(t, l.Close())
			return port
		}
	}
	require.FailNow(t, "no two ports are free")
	return 0
}

func ownerOf(t *testing.T, key string) string {
	var table placement.Table
	for _, m := range members() {
		if m.role == "live" {
			table.Nodes = append(table.Nodes, placement.Node{Name: m.name, Zone: m.zone})
		}
	}
	owner, ok := table.Owner(key)
	require.True(t, ok)
	return owner.Name
}

func get(ctx context.Context, t *testing.T, url string) (string, http.Header) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	require.NoError(t, err)
	w, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer w.Body.Close()
	require.Equal(t, http.StatusOK, w.StatusCode)
	body, err := io.ReadAll(w.Body)
	require.NoError(t, err)
	return string(body), w.Header
}

func publish(ctx context.Context, t *testing.T, port int, text string) live.Position {
	url := fmt.Sprintf("http://localhost:%d/live/room-1/news", port)
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(text))
	require.NoError(t, err)
	w, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer w.Body.Close()
	var answer struct{ Position live.Position }
	require.Equal(t, http.StatusOK, w.StatusCode)
	require.NoError(t, json.NewDecoder(w.Body).Decode(&answer))
	return answer.Position
}

// epoch is the Seed's in an incarnation.
func epoch(t *testing.T, p live.Position) int {
	m := regexp.MustCompile(`^desk-(\d+)-[0-9a-f]{16}$`).FindStringSubmatch(p.Incarnation)
	require.NotNil(t, m, p.Incarnation)
	n, err := strconv.Atoi(m[1])
	require.NoError(t, err)
	return n
}

// event is a frame from the server.
type event struct {
	Op, Channel, Recovered, Data string
	Offset                       uint64
	Position                     live.Position
}

// tunnel is a subscription.
type tunnel struct {
	event // with which it began
	conn  *websocket.Conn
}

// dial subscribes from a position.
func dial(ctx context.Context, port int, from *live.Position) (*tunnel, error) {
	conn, _, err := websocket.Dial(ctx, fmt.Sprintf("ws://localhost:%d/live/room-1", port),
		&websocket.DialOptions{Subprotocols: []string{live.Subprotocol}})
	if err != nil {
		return nil, err
	}
	tun := &tunnel{conn: conn}
	err = wsjson.Write(ctx, conn, map[string]any{"op": "subscribe", "channel": "news", "position": from})
	if err == nil {
		err = wsjson.Read(ctx, conn, &tun.event)
	}
	if err != nil {
		conn.CloseNow()
		return nil, err
	}
	return tun, nil
}

func subscribe(ctx context.Context, t *testing.T, port int, from *live.Position) *tunnel {
	tun, err := dial(ctx, port, from)
	require.NoError(t, err)
	t.Cleanup(func() { tun.conn.CloseNow() })
	require.Equal(t, "subscribed", tun.Op)
	return tun
}

// resume tries until the channel has an owner again.
func resume(ctx context.Context, t *testing.T, port int, from *live.Position) *tunnel {
	for {
		tun, err := dial(ctx, port, from)
		if err == nil {
			t.Cleanup(func() { tun.conn.CloseNow() })
			return tun
		}
		require.NoError(t, ctx.Err(), "%v", err)
	}
}

func (tun *tunnel) next(ctx context.Context, t *testing.T) event {
	var e event
	require.NoError(t, wsjson.Read(ctx, tun.conn, &e))
	return e
}

// broken waits for its end, and gives the code, -1 without one. Before that it
// may be told when to come back.
func (tun *tunnel) broken(ctx context.Context, t *testing.T) websocket.StatusCode {
	for {
		var e event
		if err := wsjson.Read(ctx, tun.conn, &e); err != nil {
			require.NoError(t, ctx.Err())
			_ = tun.conn.CloseNow() // or the Proxy waits for that
			return websocket.CloseStatus(err)
		}
		require.Equal(t, "error", e.Op, "%v", e)
	}
}
