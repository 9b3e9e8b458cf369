// Package proxy is the Proxy role: it takes the requests of the world, ends
// their TLS, and passes each to the node that serves it.
//
// What it promises. It reads a request's head with bounds of bytes, lines and
// time, refuses whatever two programs could read in two ways, and writes a
// head of its own to the node, so that no request can be hidden in another. It
// frames each body exactly before it looks for the next request. A WebSocket
// becomes a tunnel of bytes, which no change of the table touches.
//
// What may fail. A node that cannot be reached, or a key without an owner, is
// answered 503 with Retry-After; a node's nonsense 502, its silence 504, also
// with Retry-After. A request is tried again, once and over a new connection,
// only if nothing of it was sent, if the node said 421 and the table then names
// another, or if it may be repeated (RFC 9110, 9.2.2) and the connection that
// failed it had been kept from an earlier one.
//
// A proxy holds nothing that another process of it would not know, so its node
// can be upgraded under [nodes.Keep], which [Kept] is for: on Reload there a new
// generation takes over the listeners.
//
// Start reading at conn.go, which follows one connection, and exchange.go, which
// follows one request to its node and back; head.go decides what is let in,
// route.go where it goes, cell.go from whom it knows.
package proxy

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"slices"
	"time"

	"github.com/espra/protoplex/nodes"
	"github.com/espra/protoplex/nodes/cell"
	"github.com/espra/protoplex/nodes/placement"
)

// Name is what the role is called in nodes.Roles, and what its parent starts
// children by.
const Name = "proxy"

var _ nodes.Role = Run

// Run is the role. Its flags:
//
//	--http ADDRESS          where to serve plain HTTP (:8080); empty is off
//	--https ADDRESS         where to serve HTTPS (:8443); empty is off
//	--cert FILE             certificate chain and key, PEM, on the machine's disk;
//	                        read again on Reload, and once a minute
//	--host HOST             a live host that is served; repeated
//	--www HOST              the host that is answered with a page
//	--live TABLE            the Live nodes, name=host:port[@zone],..., where no
//	                        Seed tells
//	--seeds SEEDS           the Seeds of the cell, NAME=HOST:PORT,...; they tell
//	                        the table
//	--cell-cert FILE        this node's certificate of the cell and its key, PEM
//	--cell-roots FILE       the cell's authority, PEM
//	--meta ADDRESS          where to serve the meta port, with --seeds (:9090)
//	--allow-plain           serve plain HTTP instead of sending it to HTTPS
//	--head-timeout D        to receive a head, or a TLS handshake (5s)
//	--answer-timeout D      for a node to begin its answer (5s); to a poll, after
//	                        the time for which that may wait
//	--idle-timeout D        without progress, in or between requests (60s)
//	--renew-after D         after which, give or take a fifth, a client's
//	                        connection is closed with its next answer (5m), so
//	                        that clients look the name up again and follow it to
//	                        another region; tunnels stay
//	--tunnel-timeout D      without a byte in a tunnel (1h)
//	--max-connections N     at once; those above are answered 503 (10000)
//	--drain-window D        how long health says 503 before accepting stops (30s)
//	--drain D               how long open work may take after that (30s)
//	--children N            processes to serve with; 0 is this one (0)
//	--child                 this is one of those, and not a node; for the parent
//
// It returns nil after a Terminate, and the context's error when ctx ends.
func Run(ctx context.Context, m nodes.Machine, args []string) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	if o.children == 0 || o.child {
		return run(ctx, m, o)
	}
	parent := nodes.ParentOptions{
		Role:     Name,
		Args:     append(slices.Clone(args), "--child"),
		Children: o.children,
		Listen:   o.addresses(),
		Window:   o.window,
		Finish:   o.drain + 5*time.Second, // they cut what is left by themselves
	}
	if o.cell.Joined() {
		return runParent(ctx, m, o, parent)
	}
	return nodes.Parent(ctx, m, parent)
}

// Kept says how a node with these flags is kept: what listeners its generations
// share, and how long one takes to leave.
func Kept(args []string) (nodes.KeepOptions, error) {
	o, err := parse(args)
	if err != nil {
		return nodes.KeepOptions{}, err
	}
	k := nodes.KeepOptions{Role: Name, Args: args, Listen: o.addresses(), Window: o.window, Finish: o.drain + 10*time.Second}
	if o.cell.Joined() {
		k.Listen = append(k.Listen, o.cell.Meta)
	}
	return k, nil
}

