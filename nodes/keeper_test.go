package nodes_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
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

	"github.com/espra/protoplex/nodes"
)

// version, in the environment, is what a generation says that it is.
const version = "PROTOPLEX_TEST_VERSION"

// kept is a running Keep. What its generations run can be replaced.
type kept struct {
	node   // without its status
	file   string
	status chan nodes.KeepStatus
}

func startKept(t *testing.T, o nodes.KeepOptions) *kept {
	k := &kept{file: filepath.Join(t.TempDir(), "program"), status: make(chan nodes.KeepStatus, 10_000)}
	k.node = node{t: t, signals: make(chan nodes.Signal, 8), ended: make(chan error, 1)}
	k.put("1")
	d := newDesk(t)
	m, err := nodes.NewOS(nodes.OSOptions{
		Host:    d.Machine(t, "alpha", nil).Host(),
		Root:    t.TempDir(),
		Roles:   testRoles(),
		Program: k.file,
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	k.address = freeAddress(t)
	o.Listen = []string{k.address}
	o.Status = func(s nodes.KeepStatus) { k.status <- s }
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	k.cancel = cancel
	go func() { k.ended <- nodes.Keep(ctx, signalled{m, k.signals}, o) }()
	return k
}

// put replaces the program by a version of it.
func (k *kept) put(name string) {
	self, err := os.Executable()
	require.NoError(k.t, err)
	k.putScript(fmt.Sprintf("%s=%s exec %s \"$@\"", version, name, self))
}

func (k *kept) putScript(text string) { k.putFile("#!/bin/sh\n" + text + "\n") }

// putFile does not write by itself: what this process forks meanwhile would have
// the file open, and then it could not be started.
func (k *kept) putFile(text string) {
	cmd := exec.CommandContext(k.t.Context(), "sh", "-c", `cat >"$0.new" && chmod 700 "$0.new" && mv "$0.new" "$0"`, k.file)
	cmd.Stdin = strings.NewReader(text)
	require.NoError(k.t, cmd.Run())
}

// until gives the first status that is as wanted.
func (k *kept) until(want func(nodes.KeepStatus) bool) nodes.KeepStatus {
	k.t.Helper()
	timer := time.NewTimer(time.Minute)
	defer timer.Stop()
	for {
		select {
		case s := <-k.status:
			if want(s) {
				return s
			}
		case err := <-k.ended:
			require.FailNow(k.t, "it ended", "%v", err)
		case <-timer.C:
			require.FailNow(k.t, "never got there")
		}
	}
}

func (k *kept) untilServing(generation int) nodes.KeepStatus {
	k.t.Helper()
	return k.until(func(s nodes.KeepStatus) bool { return s.Serving == generation && s.Starting == 0 })
}

// version asks over a connection of its own.
func (k *kept) version() string {
	k.t.Helper()
	_, text, err := k.get("/version")
	require.NoError(k.t, err)
	return text
}

// untilVersion asks until this version alone is left.
func (k *kept) untilVersion(name string) {
	k.t.Helper()
	k.until(func(s nodes.KeepStatus) bool { return len(s.Retiring) == 0 })
	require.Equal(k.t, name, k.version())
}

// stream is a request that stays open, and is echoed.
type stream struct {
	t       *testing.T
	version string // of whom it came to
	more    *io.PipeWriter
	back    io.ReadCloser
}

func (k *kept) open() *stream {
	body, more := io.Pipe()
	resp, err := http.Post("http://"+k.address+"/echo", "text/plain", body)
	require.NoError(k.t, err)
	k.t.Cleanup(func() { resp.Body.Close() })
	return &stream{k.t, resp.Header.Get("Version"), more, resp.Body}
}

func (s *stream) echo(text string) {
	s.t.Helper()
	_, err := io.WriteString(s.more, text)
	require.NoError(s.t, err)
	back := make([]byte, len(text))
	_, err = io.ReadFull(s.back, back)
	require.NoError(s.t, err)
	require.Equal(s.t, text, string(back))
}

func (s *stream) close() {
	s.t.Helper()
	require.NoError(s.t, s.more.Close())
	rest, err := io.ReadAll(s.back)
	require.NoError(s.t, err)
	require.Empty(s.t, rest)
}

// load asks all the time, over kept connections and over new ones, until it is
// stopped, and gives how often.
func (k *kept) load() (stop func() int64) {
	var asked, failed atomic.Int64
	var running sync.WaitGroup
	done := make(chan struct{})
	end := sync.OnceFunc(func() {
		close(done)
		running.Wait()
	})
	k.t.Cleanup(end)
	for i := range 6 {
		running.Go(func() {
			transport := &http.Transport{DisableKeepAlives: i%2 == 0}
			defer transport.CloseIdleConnections()
			client := http.Client{Transport: transport, Timeout: time.Minute}
			for {
				select {
				case <-done:
					return
				default:
				}
				asked.Add(1)
				resp, err := client.Get("http://" + k.address + "/health")
				if err == nil {
					_, err = io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
				}
				if err != nil || resp.StatusCode != http.StatusOK {
					failed.Add(1)
					k.t.Errorf("request failed: %v", err)
				}
			}
		})
	}
	return func() int64 {
		end()
		require.Zero(k.t, failed.Load())
		return asked.Load()
	}
}

// Upgrades lose nothing: no request fails, and what is open goes on, also while
// several generations finish at once.
func TestKeepUpgrade(t *testing.T) {
	t.Parallel()
	for _, role := range []string{"web", "node"} { // a generation of one process, and of several
		t.Run(role, func(t *testing.T) {
			t.Parallel()
			k := startKept(t, nodes.KeepOptions{Role: role, Args: []string{"its only listener"}, Window: 200 * time.Millisecond, Finish: time.Hour})
			k.untilServing(1)
			require.Equal(t, "1", k.version())
			stop := k.load()
			var open []*stream
			for i := 1; i <= 4; i++ {
				s := k.open() // to any that has not heard yet that it shall not accept
				s.echo("before")
				open = append(open, s)
				k.put(fmt.Sprint(i + 1))
				k.signals <- nodes.Reload
				status := k.untilServing(i + 1)
				for _, s := range open {
					number, err := strconv.Atoi(s.version)
					require.NoError(t, err)
					require.Contains(t, status.Retiring, number, "it has a request open")
				}
				for name := ""; name != fmt.Sprint(i+1); {
					name = k.version()
				}
			}
			require.Positive(t, stop())
			for _, s := range open {
				s.echo("after")
				s.close()
			}
			k.untilVersion("5")
			k.signals <- nodes.Terminate
			require.NoError(t, k.end())
		})
	}
}

// A generation that does not get to serve leaves the old one in its place.
func TestKeepUpgradeFails(t *testing.T) {
	t.Parallel()
	k := startKept(t, nodes.KeepOptions{Role: "web", Ready: 5 * time.Second, Window: time.Millisecond, Finish: time.Millisecond})
	k.untilServing(1)
	s := k.open()
	s.echo("before")
	for _, test := range []struct {
		what, want string // the end of the reason
		put        func()
	}{
		{"no program", "no such file or directory", func() { require.NoError(t, os.Remove(k.file)) }},
		{"no program of ours", "exec format error", func() { k.putFile("\x00") }},
		{"it fails", "it ended before it served: exit status 3", func() { k.putScript("exit 3") }},
		{"it ends well", "it ended before it served", func() { k.putScript("exit 0") }},
		{"it hangs", "not ready after 5s", func() { k.putScript("exec sleep 1000") }},
	} {
		test.put()
		k.signals <- nodes.Reload
		status := k.until(func(s nodes.KeepStatus) bool {
			return strings.HasSuffix(s.Failed, test.want) && s.Starting == 0 && len(s.Retiring) == 0
		})
		require.Equal(t, 1, status.Serving, test.what)
		require.Equal(t, "1", k.version(), test.what)
		s.echo(test.what)
	}
	s.close()
	k.put("two")
	k.signals <- nodes.Reload
	k.until(func(s nodes.KeepStatus) bool { return s.Serving > 1 && s.Failed == "" })
	k.untilVersion("two")
	k.cancel()
	require.ErrorIs(t, k.end(), context.Canceled)
}

// What has not finished in time is cut, and the new generation serves on.
func TestKeepHardStop(t *testing.T) {
	t.Parallel()
	for _, role := range []string{"web", "node"} {
		k := startKept(t, nodes.KeepOptions{Role: role, Args: []string{"its only listener"}, Window: time.Millisecond, Finish: 10 * time.Millisecond})
		k.untilServing(1)
		s := k.open()
		s.echo("before")
		k.put("two")
		k.signals <- nodes.Reload
		k.untilServing(2)
		k.untilVersion("two")
		_, err := s.back.Read(make([]byte, 1))
		require.Error(t, err, "it was cut")
		k.cancel()
		require.ErrorIs(t, k.end(), context.Canceled)
	}
}

// What is asked for during an upgrade is another one: the program may have been
// replaced since the first began.
func TestKeepUpgradeAgain(t *testing.T) {
	t.Parallel()
	k := startKept(t, nodes.KeepOptions{Role: "web", Window: time.Millisecond})
	k.untilServing(1)
	k.putScript("sleep 1; exit 1")
	k.signals <- nodes.Reload
	k.until(func(s nodes.KeepStatus) bool { return s.Starting == 2 })
	k.signals <- nodes.Reload
	k.put("two")
	k.untilServing(3)
	k.untilVersion("two")
	k.signals <- nodes.Terminate
	require.NoError(t, k.end())
}

func TestKeepTerminateInUpgrade(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		program string
		finish  time.Duration
	}{
		{"sleep 1; exit 1", time.Hour}, // it ends by itself, before or after all others
		{"exec sleep 1000", 5 * time.Second},
	} {
		k := startKept(t, nodes.KeepOptions{Role: "web", Ready: time.Hour, Window: 100 * time.Millisecond, Finish: test.finish})
		k.untilServing(1)
		s := k.open()
		s.echo("before")
		k.putScript(test.program)
		k.signals <- nodes.Reload
		k.until(func(s nodes.KeepStatus) bool { return s.Starting == 2 })
		k.signals <- nodes.Terminate
		k.until(func(s nodes.KeepStatus) bool { return s.Phase == nodes.Draining })
		k.signals <- nodes.Reload // too late
		s.echo("after")
		s.close()
		err := k.end()
		if test.finish == time.Hour {
			require.NoError(t, err)
		} else {
			require.ErrorContains(t, err, "1 generations did not finish in time")
		}
		_, _, err = k.get("/version")
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
	}
}

func TestKeepSecondInterrupt(t *testing.T) {
	t.Parallel()
	k := startKept(t, nodes.KeepOptions{Role: "web", Window: time.Hour, Finish: time.Hour})
	k.untilServing(1)
	s := k.open() // which the generation has to wait for
	k.signals <- nodes.Reload
	k.untilServing(2)
	s.echo("before")
	k.signals <- nodes.Interrupt
	k.until(func(s nodes.KeepStatus) bool { return s.Phase == nodes.Draining })
	k.signals <- nodes.Interrupt
	require.ErrorContains(t, k.end(), "2 generations did not finish in time")
}

// One that crashes is replaced, and who comes meanwhile waits.
func TestKeepReplacesCrashed(t *testing.T) {
	t.Parallel()
	k := startKept(t, nodes.KeepOptions{Role: "web", Backoff: time.Second, Window: time.Millisecond})
	k.untilServing(1)
	k.put("two")
	_, _, err := k.get("/crash")
	require.Error(t, err)
	status := k.until(func(s nodes.KeepStatus) bool { return s.Serving == 0 })
	require.Equal(t, "exit status 3", status.Failed)
	require.Equal(t, "two", k.version())
	k.untilServing(2)
	k.cancel()
	require.ErrorIs(t, k.end(), context.Canceled)
	_, _, err = k.get("/version")
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
}

// One that was told to leave takes the node with it.
func TestKeepLeaves(t *testing.T) {
	t.Parallel()
	k := startKept(t, nodes.KeepOptions{Role: "web"})
	k.untilServing(1)
	_, _, err := k.get("/leave")
	require.NoError(t, err)
	require.NoError(t, k.end())
}

// An upgrade does not bring back a node that is on its way out, whether it was
// asked for before or after.
func TestKeepLeavesInUpgrade(t *testing.T) {
	t.Parallel()
	for _, role := range []string{"web", "node"} {
		for _, first := range []string{"leave", "upgrade"} {
			k := startKept(t, nodes.KeepOptions{Role: role, Args: []string{"its only listener"}, Window: time.Hour, Finish: time.Hour})
			k.untilServing(1)
			s := k.open() // for which the generation waits
			s.echo("before")
			leave := func() {
				_, _, err := k.get("/leave/node")
				require.NoError(t, err)
				k.until(func(s nodes.KeepStatus) bool { return s.Phase == nodes.Draining })
			}
			if first == "leave" {
				leave()
				k.signals <- nodes.Reload
			} else {
				k.putScript("exec sleep 1000")
				k.signals <- nodes.Reload
				k.until(func(s nodes.KeepStatus) bool { return s.Starting == 2 })
				leave()
			}
			s.echo("after")
			s.close()
			if first == "upgrade" {
				k.until(func(s nodes.KeepStatus) bool { return s.Serving == 0 })
				k.signals <- nodes.Interrupt // the one that hangs
				require.ErrorContains(t, k.end(), "1 generations did not finish in time")
				continue
			}
			require.NoError(t, k.end())
		}
	}
}

func TestKeepErrors(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ role, want string }{
		{"failing", "the node does not start: it ended before it served: exit status 1"},
		{"sleeping", "the node does not start: not ready after 1ms"},
		{"nonsense", nodes.ErrUnknownRole.Error()},
	} {
		k := startKept(t, nodes.KeepOptions{Role: test.role, Ready: map[string]time.Duration{"sleeping": time.Millisecond}[test.role]})
		require.ErrorContains(t, k.end(), test.want)
	}
	m := newDesk(t).Machine(t, "alpha", testRoles())
	l, err := m.Listen("tcp", ":0")
	require.NoError(t, err)
	defer l.Close()
	err = nodes.Keep(t.Context(), m, nodes.KeepOptions{Role: "web", Listen: []string{":0", l.Addr().String()}})
	require.ErrorIs(t, err, syscall.EADDRINUSE)
}
