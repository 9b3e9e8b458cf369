// Package live is the Live role: channels that people and machines publish to
// and subscribe to, over WebSocket tunnels, streams of server-sent events, and
// plain HTTP.
//
// What it promises. The messages of one incarnation of a channel have the
// offsets 1, 2, 3 and so on. A subscriber gets each message after its position
// once and in order, or is told at once that there is a gap; hearing nothing
// always means that nothing was said. A slow reader is cut with a code that says
// "resume" and never delays the others. An incarnation id is never used again.
//
// What may fail. A node keeps nothing durable: after a restart, an eviction or a
// move of the host's home its channels start new incarnations, and positions in
// the old ones give a gap. A node serves only the keys that its table gives it
// and the hosts whose home record names its region; anything else is answered
// 421, and tunnels that it may no longer serve are closed with 4001. Keys that no
// table gives to anybody who runs are answered 503.
//
// The other nodes of a cell use channels too, over the meta port; Client does it
// for them.
//
// Publishing, subscribing and reading make channels. A client that makes too many
// new ones is refused, with 429 or 1008, until some time has passed. When a node
// has no room for another channel or message, what it forgets is of the client that
// has most, see maker.go.
//
// Start reading at hub.go, which is the channels without any network, then
// tunnel.go, which is one WebSocket, then home.go and cell.go. How to ask over
// plain HTTP is said at ServeHTTP, and how nodes do in member.go.
package live

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/espra/protoplex/nodes"
	"github.com/espra/protoplex/nodes/cell"
	"github.com/espra/protoplex/nodes/placement"
)

var _ nodes.Role = Run

// Run is the role. Its flags:
//
//	--listen ADDRESS     where to serve plain HTTP/1.1 (:8080)
//	--name NAME          this node's name in the table (the machine's)
//	--region REGION      the cell this node belongs to (the machine's)
//	--live TABLE         the Live nodes of the cell, name=host:port[@zone],...,
//	                     where no Seed tells; without either this node owns
//	                     every key
//	--seeds SEEDS        the Seeds of the cell, NAME=HOST:PORT,...; they tell the
//	                     table, and the name is that of the certificate
//	--cell-cert FILE     this node's certificate of the cell and its key, PEM
//	--cell-roots FILE    the cell's authority, PEM
//	--meta ADDRESS       where to serve the meta port, with --seeds (:9090)
//	--home HOST          a live host to serve while its home is here; repeated;
//	                     without any, every host is served
//	--home-check PERIOD  how often to read the home records (15s)
//	--epoch N            part of incarnation ids (1)
//	--history N          messages kept in a channel (1000)
//	--history-bytes N    and their bytes (1MiB)
//	--queue-bytes N      what a reader may be behind before it is cut (256KiB)
//	--all-history-bytes N  and those of all channels together (256MiB)
//	--max-tunnels N      tunnels, streams and waiting polls at once (20000)
//	--max-channels N     channels kept at once (50000)
//	--client-tunnels N   tunnels, streams and waiting polls of one client, which is
//	                     an address or, for IPv6, its 64-bit network (1000)
//	--client-channels N  channels that its tunnels subscribe to (5000)
//	--client-new-channels N  channels that it makes in a minute (5000)
//	--proxies NETWORKS   whose X-Forwarded-For is believed (those that are private)
//
// It returns nil after a Terminate, having closed its tunnels with 1012, and
// the context's error when ctx ends.
func Run(ctx context.Context, m nodes.Machine, args []string) error {
	o, err := parse(m, args)
	if err != nil {
		return err
	}
	l, err := listener(m, o.listen)
	if err != nil {
		return fmt.Errorf("live: listen: %w", err)
	}
	s, err := newServer(ctx, m, o, l)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	// A node must not serve on memory: it reads where home is first. If that
	// fails it carries on, for the names that brought its clients here are all
	// it can go by.
	s.checkHomes(ctx)
	return s.serve(l)
}

func listener(m nodes.Machine, address string) (net.Listener, error) {
	if inherited := m.Inherited(); len(inherited) > 0 {
		return inherited[0], nil
	}
	return m.Listen("tcp", address)
}