type options struct {
	http, https string
	cert        string
	hosts       []string
	www         string
	table       placement.Table
	cell        cell.Flags
	allowPlain  bool
	head        time.Duration
	answer      time.Duration
	idle        time.Duration
	renew       time.Duration
	tunnel      time.Duration
	connections int
	window      time.Duration
	drain       time.Duration
	children    int
	child       bool
}

// addresses are those of the listeners, in the order in which a parent hands
// them down.
func (o options) addresses() []string {
	return slices.DeleteFunc([]string{o.http, o.https}, func(s string) bool { return s == "" })
}

func parse(args []string) (options, error) {
	var o options
	f := flag.NewFlagSet("proxy", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&o.http, "http", ":8080", "")
	f.StringVar(&o.https, "https", ":8443", "")
	f.StringVar(&o.cert, "cert", "", "")
	host := func(s string) (string, error) {
		name, ok := parseAuthority(s)
		if !ok {
			return "", fmt.Errorf("%q is not a host", s)
		}
		return name, nil
	}
	f.Func("host", "", func(s string) error {
		name, err := host(s)
		o.hosts = append(o.hosts, name)
		return err
	})
	f.Func("www", "", func(s string) (err error) {
		o.www, err = host(s)
		return err
	})
	f.Func("live", "", func(s string) (err error) {
		o.table, err = placement.Parse(s)
		return err
	})
	o.cell.Define(f)
	f.BoolVar(&o.allowPlain, "allow-plain", false, "")
	f.DurationVar(&o.head, "head-timeout", 5*time.Second, "")
	f.DurationVar(&o.answer, "answer-timeout", 5*time.Second, "")
	f.DurationVar(&o.idle, "idle-timeout", time.Minute, "")
	f.DurationVar(&o.renew, "renew-after", 5*time.Minute, "")
	f.DurationVar(&o.tunnel, "tunnel-timeout", time.Hour, "")
	f.IntVar(&o.connections, "max-connections", 10_000, "")
	f.DurationVar(&o.window, "drain-window", 30*time.Second, "")
	f.DurationVar(&o.drain, "drain", 30*time.Second, "")
	f.IntVar(&o.children, "children", 0, "")
	f.BoolVar(&o.child, "child", false, "")
	if err := f.Parse(args); err != nil {
		return options{}, fmt.Errorf("proxy: flags: %w", err)
	}
	for _, d := range []time.Duration{o.head, o.answer, o.idle, o.renew, o.tunnel, o.window, o.drain} {
		if d <= 0 {
			return options{}, fmt.Errorf("proxy: times must be above zero")
		}
	}
	if err := o.cell.Check(); err != nil {
		return options{}, fmt.Errorf("proxy: %w", err)
	}
	switch {
	case f.NArg() > 0:
		return options{}, fmt.Errorf("proxy: unexpected argument %q", f.Arg(0))
	case o.cell.Joined() && len(o.table.Nodes) > 0:
		return options{}, fmt.Errorf("proxy: either --live or --seeds")
	case len(o.addresses()) == 0:
		return options{}, fmt.Errorf("proxy: both --http and --https are off")
	case o.https != "" && o.cert == "":
		return options{}, fmt.Errorf("proxy: --https needs --cert")
	case o.connections <= 0:
		return options{}, fmt.Errorf("proxy: --max-connections must be above zero")
	case o.children < 0:
		return options{}, fmt.Errorf("proxy: --children must not be below zero")
	}
	return o, nil
}

// metaListener is the meta port that a generation inherits, after the others, or
// nil.
func (o options) metaListener(m nodes.Machine) net.Listener {
	all, public := m.Inherited(), len(o.addresses())
	if o.child || len(all) <= public {
		return nil
	}
	return all[public]
}

// listen gives the listeners for HTTP and HTTPS, nil where off: the parent's,
// or our own.
func listen(m nodes.Machine, o options) (plain, secure net.Listener, err error) {
	all := m.Inherited()
	if len(all) > 0 && len(all) < len(o.addresses()) {
		return nil, nil, fmt.Errorf("proxy: inherited %d listeners, want %d", len(all), len(o.addresses()))
	}
	if len(all) == 0 {
		for _, address := range o.addresses() {
			l, err := m.Listen("tcp", address)
			if err != nil {
				for _, open := range all {
					_ = open.Close()
				}
				return nil, nil, fmt.Errorf("proxy: listen: %w", err)
			}
			all = append(all, l)
		}
	}
	if o.http != "" {
		plain, all = all[0], all[1:]
	}
	if o.https != "" {
		secure = all[0]
	}
	return plain, secure, nil
}
