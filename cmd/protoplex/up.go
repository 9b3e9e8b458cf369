package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// How long up waits for its cell.
const (
	readyLimit = 60 * time.Second
	shutLimit  = 5 * time.Second // for the proxy to accept no more
	pollEvery  = 25 * time.Millisecond

	secondThought = time.Second // before another interrupt means more than the first
)

type upOptions struct {
	dir     string
	port    int
	keep    bool
	verbose bool
}

func upCommand() *cobra.Command {
	var o upOptions
	c := &cobra.Command{
		Use:   "up",
		Short: "Run a whole cell on this machine, until it is interrupted",
		Long: `Run one cell of the platform on this machine: a Seed and its understudy, two Live
nodes, a Proxy with two processes, and an S3 store on disk for the lease. Each is a
process of its own, which is started again if it ends, and has an address of its own
out of 127.0.0.0/8; only localhost:PORT, and a page to try it at PORT+1, are meant for
you. What is to last (certificates, the store) is in DIR, and so are the logs; so is the
certificate of an operator, for protoplex cell drain.

An interrupt, or the end of its terminal, lets them finish and leave, in order; an
interrupt a second later kills them.`,
		Example: `  protoplex up
  curl -d hello http://localhost:8080/live/room-1/news`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if o.port < 1 || o.port > 65534 {
				return status{statusUsage, fmt.Errorf("--port %d: want 1 to 65534", o.port)}
			}
			ctx := c.Context()
			if !signal.Ignored(syscall.SIGHUP) { // as under nohup
				var stop func()
				ctx, stop = signal.NotifyContext(ctx, syscall.SIGHUP)
				defer stop()
			}
			// When those who read along are gone the cell leaves in order all the same.
			signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
			if err := up(ctx, o, c.OutOrStdout()); err != nil {
				return status{statusBroken, err}
			}
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&o.dir, "dir", "protoplex-data", "where certificates, the store and logs are, `DIR`")
	f.IntVar(&o.port, "port", 8080, "of localhost that clients use; the page has the one above")
	f.BoolVar(&o.keep, "keep", true, "keep DIR; --keep=false makes it anew and removes it at the end")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "show what the nodes log")
	return c
}

// up runs a cell until ctx ends, and then has all of it leave.
func up(ctx context.Context, o upOptions, out io.Writer) (err error) {
	terminal := newTerminal(out)
	page, err := claimPorts(o.port)
	if err != nil {
		return err
	}
	defer page.Close()
	state, err := openState(o.dir, o.keep)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, state.close()) }()
	d, err := newDesk(state, o, terminal)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.close()) }()

	web := pageServer(o.port)
	go web.Serve(page)
	defer web.Close()
	if err := d.start(ctx, o.port); err != nil {
		if ctx.Err() == nil {
			return err
		}
	} else {
		terminal.say(`
publish    curl -d hello http://localhost:%d/live/room-1/news
subscribe  ws://localhost:%[1]d/live/room-1, subprotocol live.espra.1
           by the name localhost: it serves no other host, such as 127.0.0.1
try        http://localhost:%d/, a page for both
look       protoplex cell status --as %s --seeds %s %s
operate    protoplex cell drain --as %[3]s --seeds %[4]s %[5]s live-1
logs       %s

It is up. Ctrl-C ends it.`, o.port, o.port+1, operatorName, d.seeds(), state.dir, state.logs())
		<-ctx.Done()
	}
	return d.leave(o.port)
}

// claimPorts gives the listener of the page, having seen that the Proxy can
// have its port.
func claimPorts(port int) (net.Listener, error) {
	taken := func(port int, err error) error {
		if errors.Is(err, syscall.EADDRINUSE) {
			return fmt.Errorf("port %d is in use; choose others with --port", port)
		}
		return err
	}
	l, err := net.Listen("tcp", local(port))
	if err != nil {
		return nil, taken(port, err)
	}
	if err := l.Close(); err != nil {
		return nil, err
	}
	l, err = net.Listen("tcp", local(port+1))
	return l, taken(port+1, err)
}

func local(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// start starts all processes, and returns when all of them serve and what is
// published is taken.
func (d *desk) start(ctx context.Context, port int) error {
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	go func() {
		select {
		case err := <-d.loops:
			giveUp(err)
		case <-ctx.Done():
		}
	}()
	err := d.bring(ctx, port)
	if errors.Is(err, errLate) {
		for _, m := range members() {
			if e := d.serving(ctx, m); e != nil {
				err = fmt.Errorf("%w; %s: %w", err, m.name, e)
			}
		}
		err = fmt.Errorf("%w; logs are in %s", err, d.state.logs())
	}
	return err
}

var errLate = fmt.Errorf("the cell is not up after %v", readyLimit)

func (d *desk) bring(ctx context.Context, port int) error {
	ctx, cancel := context.WithTimeoutCause(ctx, readyLimit, errLate)
	defer cancel()
	d.run("store")
	// Those who find no store would wait for a while before they look again.
	err := poll(ctx, func() bool { return accepts(d.address("store", storePort)) })
	if err != nil {
		return err
	}
	d.run("seed", "understudy", "live-1", "live-2", "proxy")
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Second}
	answer := func(method, path string) int {
		r, err := http.NewRequestWithContext(ctx, method, "http://localhost:"+strconv.Itoa(port)+path, nil)
		if err != nil {
			return 0
		}
		w, err := client.Do(r)
		if err != nil {
			return 0
		}
		w.Body.Close()
		return w.StatusCode
	}
	for _, m := range members() {
		if err := poll(ctx, func() bool { return d.serving(ctx, m) == nil }); err != nil {
			return err
		}
	}
	return poll(ctx, func() bool {
		// The Proxy has heard of a table, and the owner of a key answers, be it
		// that it knows no such method.
		if answer(http.MethodGet, "/health") != http.StatusOK {
			return false
		}
		status := answer(http.MethodPut, "/live/up/ready")
		return status > 0 && status < http.StatusInternalServerError
	})
}

// leave ends all processes in order: the Proxy lets nothing new in, the Live
// nodes tell their subscribers, which lets the Proxy finish, and those they all
// need go last. Another interrupt kills what is left, unless it is a double of the
// first.
func (d *desk) leave(port int) error {
	again := make(chan os.Signal, 1)
	signal.Notify(again, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(again)
	left := make(chan struct{})
	defer close(left)
	began := time.Now()
	go func() {
		for {
			select {
			case <-again:
				if time.Since(began) >= secondThought {
					d.kill()
				}
			case <-left:
				return
			}
		}
	}()

	d.terminal.say("\nleaving; Ctrl-C again to kill")
	d.stop("proxy")
	ctx, cancel := context.WithTimeout(context.Background(), shutLimit)
	defer cancel()
	_ = poll(ctx, func() bool { return !accepts(local(port)) }) // if it lasts, the rest leaves all the same
	d.stop("live-1", "live-2")
	d.wait("live-1", "live-2", "proxy")
	d.stop("seed", "understudy") // together, or one takes over from the other
	d.wait("seed", "understudy")
	d.stop("store")
	d.wait("store")
	if killed := d.killed(); len(killed) > 0 {
		return fmt.Errorf("killed: %v", killed)
	}
	d.terminal.say("all have left")
	return nil
}

// poll asks until the answer is yes, or gives why ctx ended.
func poll(ctx context.Context, yes func() bool) error {
	for !yes() {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pollEvery):
		}
	}
	return nil
}

// accepts reports whether somebody listens on an address.
func accepts(address string) bool {
	c, err := net.DialTimeout("tcp", address, time.Second)
	if err != nil {
		return false
	}
	c.Close()
	return true
}