type options struct {
	listen    string
	name      string
	region    string
	table     placement.Table
	cell      cell.Flags
	homes     []string
	homeCheck time.Duration
	epoch     uint64
	limits    limits
	queue     int
	tunnels   int
	crowd     crowd
	proxies   []netip.Prefix
}

func parse(m nodes.Machine, args []string) (options, error) {
	o := options{
		queue:   256 << 10,
		tunnels: 20_000,
		crowd:   crowd{guests: 1000, channels: 5000},
		limits:  limits{history: 1000, historyBytes: 1 << 20, allBytes: 256 << 20, channels: 50_000, perKey: 10_000, perClient: 5000},
	}
	f := flag.NewFlagSet("live", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&o.listen, "listen", ":8080", "")
	f.StringVar(&o.name, "name", m.Host().Name, "")
	f.StringVar(&o.region, "region", m.Host().Region, "")
	f.Func("live", "", func(s string) (err error) {
		o.table, err = placement.Parse(s)
		return err
	})
	o.cell.Define(f)
	f.Func("home", "", func(s string) error {
		if name := hostName(s); name == "" || name == CellHost || slices.Contains(o.homes, name) {
			return fmt.Errorf("empty, reserved or repeated host %q", s)
		}
		o.homes = append(o.homes, hostName(s))
		return nil
	})
	f.DurationVar(&o.homeCheck, "home-check", 15*time.Second, "")
	f.Uint64Var(&o.epoch, "epoch", 1, "")
	f.Func("history", "", count(&o.limits.history))
	f.Func("history-bytes", "", count(&o.limits.historyBytes))
	f.Func("all-history-bytes", "", count(&o.limits.allBytes))
	f.Func("queue-bytes", "", count(&o.queue))
	f.Func("max-tunnels", "", count(&o.tunnels))
	f.Func("max-channels", "", count(&o.limits.channels))
	f.Func("client-tunnels", "", count(&o.crowd.guests))
	f.Func("client-channels", "", count(&o.crowd.channels))
	f.Func("client-new-channels", "", count(&o.limits.perClient))
	proxies := f.String("proxies", privateRanges, "")
	if err := f.Parse(args); err != nil {
		return options{}, fmt.Errorf("live: flags: %w", err)
	}
	if f.NArg() > 0 {
		return options{}, fmt.Errorf("live: unexpected argument %q", f.Arg(0))
	}
	var err error
	if o.proxies, err = parsePrefixes(*proxies); err != nil {
		return options{}, fmt.Errorf("live: --proxies: %w", err)
	}
	if o.homeCheck <= 0 {
		return options{}, fmt.Errorf("live: --home-check must be above zero")
	}
	if err := o.cell.Check(); err != nil {
		return options{}, fmt.Errorf("live: %w", err)
	}
	if o.cell.Joined() {
		if len(o.table.Nodes) > 0 {
			return options{}, fmt.Errorf("live: either --live or --seeds")
		}
		return o, nil
	}
	if len(o.table.Nodes) == 0 {
		o.table.Nodes = []placement.Node{{Name: o.name}}
	}
	if !slices.ContainsFunc(o.table.Nodes, func(n placement.Node) bool { return n.Name == o.name }) {
		return options{}, fmt.Errorf("live: --name %q is not in --live", o.name)
	}
	return o, nil
}

// count reads a number above zero, in bytes also with the suffix KiB or MiB.
func count(n *int) func(string) error {
	return func(s string) error {
		digits, scale := s, 1
		if d, ok := strings.CutSuffix(s, "KiB"); ok {
			digits, scale = d, 1<<10
		} else if d, ok := strings.CutSuffix(s, "MiB"); ok {
			digits, scale = d, 1<<20
		}
		v, err := strconv.ParseUint(digits, 10, 30)
		if err != nil || v == 0 {
			return fmt.Errorf("want a number above zero, optionally with KiB or MiB")
		}
		*n = int(v) * scale
		return nil
	}
}

// hostName is a host in lower case, without a port or a final dot.
func hostName(s string) string {
	if host, _, err := net.SplitHostPort(s); err == nil {
		s = host
	}
	return strings.ToLower(strings.TrimSuffix(s, "."))
}
